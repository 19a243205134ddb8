"""Which axes of an output count samples, classes and places. Nothing here changes the graph.

The batch is the axis whose name or extent is that of the inputs' first axis, wherever it stands in the output; classes
are on the axis that is stated, that a softmax is taken over, or the usual one; all other axes of more than one element
are places.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import onnx_ir as ir

from ...errors import InputError, ModelError
from ...layout import Layout
from ..graph.channels import channel_axis
from ..graph.inference import Inference, advice_on_rank
from ..graph.schemas import is_standard
from ..reverse.foreign import outputs_of
from ..reverse.reach import needed_for
from .head import Head

#: Dimensions that exporters name without a meaning (tf2onnx).
_NAMELESS = "unk__"
#: How dimensions are called that count samples.
_BATCH = re.compile(r"batch|^(n|b|bs)$", re.IGNORECASE)


@dataclass(frozen=True)
class Axes:
    """The axes of an output, counted as the output counts them.

    ``batch`` is None where the output is of one sample without an axis for it, ``classes`` where there is one score.
    ``samples`` is the extent of the batch: a number where the model fixes it, else the name that the inputs give it.
    """

    batch: int | None
    classes: int | None
    places: tuple[int, ...]
    samples: int | ir.SymbolicDim


def find_axes(graph: ir.Graph, output: ir.Value, head: Head, layout: Layout, class_axis: int | None) -> Axes:
    """The axes of ``output``; ``class_axis`` as stated, of the output.

    Raises:
        InputError: a stated axis is none of the output.
        ModelError: the rank of the output is unknown, or its batch axis.
    """
    if output.shape is None:
        raise ModelError(
            f"the rank of the score tensor {output.name!r} is unknown; {advice_on_rank(output)}, or name another "
            "tensor with tensor=."
        )
    rank = len(output.shape)
    batch = _batch_axis(graph, output, layout, head.class_axis())
    stated = layout.class_axis if class_axis is None else class_axis
    if stated is not None and (not -rank <= stated < rank or stated % rank == batch):
        raise InputError(f"class_axis={stated} is not an axis of {output.name!r}, which has rank {rank}.")
    classes = stated % rank if stated is not None else _class_axis(graph, output, head, layout, batch)
    others = [axis for axis in range(rank) if axis not in (batch, classes)]
    places = tuple(axis for axis in others if output.shape[axis] != 1)
    return Axes(batch, classes, places, 1 if batch is None else _samples(graph, output, output.shape[batch]))


def _samples(graph: ir.Graph, output: ir.Value, extent: int | ir.SymbolicDim) -> int | ir.SymbolicDim:
    """The extent of the batch as the inputs name it; as the output has it where they do not say."""
    extents = [v.shape[0] for v in batches(graph, output) if v.shape is not None]
    if isinstance(extent, int) or extent in extents:
        return extent
    return next((e for e in extents if not isinstance(e, int)), extent)


def batches(graph: ir.Graph, output: ir.Value) -> list[ir.Value]:
    """The inputs with a first axis that ``output`` is computed from; all such inputs where it is computed from none."""
    needed = needed_for(list(graph), output)
    ranked = [v for v in graph.inputs if v.shape is not None and len(v.shape) > 0]
    return [v for v in ranked if v in needed] or ranked


def is_same(a: int | ir.SymbolicDim, b: int | ir.SymbolicDim) -> bool:
    """Whether two extents are equal for all that is known: the same number or name, or open and without a name."""
    if isinstance(a, int) or isinstance(b, int):
        return isinstance(a, int) and a == b
    return a == b or is_nameless(a) or is_nameless(b)


def is_nameless(extent: int | ir.SymbolicDim) -> bool:
    """Whether an extent is open and has no name that means anything."""
    return not isinstance(extent, int) and (extent.value is None or str(extent.value).startswith(_NAMELESS))


def _batch_axis(graph: ir.Graph, output: ir.Value, layout: Layout, softmax: int | None) -> int | None:
    """The axis that is stated, has the name of the inputs' first axis, or its extent; None for one sample alone.

    The axis that a ``softmax`` is taken over may have the batch's extent, and is not the batch.
    """
    assert output.shape is not None
    if layout.batch_axis is not None:
        return _stated_batch(output, layout.batch_axis)
    extents = [v.shape[0] for v in batches(graph, output) if v.shape is not None]
    if not extents:
        return 0 if len(output.shape) else None
    named = _named_axis(output.shape, extents)
    if named is None:
        named = _inner_batch(graph, output)
    return _batch_by_extent(graph, output, extents, softmax) if named is None else named


def _stated_batch(output: ir.Value, axis: int) -> int | None:
    assert output.shape is not None
    if axis == -1:
        return None
    if not 0 <= axis < len(output.shape):
        raise InputError(f"batch_axis={axis} is not an axis of {output.name!r}, of rank {len(output.shape)}.")
    return axis


def _named_axis(shape: ir.Shape, extents: Sequence[int | ir.SymbolicDim]) -> int | None:
    """The first open axis with the name of one of ``extents``."""
    names = {extent for extent in extents if not isinstance(extent, int) and extent.value is not None}
    return next((axis for axis, extent in enumerate(shape) if not isinstance(extent, int) and extent in names), None)


def _inner_batch(graph: ir.Graph, output: ir.Value) -> int | None:
    """The axis of ``output`` that is an inner axis of an input and the batch; None if none is known to be.

    Such an axis is called a batch, or recurrent networks that take [T,N,F] have it in front, without their steps.
    """
    assert output.shape is not None
    named = [(axis, d) for axis, d in enumerate(output.shape) if not isinstance(d, int) and d.value is not None]
    inputs = [list(v.shape) for v in graph.inputs if v.shape is not None]
    everywhere = {d for shape in inputs for d in shape}
    second = {shape[1] for shape in inputs if len(shape) == 3 and not isinstance(shape[0], int)}
    for axis, extent in named:
        if extent in everywhere and (_BATCH.search(str(extent.value)) or (axis == 0 and extent in second)):
            return axis
    return None


def _batch_by_extent(
    graph: ir.Graph, output: ir.Value, extents: Sequence[int | ir.SymbolicDim], softmax: int | None
) -> int | None:
    """The batch where no name tells: the only axis of its extent, or what follows from the graph.

    Raises:
        ModelError: nothing tells.
    """
    assert output.shape is not None
    fixed = [axis for axis, e in enumerate(output.shape) if isinstance(e, int) and e in extents and axis != softmax]
    one_sample = all(extent == 1 for extent in extents)
    if len(fixed) == 1 or (one_sample and 0 in fixed):
        return fixed[0]
    if fixed:
        found = _traced(graph, output)
        if found is not None:
            return found
    elif one_sample:
        return None
    elif len(output.shape) > 0 and _may_be_batch(output.shape, extents):
        return 0
    raise ModelError(
        f"which axis of {output.name!r} {_shape(output)} is the batch is unknown: the inputs' first axes are "
        f"{', '.join(str(extent) for extent in extents)}. State it with layout={{'batch_axis': 0}}, or "
        "layout={'batch_axis': -1} for an output of one sample without such an axis."
    )


def _may_be_batch(shape: ir.Shape, extents: Sequence[int | ir.SymbolicDim]) -> bool:
    """Whether the first axis may be an open batch: it is open itself, or one of a model exported for one sample."""
    if not isinstance(shape[0], int):
        return not all(isinstance(extent, int) for extent in extents)
    return len(shape) > 1 and shape[0] == 1


def _traced(graph: ir.Graph, output: ir.Value) -> int | None:
    """The axis of ``output`` that follows the inputs' first axis, found by giving that a name; None if none does."""
    ranked = [v for v in graph.inputs if v.shape is not None and len(v.shape) > 0]
    with marked_batch(graph, ranked) as mark:
        found = [] if output.shape is None else [axis for axis, extent in enumerate(output.shape) if extent == mark]
    return found[0] if len(found) == 1 else None


