"""What the passes on the gradient graph share: which nodes they see, and how one value takes another's place."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from ..graph.editing import redirect
from ..graph.emitter import Emitter

#: Operators that runtimes fold when they load a model, and that weights are made by.
_FOLDS = {
    "Add", "Cast", "Concat", "DequantizeLinear", "Div", "Identity", "Mul", "Neg", "Pad", "Reshape", "Slice", "Squeeze",
    "Sub", "Transpose", "Unsqueeze",
}  # fmt: skip


def gradient_nodes(emit: Emitter, forward: Sequence[ir.Node], op_type: str) -> list[ir.Node]:
    """Return the nodes of an operator of the default domain that the walk added to the main graph."""
    own = set(forward)
    return [n for n in emit.graph if n.op_type == op_type and n.domain in ("", "ai.onnx") and n not in own]


def scope_of(node: ir.Node) -> str:
    """Return the scope that an emitted node was named in: what it is the gradient of."""
    return (node.name or node.op_type).removeprefix("grad/").rpartition("/")[0]


def substitute(emit: Emitter, node: ir.Node, new: ir.Value) -> None:
    """Let ``new`` take the place, the shape and, if it is a graph output, the name of the node's only output."""
    substitute_outputs(emit, node, [new])


def substitute_outputs(emit: Emitter, node: ir.Node, values: Sequence[ir.Value]) -> None:
    """:func:`substitute` for all outputs of a node."""
    for old, new in zip(node.outputs, values):
        new.shape = old.shape if old.shape is not None else new.shape
        redirect(emit, old, new)
    emit.graph.remove(node, safe=True)


def remove_dead(graph: ir.Graph, forward: Sequence[ir.Node]) -> None:
    """Remove the nodes that nothing reads any more, but for the ``forward`` ones."""
    kept = set(forward)
    for node in reversed(list(graph)):
        if node not in kept and not any(v.is_graph_output() or any(v.uses()) for v in node.outputs):
            graph.remove(node, safe=True)


def is_constant(value: ir.Value | None) -> bool:
    """Return whether a value is a weight, or made of nothing but weights by operators that runtimes fold."""
    if value is None or value.is_graph_input():
        return False
    if value.const_value is not None:
        return True
    node = value.producer()
    return node is not None and node.op_type in _FOLDS and all(is_constant(v) for v in node.inputs if v is not None)
