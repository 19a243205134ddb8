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
from .rewriting import bottom_up, gradient_nodes, scope_of, substitute


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
    if _only_reader(dx, "Mul") is not None:
        masked = _masked(dx, x)
        return [masked] if masked is not None else "its product is not with a mask of what is pooled"
    split, concat = _only_reader(dx, "Split"), x.producer()
    if split is None or concat is None or concat.op_type != "Concat" or len(split.outputs) != len(concat.inputs):
        return "what is pooled has no mask, or not that alone"
    found, bounds = [], []
    for part, activation in zip(split.outputs, concat.inputs):
        assert activation is not None
        one = _masked(part, activation)
        if one is None:
            return "a part of what is pooled has no mask"
        found.append(one)
        bounds.append(_bounds(one[1], activation))
    return found if all(b == bounds[0] for b in bounds) else "the parts of what is pooled have different masks"


def _masked(dx: ir.Value, x: ir.Value) -> tuple[ir.Node, ir.Value] | None:
    """The product of ``dx`` with a mask of ``x``, and that mask; None if that is not what reads ``dx``."""
    product = _only_reader(dx, "Mul")
    masks = [] if product is None else [v for v in product.inputs if v is not None and _bounds(v, x) is not None]
    return None if product is None or not masks else (product, masks[0])


def _bounds(mask: ir.Value, x: ir.Value) -> frozenset[tuple[str, float]] | None:
    """The comparisons of ``x`` with numbers that a mask is made of; None if it is not made of such."""
    found: set[tuple[str, float]] = set()
    pending, seen = [mask], {mask}
    while pending:
        one = pending.pop()
        node = one.producer()
        if node is None or node.op_type not in ("Cast", "And", "Greater", "Less") or node.inputs[0] is None:
            return None
        if node.op_type in ("Cast", "And"):
            if node.op_type == "Cast" and node.inputs[0].dtype != ir.DataType.BOOL:
                return None
            pending += [part for part in _parts(one) if part not in seen]
            seen.update(pending)
            continue
        number = small_constant(node.inputs[1])
        if node.inputs[0] is not x or number is None or number.size != 1:
            return None
        found.add((node.op_type, float(number.item())))
    return frozenset(found)


def _parts(mask: ir.Value) -> list[ir.Value]:
    """What a cast or a conjunction is made of; nothing of a comparison."""
    node = mask.producer()
    return [] if node is None or node.op_type not in ("Cast", "And") else [v for v in node.inputs if v is not None]


def _copied(emit: Emitter, mask: ir.Value, x: ir.Value) -> ir.Value:
    """The mask of another tensor."""

    def copy(one: ir.Value, parts: list[ir.Value]) -> ir.Value:
        node = one.producer()
        assert node is not None
        if node.op_type == "Cast":
            return emit.Cast(parts[0], to=one.dtype)
        return emit.And(*parts) if node.op_type == "And" else emit.op(node.op_type, x, node.inputs[1], outputs=1)[0]

    return bottom_up(mask, _parts, copy, {})


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
