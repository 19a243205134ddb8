"""Operators that pool regions of interest (ROIs) of an image: RoiAlign, MaxRoiPool."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ..geometry.interpolation import (
    LINEAR,
    Taps,
    float_extent,
    gather_samples,
    index_of,
    position_gradients,
    scatter_samples,
    taps_along,
    weight_of,
)
from ..geometry.placement import counting
from ..graph.emitter import Emitter
from ..graph.operator import Operator
from ..reverse.registry import Gradients, vjp


@dataclass(frozen=True)
class Samples:
    """The samples of R regions along one axis: B bins of S samples (at most) each."""

    #: [R,B,S], in pixels, clipped to the image.
    position: ir.Value
    #: [R or 1,B,S], in bins from the region's start.
    place: ir.Value
    #: Whether the sample exists, [R or 1,1,S] (bool), and is inside the image, [R,B,S] (float).
    taken: ir.Value
    inside: ir.Value
    #: One over the number of samples of a bin, [R or 1,1,1].
    share: ir.Value
    #: One where the clipped position moves with the region, [R,B,S].
    moving: ir.Value
    #: One where the region is larger than its least size, [R]; None if there is no least size.
    growing: ir.Value | None


@vjp("RoiAlign")
def roi_align(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """avg: y[r,c] = A_r X_c B_r^T with A_r, B_r the bilinear weights of rows and columns; dX_c = sum_r A_r^T dy B_r.

    max: the largest weight x pixel of all taps in a bin, as in ONNX Runtime and ONNX's reference; the first
    of equal ones is credited. The gradient of the regions follows the sampling positions.
    """
    x, rois, image = node.input(0), node.input(1), emit.Cast(node.input(2), to=ir.DataType.INT64)
    bins = node.attribute("output_height", 1), node.attribute("output_width", 1)
    samples = [_samples(emit, node, x, rois, axis, bins[axis - 2]) for axis in (2, 3)]
    align = _align_max if node.attribute("mode", "avg") == "max" else _align_average
    dx, moves = align(emit, node, dy, x, image, samples)
    if not node.wants(1):
        return [dx, None, None]
    scale = node.attribute("spatial_scale", 1.0)
    lows, highs = [], []
    for axis in (1, 0):
        start = emit.ReduceSum(moves[axis], [1, 2], keepdims=0)
        bin_size = emit.ReduceSum(emit.Mul(moves[axis], samples[axis].place), [1, 2], keepdims=0)
        size = emit.Mul(bin_size, 1 / bins[axis])
        growing = samples[axis].growing
        size = size if growing is None else emit.Mul(size, growing)
        lows.append(emit.Unsqueeze(emit.Mul(emit.Sub(start, size), scale), [1]))
        highs.append(emit.Unsqueeze(emit.Mul(size, scale), [1]))
    return [dx, emit.Concat(*lows, *highs, axis=1), None]


def _samples(emit: Emitter, node: Operator, x: ir.Value, rois: ir.Value, axis: int, bins: int) -> Samples:
    """The samples along image axis ``axis`` (2: rows, 3: columns), in the standard's order of operations."""
    half = node.attribute("coordinate_transformation_mode", "half_pixel") == "half_pixel"
    scale, ratio = node.attribute("spatial_scale", 1.0), node.attribute("sampling_ratio", 0)
    low, high = (emit.Mul(_column(emit, rois, k), scale) for k in (3 - axis, 5 - axis))
    growing = None
    if half:
        low, high = emit.Sub(low, 0.5), emit.Sub(high, 0.5)
    size = emit.Sub(high, low)
    if not half:
        growing = emit.Cast(emit.Greater(size, 1.0), to=rois.dtype)
        size = emit.Max(size, 1.0)
    size = emit.Unsqueeze(emit.Div(size, float(bins)), [1, 2])
    count = emit.Ceil(size) if ratio == 0 else emit.constant(np.full((1, 1, 1), ratio), rois.dtype)
    numbers = _numbers(emit, count) if ratio == 0 else emit.constant(np.arange(ratio), rois.dtype)
    bin_of, middle, least = emit.constant(np.arange(bins)[:, None], rois.dtype), emit.Add(numbers, 0.5), 1.0
    whole = emit.Max(count, least)
    position = emit.Add(emit.Unsqueeze(low, [1, 2]), emit.Mul(bin_of, size))
    position = emit.Add(position, emit.Div(emit.Mul(middle, size), whole))
    extent = float_extent(emit, x, axis, rois.dtype)
    last = emit.Sub(extent, 1.0)
    inside = emit.And(emit.GreaterOrEqual(position, -1.0), emit.LessOrEqual(position, extent))
    moving = emit.And(emit.GreaterOrEqual(position, 0.0), emit.Less(position, last))
    return Samples(
        position=emit.Clip(position, 0.0, last),
        place=emit.Add(bin_of, emit.Div(middle, whole)),
        taken=emit.Less(numbers, count),
        inside=emit.Cast(inside, to=rois.dtype),
        share=emit.Reciprocal(whole),
        moving=emit.Cast(moving, to=rois.dtype),
        growing=growing,
    )


