"""The check of one graph: gradients in every form against finite differences, outputs, checker, shapes.

Everything that a check needs is in the model. Its metadata say the extents of its named dimensions (``N=1,3``: one
number for each run; ``x.2=6,9`` for axis 2 of ``x``, which has no name), the question as :class:`~.ends.End` has it
(``class``, ``probability`` or ``cotangent``), the output that it is about, the tensor of scores, and the seed of the
inputs.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import helper

from onnxplain.autodiff import differentiate
from onnxplain.autodiff.graph.schemas import NEWEST_OPSET
from onnxplain.errors import InputError, ModelError
from onnxplain.target import Target

from .reference import (
    SINGLE_TOLERANCE,
    TOLERANCE,
    Feeds,
    Rejected,
    Score,
    in_double,
    in_float64,
    runners,
    session,
    slopes,
    trusted,
    with_outputs,
)
from .shapes import wrong_shape

FORMS = ("portable", "cpu", "cpu_shared")
#: Operators that the two forms for processors write in different ways.
_WINDOWS = {"Conv", "ConvTranspose"}
_LARGEST = 1e4
_DRAWS = 3
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Outcome:
    """What came of a graph: ``kind`` is "agreed", "refused", "skipped" or "failed"; ``where`` sorts failures."""

    kind: str
    reason: str = ""
    where: str = ""


class Failure(Exception):
    """onnxplain is wrong about a graph."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(reason)
        self.where = where


@cache
def newest_opset() -> int:
    """The newest opset that both onnxplain and the installed ONNX Runtime know."""
    value = helper.make_tensor_value_info
    for opset in range(NEWEST_OPSET, 17, -1):
        nodes = [helper.make_node("Relu", ["x"], ["y"])]
        graph = helper.make_graph(nodes, "g", [value("x", 1, [1])], [value("y", 1, [1])])
        try:
            session(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10))
        except Exception:  # ONNX Runtime's own type
            continue
        return opset
    return 17


def facts(model: onnx.ModelProto) -> dict[str, str]:
    """What the metadata of a generated model say."""
    return {p.key.removeprefix("fuzz."): p.value for p in model.metadata_props if p.key.startswith("fuzz.")}


def check(model: onnx.ModelProto, rules: Mapping[str, Any] | None = None) -> Outcome:
    """Check one model; ``rules`` take the place of onnxplain's own, so that a wrong one can be tried."""
    try:
        return Checked(model, rules).outcome()
    except Rejected as error:
        return Outcome("skipped", str(error))
    except Failure as error:
        return Outcome("failed", str(error), error.where)


