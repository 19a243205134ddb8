"""Replace calls of the model's own functions by their bodies."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir
from onnx_ir.passes.common import InlinePass

from ...errors import ModelError
from ..graph.passes import Step, fired, graph_pass
from .name_everything import name_everything

#: Nodes that the bodies of functions may come to: functions that call each other twice each double at every call.
_MOST_NODES = 1_000_000


@graph_pass(needs="names", ensures="no local function")
def inline_functions(model: ir.Model) -> Iterator[Step]:
    """Inline every local function, in place; does nothing to a model without one.

    Raises:
        ModelError: a function calls itself, or the model would have more nodes than anything that was trained.
    """
    functions = [function.name for function in model.functions.values()]
    if functions:
        _check_size(model)
        InlinePass()(model)
        name_everything(model)
    yield from map(fired, functions)


def _check_size(model: ir.Model) -> None:
    """Refuse functions that call themselves, and models that are too large once everything is inlined."""
    nodes = {key: list(function.all_nodes()) for key, function in model.functions.items()}
    calls = {key: {node.op_identifier() for node in inner} & nodes.keys() for key, inner in nodes.items()}
    sizes: dict[ir.OperatorIdentifier, int] = {}
    waiting = list(nodes)
    while waiting:
        ready = [key for key in waiting if sizes.keys() >= calls[key]]
        if not ready:
            raise ModelError(f"the function {waiting[0][1]!r} of the model calls itself. Export the model again.")
        for key in ready:
            sizes[key] = sum(sizes.get(node.op_identifier(), 1) for node in nodes[key])
        waiting = [key for key in waiting if key not in sizes]
    total = sum(sizes.get(node.op_identifier(), 1) for node in model.graph.all_nodes())
    if total > _MOST_NODES:
        raise ModelError(
            f"the model's functions call each other so often that it has {total} nodes without them; the limit is "
            f"{_MOST_NODES}. Do not trust this file."
        )
