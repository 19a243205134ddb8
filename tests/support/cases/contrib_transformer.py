"""Cases of activations, normalisations and embeddings that ONNX Runtime fuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from support.cases.base import Case, normal, positive

MS: dict[str, Any] = {"domain": "com.microsoft", "reference": False, "note": "an operator of ONNX Runtime"}


def gelu_tanh(x: torch.Tensor) -> torch.Tensor:
    return F.gelu(x, approximate="tanh")


def rms(x: torch.Tensor, scale: torch.Tensor, epsilon: float) -> torch.Tensor:
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + epsilon) * scale


def normalized(x: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None, epsilon: float) -> torch.Tensor:
    return F.layer_norm(x, x.shape[-1:], scale, bias, epsilon)


IDS = np.array([[1, 0, 3], [2, 2, 4]], np.int32)
SEGMENTS = np.array([[0, 0, 1], [0, 1, 1]], np.int32)
POSITIONS = np.array([[2, 1, 0], [0, 1, 2]], np.int32)


def embedded(*tables: torch.Tensor, positions: np.ndarray | None = None) -> torch.Tensor:
    words, places, *segments = tables
    at = torch.arange(3) if positions is None else torch.tensor(positions)
    total = words[torch.tensor(IDS)] + places[at]
    return total + segments[0][torch.tensor(SEGMENTS)] if segments else total


CASES = [
    Case("Gelu", (normal("N", 3, 4),), torch=F.gelu, **MS),
    Case("BiasGelu", (normal("N", 3, 4), normal(4)), torch=lambda x, b: F.gelu(x + b), **MS),
    Case("FastGelu", (normal("N", 3, 4),), name="plain", torch=gelu_tanh, **MS),
    Case("FastGelu", (normal("N", 3, 4), normal(4)), name="bias", torch=lambda x, b: gelu_tanh(x + b), **MS),
    Case("QuickGelu", (normal("N", 3, 4),), name="default", torch=lambda x: x * torch.sigmoid(1.702 * x), **MS),
    Case("QuickGelu", (normal("N", 3, 4),), {"alpha": -0.7}, name="alpha",
         torch=lambda x: x * torch.sigmoid(-0.7 * x), **MS),
    Case("SkipLayerNormalization", (normal("N", 3, 4), normal("N", 3, 4), positive(4), normal(4), normal(4)),
         {"epsilon": 1e-3}, name="bias", torch=lambda x, y, s, b, c: normalized(x + y + c, s, b, 1e-3), **MS),
    Case("SkipLayerNormalization", (normal("N", 3, 4), normal("N", 3, 4), positive(4)), name="no-beta",
         torch=lambda x, y, s: normalized(x + y, s, None, 1e-12), **MS),
    Case("SkipLayerNormalization", (normal("N", 3, 4), normal(1, 3, 4), positive(4), normal(4)), name="broadcast",
         torch=lambda x, y, s, b: normalized(x + y, s, b, 1e-12), **MS),
    Case("SkipLayerNormalization", (normal("N", 3, 4), normal("N", 3, 4), positive(4), normal(4)), outputs=4, output=3,
         name="sum", torch=lambda x, y, s, b: x + y, **MS),
    Case("SkipSimplifiedLayerNormalization", (normal("N", 3, 4), normal("N", 3, 4), positive(4), normal(4)),
         {"epsilon": 1e-2}, name="bias", torch=lambda x, y, s, c: rms(x + y + c, s, 1e-2), **MS),
    Case("SkipSimplifiedLayerNormalization", (normal("N", 3, 4), normal("N", 3, 4), positive(4)), name="plain",
         torch=lambda x, y, s: rms(x + y, s, 1e-12), **MS),
    Case("EmbedLayerNormalization", (IDS, SEGMENTS, normal(5, 4), normal(3, 4), normal(2, 4), positive(4), normal(4)),
         {"epsilon": 1e-3}, name="segments", outputs=2,
         torch=lambda w, p, q, s, b: normalized(embedded(w, p, q), s, b, 1e-3), **MS),
    Case("EmbedLayerNormalization", (IDS, None, normal(5, 4), normal(6, 4), None, positive(4), normal(4)),
         name="no-segments", outputs=2, torch=lambda w, p, s, b: normalized(embedded(w, p), s, b, 1e-12), **MS),
    Case("EmbedLayerNormalization",
         (IDS, None, normal(5, 4), normal(3, 4), None, positive(4), normal(4), np.ones((2, 3), np.int32), POSITIONS),
         name="positions", outputs=2,
         torch=lambda w, p, s, b: normalized(embedded(w, p, positions=POSITIONS), s, b, 1e-12), **MS),
    Case("EmbedLayerNormalization", (IDS, SEGMENTS, normal(5, 4), normal(3, 4), normal(2, 4), positive(4), normal(4)),
         name="sum", outputs=3, output=2, torch=lambda w, p, q, s, b: embedded(w, p, q), **MS),
]  # fmt: skip
