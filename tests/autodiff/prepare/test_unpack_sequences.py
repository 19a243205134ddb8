"""Values that pass through sequences and optionals: outputs stay, gradients arrive."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxplain import UnsupportedOperatorError
from onnxplain.autodiff import differentiate

from support.checker import session

X = np.random.default_rng(0).standard_normal((2, 6)).astype(np.float32)


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


TWO = [node("Mul", "x x", "a"), node("Exp", "x", "b")]
#: Graphs from x [N,6] to y [N,K]; constants one (1), last (-1), zero (0), three (3), parts ([2, 4]).
GRAPHS: dict[str, list[onnx.NodeProto]] = {
    "construct-at": [*TWO, node("SequenceConstruct", "a b", "s"), node("SequenceAt", "s one", "y")],
    "at-from-the-end": [*TWO, node("SequenceConstruct", "a b", "s"), node("SequenceAt", "s last", "y")],
    "concat": [*TWO, node("SequenceConstruct", "a b a", "s"), node("ConcatFromSequence", "s", "y", axis=1)],
    "stack": [
        *TWO,
        node("SequenceConstruct", "a b", "s"),
        node("ConcatFromSequence", "s", "t", axis=1, new_axis=1),
        node("Flatten", "t", "y"),
    ],
    "insert-and-erase": [
        *TWO,
        node("SequenceEmpty", "", "empty"),
        node("SequenceInsert", "empty a", "s1"),
        node("SequenceInsert", "s1 b zero", "s2"),
        node("SequenceInsert", "s2 x last", "s3"),
        node("SequenceErase", "s3 zero", "s4"),
        node("ConcatFromSequence", "s4", "y", axis=1),
    ],
    "split-parts": [node("SplitToSequence", "x parts", "s", axis=1), node("SequenceAt", "s one", "t"),
                    node("Mul", "t t", "y")],
    "split-step": [node("SplitToSequence", "x four", "s", axis=1), node("SequenceAt", "s last", "t"),
                   node("Mul", "t t", "y")],
    "split-single": [node("SplitToSequence", "x", "s", axis=1, keepdims=0), node("SequenceAt", "s three", "t"),
                     node("Unsqueeze", "t ones", "u"), node("Mul", "u u", "y")],
    "split-and-join": [node("SplitToSequence", "x parts", "s", axis=1), node("Identity", "s", "t"),
                       node("ConcatFromSequence", "t", "u", axis=1), node("Mul", "u x", "y")],
    "optional": [*TWO, node("Optional", "b", "o"), node("OptionalGetElement", "o", "e"), node("Mul", "e a", "y")],
}  # fmt: skip


def model(nodes: list[onnx.NodeProto]) -> onnx.ModelProto:
    scalars = {"one": 1, "last": -1, "zero": 0, "three": 3, "four": 4}
    constants = {name: np.array(value) for name, value in scalars.items()}
    constants |= {"parts": np.array([2, 4]), "ones": np.array([1])}
    used = {name for n in nodes for name in n.input}
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", "K"])],
        [numpy_helper.from_array(array, name) for name, array in constants.items() if name in used],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize("name", GRAPHS)
def test_outputs_stay_and_gradients_agree_with_finite_differences(name: str) -> None:
    plain = model(GRAPHS[name])
    runner = session(plain)
    y = runner.run(None, {"x": X})[0]
    c = np.random.default_rng(1).standard_normal(y.shape).astype(np.float32)
    same, gradient = session(differentiate(plain, target="cotangent")).run(None, {"x": X, "cotangent": c})
    np.testing.assert_array_equal(same, y)
    v = np.random.default_rng(2).standard_normal(X.shape).astype(np.float32)
    h = np.float32(2**-8)
    ahead, behind = (runner.run(None, {"x": X + s * h * v})[0].astype(np.float64) for s in (1, -1))
    slope = float(np.sum(c * (ahead - behind)) / (2 * h))
    assert float(np.sum(gradient * v)) == pytest.approx(slope, rel=1e-3, abs=1e-3)


def test_a_position_known_only_at_run_time_is_refused() -> None:
    unknown = model(GRAPHS["construct-at"])
    del unknown.graph.initializer[:]
    unknown.graph.input.append(helper.make_tensor_value_info("one", TensorProto.INT64, []))
    with pytest.raises(UnsupportedOperatorError, match=r"Sequence(At|Construct)"):
        differentiate(unknown, target="cotangent")