def _column(emit: Emitter, rois: ir.Value, number: int) -> ir.Value:
    return emit.Gather(rois, emit.constant(number, ir.DataType.INT64), axis=1)


def _numbers(emit: Emitter, counts: ir.Value) -> ir.Value:
    """0, 1 ... up to the largest of ``counts`` (float; at least one of them), as floats."""
    one = emit.constant(np.ones(1), counts.dtype)
    most = emit.ReduceMax(emit.Concat(emit.Reshape(counts, [-1]), one, axis=0), keepdims=1)
    return emit.Cast(counting(emit, emit.Cast(most, to=ir.DataType.INT64)), to=counts.dtype)


Moves = list[ir.Value]  # gradients of the sampling positions of rows and of columns, [R,B,S]


def _align_average(
    emit: Emitter, node: Operator, dy: ir.Value, x: ir.Value, image: ir.Value, samples: list[Samples]
) -> tuple[ir.Value, Moves]:
    """Both gradients as matrix products over [region and bin] x [image and position]."""
    of_image = emit.Cast(emit.Equal(emit.Unsqueeze(image, [1]), counting(emit, emit.extent(x, 0))), to=dy.dtype)
    of_image = emit.Unsqueeze(of_image, [1, 3])
    weights, slopes = zip(*(_matrices(emit, s, x, axis) for axis, s in enumerate(samples, start=2)))
    by_column = emit.MatMul(dy, emit.Unsqueeze(weights[1], [1]))
    by_column = emit.Flatten(emit.Transpose(by_column, perm=[0, 2, 1, 3]), axis=2)
    rows = emit.Flatten(emit.Mul(of_image, emit.Unsqueeze(weights[0], [2])), axis=2)
    batch, channels, height, width = emit.extents(x)
    dx = emit.MatMul(emit.Transpose(rows, perm=[1, 0]), by_column)
    dx = emit.Transpose(emit.Reshape(dx, emit.vector([batch, height, channels, width])), perm=[0, 2, 1, 3])
    if not node.wants(1):
        return dx, []
    by_row = emit.MatMul(emit.Transpose(dy, perm=[0, 1, 3, 2]), emit.Unsqueeze(weights[0], [1]))
    by_row = emit.Flatten(emit.Transpose(by_row, perm=[0, 2, 1, 3]), axis=2)
    moves = []
    for axis, half, perm in ((0, by_column, [1, 3, 0, 2]), (1, by_row, [1, 2, 0, 3])):
        products = emit.MatMul(half, emit.Flatten(emit.Transpose(x, perm=perm), axis=2))
        products = emit.Reshape(products, emit.vector([-1, emit.extent(dy, 2 + axis), batch, (height, width)[axis]]))
        dweights = emit.ReduceSum(emit.Mul(products, of_image), [2], keepdims=1)
        move = emit.ReduceSum(emit.Mul(slopes[axis], dweights), [3], keepdims=0)
        moves.append(emit.Mul(move, emit.Mul(_part(emit, samples[axis]), samples[axis].moving)))
    return dx, moves


def _part(emit: Emitter, samples: Samples) -> ir.Value:
    """[R,B,S]: the part that a sample has in its bin's average along this axis."""
    return emit.Mul(emit.Mul(samples.inside, emit.Cast(samples.taken, to=samples.share.dtype)), samples.share)


def _matrices(emit: Emitter, samples: Samples, x: ir.Value, axis: int) -> tuple[ir.Value, ir.Value]:
    """The bilinear weights of an axis, averaged over samples [R,B,extent], and their slopes, sample by sample."""
    position = samples.position
    places = emit.Cast(counting(emit, emit.extent(x, axis)), to=position.dtype)
    floor = emit.Floor(position)
    above = emit.Min(emit.Add(floor, 1.0), emit.Sub(float_extent(emit, x, axis, position.dtype), 1.0))
    low, high = (emit.Cast(emit.Equal(emit.Unsqueeze(at, [3]), places), to=position.dtype) for at in (floor, above))
    slope = emit.Sub(high, low)
    weight = emit.Add(low, emit.Mul(emit.Unsqueeze(emit.Sub(position, floor), [3]), slope))
    averaged = emit.ReduceSum(emit.Mul(weight, emit.Unsqueeze(_part(emit, samples), [3])), [2], keepdims=0)
    return averaged, slope


