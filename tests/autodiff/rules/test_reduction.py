"""Reductions inside a graph, where axes at run time leave the rank of what follows open."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from onnxplain.autodiff import differentiate

from support.checker import session

FUNCTIONS: dict[str, Callable[[torch.Tensor, Sequence[int]], torch.Tensor]] = {
    "ReduceSum": lambda x, axes: x.sum(axes),
    "ReduceMean": lambda x, axes: x.mean(axes),
    "ReduceMax": lambda x, axes: x.amax(axes),
    "ReduceL2": lambda x, axes: torch.linalg.vector_norm(x, 2, axes),
    "ReduceLogSumExp": lambda x, axes: x.logsumexp(axes),
}


@pytest.mark.parametrize("op", FUNCTIONS)
@pytest.mark.parametrize("axes", [(1,), (0, -1), (2, 0, 1)])
def test_unknown_rank_after_axes_at_run_time(op: str, axes: tuple[int, ...]) -> None:
    nodes = [
        helper.make_node(op, ["x", "axes"], ["r"], keepdims=0),
        helper.make_node("Tanh", ["r"], ["t"]),
        helper.make_node("ReduceSumSquare", ["t"], ["y"], keepdims=0),
    ]
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 3, "W"])
    at_run_time = helper.make_tensor_value_info("axes", onnx.TensorProto.INT64, ["count"])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [])
    graph = helper.make_graph(nodes, "g", [x, at_run_time], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    value = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
    feeds = {"x": value, "axes": np.array(axes), "cotangent": np.array(2.0, dtype=np.float32)}
    (found,) = session(differentiate(model, wrt="x", target="cotangent")).run(["grad_x"], feeds)
    expected = torch.tensor(value, dtype=torch.float64, requires_grad=True)
    (2 * torch.tanh(FUNCTIONS[op](expected, axes)).square().sum()).backward()
    np.testing.assert_allclose(found, expected.grad, rtol=1e-5, atol=1e-6)
