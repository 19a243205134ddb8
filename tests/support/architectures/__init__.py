"""Small, structurally faithful versions of well-known networks, written in plain torch."""

from __future__ import annotations

from . import classic, dense_prediction, mobile, residual, transformers
from .base import Architecture

ARCHITECTURES: list[Architecture] = [
    *residual.ARCHITECTURES,
    *classic.ARCHITECTURES,
    *mobile.ARCHITECTURES,
    *dense_prediction.ARCHITECTURES,
    *transformers.ARCHITECTURES,
]

__all__ = ["ARCHITECTURES", "Architecture"]
