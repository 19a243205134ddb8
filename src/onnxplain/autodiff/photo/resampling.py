"""Resampling along one axis as a matrix that is computed in the graph: output = matrix @ input.

Every resize is such a matrix, whatever its filter, crop and padding are, and a product with it is an operator that
every runtime has and runs fast, where ``Resize`` with ``antialias`` is missing in many. Positions are integers until
the last division, so that float32 gives the weights to its last places also for large photos.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from ..graph.emitter import Emitter
from .placement import Side

#: Pillow's weights count in steps of one over this.
_STEPS = float(1 << 22)
_FLOAT, _INT64 = ir.DataType.FLOAT, ir.DataType.INT64


def to_model(emit: Emitter, side: Side, filter: str) -> tuple[ir.Value, ir.Value]:
    """Return the matrix [canvas, photo] that resizes as Pillow does and crops, and which rows are no padding.

    Output pixel i lies at (i + offset + 1/2) photo / resized, and weighs input pixel j by f(x) / sum of f, with x the
    distance of their centres divided by max(1, photo / resized): the filter is widened where the photo shrinks. The
    rows [canvas, 1] that are no padding are 1, those of the padding 0, in the matrix, too. Weights are whole multiples
    of 2^-22, as in Pillow: where a sum lies between two pixel values, that decides.
    """
    row = emit.Add(_range(emit, side.canvas, 1), side.offset)
    inside = emit.And(emit.GreaterOrEqual(row, _zero(emit)), emit.Less(row, side.resized))
    shown = emit.Cast(inside, to=_FLOAT)
    ahead = emit.Mul(_centres(emit, row), side.photo)
    column = _range(emit, side.photo, 0)
    if filter == "nearest":
        nearest = emit.Div(ahead, _doubled(emit, side.resized))
        return emit.Mul(emit.Cast(emit.Equal(column, nearest), to=_FLOAT), shown), shown
    distance = emit.Sub(emit.Mul(_centres(emit, column), side.resized), ahead)
    x = _quotient(emit, distance, _doubled(emit, emit.Max(side.photo, side.resized)))
    weights = emit.Mul(_FILTERS[filter](emit, x), shown)
    total = emit.ReduceSum(weights, [1], keepdims=1)
    weights = emit.Div(weights, emit.Add(total, emit.Sub(1.0, shown)))
    return emit.Div(emit.Floor(emit.Add(emit.Mul(weights, _STEPS), 0.5)), _STEPS), shown


def to_photo(emit: Emitter, side: Side) -> ir.Value:
    """Return the matrix [photo, canvas] that brings a map over the model's input back to the photo.

    As ``Geometry.to_photo``: linear, averaging where the photo has fewer pixels, and times the share of the photo's
    pixel that the model saw.
    """
    row, column = _range(emit, side.photo, 1), _range(emit, side.canvas, 0)
    there = emit.Mul(_centres(emit, emit.Add(column, side.offset)), side.photo)
    distance = emit.Sub(there, emit.Mul(_centres(emit, row), side.resized))
    x = _quotient(emit, distance, _doubled(emit, emit.Max(side.photo, side.resized)))
    weights = _bilinear(emit, x)
    begin = emit.Sub(emit.Mul(row, side.resized), emit.Mul(side.offset, side.photo))
    low = emit.Max(begin, _zero(emit))
    high = emit.Min(emit.Add(begin, side.resized), emit.Mul(side.canvas, side.photo))
    share = _quotient(emit, emit.Max(emit.Sub(high, low), _zero(emit)), side.resized)
    total = emit.ReduceSum(weights, [1], keepdims=1)
    unseen = emit.Cast(emit.Equal(total, 0.0), to=_FLOAT)
    return emit.Mul(weights, emit.Div(share, emit.Add(total, unseen)))


def _range(emit: Emitter, extent: ir.Value, axis: int) -> ir.Value:
    """0, 1, ... as a column [n,1] (``axis`` 1) or a row [1,n]."""
    zero, one = (emit.constant(np.array(n), _INT64) for n in (0, 1))
    return emit.Unsqueeze(emit.Range(zero, emit.Squeeze(extent, [0]), one), [axis])


def _zero(emit: Emitter) -> ir.Value:
    return emit.constant(np.array(0), _INT64)


def _doubled(emit: Emitter, value: ir.Value) -> ir.Value:
    return emit.Mul(value, emit.constant(np.array(2), _INT64))


def _centres(emit: Emitter, value: ir.Value) -> ir.Value:
    """Twice the centres of pixels."""
    return emit.Add(_doubled(emit, value), emit.constant(np.array(1), _INT64))


def _quotient(emit: Emitter, a: ir.Value, b: ir.Value) -> ir.Value:
    return emit.Div(emit.Cast(a, to=_FLOAT), emit.Cast(b, to=_FLOAT))


def _bilinear(emit: Emitter, x: ir.Value) -> ir.Value:
    """max(0, 1 - |x|)."""
    return emit.Relu(emit.Sub(1.0, emit.Abs(x)))


def _box(emit: Emitter, x: ir.Value) -> ir.Value:
    """1 for -1/2 < x <= 1/2."""
    return emit.Cast(emit.And(emit.Greater(x, -0.5), emit.LessOrEqual(x, 0.5)), to=_FLOAT)


def _hamming(emit: Emitter, x: ir.Value) -> ir.Value:
    """sinc(x) (0.54 + 0.46 cos(pi x)) for |x| < 1."""
    window = emit.Add(emit.Mul(emit.Cos(emit.Mul(x, math.pi)), 0.46), 0.54)
    return emit.gate(emit.Less(emit.Abs(x), 1.0), emit.Mul(_sinc(emit, x), window))


def _bicubic(emit: Emitter, x: ir.Value) -> ir.Value:
    """The cubic kernel with a = -1/2: 1.5 x^3 - 2.5 x^2 + 1 for x < 1, -0.5 x^3 + 2.5 x^2 - 4 x + 2 for x < 2."""
    x = emit.Abs(x)
    near = emit.Add(emit.Mul(emit.Mul(x, x), emit.Sub(emit.Mul(x, 1.5), 2.5)), 1.0)
    far = emit.Add(emit.Mul(emit.Sub(emit.Mul(emit.Sub(5.0, x), x), 8.0), emit.Mul(x, 0.5)), 2.0)
    is_near, is_far = emit.Less(x, 1.0), emit.And(emit.GreaterOrEqual(x, 1.0), emit.Less(x, 2.0))
    return emit.Add(emit.gate(is_near, near), emit.gate(is_far, far))


def _lanczos(emit: Emitter, x: ir.Value) -> ir.Value:
    """sinc(x) sinc(x / 3) for |x| < 3."""
    product = emit.Mul(_sinc(emit, x), _sinc(emit, emit.Div(x, 3.0)))
    return emit.gate(emit.Less(emit.Abs(x), 3.0), product)


def _sinc(emit: Emitter, x: ir.Value) -> ir.Value:
    """sin(pi x) / (pi x), 1 at 0."""
    angle = emit.Mul(x, math.pi)
    middle = emit.Cast(emit.Equal(x, 0.0), to=_FLOAT)
    return emit.Div(emit.Add(emit.Sin(angle), middle), emit.Add(angle, middle))


_FILTERS = {"bilinear": _bilinear, "bicubic": _bicubic, "lanczos": _lanczos, "box": _box, "hamming": _hamming}
#: Filters that can be written.
FILTERS = ("nearest", *_FILTERS)
