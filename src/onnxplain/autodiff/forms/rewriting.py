"""What the passes on the gradient graph share: which nodes they see, and how one value takes another's place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import onnx_ir as ir

from ..graph.editing import redirect
from ..graph.emitter import Emitter

T = TypeVar("T")
R = TypeVar("R")

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
    for node in reversed(graph):
        if node not in kept and not any(v.uses() or v.is_graph_output() for v in node.outputs):
            graph.remove(node, safe=True)


def bottom_up(root: T, parts: Callable[[T], Sequence[T]], make: Callable[[T, list[R]], R], known: dict[T, R]) -> R:
    """Return ``make`` of ``root`` and of what it makes of its ``parts``, each made once, however deep they lie.

    ``known`` holds what was made before, and grows.
    """
    pending = [root]
    while pending:
        one = pending[-1]
        missing = [] if one in known else [part for part in parts(one) if part not in known]
        if missing:
            pending += reversed(missing)
            continue
        if one not in known:
            known[one] = make(one, [known[part] for part in parts(one)])
        pending.pop()
    return known[root]


def terms(value: ir.Value, is_sum: Callable[[ir.Value], bool]) -> list[ir.Value]:
    """Return what a sum adds up, in order; the value alone if ``is_sum`` does not count it as one."""
    found, pending = [], [value]
    while pending:
        one = pending.pop()
        node = one.producer()
        if node is not None and is_sum(one):
            pending += [v for v in reversed(node.inputs) if v is not None]
        else:
            found.append(one)
    return found


def is_constant(value: ir.Value | None) -> bool:
    """Return whether a value is a weight, or made of nothing but weights by operators that runtimes fold."""
    pending, seen = [value], set[ir.Value]()
    while pending:
        one = pending.pop()
        if one is None or one.is_graph_input():
            return False
        node = one.producer()
        if one.const_value is not None or one in seen:
            continue
        if node is None or node.op_type not in _FOLDS:
            return False
        seen.add(one)
        pending += [v for v in node.inputs if v is not None]
    return True