class Checked:
    """A model with ONNX Runtime's session of it, what its metadata say, and inputs drawn from its seed."""

    def __init__(self, model: onnx.ModelProto, rules: Mapping[str, Any] | None = None) -> None:
        self.model, self.rules, self.facts = model, rules, facts(model)
        listed = {t.name for t in model.graph.initializer}
        self.inputs = [v for v in model.graph.input if v.name not in listed]
        try:
            self.plain = session(with_outputs(model, *(v.name for v in model.graph.output), self.facts["logits"]))
        except Exception as error:  # ONNX Runtime's own types
            raise Rejected(_brief(error)) from error
        pairs = [p.split("=") for p in self.facts["extents"].split()]
        self.extents = {name: [int(e) for e in many.split(",")] for name, many in pairs}
        self.worlds = range(max((len(e) for e in self.extents.values()), default=1))

    def outcome(self) -> Outcome:
        draws = [self.draw(world, 0) for world in self.worlds]
        before = [self._plain(feeds) for feeds in draws]
        try:
            models = {form: self._differentiate(self.model, form) for form in self._forms()}
        except (ModelError, InputError) as error:
            return Outcome("refused", _brief(error))
        self._check_model(models["portable"])
        sessions = {form: self._load(model, form) for form, model in models.items()}
        compared = False
        for world in self.worlds:
            for draw in range(_DRAWS):
                feeds = draws[world] if draw == 0 else self.draw(world, draw)
                outputs = before[world] if draw == 0 else self._plain(feeds)
                questions = self._question(feeds, outputs)
                found = {f: self._run(r, f, {**feeds, **questions}) for f, r in sessions.items()}
                for form, result in found.items():
                    self._compare_outputs(outputs, result, form)
                    self._compare(found["portable"], result, form)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # the reference evaluator divides by zero where nobody looks
                    smooth = self._finite_differences(found["portable"], feeds, questions, outputs, world)
                if smooth:
                    compared = True
                    break
        runs = [{**f, **self._question(f, o)} for f, o in zip(draws, before)]
        if (wrong := wrong_shape(models["portable"], runs)) is not None:
            raise Failure("shape", wrong)
        return Outcome("agreed") if compared else Outcome("skipped", "no smooth point")

    def _forms(self) -> tuple[str, ...]:
        windows = any(node.op_type in _WINDOWS for node in self.model.graph.node)
        return FORMS if windows else FORMS[:2]

    def draw(self, world: int, draw: int) -> Arrays:
        rng = np.random.default_rng([int(self.facts["seed"]), world, draw, 1])  # not the stream of the weights
        feeds = {}
        for value in self.inputs:
            dims = value.type.tensor_type.shape.dim
            names = [d.dim_param or f"{value.name}.{axis}" for axis, d in enumerate(dims)]
            shape = [d.dim_value or self.extents[n][world] for d, n in zip(dims, names)]
            feeds[value.name] = np.asarray(rng.standard_normal(shape), dtype=np.float32)
        return feeds

    def _plain(self, feeds: Feeds) -> Arrays:
        names = [o.name for o in self.plain.get_outputs()]
        try:
            found = dict(zip(names, self.plain.run(names, dict(feeds))))
        except Exception as error:  # ONNX Runtime's own types
            raise Rejected("run: " + _brief(error)) from error
        for array in found.values():
            if array.dtype.kind == "f" and not np.max(np.abs(array), initial=0.0) < _LARGEST:
                raise Rejected("values that are not finite, or large")
        if found[self.facts["logits"]].size == 0:
            raise Rejected("an empty result")
        return found

    def _question(self, feeds: Feeds, outputs: Arrays) -> Arrays:
        scores = outputs[self.facts["logits"]]
        rng = np.random.default_rng(int(self.facts["seed"]) + scores.size)
        if self.facts["question"] == "cotangent":
            return {"cotangent": rng.standard_normal(scores.shape).astype(np.float32)}
        batch, classes = self._axis("batch"), self._axis("classes")
        samples = 1 if batch is None else scores.shape[batch]
        found = {"target": rng.integers(0, scores.shape[classes], samples)}
        if "versus" in self.facts:
            found["contrast"] = rng.integers(0, scores.shape[classes], samples)
        places = self._places(scores)
        if self.facts.get("place") == "region":
            found["region"] = rng.uniform(-1, 1, [samples, *(scores.shape[axis] for axis in places)]).astype(np.float32)
        if self.facts.get("place") == "position":
            found["position"] = rng.integers(0, scores.shape[places[0]], [samples, 1])
        return found

    def _places(self, scores: np.ndarray) -> list[int]:
        """The axes of more than one element that are neither the batch nor the classes; all such if each has one."""
        known = (self._axis("batch"), self._axis("classes"))
        others = [axis for axis in range(scores.ndim) if axis not in known]
        return [axis for axis in others if scores.shape[axis] > 1] or others

    def _axis(self, name: str) -> int | None:
        """The axis of the batch or of the classes of what is asked about; None if it has none."""
        return int(self.facts[name]) if name in self.facts else None

    def _weights(self, questions: Arrays, scores: np.ndarray) -> np.ndarray:
        """What the scores are multiplied with, before all of them are added up."""
        if "cotangent" in questions:
            return questions["cotangent"].astype(np.float64)
        chosen = self._one_hot(questions["target"], scores)
        where = self._where(questions, scores, chosen)
        if "contrast" not in questions:
            return chosen * where
        other = self._one_hot(questions["contrast"], scores)
        return chosen * where - (other if self.facts["versus"] == "target" else other * where)

    def _where(self, questions: Arrays, scores: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """How much every place counts, shaped so that it multiplies the scores."""
        place, batch, classes = self.facts.get("place"), self._axis("batch"), self._axis("classes")
        places = self._places(scores)
        if place == "own":
            best = np.argmax(scores, axis=classes, keepdims=True)
            return np.sum(chosen * (best == self._numbers(scores)), axis=classes, keepdims=True)
        if place == "best":
            mine = np.sum(chosen * scores, axis=classes, keepdims=True)
            return np.argmax(mine, axis=places[0], keepdims=True) == self._numbers(scores, places[0])
        if place == "position":
            at = questions["position"].reshape([-1 if axis == batch else 1 for axis in range(scores.ndim)])
            return at == self._numbers(scores, places[0])
        if place == "region":
            extents = [e if axis in (batch, *places) else 1 for axis, e in enumerate(scores.shape)]
            before = sum(axis < (batch or 0) for axis in places)
            return np.moveaxis(questions["region"], 0, before).reshape(extents)
        return np.ones(1)

    def _numbers(self, scores: np.ndarray, axis: int | None = None) -> np.ndarray:
        """0, 1, ... along an axis, that of the classes by default."""
        axis = self._axis("classes") if axis is None else axis
        assert axis is not None
        return np.arange(scores.shape[axis]).reshape([-1 if a == axis else 1 for a in range(scores.ndim)])

    def _one_hot(self, index: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """One where the class of a sample is the one of ``index``, zero elsewhere."""
        chosen = index.reshape([-1 if axis == self._axis("batch") else 1 for axis in range(scores.ndim)])
        return np.broadcast_to(self._numbers(scores) == chosen, scores.shape).astype(np.float64)

    def _target(self) -> Target | str | None:
        if self.facts["question"] == "cotangent":
            return "cotangent"
        place, versus = self.facts.get("place"), self.facts.get("versus")
        if place is None and versus is None:
            return None
        at: Any = {"region": np.ones((1, 1)), "position": 0}.get(place or "", place)
        other = None if versus is None else 1 if versus == "class" else Target(1, at="all")
        return Target(0, at=at, versus=other)

    def _stated(self) -> dict[str, Any]:
        """The axes of the question, where it has to name them."""
        if "stated" not in self.facts:
            return {}
        batch = self._axis("batch")
        return {"class_axis": self._axis("classes"), "layout": {"batch_axis": -1 if batch is None else batch}}

    def _differentiate(self, model: onnx.ModelProto, form: str) -> onnx.ModelProto:
        question = self.facts["question"]
        try:
            return differentiate(
                model,
                self._target(),
                tensor=self.facts["output"],
                score="probability" if question == "probability" else "logit",
                form=form,
                **self._stated(),
                rules=None if self.rules is None else dict(self.rules),
            )
        except (ModelError, InputError) as error:
            if "does not pass the ONNX checker" not in str(error):
                raise
            if not _checkable(self.model):
                raise Rejected("models that ONNX's checker refuses") from error
            raise Failure(f"{form}: checker", _brief(error)) from error
        except Exception as error:
            raise Failure(f"{form}: {type(error).__name__}", _brief(error)) from error

    def _check_model(self, model: onnx.ModelProto) -> None:
        try:
            onnx.checker.check_model(model, full_check=True)
        except Exception as error:
            raise Failure("checker", _brief(error)) from error

    def _load(self, model: onnx.ModelProto, form: str) -> Any:
        try:
            return session(model)
        except Exception as error:
            raise Failure(f"{form}: load", _brief(error)) from error

    def _run(self, runner: Any, form: str, feeds: Feeds) -> Arrays:
        names = [o.name for o in runner.get_outputs()]
        wanted = {i.name for i in runner.get_inputs()}
        chosen = "at" in names and "place" not in self.facts
        if chosen or ("region" in feeds and self._rank(runner, "region") != feeds["region"].ndim):
            raise Rejected("places of one element, which are not known to be")
        try:
            return dict(zip(names, runner.run(names, {k: v for k, v in feeds.items() if k in wanted})))
        except Exception as error:
            raise Failure(f"{form}: run", _brief(error)) from error

    @staticmethod
    def _rank(runner: Any, name: str) -> int:
        return len(next(i.shape for i in runner.get_inputs() if i.name == name))

    def _compare_outputs(self, before: Arrays, found: Arrays, form: str) -> None:
        for value in self.model.graph.output:
            if not _close(before[value.name], found[value.name], 1e-4):
                raise Failure(f"{form}: outputs", f"the output {value.name!r} has other values than before")

    def _compare(self, expected: Arrays, found: Arrays, form: str) -> None:
        for name, array in expected.items():
            if name.startswith("grad_") and not _close(array, found[name], 2e-3):
                raise Failure(f"{form}: form", f"{name} differs from that of the portable form")

    def _finite_differences(self, found: Arrays, feeds: Arrays, questions: Arrays, outputs: Arrays, world: int) -> bool:
        """Whether anything could be compared; raises where it does not agree."""
        scores = outputs[self.facts["logits"]]
        run, exact = trusted(self.model, self.facts["logits"], feeds, scores)
        score = Score(run, self._weights(questions, scores), exact)
        tolerance = TOLERANCE if exact else SINGLE_TOLERANCE
        rng = np.random.default_rng([int(self.facts["seed"]), world])
        if "score" in found:
            self._compare_score(found["score"], score.weights, run(feeds))
        compared = False
        for name, x in feeds.items():
            gradient = found.get(f"grad_{name}", np.zeros(x.shape)).astype(np.float64)
            if gradient.shape != x.shape:
                raise Failure("gradient", f"grad_{name} has shape {gradient.shape}, {name} has {x.shape}")
            directions = [rng.standard_normal(x.shape) for _ in range(1 + world)]
            for _ in range(2 * world):
                one = np.zeros(x.size)
                one[rng.integers(x.size)] = 1.0
                directions.append(one.reshape(x.shape))
            largest = float(np.max(np.abs(gradient), initial=0.0))
            scale = largest if np.isfinite(largest) else 0.0
            for slope in slopes(score, feeds, name, directions, scale):
                compared = True
                said = float(np.sum(gradient * slope.direction))
                size = max(abs(slope.value), scale * float(np.linalg.norm(slope.direction)) / 2)
                floor = 1e-5 if exact else 1e-4 * max(1.0, float(np.sum(np.abs(score.weights * scores))))
                if not abs(said - slope.value) <= tolerance * size + floor + 4 * slope.noise:
                    self._confirm(name, slope.direction, slope.value, feeds, questions, said, score)
        return compared

    def _compare_score(self, found: np.ndarray, weights: np.ndarray, scores: np.ndarray) -> None:
        batch = self._axis("batch")
        expected = np.sum(weights * scores, axis=tuple(a for a in range(scores.ndim) if a != batch)).reshape(-1)
        size = max(1e-2, float(np.max(np.abs(expected), initial=0.0)), float(np.sum(np.abs(scores))) / 100)
        if expected.shape != found.shape or not np.max(np.abs(expected - found), initial=0.0) <= 1e-3 * size:
            raise Failure("score", f"score is {found}, expected {expected}")

    def _confirm(
        self, name: str, v: np.ndarray, expected: float, feeds: Arrays, questions: Arrays, said: float, score: Score
    ) -> None:
        """Raise, unless the same gradient in float64 is right: then float32 has rounded too much."""
        reason = f"derivative of {name} along a direction is {said:.6g}, finite differences say {expected:.6g}"
        if not score.exact:
            reason += " (in float32)"
        try:
            wide = self._differentiate(in_double(self.model), "portable")
            gradient = in_float64(wide, f"grad_{name}", {**feeds, **questions})
            if not score.exact:
                expected = _in_small_steps(score, self.model, self.facts["logits"], feeds, name, v)
        except Exception:  # no float64 for this graph
            raise Failure("gradient", reason) from None
        again = float(np.sum(gradient * v))
        if not abs(again - expected) <= 1e-3 * max(abs(expected), 1e-4):
            raise Failure("gradient", f"{reason}; in float64 it is {again:.6g}, and differences say {expected:.6g}")
        raise Rejected("float32 rounds too much")


def _in_small_steps(score: Score, model: onnx.ModelProto, tensor: str, feeds: Feeds, name: str, v: np.ndarray) -> float:
    """The slope in float64, where the scores of float32 are too rough for finite differences.

    Raises:
        StopIteration: nothing computes the tensor in float64.
    """
    run = next(run for run, exact in runners(model, tensor) if exact)
    step, wide = 1e-7, Score(run, score.weights, True)
    ends = [wide({**feeds, name: feeds[name] + t * v}) for t in (-step, step)]
    return (ends[1] - ends[0]) / (2 * step)


def _checkable(model: onnx.ModelProto) -> bool:
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception:  # the checker raises several unrelated types
        return False
    return True


def _close(a: np.ndarray, b: np.ndarray, tolerance: float) -> bool:
    if a.shape != b.shape:
        return False
    if a.dtype.kind != "f":
        return bool(np.array_equal(a, b))
    size = max(float(np.max(np.abs(a), initial=0.0)), 1e-2)
    return bool(np.max(np.abs(a.astype(np.float64) - b), initial=0.0) <= tolerance * size)


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
