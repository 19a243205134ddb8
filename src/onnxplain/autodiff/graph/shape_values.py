"""What the small integer tensors of a graph hold, where they are computed from shapes.

``Shape -> Gather -> Concat -> Reshape`` is how exporters write a reshape of a symbolic batch. ONNX's
inference of one node does not look into its inputs' values, and its whole-graph inference knows few
operators, so values are followed here: every element of an int64 scalar or vector is a product of a
number and dimension names, or unknown.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from .schemas import is_standard

Dim = int | ir.SymbolicDim
#: A number times dimension names in alphabetical order; None if unknown.
Element = tuple[int, tuple[str, ...]] | None
_LONGEST = 64
_UNCHANGED = {"Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten"}


def _number(value: int) -> Element:
    return int(value), ()


def _times(a: Element, b: Element) -> Element:
    if a is None or b is None:
        return None
    return (a[0] * b[0], tuple(sorted(a[1] + b[1]))) if a[0] * b[0] else _number(0)


def _over(a: Element, b: Element) -> Element:
    """a / b rounded down, for non-negative a and positive b; None unless it is exact or of numbers."""
    if a is None or b is None or b[0] <= 0:
        return None
    names = list(a[1])
    for name in b[1]:
        if name not in names:
            return None
        names.remove(name)
    exact = a[0] % b[0] == 0 or not a[1]
    return (a[0] // b[0], tuple(names)) if exact and a[0] >= 0 else None


def _plus(a: Element, b: Element, sign: int) -> Element:
    if a is None or b is None:
        return None
    if a[1] == b[1]:
        total = a[0] + sign * b[0]
        return (total, a[1]) if total else _number(0)
    return a if b[0] == 0 else b if a[0] == 0 and sign > 0 else None


def _equal(a: Element, b: Element) -> Element:
    """1, 0 or unknown; a dimension is never negative."""
    if a is None or b is None:
        return None
    if a == b:
        return _number(1)
    numbers = not a[1] and not b[1]
    negative = (not a[1] and a[0] < 0 and b[0] >= 0) or (not b[1] and b[0] < 0 and a[0] >= 0)
    return _number(0) if numbers or negative else None


_BINARY: dict[str, Callable[[Element, Element], Element]] = {
    "Mul": _times,
    "Div": _over,
    "Add": lambda a, b: _plus(a, b, 1),
    "Sub": lambda a, b: _plus(a, b, -1),
    "Equal": _equal,
}


class ShapeValues:
    """Follows the values of small integer tensors through nodes visited in order."""

    def __init__(self) -> None:
        self._known: dict[ir.Value, list[Element]] = {}
        self._products: dict[str, tuple[int, tuple[str, ...]]] = {}

    def visit(self, node: ir.Node) -> None:
        """Note what the node's first output holds, if that follows from its inputs."""
        if not is_standard(node.domain) or not node.outputs:
            return
        output = node.outputs[0]
        whole = output.dtype in (ir.DataType.INT64, ir.DataType.INT32, ir.DataType.BOOL)
        if not whole or output.shape is None or len(output.shape) > 1:
            return
        elements = self._evaluate(node)
        if elements is not None and len(elements) <= _LONGEST and list(output.shape) in ([], [len(elements)]):
            self._known[output] = elements

    def numbers(self, value: ir.Value) -> np.ndarray | None:
        """What ``value`` holds, if every element is known to be a number."""
        elements = self._known.get(value)
        if elements is None or value.dtype is None or any(e is None or e[1] for e in elements):
            return None
        array = np.array([e[0] for e in elements if e is not None], dtype=value.dtype.numpy())
        return array if value.shape else array.reshape(())

    def output_shape(self, node: ir.Node) -> list[Dim | None] | None:
        """The shape of the first output where an input's value says it; None where this does not help."""
        find = getattr(self, f"_shape_of_{node.op_type.lower()}", None)
        if find is None or not is_standard(node.domain):
            return None
        elements: list[Element] | None = find(node)
        return None if elements is None else [self._dim(element) for element in elements]

    def _shape_of_reshape(self, node: ir.Node) -> list[Element] | None:
        target, shape = self._input(node, 1), self._shape(node.inputs[0])
        if target is None:
            return None
        zero_copies = not node.attributes.get_int("allowzero", 0)
        result = [
            (shape[i] if shape is not None and i < len(shape) else None) if zero_copies and e == (0, ()) else e
            for i, e in enumerate(target)
        ]
        inferred = [i for i, e in enumerate(result) if e is not None and e[0] < 0]
        if inferred:
            total = self._product(shape) if shape is not None else None
            rest = self._product([e for i, e in enumerate(result) if i != inferred[0]])
            result[inferred[0]] = _over(total, rest)
        return result

    def _shape_of_expand(self, node: ir.Node) -> list[Element] | None:
        target, shape = self._input(node, 1), self._shape(node.inputs[0])
        if target is None or shape is None:
            return None
        rank = max(len(target), len(shape))
        one = _number(1)
        pairs = zip([one] * (rank - len(target)) + target, [one] * (rank - len(shape)) + shape)
        return [b if a == one else a if b in (one, a) else _wider(a, b) for a, b in pairs]

    def _shape_of_constantofshape(self, node: ir.Node) -> list[Element] | None:
        return self._input(node, 0)

    def _shape_of_tile(self, node: ir.Node) -> list[Element] | None:
        repeats, shape = self._input(node, 1), self._shape(node.inputs[0])
        if repeats is None or shape is None or len(repeats) != len(shape):
            return None
        return [_times(a, b) for a, b in zip(repeats, shape)]

    def _shape_of_range(self, node: ir.Node) -> list[Element] | None:
        start, limit, step = (self._input(node, index) for index in range(3))
        return limit if start == [_number(0)] and step == [_number(1)] else None

    def _shape_of_resize(self, node: ir.Node) -> list[Element] | None:
        shape = self._shape(node.inputs[0])
        if shape is None or "keep_aspect_ratio_policy" in node.attributes:
            return None
        axes = node.attributes["axes"].as_ints() if "axes" in node.attributes else range(len(shape))
        sizes, scales = self._input(node, 3), node.inputs[2] if len(node.inputs) > 2 else None
        if sizes:
            wanted = sizes
        elif scales is not None and scales.const_value is not None and not scales.is_graph_input():
            factors = [float(factor) for factor in scales.const_value.numpy()]
            wanted = [_times(shape[a], _number(int(f))) if f % 1 == 0 else None for a, f in zip(axes, factors)]
        else:
            return None
        for axis, element in zip(axes, wanted):
            shape[axis] = element
        return shape

    def _shape_of_pad(self, node: ir.Node) -> list[Element] | None:
        shape, pads = self._shape(node.inputs[0]), self._input(node, 1)
        given = len(node.inputs) > 3 and node.inputs[3] is not None
        axes = self._input(node, 3) if given else [_number(axis) for axis in range(len(shape or []))]
        if shape is None or axes is None or None in axes or (pads is None and not given):
            return None
        at = [axis[0] for axis in axes if axis is not None]
        result = list(shape)
        for index, axis in enumerate(at):
            both = (None, None) if pads is None else (pads[index], pads[index + len(at)])
            for pad in both:
                result[axis] = _plus(result[axis], pad, 1)
        return result

    def _shape_of_slice(self, node: ir.Node) -> list[Element] | None:
        """Axes that are not sliced keep their extent, and those sliced from 0 to it."""
        shape, starts, ends = self._shape(node.inputs[0]), self._input(node, 1), self._input(node, 2)
        axes = self._input(node, 3)
        if shape is None or axes is None or any(axis is None for axis in axes):
            return None
        result = list(shape)
        for index, axis in enumerate(axes):
            position = 0 if axis is None else axis[0]
            whole = starts is not None and starts[index] == _number(0) and len(node.inputs) < 5
            if not (whole and ends is not None and ends[index] == shape[position]):
                result[position] = None
        return result

    def _evaluate(self, node: ir.Node) -> list[Element] | None:
        op = node.op_type
        if op == "Shape":
            shape = self._shape(node.inputs[0])
            start, end = node.attributes.get_int("start", 0), node.attributes.get_int("end", None)
            return None if shape is None else shape[slice(start, end)]
        if op == "Size":
            shape = self._shape(node.inputs[0])
            return None if shape is None else [self._product(shape)]
        values = [self._input(node, index) for index in range(len(node.inputs))]
        if not values or (values[0] is None and op != "Concat"):
            return None
        if op in _UNCHANGED:
            return values[0]
        if op == "Concat":
            return None if any(v is None for v in values) else [e for v in values if v is not None for e in v]
        if op == "ReduceProd":
            return [self._product(values[0] or [])]
        if op == "ConstantOfShape":
            return self._filled(node, values[0])
        if op == "Expand" and len(values[0] or []) == 1:
            return self._filled(node, values[1], values[0])
        if any(v is None for v in values):
            return None
        known = [v for v in values if v is not None]
        if op == "Gather":
            return _taken(known[0], known[1])
        if op == "Slice":
            return _sliced(known)
        if op == "Where":
            return [None if c is None else a if c == _number(1) else b for c, a, b in _aligned(known)]
        if op in _BINARY and len(known) == 2:
            return [_BINARY[op](a, b) for a, b in _aligned(known)]
        return None

    def _filled(
        self, node: ir.Node, shape: list[Element] | None, value: list[Element] | None = None
    ) -> list[Element] | None:
        if shape is None or len(shape) > 1 or any(e is None or e[1] for e in shape):
            return None
        count = math.prod(e[0] for e in shape if e is not None)
        if value is None:
            tensor = node.attributes.get("value")
            value = [_number(0) if tensor is None else _number(int(tensor.as_tensor().numpy().reshape(-1)[0]))]
        return value * count if count <= _LONGEST else None

    def _input(self, node: ir.Node, index: int) -> list[Element] | None:
        value = node.inputs[index] if index < len(node.inputs) else None
        if value is None:
            return None
        if value.const_value is not None and not value.is_graph_input():
            small = value.const_value.size <= _LONGEST and len(value.const_value.shape) <= 1
            array = value.const_value.numpy() if small else None
            if array is None or not (np.issubdtype(array.dtype, np.integer) or array.dtype == np.bool_):
                return None
            return [_number(int(v)) for v in array.reshape(-1)]
        return self._known.get(value)

    def _shape(self, value: ir.Value | None) -> list[Element] | None:
        if value is None or value.shape is None:
            return None
        return [self._element(dim) for dim in value.shape]

    def _element(self, dim: Dim) -> Element:
        if isinstance(dim, int):
            return _number(dim)
        return None if dim.value is None else self._products.get(dim.value, (1, (dim.value,)))

    def _dim(self, element: Element) -> Dim | None:
        if element is None or (not element[1] and element[0] < 0):
            return None
        factor, names = element
        if not names:
            return factor
        name = "*".join([*([] if factor == 1 else [str(factor)]), *names])
        if name != names[0]:
            self._products[name] = element
        return ir.SymbolicDim(name)

    def _product(self, elements: Sequence[Element]) -> Element:
        result: Element = _number(1)
        for element in elements:
            result = _times(result, element)
        return result


def _wider(a: Element, b: Element) -> Element:
    """The extent two broadcast to: the number above one, if there is one."""
    for element in (a, b):
        if element is not None and not element[1] and element[0] > 1:
            return element
    return None


def _aligned(values: list[list[Element]]) -> list[tuple[Element, ...]]:
    length = max(len(v) for v in values)
    return list(zip(*(v * length if len(v) == 1 else v for v in values)))


def _taken(data: list[Element], indices: list[Element]) -> list[Element] | None:
    positions = [e[0] for e in indices if e is not None and not e[1]]
    inside = all(-len(data) <= p < len(data) for p in positions)
    return [data[p] for p in positions] if inside and len(positions) == len(indices) else None


def _sliced(values: list[list[Element]]) -> list[Element] | None:
    data, *bounds = values
    numbers = [v[0][0] for v in bounds if len(v) == 1 and v[0] is not None and not v[0][1]]
    if len(numbers) != len(bounds):
        return None
    start, end, _, step = [*numbers, 0, 1][:4] if len(numbers) == 2 else [*numbers, 1][:4]
    return data[start:end:step]
