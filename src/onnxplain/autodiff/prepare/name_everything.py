"""Give every node and value a name, and every open input dimension one of its own.

Unnamed nodes become ``<operator>_<index>``. An input dimension without a value (unset, negative, or
named ``?`` as some exporters do for every unknown one) becomes ``<input>_dim<axis>``, so that equal
names mean equal extents. A name that outputs share, and no input has, is dropped: some files call the extents of all
scales of a detector "anchors".
"""

from __future__ import annotations

from collections import Counter
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
    doubtful = _shared_by_outputs(model.graph)
    for value in model.graph.outputs:
        if value.shape is not None and any(_is_open(dim) or dim in doubtful for dim in value.shape):
            value.shape = ir.Shape([None if _is_open(dim) or dim in doubtful else dim for dim in value.shape])


def _shared_by_outputs(graph: ir.Graph) -> set[int | ir.SymbolicDim]:
    """The names of dimensions that stand several times in the shapes of outputs, and in that of no input."""
    inputs, outputs = (
        Counter(dim for v in values if v.shape is not None for dim in v.shape if not isinstance(dim, int))
        for values in (graph.inputs, graph.outputs)
    )
    return {dim for dim, count in outputs.items() if count > 1 and dim not in inputs}


def _is_open(dim: int | ir.SymbolicDim) -> bool:
    return dim < 0 if isinstance(dim, int) else dim.value in (None, "", "?")


def _dimension(value: ir.Value, axis: int) -> int | ir.SymbolicDim:
    assert value.shape is not None
    dim = value.shape[axis]
    return ir.SymbolicDim(f"{value.name}_dim{axis}") if _is_open(dim) else dim
