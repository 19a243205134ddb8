"""Bodies of If, Loop and Scan: copied into new graphs, with gradients added to them.

The gradient of a node with a body is a node with a body of its own, which computes the forward body
once more (its inner values are not visible from outside) and then walks it backwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx_ir as ir

from .emitter import Emitter
from .reach import depends_on
from .walk import walk


class Body:
    """A new graph under construction: inputs, copied nodes, emitted nodes, outputs."""

    def __init__(self, outer: Emitter, name: str, opsets: dict[str, int]) -> None:
        self.graph = ir.Graph([], [], nodes=[], opset_imports=opsets, name=outer.fresh(name))
        self.emit = outer.child(self.graph)
        self._opsets = opsets

    def input(self, name: str, dtype: ir.DataType, shape: ir.Shape | None) -> ir.Value:
        """Append an input."""
        value = ir.Value(name=self.emit.fresh(name), type=ir.TensorType(dtype), shape=shape)
        self.graph.inputs.append(value)
        return value

    def copy(self, source: ir.Graph, arguments: Sequence[ir.Value]) -> dict[ir.Value, ir.Value]:
        """Copy the nodes of ``source`` with ``arguments`` for its inputs; returns old value -> new value."""
        mapping = dict(zip(source.inputs, arguments))
        copy_nodes(self.emit, source, self.graph, mapping)
        return mapping

    def output(self, value: ir.Value) -> None:
        """Append an output; a value that is an input, captured or an output already goes through Identity."""
        if value.producer() is None or value.graph is not self.graph or value in self.graph.outputs:
            value = self.emit.Identity(value)
        self.graph.outputs.append(value)

    def gradients(
        self, nodes: Iterable[ir.Node], seeds: dict[ir.Value, ir.Value], variables: Sequence[ir.Value]
    ) -> list[ir.Value]:
        """Walk ``nodes`` backwards; one gradient per variable, zeros where there is none."""
        found = walk(self.emit, list(nodes), seeds, variables, self._opsets)
        return [found[v] if v in found else self.emit.zeros_like(v) for v in variables]


def copy_nodes(emit: Emitter, source: ir.Graph, into: ir.Graph, mapping: dict[ir.Value, ir.Value]) -> None:
    """Append copies of ``source``'s nodes to ``into``, under fresh names; ``mapping`` grows by what they make."""
    for value in source.initializers.values():
        assert value.const_value is not None
        mapping[value] = emit.constant(value.const_value.numpy())
    for node in source:
        copy = ir.Node(
            node.domain,
            node.op_type,
            [None if v is None else mapping.get(v, v) for v in node.inputs],
            [_copy_attribute(emit, a, mapping) for a in node.attributes.values()],
            num_outputs=len(node.outputs),
            name=emit.fresh(node.name or node.op_type),
        )
        for old, new in zip(node.outputs, copy.outputs):
            new.name = "" if old.name == "" else emit.fresh(old.name or "value")
            new.type = old.type
            mapping[old] = new
        into.append(copy)
        emit.infer(copy)


def _copy_attribute(emit: Emitter, attribute: ir.Attr, mapping: dict[ir.Value, ir.Value]) -> ir.Attr:
    if attribute.type != ir.AttributeType.GRAPH:
        return attribute
    source = attribute.as_graph()
    graph = ir.Graph([], [], nodes=[], opset_imports=source.opset_imports, name=emit.fresh(source.name or "graph"))
    inner = dict(mapping)
    for value in source.inputs:
        copied = ir.Value(name=emit.fresh(value.name or "input"), type=value.type, shape=value.shape)
        graph.inputs.append(copied)
        inner[value] = copied
    copy_nodes(emit.child(graph), source, graph, inner)
    graph.outputs.extend(inner.get(v, v) for v in source.outputs)
    return ir.Attr(attribute.name, ir.AttributeType.GRAPH, graph)


def active_states(
    body: ir.Graph,
    states: Sequence[tuple[ir.Value, ir.Value]],
    sources: Sequence[ir.Value],
    active: Sequence[bool],
) -> list[bool]:
    """Which carried states (input, output of the body) depend on ``sources`` or on an active state."""
    found = list(active)
    while True:
        starts = [*sources, *(inner for (inner, _), a in zip(states, found) if a)]
        reached = depends_on(list(body), starts)
        wider = [a or outer in reached for (_, outer), a in zip(states, found)]
        if wider == found:
            return found
        found = wider
