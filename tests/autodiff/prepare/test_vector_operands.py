"""Products of a transposed matrix and a vector, which ONNX Runtime's fusion gets wrong."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxplain

V = np.arange(1, 6, dtype=np.float32)
LEVELS = onnxruntime.GraphOptimizationLevel


def model(between: list[str]) -> onnx.ModelProto:
    """y [N] = f(Aᵀ) v of A [5, N], with functions of single elements in between."""
    nodes, last = [helper.make_node("Transpose", ["a"], ["t"], perm=[1, 0])], "t"
    for index, op_type in enumerate(between):
        nodes.append(helper.make_node(op_type, [last], [f"h{index}"]))
        last = f"h{index}"
    nodes.append(helper.make_node("MatMul", [last, "v"], ["y"]))
    a = helper.make_tensor_value_info("a", TensorProto.FLOAT, (5, "N"))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ("N",))
    graph = helper.make_graph(nodes, "g", [a], [y], [numpy_helper.from_array(V, "v")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def run(proto: onnx.ModelProto, level: onnxruntime.GraphOptimizationLevel, feeds: dict[str, np.ndarray]) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])
    return np.asarray(session.run([proto.graph.output[0].name], feeds)[0])


@pytest.mark.parametrize("between", [[], ["Exp"], ["Neg", "Exp"]], ids=len)
def test_outputs_are_those_of_the_plain_model_without_fusions(between: list[str]) -> None:
    plain = model(between)
    a = np.random.default_rng(0).random((5, 3)).astype(np.float32)
    expected = run(plain, LEVELS.ORT_DISABLE_ALL, {"a": a})
    result = onnxplain.differentiate(plain, target="cotangent")
    for level in (LEVELS.ORT_DISABLE_ALL, LEVELS.ORT_ENABLE_ALL):
        found = run(result, level, {"a": a, "cotangent": np.ones(3, dtype=np.float32)})
        np.testing.assert_allclose(found, expected, rtol=1e-6)
