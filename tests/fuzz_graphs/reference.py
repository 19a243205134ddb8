"""What a graph computes, in float64 where that can be had, and its slopes by finite differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from onnx import AttributeProto, GraphProto, TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from .stand_ins import STAND_INS

Feeds = Mapping[str, np.ndarray]
Run = Callable[[Feeds], np.ndarray]
_DOUBLE = TensorProto.DOUBLE
#: How far a gradient may be from the slope, as a part of the slope's size: by float64, and by float32.
TOLERANCE, SINGLE_TOLERANCE = 2e-3, 3e-2


class Rejected(Exception):
    """ONNX Runtime does not run the model."""


def session(model: onnx.ModelProto, *, optimise: bool = True) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def with_outputs(model: onnx.ModelProto, *names: str) -> onnx.ModelProto:
    """The model with those of its tensors as outputs, in front, that are not yet.

    It states nothing of inner shapes: ONNX Runtime folds ``Shape`` of a tensor by what is stated of it, right or wrong.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.value_info[:]
    outputs = {v.name: v for v in copy.graph.output}
    chosen = [outputs.pop(n, None) or onnx.helper.make_empty_tensor_value_info(n) for n in names]
    kept = [*chosen, *outputs.values()]
    del copy.graph.output[:]
    copy.graph.output.extend(kept)
    return copy


def in_double(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model in float64: weights, types, casts, subgraphs."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    _widen(copy.graph)
    return copy


def _widen(graph: GraphProto) -> None:
    for value in [*graph.input, *graph.output, *graph.value_info]:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = _DOUBLE
    for tensor in graph.initializer:
        _widen_tensor(tensor)
    for node in graph.node:
        if node.op_type == "ConstantOfShape" and not node.attribute:
            zero = numpy_helper.from_array(np.zeros(1))
            node.attribute.append(onnx.helper.make_attribute("value", zero))
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                _widen_tensor(attribute.t)
            elif attribute.type == AttributeProto.GRAPH:
                _widen(attribute.g)
            elif node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = _DOUBLE


def _widen_tensor(tensor: TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT:
        wide = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name)
        tensor.CopyFrom(wide)


@dataclass
class Score:
    """A number computed from one tensor of the model: its product with ``weights``."""

    run: Run
    weights: np.ndarray
    exact: bool

    def __call__(self, feeds: Feeds) -> float:
        return float(np.sum(self.weights * self.run(feeds)))


def runners(model: onnx.ModelProto, tensor: str) -> list[tuple[Run, bool]]:
    """Ways to compute a tensor, best first, and whether they compute in float64."""
    wanted = with_outputs(model, tensor)
    wide = in_double(wanted)
    found: list[tuple[Run, bool]] = []
    try:
        double = session(wide)
        found.append((lambda feeds: double.run([tensor], _as(feeds, np.float64))[0], True))
    except Exception:  # an operator without a kernel for double
        try:
            evaluator = ReferenceEvaluator(wide, new_ops=STAND_INS)
            found.append((lambda feeds: evaluator.run([tensor], _as(feeds, np.float64))[0], True))
        except Exception:  # an operator that the evaluator lacks
            pass
    single = session(wanted)
    found.append((lambda feeds: single.run([tensor], _as(feeds, np.float32))[0].astype(np.float64), False))
    return found


def in_float64(model: onnx.ModelProto, tensor: str, feeds: Feeds) -> np.ndarray:
    """A tensor of a model whose floats are doubles, by ONNX Runtime or else by the reference evaluator."""
    wanted = with_outputs(model, tensor)
    inputs = {v.name for v in model.graph.input}
    wide = _as({k: v for k, v in feeds.items() if k in inputs}, np.float64)
    try:
        return np.asarray(session(wanted).run([tensor], wide)[0])
    except Exception:  # an operator without a kernel for double
        return np.asarray(ReferenceEvaluator(wanted, new_ops=STAND_INS).run([tensor], wide)[0])


def _as(feeds: Feeds, kind: type) -> dict[str, np.ndarray]:
    return {k: np.asarray(v, dtype=kind if v.dtype.kind == "f" else None) for k, v in feeds.items()}


def trusted(model: onnx.ModelProto, tensor: str, feeds: Feeds, expected: np.ndarray) -> tuple[Run, bool]:
    """The best way to compute a tensor that agrees with what ONNX Runtime computes in float32."""
    scale = max(1e-2, float(np.max(np.abs(expected), initial=0.0)))
    for run, exact in runners(model, tensor):
        if not exact:
            return run, exact
        try:
            found = run(feeds)
        except Exception:  # the evaluator is not complete
            continue
        if found.shape == expected.shape and np.max(np.abs(found - expected), initial=0.0) <= 2e-5 * scale:
            return run, exact
    raise Rejected("results that repeat")


@dataclass(frozen=True)
class Slope:
    """The derivative of the score along a direction, where the score is smooth."""

    name: str
    direction: np.ndarray
    value: float
    noise: float


def slopes(score: Score, feeds: Feeds, name: str, directions: list[np.ndarray], scale: float) -> list[Slope]:
    """Derivatives along directions; those at a kink (two steps, or two sides, do not agree) are left out."""
    step, tolerance = (1e-4, TOLERANCE) if score.exact else (1e-2, SINGLE_TOLERANCE)
    here = score(feeds)
    found = []
    for v in directions:

        def at(t: float, v: np.ndarray = v) -> float:
            return score({**feeds, name: feeds[name] + t * v})

        near, far = step / 4, step
        ahead, behind = at(near), at(-near)
        right, left = (ahead - here) / near, (here - behind) / near
        slope, coarse = (ahead - behind) / (2 * near), (at(far) - at(-far)) / (2 * far)
        size = max(abs(slope), scale * float(np.linalg.norm(v)) / 2, 1e-6)
        if abs(slope - coarse) <= tolerance * size / 4 and abs(right - left) <= tolerance * size:
            found.append(Slope(name, v, slope if score.exact else coarse, abs(slope - coarse)))
    return found
