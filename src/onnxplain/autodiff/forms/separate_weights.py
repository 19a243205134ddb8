"""Weights that the model reads as well get a way of their own to the gradient: cut in two, and joined again.

    W = Concat(W[:n/2], W[n/2:])

Runtimes fold this into a second constant when they load the model: neither the file nor a run grows by it.

OpenVINO (2026.4, CPU) needs it. It keeps packed weights by their address and by the size and format of what they are
packed into, which are the same for a square weight and for its transposed use, and the second product takes the weight
that was packed for the first. And it reads a matrix product with integers that have one scale for each row of what is
summed over as if all rows had the first one's scale. Both return wrong numbers without an error; other weights are
left as they are.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from ..graph.editing import set_input
from ..graph.emitter import Emitter, static_shape
from ..graph.passes import Step, Work, fired, graph_pass, left
from .rewriting import is_constant, scope_of

_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
#: What a weight may pass on its way to a product, and stay the same memory.
_VIEWS = ("Cast", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
_INTEGERS = (ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT4, ir.DataType.UINT4)
_FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE)


@graph_pass(
    needs="products of the gradient with the model's weights",
    ensures="square and integer weights of the model have another way to the gradient",
)
def separate_weights(work: Work) -> Iterator[Step]:
    """Rewrite, in place, the operands of every product that is not in ``forward``."""
    emit, forward = work.emit, set(work.forward)
    read = {value for node in work.forward for value in node.inputs}
    done: set[tuple[ir.Node, int]] = set()
    ways: dict[tuple[ir.Value, str], ir.Value] = {}
    for node in [n for n in emit.graph if n.op_type in _PRODUCTS and n.domain == "" and n not in forward]:
        for index in range(2):
            reader, at = _first_reader(node, index, forward)
            weight = reader.inputs[at]
            if weight is None or (reader, at) in done or not _is_shared(weight, forward, read):
                continue
            done.add((reader, at))
            reason = _reason_to_leave(node, weight)
            if reason is not None:
                yield left(node, reason)
                continue
            yield fired(node)
            way = weight, str([reader.op_type, *reader.attributes.values()])
            if way not in ways:
                with emit.scope(scope_of(node)):
                    ways[way] = _rejoined(emit, weight)
            set_input(reader, at, ways[way])


def _first_reader(node: ir.Node, index: int, forward: set[ir.Node]) -> tuple[ir.Node, int]:
    """The node of the gradient, and which of its inputs, that reads what an operand is a view of."""
    value = node.inputs[index]
    made = None if value is None else value.producer()
    if made is None or made in forward or made.op_type not in _VIEWS:
        return node, index
    return _first_reader(made, 0, forward)


def _is_shared(weight: ir.Value, forward: set[ir.Node], read: set[ir.Value | None]) -> bool:
    """Whether a value is constant, and the model reads it, or what it is made of, too."""
    if not is_constant(weight):
        return False
    made = weight.producer()
    if made is None or made in forward:
        return made is not None or weight in read
    return any(value is not None and _is_shared(value, forward, read) for value in made.inputs)


def _reason_to_leave(product: ir.Node, weight: ir.Value) -> str | None:
    extents = static_shape(weight)
    if extents is None or len(extents) < 2 or weight.dtype not in _FLOATS:
        return "its weight has no static extents, or no usual type of floats"
    matrices = product.op_type in ("Gemm", "MatMul")
    if matrices and _of_integers(weight):
        return None
    rows, columns = extents[-2:] if matrices else extents[:2]
    return None if rows == columns > 1 else "its weight is not square, and no integers"


def _of_integers(weight: ir.Value | None) -> bool:
    """Whether a constant is computed from a tensor of integers of rank two or more."""
    if weight is None:
        return False
    made = weight.producer()
    if made is None:
        return weight.dtype in _INTEGERS and weight.shape is not None and len(weight.shape) > 1
    return any(_of_integers(value) for value in made.inputs)


def _rejoined(emit: Emitter, weight: ir.Value) -> ir.Value:
    """The weight as a Concat of two halves, along its longest axis."""
    extents = static_shape(weight)
    assert extents is not None
    axis = max(range(len(extents)), key=lambda a: (extents[a], -a))
    middle, end = extents[axis] // 2, extents[axis]
    halves = [emit.Slice(weight, [low], [high], [axis]) for low, high in ((0, middle), (middle, end))]
    return emit.Concat(*halves, axis=axis)