def _align_max(
    emit: Emitter, node: Operator, dy: ir.Value, x: ir.Value, image: ir.Value, samples: list[Samples]
) -> tuple[ir.Value, Moves]:
    """Samples in the order [R, rows, columns, samples of a row, of a column], then two taps by two."""
    taps, others = [], ([2, 4], [1, 3])
    for axis, s in enumerate(samples):
        extent = float_extent(emit, x, axis + 2, s.position.dtype)
        tap = taps_along(emit, emit.Unsqueeze(s.position, others[axis]), axis, 2, extent, LINEAR, "border")
        inside = emit.Unsqueeze(s.inside, [*others[axis], 5, 6])
        assert tap.weight is not None and tap.slope is not None
        taps.append(Taps(tap.index, emit.Mul(tap.weight, inside), emit.Mul(tap.slope, inside)))
    taken = emit.And(*(emit.Unsqueeze(s.taken, [*others[axis], 5, 6]) for axis, s in enumerate(samples)))
    index = index_of(emit, taps, x, image)
    values, weight = gather_samples(emit, x, index), weight_of(emit, taps)
    credit = _credit(emit, dy, emit.Mul(values, weight), taken)
    dx = scatter_samples(emit, emit.Mul(credit, weight), index, x)
    if not node.wants(1):
        return dx, []
    parts = position_gradients(emit, taps, emit.Mul(values, credit))
    return dx, [
        emit.Mul(emit.ReduceSum(part, others[axis], keepdims=0), samples[axis].moving)
        for axis, part in enumerate(parts)
    ]


def _credit(emit: Emitter, dy: ir.Value, candidates: ir.Value, taken: ir.Value) -> ir.Value:
    """dy [R,C,rows,columns] at the first maximum of each bin's taken candidates [C,R,rows,columns, ...], else zero."""
    assert candidates.shape is not None
    low = emit.constant(-np.inf, candidates.dtype)
    bins = emit.Flatten(emit.Where(taken, candidates, low), axis=4)
    first = emit.Equal(emit.ArgMax(bins, axis=1, keepdims=1), counting(emit, emit.dim(bins, 1)))
    first = emit.And(emit.reshape_like(first, candidates), taken)
    dy = emit.Unsqueeze(emit.Transpose(dy, perm=[1, 0, 2, 3]), list(range(4, len(candidates.shape))))
    return emit.gate(first, dy)


@vjp("MaxRoiPool")
def max_roi_pool(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = the maximum of a bin's pixels; dx credits the first one. The regions are rounded: no gradient."""
    x, rois = node.input(0), node.input(1)
    image = emit.Cast(_column(emit, rois, 0), to=ir.DataType.INT64)
    taps, inside, others = [], [], ([2, 4], [1, 3])
    for axis, bins in enumerate(node.attribute("pooled_shape", [1, 1])):
        at, taken = _pixels(emit, node, x, rois, axis + 2, bins)
        taps.append(Taps(emit.Unsqueeze(at, others[axis]), None, None))
        inside.append(emit.Unsqueeze(taken, others[axis]))
    index = index_of(emit, taps, x, image)
    credit = _credit(emit, dy, gather_samples(emit, x, index), emit.And(*inside))
    return [scatter_samples(emit, credit, index, x), None]


def _pixels(
    emit: Emitter, node: Operator, x: ir.Value, rois: ir.Value, axis: int, bins: int
) -> tuple[ir.Value, ir.Value]:
    """The pixels of every bin along an image axis, [R,B,S], and which of the S are its own."""
    low, high = (
        _rounded(emit, emit.Mul(_column(emit, rois, k), node.attribute("spatial_scale", 1.0)))
        for k in (4 - axis, 6 - axis)
    )
    size = emit.Div(emit.Max(emit.Add(emit.Sub(high, low), 1.0), 1.0), float(bins))
    low, size = emit.Unsqueeze(low, [1]), emit.Unsqueeze(size, [1])
    extent = float_extent(emit, x, axis, rois.dtype)
    numbers = np.arange(bins + 1)
    first = emit.Add(emit.Floor(emit.Mul(size, emit.constant(numbers[:-1], rois.dtype))), low)
    end = emit.Add(emit.Ceil(emit.Mul(size, emit.constant(numbers[1:], rois.dtype))), low)
    first, end = emit.Clip(first, 0.0, extent), emit.Clip(end, 0.0, extent)
    at = emit.Add(emit.Unsqueeze(first, [2]), _numbers(emit, emit.Sub(end, first)))
    index = emit.Cast(emit.Clip(at, 0.0, emit.Sub(extent, 1.0)), to=ir.DataType.INT64)
    return index, emit.Less(at, emit.Unsqueeze(end, [2]))


def _rounded(emit: Emitter, value: ir.Value) -> ir.Value:
    """To the nearest whole number, halves away from zero."""
    size = emit.Abs(value)
    floor = emit.Floor(size)
    up = emit.Cast(emit.GreaterOrEqual(emit.Sub(size, floor), 0.5), to=value.dtype)
    return emit.Mul(emit.Sign(value), emit.Add(floor, up))
