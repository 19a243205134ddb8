"""Rows of a value: what :mod:`.late_pads` and :mod:`.early_rows` share.

Rows are a range along one axis, such as the token that a transformer classifies by. Operators that treat rows apart
make the rows of their result from the rows of their inputs, so that a few rows cost a fraction of all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx_ir as ir

from ..graph.emitter import Emitter
from ..graph.inference import small_constant
from .rewriting import bottom_up, scope_of

#: Of an axis at most this share is rows worth cutting out; of more, cutting costs what it saves.
LARGEST_SHARE = 1 / 4
#: Operators that treat every element by itself.
ELEMENTWISE = {
    "Abs", "Add", "And", "Cast", "Clip", "Div", "Elu", "Equal", "Erf", "Exp", "Gelu", "Greater", "GreaterOrEqual",
    "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Min", "Mul", "Neg",
    "Not", "Or", "Pow", "Reciprocal", "Relu", "Sigmoid", "Sign", "Softplus", "Sqrt", "Sub", "Tanh", "Where",
}  # fmt: skip


@dataclass(frozen=True)
class Rows:
    """The rows from ``begin`` to before ``end``, of the ``whole`` extent of an axis."""

    begin: int
    end: int
    whole: int

    @property
    def count(self) -> int:
        return self.end - self.begin

    @property
    def few(self) -> bool:
        """Whether they are worth cutting out."""
        return self.count <= self.whole * LARGEST_SHARE


class Cutter:
    """Makes rows of values. What ``passes`` lets through is computed for the rows alone, all else is cut by a Slice."""

    def __init__(self, emit: Emitter, passes: Callable[[ir.Node], bool]) -> None:
        self._emit, self._passes = emit, passes
        self._known: dict[Rows, dict[tuple[ir.Value, int], ir.Value]] = {}

    def cut(self, value: ir.Value, axis: int, rows: Rows) -> ir.Value | None:
        """Return the rows of a value along an axis; None if its extent is another one, or not known."""
        if extent(value, axis) != rows.whole:
            return None
        known = self._known.setdefault(rows, {})

        def parts(one: tuple[ir.Value, int]) -> list[tuple[ir.Value, int]]:
            node = one[0].producer()
            return sources(node, *one, rows.whole) if node is not None and self._passes(node) else []

        def made(one: tuple[ir.Value, int], cuts: list[ir.Value]) -> ir.Value:
            source, at = one
            wanted, node = parts(one), source.producer()
            if not wanted or node is None:
                return self._emit.Slice(source, [rows.begin], [rows.end], [at])
            given = {v: cut for (v, _), cut in zip(wanted, cuts)}
            inputs = [None if v is None else given.get(v, v) for v in node.inputs]
            if node.op_type == "Reshape":
                inputs[1] = self._shape(node.inputs[1], at, rows.count, rank(source))
            stated = {name: attribute.value for name, attribute in node.attributes.items()}
            with self._emit.scope(scope_of(node)):
                outputs = self._emit.op(node.op_type, *inputs, outputs=len(node.outputs), **stated)
            known.update({(old, at): new for old, new in zip(node.outputs, outputs)})
            return known[one]

        return bottom_up((value, axis), parts, made, known)

    def _shape(self, shape: ir.Value | None, axis: int, count: int, axes: int) -> ir.Value:
        """The shape that a Reshape takes, with another extent of one axis."""
        known = small_constant(shape)
        if known is not None:
            return self._emit.constant(np.where(np.arange(axes) == axis, count, known))
        before, behind = (self._emit.Slice(shape, [a], [b], [0]) for a, b in ((0, axis), (axis + 1, axes)))
        return self._emit.vector([before, count, behind])


def sources(node: ir.Node, value: ir.Value, axis: int, whole: int) -> list[tuple[ir.Value, int]]:
    """Return which rows of its inputs a node makes rows of its output ``value`` of: the inputs with their axes.

    Empty where it mixes rows, or is not known to treat them apart.
    """
    if node.domain not in ("", "ai.onnx"):
        return []
    rule = _SOURCES.get(node.op_type)
    if rule is not None:
        return rule(node, value, axis)
    if node.op_type not in ELEMENTWISE or len(node.outputs) != 1:
        return []
    inputs = [v for v in node.inputs if v is not None]
    if any(v.shape is None for v in inputs):
        return []
    wide = [(v, at) for v in inputs if (at := axis + rank(v) - rank(value)) >= 0 and extent(v, at) != 1]
    return wide if all(extent(v, at) == whole for v, at in wide) else []


def _of_transpose(node: ir.Node, value: ir.Value, axis: int) -> list[tuple[ir.Value, int]]:
    return [(first(node), order_of(node)[axis])]


def _of_normalization(node: ir.Node, value: ir.Value, axis: int) -> list[tuple[ir.Value, int]]:
    source = first(node)
    return [(source, axis)] if axis < node.attributes.get_int("axis", -1) % rank(source) else []


def _of_softmax(node: ir.Node, value: ir.Value, axis: int) -> list[tuple[ir.Value, int]]:
    return [] if axis == node.attributes.get_int("axis", -1) % rank(value) else [(first(node), axis)]


def _of_reshape(node: ir.Node, value: ir.Value, axis: int) -> list[tuple[ir.Value, int]]:
    source = first(node)
    if source.shape is None:
        return []
    places = [place for place in range(rank(source)) if kept_axis(source, value, place) == axis]
    return [(source, places[0])] if places else []


def _of_product(node: ir.Node, value: ir.Value, axis: int) -> list[tuple[ir.Value, int]]:
    a, b = node.inputs
    if a is None or b is None or a.shape is None or b.shape is None or min(rank(a), rank(b)) < 2:
        return []
    places = {rank(value) - 2: [(a, rank(a) - 2)], rank(value) - 1: [(b, rank(b) - 1)]}
    return places.get(axis, [])


_SOURCES: dict[str, Callable[[ir.Node, ir.Value, int], list[tuple[ir.Value, int]]]] = {
    "Transpose": _of_transpose,
    "LayerNormalization": _of_normalization,
    "Softmax": _of_softmax,
    "Reshape": _of_reshape,
    "MatMul": _of_product,
}


def kept_axis(before: ir.Value, after: ir.Value, axis: int) -> int | None:
    """Return where an axis stands after a Reshape: of its extent, with as many elements behind it; None: nowhere."""
    if before.shape is None or after.shape is None:
        return None
    behind = list(before.shape[axis + 1 :])
    for place, wide in enumerate(after.shape):
        rest = list(after.shape[place + 1 :])
        if wide == before.shape[axis] and (rest == behind or (_elements(rest) or 0) == (_elements(behind) or -1)):
            return place
    return None


def _elements(extents: Sequence[object]) -> int | None:
    """The product of extents, if all are numbers."""
    numbers = [one for one in extents if isinstance(one, int)]
    return prod(numbers) if len(numbers) == len(extents) else None


def order_of(transpose: ir.Node) -> list[int]:
    """Return the axes of the input in the order of the output."""
    return list(transpose.attributes.get_ints("perm", range(rank(first(transpose)))[::-1]))


def first(node: ir.Node) -> ir.Value:
    """Return the first input of an operator that cannot do without."""
    value = node.inputs[0]
    assert value is not None, "the operator's first input is not optional"
    return value


def rank(value: ir.Value) -> int:
    """Return the number of axes of a value whose shape is known."""
    assert value.shape is not None, "values without a shape are left before"
    return len(value.shape)


def extent(value: ir.Value, axis: int) -> int | None:
    """Return the extent of an axis where it is a number."""
    found = None if value.shape is None else value.shape[axis]
    return found if isinstance(found, int) else None
