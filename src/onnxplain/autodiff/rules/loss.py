"""Losses against class indices: [N, C, ...] scores, [N, ...] targets, weights [C] or none.

Both are written with m [N, C, ...], the class's weight at the target (zero where the target is
``ignore_index``), and u, the same with weight one: the loss of a position is -Σ_c m x, and its mean is
the sum over all positions divided by Σ m.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ..graph.emitter import Emitter
from ..graph.operator import Operator
from ..reverse.registry import Gradients, vjp


@vjp("NegativeLogLikelihoodLoss")
def negative_log_likelihood_loss(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """dx = -m dy, dw = -Σ u x dy; for the mean y: dx = -m dy / Σ m, dw = -Σ u (x + y) dy / Σ m."""
    dx, dw = _likelihood(emit, node, node.input(0), dy)
    return [dx, None, dw]


@vjp("SoftmaxCrossEntropyLoss", every_output=True)
def softmax_cross_entropy_loss(emit: Emitter, node: Operator, dys: list[ir.Value | None]) -> Gradients:
    """The loss above of l = ln softmax(x), also the second output; with its gradient dl: dx = dl - e^l Σ_c dl."""
    log_probability = node.outputs[1] if len(node.outputs) > 1 else emit.LogSoftmax(node.input(0), axis=1)
    dl, dw = (None, None) if dys[0] is None else _likelihood(emit, node, log_probability, dys[0])
    if len(dys) > 1 and dys[1] is not None:
        dl = dys[1] if dl is None else emit.Add(dl, dys[1])
    assert dl is not None
    total = emit.ReduceSum(dl, [1], keepdims=1)
    return [emit.Sub(dl, emit.Mul(emit.Exp(log_probability), total)), None, dw]


def _likelihood(emit: Emitter, node: Operator, x: ir.Value, dy: ir.Value) -> tuple[ir.Value, ir.Value | None]:
    """The gradients of the scores and of the weights, None where they are not wanted."""
    rank, reduction = node.rank(), node.attribute("reduction", "mean")
    weights, y = node.optional(2), node.outputs[0]
    hit = _at_target(emit, node, x, rank)
    m = hit if weights is None else emit.Mul(hit, emit.Unsqueeze(weights, list(range(1, rank - 1))))
    if reduction == "none":
        dy = emit.Unsqueeze(dy, [1])
    elif reduction == "mean":
        dy = emit.Div(dy, emit.ReduceSum(m, keepdims=0))
    dw = None
    if node.wants(2):
        losses = emit.Mul(hit, emit.Add(x, y) if reduction == "mean" else x)
        others = [axis for axis in range(rank) if axis != 1]
        dw = emit.Neg(emit.ReduceSum(emit.Mul(losses, dy), others, keepdims=0))
    return emit.Neg(emit.Mul(m, dy)), dw


def _at_target(emit: Emitter, node: Operator, x: ir.Value, rank: int) -> ir.Value:
    """u: one at each position's target class, zero elsewhere and where the target is ignored."""
    target = emit.Unsqueeze(emit.Cast(node.input(1), to=ir.DataType.INT64), [1])
    zero, one = (emit.constant(np.array(number)) for number in (0, 1))
    classes = emit.Range(zero, emit.Squeeze(emit.dim(x, 1), [0]), one)
    hit = emit.Equal(target, emit.Unsqueeze(classes, list(range(1, rank - 1))))
    ignored = node.attribute("ignore_index", None)
    if ignored is not None:
        hit = emit.And(hit, emit.Not(emit.Equal(target, int(ignored))))
    return emit.Cast(hit, to=x.dtype)
