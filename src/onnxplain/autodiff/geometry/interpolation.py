"""Sampling an image between its pixels: y[c, s] = sum over taps t of weight[s, t] image[c, index[s, t]].

The taps of one spatial axis are ``index`` (whole positions), ``weight`` and ``slope`` (the derivative
of the weight by the position); those of several axes are their outer product. Samples of a batch of
images are positions in one long image per channel, [C, N * extents].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ..graph.emitter import Emitter
from .placement import counting, scatter
from .windows import spatial_shape

#: Offsets from the floor of a position to its taps, and the weights as polynomials of the remainder t
#: (one row per power, one column per tap). Cubic: Keys' kernel with A = -0.75.
LINEAR = np.array([0, 1]), np.array([[1, 0], [-1, 1]])
CUBIC = (
    np.array([-1, 0, 1, 2]),
    np.array([[0, 1, 0, 0], [-0.75, 0, 0.75, 0], [1.5, -2.25, 1.5, -0.75], [-0.75, 1.25, -1.25, 0.75]]),
)


@dataclass(frozen=True)
class Taps:
    """Taps along one axis: arrays with the samples' axes and then one axis per spatial axis.

    ``weight`` None stands for one, ``slope`` None for zero.
    """

    index: ir.Value
    weight: ir.Value | None
    slope: ir.Value | None


def taps_along(
    emit: Emitter,
    position: ir.Value,
    axis: int,
    axes: int,
    extent: ir.Value,
    kernel: tuple[np.ndarray, np.ndarray] | None,
    padding: str = "zeros",
    align_corners: bool = False,
) -> Taps:
    """Return the taps of samples at ``position`` (float, in pixels) along spatial axis ``axis`` of ``axes``.

    ``extent`` is the image's, a float scalar. ``kernel`` None takes the nearest pixel, halves to even.
    ``padding``: taps outside count zero ("zeros"), or are taken from the edge ("border") or from the
    pixel reflected at the edge ("reflection": at its centre if ``align_corners``, else at its rim).
    """
    assert position.shape is not None
    rank = len(position.shape)
    position = emit.Unsqueeze(position, list(range(rank, rank + axes)))
    weight = slope = None
    if kernel is None:
        at = emit.Round(position)
    else:
        shape = [-1 if a == axis else 1 for a in range(axes)]
        offsets, powers = kernel
        floor = emit.Floor(position)
        at = emit.Add(floor, emit.constant(offsets.reshape(shape), position.dtype))
        rest = emit.Sub(position, floor)
        rates = powers[1:] * np.arange(1, len(powers))[:, None]
        weight = _polynomial(emit, rest, [row.reshape(shape) for row in powers])
        slope = _polynomial(emit, rest, [row.reshape(shape) for row in rates])
    last = emit.Sub(extent, 1.0)
    if padding == "zeros":
        inside = emit.Cast(emit.And(emit.GreaterOrEqual(at, 0.0), emit.LessOrEqual(at, last)), to=position.dtype)
        weight = inside if weight is None else emit.Mul(weight, inside)
        slope = None if slope is None else emit.Mul(slope, inside)
    elif padding == "reflection":
        period = emit.Max(emit.Mul(last if align_corners else extent, 2.0), 1.0)
        turned = emit.Sub(at, emit.Mul(period, emit.Floor(emit.Div(at, period))))
        at = emit.Min(turned, emit.Sub(period if align_corners else emit.Sub(period, 1.0), turned))
    return Taps(emit.Cast(emit.Clip(at, 0.0, last), to=ir.DataType.INT64), weight, slope)


def _polynomial(emit: Emitter, t: ir.Value, rows: Sequence[np.ndarray]) -> ir.Value:
    """Sum of rows[p] t^p, by Horner's scheme."""
    result = emit.constant(rows[-1], t.dtype)
    for row in reversed(rows[:-1]):
        result = emit.Add(emit.Mul(result, t), emit.constant(row, t.dtype))
    return result


def float_extent(emit: Emitter, x: ir.Value, axis: int, dtype: ir.DataType | None) -> ir.Value:
    """Return the extent of one axis as a scalar of a float type."""
    extent = emit.extent(x, axis)
    if isinstance(extent, int):
        return emit.constant(float(extent), dtype)
    return emit.Cast(emit.Squeeze(extent, [0]), to=dtype)


def index_of(emit: Emitter, taps: Sequence[Taps], x: ir.Value, image: ir.Value | None = None) -> ir.Value:
    """Return where the taps of every sample lie in one long image per channel, [N * extents].

    The samples' first axis counts the images of x, or says in ``image`` (int64) which image it looks at.
    """
    index = taps[0].index
    for axis, tap in enumerate(taps[1:], start=3):
        index = emit.Add(emit.Mul(index, emit.dim(x, axis)), tap.index)
    assert index.shape is not None
    image = counting(emit, emit.extent(x, 0)) if image is None else image
    start = emit.Mul(image, emit.ReduceProd(spatial_shape(emit, x), keepdims=0))
    return emit.Add(index, emit.Unsqueeze(start, list(range(1, len(index.shape)))))


def weight_of(emit: Emitter, taps: Sequence[Taps], derived: int | None = None) -> ir.Value | None:
    """Return the product of the weights over the axes; along the axis ``derived`` the slope instead. None is one."""
    factors = [tap.slope if axis == derived else tap.weight for axis, tap in enumerate(taps)]
    product = None
    for factor in factors:
        if factor is not None:
            product = factor if product is None else emit.Mul(product, factor)
    return product


def gather_samples(emit: Emitter, x: ir.Value, index: ir.Value) -> ir.Value:
    """Pixels of x [N, C, extents] at positions of one long image per channel: [C, *index]."""
    rank = len(x.shape) if x.shape is not None else 0
    rows = emit.Transpose(x, perm=[1, 0, *range(2, rank)])
    return emit.Gather(emit.Reshape(rows, emit.vector([emit.extent(x, 1), -1])), index, axis=1)


def scatter_samples(emit: Emitter, values: ir.Value, index: ir.Value, x: ir.Value) -> ir.Value:
    """Zeros like x to which values [C, *index] are added at ``index``."""
    batch, channels, *extents = emit.extents(x)
    flat = emit.Reshape(values, emit.vector([channels, -1]))
    where = emit.Expand(emit.Reshape(index, [1, -1]), emit.shape(flat))
    length = emit.Div(emit.Reshape(emit.Size(x), [1]), emit.dim(x, 1))
    rows = scatter(emit, emit.zeros([channels, length], values.dtype), where, flat, 1)
    swapped = emit.Reshape(rows, emit.vector([channels, batch, *extents]))
    return emit.Transpose(swapped, perm=[1, 0, *range(2, len(extents) + 2)])


def position_gradients(emit: Emitter, taps: Sequence[Taps], products: ir.Value) -> list[ir.Value]:
    """Per spatial axis, [samples]: products [C, samples, taps] summed over channels, and over taps times slopes."""
    summed = emit.ReduceSum(products, [0], keepdims=0)
    assert products.shape is not None
    rank, axes = len(products.shape) - 1, len(taps)
    return [
        emit.ReduceSum(emit.Mul(summed, weight_of(emit, taps, axis)), list(range(rank - axes, rank)), keepdims=0)
        for axis in range(axes)
    ]
