"""A model cut in two at what its question reaches: the same numbers, and one pass forwards for all questions."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxplain.runtime import BatchedSession, Session, batching, side_by_side
from onnxplain.runtime.batching import _ARENA as ARENA
from onnxplain.runtime.halves import Halves, cut, state_types
from onnxplain.runtime.memory import bytes_per_sample, without_weights

from support import small_models as small

CPU = "CPUExecutionProvider"
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
WEIGHT = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
X = np.random.default_rng(1).standard_normal((5, 4)).astype(np.float32)


def branches() -> onnx.ModelProto:
    """scores [N,3] = relu(x) W; picked [N] of them; grad_x [N,4] = W[:, target] [x > 0], twice that if ``twice``.

    A bool, an integer and the weights are wanted on both sides, one value only within a branch of an If.
    """
    double = helper.make_graph(
        [helper.make_node("Add", ["masked", "masked"], ["doubled"])],
        "double", [], [helper.make_tensor_value_info("doubled", FLOAT, None)],
    )  # fmt: skip
    once = helper.make_graph(
        [helper.make_node("Where", ["positive", "columns", "zero"], ["same"])],
        "once", [], [helper.make_tensor_value_info("same", FLOAT, None)],
    )  # fmt: skip
    nodes = [
        helper.make_node("Relu", ["x"], ["active"]),
        helper.make_node("MatMul", ["active", "W"], ["scores"]),
        helper.make_node("Greater", ["x", "zero"], ["positive"]),
        helper.make_node("Shape", ["scores"], ["extents"]),
        helper.make_node("Unsqueeze", ["target", "one"], ["column"]),
        helper.make_node("GatherElements", ["scores", "column"], ["picked_column"], axis=1),
        helper.make_node("Transpose", ["W"], ["rows"]),
        helper.make_node("Gather", ["rows", "target"], ["columns"], axis=0),
        helper.make_node("Where", ["positive", "columns", "zero"], ["masked"]),
        helper.make_node("If", ["twice"], ["grad_x"], then_branch=double, else_branch=once),
        helper.make_node("Squeeze", ["picked_column", "one"], ["picked"]),
        helper.make_node("Mul", ["extents", "target_sum"], ["extents_used"]),
        helper.make_node("ReduceSum", ["target", "first"], ["target_sum"], keepdims=1),
    ]
    nodes[-2:] = reversed(nodes[-2:])
    return small.build(
        nodes,
        [("x", FLOAT, ["N", 4]), ("target", INT64, ["N"]), ("twice", BOOL, [])],
        [
            ("scores", FLOAT, ["N", 3]),
            ("picked", FLOAT, ["N"]),
            ("grad_x", FLOAT, ["N", 4]),
            ("extents_used", INT64, [2]),
        ],
        {"W": WEIGHT, "zero": np.float32(0), "one": np.array([1]), "first": np.array([0])},
    )


class Both:
    """The halves of a model, and how often each ran."""

    def __init__(self, model: onnx.ModelProto, asked: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.before, self.after = cut(model, asked)
        forward = Session(self.before, providers=[CPU], threads=1)
        state_types(self.after, forward.output_types)
        backward = Session(self.after, providers=[CPU], threads=1)
        self.runs = {"forward": 0, "backward": 0}
        for name, session in (("forward", forward), ("backward", backward)):
            monkeypatch.setattr(session, "run_values", self._counted(name, session.run_values))
        self.halves = Halves(forward, backward)

    def _counted(self, name: str, run: Any) -> Any:
        def counted(feeds: Any, outputs: Any) -> Any:
            self.runs[name] += 1
            return run(feeds, outputs)

        return counted


OUTPUTS = ["grad_x", "scores", "picked", "extents_used"]


def test_both_halves_give_what_the_whole_model_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    model = branches()
    whole, both, kept = Session(model, providers=[CPU], threads=1), Both(model, {"target", "twice"}, monkeypatch), {}
    for target in ([0, 1, 2, 1, 0], [2, 2, 2, 0, 1]):
        for twice in (True, False):
            feeds = {"x": X, "target": np.array(target), "twice": np.array(twice)}
            for found, expected in zip(both.halves.run(feeds, OUTPUTS, kept), whole.run(feeds, OUTPUTS), strict=True):
                np.testing.assert_array_equal(found, expected)
                assert found.dtype == expected.dtype
    assert both.runs == {"forward": 1, "backward": 4}
    assert both.halves.run({"x": X}, ["scores"], kept)[0] is not None
    assert both.runs == {"forward": 1, "backward": 4}  # nothing behind the cut is asked for


def test_each_half_has_its_own_nodes_and_weights() -> None:
    before, after = cut(branches(), {"target", "twice"})
    assert {node.op_type for node in before.graph.node} == {"Relu", "MatMul", "Greater", "Shape", "Transpose"}
    assert {v.name for v in before.graph.output} == {"scores", "positive", "extents", "rows"}
    assert {v.name for v in after.graph.input} == {"target", "twice", "scores", "positive", "extents", "rows"}
    assert {t.name for t in before.graph.initializer} == {"W", "zero"}
    assert {t.name for t in after.graph.initializer} == {"zero", "one", "first"}


def test_what_cannot_be_cut_is_said() -> None:
    model = small.build(
        [helper.make_node("Neg", ["x"], ["a"]), helper.make_node("Neg", ["t"], ["b"])],
        [("x", FLOAT, ["N"]), ("t", FLOAT, ["N"])],
        [("b", FLOAT, ["N"])],
    )
    with pytest.raises(ValueError, match="both halves"):
        cut(model, {"t"})
    pieces = small.build(
        [
            helper.make_node("SequenceConstruct", ["x", "x"], ["pieces"]),
            helper.make_node("SequenceAt", ["pieces", "t"], ["b"]),
        ],
        [("x", FLOAT, ["N"]), ("t", INT64, [])],
        [("b", FLOAT, ["N"])],
    )
    before, after = cut(pieces, {"t"})
    types = Session(before, providers=[CPU]).output_types
    with pytest.raises(ValueError, match=r"'pieces' is a seq\(tensor\(float\)\)"):
        state_types(after, types)


class Batched:
    """``branches`` in runs, whole and cut; counts what was loaded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
        monkeypatch.setattr(batching, "_WORKING_SET", 1)
        model = branches()
        self.loaded: list[Any] = []
        self.both: list[Both] = []

        def halves(alone: bool) -> Halves | None:
            self.loaded.append(alone)
            self.both.append(Both(model, {"target", "twice"}, monkeypatch))
            return self.both[-1].halves

        self.graph = without_weights(model)
        self.session = BatchedSession(
            Session(model, providers=[CPU]), self.graph, batched={"x", "target"},
            **{"fixed": None, "single": lambda: Session(model, providers=[CPU], threads=1), "threads": 2,
               "halves": halves, **options},
        )  # fmt: skip

    @property
    def forward(self) -> int:
        return sum(both.runs["forward"] for both in self.both)


