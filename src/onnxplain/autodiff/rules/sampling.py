"""Operators that read an image between or at chosen pixels: GridSample, DeformConv, AffineGrid, Col2Im, MaxUnpool."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx_ir as ir

from ..geometry.interpolation import (
    CUBIC,
    LINEAR,
    Taps,
    float_extent,
    gather_samples,
    index_of,
    position_gradients,
    scatter_samples,
    taps_along,
    weight_of,
)
from ..geometry.placement import counting
from ..geometry.windows import kernel_of, spatial_shape
from ..graph.emitter import Emitter
from ..graph.operator import Operator
from ..reverse.registry import Gradients, vjp

_KERNELS = {"linear": LINEAR, "bilinear": LINEAR, "cubic": CUBIC, "bicubic": CUBIC, "nearest": None}


@vjp("GridSample")
def grid_sample(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y[n,c,s] = sum over taps of weight(grid[n,s]) x[n,c,tap]; dx scatters weight dy, dgrid sums slope x dy.

    Positions in pixels: (g + 1) (L - 1) / 2 with align_corners, else ((g + 1) L - 1) / 2. Padding acts on
    the taps, as in ONNX Runtime and, up to its equal values, PyTorch.
    """
    x, grid = node.input(0), node.input(1)
    axes, aligned = node.rank(0) - 2, bool(node.attribute("align_corners", 0))
    mode, padding = node.attribute("mode", "linear"), node.attribute("padding_mode", "zeros")
    if mode not in _KERNELS or padding not in ("zeros", "border", "reflection"):
        raise node.refuse("mode and padding_mode", (mode, padding), "ONNX has no such mode")
    kernel = _KERNELS[mode]
    taps, scales = [], []
    for axis in range(axes):
        extent = float_extent(emit, x, axis + 2, grid.dtype)
        scales.append(emit.Mul(emit.Sub(extent, 1.0) if aligned else extent, 0.5))
        g = emit.Add(emit.Gather(grid, emit.constant(axes - 1 - axis, ir.DataType.INT64), axis=-1), 1.0)
        position = emit.Mul(g, scales[axis]) if aligned else emit.Mul(emit.Sub(emit.Mul(g, extent), 1.0), 0.5)
        position = position if grid.dtype == x.dtype else emit.Cast(position, to=x.dtype)
        taps.append(taps_along(emit, position, axis, axes, extent, kernel, padding, aligned))
    index = index_of(emit, taps, x)
    columns = emit.Transpose(dy, perm=[1, 0, *range(2, axes + 2)])
    columns = emit.Unsqueeze(columns, list(range(axes + 2, 2 * axes + 2)))
    dgrid = None
    if node.wants(1) and kernel is not None:
        slopes = position_gradients(emit, taps, emit.Mul(gather_samples(emit, x, index), columns))
        slopes = [slope if grid.dtype == x.dtype else emit.Cast(slope, to=grid.dtype) for slope in slopes]
        scaled = [emit.Unsqueeze(emit.Mul(slope, scale), [-1]) for slope, scale in zip(slopes, scales)]
        dgrid = emit.Concat(*reversed(scaled), axis=-1)
    return [_spread(emit, taps, columns, index, x) if node.wants(0) else None, dgrid]


def _spread(emit: Emitter, taps: list[Taps], columns: ir.Value, index: ir.Value, x: ir.Value) -> ir.Value:
    """Columns [C, samples, 1 ...] times weights, added to the taps' pixels."""
    weight = weight_of(emit, taps)
    return scatter_samples(emit, columns if weight is None else emit.Mul(columns, weight), index, x)


