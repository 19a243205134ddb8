"""Which values of a graph depend on which."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from . import registry
from .quantized import carries, is_float, is_kernel

__all__ = ["captured", "depends_on", "is_float", "needed_for", "reads", "rounding", "stand_ins"]

#: Operators that read only the shape of their input.
_SHAPE_ONLY = {"Shape", "Size"}
#: Operators whose integers and truth values say which floats to take, and are not made into floats.
_CONTROLLED = {"Where", "Attention", "MultiHeadAttention", "GroupQueryAttention"}


def captured(node: ir.Node) -> list[ir.Value]:
    """Values of outer graphs that the node's subgraphs read, each once, in order of their first use."""
    found: dict[ir.Value, None] = {}
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            inner = attribute.as_graph()
            nodes = list(inner.all_nodes())
            graphs = [inner, *(g for n in nodes for a in n.attributes.values() if (g := _graph(a)) is not None)]
            own = {v for n in nodes for v in n.outputs}
            own.update(v for g in graphs for v in [*g.inputs, *g.initializers.values()])
            used = [v for n in nodes for v in n.inputs] + [v for g in graphs for v in g.outputs]
            found.update((v, None) for v in used if v is not None and v not in own)
    return list(found)


def _graph(attribute: ir.Attr) -> ir.Graph | None:
    return attribute.as_graph() if attribute.type == ir.AttributeType.GRAPH else None


def reads(node: ir.Node) -> list[ir.Value]:
    """Everything a node reads: its inputs and what its subgraphs capture."""
    return [v for v in node.inputs if v is not None] + captured(node)


def depends_on(nodes: Sequence[ir.Node], sources: Sequence[ir.Value]) -> set[ir.Value]:
    """``sources`` and every value with a path of floats or quantised numbers from one of them."""
    reached = set(sources)
    for node in nodes:
        if node.op_type not in _SHAPE_ONLY and any(v in reached for v in reads(node)):
            reached.update([v for v in node.outputs if is_float(v) or carries(node, v, reached)])
    return reached


def needed_for(nodes: Sequence[ir.Node], output: ir.Value) -> set[ir.Value]:
    """``output`` and every value it is computed from."""
    needed = {output}
    for node in reversed(nodes):
        if any(v in needed for v in node.outputs) and node.op_type not in _SHAPE_ONLY:
            needed.update(reads(node))
    return needed


def rounding(nodes: Sequence[ir.Node], sources: Sequence[ir.Value], output: ir.Value) -> list[ir.Node]:
    """The nodes that round on the way from ``sources`` to ``output``: their derivative is straight-through."""
    active, needed = depends_on(nodes, sources), needed_for(nodes, output)
    found = []
    for node in nodes:
        if any(v in active for v in reads(node)) and any(v in active and v in needed for v in node.outputs):
            graphs = [g for a in node.attributes.values() if (g := _graph(a)) is not None]
            found += [n for n in [node, *(n for g in graphs for n in g.all_nodes())] if _rounds(n)]
    return found


def _rounds(node: ir.Node) -> bool:
    registration = registry.newest(node.domain, node.op_type)
    return registration is not None and registration.rounds


def stand_ins(nodes: Sequence[ir.Node], source: ir.Value) -> list[ir.Value]:
    """The input itself if it is float, else the first float tensors computed from it.

    Where an integer kernel reads the integers before any float is made of them, what it reads stands in.
    """
    if source.dtype is not None and is_float(source):
        return [source]
    integers, same = {source}, {source}
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
