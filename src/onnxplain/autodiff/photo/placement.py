"""Where the pixels of a photo come to lie in the model's input: resize and crop, computed in the graph.

The photo's extents are known when the model runs; all that follows from them are int64 vectors of one element. The
rules, and how each of them rounds, are those of :class:`onnxplain.Preprocessing`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ..graph.emitter import Emitter
from .recipe import Recipe, pair

_DOUBLE, _INT64 = ir.DataType.DOUBLE, ir.DataType.INT64


@dataclass(frozen=True)
class Side:
    """One axis: the extents of the photo, of the resized photo and of the model's input (``canvas``).

    ``offset`` is the position in the resized photo of the input's first pixel; negative: padding.
    """

    photo: ir.Value
    resized: ir.Value
    offset: ir.Value
    canvas: ir.Value


def place(emit: Emitter, photo: ir.Value, recipe: Recipe) -> tuple[Side, Side]:
    """Return the placement of rows and of columns of photos [N,H,W,3]."""
    extents = emit.dim(photo, 1), emit.dim(photo, 2)
    resized = _resized(emit, extents, recipe)
    whole, offsets = resized, [_number(emit, 0)] * 2
    if recipe.resize == "letterbox":
        assert recipe.size is not None
        whole = _numbers(emit, pair(recipe.size))
        offsets = [_letterbox_offset(emit, emit.Sub(w, r)) for w, r in zip(whole, resized)]
    canvas = whole
    if recipe.crop is not None:
        canvas = _numbers(emit, pair(recipe.crop))
        centres = [_centre(emit, emit.Sub(w, c), recipe.crop_rounding) for w, c in zip(whole, canvas)]
        offsets = [emit.Add(offset, centre) for offset, centre in zip(offsets, centres)]
    rows, columns = (Side(*one) for one in zip(extents, resized, offsets, canvas))
    return rows, columns


def _resized(emit: Emitter, photo: tuple[ir.Value, ir.Value], recipe: Recipe) -> tuple[ir.Value, ir.Value]:
    if recipe.resize == "none" or recipe.size is None:
        return photo
    target = _numbers(emit, pair(recipe.size))
    if recipe.resize == "exact":
        return target
    height, width = photo
    if recipe.resize == "shortest":  # covers the target; the free side is truncated
        across, down = emit.Mul(target[0], width), emit.Mul(target[1], height)
        wide = emit.GreaterOrEqual(across, down)
        rows = emit.Max(target[0], emit.Div(down, width))
        columns = emit.Max(target[1], emit.Div(across, height))
        return emit.Where(wide, target[0], rows), emit.Where(wide, columns, target[1])
    sides = [emit.Cast(side, to=_DOUBLE) for side in photo]
    ratio = emit.Min(*(emit.Div(emit.Cast(t, to=_DOUBLE), side) for t, side in zip(target, sides)))
    rounded = [emit.Cast(emit.Round(emit.Mul(side, ratio)), to=_INT64) for side in sides]
    return emit.Max(rounded[0], _number(emit, 1)), emit.Max(rounded[1], _number(emit, 1))


def _letterbox_offset(emit: Emitter, slack: ir.Value) -> ir.Value:
    """-round(slack / 2 - 0.1)."""
    half = emit.Sub(emit.Mul(emit.Cast(slack, to=_DOUBLE), 0.5), 0.1)
    return emit.Neg(emit.Cast(emit.Round(half), to=_INT64))


def _centre(emit: Emitter, slack: ir.Value, rounding: str) -> ir.Value:
    """The first row that a centre crop keeps; a negative ``slack`` is padding."""
    half = emit.Mul(emit.Cast(slack, to=_DOUBLE), 0.5)
    if rounding == "torchvision":
        start = emit.Where(emit.GreaterOrEqual(half, 0.0), emit.Round(half), emit.Ceil(half))
    else:
        start = emit.Floor(half) if rounding == "floor" else emit.Floor(emit.Add(half, 0.5))
    return emit.Cast(start, to=_INT64)


def _number(emit: Emitter, number: int) -> ir.Value:
    return emit.constant(np.array([number]), _INT64)


def _numbers(emit: Emitter, sides: tuple[int, int]) -> tuple[ir.Value, ir.Value]:
    return _number(emit, sides[0]), _number(emit, sides[1])
