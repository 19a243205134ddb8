"""Bodies of If, Loop and Scan: copied into new graphs, with gradients added to them.

The gradient of a node with a body is a node with a body of its own, which computes the forward body
once more (its inner values are not visible from outside) and then walks it backwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx_ir as ir

from ..graph.copying import Copies, copy_nodes
from ..graph.emitter import Emitter
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
        return self.emit.input(self.emit.fresh(name), ir.TensorType(dtype), shape)

    def input_like(self, name: str, value: ir.Value | None, across: int | None = None) -> ir.Value:
        """Append an input of the type and shape of ``value``, or of its slices across an axis."""
        assert value is not None and value.dtype is not None
        shape = value.shape
        if shape is not None and across is not None:
            shape = ir.Shape([extent for axis, extent in enumerate(shape) if axis != across])
        return self.input(name, value.dtype, shape)

    def copy(self, source: ir.Graph, arguments: Sequence[ir.Value]) -> dict[ir.Value, ir.Value]:
        """Copy the nodes of ``source`` with ``arguments`` for its inputs; returns old value -> new value."""
        mapping: Copies = dict(zip(source.inputs, arguments))
        copy_nodes(self.emit, source, self.graph, mapping)
        return {old: new for old, new in mapping.items() if new is not None}

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


def active_states(
    body: ir.Graph,
    states: Sequence[tuple[ir.Value, ir.Value]],
    sources: Sequence[ir.Value],
    active: Sequence[bool],
) -> list[bool]:
    """Return which carried states (input, output of the body) depend on ``sources`` or on an active state."""
    found = list(active)
    while True:
        starts = [*sources, *(inner for (inner, _), a in zip(states, found) if a)]
        reached = depends_on(list(body), starts)
        wider = [a or outer in reached for (_, outer), a in zip(states, found)]
        if wider == found:
            return found
        found = wider
