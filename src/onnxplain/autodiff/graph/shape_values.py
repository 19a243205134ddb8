"""What the small integer tensors of a graph hold, where they are computed from shapes.

``Shape -> Gather -> Concat -> Reshape`` is how exporters write a reshape of a symbolic batch. ONNX's
inference of one node does not look into its inputs' values, and its whole-graph inference knows few
operators, so values are followed here: every element of an int64 scalar or vector is a product of a
number and dimension names, or unknown. Two tables say how: ``_HOLDS`` what an operator's output holds,
``_SHAPES`` which shape it has where an input's value decides that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from .elements import ONE, ZERO, Element, Product, as_numbers, equal, minus, over, plus, product, times, wider
from .schemas import is_standard

Dim = int | ir.SymbolicDim
#: One per element of a vector, or a single one of a scalar; None where nothing is known of the tensor.
Elements = list[Element] | None
_LONGEST = 64
_WHOLE = (ir.DataType.INT64, ir.DataType.INT32, ir.DataType.BOOL)


class ShapeValues:
    """Follows the values of small integer tensors through nodes visited in order."""

    def __init__(self) -> None:
        self._known: dict[ir.Value, list[Element]] = {}
        self._products: dict[str, Product] = {}

    def visit(self, node: ir.Node) -> None:
        """Note what the node's first output holds, if that follows from its inputs."""
        if not is_standard(node.domain) or not node.outputs or node.op_type not in _HOLDS:
            return
        output = node.outputs[0]
        if output.dtype not in _WHOLE or output.shape is None or len(output.shape) > 1:
            return
        elements = _followed(_HOLDS, node, self)
        if elements is not None and len(elements) <= _LONGEST and list(output.shape) in ([], [len(elements)]):
            self._known[output] = [_in_type(element, output.dtype) for element in elements]

    def numbers(self, value: ir.Value) -> np.ndarray | None:
        """Return what ``value`` holds, if every element is known to be a number."""
        numbers = as_numbers(self._known.get(value))
        if numbers is None or value.dtype is None:
            return None
        array = np.array(numbers, dtype=value.dtype.numpy())
        return array if value.shape else array.reshape(())

    def output_shapes(self, node: ir.Node) -> list[list[Dim | None]]:
        """Return the shapes of outputs, the first ones, where an input's value says them."""
        if node.op_type not in _SHAPES or not is_standard(node.domain):
            return []
        elements = _followed(_SHAPES, node, self)
        if elements is None:
            return []
        return [[self._dim(element) for element in elements]] * (len(node.outputs) if node.op_type in _ALIKE else 1)

    def holds(self, value: ir.Value | None) -> Elements:
        """Return the elements of a vector or scalar, constant or followed."""
        if value is None:
            return None
        if value.const_value is None or value.is_graph_input():
            return self._known.get(value)
        if value.const_value.size > _LONGEST or len(value.const_value.shape) > 1:
            return None
        array = value.const_value.numpy()
        if not (np.issubdtype(array.dtype, np.integer) or array.dtype == np.bool_):
            return None
        return [Product(int(v)) for v in array.reshape(-1)]

    def shape(self, value: ir.Value | None) -> Elements:
        """Return the shape of a tensor of known rank; an extent with neither number nor name is None."""
        if value is None or value.shape is None:
            return None
        return [self._element(dim) for dim in value.shape]

    def _element(self, dim: Dim) -> Element:
        if isinstance(dim, int):
            return Product(dim)
        return None if dim.value is None else self._products.get(dim.value, Product(1, (dim.value,)))

    def _dim(self, element: Element) -> Dim | None:
        if element is None or (not element.names and element.number < 0):
            return None
        factor, names = element
        if not names:
            return factor
        name = "*".join([*([] if factor == 1 else [str(factor)]), *names])
        if name != names[0]:
            self._products[name] = element
        return ir.SymbolicDim(name)


def _in_type(element: Element, dtype: ir.DataType) -> Element:
    """Return the element in a type: None where a number does not fit, or where an extent may be zero or not."""
    if element is None:
        return None
    if dtype == ir.DataType.BOOL:
        return ZERO if element.number == 0 else None if element.names else ONE
    limits = np.iinfo(dtype.numpy())
    return element if limits.min <= element.number <= limits.max else None


