"""Gradients of layer normalisations behind matrix products: scale and centring go into the weight.

The rule's dx = r (g - mean g - n mean(g n)) with g = dy s, where dy = h W' comes from the product that read the
normalised tensor. With V = (W' s) less its mean along each row, g' = h V is g less its mean, and since mean n = 0

    dx = r (g' - n mean(g' n)).

V is computed from the same initialisers by nodes that runtimes fold when they load the model. Where several products
read the normalised tensor (queries, keys and values), each gets its own. Four of nine passes over memory are saved.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce

import onnx_ir as ir

from ..graph.emitter import Emitter
from ..graph.inference import made_by, small_constant
from ..graph.passes import Step, Work, fired, graph_pass, left
from .rewriting import gradient_nodes, is_constant, scope_of, substitute, terms


@graph_pass(
    needs="the gradient of layer normalisations as the rule writes it",
    ensures="their scale and centring are part of the weights",
)
def center_normalizations(work: Work) -> Iterator[Step]:
    """Rewrite, in place, every gradient of a LayerNormalization over the last axis that is not in ``forward``."""
    emit, forward = work.emit, work.forward
    for normalization in gradient_nodes(emit, forward, "LayerNormalization"):
        if len(normalization.outputs) < 3:  # the model's own, of the rows that early_rows left of it
            continue
        found = _Backward.of(normalization)
        if isinstance(found, str):
            yield left(normalization, found)
            continue
        with emit.scope(scope_of(found.result)):
            g = _centred(emit, found.dy, found.scale)
            along = emit.ReduceMean(emit.Mul(g, found.n), [-1], keepdims=1)
            new = emit.Mul(emit.Sub(g, emit.Mul(found.n, along)), found.r)
        yield fired(normalization)
        substitute(emit, found.result, new)


class _Backward:
    """The nodes that the rule wrote: the result, and what it is made of."""

    def __init__(self, result: ir.Node, dy: ir.Value, scale: ir.Value, n: ir.Value, r: ir.Value) -> None:
        self.result, self.dy, self.scale, self.n, self.r = result, dy, scale, n, r

    @classmethod
    def of(cls, normalization: ir.Node) -> _Backward | str:
        """Return what belongs to a normalisation, or why it cannot be rewritten."""
        n, r = normalization.outputs[0], normalization.outputs[2]
        other = "its gradient has another form"
        result = _only(r, "Mul")
        difference = None if result is None else made_by(result.inputs[0], "Sub")
        level = None if difference is None else made_by(difference.inputs[0], "Sub")
        g = None if level is None else level.inputs[0]
        product = made_by(g, "Mul")
        if result is None or level is None or g is None or product is None:
            return other
        mean = made_by(level.inputs[1], "ReduceMean")
        if mean is None or mean.inputs[0] is not g or n.dtype != ir.DataType.FLOAT:
            return other
        dy, scale = product.inputs
        if dy is None or scale is None or not is_constant(scale) or scale.shape is None or len(scale.shape) != 1:
            return other
        axes = small_constant(mean.inputs[1])
        if n.shape is None or axes is None or axes.tolist() not in ([-1], [len(n.shape) - 1]):
            return "it normalises more than the last axis"
        if len(list(g.uses())) != 3:
            return other
        return cls(result, dy, scale, n, r) if _is_product(dy) else "what reads it is no product with a weight"


def _is_product(dy: ir.Value) -> bool:
    """Whether a gradient is h W' with a constant W', or a sum of such, that has no other reader."""
    return all(_is_plain_product(term) for term in terms(dy, _is_sum))


def _is_sum(dy: ir.Value) -> bool:
    return made_by(dy, "Add") is not None and _is_read_once(dy)


def _is_read_once(dy: ir.Value) -> bool:
    return len(list(dy.uses())) == 1 and not dy.is_graph_output()


def _is_plain_product(dy: ir.Value) -> bool:
    node = made_by(dy, "MatMul")
    weight = None if node is None or not _is_read_once(dy) else node.inputs[1]
    return weight is not None and is_constant(weight) and weight.shape is not None and len(weight.shape) == 2


def _centred(emit: Emitter, dy: ir.Value, scale: ir.Value) -> ir.Value:
    return reduce(emit.Add, [_centred_product(emit, term, scale) for term in terms(dy, _is_sum)])


def _centred_product(emit: Emitter, dy: ir.Value, scale: ir.Value) -> ir.Value:
    node = dy.producer()
    assert node is not None
    scaled = emit.Mul(node.inputs[1], scale)
    centred = emit.MatMul(node.inputs[0], emit.Sub(scaled, emit.ReduceMean(scaled, [-1], keepdims=1)))
    centred.shape = dy.shape
    return centred


def _only(value: ir.Value, op_type: str) -> ir.Node | None:
    uses = list(value.uses())
    return uses[0].node if len(uses) == 1 and uses[0].node.op_type == op_type else None
