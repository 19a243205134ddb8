"""Normalisations that a case cannot express: withdrawn, refused by ONNX Runtime, or refused by the rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch

from onnxplain import UnsupportedOperatorError
from onnxplain.autodiff import differentiate

from support.cases.base import Case, normal
from support.cases.normalization import group_cases, lrn
from support.checker import check, session


@pytest.mark.parametrize("case", group_cases(18), ids=[case.id for case in group_cases(18)])
def test_group_normalization_of_opset_18(case: Case) -> None:
    """Replaced before the walk, since the checker refuses models with it."""
    check(case)


def test_group_normalization_of_opset_18_keeps_its_output() -> None:
    case = group_cases(18)[0]
    model, feeds = case.model(np.dtype(np.float32), None), {k: np.float32(v) for k, v in case.feeds(0, 2).items()}
    before = session(model).run(None, feeds)[0]
    differentiated = session(differentiate(model, target="cotangent"))
    after = differentiated.run([model.graph.output[0].name], {**feeds, "cotangent": np.zeros_like(before)})[0]
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [2, 4, 8])
@pytest.mark.parametrize("beta", [0.5, 0.75])
def test_lrn_of_even_size(size: int, beta: float) -> None:
    """ONNX Runtime's LRN takes odd sizes only: its output is fed, so that the gradient can run."""
    attributes: dict[str, Any] = {"alpha": 0.9, "beta": beta, "bias": 1.5}
    case = Case("LRN", (normal("N", 5, 3, 2),), {"size": size, **attributes})
    x = torch.tensor(case.feeds(0, 2)["x0"], requires_grad=True)
    y = lrn(size, **attributes)(x)
    cotangent = torch.randn(y.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    (expected,) = torch.autograd.grad(y, x, cotangent)
    differentiated = ir.from_proto(differentiate(case.model(np.dtype(np.float32), None), target="cotangent"))
    (node,) = (node for node in differentiated.graph if node.op_type == "LRN")
    forward = ir.Value(name="forward", shape=node.outputs[0].shape, type=node.outputs[0].type)
    differentiated.graph.outputs.remove(node.outputs[0])
    node.outputs[0].replace_all_uses_with(forward)
    differentiated.graph.inputs.append(forward)
    differentiated.graph.remove(node, safe=True)
    arrays = {"x0": x.detach(), "forward": y.detach(), "cotangent": cotangent}
    feeds = {name: array.numpy().astype(np.float32) for name, array in arrays.items()}
    (found,) = session(ir.to_proto(differentiated)).run(["grad_x0"], feeds)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-5)


def test_mean_variance_normalization_of_a_constant() -> None:
    """y = 0 there by the standard and NaN in ONNX Runtime; dy = (dx - mean dx) / 1e-9."""
    case = Case("MeanVarianceNormalization", (normal("N", 4),), {"axes": [1]})
    runner = session(differentiate(case.model(np.dtype(np.float32), None), target="cotangent"))
    cotangent = np.array([[1, 2, 3, 6], [0, 0, 0, 0]], dtype=np.float32)
    found = runner.run(["grad_x0"], {"x0": np.full((2, 4), 0.5, np.float32), "cotangent": cotangent})[0]
    np.testing.assert_allclose(found, np.array([[-2, -1, 0, 3], [0, 0, 0, 0]]) * 1e9, rtol=1e-5)


def test_layer_normalization_with_all_outputs_in_use() -> None:
    nodes = [
        onnx.helper.make_node("LayerNormalization", ["x", "s"], ["n", "mean", "inverse"], epsilon=0.1),
        onnx.helper.make_node("Mul", ["n", "inverse"], ["p"]),
        onnx.helper.make_node("Add", ["p", "mean"], ["y"]),
    ]
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", 5]) for name in "xy")
    scale = np.array([1, -2, 0.5, 3, 0], dtype=np.float32)
    graph = onnx.helper.make_graph(nodes, "g", [x], [y], [onnx.numpy_helper.from_array(scale, "s")])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    value, cotangent = np.random.default_rng(0).standard_normal((2, 3, 5)).astype(np.float32)
    found = session(differentiate(model, target="cotangent")).run(["grad_x"], {"x": value, "cotangent": cotangent})[0]
    z = torch.tensor(value, dtype=torch.float64, requires_grad=True)
    variance, mean = torch.var_mean(z, -1, correction=0, keepdim=True)
    result = (z - mean) / (variance + 0.1) * torch.tensor(scale) + mean
    result.backward(torch.tensor(cotangent, dtype=torch.float64))
    np.testing.assert_allclose(found, z.grad, rtol=1e-5, atol=1e-5)


def test_unknown_rank_is_refused() -> None:
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 3, 4])
    shape = onnx.helper.make_tensor_value_info("shape", onnx.TensorProto.INT64, ["rank"])
    nodes = [
        onnx.helper.make_node("Reshape", ["x", "shape"], ["z"]),
        onnx.helper.make_node("LayerNormalization", ["z", "s"], ["y"], name="norm"),
    ]
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 3, 4])
    scale = onnx.numpy_helper.from_array(np.ones(4, np.float32), "s")
    graph = onnx.helper.make_graph(nodes, "g", [x, shape], [y], [scale])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    with pytest.raises(UnsupportedOperatorError, match=r"LayerNormalization.*'norm'.*rank of input 0.*unknown"):
        differentiate(model, target="cotangent")
