"""RotaryEmbedding and GroupQueryAttention of ONNX Runtime, in standard operators.

Formulas: ONNX Runtime's documentation of its contrib operators, checked against its kernels. Tensors are
[B, heads, sequence, size] inside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from ..geometry.placement import counting
from ..graph.emitter import Emitter
from ..graph.operator import Operator
from ..reverse.quantized import MICROSOFT
from ..reverse.registry import expands
from .contrib_attention import merge, split

Outputs = Sequence[ir.Value | None]
INT64 = ir.DataType.INT64
#: Later than any position: where tokens are that no query sees.
NEVER = 2**40
#: Added to the score of what is not seen: e^LOW is zero, and float16 can hold it.
LOW = -3e4


@expands("RotaryEmbedding", domain=MICROSOFT)
def rotary_embedding(emit: Emitter, node: Operator) -> Outputs:
    """Pairs of elements rotated by the angles of their position, which is an offset [1] or one a token [B,S]."""
    if node.attribute("is_packed_batching", 0):
        raise node.refuse("is_packed_batching", 1, "give sequences of one length")
    x, positions, apart = node.input(0), node.input(1), node.rank() == 4
    width, heads = _last(node, x), node.attribute("num_heads", 0)
    size = width // heads if heads else 2 * _last(node, node.input(2))
    if not apart:
        x = split(emit, x, width // size, size)
    if positions.shape is None or len(positions.shape) < 2:
        positions = emit.Add(emit.Unsqueeze(counting(emit, emit.extent(x, 2)), [0]), positions)
    y = _rotated(emit, node, x, positions, node.input(2), node.input(3), node.attribute("interleaved", 0))
    if (scale := node.attribute("scale", 1.0)) != 1:
        y = emit.Mul(y, scale)
    return [y if apart else merge(emit, y, width)]


def _last(node: Operator, x: ir.Value) -> int:
    extent = None if x.shape is None else x.shape[-1]
    if not isinstance(extent, int):
        raise node.refuse(f"last extent of {x.name}", extent, "give the inputs static widths")
    return extent


def _rotated(
    emit: Emitter, node: Operator, x: ir.Value, positions: ir.Value, cos: ir.Value, sin: ir.Value, interleaved: int
) -> ir.Value:
    """x [B, heads, S, size], of which as many elements as there are angles are rotated at ``positions`` [B,S].

    A pair is the k-th elements of both halves, or neighbours if ``interleaved``.
    """
    width, half = _last(node, x), _last(node, cos)
    c, s = (emit.Unsqueeze(emit.Gather(angles, positions, axis=0), [1]) for angles in (cos, sin))
    sizes = [2 * half, width - 2 * half] if width > 2 * half else [width]
    head, *rest = emit.op("Split", x, sizes, outputs=len(sizes), axis=3)
    if interleaved:
        pairs = emit.Reshape(head, [0, 0, 0, half, 2])
        a, b = (emit.Squeeze(part, [4]) for part in emit.op("Split", pairs, [1, 1], outputs=2, axis=4))
    else:
        a, b = emit.op("Split", head, [half, half], outputs=2, axis=3)
    parts = [emit.Sub(emit.Mul(a, c), emit.Mul(b, s)), emit.Add(emit.Mul(a, s), emit.Mul(b, c))]
    if interleaved:
        pairs = emit.Concat(*(emit.Unsqueeze(part, [4]) for part in parts), axis=4)
        parts = [emit.Reshape(pairs, [0, 0, 0, 2 * half])]
    return emit.Concat(*parts, *rest, axis=3)


@expands("GroupQueryAttention", domain=MICROSOFT)
def group_query_attention(emit: Emitter, node: Operator) -> Outputs:
    """softmax(scale q kᵀ + bias) v, where groups of query heads share a key and value head.

    Of sample b, ``seqlens_k[b] + 1 - S`` entries of the past count, or none if the total length is S. A query
    sees what came before it, at most ``local_window_size`` tokens; with a sink the softmax has one more term.
    """
    for index, name in ((12, "k_scale"), (13, "v_scale"), (14, "q_norm_weight"), (16, "query_seqlens")):
        if node.optional(index) is not None:
            raise node.refuse("input", name, "export the model without it")
    if node.attribute("sliding_window_cache", 0):
        raise node.refuse("sliding_window_cache", 1, "export the model with a whole cache")
    heads, groups = node.attribute("num_heads", 1), node.attribute("kv_num_heads", 1)
    query, key, value = _projections(emit, node, heads, groups)
    length, total = emit.dim(query, 2), emit.Reshape(emit.Cast(node.input(6), to=INT64), [1])
    ends = emit.Reshape(emit.Add(emit.Cast(node.input(5), to=INT64), 1), [-1, 1])  # [B,1]: past and new tokens
    continued = emit.Cast(emit.Not(emit.Equal(total, length)), to=INT64)
    pasts = emit.Mul(emit.Sub(ends, length), continued)  # [B,1]: tokens before the new ones
    positions = emit.Add(pasts, emit.Unsqueeze(counting(emit, emit.extent(query, 2)), [0]))  # [B,S]
    if node.attribute("do_rotary", 0):
        where = positions if node.optional(9) is None else node.input(9)
        interleaved = node.attribute("rotary_interleaved", 0)
        angles = node.input(7), node.input(8)
        query, key = (_rotated(emit, node, x, where, *angles, interleaved) for x in (query, key))
    places = positions  # [B, keys]
    if node.optional(3) is not None:
        old_key, old_value = (emit.Slice(node.input(index), [0], emit.Sub(total, length), [2]) for index in (3, 4))
        key, value = emit.Concat(old_key, key, axis=2), emit.Concat(old_value, value, axis=2)
        before = emit.Unsqueeze(counting(emit, emit.extent(old_key, 2)), [0])
        unused = emit.Cast(emit.GreaterOrEqual(before, pasts), to=INT64)
        places = emit.Concat(emit.Add(before, emit.Mul(unused, NEVER)), positions, axis=1)
    hidden = _hidden(emit, node, emit.Unsqueeze(positions, [2]), emit.Unsqueeze(places, [1]), ends)
    y = _attend(emit, node, heads, groups, [query, key, value], hidden)
    return [merge(emit, y, heads * _last(node, value)), *[None] * (len(node.outputs) - 1)]


def _projections(emit: Emitter, node: Operator, heads: int, groups: int) -> list[ir.Value]:
    query = node.input(0)
    if node.optional(1) is not None:
        parts = [query, node.input(1), node.input(2)]
        size = _last(node, query) // heads
    else:
        size = _last(node, query) // (heads + 2 * groups)
        parts = list(emit.op("Split", query, [heads * size, groups * size, groups * size], outputs=3, axis=2))
    return [split(emit, part, count, size) for part, count in zip(parts, (heads, groups, groups))]


def _hidden(emit: Emitter, node: Operator, positions: ir.Value, places: ir.Value, ends: ir.Value) -> ir.Value:
    """[B, queries, keys]: which keys a query does not see, by the positions of both."""
    if not node.attribute("causal", 1):
        return emit.GreaterOrEqual(places, emit.Unsqueeze(ends, [2]))
    hidden = emit.Greater(places, positions)
    window = node.attribute("local_window_size", -1)
    return emit.Or(hidden, emit.LessOrEqual(places, emit.Sub(positions, window))) if window > 0 else hidden


def _attend(
    emit: Emitter, node: Operator, heads: int, groups: int, parts: list[ir.Value], hidden: ir.Value
) -> ir.Value:
    """[B, heads, queries, size]; inside [B, groups, heads of a group, queries, size]."""
    query, key, value = parts
    size, members, dtype = _last(node, query), heads // groups, query.dtype
    scale = node.attribute("scale", 0.0) or 1 / math.sqrt(size)
    query = emit.Reshape(emit.Mul(query, scale), [0, groups, members, -1, size])
    logits = emit.MatMul(query, emit.Unsqueeze(emit.Transpose(key, perm=[0, 1, 3, 2]), [2]))
    if cap := node.attribute("softcap", 0.0):
        logits = emit.Mul(emit.Tanh(emit.Mul(logits, 1 / cap)), cap)
    if node.optional(10) is not None:
        logits = emit.Add(logits, _grouped(emit, node, groups, members))
    logits = emit.Add(logits, emit.Mul(emit.Cast(emit.Unsqueeze(hidden, [1, 2]), to=dtype), LOW))
    sink = node.optional(11)
    if sink is None and node.attribute("smooth_softmax", 0):
        sink = emit.constant(np.zeros(heads), dtype)
    if sink is None:
        probabilities = emit.Softmax(logits, axis=-1)
    else:
        batch, queries, keys = (emit.extent(logits, axis) for axis in (0, 3, 4))
        more = emit.Expand(
            emit.Reshape(sink, [groups, members, 1, 1]), emit.vector([batch, groups, members, queries, 1])
        )
        together = emit.Softmax(emit.Concat(logits, more, axis=4), axis=-1)
        probabilities = emit.Slice(together, [0], [keys] if isinstance(keys, int) else keys, [4])
    return emit.Reshape(emit.MatMul(probabilities, emit.Unsqueeze(value, [2])), [0, heads, -1, size])


def _grouped(emit: Emitter, node: Operator, groups: int, members: int) -> ir.Value:
    """The bias [B or 1, heads or 1, queries, keys] with the heads in groups."""
    bias = node.input(10)
    count = None if bias.shape is None else bias.shape[1]
    if count == 1:
        return emit.Unsqueeze(bias, [2])
    return emit.reshape(bias, [emit.extent(bias, 0), groups, members, emit.extent(bias, 2), emit.extent(bias, 3)])
