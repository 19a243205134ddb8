"""Putting gradients of chosen elements back where the elements came from, for the rules that choose.

From fast to general: ``embed`` pads a contiguous region with zeros; ``dilate`` puts zeros between the
elements of an axis; ``scatter`` adds elements at indices computed at run time. ``positions`` is the
general way to learn where elements went: push the numbers of the elements through the operator.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from ..graph.emitter import Emitter

Extent = int | ir.Value  # a number, or int64 [1] where it is only known at run time

#: Slice bounds that mean "to the end" and, with a negative step, "to the beginning".
END, BEGINNING = np.iinfo(np.int64).max, np.iinfo(np.int64).min
_NARROW = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


def minus(emit: Emitter, a: Extent, b: Extent) -> Extent:
    """a - b."""
    if b == 0:
        return a
    return a - b if isinstance(a, int) and isinstance(b, int) else emit.Sub(emit.vector([a]), emit.vector([b]))


def times(emit: Emitter, a: Extent, b: int) -> Extent:
    """a * b."""
    return a * b if isinstance(a, int) else emit.Mul(a, b)


def embed(
    emit: Emitter, part: ir.Value, axes: Sequence[int], lows: Sequence[Extent], extents: Sequence[Extent]
) -> ir.Value:
    """Zeros with ``part`` at offset ``lows[k]`` of ``axes[k]``, whose extent becomes ``extents[k]``.

    What sticks out at the end of an axis is cut off.
    """
    highs = [
        minus(emit, minus(emit, extent, emit.extent(part, axis)), low) for axis, low, extent in zip(axes, lows, extents)
    ]
    if all(pad == 0 for pad in [*lows, *highs]):
        return part
    assert part.shape is not None
    rank = len(part.shape)
    pads: list[Extent] = [
        0 for _ in range(2 * rank)
    ]  # of all axes: ONNX Runtime moves Transpose past Pad as if it had no axes
    for axis, low, high in zip(axes, lows, highs):
        pads[axis % rank], pads[rank + axis % rank] = low, high
    return emit.Pad(part, emit.vector(pads))


def dilate(emit: Emitter, part: ir.Value, axis: int, stride: int) -> ir.Value:
    """``stride - 1`` zeros after every element of ``axis``."""
    if stride == 1:
        return part
    extents = emit.extents(part)
    before, after = extents[: axis + 1], extents[axis + 1 :]
    zeros = emit.zeros([*before, stride - 1, *after], part.dtype)
    spread = emit.Concat(emit.Unsqueeze(part, [axis + 1]), zeros, axis=axis + 1)
    return emit.reshape(spread, [*before[:-1], times(emit, before[-1], stride), *after])


def flip(emit: Emitter, x: ir.Value, axes: Sequence[int]) -> ir.Value:
    """``x`` with these axes reversed."""
    if not axes:
        return x
    count = len(axes)
    return emit.Slice(x, [-1] * count, [BEGINNING] * count, list(axes), [-1] * count)


def counting(emit: Emitter, extent: Extent) -> ir.Value:
    """Return the int64 vector 0 ... extent - 1."""
    zero, one = emit.constant(0, ir.DataType.INT64), emit.constant(1, ir.DataType.INT64)
    end = emit.constant(extent, ir.DataType.INT64) if isinstance(extent, int) else emit.Squeeze(extent, [0])
    return emit.Range(zero, end, one)


def positions(emit: Emitter, x: ir.Value) -> ir.Value:
    """Return the number of every element of ``x`` in row-major order: int64, shaped like ``x``."""
    return emit.reshape_like(counting(emit, emit.Reshape(emit.Size(x), [1])), x)


def scatter(
    emit: Emitter, base: ir.Value, indices: ir.Value, updates: ir.Value, axis: int, reduction: str = "add"
) -> ir.Value:
    """ScatterElements with a reduction; float16 goes through float32, which ONNX Runtime can reduce.

    ScatterND is never used with a reduction: ONNX Runtime runs it in several threads that race on
    repeated indices.
    """
    if reduction == "none" or base.dtype not in _NARROW:
        return emit.ScatterElements(base, indices, updates, axis=axis, reduction=reduction)
    wide = [emit.Cast(value, to=ir.DataType.FLOAT) for value in (base, updates)]
    return emit.Cast(emit.ScatterElements(wide[0], indices, wide[1], axis=axis, reduction=reduction), to=base.dtype)


def scatter_rows(
    emit: Emitter, rows: ir.Value, indices: ir.Value, x: ir.Value, axis: int, reduction: str = "add"
) -> ir.Value:
    """Zeros like ``x`` to which row k of ``rows`` along ``axis`` is added at ``indices[k]`` (int [L])."""
    assert x.shape is not None
    column = emit.Reshape(indices, [1] * axis + [-1] + [1] * (len(x.shape) - axis - 1))
    return scatter(emit, emit.zeros_like(x), emit.Expand(column, emit.shape(rows)), rows, axis, reduction)


def scatter_flat(emit: Emitter, dy: ir.Value, where: ir.Value, x: ir.Value, reduction: str = "add") -> ir.Value:
    """Zeros like ``x`` to which every element of ``dy`` is added at the position ``where`` says."""
    flat = emit.zeros([emit.Reshape(emit.Size(x), [1])], dy.dtype)
    summed = scatter(emit, flat, emit.Reshape(where, [-1]), emit.Reshape(dy, [-1]), 0, reduction)
    return emit.reshape_like(summed, x)
