"""Replace calls of the model's own functions by their bodies."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir
from onnx_ir.passes.common import InlinePass

from ..graph.passes import Step, fired, graph_pass
from .name_everything import name_everything


@graph_pass(needs="names", ensures="no local function")
def inline_functions(model: ir.Model) -> Iterator[Step]:
    """Inline every local function, in place; does nothing to a model without one."""
    functions = [function.name for function in model.functions.values()]
    if functions:
        InlinePass()(model)
        name_everything(model)
    yield from map(fired, functions)
