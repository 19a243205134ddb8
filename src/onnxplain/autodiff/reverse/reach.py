"""Which values of a graph depend on which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import onnx_ir as ir

from ..graph.bodies import bodies
from . import registry
from .quantized import carries, is_float, is_kernel

__all__ = ["Path", "captured", "depends_on", "is_float", "needed_for", "reads", "rounding", "stand_ins"]

#: Operators that read only the shape of their input.
_SHAPE_ONLY = {"Shape", "Size"}
#: Operators that move floats, or round them.
_MOVES = {
    "Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Floor", "Ceil", "Round",
}  # fmt: skip
#: Operators whose integers and truth values say which floats to take, and are not made into floats.
_CONTROLLED = {"Where", "Attention", "MultiHeadAttention", "GroupQueryAttention"}


def captured(node: ir.Node) -> list[ir.Value]:
    """Values of outer graphs that the node's subgraphs read, each once, in order of their first use."""
    if not node.attributes:
        return []
    found: dict[ir.Value, None] = {}
    for body in bodies(node):
        nodes = list(body.all_nodes())
        graphs = [body, *(inner for n in nodes for inner in bodies(n))]
        own = {v for n in nodes for v in n.outputs}
        own.update(v for g in graphs for v in [*g.inputs, *g.initializers.values()])
        used = [v for n in nodes for v in n.inputs] + [v for g in graphs for v in g.outputs]
        found.update((v, None) for v in used if v is not None and v not in own)
    return list(found)


def reads(node: ir.Node) -> list[ir.Value]:
    """Everything a node reads: its inputs and what its subgraphs capture."""
    return [v for v in node.inputs if v is not None] + captured(node)


def depends_on(nodes: Sequence[ir.Node], sources: Sequence[ir.Value]) -> set[ir.Value]:
    """``sources`` and every value with a path of floats or quantised numbers from one of them."""
    reached = set(sources)
    for node in nodes:
        if node.op_type not in _SHAPE_ONLY and not reached.isdisjoint(reads(node)):
            reached.update([v for v in node.outputs if is_float(v) or carries(node, v, reached)])
    return reached


def needed_for(nodes: Sequence[ir.Node], output: ir.Value) -> set[ir.Value]:
    """``output`` and every value it is computed from."""
    needed = {output}
    for node in reversed(nodes):
        if not needed.isdisjoint(node.outputs) and node.op_type not in _SHAPE_ONLY:
            needed.update(reads(node))
    return needed


def rounding(path: Path) -> list[ir.Node]:
    """Return the nodes that round on a path: their derivative is straight-through."""
    found = []
    for node in path.steps:
        found += [n for n in [node, *(n for body in bodies(node) for n in body.all_nodes())] if _rounds(n)]
    return found


def _rounds(node: ir.Node) -> bool:
    registration = registry.newest(node.domain, node.op_type)
    return registration is not None and registration.rounds


def stand_ins(nodes: Sequence[ir.Node], source: ir.Value) -> list[ir.Value]:
    """Return the input itself if it is float, else the first float tensors computed from it.

    Where an integer kernel reads the integers before any float is made of them, what it reads stands in. Floats that
    are only made into integers, such as the token ids of Keras, count as integers.
    """
    integers = _made_whole(nodes, source) if source.dtype is not None and is_float(source) else {source}
    if not integers:
        return [source]
    same = {source}
    found: dict[ir.Value, None] = {}
    for node in nodes:
        read = [v for v in reads(node) if v in integers]
        if node.op_type in _SHAPE_ONLY or not read:
            continue
        if is_kernel(node):
            found.update((source if v in same else v, None) for v in read)
            continue
        for value in node.outputs:
            if value.dtype is not None and is_float(value):
                if node.op_type not in _CONTROLLED:
                    found[value] = None
            else:
                integers.add(value)
                if value.dtype == source.dtype and any(v in same for v in read):
                    same.add(value)
    return [source] if source in found else list(found)


def _made_whole(nodes: Sequence[ir.Node], source: ir.Value) -> set[ir.Value]:
    """Return the integers that a float input is cast to; none where floats are computed from it.

    What only compares it does not count: a threshold has no gradient.
    """
    floats, found = {source}, set[ir.Value]()
    for node in nodes:
        if node.op_type in _SHAPE_ONLY or floats.isdisjoint(reads(node)):
            continue
        if any(is_float(v) or carries(node, v, floats) for v in node.outputs):
            if node.op_type not in _MOVES:
                return set()
            floats.update(node.outputs)
        elif node.op_type == "Cast" and node.outputs[0].dtype != ir.DataType.BOOL:
            found.update(node.outputs)
    return found


@dataclass(frozen=True)
class Path:
    """What lies between ``sources`` and ``output`` among ``nodes``: computed once, for all who ask."""

    nodes: Sequence[ir.Node]
    sources: Sequence[ir.Value]
    output: ir.Value

    @classmethod
    def from_inputs(cls, graph: ir.Graph, output: ir.Value, inputs: Sequence[ir.Value] | None = None) -> Path:
        """Return the path from ``inputs``, all of ``graph`` if None, or from the floats that stand in for them."""
        nodes = list(graph)
        needed = needed_for(nodes, output)
        sources = graph.inputs if inputs is None else inputs
        return cls(nodes, [v for source in sources for v in stand_ins(nodes, source) if v in needed], output)

    @cached_property
    def active(self) -> set[ir.Value]:
        """What depends on a source by floats."""
        return depends_on(self.nodes, self.sources)

    @cached_property
    def needed(self) -> set[ir.Value]:
        """What the output is computed from."""
        return needed_for(self.nodes, self.output)

    @cached_property
    def values(self) -> set[ir.Value]:
        """What lies on the path."""
        return self.active & self.needed

    @cached_property
    def steps(self) -> list[ir.Node]:
        """The nodes on the path, in order: they read something on it and make something on it."""
        return [n for n in self.nodes if not self.values.isdisjoint(n.outputs) and not self.values.isdisjoint(reads(n))]

    @property
    def leads(self) -> bool:
        """Whether the output depends on a source by floats."""
        return self.output in self.active
