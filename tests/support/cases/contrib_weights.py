"""Cases of products with packed weights of a few bits."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import torch

from support.cases.base import Case, normal, positive

MS: dict[str, Any] = {"domain": "com.microsoft", "reference": False, "note": "an operator of ONNX Runtime"}
RNG = np.random.default_rng(5)
N, K, BLOCK = 3, 40, 16  # the last block is cut off


def packed(numbers: np.ndarray, bits: int) -> np.ndarray:
    """Numbers along the last axis in bytes, the lowest bits first."""
    per_byte = 8 // bits
    missing = -numbers.shape[-1] % per_byte
    padded = np.pad(numbers, [(0, 0)] * (numbers.ndim - 1) + [(0, missing)])
    grouped = padded.reshape(*padded.shape[:-1], -1, per_byte).astype(np.uint32)
    return (grouped << (bits * np.arange(per_byte))).sum(-1).astype(np.uint8)


def n_bits(bits: int, zeros: str, bias: bool = False) -> Case:
    numbers = RNG.integers(0, 2**bits, (N, 3, BLOCK)).astype(np.uint8)
    points = RNG.integers(0, 2**bits, (N, 3)).astype(np.uint8)
    given: list[Any] = [packed(points, bits)] if zeros == "packed" else [points + 0.25] if zeros == "float" else [None]
    level = points if zeros == "packed" else points + 0.25 if zeros == "float" else np.full((N, 3), 2.0 ** (bits - 1))
    centred = torch.tensor(numbers.astype(np.float64) - level[..., None])

    def twin(a: torch.Tensor, scales: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        weights = (centred * scales[..., None]).reshape(N, -1)[:, :K]
        return a @ weights.T + (rest[0] if rest else 0.0)

    return Case(
        "MatMulNBits",
        (normal("N", 2, K), packed(numbers, bits), positive(N, 3), *given, *([None, normal(N)] if bias else [])),
        {"N": N, "K": K, "bits": bits, "block_size": BLOCK}, name=f"{bits}-bits-{zeros}", torch=twin, **MS,
    )  # fmt: skip


FP4 = [0.0, 0.0052083333, 2 / 3, 1.0, 1 / 3, 0.5, 1 / 6, 0.25]
NF4 = [-1.0, -0.6961928, -0.52507305, -0.3949175, -0.28444138, -0.18477343, -0.09105004, 0.0,
       0.0795803, 0.1609302, 0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1.0]  # fmt: skip


def bnb4(name: str, kind: int) -> Case:
    codes = RNG.integers(0, 16, N * 32)
    values = np.array(NF4 if kind else FP4 + [-v for v in FP4])[codes]
    data = ((codes[0::2] << 4) | codes[1::2]).astype(np.uint8)

    def twin(a: torch.Tensor, largest: torch.Tensor) -> torch.Tensor:
        weights = torch.tensor(values) * largest.repeat_interleave(BLOCK)
        return a @ weights.reshape(N, 32).T

    return Case(
        "MatMulBnb4", (normal("N", 2, 32), data, positive(N * 32 // BLOCK)),
        {"N": N, "K": 32, "block_size": BLOCK, "quant_type": kind}, name=name, torch=twin, **MS,
    )  # fmt: skip


CASES = [
    *(n_bits(bits, zeros) for bits in (2, 4, 8) for zeros in ("default", "packed")),
    n_bits(4, "float", bias=True), bnb4("fp4", 0), bnb4("nf4", 1),
]  # fmt: skip

TABLE = RNG.integers(0, 16, (5, 40)).astype(np.uint8)
POINTS = RNG.integers(0, 16, (5, 3)).astype(np.uint8)
AT = np.array([[4, 0], [2, 2]], np.int64)


def taken(scales: torch.Tensor, level: np.ndarray | float) -> torch.Tensor:
    wide = scales.repeat_interleave(BLOCK, 1)[:, :40]
    return ((torch.tensor(TABLE.astype(np.float64)) - torch.tensor(level)) * wide)[torch.tensor(AT)]


CASES += [
    Case("GatherBlockQuantized", (packed(TABLE, 4), AT, positive(5, 3)), {"block_size": BLOCK, "bits": 4},
         name="bytes", torch=lambda scales: taken(scales, 8.0), **MS),
    Case("GatherBlockQuantized", (packed(TABLE, 4), AT, positive(5, 3), packed(POINTS, 4)),
         {"block_size": BLOCK, "bits": 4}, name="zero-points",
         torch=lambda scales: taken(scales, np.repeat(POINTS, BLOCK, 1)[:, :40].astype(np.float64)), **MS),
    Case("GatherBlockQuantized", (TABLE, AT, positive(5, 3)), {"block_size": BLOCK, "bits": 8}, name="8-bits",
         torch=lambda scales: taken(scales, 128.0), **MS),
    Case("GatherBlockQuantized", (TABLE.astype(ml_dtypes.uint4), AT, positive(5, 3)), {"block_size": BLOCK},
         name="uint4", torch=lambda scales: taken(scales, 0.0), opset=21, **MS),
]  # fmt: skip
