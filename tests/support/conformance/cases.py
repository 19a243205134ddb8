"""The standard's single-operator cases, and which of them have a derivative to be right about.

``onnx.backend.test.case.node`` holds a model with inputs and outputs for every operator, version and
attribute that the standard describes. A case counts as differentiable when ONNX Runtime runs it and
agrees with ONNX's reference evaluator, and when the central finite difference in float64 (random
cotangent on the first float output, random direction in the inputs asked for) is stable over step
sizes, equal from both sides, and not zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx.backend.test.case.node import collect_testcases
from onnx.reference import ReferenceEvaluator

FLOATS = ("float16", "bfloat16", "float32", "float64")
STEPS = (1e-3, 1e-4, 1e-5)
#: A derivative below this share of |cotangent| |direction| cannot be told from zero in float32.
ZERO = 1e-6
#: The step at which ONNX Runtime and the evaluator are compared once more.
MOVE = 2e-2


@dataclass(frozen=True)
class StandardCase:
    """One case: a model, its inputs by name, and the names of its float inputs and first float output."""

    name: str
    model: onnx.ModelProto
    feeds: dict[str, Any]
    float_inputs: tuple[str, ...]
    output: str

    @property
    def operator(self) -> tuple[str, str]:
        """Domain and type of the operator that the case is about; of an expanded case, that of its last node."""
        node = [n for n in self.model.graph.node if n.op_type != "Constant"][-1]
        return ("" if node.domain == "ai.onnx" else node.domain), node.op_type


@cache
def standard_cases() -> tuple[list[StandardCase], int]:
    """Cases with a float input and a float output that ONNX Runtime gets right; and how many there are in all."""
    collected = collect_testcases(None)
    found = []
    for case in collected:
        prepared = _prepare(case)
        if prepared is not None and _runtime_agrees(prepared):
            found.append(prepared)
    return found, len(collected)


def _prepare(case: Any) -> StandardCase | None:
    if not case.data_sets:
        return None
    inputs, outputs = case.data_sets[0]
    feeds = {v.name: array for v, array in zip(case.model.graph.input, inputs)}
    floats = tuple(name for name, array in feeds.items() if is_float(array))
    results = [v.name for v, array in zip(case.model.graph.output, outputs) if is_float(array)]
    if not floats or not results:
        return None
    return StandardCase(case.name, case.model, feeds, floats, results[0])


def is_float(array: Any) -> bool:
    return isinstance(array, np.ndarray) and str(array.dtype) in FLOATS and array.size > 0


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def _runtime_agrees(case: StandardCase, feeds: dict[str, Any] | None = None, tolerance: float = 1e-3) -> bool:
    feeds = case.feeds if feeds is None else feeds
    try:
        with np.errstate(all="ignore"):
            found = session(case.model).run([case.output], feeds)[0]
            expected = ReferenceEvaluator(case.model).run([case.output], feeds)[0]
    except Exception:  # whatever either of them cannot run is no case
        return False
    if not isinstance(found, np.ndarray) or found.shape != np.shape(expected):
        return False
    wide = np.asarray(expected, dtype=np.float64)
    if str(found.dtype) not in ("float32", "float64"):
        tolerance = 3e-2
    return bool(np.allclose(found.astype(np.float64), wide, rtol=tolerance, atol=tolerance, equal_nan=True))


@dataclass(frozen=True)
class Derivative:
    """The finite difference of ``sum(cotangent * output)`` along ``directions``."""

    value: float
    cotangent: np.ndarray
    directions: dict[str, np.ndarray]


def derivative(case: StandardCase, wrt: Sequence[str], seed: int = 0) -> Derivative | None:
    """The derivative by finite differences, or None where the case has none that can be trusted."""
    rng = np.random.default_rng(seed)
    evaluator = ReferenceEvaluator(case.model)
    wide = {k: v.astype(np.float64) if is_float(v) else v for k, v in case.feeds.items()}

    def run(step: float) -> np.ndarray:
        feeds = {k: v + step * directions[k] if k in directions else v for k, v in wide.items()}
        return np.asarray(evaluator.run([case.output], feeds)[0], dtype=np.float64)

    directions: dict[str, np.ndarray] = {}
    try:
        with np.errstate(all="ignore"):
            cotangent = rng.standard_normal(run(0.0).shape)
            directions = {name: rng.standard_normal(wide[name].shape) for name in wrt}
            at = {s: float(np.sum(cotangent * run(s))) for h in STEPS for s in (h, -h)}
            here = float(np.sum(cotangent * run(0.0)))
    except Exception:  # the evaluator has no float64 form of this operator
        return None
    central = [(at[h] - at[-h]) / (2 * h) for h in STEPS]
    ahead, behind = (at[STEPS[-1]] - here) / STEPS[-1], (here - at[-STEPS[-1]]) / STEPS[-1]
    value = central[-1]
    size = float(np.linalg.norm(cotangent)) * float(np.sqrt(sum(np.sum(v * v) for v in directions.values())))
    if not np.all(np.isfinite([*central, ahead, behind])) or abs(value) < ZERO * size:
        return None
    stable = abs(central[1] - value) <= 1e-3 * abs(value) and abs(central[0] - value) <= 1e-1 * abs(value)
    two_sided = abs(ahead - behind) <= 1e-2 * abs(value)
    if not (stable and two_sided):
        return None
    around = [_moved(case, directions, step) for step in (MOVE, -MOVE)]
    return Derivative(value, cotangent, directions) if all(_runtime_agrees(case, f, 1e-4) for f in around) else None


def _moved(case: StandardCase, directions: dict[str, np.ndarray], step: float) -> dict[str, Any]:
    """The inputs a step along the directions, in their own types: the evaluator must be right around them too."""
    return {
        name: (value + step * directions[name]).astype(value.dtype) if name in directions else value
        for name, value in case.feeds.items()
    }


def reaching(case: StandardCase) -> tuple[str, ...]:
    """The float inputs that change the output at all."""
    evaluator, rng = ReferenceEvaluator(case.model), np.random.default_rng(0)
    found = []
    for name in case.float_inputs:
        moved = _moved(case, {name: rng.standard_normal(case.feeds[name].shape)}, MOVE)
        try:
            with np.errstate(all="ignore"):
                before, after = (np.asarray(evaluator.run([case.output], f)[0]) for f in (case.feeds, moved))
        except Exception:  # an input that the operator refuses to see changed (scales, regions)
            continue
        if before.shape == after.shape and not np.array_equal(before, after, equal_nan=True):
            found.append(name)
    return tuple(found)
