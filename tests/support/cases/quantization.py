"""Cases of QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import torch

from support.cases.base import Case, normal, positive, uniform
from support.quantized import QuantizedCase, fake

U8, I8 = np.array(120, np.uint8), np.array(-5, np.int8)
S = 0.01  # ±1.28 with 256 numbers: about a quarter of the drawn values are saturated


def straight(x: torch.Tensor, s: torch.Tensor, z: Any, low: float, high: float) -> torch.Tensor:
    """Quantised with a scale that has a derivative too; the result stays in numbers."""
    number = torch.round(x / s) + z
    inside = (number >= low) & (number <= high)
    return torch.clamp(number, low, high).detach() + inside * (x / s - (x / s).detach())


def float8(x: torch.Tensor, scale: float, limit: float) -> torch.Tensor:
    y = (x / scale).float().to(torch.float8_e4m3fn).double() * scale
    return y.detach() + ((x / scale).abs() < limit) * (x - x.detach())


def block(values: np.ndarray, size: int, extent: int, axis: int) -> torch.Tensor:
    return torch.tensor(np.repeat(values, size, axis=axis).astype(np.float64)).narrow(axis, 0, extent)


def narrow(low: int, high: int, zero: int) -> Any:
    """A twin for types that torch has no integers of."""
    return lambda x: (straight(x, torch.tensor(0.3), zero, low, high) - zero) * 0.3


SCALES, ZEROS = np.array([0.01, 0.02, 0.005]), np.array([3, 128, 250], np.uint8)
BLOCKS = np.array([[0.01, 0.02], [0.03, 0.01], [0.005, 0.02]])
BLOCK_ZEROS = np.array([[-5, 0], [3, 100], [-100, 20]], np.int8)
I4, U4 = np.array(-3, ml_dtypes.int4), np.array(5, ml_dtypes.uint4)
DATA = np.arange(-12, 12, dtype=np.int8).reshape(2, 3, 4) * 9

CASES = [
    QuantizedCase(
        "QuantizeLinear", (normal("N", 3, 4), np.array(S), U8), name="uint8", dequantizes=(S, U8),
        torch=lambda x: fake(x, S, U8),
    ),
    QuantizedCase(
        "QuantizeLinear", (normal("N", 3, 4), np.array(S), U8), name="opset-18", dequantizes=(S, U8), opset=18,
        torch=lambda x: fake(x, S, U8), reference=False, note="the reference evaluator starts with version 19",
    ),
    QuantizedCase(
        "QuantizeLinear", (normal("N", 3, 4), np.array(S), I8), name="int8", dequantizes=(S, I8),
        torch=lambda x: fake(x, S, I8),
    ),
    QuantizedCase(
        "QuantizeLinear", (normal("N", 3, 4), np.array([S]), np.array([120], np.uint8)), name="one-element-scale",
        dequantizes=(S, U8), torch=lambda x: fake(x, S, U8),
    ),
    QuantizedCase(
        "QuantizeLinear", (uniform("N", 5, low=-0.2, high=1.3), np.array(1 / 255)), name="no-zero-point",
        dequantizes=(1 / 255, np.array(0, np.uint8)), torch=lambda x: fake(x, 1 / 255, np.array(0, np.uint8)),
    ),
    QuantizedCase(
        "QuantizeLinear", (normal("N", 3, 4), SCALES, ZEROS), name="channels", dequantizes=(SCALES, ZEROS),
        torch=lambda x: fake(x, SCALES, ZEROS, 1),
    ),
    QuantizedCase(
        "QuantizeLinear", (normal("N", 2, 3), SCALES, ZEROS), {"axis": -1}, name="last-axis",
        dequantizes=(SCALES, ZEROS), torch=lambda x: fake(x, SCALES, ZEROS, 2),
    ),
    QuantizedCase(
        "QuantizeLinear", (normal("N", 3, 4), SCALES, ZEROS), name="run-time-parameters", runtime=(1, 2),
        dequantizes=(SCALES, ZEROS), torch=lambda x: fake(x, SCALES, ZEROS, 1),
        reference=False, note="ONNX Runtime takes the scale in float32, as it is fed",
    ),
    QuantizedCase(
        "QuantizeLinear", (normal("N", 3), np.array(S)), name="run-time-scale", runtime=(1,),
        dequantizes=(S, np.array(0, np.uint8)), torch=lambda x: fake(x, S, np.array(0, np.uint8)),
        reference=False, note="ONNX Runtime takes the scale in float32, as it is fed",
    ),
    QuantizedCase(
        "QuantizeLinear", (normal("N", 3), positive()), name="scale-wanted", dequantizes=(S, np.array(0, np.uint8)),
        torch=lambda x, s: straight(x, s, 0, 0, 255) * S,
    ),
    QuantizedCase(
        "QuantizeLinear", (normal("N", 3, 2), uniform(3, low=0.01, high=0.02), ZEROS), name="scales-wanted",
        dequantizes=(SCALES, ZEROS),
        torch=lambda x, s: (
            (straight(x, s[:, None], torch.tensor(ZEROS[:, None]), 0, 255) - torch.tensor(ZEROS[:, None]))
            * torch.tensor(SCALES[:, None])
        ),
    ),
    QuantizedCase(
        "QuantizeLinear", (normal("N", 4), np.array(1e-4), np.array(7, np.int16)), name="int16", opset=21,
        dequantizes=(1e-4, np.array(7, np.int16)),
        torch=lambda x: (straight(x, torch.tensor(1e-4, dtype=torch.float64), 7, -32768, 32767) - 7) * 1e-4,
    ),
    QuantizedCase(
        "QuantizeLinear", (normal("N", 4), np.array(2e-5), np.array(30000, np.uint16)), name="uint16", opset=21,
        dequantizes=(2e-5, np.array(30000, np.uint16)),
        torch=lambda x: (straight(x, torch.tensor(2e-5, dtype=torch.float64), 30000, 0, 65535) - 30000) * 2e-5,
    ),
    QuantizedCase(
        "QuantizeLinear", (normal("N", 9), np.array(0.3), I4), name="int4", opset=21, dequantizes=(0.3, I4),
        torch=narrow(-8, 7, -3),
    ),
    QuantizedCase(
        "QuantizeLinear", (normal("N", 9), np.array(0.3), U4), name="uint4", opset=21, dequantizes=(0.3, U4),
        torch=narrow(0, 15, 5),
    ),
    QuantizedCase(
        "QuantizeLinear", (normal("N", 9), np.array(0.003), np.array(0, ml_dtypes.float8_e4m3fn)), name="float8",
        opset=19, dequantizes=(0.003, np.array(0, ml_dtypes.float8_e4m3fn)), torch=lambda x: float8(x, 0.003, 464),
    ),
    QuantizedCase(
        "QuantizeLinear", (normal(3, 3), BLOCKS, BLOCK_ZEROS), {"axis": 1, "block_size": 2}, name="blocked", opset=21,
        dequantizes=(1.0, np.array(0, np.int8)), reference=False,
        note="the reference evaluator takes no block that is cut off",
        torch=lambda x: straight(
            x, block(BLOCKS, 2, 3, 1), block(BLOCK_ZEROS, 2, 3, 1), -128, 127
        ),
    ),
]  # fmt: skip

CASES += [
    Case("DequantizeLinear", (DATA, positive(), I8), name="scale-wanted", opset=19),
    Case("DequantizeLinear", (DATA, positive(3), np.array([1, 2, 3], np.int8)), name="scales-wanted", opset=19),
    Case("DequantizeLinear", (DATA, positive(4)), {"axis": -1}, name="last-axis", opset=19),
    Case("DequantizeLinear", (DATA.astype(np.int32), positive(2)), {"axis": 0}, name="int32", opset=19),
    Case(
        "DequantizeLinear", (DATA, positive(2, 3, 2), np.ones((2, 3, 2), np.int8)), {"axis": 2, "block_size": 2},
        name="blocked", opset=21,
    ),
    Case(
        "DequantizeLinear", (DATA, positive(2, "H3", 2)), {"axis": 2, "block_size": 2}, name="blocked-symbolic",
        opset=21,
    ),
    QuantizedCase(
        "DequantizeLinear", (normal("N", 3, 4), SCALES, ZEROS), name="channels", quantizes={0: (S, U8)},
        torch=lambda x: (
            (fake(x, S, U8) / S + 120 - torch.tensor(ZEROS[:, None])) * torch.tensor(SCALES[:, None])
        ),
    ),
    QuantizedCase(
        "DequantizeLinear", (normal("N", 3, 4), positive(), I8), name="both-wanted", quantizes={0: (S, I8)},
        torch=lambda x, s: fake(x, S, I8) / S * s,
    ),
    QuantizedCase(
        "DynamicQuantizeLinear", (normal("N", 3, 4),), name="plain", dequantizes=(1.0, np.array(0, np.uint8)),
        outputs=3, torch=lambda x: dynamic(x),
    ),
]  # fmt: skip

MS: dict[str, Any] = {"domain": "com.microsoft", "reference": False, "note": "an operator of ONNX Runtime"}
CASES += [
    QuantizedCase(
        "QuantizeLinear", (normal("N", 3, 4), np.array(S), I8), name="int8", dequantizes=(S, I8),
        torch=lambda x: fake(x, S, I8), **MS,
    ),
    QuantizedCase(
        "QuantizeLinear", (normal("N", 3, 4), SCALES, ZEROS), {"axis": 1}, name="channels", dequantizes=(SCALES, ZEROS),
        torch=lambda x: fake(x, SCALES, ZEROS, 1), **MS,
    ),
    QuantizedCase(
        "DequantizeLinear", (normal("N", 3, 4), SCALES, ZEROS), {"axis": 1}, name="channels", quantizes={0: (S, U8)},
        torch=lambda x: (
            (fake(x, S, U8) / S + 120 - torch.tensor(ZEROS[:, None])) * torch.tensor(SCALES[:, None])
        ), **MS,
    ),
    Case("DequantizeLinear", (DATA.astype(np.int16) * 50, positive(), np.array(-7, np.int16)), name="int16", **MS),
]  # fmt: skip


def dynamic(x: torch.Tensor) -> torch.Tensor:
    high, low = max(float(x.detach().max()), 0), min(float(x.detach().min()), 0)
    scale = (high - low) / 255
    return straight(x, torch.tensor(scale, dtype=torch.float64), round(-low / scale), 0, 255)
