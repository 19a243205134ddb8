"""Operators of ONNX Runtime that its optimiser makes of transformers: activations, normalisations, embeddings.

Formulas: ONNX Runtime's documentation of its contrib operators, checked against its kernels.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from ..graph.emitter import Emitter
from ..graph.operator import Operator
from ..reverse.quantized import MICROSOFT
from ..reverse.registry import Gradients, expands, vjp
from .activation import gelu, gelu_slope

Outputs = Sequence[ir.Value | None]

vjp("Gelu", domain=MICROSOFT)(gelu)


@vjp("BiasGelu", "FastGelu", domain=MICROSOFT, broadcasts=True)
def bias_gelu(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = gelu(x + b), of FastGelu in its tanh approximation and with an optional b; dx = db = dy gelu'(x + b)."""
    x, bias = node.input(0), node.optional(1)
    slope = gelu_slope(emit, x if bias is None else emit.Add(x, bias), node.op_type == "FastGelu")
    dx = emit.Mul(dy, slope)
    return [dx, dx]


@vjp("QuickGelu", domain=MICROSOFT)
def quick_gelu(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = x s with s = sigmoid(αx); dx = dy (s + αy (1 - s))."""
    x, y, alpha = node.input(0), node.outputs[0], node.attribute("alpha", 1.702)
    s = emit.Sigmoid(emit.Mul(x, alpha))
    return emit.Mul(dy, emit.Add(s, emit.Mul(emit.Mul(y, emit.Sub(1.0, s)), alpha)))


@expands("SkipLayerNormalization", domain=MICROSOFT)
def skip_layer_normalization(emit: Emitter, node: Operator) -> Outputs:
    """y = layer normalisation of s = x + skip + bias over the last axis; the fourth output is s."""
    total = _skipped(emit, node, 4)
    y = emit.LayerNormalization(
        total, node.input(2), node.optional(3), axis=-1, epsilon=node.attribute("epsilon", 1e-12)
    )
    return [y, None, None, total][: len(node.outputs)]


@expands("SkipSimplifiedLayerNormalization", domain=MICROSOFT)
def skip_simplified_layer_normalization(emit: Emitter, node: Operator) -> Outputs:
    """y = γ s / √(mean s² + ε) with s = x + skip + bias, over the last axis; the fourth output is s."""
    total = _skipped(emit, node, 3)
    wide = total if total.dtype == ir.DataType.DOUBLE else emit.Cast(total, to=ir.DataType.FLOAT)
    mean = emit.ReduceMean(emit.Mul(wide, wide), [-1], keepdims=1)
    normal = emit.Div(wide, emit.Sqrt(emit.Add(mean, node.attribute("epsilon", 1e-12))))
    y = emit.Mul(emit.Cast(normal, to=total.dtype), node.input(2))
    return [y, None, None, total][: len(node.outputs)]


def _skipped(emit: Emitter, node: Operator, bias: int) -> ir.Value:
    total = emit.Add(node.input(0), node.input(1))
    return total if node.optional(bias) is None else emit.Add(total, node.input(bias))


@expands("EmbedLayerNormalization", domain=MICROSOFT)
def embed_layer_normalization(emit: Emitter, node: Operator) -> Outputs:
    """y = layer normalisation of e = words[ids] + positions[position ids or 0, 1, ...] + segments[segment ids].

    The second output counts the ones of the mask, the third is e.
    """
    ids, positions = node.input(0), node.input(3)
    total = emit.Gather(node.input(2), ids, axis=0)
    if node.optional(8) is not None:
        total = emit.Add(total, emit.Gather(positions, node.input(8), axis=0))
    else:
        total = emit.Add(total, emit.Slice(positions, [0], emit.dim(ids, 1), [0]))
    if node.optional(1) is not None:
        total = emit.Add(total, emit.Gather(node.input(4), node.input(1), axis=0))
    epsilon = node.attribute("epsilon", 1e-12)
    y = emit.LayerNormalization(total, node.input(5), node.input(6), axis=-1, epsilon=epsilon)
    count = emit.ReduceSum(ids if node.optional(7) is None else node.input(7), [1], keepdims=0)
    return [y, count, total][: len(node.outputs)]
