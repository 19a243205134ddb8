"""Shapes of what an If or a Loop returns, which ONNX's inference leaves open where subgraphs do not state them.

What a branch of an If makes follows from what it captures. A state that starts with the shape S has
it after every iteration, if the body makes S of S. So the body is inferred from the shapes that the
states start with; an extent that comes back as another is then taken for unknown, and the body is
inferred once more, until nothing changes. A state that comes back with another rank has no shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir

from .bodies import bodies

Shapes = list[ir.Shape | None]
Infer = Callable[[ir.Node], None]


def loop_shapes(loop: ir.Node, infer: Infer) -> Shapes:
    """Return the shape of every output of a Loop as far as it follows from its inputs.

    ``infer`` fills in the shapes of a node's outputs.
    """
    starts = [None if value is None else value.shape for value in loop.inputs[2:]]
    states = starts
    while True:
        found = _one_iteration(loop, states, infer)
        ends, rows = found[: len(states)], found[len(states) :]
        wider = [_common(start, end) for start, end in zip(states, ends)]
        if wider == states:
            return [*states, *(_stacked(row, starts) for row in rows)]
        states = wider


def if_shapes(node: ir.Node, infer: Infer) -> Shapes:
    """Return the shape of every output of an If as far as both branches agree on it.

    ``infer`` fills in the shapes of a node's outputs.
    """
    one, other = ([value.shape for value in _made(body, {}, infer)] for body in bodies(node))
    return [_common(a, b) for a, b in zip(one, other)]


def _one_iteration(loop: ir.Node, states: Shapes, infer: Infer) -> Shapes:
    """Return the shapes of the body's outputs behind the condition, for states of these shapes."""
    body = loop.attributes["body"].as_graph()
    copies: dict[ir.Value, ir.Value] = {}
    for state, start, shape in zip(body.inputs[2:], loop.inputs[2:], states):
        copies[state] = ir.Value(name=state.name, type=None if start is None else start.type, shape=shape)
    return [value.shape for value in _made(body, copies, infer)[1:]]


def _made(body: ir.Graph, copies: dict[ir.Value, ir.Value], infer: Infer) -> list[ir.Value]:
    """Return copies of what a body returns, given those of its inputs, with types and shapes.

    Nothing of the model is touched: nodes and what they capture are copied.
    """
    for node in body:
        for value in node.inputs:
            if value is not None and value not in copies:
                copies[value] = ir.Value(
                    name=value.name, type=value.type, shape=value.shape, const_value=value.const_value
                )
        inputs = [None if value is None else copies[value] for value in node.inputs]
        copy = ir.Node(node.domain, node.op_type, inputs, node.attributes.values(), num_outputs=len(node.outputs))
        for old, new in zip(node.outputs, copy.outputs):
            new.name, copies[old] = old.name, new
        infer(copy)
    return [copies.get(value, value) for value in body.outputs]


def _common(one: ir.Shape | None, other: ir.Shape | None) -> ir.Shape | None:
    """Return the shape in which extents that differ are unknown; None for shapes of different rank."""
    if one is None or other is None or len(one) != len(other):
        return None
    return ir.Shape([a if a == b else None for a, b in zip(one, other)])


def _stacked(row: ir.Shape | None, starts: Sequence[ir.Shape | None]) -> ir.Shape | None:
    """Return the shape of stacked rows; of names of extents only those that the starts have mean the same outside."""
    if row is None:
        return None
    known = {extent for start in starts if start is not None for extent in start}
    return ir.Shape([None, *(extent if isinstance(extent, int) or extent in known else None for extent in row)])