@vjp("DeformConv")
def deform_conv(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = W col with col = mask sample(x, p stride + t dilation - pad + offset), bilinear with zeros outside.

    dcol = W^T dy; dx, doffset and dmask follow it through the samples, dW = dy col^T, db = sum of dy.
    Every offset group of an image counts as an image here: B = N offset_group.
    """
    if node.rank(0) != 4:
        raise node.refuse("rank of input 0", node.rank(0), "only images [N, C, H, W] have a rule")
    x, w, offset, mask = node.input(0), node.input(1), node.input(2), node.optional(4)
    group, offset_group = node.attribute("group", 1), node.attribute("offset_group", 1)
    kernel = kernel_of(node, w)
    count = prod(kernel)
    channels, outputs = emit.extent(x, 1), emit.extent(w, 0)
    if not isinstance(channels, int) or not isinstance(outputs, int):
        raise node.refuse("number of channels", "unknown", "give input 0 and the weight static channels")
    grid = [emit.extent(dy, 2), emit.extent(dy, 3)]
    images = emit.Reshape(x, emit.vector([-1, channels // offset_group, *emit.extents(x)[2:]]))
    taps = _deformed(emit, node, kernel, emit.Reshape(offset, emit.vector([-1, count, 2, *grid])), images)
    index = index_of(emit, taps, images)

    by_group = emit.Reshape(dy, emit.vector([emit.extent(dy, 0), group, outputs // group, -1]))
    weights = emit.Reshape(w, [group, outputs // group, -1])
    dcolumns = emit.MatMul(emit.Transpose(weights, perm=[0, 2, 1]), by_group)
    dcolumns = emit.Reshape(dcolumns, emit.vector([-1, channels // offset_group, count, *grid]))
    dcolumns = emit.Transpose(dcolumns, perm=[1, 0, 2, 3, 4])
    masks = None if mask is None else emit.Reshape(mask, emit.vector([-1, count, *grid]))
    dsamples = emit.Unsqueeze(dcolumns if masks is None else emit.Mul(dcolumns, masks), [5, 6])

    dx = dw = doffset = dmask = None
    if node.wants(0):
        dx = emit.reshape_like(_spread(emit, taps, dsamples, index, images), x)
    values = gather_samples(emit, images, index)
    if node.wants(2):
        parts = position_gradients(emit, taps, emit.Mul(values, dsamples))
        doffset = emit.reshape_like(emit.Concat(*(emit.Unsqueeze(p, [2]) for p in parts), axis=2), offset)
    samples = emit.ReduceSum(emit.Mul(values, weight_of(emit, taps)), [5, 6], keepdims=0)
    if node.wants(1):
        columns = emit.Transpose(samples if masks is None else emit.Mul(samples, masks), perm=[1, 0, 2, 3, 4])
        columns = emit.Reshape(columns, emit.vector([emit.extent(dy, 0), group, channels // group * count, -1]))
        products = emit.MatMul(by_group, emit.Transpose(columns, perm=[0, 1, 3, 2]))
        dw = emit.reshape_like(emit.ReduceSum(products, [0], keepdims=0), w)
    if mask is not None and node.wants(4):
        dmask = emit.reshape_like(emit.ReduceSum(emit.Mul(dcolumns, samples), [0], keepdims=0), mask)
    db = emit.ReduceSum(dy, [0, 2, 3], keepdims=0) if node.wants(3) else None
    return [dx, dw, doffset, db, dmask]


def _deformed(
    emit: Emitter, node: Operator, kernel: tuple[int, ...], offsets: ir.Value, images: ir.Value
) -> list[Taps]:
    """The taps of samples [B, taps of the kernel, positions] at the regular places plus the offsets."""
    strides, dilations = node.attribute("strides", [1, 1]), node.attribute("dilations", [1, 1])
    pads = node.attribute("pads", [0] * 4)
    taps = []
    for axis, place in enumerate(np.unravel_index(np.arange(prod(kernel)), kernel)):
        steps = emit.Cast(counting(emit, emit.extent(offsets, 3 + axis)), to=offsets.dtype)
        steps = emit.Unsqueeze(emit.Mul(steps, float(strides[axis])), [1] if axis == 0 else [0])
        start = emit.constant((place * dilations[axis] - pads[axis]).reshape(-1, 1, 1), offsets.dtype)
        offset = emit.Gather(offsets, emit.constant(axis, ir.DataType.INT64), axis=2)
        position = emit.Add(offset, emit.Add(steps, start))
        taps.append(taps_along(emit, position, axis, 2, float_extent(emit, images, axis + 2, offsets.dtype), LINEAR))
    return taps


@vjp("AffineGrid")
def affine_grid(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y[n,s] = theta[n] (base[s], 1); dtheta[n] = sum over s of dy[n,s] (base[s], 1)^T.

    The base positions are what the operator itself gives for the identity, in a type that has a kernel.
    """
    theta, size = node.input(0), node.input(1)
    axes = None if theta.shape is None else theta.shape[1]
    if not isinstance(axes, int):
        raise node.refuse("number of axes of theta", "unknown", "give theta the static extents [2,3] or [3,4]")
    wide = ir.DataType.DOUBLE if theta.dtype == ir.DataType.DOUBLE else ir.DataType.FLOAT
    identity = emit.constant(np.eye(axes, axes + 1)[None], wide)
    one = emit.Concat(emit.constant([1]), emit.Slice(size, [1], [axes + 2]), axis=0)
    base = emit.AffineGrid(identity, one, align_corners=node.attribute("align_corners", 0))
    places = emit.Cast(emit.Pad(emit.Reshape(base, [-1, axes]), [0, 0, 0, 1], 1.0), to=dy.dtype)
    rows = emit.Reshape(dy, emit.vector([emit.extent(dy, 0), -1, axes]))
    return [emit.MatMul(emit.Transpose(rows, perm=[0, 2, 1]), places), None]


@vjp("Col2Im")
def col2im(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y adds columns [N, C taps, positions] to windows; dx reads the windows: a convolution with one-hot kernels."""
    x, block = node.input(0), node.constant(2)
    images = emit.Reshape(dy, emit.vector([-1, 1, spatial_shape(emit, dy)]))
    if block is None:
        taps = emit.ReduceProd(node.input(2))
        eye = emit.EyeLike(emit.zeros([taps, taps], dy.dtype))
        one_hot = emit.Reshape(eye, emit.vector([taps, 1, node.input(2)]))
    else:
        one_hot = emit.constant(np.eye(prod(block)).reshape(-1, 1, *block), dy.dtype)
    columns = emit.Conv(
        images, one_hot, strides=node.attribute("strides", None), dilations=node.attribute("dilations", None),
        pads=node.attribute("pads", None),
    )  # fmt: skip
    return [emit.reshape_like(columns, x), None, None]


@vjp("MaxUnpool")
def max_unpool(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y[i] = x, i flat in the output; dx = dy[i], also where an index repeats (of equal maxima), as in PyTorch."""
    return [emit.Gather(emit.Reshape(dy, [-1]), node.input(1), axis=0), None, None]
