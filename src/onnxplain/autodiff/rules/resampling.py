"""Resize: interpolation along each axis, a linear map.

The truth is what ONNX Runtime's forward computes, which departs from the standard in two places: an
axis whose scale is exactly 1 stays as it is even where ``tf_crop_and_resize`` crops it, and antialias
without ``exclude_outside`` credits taps beyond the border to the border.
Upsample has no rule: the upgrade to opset 18 turns it into Resize.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import onnx_ir as ir

from ..graph.emitter import Emitter
from ..graph.inference import small_constant
from ..graph.operator import Operator
from ..reverse.registry import Gradients, vjp

_ATTRIBUTES: dict[str, str | int | float] = {
    "mode": "nearest", "nearest_mode": "round_prefer_floor", "coordinate_transformation_mode": "half_pixel",
    "cubic_coeff_a": -0.75, "exclude_outside": 0, "antialias": 0,
}  # fmt: skip


@vjp("Resize")
def resize(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = x times a matrix R_a [in, out] along every axis a; dx = dy times every R_a^T.

    R_a is what the same Resize makes of the identity matrix: exact in every mode, at run time too.
    Nearest by whole factors copies every pixel to a block; its gradient is the sum over the block.
    """
    if node.attribute("mode", "nearest") != "nearest":
        for index, name in ((1, "roi"), (2, "scales")):
            if node.wants(index) and (name == "scales" or _crops(node)):
                raise node.refuse("gradient of input", name, "differentiate with respect to X only")
    rank = node.rank(0)
    axes = [axis % rank for axis in node.attribute("axes", list(range(rank)))]
    scales = _scales(node, axes)
    blocks = _blocks(node, dict(zip(axes, scales)))
    if blocks is not None:
        mean = emit.AveragePool(dy, kernel_shape=blocks, strides=blocks)
        return emit.Mul(mean, float(np.prod(blocks)))
    for index, axis in enumerate(axes):
        if scales[index] != 1:
            dy = _multiply(emit, _matrix(emit, node, axes, index), dy, axis)
    return dy


