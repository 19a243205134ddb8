"""Operators that choose elements by index: Slice, Gather, Compress, TopK, OneHot.

Constant indices give cheap gradients (padding, or gathering by the inverted table); only indices
that are known at run time, or repeat often, need a scatter.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from ...errors import ModelError
from ..geometry.placement import (
    Extent,
    counting,
    dilate,
    embed,
    flip,
    minus,
    positions,
    scatter,
    scatter_flat,
    scatter_rows,
)
from ..graph.emitter import Emitter, static_shape
from ..graph.operator import Operator
from ..reverse.registry import Gradients, vjp


@vjp("Slice")
def slice_(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = x[start:end:step, ...]; dx = dy, spread by the steps, amid zeros."""
    x, starts, ends = node.input(0), node.input(1), node.input(2)
    axes, steps = _constants(node, 3), _constants(node, 4)
    count = _length(starts)
    if count is not None:
        axes = list(range(count)) if node.optional(3) is None else axes
        steps = [1] * count if node.optional(4) is None else steps
    if axes is None or steps is None or x.shape is None:
        where = emit.Slice(positions(emit, x), starts, ends, node.optional(3), node.optional(4))
        return [scatter_flat(emit, dy, where, x), None, None, None, None]
    axes = [axis % len(x.shape) for axis in axes]
    part = flip(emit, dy, [axis for axis, step in zip(axes, steps) if step < 0])
    for axis, step in zip(axes, steps):
        part = dilate(emit, part, axis, abs(step))
    lows = [_lowest(emit, node, k, emit.extent(x, axis), step) for k, (axis, step) in enumerate(zip(axes, steps))]
    return [embed(emit, part, axes, lows, [emit.extent(x, axis) for axis in axes]), None, None, None, None]


def _constants(node: Operator, index: int) -> list[int] | None:
    array = node.constant(index)
    return None if array is None else [int(v) for v in array]


def _length(vector: ir.Value) -> int | None:
    known = None if vector.shape is None else vector.shape[0]
    return known if isinstance(known, int) else None


def _lowest(emit: Emitter, node: Operator, index: int, extent: Extent, step: int) -> Extent:
    """The lowest position that the slice takes of its axis number ``index``; the extent if it is empty."""
    starts, ends = _constants(node, 1), _constants(node, 2)
    if starts is not None and starts[index] == 0 and step > 0:
        return 0
    if starts is not None and ends is not None and isinstance(extent, int):
        return min(range(extent)[starts[index] : ends[index] : step], default=extent)
    bounds = [emit.Cast(emit.Slice(node.input(i), [index], [index + 1]), to=ir.DataType.INT64) for i in (1, 2)]
    taken = emit.Slice(counting(emit, extent), *bounds, [0], [step])
    return emit.ReduceMin(emit.Concat(taken, emit.vector([extent]), axis=0), [0], keepdims=1)


