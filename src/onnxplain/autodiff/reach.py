"""Which values of a graph depend on which."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

#: Operators that read only the shape of their input.
_SHAPE_ONLY = {"Shape", "Size"}


def is_float(value: ir.Value) -> bool:
    """Whether a value can carry a derivative: floating point, or of a type nobody could infer."""
    return value.dtype is None or value.dtype.is_floating_point()


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
    """``sources`` and every value with a float path from one of them."""
    reached = set(sources)
    for node in nodes:
        if node.op_type not in _SHAPE_ONLY and any(v in reached for v in reads(node)):
            reached.update(v for v in node.outputs if is_float(v))
    return reached


def needed_for(nodes: Sequence[ir.Node], output: ir.Value) -> set[ir.Value]:
    """``output`` and every value it is computed from."""
    needed = {output}
    for node in reversed(nodes):
        if any(v in needed for v in node.outputs) and node.op_type not in _SHAPE_ONLY:
            needed.update(reads(node))
    return needed


def stand_ins(nodes: Sequence[ir.Node], source: ir.Value) -> list[ir.Value]:
    """The input itself if it is float, else the first float tensors computed from it."""
    if source.dtype is not None and source.dtype.is_floating_point():
        return [source]
    integers, floats = {source}, []
    for node in nodes:
        if node.op_type in _SHAPE_ONLY or not any(v in integers for v in reads(node)):
            continue
        for value in node.outputs:
            if value.dtype is not None and value.dtype.is_floating_point():
                floats.append(value)
            else:
                integers.add(value)
    return floats