def _crops(node: Operator) -> bool:
    return node.attribute("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize"


def _multiply(emit: Emitter, matrix: ir.Value, dy: ir.Value, axis: int) -> ir.Value:
    """``matrix`` [in, out] times ``dy`` along ``axis``."""
    assert dy.shape is not None and dy.dtype is not None
    rank = len(dy.shape)
    if dy.dtype != ir.DataType.FLOAT:
        matrix = emit.Cast(matrix, to=dy.dtype)
    if axis == max(rank - 2, 0):
        return emit.MatMul(matrix, dy)
    if axis == rank - 1:
        return emit.MatMul(dy, emit.Transpose(matrix, perm=[1, 0]))
    order = list(range(rank))
    order[axis], order[-2] = order[-2], order[axis]
    return emit.Transpose(emit.MatMul(matrix, emit.Transpose(dy, perm=order)), perm=order)


def _matrix(emit: Emitter, node: Operator, axes: list[int], index: int) -> ir.Value:
    """What the node makes of the identity matrix along ``axes[index]``: float32 [in, out]."""
    x, y, axis = node.input(0), node.outputs[0], axes[index]
    same = {name: node.attribute(name, default) for name, default in _ATTRIBUTES.items()}
    length = emit.extent(x, axis)
    eye = emit.EyeLike(emit.ConstantOfShape(emit.vector([length, length])))
    roi = None
    if _crops(node):
        start, end = (_element(emit, node.input(1), i) for i in (index, index + len(axes)))
        roi = _floats(emit, [0.0, start, 1.0, end])
    if _sizes(node) is None:
        return emit.Resize(eye, roi, _floats(emit, [1.0, _element(emit, node.input(2), index)]), None, **same)
    aspect = _aspect(node, axes)
    if aspect is None or aspect.wanted[index] == aspect.common:
        return emit.Resize(eye, roi, None, emit.vector([length, emit.extent(y, axis)]), **same)
    # Another axis sets the scale: a short one of its proportions, constant, goes along and is then dropped.
    tall = emit.Expand(emit.Unsqueeze(eye, [1, 3]), [1, 1, 1, aspect.common.denominator])
    sizes = [aspect.sizes[index], aspect.common.numerator]
    wide = emit.Resize(tall, roi, None, sizes, axes=[2, 3], keep_aspect_ratio_policy=aspect.policy, **same)
    return emit.Squeeze(emit.Slice(wide, [0], [1], [3]), [1, 3])


def _element(emit: Emitter, vector: ir.Value, index: int) -> float | ir.Value:
    """One element of a float vector: a number, or float32 [1]."""
    known = small_constant(vector)
    if known is not None:
        return float(known[index])
    element = emit.Slice(vector, [index], [index + 1])
    return element if vector.dtype == ir.DataType.FLOAT else emit.Cast(element, to=ir.DataType.FLOAT)


def _floats(emit: Emitter, parts: list[float | ir.Value]) -> ir.Value:
    """A float32 vector of numbers and vectors: a constant if all are numbers."""
    if all(isinstance(part, float) for part in parts):
        return emit.constant(np.array(parts, dtype=np.float32))
    return emit.Concat(*(np.array([p], np.float32) if isinstance(p, float) else p for p in parts), axis=0)


def _sizes(node: Operator) -> ir.Value | None:
    """The input ``sizes``, unless it is an empty stand-in beside ``scales``."""
    sizes = node.optional(3)
    empty = sizes is not None and sizes.shape is not None and len(sizes.shape) == 1 and sizes.shape[0] == 0
    return None if empty else sizes


def _scales(node: Operator, axes: list[int]) -> list[Fraction | None]:
    """The scale along each of ``axes``, exactly; None where only run time tells."""
    if _sizes(node) is None:
        return _known(node.input(2), len(axes))
    aspect = _aspect(node, axes)
    if aspect is not None:
        return [aspect.common] * len(axes)
    before, after = node.input(0).shape, node.outputs[0].shape
    return [_ratio(before[axis], after[axis]) if before and after else None for axis in axes]


def _known(vector: ir.Value, count: int) -> list[Fraction | None]:
    """The elements of a vector of ``count``, as far as it is a constant or joined of constants."""
    found: list[Fraction | None] = []
    pending = [(vector, count)]
    while pending:
        one, length = pending.pop()
        constant, producer = small_constant(one), one.producer()
        if constant is not None:
            found += [Fraction(float(element)) for element in constant.reshape(-1)]
            continue
        parts = list(producer.inputs) if producer is not None and producer.op_type == "Concat" else []
        extents = [None if v is None or v.shape is None else v.shape[0] for v in parts]
        known = [(v, n) for v, n in zip(parts, extents) if v is not None and isinstance(n, int)]
        joined = sum(n for _, n in known) == length and len(known) == len(parts) and all(n for _, n in known)
        if joined and producer is not None and producer.domain == "":
            pending += reversed(known)
        else:
            found += [None] * length
    return found if len(found) == count else [None] * count


def _ratio(before: int | ir.SymbolicDim, after: int | ir.SymbolicDim) -> Fraction | None:
    """The quotient of two extents: of numbers, or of symbols like 2*H and H."""
    if isinstance(before, int) and isinstance(after, int):
        return Fraction(after, before) if before else None
    if isinstance(before, int) or isinstance(after, int) or before.value is None or after.value is None:
        return None
    factor, times, name = ("1", "*", after.value) if before == after else after.value.partition("*")
    return Fraction(int(factor)) if times and name == before.value and factor.isdecimal() else None


@dataclass(frozen=True)
class _Aspect:
    """``keep_aspect_ratio_policy``: of the scales ``wanted`` along the axes for ``sizes``, all take ``common``."""

    policy: str
    sizes: list[int]
    wanted: list[Fraction]
    common: Fraction


def _aspect(node: Operator, axes: list[int]) -> _Aspect | None:
    policy = node.attribute("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return None
    x, sizes = node.input(0), node.constant(3)
    extents = [None if x.shape is None else x.shape[axis] for axis in axes]
    if sizes is None or not all(isinstance(extent, int) and extent for extent in extents):
        raise node.refuse(
            "keep_aspect_ratio_policy",
            f"{policy} with sizes or extents known only at run time",
            "fix the height and width of the model's input, or resize with scales",
        )
    wanted = [Fraction(int(size), int(extent)) for size, extent in zip(sizes, extents)]  # type: ignore[arg-type]
    common = min(wanted) if policy == "not_larger" else max(wanted)
    return _Aspect(policy, [int(size) for size in sizes], wanted, common)


def _blocks(node: Operator, scales: dict[int, Fraction | None]) -> list[int] | None:
    """The block that every pixel [N, C, ...] is copied to, if the node does just that; else None."""
    rank = node.rank(0)
    factors = [scales.get(axis, Fraction(1)) for axis in range(rank)]
    if node.attribute("mode", "nearest") != "nearest" or not 3 <= rank <= 5 or factors[:2] != [1, 1]:
        return None
    blocks = [factor.numerator for factor in factors[2:] if factor and factor.denominator == 1]
    if len(blocks) != rank - 2 or max(blocks) == 1:
        return None
    coordinates = node.attribute("coordinate_transformation_mode", "half_pixel")
    rounding = node.attribute("nearest_mode", "round_prefer_floor")
    if coordinates == "asymmetric":  # i / s, whose fraction is at most 1/2 if s <= 2
        return blocks if rounding == "floor" or (rounding == "round_prefer_floor" and max(blocks) == 2) else None
    centred = coordinates in ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel")
    return blocks if centred and rounding.startswith("round") else None  # never halfway between two pixels
