"""Replace calls of the model's own functions by their bodies."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import InlinePass

from .name_everything import name_everything


def inline_functions(model: ir.Model) -> None:
    """Inline every local function, in place; does nothing to a model without one."""
    if model.functions:
        InlinePass()(model)
        name_everything(model)
