"""Pad and CenterCropPad."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ..geometry.placement import BEGINNING, END, Extent, embed, minus, positions, scatter_flat
from ..graph.emitter import Emitter
from ..graph.operator import Operator
from ..reverse.registry import Gradients, vjp


@vjp("Pad")
def pad(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = x with margins added (or cut off); dx = dy without them.

    Margins that repeat elements of x (edge, reflect, wrap) are added back onto those elements; the
    constant value gets the sum of dy over the margins.
    """
    x, pads, axes = node.input(0), node.constant(1), _axes(node)
    mode = node.attribute("mode", "constant")
    known = None if pads is None or axes is None else pads.reshape(2, -1)
    if mode != "constant":
        if known is None or known.min(initial=0) < 0 or (mode == "wrap" and not _wraps_once(x, axes, known)):
            where = emit.Pad(positions(emit, x), node.input(1), None, node.optional(3), mode=mode)
            return [scatter_flat(emit, dy, where, x), None, None, None]
        for axis, low, high in zip(axes or [], *known):
            dy = _fold(emit, dy, axis, int(low), int(high), emit.extent(x, axis), mode)
        return [dy, None, None, None]
    dx = None
    if node.wants(0) and known is not None and known.min(initial=0) >= 0:
        dx = _interior(emit, dy, known[0].tolist(), known[1].tolist(), axes or [])
    elif node.wants(0):
        dx = emit.Pad(dy, emit.Neg(node.input(1)), None, node.optional(3))
    dvalue = None
    if node.wants(2):
        one = emit.constant(1.0, dy.dtype)
        margins = emit.Pad(emit.zeros_like(x), node.input(1), one, node.optional(3))
        dvalue = emit.reshape_like(emit.ReduceSum(emit.Mul(dy, margins), keepdims=0), node.input(2))
    return [dx, None, dvalue, None]


@vjp("CenterCropPad")
def center_crop_pad(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = x cropped or padded around its centre, rounding down; dx = dy padded or cropped back."""
    axes: list[int] = node.attribute("axes", [])
    shape = emit.vector([emit.extent(node.input(0), axis) for axis in axes]) if axes else emit.shape(node.input(0))
    return [emit.CenterCropPad(dy, shape, axes=axes or None), None]


def _axes(node: Operator) -> list[int] | None:
    """The axes that ``pads`` speaks of, or None if they are only known at run time."""
    if node.optional(3) is None:
        return list(range(node.rank(0))) if node.input(0).shape is not None else None
    axes = node.constant(3)
    return None if axes is None else [int(axis) for axis in axes]


def _wraps_once(x: ir.Value, axes: list[int] | None, pads: np.ndarray) -> bool:
    """Whether no margin is known to be, or might be, longer than the axis it repeats."""
    assert x.shape is not None
    extents = [x.shape[axis] for axis in axes or []]
    return all(isinstance(d, int) and max(low, high) <= d for d, low, high in zip(extents, *pads))


def _interior(emit: Emitter, dy: ir.Value, lows: list[int], highs: list[int], axes: list[int]) -> ir.Value:
    margins = [(low, -high if high else END, axis) for axis, low, high in zip(axes, lows, highs) if low or high]
    return emit.Slice(dy, *(list(column) for column in zip(*margins))) if margins else dy


def _fold(emit: Emitter, dy: ir.Value, axis: int, low: int, high: int, extent: Extent, mode: str) -> ir.Value:
    """One axis of ``dy`` without its margins, which are added onto the elements that they repeat."""
    reflects = mode == "reflect"
    starts: dict[str, tuple[Extent, Extent]] = {
        "reflect": (1, minus(emit, extent, high + 1)),
        "edge": (0, minus(emit, extent, 1)),
        "wrap": (minus(emit, extent, low), 0),
    }
    heads = ([low - 1], [BEGINNING], [axis], [-1]) if reflects else ([0], [low], [axis])
    tails = ([-1], [-high - 1], [axis], [-1]) if reflects else ([-high], [END], [axis])
    dx = _interior(emit, dy, [low], [high], [axis])
    for width, bounds, start in zip((low, high), (heads, tails), starts[mode]):
        if width:
            margin = emit.Slice(dy, *bounds)
            if mode == "edge":
                margin = emit.ReduceSum(margin, [axis], keepdims=1)
            dx = emit.Add(dx, embed(emit, margin, [axis], [start], [extent]))
    return dx
