"""Reductions over axes, and cumulative sums and products.

Axes are the second input (or absent), constant or computed at run time. Without keepdims the output's
gradient gets its reduced axes back by Unsqueeze; a reduction over all axes gives a scalar, which
broadcasts as it is. ``noop_with_empty_axes`` reduces over no axis, so the formulas hold unchanged.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from ..graph.emitter import Emitter
from ..graph.operator import Operator
from ..reverse.registry import Gradients, vjp


@vjp("ReduceSum")
def reduce_sum(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = Σ x; dx = dy."""
    return emit.Expand(_restored(emit, node, dy), emit.shape(node.input(0)))


@vjp("ReduceMean")
def reduce_mean(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = Σ x / n; dx = dy / n."""
    scaled = emit.Mul(dy, _inverse_count(emit, node))
    return emit.Expand(_restored(emit, node, scaled), emit.shape(node.input(0)))


@vjp("ReduceMax", "ReduceMin")
def reduce_extremum(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = max x; dx = dy [x = y] / (how many equal y): ties share equally, as torch.amax."""
    x, y = node.input(0), _restored(emit, node, node.outputs[0])
    hit = emit.Cast(emit.Equal(x, y), to=dy.dtype)
    return emit.Mul(hit, emit.Div(_restored(emit, node, dy), _sum(emit, node, hit)))


@vjp("ReduceProd")
def reduce_prod(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = Π x; dx = dy times the product of the others, which is zero beside another zero.

    With z = [x = 0] and p = Π (x + z), the product without zeros: dx = dy p / (x + z) [Σ z = z]. The derivative
    of dx in turn is right away from zeros only.
    """
    x = node.input(0)
    zero = emit.Cast(emit.Equal(x, 0.0), to=x.dtype)
    filled = emit.Add(x, zero)
    product = emit.ReduceProd(filled, node.optional(1), keepdims=1, noop_with_empty_axes=_noop(node))
    alone = emit.Equal(_sum(emit, node, zero), zero)
    return emit.gate(alone, emit.Div(emit.Mul(_restored(emit, node, dy), product), filled))


@vjp("ReduceSumSquare")
def reduce_sum_square(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = Σ x²; dx = 2 dy x."""
    return emit.Mul(node.input(0), emit.Mul(_restored(emit, node, dy), 2.0))


@vjp("ReduceL1")
def reduce_l1(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = Σ |x|; dx = dy sign(x)."""
    return emit.Mul(emit.Sign(node.input(0)), _restored(emit, node, dy))


@vjp("ReduceL2")
def reduce_l2(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = √(Σ x²); dx = dy x / y, zero where y = 0, as torch."""
    y = node.outputs[0]
    safe = emit.Add(y, emit.Cast(emit.Equal(y, 0.0), to=y.dtype))
    return emit.Mul(node.input(0), _restored(emit, node, emit.Div(dy, safe)))


@vjp("ReduceLogSum")
def reduce_log_sum(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = ln Σ x; dx = dy / e^y."""
    scaled = emit.Div(dy, emit.Exp(node.outputs[0]))
    return emit.Expand(_restored(emit, node, scaled), emit.shape(node.input(0)))


@vjp("ReduceLogSumExp")
def reduce_log_sum_exp(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = ln Σ e^x; dx = dy e^(x - y)."""
    weights = emit.Exp(emit.Sub(node.input(0), _restored(emit, node, node.outputs[0])))
    return emit.Mul(weights, _restored(emit, node, dy))


@vjp("CumSum")
def cum_sum(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y_i = Σ x_j over j <= i (j < i if exclusive); dx_j = Σ dy_i over i >= j: the sum the other way."""
    return _cumulative_back(emit, node, dy)


@vjp("CumProd")
def cum_prod(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y_i = Π x_j over j <= i (j < i if exclusive); dx_j = Σ_i>=j dy_i times the product of the others.

    With z = [x = 0], f = x + z, P = Π f and Z = Σ z cumulated like y, the product without x_j is P_i / f_j
    where Z_i = z_j, else zero. So dx_j = Σ_i>=j dy_i P_i [Z_i = z_j] / f_j. The derivative of dx in turn is right
    away from zeros only.
    """
    x, axis = node.input(0), node.input(1)
    direction = {name: node.attribute(name, 0) for name in ("exclusive", "reverse")}
    zero = emit.Cast(emit.Equal(x, 0.0), to=x.dtype)
    filled = emit.Add(x, zero)
    terms = emit.Mul(dy, emit.CumProd(filled, axis, **direction))
    zeros = emit.CumSum(zero, axis, **direction)
    for_nonzero = _cumulative_back(emit, node, emit.gate(emit.Equal(zeros, 0.0), terms))
    for_zero = _cumulative_back(emit, node, emit.gate(emit.Equal(zeros, 1.0), terms))
    chosen = emit.Add(emit.Mul(for_zero, zero), emit.Mul(for_nonzero, emit.Sub(1.0, zero)))
    return emit.Div(chosen, filled)


def _cumulative_back(emit: Emitter, node: Operator, v: ir.Value) -> ir.Value:
    """``v`` summed from each position to the end that ``node`` cumulates towards."""
    reverse, exclusive = 1 - node.attribute("reverse", 0), node.attribute("exclusive", 0)
    return emit.CumSum(v, node.input(1), exclusive=exclusive, reverse=reverse)


def _noop(node: Operator) -> int:
    return node.attribute("noop_with_empty_axes", 0)


def _sum(emit: Emitter, node: Operator, v: ir.Value) -> ir.Value:
    """``v``, shaped like the input, summed over the node's axes, which are kept."""
    return emit.ReduceSum(v, node.optional(1), keepdims=1, noop_with_empty_axes=_noop(node))


def _restored(emit: Emitter, node: Operator, v: ir.Value) -> ir.Value:
    """``v``, shaped like the output, such that it broadcasts against the input."""
    axes = node.optional(1)
    if node.attribute("keepdims", 1) or axes is None:
        return v
    constant = node.constant(1)
    return v if constant is not None and constant.size == 0 else emit.Unsqueeze(v, axes)


def _inverse_count(emit: Emitter, node: Operator) -> ir.Value | float:
    """1 / (elements per reduced element): a number if static, else from the sizes at run time."""
    x, y = node.input(0), node.outputs[0]
    axes = np.zeros(0, np.int64) if node.optional(1) is None else node.constant(1)
    if axes is not None and x.shape is not None:
        every = len(axes) == 0 and not _noop(node)
        reduced = x.shape if every else [x.shape[int(axis)] for axis in axes]
        extents = [d for d in reduced if isinstance(d, int)]
        if len(extents) == len(reduced):
            return 1 / max(math.prod(extents), 1)
    sizes = [emit.Cast(emit.Size(v), to=ir.DataType.FLOAT) for v in (y, x)]
    inverse = emit.Div(*sizes)
    return inverse if x.dtype == ir.DataType.FLOAT else emit.Cast(inverse, to=x.dtype)
