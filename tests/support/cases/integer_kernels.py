"""Cases of operators on quantised numbers: the straight-through derivative of their dequantised meaning."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from support.cases.base import Case, normal
from support.quantized import QuantizedCase, fake, real

MS = "com.microsoft"
#: ONNX Runtime is what says how its integer kernels round.
HOW: dict[str, Any] = {"reference": False, "note": "integer kernels are ONNX Runtime's", "opset": 18}

X = (0.02, np.array(118, np.uint8))
X8 = (0.02, np.array(4, np.int8))
Y = (0.037, np.array(131, np.uint8))
Y8 = (0.041, np.array(-9, np.int8))
RNG = np.random.default_rng(7)
#: Signed weights have seven bits: with eight, sums of two products saturate in ONNX Runtime's kernels for processors
#: that have AVX2 but no VNNI. With these no result lies within rounding of the middle between two integers.
WEIGHT = RNG.integers(-60, 60, (4, 3, 3, 3)).astype(np.int8)
SCALES = np.array([0.004, 0.007, 0.005, 0.002])
BIAS = RNG.integers(-3000, 3000, 4).astype(np.int32)
UNSIGNED = WEIGHT.astype(np.uint8)
COLUMNS = np.arange(1, 7) * 0.002
STEPS = np.arange(6, dtype=np.int32) * 900
ZERO, ZERO8 = np.array(0, np.uint8), np.array(0, np.int8)
COUNT = (0.01, np.array(0, np.int32))
MATRIX = RNG.integers(0, 255, (5, 6)).astype(np.uint8)
MATRIX8 = (MATRIX // 2).astype(np.int8) - np.int8(64)


def given(parameters: tuple[float, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return np.array(parameters[0], np.float32), parameters[1]


def conv(x: torch.Tensor, **options: Any) -> torch.Tensor:
    bias = torch.tensor(BIAS * SCALES * X[0])
    return fake(F.conv2d(fake(x, *X), real(WEIGHT, SCALES[:, None, None, None], 0), bias, **options), *Y)


CONV = (*given(X), WEIGHT, SCALES, np.zeros(4, np.int8), *given(Y), BIAS)

CASES: list[Case] = [
    QuantizedCase(
        "QLinearConv", (normal("N", 3, 5, 5), *CONV), {"pads": [1, 1, 1, 1]}, name="pads", quantizes={0: X},
        dequantizes=Y, torch=lambda x: conv(x, padding=1), **HOW,
    ),
    QuantizedCase(
        "QLinearConv", (normal("N", 3, 6, 5), *CONV), {"strides": [2, 1]}, name="strides", quantizes={0: X},
        dequantizes=Y, torch=lambda x: conv(x, stride=(2, 1)), **HOW,
    ),
    QuantizedCase(
        "QLinearConv", (normal("N", 4, 5, 5), *given(X8), WEIGHT[:, :1], np.array(0.01), np.array(3, np.int8),
        *given(Y8)),
        {"group": 4}, name="depthwise-int8", quantizes={0: X8}, dequantizes=Y8,
        torch=lambda x: fake(F.conv2d(fake(x, *X8), real(WEIGHT[:, :1], 0.01, 3), groups=4), *Y8), **HOW,
    ),
    QuantizedCase(
        "QLinearConv", (normal("N", 5, 5, 3), *CONV), {"channels_last": 1}, name="channels-last", domain=MS,
        quantizes={0: X}, dequantizes=Y, torch=lambda x: conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1), **HOW,
    ),
    QuantizedCase(
        "ConvInteger", (normal("N", 3, 5, 5), UNSIGNED, X[1], np.array(9, np.uint8)),
        {"pads": [0, 1, 2, 1], "dilations": [1, 2]}, name="plain", quantizes={0: X}, dequantizes=COUNT,
        torch=lambda x: F.conv2d(
            F.pad(fake(x, *X) / X[0], (1, 1, 0, 2)), real(UNSIGNED, 1, 9), dilation=(1, 2)
        ) * 0.01,
        **HOW,
    ),
    QuantizedCase(
        "ConvInteger", (normal("N", 3, 3, 3), UNSIGNED), name="no-zero-points",
        quantizes={0: (0.02, ZERO)}, dequantizes=COUNT,
        torch=lambda x: F.conv2d(fake(x, 0.02, ZERO) / 0.02, real(UNSIGNED, 1, 0)) * 0.01,
        **HOW,
    ),
    QuantizedCase(
        "MatMulInteger", (normal("N", 4, 5), MATRIX, X[1], np.arange(6, dtype=np.uint8)), name="zero-points-of-columns",
        quantizes={0: X}, dequantizes=COUNT,
        torch=lambda x: fake(x, *X) / X[0] @ real(MATRIX, 0.01, np.arange(6)), **HOW,
    ),
    QuantizedCase(
        "MatMulInteger", (normal("N", 5), MATRIX), name="no-zero-points", quantizes={0: (0.02, ZERO)},
        dequantizes=COUNT,
        torch=lambda x: fake(x, 0.02, ZERO) / 0.02 @ real(MATRIX, 0.01, 0), **HOW,
    ),
    QuantizedCase(
        "MatMulInteger", (normal("N", 4, 5), normal("N", 5, 3), X[1], X[1]), name="two-variables", quantizes={0: X,
        1: X},
        dequantizes=COUNT,
        torch=lambda a, b: fake(a, *X) @ fake(b, *X) / X[0] ** 2 * 0.01, **HOW,
    ),
    QuantizedCase(
        "QLinearMatMul",
        (normal("N", 4, 5), *given(X), MATRIX, np.array(0.011), np.array(128, np.uint8), *given(Y)), name="tensors",
        quantizes={0: X}, dequantizes=Y, torch=lambda a: fake(fake(a, *X) @ real(MATRIX, 0.011, 128), *Y), **HOW,
    ),
    QuantizedCase(
        "QLinearMatMul",
        (
            normal("N", 5), *given(X), MATRIX8, COLUMNS, np.zeros(6, np.int8), *given(Y),
        ), name="columns", quantizes={0: X}, dequantizes=Y,
        torch=lambda a: fake(fake(a, *X) @ real(MATRIX8, COLUMNS, 0), *Y), **HOW,
    ),
    QuantizedCase(
        "QGemm",
        (normal("N", 5), *given(X), MATRIX, np.array(0.009), np.array(128, np.uint8), STEPS, *given(Y)),
        name="quantised", domain=MS, quantizes={0: X}, dequantizes=Y,
        torch=lambda a: fake(fake(a, *X) @ real(MATRIX, 0.009, 128) + torch.tensor(STEPS) * X[0] * 0.009, *Y), **HOW,
    ),
    QuantizedCase(
        "QGemm",
        (normal(5, "N"), *given(X), MATRIX8.T, COLUMNS, np.zeros(6, np.int8), STEPS),
        {"transA": 1, "transB": 1, "alpha": 0.7}, name="float-out", domain=MS, quantizes={0: X},
        torch=lambda a: 0.7 * (
            fake(a, *X).T @ real(MATRIX8, COLUMNS, 0)
            + torch.tensor(STEPS) * X[0] * torch.tensor(COLUMNS)
        ), **HOW,
    ),
    QuantizedCase(
        "MatMulIntegerToFloat",
        (normal("N", 4, 5), MATRIX, np.array(X[0]), COLUMNS, X[1], np.arange(6, dtype=np.uint8), normal(6)),
        name="bias", domain=MS, quantizes={0: X},
        torch=lambda a, bias: fake(a, *X) @ real(MATRIX, COLUMNS, np.arange(6)) + bias, **HOW,
    ),
    QuantizedCase(
        "MatMulIntegerToFloat", (normal("N", 5), MATRIX, np.array(X[0]), np.array(0.01), X[1]), name="plain",
        domain=MS, quantizes={0: X}, torch=lambda a: fake(a, *X) @ real(MATRIX, 0.01, 0), **HOW,
    ),
    QuantizedCase(
        "DynamicQuantizeMatMul", (normal("N", 4, 5), MATRIX, np.array(0.01), np.array(128, np.uint8), normal(6)),
        name="bias",
        domain=MS, torch=lambda a, bias: dynamic(a) @ real(MATRIX, 0.01, 128) + bias, **HOW,
    ),
    QuantizedCase(
        "DynamicQuantizeMatMul", (normal("N", 5), MATRIX8, COLUMNS), name="plain", domain=MS,
        torch=lambda a: dynamic(a) @ real(MATRIX8, COLUMNS, 0), **HOW,
    ),
    QuantizedCase(
        "QLinearAdd", (normal("N", 3, 4), *given(X), normal("N", 3, 4), *given(Y), *given(X)), domain=MS,
        quantizes={0: X, 3: Y}, dequantizes=X, torch=lambda a, b: fake(fake(a, *X) + fake(b, *Y), *X), **HOW,
    ),
    QuantizedCase(
        "QLinearAdd", (normal("N", 3, 4), *given(X8), normal(4), *given(Y8), *given(Y8)), name="broadcast",
        domain=MS, quantizes={0: X8, 3: Y8}, dequantizes=Y8,
        torch=lambda a, b: fake(fake(a, *X8) + fake(b, *Y8), *Y8), **HOW,
    ),
    QuantizedCase(
        "QLinearMul", (normal("N", 3, 4), *given(X), normal("N", 1, 4), *given(Y), *given(Y)), domain=MS,
        quantizes={0: X, 3: Y}, dequantizes=Y, torch=lambda a, b: fake(fake(a, *X) * fake(b, *Y), *Y), **HOW,
    ),
    QuantizedCase(
        "QLinearConcat", (*given(Y), normal("N", 2), *given(X), normal("N", 3), *given(Y)), {"axis": 1}, domain=MS,
        quantizes={2: X, 5: Y}, dequantizes=Y, torch=lambda a, b: fake(torch.cat([fake(a, *X), fake(b, *Y)], 1),
        *Y), **HOW,
    ),
    QuantizedCase(
        "QLinearWhere",
        (np.array([True, False, True]), normal("N", 3), *given(X), normal("N", 3), *given(Y), *given(X)), domain=MS,
        quantizes={1: X, 4: Y}, dequantizes=X,
        torch=lambda a, b: fake(torch.where(torch.tensor([True, False, True]), fake(a, *X), fake(b, *Y)), *X), **HOW,
    ),
    QuantizedCase(
        "QLinearAveragePool", (normal("N", 2, 5, 6), *given(X), *given(Y)),
        {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 0], "count_include_pad": 1}, name="pads",
        domain=MS,
        quantizes={0: X}, dequantizes=Y,
        torch=lambda x: fake(F.avg_pool2d(fake(x, *X), (3, 2), 2, (1, 0)), *Y), **HOW,
    ),
    QuantizedCase(
        "QLinearAveragePool", (normal("N", 5, 6, 2), *given(X8), *given(Y8)), {"kernel_shape": [3, 2],
        "channels_last": 1},
        name="channels-last", domain=MS, quantizes={0: X8}, dequantizes=Y8,
        torch=lambda x: fake(F.avg_pool2d(fake(x, *X8).permute(0, 3, 1, 2), (3, 2), 1).permute(0, 2, 3, 1), *Y8), **HOW,
    ),
    QuantizedCase(
        "QLinearGlobalAveragePool", (normal("N", 2, 5, 6), *given(X), np.array(0.003), Y[1]), {"channels_last": 0},
        domain=MS, quantizes={0: X}, dequantizes=(0.003, Y[1]),
        torch=lambda x: fake(fake(x, *X).mean((2, 3), keepdim=True), 0.003, Y[1]), **HOW,
    ),
    QuantizedCase(
        "QLinearGlobalAveragePool", (normal("N", 5, 6, 2), *given(X), np.array(0.003), Y[1]), {"channels_last": 1},
        name="channels-last", domain=MS, quantizes={0: X}, dequantizes=(0.003, Y[1]),
        torch=lambda x: fake(fake(x, *X).mean((1, 2), keepdim=True), 0.003, Y[1]), **HOW,
    ),
    QuantizedCase(
        "QLinearLeakyRelu", (normal("N", 3, 4), *given(X), *given(Y)), {"alpha": 0.27}, domain=MS, quantizes={0: X},
        dequantizes=Y, torch=lambda x: fake(F.leaky_relu(fake(x, *X), 0.27), *Y), **HOW,
    ),
    QuantizedCase(
        "QLinearSigmoid", (normal("N", 3, 4), *given(X), np.array(0.003), ZERO), domain=MS,
        quantizes={0: X}, dequantizes=(0.003, ZERO),
        torch=lambda x: fake(torch.sigmoid(fake(x, *X)), 0.003, ZERO), **HOW,
    ),
    QuantizedCase(
        "QLinearSoftmax", (normal("N", 3, 4), *given(X), np.array(0.05), ZERO),
        {"axis": 1, "opset": 13}, domain=MS, quantizes={0: X}, dequantizes=(0.05, ZERO),
        torch=lambda x: fake(torch.softmax(fake(x, *X), 1), 0.05, ZERO), **HOW,
    ),
    QuantizedCase(
        "QLinearSoftmax", (normal("N", 3, 2), *given(X), np.array(0.05), ZERO),
        {"axis": 1, "opset": 11}, name="coerced", domain=MS, quantizes={0: X}, dequantizes=(0.05, ZERO),
        torch=lambda x: fake(torch.softmax(fake(x, *X).flatten(1), 1).reshape(x.shape), 0.05, ZERO),
        **HOW,
    ),
    QuantizedCase(
        "NhwcMaxPool", (normal("N", 5, 6, 2),), {"kernel_shape": [3, 2], "strides": [2, 2]}, domain=MS,
        quantizes={0: X}, dequantizes=X,
        torch=lambda x: F.max_pool2d(fake(x, *X).permute(0, 3, 1, 2), (3, 2), 2).permute(0, 2, 3, 1), **HOW,
    ),
]  # fmt: skip


def dynamic(x: torch.Tensor) -> torch.Tensor:
    """Quantised with the range of the whole tensor: the identity but for rounding."""
    high, low = max(float(x.detach().max()), 0.0), min(float(x.detach().min()), 0.0)
    scale = (high - low) / 255
    zero = round(-low / scale)
    quantised = (torch.clamp(torch.round(x.detach() / scale) + zero, 0, 255) - zero) * scale
    return quantised + x - x.detach()
