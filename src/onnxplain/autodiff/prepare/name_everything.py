"""Give every node and value a name, and every open input dimension one of its own.

Unnamed nodes become ``<operator>_<index>``. An input dimension without a value (unset, negative, or
named ``?`` as some exporters do for every unknown one) becomes ``<input>_dim<axis>``, so that equal
names mean equal extents.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from ..graph.editing import name
from ..graph.names import Names
from ..graph.passes import Step, fired, graph_pass


@graph_pass(needs="nothing", ensures="every node and value has a name, every open dimension of an input one of its own")
def name_everything(model: ir.Model) -> Iterator[Step]:
    """Name nodes, values and open input dimensions, in place."""
    names = Names.renewed(model.graph)
    for index, node in enumerate(node for graph in model.graphs() for node in graph):
        if not node.name:
            name(names, node, f"{node.op_type}_{index}")
            yield fired(node)
        for position, value in enumerate(node.outputs):
            if value.name is None:
                name(names, value, f"{node.name}:{position}")
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
