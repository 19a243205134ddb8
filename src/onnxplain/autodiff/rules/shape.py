"""Operators that move, copy or retype elements without choosing among them by index."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import onnx_ir as ir

from ..graph.emitter import Emitter
from ..graph.inference import made_by
from ..graph.operator import Operator
from ..reverse.quantized import is_float, is_whole
from ..reverse.registry import Gradients, vjp


@vjp("Identity")
def identity(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = x; dx = dy."""
    return dy


@vjp("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y has the elements of x in the same order; dx = dy in the shape of x."""
    return [emit.reshape_like(dy, node.input(0)), None]


@vjp("Transpose")
def transpose(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = x with its axes permuted (default: reversed); dx = dy with the inverse permutation."""
    perm: Sequence[int] = node.attribute("perm", [])
    inverse = sorted(range(len(perm)), key=perm.__getitem__)
    return emit.Transpose(dy, perm=inverse or None)


@vjp("Cast", "CastLike", quantized=True)
def cast(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = x in another type; dx = dy in the type of x, float32 for quantised integers.

    Casts of floats to integers never get here. Casts to floats of 8 bits or less are refused: quantisation
    is QuantizeLinear's.
    """
    x, y = node.input(0), node.outputs[0]
    if not node.wants(0):
        return None
    if not is_float(y) and not is_whole(x):
        raise node.refuse("type", y.dtype, "casts between float16, bfloat16, float and double have one")
    if is_whole(x):
        return [dy if dy.dtype == ir.DataType.FLOAT else emit.Cast(dy, to=ir.DataType.FLOAT), None]
    if (narrow := _widened_from(dy, x.dtype)) is not None:
        return [narrow, None]
    return [emit.CastLike(dy, x) if x.dtype is None else emit.Cast(dy, to=x.dtype), None]


def _widened_from(dy: ir.Value, dtype: ir.DataType | None) -> ir.Value | None:
    """Return the gradient that was cast to the wider ``dy``, if it was of type ``dtype``: a cast back is that gradient.

    ONNX Runtime 1.32 removes such a pair of casts itself, and then misses the value where a branch of an If reads it.
    """
    node = made_by(dy, "Cast")
    before = None if node is None else node.inputs[0]
    if before is None or dtype is None or before.dtype != dtype or dy.dtype is None:
        return None
    return before if dtype.is_floating_point() and dtype.itemsize < dy.dtype.itemsize else None


@vjp("Dropout")
def dropout(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = x; dx = dy. In training mode only if the ratio is a constant zero: else y is random."""
    ratio, training = node.constant(1), node.constant(2)
    trains = node.optional(2) is not None and (training is None or bool(training.any()))
    if trains and (ratio is None or ratio.any()):
        found = "an input" if training is None else True
        raise node.refuse("training_mode", found, "export the model for inference (eval mode)")
    return [dy, None, None]


@vjp("Concat")
def concat(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = the inputs one after another along an axis; every dx is its part of dy."""
    axis = node.attribute("axis", 0)
    wanted = [node.wants(index) for index in range(len(node.inputs))]
    if all(wanted) and len(wanted) == 1:
        return [dy]
    sizes = [emit.extent(node.input(index), axis) for index in range(len(node.inputs))]
    numbers = [size for size in sizes if isinstance(size, int)]
    if all(wanted) or len(numbers) < len(sizes):
        return emit.op("Split", dy, emit.vector(sizes), outputs=len(sizes), axis=axis)
    ends = list(accumulate(numbers))
    return [
        emit.Slice(dy, [end - size], [end], [axis]) if wants else None
        for wants, size, end in zip(wanted, numbers, ends)
    ]


@vjp("Split", every_output=True)
def split(emit: Emitter, node: Operator, dys: list[ir.Value | None]) -> Gradients:
    """The outputs are consecutive parts of x; dx = their gradients one after another, zeros if unused."""
    parts = [emit.zeros_like(emit.present(y)) if dy is None else dy for y, dy in zip(node.outputs, dys)]
    return [emit.Concat(*parts, axis=node.attribute("axis", 0)), None]


@vjp("Expand", broadcasts=True)
def expand(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = x broadcast to a shape; dx = dy summed over the copies, which the walk does."""
    return [dy, None]


@vjp("Tile")
def tile(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = x repeated along every axis; dx = dy summed over the repetitions."""
    x, repeats = node.input(0), node.constant(1)
    extents: list[int | ir.Value] = []
    copies = []
    for axis in range(node.rank(0)):
        repeat = None if repeats is None else int(repeats[axis])
        if repeat != 1:
            copies.append(len(extents))
            extents.append(emit.Slice(node.input(1), [axis], [axis + 1]) if repeat is None else repeat)
        extents.append(emit.extent(x, axis))
    return [emit.ReduceSum(emit.reshape(dy, extents), copies, keepdims=0) if copies else dy, None]


@vjp("DepthToSpace")
def depth_to_space(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """DCR: channel (row, column, c) becomes pixel (row, column) of channel c; dx = SpaceToDepth(dy).

    CRD: the same from channel (c, row, column), so the channels of SpaceToDepth(dy) change places.
    """
    x, block = node.input(0), node.attribute("blocksize", 0)
    blocks = emit.SpaceToDepth(dy, blocksize=block)
    if node.attribute("mode", "DCR") == "DCR":
        return blocks
    batch, _, height, width = emit.extents(x)
    split = emit.reshape(blocks, [batch, block * block, emit.extent(dy, 1), height, width])
    return emit.reshape_like(emit.Transpose(split, perm=[0, 2, 1, 3, 4]), x)


@vjp("SpaceToDepth")
def space_to_depth(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """The inverse of DepthToSpace of the same mode and block size; dx = DepthToSpace(dy)."""
    return emit.DepthToSpace(dy, blocksize=node.attribute("blocksize", 0), mode=node.attribute("mode", "DCR"))


@vjp("Trilu")
def trilu(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = x on and above (or below) a diagonal, zero elsewhere; dx = dy in the same triangle."""
    return [emit.Trilu(dy, node.optional(1), upper=node.attribute("upper", 1)), None]


@vjp("ReverseSequence")
def reverse_sequence(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = x with the head of every sequence reversed, which is its own inverse and transpose."""
    axes = {name: node.attribute(name, default) for name, default in (("batch_axis", 1), ("time_axis", 0))}
    return [emit.ReverseSequence(dy, node.input(1), **axes), None]
