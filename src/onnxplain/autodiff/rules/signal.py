"""Discrete Fourier transforms. Gradients treat real and imaginary parts as the reals they are stored as."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from ..graph.emitter import Emitter
from ..graph.operator import Operator
from ..reverse.registry import Gradients, vjp, zero
from ..reverse.walk import by_expansion

zero("MelWeightMatrix")


@vjp("DFT", since=17)
def dft_17(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = F x along the axis in an attribute; dx = F^H dy."""
    axis = node.attribute("axis", 1)
    return [_dft_gradient(emit, node, dy, emit.constant([axis], ir.DataType.INT64), {"axis": axis}), None]


@vjp("DFT", since=20)
def dft(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = F x along the axis in an input; dx = F^H dy."""
    axis = node.optional(2)
    axis = emit.constant([-2], ir.DataType.INT64) if axis is None else emit.Reshape(axis, [1])
    return [_dft_gradient(emit, node, dy, emit.Cast(axis, to=ir.DataType.INT64), {}), None, None]


def _dft_gradient(emit: Emitter, node: Operator, dy: ir.Value, axis: ir.Value, named: dict[str, int]) -> ir.Value:
    """F^H is L times the inverse transform, and (F^-1)^H the transform over L.

    With ``onesided`` the transform of a real signal drops half of the spectrum, whose gradient is zero; the
    inverse reads every coefficient but the first and the middle one twice. ``axis`` is an int64 [1]; ``named``
    holds it as an attribute where the operator's version has one.
    """
    x = node.input(0)
    if x.shape is None or x.shape[-1] not in (1, 2):
        raise node.refuse("last extent of the input", "unknown", "state 1 (real) or 2 (complex) in the model")
    inverse, onesided = bool(node.attribute("inverse", 0)), bool(node.attribute("onesided", 0))
    stated, extent = node.optional(1), emit.Gather(emit.shape(x), axis)
    halved = inverse and onesided
    if stated is not None:
        length = emit.Reshape(emit.Cast(stated, to=ir.DataType.INT64), [1])
    else:
        length = emit.Mul(emit.Sub(extent, [1]), [2]) if halved else extent
    scale = emit.Cast(length, to=dy.dtype)

    def transform(value: ir.Value, **attributes: int) -> ir.Value:
        given = () if named else (None, emit.Squeeze(axis, [0]))
        return emit.DFT(value, *given, **named, **attributes)

    if inverse:
        dx = emit.Div(transform(dy, onesided=int(halved)), scale)
    else:
        dx = emit.Mul(transform(_fit(emit, dy, length, axis) if onesided else dy, inverse=1), scale)
    if halved:
        dx = emit.Mul(dx, _multiplicity(emit, dx, length, axis))
    if stated is not None:
        dx = _fit(emit, dx, extent, axis)
    return emit.Slice(dx, [0], [1], [-1]) if x.shape[-1] == 1 else dx


def _multiplicity(emit: Emitter, spectrum: ir.Value, length: ir.Value, axis: ir.Value) -> ir.Value:
    """How often each coefficient of a half spectrum counts: once for the first and the middle, else twice."""
    shape = emit.Shape(spectrum)
    index = emit.Range(np.array(0), emit.Squeeze(emit.Gather(shape, axis), [0]), np.array(1))
    mirror = emit.Mod(emit.Sub(length, index), length)
    counts = emit.Add(emit.Cast(emit.Not(emit.Equal(index, mirror)), to=spectrum.dtype), 1.0)
    ones = emit.Expand(emit.constant([1], ir.DataType.INT64), emit.Shape(shape))
    return emit.Reshape(counts, emit.ScatterElements(ones, axis, emit.constant([-1], ir.DataType.INT64), axis=0))


def _fit(emit: Emitter, x: ir.Value, length: ir.Value, axis: ir.Value) -> ir.Value:
    """``x`` cut, or filled up with zeros at the end, to ``length`` along ``axis``."""
    missing = emit.Max(emit.Sub(length, emit.Gather(emit.Shape(x), axis)), [0])
    filled = emit.Pad(x, emit.Concat([0], missing, axis=0), None, axis)
    return emit.Slice(filled, [0], length, axis)


@vjp("STFT", every_output=True)
def stft(emit: Emitter, node: Operator, dys: Sequence[ir.Value | None]) -> Gradients:
    """y = DFT(frames of the signal * window): gathered frames, walked."""
    return by_expansion(emit, node, dys, _stft)


def _stft(emit: Emitter, node: Operator) -> list[ir.Value]:
    signal, step, window, stated = node.input(0), node.input(1), node.optional(2), node.optional(3)
    length = emit.Reshape(stated, [1]) if stated is not None else emit.dim(node.input(2), 0)
    length = emit.Cast(length, to=ir.DataType.INT64)
    step = emit.Reshape(emit.Cast(step, to=ir.DataType.INT64), [1])
    last = emit.Div(emit.Sub(emit.dim(signal, 1), length), step)
    starts = emit.Mul(emit.Range(np.array(0), emit.Squeeze(emit.Add(last, [1]), [0]), np.array(1)), step)
    within = emit.Range(np.array(0), emit.Squeeze(length, [0]), np.array(1))
    if node.rank(0) == 2:
        signal = emit.Unsqueeze(signal, [2])
    frames = emit.Gather(signal, emit.Add(emit.Unsqueeze(starts, [1]), within), axis=1)
    if window is not None:
        frames = emit.Mul(frames, emit.Unsqueeze(window, [1]))
    onesided = node.attribute("onesided", 1)
    if node.opset >= 20:
        return [emit.DFT(frames, None, np.array(2), onesided=onesided)]
    return [emit.DFT(frames, axis=2, onesided=onesided)]