@vjp("Gather")
def gather(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = rows of x along an axis; dx = every row of dy added back where it came from."""
    return [_gathered(emit, node, dy, node.attribute("axis", 0) % node.rank(0)), None]


@vjp("ArrayFeatureExtractor", domain="ai.onnx.ml")
def array_feature_extractor(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = columns of x along its last axis; dx = every column of dy added back where it came from."""
    return [_gathered(emit, node, dy, node.rank(0) - 1), None]


def _gathered(emit: Emitter, node: Operator, dy: ir.Value, axis: int) -> ir.Value:
    x, indices = node.input(0), node.input(1)
    constant = node.constant(1)
    shape = static_shape(indices)
    count: Extent = emit.Reshape(emit.Size(indices), [1]) if shape is None else math.prod(shape)
    extents = emit.extents(x)
    rows = dy
    if dy.shape is None or len(dy.shape) != len(extents):
        rows = emit.reshape(dy, [*extents[:axis], count, *extents[axis + 1 :]])
    if constant is not None:
        found = _from_constant(emit, rows, constant.ravel().astype(np.int64), extents[axis], axis)
        if found is not None:
            return found
    return scatter_rows(emit, rows, indices, x, axis)


def _from_constant(emit: Emitter, rows: ir.Value, indices: np.ndarray, extent: Extent, axis: int) -> ir.Value | None:
    """The gradient without a scatter, or None: the indices repeat too much, or count from an unknown end.

    Indices in arithmetic progression are a slice. Others are inverted into a table of the (at most m)
    rows that went out of every index, by which dy, with a row of zeros after it, is gathered.
    """
    if isinstance(extent, int):
        indices = np.where(indices < 0, indices + extent, indices)
        if len(indices) and not 0 <= indices.min() <= indices.max() < extent:
            raise ModelError(f"index {indices.min()} or {indices.max()} is outside of an axis of {extent} elements.")
    strides = np.diff(indices)
    stride = int(strides[0]) if len(strides) else 1
    one_sided = len(indices) and (np.all(indices >= 0) or np.all(indices < 0))
    if one_sided and stride and np.all(strides == stride):
        part = dilate(emit, flip(emit, rows, [axis] if stride < 0 else []), axis, abs(stride))
        lowest = int(indices.min())
        return embed(emit, part, [axis], [lowest if lowest >= 0 else minus(emit, extent, -lowest)], [extent])
    if not isinstance(extent, int) or not len(indices):
        return None
    counts = np.bincount(indices, minlength=extent)
    most = int(counts.max())
    if extent * most > 4 * (len(indices) + extent):
        return None
    order = np.argsort(indices, kind="stable")
    occurrence = np.arange(len(indices)) - np.repeat(np.cumsum(counts) - counts, counts)
    table = np.full((extent, most), len(indices), dtype=np.int64)
    table[indices[order], occurrence] = order
    padded = embed(emit, rows, [axis], [0], [len(indices) + 1]) if counts.min() < most else rows
    if most == 1:
        return emit.Gather(padded, table[:, 0], axis=axis)
    return emit.ReduceSum(emit.Gather(padded, table, axis=axis), [axis + 1], keepdims=0)


@vjp("GatherElements")
def gather_elements(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y[i, j] = x[index[i, j], j]; dx = dy added back at the indices."""
    x, axis = node.input(0), node.attribute("axis", 0)
    return [scatter(emit, emit.zeros_like(x), node.input(1), dy, axis), None]


@vjp("GatherND")
def gather_nd(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = the parts of x that the last axis of the indices names; dx = dy added back there."""
    x = node.input(0)
    where = emit.GatherND(positions(emit, x), node.input(1), batch_dims=node.attribute("batch_dims", 0))
    return [scatter_flat(emit, dy, where, x), None]


@vjp("Compress")
def compress(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = the rows of x (or, without an axis, the elements) where a condition holds."""
    x, condition = node.input(0), node.input(1)
    axis: int | None = node.attribute("axis", None)
    if axis is None:
        return [scatter_flat(emit, dy, emit.Compress(positions(emit, x), condition), x), None]
    axis %= node.rank(0)
    taken = emit.Compress(counting(emit, emit.extent(x, axis)), condition, axis=0)
    return [scatter_rows(emit, dy, taken, x, axis, "none"), None]


@vjp("TopK")
def top_k(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = the k largest (or smallest) values; dx = dy at their indices."""
    indices = emit.present(node.outputs[1])
    zeros = emit.zeros_like(node.input(0))
    return [scatter(emit, zeros, indices, dy, node.attribute("axis", -1), "none"), None]


@vjp("OneHot")
def one_hot(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = the on-value at every index, the off-value elsewhere; both get the sum of dy over their places."""
    sums = []
    for off in (1.0, 0.0):
        mask = emit.OneHot(
            node.input(0),
            node.input(1),
            emit.constant(np.array([off, 1 - off]), dy.dtype),
            axis=node.attribute("axis", -1),
        )
        sums.append(emit.Reshape(emit.ReduceSum(emit.Mul(dy, mask), keepdims=0), [1]))
    return [None, None, emit.Concat(*sums, axis=0)]
