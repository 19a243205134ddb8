"""Quantisation and dequantisation: the straight-through estimator (see :mod:`..reverse.quantized`).

Here q is the gradient of an integer tensor, s a scale and z a zero point, spread over the tensor they
belong to: per tensor, per axis, or per block of an axis.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ..geometry.placement import scatter_rows
from ..geometry.scales import FLOAT, aligned, blocks, is_per_axis, quantized_axis, spread
from ..graph.emitter import Emitter
from ..graph.operator import Operator
from ..reverse.quantized import MICROSOFT, is_whole, limits
from ..reverse.registry import Gradients, vjp


@vjp("QuantizeLinear", quantized=True, rounds=True, broadcasts=True)
@vjp("QuantizeLinear", domain=MICROSOFT, quantized=True, rounds=True, broadcasts=True)
def quantize(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = saturate(round(x / s) + z); dx = dy / s and ds = -dy x / s² where nothing was saturated, else zero.

    As torch.fake_quantize: a value that rounds to the largest or smallest number counts as inside.
    """
    x = node.input(0)
    s, wide = spread(emit, node, 1), x if x.dtype == FLOAT else emit.Cast(x, to=FLOAT)
    low, high = _bounds(emit, node, s)
    inside = emit.And(emit.GreaterOrEqual(wide, low), emit.Less(wide, high))
    dr = _rescaled(dy, s)
    slope = emit.Div(emit.gate(inside, dy), s) if dr is None else emit.gate(inside, dr)
    dx = slope if is_whole(x) or x.dtype == FLOAT else emit.Cast(slope, to=x.dtype)
    ds = _to_scale(emit, node, emit.Neg(emit.Mul(slope, emit.Div(wide, s)))) if node.wants(1) else None
    return [dx, ds, None]


def _bounds(emit: Emitter, node: Operator, s: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Between which x is not saturated: the numbers of the type times s, numbers if the parameters are."""
    bounds = limits(node.outputs[0].dtype)
    if bounds is None:
        raise node.refuse("type", node.outputs[0].dtype, "quantise to integers or floats of 8 bits")
    scale, zero = node.constant(1), node.constant(2)
    if s.const_value is not None and scale is not None and (zero is not None or node.optional(2) is None):
        level = np.float32(0) if zero is None else zero.astype(np.float32)
        low, high = ((np.float32(bound) - level) * scale.astype(np.float32) for bound in bounds)
        return emit.constant(aligned(node, low)), emit.constant(aligned(node, high))
    if node.optional(2) is None:
        return emit.Mul(s, bounds[0]), emit.Mul(s, bounds[1])
    z = spread(emit, node, 2)
    return emit.Mul(emit.Sub(bounds[0], z), s), emit.Mul(emit.Sub(bounds[1], z), s)


def _rescaled(dy: ir.Value, s: ir.Value) -> ir.Value | None:
    """What ``dy`` was before a DequantizeLinear of the same scale multiplied it; None if that is not so."""
    producer = dy.producer()
    if producer is None or producer.op_type != "Mul" or producer.inputs[1] is not s:
        return None
    return producer.inputs[0]


@vjp("DequantizeLinear", quantized=True, broadcasts=True)
@vjp("DequantizeLinear", domain=MICROSOFT, quantized=True, broadcasts=True)
def dequantize(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = (x - z) s; dx = dy s, ds = dy (x - z), the latter as it is: nothing is rounded here."""
    dy = dy if dy.dtype == FLOAT else emit.Cast(dy, to=FLOAT)
    dx = emit.Mul(dy, spread(emit, node, 1)) if node.wants(0) else None
    ds = None
    if node.wants(1):
        level = emit.Cast(node.input(0), to=FLOAT)
        level = level if node.optional(2) is None else emit.Sub(level, spread(emit, node, 2))
        ds = _to_scale(emit, node, emit.Mul(dy, level))
    return [dx, ds, None]


@vjp("DynamicQuantizeLinear", every_output=True, quantized=True, rounds=True)
def dynamic_quantize(emit: Emitter, node: Operator, dys: list[ir.Value | None]) -> Gradients:
    """y = round(x / s) + z with s and z such that nothing is saturated, taken as constants; dx = dy / s."""
    return None if dys[0] is None else emit.Div(dys[0], emit.present(node.outputs[1]))


def _to_scale(emit: Emitter, node: Operator, v: ir.Value) -> ir.Value:
    """``v``, shaped like the tensor, summed to the shape of the scale."""
    scale, axis = node.input(1), quantized_axis(node)
    assert scale.shape is not None
    if len(scale.shape) > 1:
        v = scatter_rows(emit, v, blocks(emit, node), emit.Cast(scale, to=FLOAT), axis)
    elif is_per_axis(node):
        v = emit.ReduceSum(v, [a for a in range(node.rank()) if a != axis], keepdims=0)
    return v if scale.dtype == FLOAT else emit.Cast(v, to=scale.dtype)
