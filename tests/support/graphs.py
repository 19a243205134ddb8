"""Small graphs built node by node, and a way to run them."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from support.checker import session

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def build(
    nodes: list[onnx.NodeProto],
    inputs: list[tuple[str, int, list[int | str | None]]],
    outputs: list[tuple[str, int, list[int | str | None]]],
    constants: dict[str, np.ndarray] | None = None,
    opset: int = 18,
    **fields: object,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(*spec) for spec in inputs],
        [helper.make_tensor_value_info(*spec) for spec in outputs],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, **fields)


W = np.arange(12, dtype=np.float32).reshape(3, 4) - 5


def classifier(tail: list[onnx.NodeProto] | None = None, last: str = "logits") -> onnx.ModelProto:
    """logits = x * x @ W, [N,3] -> [N,4], then ``tail``."""
    nodes = [helper.make_node("Mul", ["x", "x"], ["xx"]), helper.make_node("MatMul", ["xx", "W"], ["logits"])]
    return build(nodes + (tail or []), [("x", FLOAT, ["N", 3])], [(last, FLOAT, ["N", 4])], {"W": W})


X = np.array([[1.0, 2.0, -1.0], [0.5, -2.0, 3.0]], dtype=np.float32)
TARGET = np.array([2, 0])
EXPECTED = 2 * X * W[:, TARGET].T


def names(values: object) -> list[str]:
    return [v.name for v in values]  # type: ignore[attr-defined]


def run(model: onnx.ModelProto, **feeds: np.ndarray) -> dict[str, np.ndarray]:
    runner = session(model)
    outputs = names(runner.get_outputs())
    return dict(zip(outputs, runner.run(outputs, feeds)))
