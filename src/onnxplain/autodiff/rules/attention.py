"""Attention and RotaryEmbedding.

The attention probabilities are computed again from the inputs, with plain operators: asking the
forward node for them (``qk_matmul_output_mode`` 3) would shut out the providers whose fast kernels
do not return them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ..geometry.placement import Extent, counting, minus, times
from ..graph.emitter import Emitter
from ..graph.operator import Operator
from ..reverse.functions import expand_function, function_body
from ..reverse.registry import Gradients, vjp
from ..reverse.walk import by_expansion

INFINITY = float("inf")


@dataclass
class _Scores:
    """The forward computation again: s = scale q kᵀ, t = tanh(s / cap), p = softmax(cap t + bias).

    Tensors are [B, heads, sequence, size]. Query heads that share a key and value head lie one after
    another, so that folding them into the sequence makes every product one MatMul.
    """

    query: ir.Value  # scaled
    key: ir.Value
    value: ir.Value
    scale: float | ir.Value
    tanh: ir.Value | None
    p: ir.Value
    alive: ir.Value | None  # zero for queries that may attend to nothing: their output is zero
    shared: list[Extent] | None  # [B, key heads, queries] after folding, if heads are shared
    unshared: list[Extent]  # [B, heads, queries]

    def fold(self, emit: Emitter, x: ir.Value) -> ir.Value:
        return x if self.shared is None else emit.reshape(x, [*self.shared, emit.extent(x, 3)])

    def unfold(self, emit: Emitter, x: ir.Value) -> ir.Value:
        return x if self.shared is None else emit.reshape(x, [*self.unshared, emit.extent(x, 3)])

    def times_key(self, emit: Emitter, x: ir.Value, key: ir.Value) -> ir.Value:
        """x @ key for query-shaped ``x``."""
        return self.unfold(emit, emit.MatMul(self.fold(emit, x), key))

    def to_key(self, emit: Emitter, x: ir.Value, y: ir.Value) -> ir.Value:
        """xᵀ @ y for query-shaped ``x`` and ``y``, summed over the heads that share a key."""
        return emit.MatMul(_transposed(emit, self.fold(emit, x)), self.fold(emit, y))


@vjp("Attention", every_output=True, broadcasts=True)
def attention(emit: Emitter, node: Operator, dys: list[ir.Value | None]) -> Gradients:
    """O = P V, P = softmax(softcap(scale Q Kᵀ) + bias).

    dV = Pᵀ dO; with dP = dO Vᵀ, the logits get P (dP - Σ dO O), of which Q, K and a float mask get
    theirs. A query that every mask hides has P = 0. Gradients of the other outputs join on the way.
    """
    dy, dpresent_key, dpresent_value, dqk = [*dys, None, None, None][:4]
    s = _scores(emit, node)
    dvalue, dlogits = (None, None) if dy is None else _through_output(emit, node, s, dy)
    dlogits, dscores = _through_softmax(emit, s, dlogits, dqk, node.attribute("qk_matmul_output_mode", 0))
    dquery, dkey = None, None
    if dscores is not None and node.wants(0):
        dquery = _merge(emit, emit.Mul(s.times_key(emit, dscores, s.key), s.scale), node.input(0))
    if dscores is not None and (node.wants(1) or node.wants(4)):
        dkey = s.to_key(emit, dscores, s.query)
    dpast_key, dkey = _present(emit, node, 1, _sum(emit, dkey, dpresent_key))
    dpast_value, dvalue = _present(emit, node, 2, _sum(emit, dvalue, dpresent_value))
    dmask = _mask_gradient(emit, node, dlogits) if node.wants(3) and dlogits is not None else None
    return [dquery, dkey, dvalue, dmask, dpast_key, dpast_value, None]


def _through_output(emit: Emitter, node: Operator, s: _Scores, dy: ir.Value) -> tuple[ir.Value | None, ir.Value | None]:
    """Return dV = Pᵀ dO and P (dP - Σ dO O), those that are wanted."""
    do, o = (_split(emit, x, node, "q_num_heads") for x in (dy, node.outputs[0]))
    do = do if s.alive is None else emit.Mul(do, s.alive)
    dvalue = s.to_key(emit, s.p, do) if node.wants(2) or node.wants(5) else None
    if not any(node.wants(index) for index in (0, 1, 3, 4)):
        return dvalue, None
    dp = s.times_key(emit, do, _transposed(emit, s.value))
    return dvalue, emit.Mul(s.p, emit.Sub(dp, emit.ReduceSum(emit.Mul(do, o), [-1], keepdims=1)))


def _through_softmax(
    emit: Emitter, s: _Scores, dlogits: ir.Value | None, dqk: ir.Value | None, mode: int
) -> tuple[ir.Value | None, ir.Value | None]:
    """Return the gradients of the logits cap t + bias and of the scores scale Q Kᵀ.

    ``dqk`` is that of an output: of the scores (mode 0), cap t (1), the logits (2) or P (3).
    """
    if dqk is not None and mode == 3:
        dp = dqk if s.alive is None else emit.Mul(dqk, s.alive)
        centred = emit.Sub(dp, emit.ReduceSum(emit.Mul(dp, s.p), [-1], keepdims=1))
        dlogits = _sum(emit, dlogits, emit.Mul(s.p, centred))
    dlogits = _sum(emit, dlogits, dqk if mode == 2 else None)
    dscores = _sum(emit, dlogits, dqk if mode == 1 else None)
    if dscores is not None and s.tanh is not None:
        dscores = emit.Mul(dscores, emit.Sub(1.0, emit.Mul(s.tanh, s.tanh)))
    return dlogits, _sum(emit, dscores, dqk if mode == 0 else None)


def _sum(emit: Emitter, a: ir.Value | None, b: ir.Value | None) -> ir.Value | None:
    return b if a is None else a if b is None else emit.Add(a, b)


def _scores(emit: Emitter, node: Operator) -> _Scores:
    query, key, value = (
        _split(emit, node.input(index), node, name)
        for index, name in enumerate(("q_num_heads", "kv_num_heads", "kv_num_heads"))
    )
    if (past_key := node.optional(4)) is not None and (past_value := node.optional(5)) is not None:
        key, value = emit.Concat(past_key, key, axis=2), emit.Concat(past_value, value, axis=2)
    scale = _scale(emit, node, query)
    query = emit.Mul(query, scale)
    unshared = emit.extents(query)[:3]
    scores = _Scores(query, key, value, scale, None, query, None, _sharing(emit, node, query, key), unshared)
    logits = scores.times_key(emit, query, _transposed(emit, key))
    if cap := node.attribute("softcap", 0.0):
        scores.tanh = emit.Tanh(emit.Div(logits, cap))
        logits = emit.Mul(scores.tanh, cap)
    bias, scores.alive = _bias(emit, node, query, key)
    logits = logits if bias is None else emit.Add(logits, bias)
    precision = ir.DataType(node.attribute("softmax_precision", int(query.dtype or 0)))
    if precision == query.dtype:
        scores.p = emit.Softmax(logits, axis=-1)
    else:
        scores.p = emit.Cast(emit.Softmax(emit.Cast(logits, to=precision), axis=-1), to=query.dtype)
    return scores


def _split(emit: Emitter, x: ir.Value, node: Operator, heads: str) -> ir.Value:
    """[B, sequence, heads * size] as [B, heads, sequence, size]."""
    if node.rank(0) == 4:
        return x
    count = node.attribute(heads, 0)
    batch, length = emit.extents(node.input(0) if heads == "q_num_heads" else x)[:2]
    width = emit.extent(x, 2)
    size = width // count if isinstance(width, int) else emit.Div(width, count)
    return emit.Transpose(emit.reshape(x, [batch, length, count, size]), perm=[0, 2, 1, 3])


def _merge(emit: Emitter, x: ir.Value, like: ir.Value) -> ir.Value:
    """[B, heads, sequence, size] in the form of the input ``like``."""
    assert like.shape is not None
    return x if len(like.shape) == 4 else emit.reshape_like(emit.Transpose(x, perm=[0, 2, 1, 3]), like)


def _sharing(emit: Emitter, node: Operator, query: ir.Value, key: ir.Value) -> list[Extent] | None:
    if query.shape is None or key.shape is None:
        raise node.refuse("rank of Q or K", "unknown", "give the model's inputs static ranks")
    heads, key_heads = query.shape[1], key.shape[1]
    if heads == key_heads:
        return None
    if not isinstance(heads, int) or not isinstance(key_heads, int):
        raise node.refuse("number of heads", f"{heads} and {key_heads}", "give Q and K static head counts")
    batch, _, length, _ = emit.extents(query)
    return [batch, key_heads, times(emit, length, heads // key_heads)]


def _scale(emit: Emitter, node: Operator, query: ir.Value) -> float | ir.Value:
    size = emit.extent(query, 3)
    scale: float | None = node.attribute("scale", None)
    if scale is not None:
        return scale
    if isinstance(size, int):
        return 1 / math.sqrt(size)
    return emit.Reciprocal(emit.Sqrt(emit.Cast(size, to=query.dtype)))


def _bias(emit: Emitter, node: Operator, query: ir.Value, key: ir.Value) -> tuple[ir.Value | None, ir.Value | None]:
    """What is added to the scores, and 0 for the queries that it hides from every key, else 1.

    The bias of a hidden query is 0 instead of minus infinity, so that its softmax is finite.
    """
    mask = _padded_mask(emit, node, key)
    allowed = _allowed(emit, node, query, key)
    if mask is not None and mask.dtype == ir.DataType.BOOL:
        allowed, mask = [*allowed, mask], None
    bias = mask
    if allowed:
        together = allowed[0]
        for other in allowed[1:]:
            together = emit.And(together, other)
        shown = emit.constant(0.0, query.dtype) if mask is None else mask
        bias = emit.Where(together, shown, emit.constant(-INFINITY, query.dtype))
    windows = [node.attribute(name, -1) for name in ("left_window_size", "right_window_size")]
    if bias is None or (node.optional(3) is None and node.optional(6) is None and max(windows) < 0):
        return bias, None
    alive = emit.Greater(emit.ReduceMax(bias, [-1], keepdims=1), -INFINITY)
    return emit.Where(alive, bias, emit.constant(0.0, query.dtype)), emit.Cast(alive, to=query.dtype)


def _allowed(emit: Emitter, node: Operator, query: ir.Value, key: ir.Value) -> list[ir.Value]:
    """Conditions, broadcasting to [B, heads, queries, keys], on what a query may attend to.

    Query i stands at position i + offset: the number of keys before the first query.
    """
    length = emit.extent(query, 2)
    keys = counting(emit, emit.extent(key, 2))
    position = emit.Reshape(counting(emit, length), [-1, 1])
    valid = node.optional(6)
    if valid is not None:
        valid = emit.Reshape(valid, [-1, 1, 1, 1])
        position = emit.Add(position, emit.Sub(valid, emit.vector([length])))
    elif (past := node.optional(4)) is not None:
        position = emit.Add(position, emit.dim(past, 2))
    left, right = (node.attribute(name, -1) for name in ("left_window_size", "right_window_size"))
    allowed = []
    if node.attribute("is_causal", 0):
        allowed.append(emit.LessOrEqual(keys, position))
    if left >= 0:
        allowed.append(emit.GreaterOrEqual(keys, emit.Sub(position, left)))
    if right >= 0:
        allowed.append(emit.LessOrEqual(keys, emit.Add(position, right)))
    if valid is not None:
        allowed.append(emit.Less(keys, valid))
    return allowed


def _padded_mask(emit: Emitter, node: Operator, key: ir.Value) -> ir.Value | None:
    """The mask; from version 24 on one with fewer columns than keys hides the rest."""
    mask = node.optional(3)
    if mask is None or node.opset < 24 or mask.shape is None:
        return mask
    rest = minus(emit, emit.extent(key, 2), emit.extent(mask, len(mask.shape) - 1))
    if rest == 0:
        return mask
    hidden = False if mask.dtype == ir.DataType.BOOL else -INFINITY
    return emit.Pad(mask, emit.vector([0, rest]), emit.constant(np.array(hidden), mask.dtype), [-1])


def _mask_gradient(emit: Emitter, node: Operator, dlogits: ir.Value) -> ir.Value:
    mask = node.input(3)
    if node.opset < 24 or mask.shape is None:
        return dlogits
    return emit.Slice(dlogits, [0], emit.dim(mask, len(mask.shape) - 1), [-1])


def _present(
    emit: Emitter, node: Operator, index: int, dpresent: ir.Value | None
) -> tuple[ir.Value | None, ir.Value | None]:
    """The gradients of the past and of the new keys (index 1) or values (index 2)."""
    past, new = node.optional(index + 3), node.input(index)
    if dpresent is None:
        return None, None
    if past is None:
        return None, _merge(emit, dpresent, new)
    new_length = emit.extent(new, len(new.shape or ()) - 2)
    parts = emit.op("Split", dpresent, emit.vector([emit.extent(past, 2), new_length]), outputs=2, axis=2)
    return parts[0], _merge(emit, parts[1], new)


def _transposed(emit: Emitter, x: ir.Value) -> ir.Value:
    return emit.Transpose(x, perm=[0, 1, 3, 2])


@vjp("RotaryEmbedding", every_output=True)
def rotary_embedding(emit: Emitter, node: Operator, dys: list[ir.Value | None]) -> Gradients:
    """Pairs of elements rotated by angles from the caches; dx = dy rotated back: the sines negated.

    Gradients of the caches, which are constants in practice, come from the standard's definition.
    """
    if node.wants(1) or node.wants(2):
        definition = function_body(node)
        if definition is None:
            raise node.refuse("gradient of input", node.input(1).name, "differentiate with respect to X only")
        return by_expansion(emit, node, dys, lambda emit, node: expand_function(emit, node, definition))
    attributes = {name: node.attribute(name, 0) for name in ("interleaved", "num_heads", "rotary_embedding_dim")}
    cos, sin, positions = node.input(1), node.input(2), node.optional(3)
    return [emit.RotaryEmbedding(dys[0], cos, emit.Neg(sin), positions, **attributes), None, None, None]