def feeds_of(count: int, target: int) -> dict[str, np.ndarray]:
    x = np.random.default_rng(count).standard_normal((count, 4)).astype(np.float32)
    return {"x": x, "target": np.full(count, target), "twice": np.array(False)}


@pytest.mark.parametrize("count", [1, 2, 5, 9])
@pytest.mark.parametrize("fixed", [None, 3])
def test_runs_share_their_own_pass_forwards(count: int, fixed: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    batched, forwards = Batched(monkeypatch, fixed=fixed), {}
    plain = [batched.session.run(feeds_of(count, target), OUTPUTS[:3]) for target in (0, 2)]
    assert batched.loaded == []
    shared = [batched.session.run(feeds_of(count, target), OUTPUTS[:3], forwards) for target in (0, 2)]
    np.testing.assert_equal(shared, plain)
    assert batched.forward == len(forwards) > 0
    assert sum(both.runs["backward"] for both in batched.both) == 2 * len(forwards)
    assert sorted(forwards) == list(zip([0, *sorted(end for _, end in forwards)], sorted(end for _, end in forwards)))


def test_the_second_who_asks_is_told_to_share(monkeypatch: pytest.MonkeyPatch) -> None:
    batched = Batched(monkeypatch)
    assert [batched.session.shares() for _ in range(3)] == [False, True, True]
    assert batched.loaded == []  # before anything runs
    cannot = Batched(monkeypatch, halves=lambda alone: None)
    feeds = feeds_of(3, 1)
    np.testing.assert_equal(cannot.session.run(feeds, OUTPUTS, {}), cannot.session.run(feeds, OUTPUTS))


def test_workers_share_at_once_unless_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    batched = Batched(monkeypatch)
    need = ARENA * bytes_per_sample(
        batched.graph, {name: array.shape for name, array in feeds_of(4, 0).items()}, frozenset({"x", "target"})
    )
    for limit, loaded in ((100 * need, [True]), (need, [])):
        short = Batched(monkeypatch, memory_limit=limit)
        run = partial(short.session.run, outputs=OUTPUTS[:3])
        parts = [feeds_of(count, 1) for count in (2, 3)]
        found = list(side_by_side(lambda feeds: run(feeds, forwards={}), parts, 2))  # noqa: B023
        np.testing.assert_equal(found, [run(feeds) for feeds in parts])
        assert short.loaded == loaded


def test_no_more_samples_are_kept_than_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    feeds = feeds_of(9, 0)
    shapes = {name: array.shape for name, array in feeds.items()}
    need = ARENA * bytes_per_sample(Batched(monkeypatch).graph, shapes, frozenset({"x", "target"}))

    def sizes(limit: int, **options: Any) -> list[int]:
        session = Batched(monkeypatch, memory_limit=limit).session
        return [len(part["x"]) for _, part in session.split(feeds, **options)]

    assert sizes(5 * need) == [8, 1]
    assert sizes(5 * need, at_once=True) == [5, 4]
    assert sizes(100 * need, at_once=True) == [8, 1]


def test_a_file_as_onnx_runtime_optimised_it_is_cut_to_the_last_bit(tmp_path: Path) -> None:
    """Its convolutions are in ONNX Runtime's own layout, and so is what crosses the cut."""
    file = tmp_path / "model.onnx"
    nodes = [
        helper.make_node("Conv", ["x", "K"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["a"]),
        helper.make_node("HardSigmoid", ["a"], ["mask"], alpha=3e38, beta=0.0),
        helper.make_node("Mul", ["a", "t"], ["started"]),
        helper.make_node("Mul", ["started", "mask"], ["masked"]),
        helper.make_node("ConvTranspose", ["masked", "K"], ["grad_x"], pads=[1, 1, 1, 1]),
    ]
    kernel = np.random.default_rng(5).standard_normal((16, 3, 3, 3)).astype(np.float32)
    model = small.build(
        nodes, [("x", FLOAT, ["N", 3, 8, 8]), ("t", FLOAT, [])], [("grad_x", FLOAT, ["N", 3, 8, 8])], {"K": kernel}
    )
    whole = Session(model, providers=[CPU], threads=1, save_to=file)
    before, after = cut(onnx.load(file), {"t"})
    forward = Session(before, providers=[CPU], threads=1, optimised=True)
    state_types(after, forward.output_types)
    halves = Halves(forward, Session(after, providers=[CPU], threads=1, optimised=True))
    x, kept = np.random.default_rng(6).standard_normal((2, 3, 8, 8)).astype(np.float32), {}
    for t in (1.0, -2.5):
        feeds = {"x": x, "t": np.array(t, np.float32)}
        np.testing.assert_array_equal(halves.run(feeds, ["grad_x"], kept)[0], whole.run(feeds, ["grad_x"])[0])
