"""Give every node and value a name, and every open input dimension one of its own.

Unnamed nodes become ``<operator>_<index>``. An input dimension without a value (unset, negative, or
named ``?`` as some exporters do for every unknown one) becomes ``<input>_dim<axis>``, so that equal
names mean equal extents.
"""

from __future__ import annotations

import onnx_ir as ir


def name_everything(model: ir.Model) -> None:
    """Name nodes, values and open input dimensions, in place."""
    nodes = [node for graph in model.graphs() for node in graph]
    taken = {node.name for node in nodes}
    values = {value.name for node in nodes for value in node.outputs}
    for index, node in enumerate(nodes):
        if not node.name:
            node.name = _fresh(f"{node.op_type}_{index}", taken)
        for position, value in enumerate(node.outputs):
            if value.name is None:
                value.name = _fresh(f"{node.name}:{position}", values)
    for value in model.graph.inputs:
        if value.shape is not None:
            value.shape = ir.Shape([_dimension(value, axis) for axis in range(len(value.shape))])
    for value in model.graph.outputs:
        if value.shape is not None and any(_is_open(dim) for dim in value.shape):
            value.shape = ir.Shape([None if _is_open(dim) else dim for dim in value.shape])


def _is_open(dim: int | ir.SymbolicDim) -> bool:
    return dim < 0 if isinstance(dim, int) else dim.value in (None, "", "?")


def _dimension(value: ir.Value, axis: int) -> int | ir.SymbolicDim:
    assert value.shape is not None
    dim = value.shape[axis]
    return ir.SymbolicDim(f"{value.name}_dim{axis}") if _is_open(dim) else dim


def _fresh(name: str, taken: set[str | None]) -> str:
    candidate, count = name, 1
    while candidate in taken:
        candidate, count = f"{name}_{count}", count + 1
    taken.add(candidate)
    return candidate
