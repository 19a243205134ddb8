"""Gates in networks of open height and width, where ONNX Runtime must not take one open extent for another."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxplain import Explainer

from support.small_models import build


def network() -> onnx.ModelProto:
    """x [N,3,H,W] -> y [N,4]: convolutions of 32 channels, with ReLUs and pools between them."""
    random = np.random.default_rng(0)
    constants = {"w0": random.standard_normal((32, 3, 3, 3)).astype(np.float32) / 5}
    nodes, last = [], "x"
    for step in range(4):
        if step:
            constants[f"w{step}"] = random.standard_normal((32, 32, 3, 3)).astype(np.float32) / 17
        nodes.append(helper.make_node("Conv", [last, f"w{step}"], [f"c{step}"], pads=[1, 1, 1, 1], kernel_shape=[3, 3]))
        nodes.append(helper.make_node("Relu", [f"c{step}"], [f"r{step}"]))
        last = f"r{step}"
        if step % 2 == 0:
            nodes.append(helper.make_node("MaxPool", [last], [f"p{step}"], kernel_shape=[2, 2], strides=[2, 2]))
            last = f"p{step}"
    constants["w"] = random.standard_normal((32, 4)).astype(np.float32)
    nodes += [
        helper.make_node("GlobalAveragePool", [last], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y"]),
    ]
    given = [("x", TensorProto.FLOAT, ("N", 3, "H", "W"))]
    return build(nodes, given, [("y", TensorProto.FLOAT, ("N", 4))], constants)


def test_same_as_without(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(1).standard_normal((2, 3, 32, 48)).astype(np.float32)
    fused = Explainer(network(), cache=False)
    found = fused.attribute(x, [1, 2])
    assert "Gate" in str(fused.operators)
    monkeypatch.setenv("ONNXPLAIN_OPERATORS", "off")
    plain = Explainer(network(), cache=False)
    assert "Gate" not in str(plain.operators)
    np.testing.assert_array_equal(found, plain.attribute(x, [1, 2]))
