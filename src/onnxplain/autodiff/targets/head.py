"""What a model ends in: a softmax or sigmoid, and what moves its result about. Nothing here changes the graph.

The score has the output's own shape: where a softmax or sigmoid is looked through, what follows it (the tail) is done
to the logits as it was done to the probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import onnx_ir as ir

from ..graph.emitter import Emitter
from ..graph.inference import small_constant
from ..reverse.quantized import MICROSOFT
from .written_out_softmax import sums_to_one, written_out_softmax

#: Operators of a tail that leave numbers and shape as they are, but for rounding.
_SAME = {"Identity", "Cast", "Dropout", "DequantizeLinear", "QuantizeLinear"}
#: Operators of a tail that move numbers.
_MOVES = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"}
#: Operators of a tail that leave some out.
_CUTS = {"Slice", "Gather"}
_KERNELS = {"QLinearSoftmax", "QLinearSigmoid"}
_PROBABILITY = {"Softmax", "LogSoftmax", "Sigmoid"} | _KERNELS
#: What ends in any real number: what it computes may be logits.
#: Means of real numbers.
_MEANS = {"GlobalAveragePool", "AveragePool", "ReduceMean"}
_AFFINE = {"Gemm", "MatMul", "Conv", "MatMulNBits", "FusedMatMul", "QGemm", "QLinearConv", "QLinearMatMul"}


@dataclass(frozen=True)
class Head:
    """A tensor ``before`` a softmax or sigmoid; the output itself where there is none.

    ``activation`` is "softmax", "sigmoid" or None; ``axis`` that of the softmax, of ``before``; ``logarithm`` whether
    its logarithm is taken; ``kernel`` the integer kernel that does it. ``tail`` are the nodes behind it, in order.
    """

    before: ir.Value
    activation: str | None = None
    axis: int | None = None
    logarithm: bool = False
    kernel: ir.Node | None = None
    tail: tuple[ir.Node, ...] = ()

    def class_axis(self) -> int | None:
        """Which axis of the output the softmax is taken over; None without one, or where its axis was taken apart."""
        axis = self.axis
        for node in self.tail:
            if axis is not None:
                axis = _moved(node, axis)
        return axis

    @property
    def keeps_all(self) -> bool:
        """Whether the output has all the numbers that the softmax or sigmoid makes."""
        return all(node.op_type not in _CUTS for node in self.tail)

    def scores(self, emit: Emitter) -> ir.Value:
        """The tensor before the softmax or sigmoid, moved about as the output is."""
        value = self.before
        if self.kernel is not None and self.kernel.inputs[1] is not None:
            value = emit.DequantizeLinear(value, self.kernel.inputs[1], self.kernel.inputs[2])
        for node in self.tail:
            if node.op_type not in _SAME:
                attributes: dict[str, Any] = dict(node.attributes)
                value = emit.op(node.op_type, value, *node.inputs[1:], outputs=1, **attributes)[0]
        return value


def find_head(output: ir.Value) -> Head:
    """What ``output`` ends in. A softmax may be written out in simpler operators, or be an integer kernel."""
    value, tail = output, list[ir.Node]()
    while (node := value.producer()) is not None and node.inputs and node.inputs[0] is not None:
        if node.op_type in _PROBABILITY and (node.domain != MICROSOFT) == (node.op_type not in _KERNELS):
            before = node.inputs[0]
            kernel = node if node.op_type in _KERNELS else None
            if "Sigmoid" in node.op_type:
                return Head(before, "sigmoid", None, False, kernel, tuple(reversed(tail)))
            axis = None if before.shape is None else node.attributes.get_int("axis", -1) % len(before.shape)
            return Head(before, "softmax", axis, node.op_type == "LogSoftmax", kernel, tuple(reversed(tail)))
        if (written_out := written_out_softmax(value)) is not None:
            before, axis, logarithm = written_out
            return Head(before, "softmax", axis, logarithm, None, tuple(reversed(tail)))
        if not _is_tail(node):
            break
        tail.append(node)
        value = node.inputs[0]
    return Head(output)


def probability_of(output: ir.Value, head: Head, *, looked_through: bool) -> str | None:
    """How the scores become probabilities: "softmax" or "sigmoid" of them, or "identity".

    "labelled" is a softmax where the classes have names: scores may be any real numbers, and only names say that they
    are those of classes which exclude each other. None where they have no such meaning.
    """
    if head.activation is None:
        if sums_to_one(output):
            return "identity"
        return "labelled" if _is_affine(output) else None
    if not looked_through:
        return "identity" if not head.logarithm else "softmax" if head.keeps_all else None
    if head.activation == "sigmoid":
        return "sigmoid"
    return "softmax" if head.keeps_all else None


def _is_affine(value: ir.Value) -> bool:
    """Whether a product with weights, and perhaps a constant added to it, is all that ends in ``value``."""
    node = value.producer()
    while (
        node is not None
        and node.op_type in _SAME | _MOVES | _MEANS | {"Add"}
        and node.inputs
        and node.inputs[0] is not None
    ):
        value = node.inputs[0]
        if node.op_type == "Add":
            others = [v for v in node.inputs if v is not None and v.const_value is None]
            if len(others) != 1:
                return False
            value = others[0]
        node = value.producer()
    return node is not None and node.op_type in _AFFINE


def _is_tail(node: ir.Node) -> bool:
    if node.domain not in ("", "ai.onnx", MICROSOFT):
        return False
    if node.op_type in _CUTS:
        return all(value is None or small_constant(value) is not None for value in node.inputs[1:])
    return node.op_type in _SAME | _MOVES


def _moved(node: ir.Node, axis: int) -> int | None:
    """Where axis ``axis`` of the first input of a tail's node is in its output; None if it is taken apart."""
    source, result = node.inputs[0], node.outputs[0]
    if source is None or source.shape is None or result.shape is None:
        return None
    rank = len(source.shape)
    if node.op_type in _SAME | {"Slice"}:
        return axis
    if node.op_type == "Transpose":
        return list(node.attributes.get_ints("perm", list(reversed(range(rank))))).index(axis)
    if node.op_type == "Gather":
        gathered, indices = node.attributes.get_int("axis", 0) % rank, node.inputs[1]
        if indices is None or indices.shape is None or (gathered == axis and len(indices.shape) != 1):
            return None
        return axis if axis <= gathered else axis + len(indices.shape) - 1
    axes = small_constant(node.inputs[1]) if node.op_type in ("Squeeze", "Unsqueeze") and node.inputs[1:] else None
    if axes is not None and node.op_type == "Squeeze":
        gone = {int(a) % rank for a in axes.ravel()}
        return None if axis in gone else axis - sum(a < axis for a in gone)
    if axes is not None:
        new = {int(a) % len(result.shape) for a in axes.ravel()}
        return [a for a in range(len(result.shape)) if a not in new][axis]
    return _same_extent(source.shape, axis, result.shape)


def _same_extent(before: ir.Shape, axis: int, after: ir.Shape) -> int | None:
    """Where an axis is after a reshape: the one of its extent, with as many elements before and behind it.

    Where open extents leave that unknown, it is the only axis of its extent. Of several axes of one element the last
    one is taken: they hold the same.
    """
    extent = before[axis]
    found, certain = [], []
    for index, other in enumerate(after):
        agree = [_agree(before[:axis], after[:index]), _agree(before[axis + 1 :], after[index + 1 :])]
        if other == extent and False not in agree:
            found.append(index)
            certain += [index] if True in agree else []
    if len(certain) == 1 or (certain and extent == 1):
        return certain[-1]
    return found[0] if len(found) == 1 and not certain else None


def _agree(a: Sequence[int | ir.SymbolicDim], b: Sequence[int | ir.SymbolicDim]) -> bool | None:
    """Whether two blocks of axes hold equally many elements; None if their names do not tell."""
    numbers = [prod(d for d in dims if isinstance(d, int)) for dims in (a, b)]
    names = [sorted(str(d.value) for d in dims if not isinstance(d, int)) for dims in (a, b)]
    return numbers[0] == numbers[1] if names[0] == names[1] and "None" not in names[0] else None