@dataclass(frozen=True)
class Reading:
    """A node, and what is known of its inputs."""

    node: ir.Node
    values: ShapeValues

    def _input(self, index: int) -> ir.Value | None:
        return self.node.inputs[index] if index < len(self.node.inputs) else None

    def has(self, index: int) -> bool:
        """Return whether the node has the input."""
        return self._input(index) is not None

    def holds(self, index: int = 0) -> Elements:
        """Return the elements of an input."""
        return self.values.holds(self._input(index))

    def all_hold(self) -> list[list[Element]] | None:
        """Return the elements of every input; None if any of them is not known."""
        found = [self.values.holds(value) for value in self.node.inputs]
        known = [elements for elements in found if elements is not None]
        return known if len(known) == len(found) else None

    def shape(self) -> Elements:
        """Return the shape of the first input."""
        return self.values.shape(self._input(0))

    def factors(self, index: int) -> list[float] | None:
        """Return the numbers in an input that is a constant."""
        value = self._input(index)
        if value is None or value.const_value is None or value.is_graph_input():
            return None
        return [float(factor) for factor in value.const_value.numpy()]


def _followed(table: dict[str, Callable[[Reading], Elements]], node: ir.Node, values: ShapeValues) -> Elements:
    """Ask a table of a node; of one with an axis that its input does not have nothing is known: the checker says so."""
    try:
        return table[node.op_type](Reading(node, values))
    except IndexError:
        return None


# What an output holds.


def _shape(node: Reading) -> Elements:
    shape, attributes = node.shape(), node.node.attributes
    return None if shape is None else shape[slice(attributes.get_int("start", 0), attributes.get_int("end", None))]


def _size(node: Reading) -> Elements:
    shape = node.shape()
    return None if shape is None else [product(shape)]


def _same(node: Reading) -> Elements:
    return node.holds()


def _concat(node: Reading) -> Elements:
    parts = node.all_hold()
    return None if parts is None else [element for part in parts for element in part]


def _multiplied(node: Reading) -> Elements:
    elements = node.holds()
    return None if elements is None else [product(elements)]


def _filled(node: Reading) -> Elements:
    tensor = node.node.attributes.get("value")
    number = 0 if tensor is None else int(tensor.as_tensor().numpy().reshape(-1)[0])
    return _repeated(Product(number), node.holds())


def _spread(node: Reading) -> Elements:
    elements = node.holds()
    return None if elements is None or len(elements) != 1 else _repeated(elements[0], node.holds(1))


def _repeated(element: Element, shape: Elements) -> Elements:
    extents = as_numbers(shape)
    if extents is None or len(extents) > 1 or math.prod(extents) > _LONGEST:
        return None
    return [element] * math.prod(extents)


def _taken(node: Reading) -> Elements:
    data, positions = node.holds(), as_numbers(node.holds(1))
    if data is None or positions is None or not all(-len(data) <= p < len(data) for p in positions):
        return None
    return [data[p] for p in positions]


def _sliced(node: Reading) -> Elements:
    inputs = node.all_hold()
    if inputs is None:
        return None
    data, *bounds = inputs
    bounds = bounds or _stated_bounds(node.node)
    numbers = as_numbers([v[0] if len(v) == 1 else None for v in bounds])
    if numbers is None:
        return None
    start, end, _, step = [*numbers, 0, 1] if len(numbers) == 2 else [*numbers, 1][:4]
    return data[start:end:step]


def _stated_bounds(node: ir.Node) -> list[list[Element]]:
    """Return starts, ends and, if given, axes of a Slice below opset 10, which states them as attributes."""
    stated = [node.attributes.get_ints(name, None) for name in ("starts", "ends", "axes")]
    return [[Product(number) for number in numbers] for numbers in stated if numbers is not None]


def _chosen(node: Reading) -> Elements:
    inputs = node.all_hold()
    return None if inputs is None else [a if c == ONE else b if c == ZERO else None for c, a, b in _aligned(inputs)]


def _of_two(operation: Callable[[Element, Element], Element]) -> Callable[[Reading], Elements]:
    def elementwise(node: Reading) -> Elements:
        inputs = node.all_hold()
        return None if inputs is None else [operation(a, b) for a, b in _aligned(inputs)]

    return elementwise


def _aligned(vectors: list[list[Element]]) -> list[tuple[Element, ...]]:
    """Return the vectors' elements side by side; one of length one is broadcast."""
    length = max(len(v) for v in vectors)
    return list(zip(*(v * length if len(v) == 1 else v for v in vectors)))


