"""Configurations of convolution and pooling without one meaning, or that no runtime runs, are refused by name."""

from __future__ import annotations

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from onnxplain import UnsupportedOperatorError
from onnxplain.autodiff import differentiate

from support.cases.base import Case, normal
from support.cases.convolution import conv
from support.checker import compare, torch_gradients

_X = normal("N", 2, 6)
_SYMBOLIC = normal("N", 2, "H6")
_W = normal(2, 2, 1)

REFUSED = [
    (Case("Conv", (_X, _W), {"auto_pad": "SAME_UPPER", "strides": [3]}), r"auto_pad .* strides \[3\] .*'SAME_UPPER'"),
    (
        Case("Conv", (_SYMBOLIC, _W), {"auto_pad": "SAME_LOWER", "strides": [3]}),
        r"'SAME_LOWER'.*replace auto_pad by pads",
    ),
    (Case("Conv", (_X, normal(2, 2, "K3"))), "kernel_shape.*'unknown'"),
    (
        Case("ConvTranspose", (_X, _W), {"output_padding": [1]}),
        r"output_padding = \[1\].*smaller than the strides \[1\]",
    ),
    (Case("ConvTranspose", (_X, _W), {"auto_pad": "SAME_UPPER", "strides": [2]}), "kernel shorter than the strides"),
    (Case("ConvTranspose", (_X, _W), {"output_shape": [14], "strides": [2]}), r"output_shape \[14\].*output_padding"),
    (
        Case("ConvTranspose", (_X, _W), {"output_shape": [12], "strides": [2], "auto_pad": "SAME_UPPER"}),
        r"output_shape \[12\] with auto_pad = 'SAME_UPPER'",
    ),
    (
        Case("MaxPool", (normal("N", 2, 1),), {"kernel_shape": [2], "dilations": [2], "pads": [1, 1]}),
        r"pads = \[1, 1\]",
    ),
    (
        Case("AveragePool", (_X,), {"kernel_shape": [2], "dilations": [2], "auto_pad": "SAME_UPPER"}, opset=19),
        r"auto_pad with dilations = \[2\]",
    ),
    (
        Case(
            "AveragePool", (normal("N", 2, 5),), {"kernel_shape": [2], "strides": [2], "pads": [1, 1], "ceil_mode": 1}
        ),
        r"output extent 3 of axis 2 where shape inference says 4.*raise the model's opset",
    ),
    (Case("LpPool", (_X,), {"kernel_shape": [2], "p": 0}), "p = 0"),
    (Case("GlobalLpPool", (_X,), {"p": -1}), "p = -1"),
]


@pytest.mark.parametrize(("case", "message"), REFUSED, ids=[f"{c.op}-{i}" for i, (c, _) in enumerate(REFUSED)])
def test_refused(case: Case, message: str) -> None:
    with pytest.raises(UnsupportedOperatorError, match=message) as raised:
        differentiate(case.model(np.dtype(np.float32), None), wrt="x0", target="cotangent")
    assert case.op in str(raised.value) and "'node'" in str(raised.value)


@pytest.mark.parametrize("extent", [6, 7, "H6", "H7"])
@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER"])
def test_same_padding_counts_the_dilated_kernel(auto_pad: str, extent: int | str) -> None:
    """ONNX Runtime runs no dilation with SAME; the gradient is right in ONNX's reference evaluator."""
    total = 3 if extent in (6, "H6") else 4
    head = (total + (auto_pad == "SAME_LOWER")) // 2
    case = Case(
        "Conv",
        (normal(2, 2, extent), normal(3, 2, 3)),
        {"auto_pad": auto_pad, "strides": [2], "dilations": [2]},
        torch=conv([head, total - head], stride=2, dilation=2),
    )
    model = differentiate(case.model(np.dtype(np.float64), None), wrt=case.wrt(), target="cotangent")
    feeds = case.feeds(3, 2)
    cotangent = np.random.default_rng(4).standard_normal((2, 3, (int(str(extent)[-1]) + 1) // 2))
    found = ReferenceEvaluator(model).run([f"grad_{name}" for name in case.wrt()], {**feeds, "cotangent": cotangent})
    compare(torch_gradients(case, feeds, cotangent), dict(zip(case.wrt(), found)), 1e-9, "torch")
