"""Transposed convolutions with SAME padding and output_padding: the gradient is that of what the runtime computes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxplain.autodiff import differentiate

from support.graphs import build, run

FLOAT = TensorProto.FLOAT
Extents = list[int | str]


def upsampling(auto_pad: str, extents: Extents, kernel: int, strides: int, extra: int) -> onnx.ModelProto:
    """x [N,2,...] -> a transposed convolution to [N,3,...], squared, and averaged over its first spatial axis."""
    rank = len(extents)
    weight = np.random.default_rng(0).standard_normal((2, 3, *[kernel] * rank)).astype(np.float32)
    nodes = [
        helper.make_node(
            "ConvTranspose",
            ["x", "K"],
            ["large"],
            auto_pad=auto_pad,
            strides=[strides] * rank,
            output_padding=[extra] * rank,
        ),
        helper.make_node("Mul", ["large", "large"], ["squares"]),
        helper.make_node("ReduceMean", ["squares", "first"], ["y"]),
    ]
    outputs = [("y", FLOAT, ["N", 3, 1, *[None] * (rank - 1)])]
    return build(nodes, [("x", FLOAT, ["N", 2, *extents])], outputs, {"K": weight, "first": np.array([2])})


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize(("kernel", "strides", "extra"), [(3, 2, 1), (2, 2, 1), (2, 3, 2)])
@pytest.mark.parametrize("extents", [[5], ["L"], ["H", 4], [5, 4]], ids=str)
def test_same_padding_with_output_padding(
    extents: Extents, kernel: int, strides: int, extra: int, auto_pad: str
) -> None:
    """Along a random direction the gradient agrees with a central difference, which is exact for a quadratic."""
    model = upsampling(auto_pad, extents, kernel, strides, extra)
    rng = np.random.default_rng(1)
    x, direction = rng.standard_normal((2, 2, 2, *[5, 4][: len(extents)])).astype(np.float32)
    y, ahead, behind = (run(model, x=at)["y"] for at in (x, x + direction, x - direction))
    cotangent = rng.standard_normal(y.shape).astype(np.float32)
    found = run(differentiate(model, target="cotangent"), x=x, cotangent=cotangent)
    np.testing.assert_allclose(found["y"], y, rtol=1e-5, atol=1e-6)
    expected = np.sum(cotangent * (ahead.astype(np.float64) - behind)) / 2
    assert np.sum(found["grad_x"].astype(np.float64) * direction) == pytest.approx(expected, rel=1e-3, abs=1e-3)