@contextmanager
def marked_batch(graph: ir.Graph, inputs: Sequence[ir.Value]) -> Iterator[ir.SymbolicDim]:
    """Call the first axis of ``inputs`` by a name, and infer all shapes anew, inside; yields the name."""
    mark, inference = ir.SymbolicDim("onnxplain batch"), Inference(graph.opset_imports, outputs_of)
    kept = {v: v.shape for v in graph.inputs}
    kept |= {v: v.shape for node in graph for v in node.outputs}
    try:
        for value in inputs:
            assert value.shape is not None
            value.shape = ir.Shape([mark, *list(value.shape)[1:]])
        for node in graph:
            for value in node.outputs:
                value.shape = None
            inference.infer(node)
            if node.op_type == "Reshape" and is_standard(node.domain):
                _follow_reshape(node, mark, kept)
        yield mark
    finally:
        for value, shape in kept.items():
            value.shape = shape


def _follow_reshape(node: ir.Node, mark: ir.SymbolicDim, kept: Mapping[ir.Value, ir.Shape | None]) -> None:
    """Put the mark where a reshape leaves the batch, if it is a number that the reshape's target states as one.

    [B,1,2] -> [2,-1] leaves a batch of two in front: as many values precede it there as before.
    """
    x, y = node.inputs[0], node.outputs[0]
    before, after = (None if x is None else kept.get(x)), kept.get(y)
    if x is None or x.shape is None or y.shape is None or before is None or after is None:
        return
    sizes, new = list(before), list(after)
    marked = [axis for axis, extent in enumerate(x.shape) if extent == mark]
    if len(marked) != 1 or len(new) != len(y.shape) or not all(isinstance(e, int) and e > 0 for e in [*sizes, *new]):
        return
    axis = marked[0]
    places = [i for i, e in enumerate(new) if e == sizes[axis] and math.prod(new[:i]) == math.prod(sizes[:axis])]
    if places and all(y.shape[i] != mark for i in places):
        y.shape = ir.Shape([mark if i == places[0] else e for i, e in enumerate(new)])


def _class_axis(graph: ir.Graph, output: ir.Value, head: Head, layout: Layout, batch: int | None) -> int | None:
    """The axis of a final softmax; else the only one of more than one element; else the usual one."""
    assert output.shape is not None
    rank = len(output.shape)
    rest = [axis for axis in range(rank) if axis != batch]
    if not rest:
        return None
    axis = head.class_axis()
    if axis is not None and axis != batch:
        return axis
    long = [axis for axis in rest if output.shape[axis] != 1]
    if len(long) == 1 and layout.name in (None, "classes", "embedding"):
        return long[0]
    if len(rest) <= 2:
        return rest[-1] if layout.name != "segmentation" or len(rest) == 1 else None
    images = [v for v in graph.inputs if v.shape is not None and len(v.shape) == rank]
    last = bool(images) and channel_axis(images[0]) == rank - 1
    return rest[-1] if last else rest[0]


def _shape(value: ir.Value) -> str:
    extents: Sequence[object] = [] if value.shape is None else list(value.shape)
    return f"[{', '.join(map(str, extents))}]"
