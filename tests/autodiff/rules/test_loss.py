"""Losses inside a graph."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import helper

from onnxplain.autodiff import differentiate

from support.checker import session


def test_softmax_cross_entropy_with_both_outputs_in_use() -> None:
    nodes = [
        helper.make_node("SoftmaxCrossEntropyLoss", ["x", "target"], ["loss", "log_probability"], reduction="sum"),
        helper.make_node("Mul", ["loss", "log_probability"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", 4]) for name in "xy")
    target = np.array([3, 0, 1])
    graph = helper.make_graph(nodes, "g", [x], [y], [onnx.numpy_helper.from_array(target, "target")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    value, cotangent = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
    found = session(differentiate(model, target="cotangent")).run(["grad_x"], {"x": value, "cotangent": cotangent})[0]
    z = torch.tensor(value, dtype=torch.float64, requires_grad=True)
    log_probability = torch.log_softmax(z, 1)
    loss = torch.nn.functional.nll_loss(log_probability, torch.tensor(target), reduction="sum")
    (loss * log_probability).backward(torch.tensor(cotangent, dtype=torch.float64))
    np.testing.assert_allclose(found, z.grad, rtol=1e-5, atol=1e-5)
