"""Row sums in the gradient of attention, over the values instead of the positions.

The gradient of the scores is P (dP - rows) with the probabilities P, dP = dO Vᵀ for the output O = P V, and

    rows_i = sum over j of dP_ij P_ij = sum over j and d of dO_id V_jd P_ij = sum over d of dO_id O_id

(Dao et al. 2022, "FlashAttention", appendix B.2): a product of [tokens, width of a head] instead of one of
[tokens, tokens], and O is there already.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from ..emitter import Emitter
from ..inference import small_constant
from .report import Report
from .rewriting import gradient_nodes, scope_of, substitute

NAME = "attention_row_sums"


def attention_row_sums(emit: Emitter, forward: Sequence[ir.Node], report: Report) -> None:
    """Rewrite, in place, every such sum that is not in ``forward``."""
    own = set(forward)
    for node in gradient_nodes(emit, forward, "ReduceSum"):
        axes = small_constant(node.inputs[1]) if len(node.inputs) > 1 else None
        product = None if node.inputs[0] is None else node.inputs[0].producer()
        if axes is None or axes.tolist() != [-1] or product is None or product.op_type != "Mul":
            continue
        gradient, probabilities = product.inputs
        if gradient is None or probabilities is None:
            continue
        attention = _attention(gradient, probabilities, own)
        if attention is None:
            continue
        output, upstream = attention
        if not _is_narrower(output, probabilities):
            report.left(NAME, node, "the heads are not narrower than the sequence is known to be long")
            continue
        with emit.scope(scope_of(node)):
            new = emit.ReduceSum(emit.Mul(upstream, output), [-1], keepdims=node.attributes.get_int("keepdims", 1))
        report.fired(NAME, node)
        substitute(emit, node, new)


def _attention(gradient: ir.Value, probabilities: ir.Value, forward: set[ir.Node]) -> tuple[ir.Value, ir.Value] | None:
    """O and dO, if the gradient of the probabilities is dO Vᵀ and the model computes O = P V."""
    product = gradient.producer()
    if product is None or product.op_type != "MatMul" or product.inputs[1] is None:
        return None
    transposition = product.inputs[1].producer()
    if transposition is None or transposition.op_type != "Transpose" or transposition.inputs[0] is None:
        return None
    values, upstream = transposition.inputs[0], product.inputs[0]
    rank = 0 if values.shape is None else len(values.shape)
    swapped = [*range(rank - 2), rank - 1, rank - 2]
    if rank < 2 or list(transposition.attributes.get_ints("perm", [])) != swapped or upstream is None:
        return None
    for use in probabilities.uses():
        reader = use.node
        if reader in forward and reader.op_type == "MatMul" and use.idx == 0 and reader.inputs[1] is values:
            output = reader.outputs[0]
            return (output, upstream) if output.shape is not None and output.shape == upstream.shape else None
    return None


def _is_narrower(output: ir.Value, probabilities: ir.Value) -> bool:
    """Whether the head has fewer elements than a row of probabilities; sequences of unknown length are long."""
    if output.shape is None or probabilities.shape is None or not isinstance(output.shape[-1], int):
        return False
    tokens = probabilities.shape[-1]
    return not isinstance(tokens, int) or output.shape[-1] < tokens
