"""Scales and zero points of quantised numbers, spread over the tensors they belong to.

Here s is a scale and z a zero point: per tensor, per axis, or per block of an axis.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ..graph.emitter import Emitter
from ..graph.operator import Operator
from .placement import counting

FLOAT = ir.DataType.FLOAT


def quantized(emit: Emitter, node: Operator, x: ir.Value) -> ir.Value:
    """Return the numbers that a QuantizeLinear node of signed 8 bits makes of ``x`` (as unsigned ones), as floats."""
    zero, constant = node.optional(2), node.constant(2)
    if zero is None or constant is not None:
        level = np.int32(0) if constant is None else constant.astype(np.int32)
        zero = emit.constant((level + 128).astype(np.uint8))
    else:
        zero = emit.Cast(emit.Add(emit.Cast(zero, to=ir.DataType.INT32), 128), to=ir.DataType.UINT8)
    given = {name: node.node.attributes.get(name) for name in ("axis", "block_size")}
    return emit.Sub(emit.Cast(emit.QuantizeLinear(x, node.input(1), zero, **given), to=FLOAT), 128.0)


def dequantized(emit: Emitter, node: Operator, numbers: ir.Value | None = None) -> ir.Value:
    """Return what a DequantizeLinear node computes, without one; of other ``numbers`` than its input's, if given."""
    z = None if node.optional(2) is None else spread(emit, node, 2)
    y, dtype = real(emit, numbers or node.input(0), spread(emit, node, 1), z), node.outputs[0].dtype
    return y if dtype in (None, FLOAT) else emit.Cast(y, to=dtype)


def real(emit: Emitter, x: ir.Value, s: ir.Value, z: ir.Value | None) -> ir.Value:
    """(x - z) s in float32, for s and z that broadcast against x."""
    level = x if x.dtype == FLOAT else emit.Cast(x, to=FLOAT)
    if z is not None:
        level = emit.Sub(level, z if z.dtype == FLOAT else emit.Cast(z, to=FLOAT))
    return emit.Mul(level, s if s.dtype == FLOAT else emit.Cast(s, to=FLOAT))


def quantized_axis(node: Operator) -> int:
    """Return the axis of input 0 along which scales differ."""
    return node.attribute("axis", 1) % max(node.rank(), 1)


def spread(emit: Emitter, node: Operator, index: int) -> ir.Value:
    """Input ``index``, a scale or zero point, in float32, such that it broadcasts against input 0."""
    v, constant = node.input(index), node.constant(index)
    if v.shape is None:
        raise node.refuse(f"rank of input {index} ({v.name})", "unknown", "give the scale a static rank")
    if constant is not None and len(v.shape) < 2:
        return emit.constant(aligned(node, constant.astype(np.float32)))
    v = v if v.dtype == FLOAT else emit.Cast(v, to=FLOAT)
    if v.shape is not None and len(v.shape) > 1:
        return emit.Gather(v, blocks(emit, node), axis=quantized_axis(node))
    trailing = list(range(1, node.rank() - quantized_axis(node)))
    return emit.Unsqueeze(v, trailing) if is_per_axis(node) and trailing else v


def aligned(node: Operator, array: np.ndarray) -> np.ndarray:
    """Return a constant scale, zero point or bound, such that it broadcasts against input 0."""
    return array.reshape([-1] + [1] * (node.rank() - quantized_axis(node) - 1)) if array.size > 1 else array.reshape([])


def is_per_axis(node: Operator) -> bool:
    """Return whether the scale is a vector with an element per index of the quantised axis."""
    shape = node.input(1).shape
    return shape is not None and len(shape) == 1 and shape[0] != 1


def blocks(emit: Emitter, node: Operator) -> ir.Value:
    """Return which element of a blocked scale each index of the quantised axis belongs to: int64."""
    axis, size = quantized_axis(node), node.attribute("block_size", 0)
    if size < 1:
        raise node.refuse("block_size", size, "state how many elements share a scale")
    extent = emit.extent(node.input(0), axis)
    if isinstance(extent, int):
        return emit.constant(np.arange(extent) // size)
    return emit.Div(counting(emit, extent), emit.constant(size, ir.DataType.INT64))
