"""Attention and MultiHeadAttention of ONNX Runtime, and its quantised Attention, in standard operators.

Formulas: ONNX Runtime's documentation of its contrib operators, checked against its kernels. Tensors are
[B, heads, sequence, size] inside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import onnx_ir as ir

from ..geometry.placement import counting
from ..geometry.scales import real
from ..graph.emitter import Emitter
from ..graph.operator import Operator
from ..reverse.quantized import MICROSOFT
from ..reverse.registry import expands

Outputs = Sequence[ir.Value | None]
Biases = list[ir.Value]


@expands("Attention", domain=MICROSOFT)
def attention(emit: Emitter, node: Operator) -> Outputs:
    """softmax(scale q kᵀ + mask) v of the projections [q, k, v] = x w + b; the second output is [k, v] with past."""
    projected = emit.MatMul(node.input(0), node.input(1))
    if node.optional(2) is not None:
        projected = emit.Add(projected, node.input(2))
    return _self_attention(emit, node, projected, node.optional(3), node.optional(4), node.optional(5))


@expands("QAttention", domain=MICROSOFT, quantized=True)
def quantized_attention(emit: Emitter, node: Operator) -> Outputs:
    """Attention of a quantised x and quantised weights."""
    x = real(emit, node.input(0), node.input(3), node.optional(6))
    weights = real(emit, node.input(1), node.input(4), node.optional(7))
    projected = emit.Add(emit.MatMul(x, weights), node.input(2))
    return _self_attention(emit, node, projected, node.optional(5), node.optional(8), None)


def _self_attention(
    emit: Emitter,
    node: Operator,
    projected: ir.Value,
    mask: ir.Value | None,
    past: ir.Value | None,
    bias: ir.Value | None,
) -> Outputs:
    for name in ("do_rotary", "past_present_share_buffer"):
        if node.attribute(name, 0):
            raise node.refuse(name, 1, "export the model for a single pass, with rotations as operators")
    heads, widths = node.attribute("num_heads", 1), node.attribute("qkv_hidden_sizes", list[int]())
    if not widths:
        width = None if projected.shape is None else projected.shape[-1]
        if not isinstance(width, int):
            raise node.refuse("width of the weights", width, "give the weights a static shape")
        widths = [width // 3] * 3
    parts = emit.op("Split", projected, widths, outputs=3, axis=2)
    query, key, value = (split(emit, part, heads, width // heads) for part, width in zip(parts, widths))
    if past is not None:
        key, value = (
            emit.Concat(emit.Gather(past, emit.constant(index, ir.DataType.INT64), axis=0), new, axis=2)
            for index, new in enumerate((key, value))
        )
    biases = [] if bias is None else [bias]
    biases += _masks(emit, node, mask, query, key)
    y = merge(emit, attend(emit, node, query, key, value, biases)[0], widths[2])
    if len(node.outputs) == 1:
        return [y]
    return [y, emit.Concat(emit.Unsqueeze(key, [0]), emit.Unsqueeze(value, [0]), axis=0)]


@expands("MultiHeadAttention", domain=MICROSOFT)
def multi_head_attention(emit: Emitter, node: Operator) -> Outputs:
    """softmax(scale q kᵀ + mask) v, where a bias [q, k, v] is added to each. The other outputs are k and v with
    their past, and the probabilities."""
    for index, what in ((8, "past_sequence_length"), (9, "cache_indirection")):
        if node.optional(index) is not None:
            raise node.refuse("input", what, "export the model for a single pass")
    query, key, value = _inputs(emit, node)
    if node.optional(6) is not None:
        key = emit.Concat(node.input(6), key, axis=2)
        value = emit.Concat(node.input(7), value, axis=2)
    biases = [] if node.optional(5) is None else [node.input(5)]
    biases += _masks(emit, node, node.optional(4), query, key)
    y, probabilities = attend(emit, node, query, key, value, biases)
    width = node.attribute("num_heads", 1) * _width(node, value)
    return [merge(emit, y, width), key, value, probabilities][: len(node.outputs)]


def _inputs(emit: Emitter, node: Operator) -> list[ir.Value]:
    """Query, key and value, with their bias. Key and value may come with their heads apart, without a bias."""
    heads, ranks = node.attribute("num_heads", 1), [node.rank(index) if node.optional(index) else 0 for index in (0, 1)]
    if ranks not in ([3, 3], [3, 4]):
        raise node.refuse("ranks of query and key", ranks, "give query, key and value as separate inputs")
    parts = [node.input(index) for index in range(3)]
    separate = ranks[1] == 4
    widths = [_width(node, part) * (heads if separate and index else 1) for index, part in enumerate(parts)]
    if node.optional(3) is not None:
        if separate:
            raise node.refuse("bias", node.input(3).name, "add it to the query before the operator")
        biases = emit.op("Split", node.input(3), widths, outputs=3, axis=0)
        parts = [emit.Add(part, bias) for part, bias in zip(parts, biases)]
    return [
        part if separate and index else split(emit, part, heads, widths[index] // heads)
        for index, part in enumerate(parts)
    ]


def _width(node: Operator, x: ir.Value) -> int:
    width = None if x.shape is None else x.shape[-1]
    if not isinstance(width, int):
        raise node.refuse(f"width of {x.name}", width, "give the inputs static widths")
    return width


def attend(
    emit: Emitter, node: Operator, query: ir.Value, key: ir.Value, value: ir.Value, biases: Sequence[ir.Value]
) -> tuple[ir.Value, ir.Value]:
    """softmax(scale q kᵀ + biases) v and the probabilities; ``scale`` defaults to 1/√size."""
    scale = node.attribute("scale", 0.0) or 1 / math.sqrt(_width(node, query))
    logits = emit.MatMul(emit.Mul(query, scale), emit.Transpose(key, perm=[0, 1, 3, 2]))
    for bias in biases:
        logits = emit.Add(logits, bias)
    probabilities = emit.Softmax(logits, axis=-1)
    return emit.MatMul(probabilities, value), probabilities


def split(emit: Emitter, x: ir.Value, heads: int, size: int) -> ir.Value:
    return emit.Transpose(emit.Reshape(x, [0, 0, heads, size]), perm=[0, 2, 1, 3])


def merge(emit: Emitter, x: ir.Value, width: int) -> ir.Value:
    return emit.Reshape(emit.Transpose(x, perm=[0, 2, 1, 3]), [0, 0, width])


def _masks(emit: Emitter, node: Operator, mask: ir.Value | None, query: ir.Value, key: ir.Value) -> Biases:
    """What is added to the scores, broadcasting to [B, heads, queries, keys], where a key is not to be seen."""
    hidden = []
    if mask is not None:
        hidden.append(_hidden(emit, node, mask, query, key))
    if node.attribute("unidirectional", 0):
        keys, queries = counting(emit, emit.extent(key, 2)), counting(emit, emit.extent(query, 2))
        past = emit.Sub(emit.dim(key, 2), emit.dim(query, 2))
        hidden.append(emit.Greater(keys, emit.Add(emit.Unsqueeze(queries, [1]), past)))
    low = node.attribute("mask_filter_value", -10000.0)
    return [emit.Mul(emit.Cast(h, to=query.dtype), low) for h in hidden]


def _hidden(emit: Emitter, node: Operator, mask: ir.Value, query: ir.Value, key: ir.Value) -> ir.Value:
    """Which keys a mask hides: [B,T] or [B,S,T] of zeros and ones, [B] lengths, or [2B] ends and starts."""
    rank = 0 if mask.shape is None else len(mask.shape)
    if rank in (2, 3):
        mask = emit.Unsqueeze(mask, [1, 2] if rank == 2 else [1])
        return emit.LessOrEqual(mask, emit.constant(0, mask.dtype))
    if rank != 1:
        raise node.refuse("rank of the mask", rank, "use a mask of shape [B,T] or [B,S,T], of zeros and ones")
    keys, batch = counting(emit, emit.extent(key, 2)), None if query.shape is None else query.shape[0]
    mask = emit.Unsqueeze(emit.Cast(mask, to=ir.DataType.INT64), [1, 2, 3])
    if mask.shape is not None and mask.shape[0] == batch:
        return emit.GreaterOrEqual(keys, mask)
    if mask.shape is not None and isinstance(batch, int) and mask.shape[0] == 2 * batch:
        ends, starts = emit.op("Split", mask, outputs=2, axis=0, num_outputs=2)
        return emit.Or(emit.GreaterOrEqual(keys, ends), emit.Less(keys, starts))
    raise node.refuse("shape of the mask", mask.shape, "use a mask of zeros and ones")
