"""Whether the samples of a batch influence each other's scores. Nothing here changes the graph.

The batch is followed by the name of its dimension through the floats between the inputs and the scores. Samples stay
apart as long as every value has that dimension, and no operator computes along it. A mean over the batch loses the
dimension, a product of all samples with all samples has it twice, and a softmax over it computes along it. The rounding
of dynamically quantised models has one scale for all samples; it is not counted.
"""

from __future__ import annotations

import re

import onnx_ir as ir

from ..graph.inference import is_provisional, small_constant, unknown
from ..reverse.reach import Path, reads
from .axes import batches, is_nameless, is_same, marked_batch

#: Operators that move values, or round them: where they lose the batch, the model takes one sample.
_APART = {"Reshape", "Squeeze", "If", "Loop", "Scan", "DynamicQuantizeLinear"}
#: Operators along one axis, with its default.
_ALONG = {"Softmax": -1, "LogSoftmax": -1, "Hardmax": -1, "LpNormalization": -1, "TopK": -1}
#: Operators along all axes from one on, which is an attribute, with its default.
_FROM_ATTRIBUTE = {"LayerNormalization": -1, "SimplifiedLayerNormalization": -1, "RMSNormalization": -1}
#: Operators along all axes from this one on.
_FROM = {
    "Conv": 2, "ConvTranspose": 2, "AveragePool": 2, "MaxPool": 2, "LpPool": 2, "InstanceNormalization": 2,
    "GroupNormalization": 1, "LRN": 1, "Attention": 1, "MultiHeadAttention": 1, "GroupQueryAttention": 1,
}  # fmt: skip
_RECURRENT = {"RNN", "GRU", "LSTM"}


def find_influence(graph: ir.Graph, scores: ir.Value, samples: int | ir.SymbolicDim) -> ir.Node | None:
    """The first node by which a sample has influence on the scores of others; None if none is known.

    ``samples`` is the extent of the batch. Where it cannot be followed, because it has no name of its own, or because
    the extents between are unknown, nothing is found.
    """
    inputs = [v for v in batches(graph, scores) if v.shape is not None and is_same(v.shape[0], samples)]
    if samples == 1 or not inputs:
        return None
    if not isinstance(samples, int) and not is_nameless(samples):
        return _find(graph, inputs, scores, str(samples.value), None)
    with marked_batch(graph, inputs) as mark:
        return _find(graph, inputs, scores, str(mark.value), samples if isinstance(samples, int) else None)


def _find(graph: ir.Graph, inputs: list[ir.Value], scores: ir.Value, name: str, number: int | None) -> ir.Node | None:
    """:func:`find_influence` where the batch is called ``name``; extents of ``number`` may be the batch, too."""
    holds = re.compile(rf"(?<![\w.]){re.escape(name)}(?![\w.])")
    if any(v.shape is not None and _axes(v, holds) != [0] for v in inputs):
        return None  # other axes have the same name
    path = Path.from_inputs(graph, scores)
    leading = _leading(path)
    for node in path.steps:
        read = [v for v in _computed_from(node) if v in leading and _axes(v, holds)]
        made = [v for v in node.outputs if v in leading and v.shape is not None]
        if node.op_type in _APART or not read or not made:
            continue
        if any(_is_lost(v, holds, number) or _times(v, name) > 1 for v in made):
            return node
        first = node.inputs[0]
        if first is not None and first in read and _computes_along(node, first, _axes(first, holds)):
            return node
    return None


def _leading(path: Path) -> set[ir.Value]:
    """What leads to the output by floats, and not by integers alone, such as the number of classes."""
    found = {path.output}
    for node in reversed(path.steps):
        if not found.isdisjoint(node.outputs):
            found.update(v for v in _computed_from(node) if v in path.values)
    return found


def _computed_from(node: ir.Node) -> list[ir.Value]:
    """What a node computes with; of the second input of CastLike it takes the type alone."""
    found = list(reads(node))
    return found[:1] if node.op_type == "CastLike" else found


def _axes(value: ir.Value, holds: re.Pattern[str]) -> list[int]:
    """The axes of a value whose extents are the batch, or a multiple of it."""
    return [axis for axis, extent in enumerate(value.shape or ()) if _is_batch(extent, holds)]


def _is_batch(extent: int | ir.SymbolicDim, holds: re.Pattern[str]) -> bool:
    return not isinstance(extent, int) and extent.value is not None and holds.search(str(extent.value)) is not None


def _is_lost(value: ir.Value, holds: re.Pattern[str], number: int | None) -> bool:
    """Whether none of the axes of a value can be the batch."""
    return not any(
        unknown(extent) or is_provisional(extent) or extent == number or _is_batch(extent, holds)
        for extent in value.shape or ()
    )


def _times(value: ir.Value, name: str) -> int:
    return sum(not isinstance(extent, int) and extent.value == name for extent in value.shape or ())


def _computes_along(node: ir.Node, x: ir.Value, batch: list[int]) -> bool:
    """Whether an operator computes along one of the axes ``batch`` of its first input ``x``, and keeps it."""
    rank = len(x.shape or ())
    attributes = node.attributes
    if node.op_type in _ALONG:
        return attributes.get_int("axis", _ALONG[node.op_type]) % rank in batch
    if node.op_type in _FROM_ATTRIBUTE:
        return max(batch) >= attributes.get_int("axis", _FROM_ATTRIBUTE[node.op_type]) % rank
    if node.op_type in _FROM:
        return max(batch) >= _FROM[node.op_type]
    if node.op_type in _RECURRENT:
        return attributes.get_int("layout", 0) in batch
    if node.op_type == "BatchNormalization":
        return attributes.get_int("training_mode", 0) == 1
    if node.op_type == "MeanVarianceNormalization":
        return not {axis % rank for axis in attributes.get_ints("axes", (0, 2, 3))}.isdisjoint(batch)
    if node.op_type == "CumSum":
        axis = small_constant(node.inputs[1])
        return axis is not None and int(axis.item()) % rank in batch
    return False
