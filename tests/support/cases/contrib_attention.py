"""Cases of ONNX Runtime's attention operators."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from support.cases.base import Case, normal, uniform
from support.quantized import QuantizedCase, fake, real

MS: dict[str, Any] = {"domain": "com.microsoft", "reference": False, "note": "an operator of ONNX Runtime"}
LOW = -10000.0


def split(x: torch.Tensor, heads: int) -> torch.Tensor:
    return x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)


def attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor | float = 0.0, scale: float | None = None
) -> torch.Tensor:
    """[B, heads, sequence, size] each; [B, sequence, heads * size]."""
    p = torch.softmax(q @ k.mT * (scale or 1 / math.sqrt(q.shape[-1])) + bias, -1)
    return (p @ v).transpose(1, 2).flatten(2)


def projected(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor, heads: int = 2) -> list[torch.Tensor]:
    return [split(part, heads) for part in (x @ w + b).chunk(3, -1)]


def causal(queries: int, keys: int) -> torch.Tensor:
    return torch.triu(torch.full((queries, keys), LOW, dtype=torch.float64), 1 + keys - queries)


def padding(lengths: list[int], keys: int, starts: list[int] | None = None) -> torch.Tensor:
    at = torch.arange(keys)
    hidden = at >= torch.tensor(lengths)[:, None]
    if starts is not None:
        hidden = hidden | (at < torch.tensor(starts)[:, None])
    return LOW * hidden[:, None, None].double()


RAW = np.array([[1, 1, 1], [1, 0, 1]], np.int32)
RAW3 = np.tril(np.ones((2, 3, 3), np.int32))
X, W, B = normal("N", 3, 4), normal(4, 12), normal(12)
X2 = normal(2, 3, 4)
PAST = normal("N", 2, 2, 2)

CASES = [
    Case("Attention", (X, W, B), {"num_heads": 2}, name="plain",
         torch=lambda x, w, b: attend(*projected(x, w, b)), **MS),
    Case("Attention", (X, W, B), {"num_heads": 2, "unidirectional": 1, "scale": 0.3}, name="causal",
         torch=lambda x, w, b: attend(*projected(x, w, b), causal(3, 3), 0.3), **MS),
    Case("Attention", (X, uniform(4, 14, low=-0.4, high=0.4), normal(14)),
         {"num_heads": 2, "qkv_hidden_sizes": [4, 4, 6]}, name="sizes",
         torch=lambda x, w, b: attend(*(split(part, 2) for part in (x @ w + b).split([4, 4, 6], -1))), **MS),
    Case("Attention", (X2, W, B, RAW), {"num_heads": 2}, name="mask", torch=lambda x, w, b: attend(
         *projected(x, w, b), LOW * (1 - torch.tensor(RAW)[:, None, None].double())), **MS),
    Case("Attention", (X2, W, B, RAW), {"num_heads": 2, "mask_filter_value": -2.0}, name="weak-mask",
         torch=lambda x, w, b: attend(
         *projected(x, w, b), -2 * (1 - torch.tensor(RAW)[:, None, None].double())), **MS),
    Case("Attention", (X2, W, B, RAW3), {"num_heads": 2}, name="mask-of-pairs", torch=lambda x, w, b: attend(
         *projected(x, w, b), LOW * (1 - torch.tensor(RAW3)[:, None].double())), **MS),
    Case("Attention", (X2, W, B, np.array([2, 3], np.int32)), {"num_heads": 2}, name="lengths",
         torch=lambda x, w, b: attend(*projected(x, w, b), padding([2, 3], 3)), **MS),
    Case("Attention", (X2, W, B, np.array([3, 2, 1, 0], np.int32)), {"num_heads": 2}, name="ends-and-starts",
         torch=lambda x, w, b: attend(*projected(x, w, b), padding([3, 2], 3, [1, 0])), **MS),
    Case("Attention", (X, W, B, None, normal(2, "N", 2, 2, 2)), {"num_heads": 2, "unidirectional": 1}, name="past",
         outputs=2, torch=lambda x, w, b, past: _with_past(x, w, b, past)[0], **MS),
    Case("Attention", (X, W, B, None, normal(2, "N", 2, 2, 2)), {"num_heads": 2}, name="present", outputs=2, output=1,
         torch=lambda x, w, b, past: _with_past(x, w, b, past)[1], **MS),
    Case("Attention", (X, W, B, None, None, normal(1, 2, 3, 3)), {"num_heads": 2}, name="bias",
         torch=lambda x, w, b, bias: attend(*projected(x, w, b), bias), **MS),
    Case("MultiHeadAttention", (X, normal("N", 5, 4), normal("N", 5, 6)), {"num_heads": 2}, name="plain",
         torch=lambda q, k, v: attend(split(q, 2), split(k, 2), split(v, 2)), **MS),
    Case("MultiHeadAttention", (X, normal("N", 5, 4), normal("N", 5, 6), normal(14)), {"num_heads": 2, "scale": 0.4},
         name="bias", torch=lambda q, k, v, b: attend(
         split(q + b[:4], 2), split(k + b[4:8], 2), split(v + b[8:], 2), 0.0, 0.4), **MS),
    Case("MultiHeadAttention", (X, X, X), {"num_heads": 2, "unidirectional": 1}, name="causal",
         torch=lambda q, k, v: attend(split(q, 2), split(k, 2), split(v, 2), causal(3, 3)), **MS),
    Case("MultiHeadAttention", (X, normal("N", 2, 5, 2), normal("N", 2, 5, 2)), {"num_heads": 2}, name="heads",
         torch=lambda q, k, v: attend(split(q, 2), k, v), **MS),
    Case("MultiHeadAttention", (X2, X2, X2, None, RAW), {"num_heads": 2}, name="mask", torch=lambda q, k, v: attend(
         split(q, 2), split(k, 2), split(v, 2), LOW * (1 - torch.tensor(RAW)[:, None, None].double())), **MS),
    Case("MultiHeadAttention", (X2, X2, X2, None, np.array([2, 3], np.int32)), {"num_heads": 2}, name="lengths",
         torch=lambda q, k, v: attend(split(q, 2), split(k, 2), split(v, 2), padding([2, 3], 3)), **MS),
    Case("MultiHeadAttention", (X, X, X, None, None, normal(1, 2, 3, 3)), {"num_heads": 2}, name="attention-bias",
         torch=lambda q, k, v, b: attend(split(q, 2), split(k, 2), split(v, 2), b), **MS),
    Case("MultiHeadAttention", (X, X, X, None, None, None, PAST, PAST), {"num_heads": 2},
         name="past", outputs=3, torch=lambda q, k, v, pk, pv: attend(
         split(q, 2), torch.cat([pk, split(k, 2)], 2), torch.cat([pv, split(v, 2)], 2)), **MS),
    Case("MultiHeadAttention", (X, X, X, None, None, None, PAST, PAST), {"num_heads": 2},
         name="present", outputs=3, output=1,
         torch=lambda q, k, v, pk, pv: torch.cat([pk, split(k, 2)], 2), **MS),
]  # fmt: skip

U8 = np.array(121, np.uint8)
S = 0.02
WEIGHTS = np.random.default_rng(3).integers(-80, 80, (4, 12)).astype(np.int8)
SCALES = np.linspace(0.004, 0.01, 12)

CASES += [
    QuantizedCase(
        "QAttention", (X, WEIGHTS, normal(12), np.array(S), np.array(0.01), None, U8, np.array(3, np.int8)),
        {"num_heads": 2}, name="plain", quantizes={0: (S, U8)}, opset=18,
        torch=lambda x, b: attend(*projected(fake(x, S, U8), real(WEIGHTS, 0.01, 3), b)), **MS,
    ),
    QuantizedCase(
        "QAttention",
        (X2, WEIGHTS, normal(12), np.array(S), SCALES, np.array([2, 3], np.int32), U8, np.zeros(12, np.int8)),
        {"num_heads": 2, "unidirectional": 1}, name="columns", quantizes={0: (S, U8)}, opset=18,
        torch=lambda x, b: attend(
            *projected(fake(x, S, U8), real(WEIGHTS, SCALES, 0), b), padding([2, 3], 3) + causal(3, 3)
        ),
        **MS,
    ),
]  # fmt: skip


def _with_past(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor, past: torch.Tensor) -> list[torch.Tensor]:
    q, k, v = projected(x, w, b)
    k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
    return [attend(q, k, v, causal(3, 5)), torch.stack([k, v])]
