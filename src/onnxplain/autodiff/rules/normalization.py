"""Normalisations: by stored statistics, by statistics of the input, across channels, by a norm.

Those by statistics share one formula. With n = (x - mean) r, r = 1 / √(variance + ε) and g the gradient
of n: dx = r (g - mean g - n mean(g n)). n and r come from one LayerNormalization node of scale 1 that the
rule adds: a single fused pass over x, and the forward node stays as the runtimes know it. As the operators
say of ``stash_type``, float16 and bfloat16 inputs are normalised in float32.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from ..graph.emitter import Emitter
from ..graph.operator import Operator
from ..reverse.registry import Gradients, vjp


@vjp("BatchNormalization")
def batch_normalization(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = (x - m) k + b with k = s / √(v + ε), per channel; dx = dy k, ds = Σ dy (x - m) / √(v + ε), db = Σ dy,
    dm = -k db, dv = -s ds / 2(v + ε).

    In training mode y = n s + b, normalised over all axes but the channels: the samples of a batch depend on each
    other. dx as above with g = dy s, ds = Σ dy n, db = Σ dy, dm = dv = 0.
    """
    if node.attribute("training_mode", 0):
        return _batch_normalization_in_training(emit, node, dy)
    x, scale, mean, rank = node.input(0), node.input(1), node.input(3), node.rank()
    variance = emit.Add(_cast(emit, node.input(4), scale.dtype), node.attribute("epsilon", 1e-5))
    deviation = emit.Sqrt(variance)
    k = emit.Div(scale, deviation)
    dx = emit.Mul(dy, _per_channel(emit, _cast(emit, k, x.dtype), rank)) if node.wants(0) else None
    if not any(node.wants(i) for i in range(1, 5)):
        return dx
    centred = emit.Sub(x, _per_channel(emit, _cast(emit, mean, x.dtype), rank))
    ds = emit.Div(_cast(emit, _channel_sum(emit, emit.Mul(dy, centred), rank), scale.dtype), deviation)
    db = _cast(emit, _channel_sum(emit, dy, rank), scale.dtype)
    dm = _cast(emit, emit.Neg(emit.Mul(k, db)), mean.dtype)
    dv = _cast(emit, emit.Mul(emit.Div(emit.Mul(ds, scale), variance), -0.5), mean.dtype)
    return [dx, ds, db, dm, dv]


