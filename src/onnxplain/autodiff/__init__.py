"""ONNX graph to ONNX graph: reverse-mode autodiff with standard operators only."""

from __future__ import annotations

from . import rules
from .differentiate import differentiate, differentiate_ir
from .graph.channels import channel_axis
from .lowering import lower_gradients
from .reverse.registry import vjp
from .to_file import differentiate_file

__all__ = ["channel_axis", "differentiate", "differentiate_file", "differentiate_ir", "lower_gradients", "rules", "vjp"]