_HOLDS: dict[str, Callable[[Reading], Elements]] = {
    "Shape": _shape,
    "Size": _size,
    "Identity": _same,
    "Cast": _same,
    "Reshape": _same,
    "Squeeze": _same,
    "Unsqueeze": _same,
    "Flatten": _same,
    "Concat": _concat,
    "ReduceProd": _multiplied,
    "ConstantOfShape": _filled,
    "Expand": _spread,
    "Gather": _taken,
    "Slice": _sliced,
    "Where": _chosen,
    "Mul": _of_two(times),
    "Div": _of_two(over),
    "Add": _of_two(plus),
    "Sub": _of_two(minus),
    "Equal": _of_two(equal),
}


# Which shape an output has.


def _reshaped(node: Reading) -> Elements:
    """Return the target, in which a zero copies an extent and -1 is the rest."""
    target, shape = node.holds(1), node.shape()
    if target is None:
        return None
    result = list(target)
    if not node.node.attributes.get_int("allowzero", 0):
        known = dict(enumerate(shape or []))
        result = [known.get(i) if element == ZERO else element for i, element in enumerate(target)]
    rest = next((i for i, element in enumerate(result) if element is not None and element.number < 0), None)
    if rest is not None:
        total = None if shape is None else product(shape)
        result[rest] = over(total, product([element for i, element in enumerate(result) if i != rest]))
    return result


def _broadcast(node: Reading) -> Elements:
    target, shape = node.holds(1), node.shape()
    if target is None or shape is None:
        return None
    rank = max(len(target), len(shape))
    return [wider(a, b) for a, b in zip(_of_rank(target, rank), _of_rank(shape, rank))]


def _of_rank(shape: list[Element], rank: int) -> list[Element]:
    return [ONE] * (rank - len(shape)) + shape


def _tiled(node: Reading) -> Elements:
    repeats, shape = node.holds(1), node.shape()
    if repeats is None or shape is None or len(repeats) != len(shape):
        return None
    return [times(a, b) for a, b in zip(repeats, shape)]


def _counted(node: Reading) -> Elements:
    return node.holds(1) if node.holds(0) == [ZERO] and node.holds(2) == [ONE] else None


def _resized(node: Reading) -> Elements:
    """Return the sizes, or the extents times scales that are whole numbers."""
    shape, attributes = node.shape(), node.node.attributes
    cropped = attributes.get_string("coordinate_transformation_mode", "") == "tf_crop_and_resize"
    if shape is None or cropped or attributes.get_string("keep_aspect_ratio_policy", "stretch") != "stretch":
        return None
    axes = attributes["axes"].as_ints() if "axes" in attributes else range(len(shape))
    wanted, scales = node.holds(3), node.factors(2)
    if not wanted and scales is None:
        return None
    wanted = wanted or [times(shape[a], Product(int(f))) if f % 1 == 0 else None for a, f in zip(axes, scales or [])]
    for axis, element in zip(axes, wanted):
        shape[axis] = element
    return shape


def _padded(node: Reading) -> Elements:
    """Return the extents plus both pads; axes that are not padded stay known where the pads are not."""
    shape, pads = node.shape(), node.holds(1)
    if shape is None or (pads is None and not node.has(3)):
        return None
    axes = as_numbers(node.holds(3)) if node.has(3) else list(range(len(shape)))
    if axes is None:
        return None
    for index, axis in enumerate(axes):
        both = (None, None) if pads is None else (pads[index], pads[index + len(axes)])
        for pad in both:
            shape[axis] = plus(shape[axis], pad)
    return shape


def _cut(node: Reading) -> Elements:
    """Return the shape in which axes that are not sliced keep their extent, and those sliced from 0 to it."""
    shape, starts, ends, axes = node.shape(), node.holds(1), node.holds(2), as_numbers(node.holds(3))
    if shape is None or axes is None:
        return None
    result = list(shape)
    for index, axis in enumerate(axes):
        from_start = starts is not None and starts[index] == ZERO and not node.has(4)
        if not (from_start and ends is not None and ends[index] == shape[axis]):
            result[axis] = None
    return result


def _largest(node: Reading) -> Elements:
    """Return the shape with as many elements on the axis as are chosen."""
    shape, count = node.shape(), node.holds(1)
    if shape is None:
        return None
    shape[node.node.attributes.get_int("axis", -1)] = count[0] if count else None
    return shape


_SHAPES: dict[str, Callable[[Reading], Elements]] = {
    "Reshape": _reshaped,
    "Expand": _broadcast,
    "ConstantOfShape": _same,
    "Tile": _tiled,
    "Range": _counted,
    "Resize": _resized,
    "Pad": _padded,
    "Slice": _cut,
    "TopK": _largest,
}
#: Operators of ``_SHAPES`` whose outputs all have that shape; of the others it is that of the first one.
_ALIKE = {"TopK"}
