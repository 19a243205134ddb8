"""ONNX graph to ONNX graph: reverse-mode autodiff with standard operators only."""

from __future__ import annotations

from . import rules
from .differentiate import differentiate
from .layout import channel_axis
from .registry import vjp

__all__ = ["channel_axis", "differentiate", "rules", "vjp"]
