"""Operators of ONNX Runtime whose weights are packed numbers of a few bits, in standard operators.

Formulas: ONNX Runtime's documentation of its contrib operators, checked against its kernels. The packed
weights stay as they are; what unpacks them is constant, and runtimes compute it when they load the model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from ..graph.emitter import Emitter
from ..graph.operator import Operator
from ..reverse.quantized import MICROSOFT
from ..reverse.registry import expands

Outputs = Sequence[ir.Value | None]
UINT8 = ir.DataType.UINT8


@expands("MatMulNBits", domain=MICROSOFT)
def matmul_n_bits(emit: Emitter, node: Operator) -> Outputs:
    """y = a wᵀ + bias with w [N,K] = (numbers - zero point) scale, per block of ``block_size`` along K."""
    if node.optional(4) is not None:
        raise node.refuse("g_idx", node.input(4).name, "quantise the weights without it")
    if node.attribute("weight_prepacked", 0):
        raise node.refuse("weight_prepacked", node.attribute("weight_prepacked", 0), "use the model before packing")
    a, packed, scales = node.input(0), node.input(1), node.input(2)
    rows, width = node.attribute("N", 0), node.attribute("K", 0)
    size, bits = node.attribute("block_size", 32), node.attribute("bits", 4)
    blocks = -(-width // size)
    numbers = emit.Reshape(_unpacked(emit, packed, bits), [rows, blocks, size])
    level = emit.Sub(emit.Cast(numbers, to=a.dtype), _zero_points(emit, node, rows, blocks, bits))
    weights = emit.Mul(level, emit.Reshape(scales, [rows, blocks, 1]))
    weights = emit.Reshape(weights, [rows, blocks * size])
    if blocks * size > width:
        weights = emit.Slice(weights, [0], [width], [1])
    y = emit.MatMul(a, emit.Transpose(weights, perm=[1, 0]))
    return [y if node.optional(5) is None else emit.Add(y, node.input(5))]


def _zero_points(emit: Emitter, node: Operator, rows: int, blocks: int, bits: int) -> ir.Value:
    """[N, blocks, 1] in the type of the input; packed or not, by default the middle of the range."""
    zero, dtype = node.optional(3), node.input(0).dtype
    if zero is None:
        return emit.constant(2 ** (bits - 1), dtype)
    if zero.dtype == UINT8:
        zero = emit.Slice(emit.Reshape(_unpacked(emit, zero, bits), [rows, -1]), [0], [blocks], [1])
        zero = emit.Cast(zero, to=dtype)
    return emit.Reshape(zero, [rows, blocks, 1])


def _unpacked(emit: Emitter, packed: ir.Value, bits: int) -> ir.Value:
    """The numbers in each byte, the lowest bits first, along a new last axis."""
    if bits == 8:
        return emit.Unsqueeze(packed, [-1])
    shifts = emit.constant(np.arange(0, 8, bits, dtype=np.uint8))
    moved = emit.BitShift(emit.Unsqueeze(packed, [-1]), shifts, direction="RIGHT")
    return emit.BitwiseAnd(moved, emit.constant(np.array(2**bits - 1, np.uint8)))


#: What the codes of 4 bits of bitsandbytes stand for: FP4, NF4.
_CODES = (
    [0.0, 0.005208333, 0.6666667, 1.0, 0.3333333, 0.5, 0.1666667, 0.25,
     -0.0, -0.005208333, -0.6666667, -1.0, -0.3333333, -0.5, -0.1666667, -0.25],
    [-1.0, -0.6961928, -0.52507305, -0.3949175, -0.28444138, -0.18477343, -0.09105004, 0.0,
     0.0795803, 0.1609302, 0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1.0],
)  # fmt: skip


@expands("MatMulBnb4", domain=MICROSOFT)
def matmul_bnb4(emit: Emitter, node: Operator) -> Outputs:
    """y = a wᵀ (or a w, without ``transB``) with w [N,K] = code absmax, per block of the flattened w."""
    rows, width, size = (node.attribute(name, 0) for name in ("N", "K", "block_size"))
    packed = emit.Unsqueeze(node.input(1), [-1])
    shifts = emit.constant(np.array([4, 0], np.uint8))  # the first of two numbers is in the upper half of the byte
    codes = emit.BitwiseAnd(emit.BitShift(packed, shifts, direction="RIGHT"), emit.constant(np.array(15, np.uint8)))
    table = emit.constant(np.array(_CODES[node.attribute("quant_type", 0)]), node.input(0).dtype)
    values = emit.Gather(table, emit.Cast(emit.Reshape(codes, [-1]), to=ir.DataType.INT32), axis=0)
    blocks = emit.constant(np.arange(rows * width) // size)
    weights = emit.Mul(emit.Slice(values, [0], [rows * width], [0]), emit.Gather(node.input(2), blocks, axis=0))
    weights = emit.Reshape(weights, [rows, width])
    transposed = emit.Transpose(weights, perm=[1, 0]) if node.attribute("transB", 1) else weights
    return [emit.MatMul(node.input(0), transposed)]


@expands("GatherBlockQuantized", domain=MICROSOFT)
def gather_block_quantized(emit: Emitter, node: Operator) -> Outputs:
    """Rows of a quantised table, dequantised: (numbers - zero point) scale, per block along ``quantize_axis``."""
    data, indices, scales = (node.input(index) for index in range(3))
    rank, bits = node.rank(), node.attribute("bits", 4)
    gathered = node.attribute("gather_axis", 0) % rank
    along = node.attribute("quantize_axis", 1) % rank
    packed = data.dtype == UINT8
    if data.dtype not in (UINT8, ir.DataType.INT4, ir.DataType.UINT4):
        raise node.refuse("type of the table", data.dtype, "quantise it to integers")

    def rows(table: ir.Value) -> ir.Value:
        if not packed:  # Gather takes no numbers of 4 bits
            return emit.Gather(emit.Cast(table, to=scales.dtype), indices, axis=gathered)
        return emit.Cast(emit.Gather(_joined(emit, table, bits), indices, axis=gathered), to=scales.dtype)

    number = rows(data)
    if node.optional(3) is not None:
        level = rows(node.input(3))
    else:
        level = emit.constant(2 ** (bits - 1) if packed else 0, scales.dtype)
    scale = emit.Gather(scales, indices, axis=gathered)
    assert number.shape is not None and indices.shape is not None
    axis = along + (len(indices.shape) - 1 if along > gathered else 0)
    extent = number.shape[axis]
    if not isinstance(extent, int):
        raise node.refuse("extent of the quantised axis", extent, "give the table a static shape")
    blocks = emit.constant(np.arange(extent) // node.attribute("block_size", 128))
    scale = emit.Gather(scale, blocks, axis=axis)
    if node.optional(3) is not None:
        level = emit.Gather(level, blocks, axis=axis)
    return [emit.Mul(emit.Sub(number, level), scale)]


def _joined(emit: Emitter, packed: ir.Value, bits: int) -> ir.Value:
    """The numbers in each byte, along the last axis."""
    assert packed.shape is not None
    return emit.Reshape(_unpacked(emit, packed, bits), [0] * (len(packed.shape) - 1) + [-1])