def _batch_normalization_in_training(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    x, scale, rank = _stash(emit, node.input(0)), node.input(1), node.rank()
    axes = [axis for axis in range(rank) if axis != 1]
    centred = emit.Sub(x, emit.ReduceMean(x, axes, keepdims=1))
    variance = emit.ReduceMean(emit.Mul(centred, centred), axes, keepdims=1)
    r = emit.Reciprocal(emit.Sqrt(emit.Add(variance, node.attribute("epsilon", 1e-5))))
    n, dy = emit.Mul(centred, r), _cast(emit, dy, x.dtype)
    g = emit.Mul(dy, _per_channel(emit, _cast(emit, scale, x.dtype), rank))
    dx = _cast(emit, _through_statistics(emit, n, r, g, axes), node.input(0).dtype)
    ds = _cast(emit, _channel_sum(emit, emit.Mul(dy, n), rank), scale.dtype)
    return [dx, ds, _cast(emit, _channel_sum(emit, dy, rank), scale.dtype), None, None]


@vjp("LayerNormalization", broadcasts=True, every_output=True)
def layer_normalization(emit: Emitter, node: Operator, dys: list[ir.Value | None]) -> Gradients:
    """y = n s + b, normalised over the axes from ``axis``; dx as above with g = dy s, ds = dy n, db = dy.

    The outputs Mean and InvStdDev add dmean / size and -dr r² n / size to dx.
    """
    dy, dmean, dr = [*dys, None, None][:3]
    x, scale, rank = node.input(0), node.input(1), node.rank()
    axis = node.attribute("axis", -1) % rank
    n, r = _normalized(emit, x, axis, node.attribute("epsilon", 1e-5))
    ds = emit.Mul(dy, _cast(emit, n, x.dtype)) if dy is not None and node.wants(1) else None
    if not node.wants(0):
        return [None, ds, dy]
    parts = []
    if dy is not None:
        parts.append(_through_statistics(emit, n, r, emit.Mul(dy, scale), range(axis, rank)))
    if dmean is not None:
        level = emit.Mul(_cast(emit, dmean, n.dtype), _inverse_size(emit, n, r))
        parts.append(emit.Expand(level, emit.shape(x)))
    if dr is not None:
        slope = emit.Mul(emit.Mul(r, r), _inverse_size(emit, n, r))
        parts.append(emit.Neg(emit.Mul(n, emit.Mul(_cast(emit, dr, n.dtype), slope))))
    return [_cast(emit, emit.Sum(*parts) if len(parts) > 1 else parts[0], x.dtype), ds, dy]


@vjp("RMSNormalization", broadcasts=True)
def rms_normalization(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = x r s with r = 1 / √(mean x² + ε) over the axes from ``axis``; dx = r (g - x r² mean(g x)) with g = dy s,
    ds = dy x r."""
    scale = node.input(1)
    axes = list(range(node.attribute("axis", -1) % node.rank(), node.rank()))
    x = _stash(emit, node.input(0))
    power = emit.Add(emit.ReduceMean(emit.Mul(x, x), axes, keepdims=1), node.attribute("epsilon", 1e-5))
    r = emit.Reciprocal(emit.Sqrt(power))
    dx = ds = None
    if node.wants(0):
        g = _cast(emit, emit.Mul(dy, scale), x.dtype)
        along = emit.Div(emit.ReduceMean(emit.Mul(g, x), axes, keepdims=1), power)
        dx = _cast(emit, emit.Mul(r, emit.Sub(g, emit.Mul(x, along))), node.input(0).dtype)
    if node.wants(1):
        ds = emit.Mul(dy, _cast(emit, emit.Mul(x, r), dy.dtype))
    return [dx, ds]


@vjp("InstanceNormalization")
def instance_normalization(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = n s + b, normalised over the spatial axes, s and b per channel; dx as above with g = dy s, ds = Σ dy n,
    db = Σ dy."""
    x, rank = node.input(0), node.rank()
    n, r = _normalized(emit, x, 2, node.attribute("epsilon", 1e-5))
    dx = ds = None
    if node.wants(0):
        g = emit.Mul(dy, _per_channel(emit, node.input(1), rank))
        dx = _cast(emit, _through_statistics(emit, n, r, g, range(2, rank)), x.dtype)
    if node.wants(1):
        ds = _channel_sum(emit, emit.Mul(dy, _cast(emit, n, x.dtype)), rank)
    return [dx, ds, _channel_sum(emit, dy, rank) if node.wants(2) else None]


@vjp("GroupNormalization", since=21)
def group_normalization(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = n s + b, normalised over groups of channels and the spatial axes, s and b per channel; dx as above with
    g = dy s, ds = Σ dy n, db = Σ dy. Computed on [N, groups, channels of a group, elements]."""
    x, scale, groups = node.input(0), node.input(1), node.attribute("num_groups", 1)
    shape = _group_shape(emit, scale, groups)
    dy = emit.Reshape(dy, shape)
    n, r = _normalized(emit, emit.Reshape(x, shape), 2, node.attribute("epsilon", 1e-5))
    dx = ds = db = None
    if node.wants(0):
        g = emit.Mul(dy, emit.Reshape(scale, [groups, -1, 1]))
        dx = emit.Reshape(_cast(emit, _through_statistics(emit, n, r, g, [2, 3]), x.dtype), emit.shape(x))
    if node.wants(1):
        ds = emit.Reshape(emit.ReduceSum(emit.Mul(dy, _cast(emit, n, x.dtype)), [0, 3], keepdims=0), [-1])
    if node.wants(2):
        db = emit.Reshape(emit.ReduceSum(dy, [0, 3], keepdims=0), [-1])
    return [dx, ds, db]


@vjp("MeanVarianceNormalization")
def mean_variance_normalization(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = (x - mean) / d with d = σ + 1e-9 over ``axes``; dx = (dy - mean dy) / d - y mean(dy y) / σ, without the
    last term where σ = 0. y is computed anew: ONNX Runtime's is NaN there."""
    x, axes = node.input(0), node.attribute("axes", [0, 2, 3])
    centred = emit.Sub(x, emit.ReduceMean(x, axes, keepdims=1))
    deviation = emit.Sqrt(emit.ReduceMean(emit.Mul(centred, centred), axes, keepdims=1))
    divisor = emit.Add(deviation, 1e-9)
    y = emit.Div(centred, divisor)
    flat = emit.Cast(emit.Equal(deviation, 0.0), to=x.dtype)
    along = emit.Div(emit.ReduceMean(emit.Mul(dy, y), axes, keepdims=1), emit.Add(deviation, flat))
    level = emit.Div(emit.Sub(dy, emit.ReduceMean(dy, axes, keepdims=1)), divisor)
    return emit.Sub(level, emit.Mul(y, along))


@vjp("LpNormalization")
def lp_normalization(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = x / |x|_p along ``axis``; dx = (dy - d Σ dy y) / |x|_p with d = y for p = 2, sign(x) for p = 1. Zero where
    the norm is zero: ONNX defines y = 0 there."""
    x, y, axis = node.input(0), node.outputs[0], node.attribute("axis", -1)
    taxicab = node.attribute("p", 2) == 1
    norm = emit.ReduceL1(x, [axis], keepdims=1) if taxicab else emit.ReduceL2(x, [axis], keepdims=1)
    vanishes = emit.Equal(norm, 0.0)
    inverse = emit.gate(emit.Not(vanishes), emit.Reciprocal(emit.Add(norm, emit.Cast(vanishes, to=x.dtype))))
    along = emit.ReduceSum(emit.Mul(dy, y), [axis], keepdims=1)
    direction = emit.Sign(x) if taxicab else y
    return emit.Mul(emit.Sub(dy, emit.Mul(direction, along)), inverse)


@vjp("LRN")
def lrn(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = x b^-β with b = bias + α mean(x² over ``size`` channels, zeros outside);
    dx = dy b^-β - 2αβ x mean(dy y / b over the mirrored window)."""
    x, y, rank = node.input(0), node.outputs[0], node.rank()
    alpha, beta, size = node.attribute("alpha", 1e-4), node.attribute("beta", 0.75), node.attribute("size", 1)
    before, after = (size - 1) // 2, size // 2
    mean = _channel_mean(emit, emit.Mul(x, x), rank, before, after)
    b = emit.Add(emit.Mul(mean, alpha), node.attribute("bias", 1.0))
    spread = _channel_mean(emit, emit.Div(emit.Mul(dy, y), b), rank, after, before)
    return emit.Sub(emit.Mul(dy, emit.Pow(b, -beta)), emit.Mul(emit.Mul(x, spread), 2 * alpha * beta))


def _channel_mean(emit: Emitter, v: ir.Value, rank: int, before: int, after: int) -> ir.Value:
    """The mean over the channels c - before ... c + after, those outside counted as zero."""
    flat = [0] * (rank - 2)
    mean = emit.AveragePool(
        emit.Unsqueeze(v, [1]),
        kernel_shape=[before + 1 + after] + [1] * (rank - 2),
        pads=[before, *flat, after, *flat],
        count_include_pad=1,
    )
    return emit.Squeeze(mean, [1])


def _normalized(emit: Emitter, x: ir.Value, axis: int, epsilon: float) -> tuple[ir.Value, ir.Value]:
    """n and r over the axes from ``axis``, in float32 at least; r keeps those axes, of extent 1."""
    x = _stash(emit, x)
    assert x.dtype is not None and x.shape is not None
    extents = [d for d in x.shape[axis:] if isinstance(d, int)]
    static = len(extents) == len(x.shape) - axis
    tail = emit.constant(extents, ir.DataType.INT64) if static else emit.Shape(x, start=axis)
    ones = emit.ConstantOfShape(tail, value=ir.tensor(np.ones(1, dtype=x.dtype.numpy())))
    n, _, r = emit.op("LayerNormalization", x, ones, outputs=3, axis=axis, epsilon=epsilon)
    return n, _cast(emit, r, x.dtype)


def _through_statistics(emit: Emitter, n: ir.Value, r: ir.Value, g: ir.Value, axes: Sequence[int]) -> ir.Value:
    """r (g - mean g - n mean(g n)): the gradient of what was normalised over ``axes``."""
    g = _cast(emit, g, n.dtype)
    along = emit.ReduceMean(emit.Mul(g, n), list(axes), keepdims=1)
    level = emit.ReduceMean(g, list(axes), keepdims=1)
    return emit.Mul(emit.Sub(emit.Sub(g, level), emit.Mul(n, along)), r)


def _inverse_size(emit: Emitter, n: ir.Value, r: ir.Value) -> ir.Value:
    """1 / (elements of ``n`` per element of ``r``)."""
    return emit.Div(*(emit.Cast(emit.Size(v), to=n.dtype) for v in (r, n)))


def _group_shape(emit: Emitter, scale: ir.Value, groups: int) -> ir.Value | list[int]:
    """[N, groups, channels of a group, elements], for Reshape."""
    channels = None if scale.shape is None else scale.shape[0]
    if isinstance(channels, int):
        return [0, groups, channels // groups, -1]
    members = emit.Div(emit.dim(scale, 0), emit.constant([groups], ir.DataType.INT64))
    return emit.Concat([0, groups], members, [-1], axis=0)


def _channel_sum(emit: Emitter, v: ir.Value, rank: int) -> ir.Value:
    """``v`` [N, C, ...] summed over all axes but the channels."""
    return emit.ReduceSum(v, [axis for axis in range(rank) if axis != 1], keepdims=0)


def _per_channel(emit: Emitter, v: ir.Value, rank: int) -> ir.Value:
    """``v`` [C] such that it broadcasts against [N, C, ...] of this rank."""
    return emit.Unsqueeze(v, list(range(1, rank - 1))) if rank > 2 else v


def _stash(emit: Emitter, x: ir.Value) -> ir.Value:
    return _cast(emit, x, ir.DataType.FLOAT) if x.dtype in (ir.DataType.FLOAT16, ir.DataType.BFLOAT16) else x


def _cast(emit: Emitter, v: ir.Value, dtype: ir.DataType | None) -> ir.Value:
    return v if v.dtype == dtype else emit.Cast(v, to=dtype)
