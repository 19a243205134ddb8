"""Rarer operators, second outputs, and sizes computed from other tensors' shapes."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from .builder import ONE, Builder, Dim, Value, fixed, same


def resize_like(b: Builder, x: Value) -> Value | None:
    """Resize to the height and width of another image, read at run time, as feature pyramids do."""
    images = [v for v in b.pool if v.rank == 4 and max(max(d.extents) for d in v.shape[2:]) <= 12]
    if b.opset < 11 or x.rank != 4 or not images:
        return None
    other = b.random.choice(images)
    own = b.slice_name(b.raw("Shape", [x.name])[0], 0, 0, 2)
    wanted = b.slice_name(b.raw("Shape", [other.name])[0], 0, 2, 4)
    sizes = b.raw("Concat", [own, wanted], axis=0)[0]
    empty = "" if b.opset >= 13 else b.constant(np.zeros(0, dtype=np.float32))
    mode = b.random.choice(["nearest", "linear"])
    way = b.random.choice(["asymmetric", "half_pixel", "align_corners"])
    shape = (*x.shape[:2], *other.shape[2:])
    inputs = [x, "" if b.opset >= 13 else empty, empty, sizes]
    return b.op("Resize", inputs, shape, mode=mode, coordinate_transformation_mode=way)


def resize_by_shape(b: Builder, x: Value) -> Value | None:
    """Resize to twice the height and width, computed as exporters do: Shape, Slice, Cast, Mul, Cast, Concat."""
    if b.opset < 11 or x.rank != 4 or max(max(d.extents) for d in x.shape[2:]) > 8:
        return None
    shape = b.raw("Shape", [x.name])[0]
    floats = b.raw("Cast", [b.slice_name(shape, 0, 2, 4)], to=TensorProto.FLOAT)[0]
    doubled = b.raw("Cast", [b.raw("Mul", [floats, b.number(2.0)])[0]], to=TensorProto.INT64)[0]
    sizes = b.raw("Concat", [b.slice_name(shape, 0, 0, 2), doubled], axis=0)[0]
    empty = "" if b.opset >= 13 else b.constant(np.zeros(0, dtype=np.float32))
    result = (*x.shape[:2], *(d.map(lambda e: 2 * e) for d in x.shape[2:]))
    return b.op("Resize", [x, empty, empty, sizes], result, mode=b.random.choice(["nearest", "linear"]))


def sequence_of_two(b: Builder, x: Value) -> Value | None:
    """Two values in a sequence, joined again or one of them taken out."""
    other = b.pick(shape=x.shape)
    if b.opset < 11 or x.rank < 2 or other is None:
        return None
    pair = b.raw("SequenceConstruct", [x.name, other.name])[0]
    if b.chance(0.4):
        return b.add(b.raw("SequenceAt", [pair, b.integer(b.random.choice([0, 1, -1]))])[0], x.shape, [x, other])
    axis = b.random.randrange(1, x.rank)
    doubled = x.shape[axis].map(lambda e: 2 * e)
    joined = b.raw("ConcatFromSequence", [pair], axis=axis)[0]
    return b.add(joined, (*x.shape[:axis], doubled, *x.shape[axis + 1 :]), [x, other])


def center_crop_pad(b: Builder, x: Value) -> Value | None:
    if b.opset < 18 or x.rank != 4:
        return None
    return b.op("CenterCropPad", [x, b.ints(5, 4)], (*x.shape[:2], fixed(5), fixed(4)), axes=[2, 3])


def reverse_sequence(b: Builder, x: Value) -> Value | None:
    if b.opset < 10 or x.rank < 3 or not x.static(0):
        return None
    lengths = [b.random.randint(1, x.shape[1].least) for _ in range(x.shape[0].number)]
    return b.op("ReverseSequence", [x, b.ints(*lengths)], x.shape, batch_axis=0, time_axis=1)


def global_lp_pool(b: Builder, x: Value) -> Value | None:
    if x.rank < 3:
        return None
    return b.op("GlobalLpPool", [x], (*x.shape[:2], *(ONE for _ in x.shape[2:])), p=b.random.choice([None, 1, 3]))


def dropout_with_mask(b: Builder, x: Value) -> Value | None:
    names = b.raw("Dropout", [x.name], 2)
    return b.add(names[0], x.shape, [x])


def max_pool_with_indices(b: Builder, x: Value) -> Value | None:
    """A MaxPool whose indices are read too: unpooled again, or only an output that nobody reads."""
    if b.opset < 8 or x.rank != 4 or not x.static(1, 2, 3) or any(d.number % 2 for d in x.shape[2:]):
        return None
    half = (*x.shape[:2], *(fixed(d.number // 2) for d in x.shape[2:]))
    values, indices = b.raw("MaxPool", [x.name], 2, kernel_shape=[2, 2], strides=[2, 2])
    pooled = b.add(values, half, [x])
    if b.opset < 9 or not x.static(0) or b.chance(0.5):
        return pooled
    return b.op("MaxUnpool", [pooled, indices], x.shape, kernel_shape=[2, 2], strides=[2, 2])


def modulo(b: Builder, x: Value) -> Value | None:
    return None if b.opset < 10 else b.op("Mod", [x, b.number(1.3)], x.shape, fmod=1)


def cast_like(b: Builder, x: Value) -> Value | None:
    if b.opset < 15 or not b.pool:
        return None
    wide = b.raw("Cast", [x.name], to=TensorProto.DOUBLE)[0]
    return b.op("CastLike", [wide, b.random.choice(b.pool)], x.shape)


def hardmax(b: Builder, x: Value) -> Value | None:
    """Values times the one-hot of their largest."""
    if x.rank < 2:
        return None
    one = b.op("Hardmax", [x], x.shape, axis=x.rank - 1)
    return b.op("Mul", [x, one], x.shape)


def fused_attention(b: Builder, x: Value) -> Value | None:
    if b.opset < 23 or x.rank != 3 or not x.static(2) or x.shape[2].number % 2:
        return None
    d = x.shape[2].number
    q, k = (b.op("MatMul", [x, b.weights(d, d, scale=1 / np.sqrt(d))], x.shape) for _ in range(2))
    causal = b.random.choice([None, 1])
    return b.op("Attention", [q, k, x], x.shape, q_num_heads=2, kv_num_heads=2, is_causal=causal)


def heads(b: Builder, x: Value) -> Value | None:
    """Multi-head attention as exporters write it: split into heads, products, joined, sizes read from the graph."""
    if x.rank != 3 or not x.static(2) or x.shape[2].number % 2:
        return None
    n, t, d = x.shape
    half = d.number // 2
    split, turned = (n, t, fixed(2), fixed(half)), (n, fixed(2), t, fixed(half))

    def head(scale: float) -> Value:
        y = b.op("MatMul", [x, b.weights(d.number, d.number, scale=scale)], x.shape)
        sizes = b.shape_of(x, [b.dim(x, 0), -1, 2, half])
        return b.op("Transpose", [b.op("Reshape", [y, sizes], split)], turned, perm=[0, 2, 1, 3])

    q, k, v = head(0.5), head(0.5), head(0.7)
    k = b.op("Transpose", [k], (n, fixed(2), fixed(half), t), perm=[0, 1, 3, 2])
    scores = b.op("MatMul", [q, k], (n, fixed(2), t, t))
    weights = b.op("Softmax", [scores], scores.shape, axis=3)
    mixed = b.op("Transpose", [b.op("MatMul", [weights, v], turned)], split, perm=[0, 2, 1, 3])
    return b.op("Reshape", [mixed, b.shape_of(x, [b.dim(x, 0), b.dim(x, 1), d.number])], x.shape)


def windows_of_rows(b: Builder, x: Value) -> Value | None:
    """Two axes swapped into blocks and back, as windowed attention does: space to depth by Reshape and Transpose."""
    if x.rank != 4 or not x.static(1) or any(e % 2 for d in x.shape[2:] for e in d.extents):
        return None
    n, c, h, w = x.shape
    halves = [d.map(lambda e: e // 2) for d in (h, w)]
    if not (halves[0].static and halves[1].static):
        return None
    rows, columns = halves[0].number, halves[1].number
    shape = (n, c, fixed(rows), fixed(2), fixed(columns), fixed(2))
    y = b.op("Reshape", [x, b.shape_of(x, [b.dim(x, 0), c.number, rows, 2, columns, 2])], shape)
    y = b.op("Transpose", [y], (n, shape[2], shape[4], c, shape[3], shape[5]), perm=[0, 2, 4, 1, 3, 5])
    tokens, width = rows * columns, c.number * 4
    return b.op("Reshape", [y, b.shape_of(x, [b.dim(x, 0), tokens, width])], (n, fixed(tokens), fixed(width)))


def stacked(b: Builder, x: Value) -> Value | None:
    """Values of one shape stacked on a new axis: Unsqueeze and Concat."""
    if not 1 <= x.rank <= 3:
        return None
    found = [v for v in b.pool if same(v.shape, x.shape)]
    chosen = [x, *b.random.choices(found, k=b.random.choice([1, 2]))]
    parts = [b.unsqueeze(v.name, 1) for v in chosen]
    b.used.update(v.name for v in chosen)
    shape = (x.shape[0], Dim((len(parts),) * len(x.shape[0].extents)), *x.shape[1:])
    return b.op("Concat", parts, shape, axis=1)


PATTERNS = {
    resize_like: 2, resize_by_shape: 2, sequence_of_two: 1, center_crop_pad: 1, reverse_sequence: 1, global_lp_pool: 1,
    dropout_with_mask: 1, max_pool_with_indices: 2, modulo: 1, cast_like: 1, hardmax: 1, fused_attention: 3, heads: 3,
    windows_of_rows: 2, stacked: 2,
}  # fmt: skip
