"""Masks of an activation whose only reader is a max pooling, where they have fewer elements: behind the pooling.

    y[p] = x[i(p)] and dx = scatter(dy, i)  ->  m(x) dx = scatter(m(y) dy, i)

for every m that is computed element by element, such as the mask [0 < x] of x = ReLU(z): what the scatter puts at
i(p) belongs to x[i(p)] = y[p]. Where x is a Concat of activations with one mask each and the same bounds, the mask of
the whole takes their place. A pooling with stride 2 leaves a quarter of the elements, and the pooled values are in
ONNX Runtime's blocked layout, which the scatter's are not.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from ..graph.editing import set_input
from ..graph.emitter import Emitter
from ..graph.inference import small_constant
from ..graph.passes import Step, Work, fired, graph_pass, left
from .rewriting import gradient_nodes, scope_of, substitute


@graph_pass(needs="masks as comparisons", ensures="masks lie behind max pooling, where they are smaller")
def mask_pools(work: Work) -> Iterator[Step]:
    """Move, in place, every mask of a scattered gradient that is not in ``forward`` before the scatter."""
    emit, forward = work.emit, work.forward
    for scatter in gradient_nodes(emit, forward, "ScatterElements"):
        pool, flat = _pool(scatter), _reshape_of(scatter.inputs[2])
        result, dy = _only_reader(scatter.outputs[0], "Reshape"), None if flat is None else flat.inputs[0]
        if pool is None or pool.inputs[0] is None or flat is None or dy is None or result is None:
            continue
        masked = _masked_parts(result.outputs[0], pool.inputs[0])
        if isinstance(masked, str):
            yield left(scatter, masked)
            continue
        y = _forward_value(pool, set(forward))
        with emit.scope(scope_of(masked[0][0])):
            small = emit.Mul(dy, _copied(emit, masked[0][1], y))
        small.shape = dy.shape
        set_input(flat, 0, small)
        for product, mask in masked:
            yield fired(product)
            other = next(v for v in product.inputs if v is not mask)
            assert other is not None
            substitute(emit, product, other)


def _pool(scatter: ir.Node) -> ir.Node | None:
    """The MaxPool whose indices a scatter goes by."""
    flat = _reshape_of(scatter.inputs[1])
    pool = None if flat is None or flat.inputs[0] is None else flat.inputs[0].producer()
    by_index = pool is not None and pool.op_type == "MaxPool" and flat is not None and flat.inputs[0] is pool.outputs[1]
    return pool if by_index else None


def _masked_parts(dx: ir.Value, x: ir.Value) -> list[tuple[ir.Node, ir.Value]] | str:
    """The products of ``dx``, or of every part of it, with a mask of the same bounds: node and mask."""
    product = _only_reader(dx, "Mul")
    if product is not None:
        mask = next((v for v in product.inputs if v is not None and _bounds(v, x) is not None), None)
        return [(product, mask)] if mask is not None else "its product is not with a mask of what is pooled"
    split, concat = _only_reader(dx, "Split"), x.producer()
    if split is None or concat is None or concat.op_type != "Concat" or len(split.outputs) != len(concat.inputs):
        return "what is pooled has no mask, or not that alone"
    found, bounds = [], []
    for part, activation in zip(split.outputs, concat.inputs):
        assert activation is not None
        one = _masked_parts(part, activation)
        if isinstance(one, str) or len(one) != 1:
            return "a part of what is pooled has no mask"
        found += one
        bounds.append(_bounds(one[0][1], activation))
    return found if all(b == bounds[0] for b in bounds) else "the parts of what is pooled have different masks"


def _bounds(mask: ir.Value, x: ir.Value) -> frozenset[tuple[str, float]] | None:
    """The comparisons of ``x`` with numbers that a mask is made of; None if it is not made of such."""
    node = mask.producer()
    if node is None or node.op_type not in ("Cast", "And", "Greater", "Less"):
        return None
    if node.op_type == "Cast":
        return (
            None if node.inputs[0] is None or node.inputs[0].dtype != ir.DataType.BOOL else _bounds(node.inputs[0], x)
        )
    if node.op_type == "And":
        parts = [None if part is None else _bounds(part, x) for part in node.inputs]
        return None if None in parts else frozenset().union(*(part for part in parts if part is not None))
    number = small_constant(node.inputs[1])
    if node.inputs[0] is not x or number is None or number.size != 1:
        return None
    return frozenset({(node.op_type, float(number.item()))})


def _copied(emit: Emitter, mask: ir.Value, x: ir.Value) -> ir.Value:
    """The mask of another tensor."""
    node = mask.producer()
    assert node is not None and node.inputs[0] is not None
    if node.op_type == "Cast":
        return emit.Cast(_copied(emit, node.inputs[0], x), to=mask.dtype)
    if node.op_type == "And":
        return emit.And(*(_copied(emit, part, x) for part in node.inputs if part is not None))
    return emit.op(node.op_type, x, node.inputs[1], outputs=1)[0]


def _forward_value(pool: ir.Node, forward: set[ir.Node]) -> ir.Value:
    """The pooled values: those of the model's own pooling if it is the same one, which keeps its fast kernel."""
    assert pool.inputs[0] is not None
    for use in pool.inputs[0].uses():
        same = use.node.op_type == "MaxPool" and use.node.attributes == pool.attributes
        if same and use.node in forward:
            return use.node.outputs[0]
    return pool.outputs[0]


def _only_reader(value: ir.Value, op_type: str) -> ir.Node | None:
    uses = list(value.uses())
    if len(uses) != 1 or uses[0].node.op_type != op_type or uses[0].idx or value.is_graph_output():
        return None
    return uses[0].node


def _reshape_of(value: ir.Value | None) -> ir.Node | None:
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type == "Reshape" else None
