"""From uint8 photos [N,H,W,3] to the model's input, as nodes: grey, resize and crop, channel order, values."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ..graph.emitter import Emitter
from .placement import Side
from .recipe import Recipe
from .resampling import to_model

#: ITU-R 601 luma as Pillow computes it: (R a + G b + B c + 2^15) >> 16.
_LUMA, _HALF, _ONE = (19595, 38470, 7471), 1 << 15, 1 << 16


def tensor_of(
    emit: Emitter, photo: ir.Value, rows: Side, columns: Side, recipe: Recipe, dtype: ir.DataType
) -> ir.Value:
    """Return the input tensor [N,C,h,w] of photos.

    As Pillow does, columns are resampled first, and what comes out of each of the two steps is rounded to whole pixels.
    """
    pixels = emit.Transpose(photo, perm=[0, 3, 1, 2])
    pixels = _luma(emit, pixels) if recipe.channels == "L" else emit.Cast(pixels, to=ir.DataType.FLOAT)
    across, shown_across = to_model(emit, columns, recipe.filter)
    down, shown_down = to_model(emit, rows, recipe.filter)
    pixels = _whole(emit, emit.MatMul(pixels, emit.Transpose(across, perm=[1, 0])))
    pixels = _whole(emit, emit.MatMul(down, pixels))
    if recipe.resize == "letterbox" or recipe.crop is not None:
        shown = emit.MatMul(shown_down, emit.Transpose(shown_across, perm=[1, 0]))
        pixels = _padded(emit, pixels, shown, recipe)
    if recipe.channels == "BGR":
        pixels = emit.Gather(pixels, [2, 1, 0], axis=1)
    values = _values(emit, pixels, recipe)
    return values if dtype == ir.DataType.FLOAT else emit.Cast(values, to=dtype)


def _luma(emit: Emitter, pixels: ir.Value) -> ir.Value:
    weights = np.array(_LUMA, np.int32).reshape(3, 1, 1)
    total = emit.ReduceSum(emit.Mul(emit.Cast(pixels, to=ir.DataType.INT32), weights), [1], keepdims=1)
    return emit.Cast(emit.Div(emit.Add(total, _HALF), _ONE), to=ir.DataType.FLOAT)


def _whole(emit: Emitter, pixels: ir.Value) -> ir.Value:
    """Whole numbers 0..255, halves rounded up."""
    return emit.Clip(emit.Floor(emit.Add(pixels, 0.5)), 0.0, 255.0)


def _padded(emit: Emitter, pixels: ir.Value, shown: ir.Value, recipe: Recipe) -> ir.Value:
    """The pixels with the colour of the padding where nothing of the photo is shown, ``shown`` [h,w]."""
    color = list(recipe.pad_color)
    if recipe.channels == "L":
        color = [(sum(w * v for w, v in zip(_LUMA, color)) + _HALF) >> 16]
    if not any(color):
        return pixels
    return emit.Add(pixels, emit.Mul(_channels(color), emit.Sub(1.0, shown)))


def _values(emit: Emitter, pixels: ir.Value, recipe: Recipe) -> ir.Value:
    """(p scale - mean) / std, where p counts from white if the recipe inverts."""
    if recipe.invert:
        pixels = emit.Sub(255.0, pixels)
    factor, less = recipe.scale / np.array(recipe.std), np.array(recipe.mean) / np.array(recipe.std)
    if (factor != 1).any():
        pixels = emit.Mul(pixels, _channels(factor))
    return emit.Sub(pixels, _channels(less)) if less.any() else pixels


def _channels(numbers: object) -> np.ndarray:
    return np.array(numbers, dtype=np.float32).reshape(-1, 1, 1)
