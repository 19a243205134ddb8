"""Operators on tensors of any rank: activations, arithmetic with broadcasting, reductions, products."""

from __future__ import annotations

import numpy as np

from .builder import Builder, Shape, Value, broadcast, fixed

_PLAIN = {
    "Relu": {}, "Sigmoid": {}, "Tanh": {}, "Softplus": {}, "Softsign": {}, "Elu": {"alpha": 0.7}, "Selu": {},
    "LeakyRelu": {"alpha": 0.2}, "HardSigmoid": {"alpha": 0.3}, "Erf": {}, "Neg": {}, "Abs": {}, "Identity": {},
    "Sin": {}, "Cos": {}, "Atan": {}, "Asinh": {}, "ThresholdedRelu": {"alpha": 0.3}, "Celu": {"alpha": 1.5},
    "HardSwish": {}, "Mish": {}, "Gelu": {}, "Shrink": {"lambd": 0.3, "bias": 0.1}, "Sign": {}, "Floor": {},
    "Round": {}, "Swish": {}, "Dropout": {},
}  # fmt: skip


def activation(b: Builder, x: Value) -> Value | None:
    op_type = b.random.choice([*_PLAIN, "Relu", "Relu", "Sigmoid"])
    if not b.has(op_type):
        return None
    attributes = _PLAIN[op_type] if b.chance(0.7) else {}
    if op_type == "Gelu" and b.chance(0.5):
        attributes = {"approximate": "tanh"}
    return b.op(op_type, [x], x.shape, **attributes)


def written_out_activation(b: Builder, x: Value) -> Value | None:
    """Swish, GELU, hard swish and mish in simpler operators, as exporters write them."""
    way = b.random.choice(["swish", "gelu", "hardswish", "mish"])
    if way == "swish":
        return b.op("Mul", [x, b.op("Sigmoid", [x], x.shape)], x.shape)
    if way == "mish":
        return b.op("Mul", [x, b.op("Tanh", [b.op("Softplus", [x], x.shape)], x.shape)], x.shape)
    if way == "hardswish":
        shifted = b.op("Add", [x, b.number(3.0)], x.shape)
        clipped = clip_between(b, shifted, 0.0, 6.0)
        return b.op("Div", [b.op("Mul", [x, clipped], x.shape), b.number(6.0)], x.shape)
    if not b.has("Erf"):
        return None
    erf = b.op("Erf", [b.op("Div", [x, b.number(1.4142135)], x.shape)], x.shape)
    one = b.op("Add", [erf, b.number(1.0)], x.shape)
    return b.op("Mul", [b.op("Mul", [x, one], x.shape), b.number(0.5)], x.shape)


def clip_between(b: Builder, x: Value, low: float | None, high: float | None) -> Value:
    if b.opset < 11:
        return b.op("Clip", [x], x.shape, min=low, max=high)
    bounds = ["" if low is None else b.number(low), "" if high is None else b.number(high)]
    while bounds and not bounds[-1]:
        bounds.pop()
    return b.op("Clip", [x, *bounds], x.shape)


def clip(b: Builder, x: Value) -> Value | None:
    return clip_between(b, x, b.random.choice([None, -0.7, 0.0]), b.random.choice([None, 0.8, 6.0]))


def prelu(b: Builder, x: Value) -> Value | None:
    slope = _partner_constant(b, x, aligned=True)
    return None if slope is None else b.op("PRelu", [x, slope], x.shape)


def _partner_constant(b: Builder, x: Value, *, aligned: bool = False, positive: bool = False) -> str | None:
    """A constant that broadcasts to the shape of ``x``."""
    if x.rank == 0:
        return b.number(0.7)
    first = b.random.randint(0, x.rank)
    shape = [d.number if d.static and b.chance(0.6) else 1 for d in x.shape[first:]]
    return b.positive_weights(*shape) if positive else b.weights(*shape)


def positive(b: Builder, x: Value) -> Value:
    """A value well above zero computed from ``x``."""
    way = b.random.choice(["Sigmoid", "square", "Abs", "Softplus"])
    y = b.op("Mul", [x, x], x.shape) if way == "square" else b.op(way, [x], x.shape)
    return b.op("Add", [y, b.number(0.5)], x.shape)


def of_positive(b: Builder, x: Value) -> Value | None:
    op_type = b.random.choice(["Sqrt", "Log", "Reciprocal", "Pow"])
    y = positive(b, x)
    more = [b.number(b.random.choice([0.5, -0.5, 1.5]))] if op_type == "Pow" else []
    return b.op(op_type, [y, *more], x.shape)


def power(b: Builder, x: Value) -> Value | None:
    return b.op("Pow", [x, b.number(b.random.choice([2.0, 3.0, 2.0]))], x.shape)


def exponential(b: Builder, x: Value) -> Value | None:
    return b.op("Exp", [clip_between(b, x, -3.0, 1.5)], x.shape)


def with_constant(b: Builder, x: Value) -> Value | None:
    op_type = b.random.choice(["Add", "Sub", "Mul", "Div"])
    other = _partner_constant(b, x, positive=op_type == "Div")
    if other is None:
        return None
    operands = [x, other] if op_type == "Div" or b.chance(0.6) else [other, x]
    return b.op(op_type, operands, x.shape)


def with_value(b: Builder, x: Value) -> Value | None:
    op_type = b.random.choice(["Add", "Add", "Sub", "Mul", "Mul", "Div", "Max", "Min", "Sum", "Mean"])
    other = b.pick(fits=x.shape)
    if other is None or (op_type in ("Max", "Min", "Sum", "Mean") and b.opset < 8):
        return None
    shape = broadcast(x.shape, other.shape)
    assert shape is not None
    if op_type == "Div":
        return b.op("Div", [x, positive(b, other)], shape)
    operands = [x, other] if b.chance(0.5) else [other, x]
    if op_type in ("Max", "Min", "Sum", "Mean") and b.chance(0.3):
        third = b.pick(fits=shape)
        if third is not None:
            operands.append(third)
            shape = broadcast(shape, third.shape)
            assert shape is not None
    return b.op(op_type, operands, shape)


def outer(b: Builder, x: Value) -> Value | None:
    """A value with one of its own reductions, or both with an axis added, so that both broadcast."""
    if x.rank < 2 or x.rank > 4:
        return None
    axes = [a for a in range(1, x.rank) if b.chance(0.6)] or [x.rank - 1]
    mean = b.reduce(b.random.choice(["ReduceMean", "ReduceMax", "ReduceSum"]), x, axes, True)
    return b.op(b.random.choice(["Sub", "Mul", "Add"]), [x, mean], x.shape)


_REDUCTIONS = [
    "ReduceMean", "ReduceMean", "ReduceSum", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2",
    "ReduceSumSquare", "ReduceLogSumExp", "ReduceProd",
]  # fmt: skip


def reduction(b: Builder, x: Value) -> Value | None:
    if x.rank < 2:
        return None
    op_type = b.random.choice([*_REDUCTIONS, "ReduceLogSum"])
    axes = [a for a in range(1, x.rank) if b.chance(0.5)] or [x.rank - 1]
    if op_type == "ReduceLogSum":
        x = positive(b, x)
    if b.opset >= 11 and b.chance(0.3):
        axes = [a - x.rank for a in axes]
    if b.chance(0.05):
        axes = [0]
    new_form = b.opset >= (13 if op_type == "ReduceSum" else 18)
    if new_form and b.chance(0.1):
        return b.op(op_type, [x], x.shape, noop_with_empty_axes=1)
    if new_form and b.chance(0.1):
        return b.op(op_type, [x, b.ints()], x.shape, noop_with_empty_axes=1)
    if b.chance(0.05):
        return b.reduce(op_type, x, None, True)
    return b.reduce(op_type, x, axes, b.chance(0.6))


def softmax(b: Builder, x: Value) -> Value | None:
    if x.rank < 2:
        return None
    op_type = b.random.choice(["Softmax", "Softmax", "LogSoftmax"])
    axis = b.random.randrange(1, x.rank)
    axis = axis - x.rank if b.opset >= 11 and b.chance(0.4) else axis
    return b.op(op_type, [x], x.shape, axis=None if b.chance(0.2) else axis)


def written_out_softmax(b: Builder, x: Value) -> Value | None:
    if x.rank < 2:
        return None
    axis = b.random.randrange(1, x.rank)
    if b.chance(0.6):
        x = b.op("Sub", [x, b.reduce("ReduceMax", x, [axis], True)], x.shape)
    else:
        x = clip_between(b, x, -5.0, 5.0)
    e = b.op("Exp", [x], x.shape)
    return b.op("Div", [e, b.reduce("ReduceSum", e, [axis], True)], x.shape)


def layer_normalization(b: Builder, x: Value) -> Value | None:
    if x.rank < 2 or not x.static(x.rank - 1) or x.shape[-1].number < 3:
        return None
    d = x.shape[-1].number
    if b.has("RMSNormalization") and b.chance(0.3):
        return b.op("RMSNormalization", [x, b.weights(d)], x.shape, axis=-1, epsilon=0.01)
    if b.has("LayerNormalization") and b.chance(0.6):
        bias = [b.weights(d)] if b.chance(0.7) else []
        axis = b.random.choice([None, -1])
        return b.op("LayerNormalization", [x, b.weights(d), *bias], x.shape, axis=axis, epsilon=0.01)
    mean = b.reduce("ReduceMean", x, [x.rank - 1], True)
    centred = b.op("Sub", [x, mean], x.shape)
    square = b.op("Pow", [centred, b.number(2.0)], x.shape) if b.chance(0.5) else b.op("Mul", [centred] * 2, x.shape)
    variance = b.reduce("ReduceMean", square, [x.rank - 1], True)
    deviation = b.op("Sqrt", [b.op("Add", [variance, b.number(0.01)], variance.shape)], variance.shape)
    normal = b.op("Div", [centred, deviation], x.shape)
    return b.op("Add", [b.op("Mul", [normal, b.weights(d)], x.shape), b.weights(d)], x.shape)


def lp_normalization(b: Builder, x: Value) -> Value | None:
    if x.rank < 2:
        return None
    shifted = b.op("Add", [x, b.number(2.0)], x.shape)
    axis = b.random.randrange(1, x.rank)
    return b.op("LpNormalization", [shifted], x.shape, p=b.random.choice([1, 2, None]), axis=axis)


def mean_variance(b: Builder, x: Value) -> Value | None:
    if x.rank != 4 or not b.has("MeanVarianceNormalization"):
        return None
    if any(np.prod([d.extents[w] for d in x.shape[2:]]) < 4 for w in range(2)):
        return None
    return b.op("MeanVarianceNormalization", [x], x.shape, axes=b.random.choice([[2, 3], [1, 2, 3], None]))


def matmul_weights(b: Builder, x: Value) -> Value | None:
    if x.rank < 2 or not x.static(x.rank - 1):
        return None
    k, m = x.shape[-1].number, b.random.choice([1, 2, 3, 4])
    if b.chance(0.1):
        return b.op("MatMul", [x, b.weights(k, scale=1 / np.sqrt(k))], x.shape[:-1])
    y = b.op("MatMul", [x, b.weights(k, m, scale=1 / np.sqrt(k))], (*x.shape[:-1], fixed(m)))
    return b.op("Add", [y, b.weights(m)], y.shape) if b.chance(0.5) else y


def matmul_weights_first(b: Builder, x: Value) -> Value | None:
    if x.rank < 2 or not x.static(x.rank - 2):
        return None
    k, m = x.shape[-2].number, b.random.choice([1, 2, 3])
    w = b.weights(m, k, scale=1 / np.sqrt(k))
    return b.op("MatMul", [w, x], (*x.shape[:-2], fixed(m), x.shape[-1]))


def matmul_values(b: Builder, x: Value) -> Value | None:
    """x @ y^T of two values, or x @ x^T."""
    if x.rank < 3:
        return None
    found = [
        v for v in b.pool if v.rank >= 2 and v.shape[-1].extents == x.shape[-1].extents
        and broadcast(v.shape[:-2], x.shape[:-2]) is not None and (v.rank == x.rank or v.rank == 2)
    ]  # fmt: skip
    y = b.random.choice(found)
    perm = [*range(y.rank - 2), y.rank - 1, y.rank - 2]
    flipped = b.op("Transpose", [y], (*y.shape[:-2], y.shape[-1], y.shape[-2]), perm=perm)
    batch = broadcast(x.shape[:-2], y.shape[:-2])
    assert batch is not None
    shape: Shape = (*batch, x.shape[-2], y.shape[-2])
    product = b.op("MatMul", [x, flipped], shape)
    return b.op("Mul", [product, b.number(0.3)], shape)


def attention(b: Builder, x: Value) -> Value | None:
    """Scaled dot-product attention of one head, written out."""
    if x.rank != 3 or not x.static(2):
        return None
    d = x.shape[2].number
    q, k, v = (b.op("MatMul", [x, b.weights(d, d, scale=1 / np.sqrt(d))], x.shape) for _ in range(3))
    k = b.op("Transpose", [k], (x.shape[0], x.shape[2], x.shape[1]), perm=[0, 2, 1])
    scores = b.op("MatMul", [q, k], (x.shape[0], x.shape[1], x.shape[1]))
    scores = b.op("Div", [scores, b.number(float(np.sqrt(d)))], scores.shape)
    weights = b.op("Softmax", [scores], scores.shape, axis=2 if b.opset < 11 else -1)
    return b.op("MatMul", [weights, v], x.shape)


def gemm(b: Builder, x: Value) -> Value | None:
    if x.rank != 2:
        return None
    transposed = b.chance(0.15) and x.static(0)
    k = x.shape[0] if transposed else x.shape[1]
    if not k.static:
        return None
    m, rows = b.random.choice([1, 2, 3, 5]), x.shape[1] if transposed else x.shape[0]
    flip = b.chance(0.5)
    w = b.weights(*((m, k.number) if flip else (k.number, m)), scale=1 / np.sqrt(k.number))
    bias = [b.weights(*b.random.choice([(m,), (1, m), (1, 1), (1,)]))] if b.opset < 11 or b.chance(0.7) else []
    attributes = {"alpha": b.random.choice([None, 0.5]), "beta": b.random.choice([None, 2.0])}
    turned = {"transA": 1 if transposed else None, "transB": int(flip) or None}
    return b.op("Gemm", [x, w, *bias], (rows, fixed(m)), **turned, **attributes)


def einsum(b: Builder, x: Value) -> Value | None:
    if b.opset < 12 or x.rank not in (2, 3, 4) or not x.static(x.rank - 1):
        return None
    letters, d = "abcd"[: x.rank], x.shape[-1].number
    if b.chance(0.5):
        w = b.weights(d, 3, scale=1 / np.sqrt(d))
        shape = (*x.shape[:-1], fixed(3))
        return b.op("Einsum", [x, w], shape, equation=f"{letters},{letters[-1]}z->{letters[:-1]}z")
    if x.rank < 3:
        return None
    a, c = letters[-2], letters[-1]
    equation = f"{letters},{letters[:-2]}q{c}->{letters[:-2]}{a}q"
    y = b.op("Einsum", [x, x], (*x.shape[:-1], x.shape[-2]), equation=equation)
    return b.op("Mul", [y, b.number(0.3)], y.shape)


def recurrent(b: Builder, x: Value) -> Value | None:
    """LSTM, GRU or RNN over [N,T,D], transposed to [T,N,D] and back as exporters do."""
    if x.rank != 3 or not x.static(2):
        return None
    op_type = b.random.choice(["LSTM", "GRU", "RNN"])
    direction = b.random.choice(["forward", "reverse", "bidirectional"])
    gates, n = {"LSTM": 4, "GRU": 3, "RNN": 1}[op_type], 2 if direction == "bidirectional" else 1
    h, d = 2, x.shape[2].number
    steps = b.op("Transpose", [x], (x.shape[1], x.shape[0], x.shape[2]), perm=[1, 0, 2])
    w, r = b.weights(n, gates * h, d, scale=0.7), b.weights(n, gates * h, h, scale=0.7)
    bias = b.weights(n, 2 * gates * h, scale=0.3) if b.chance(0.6) else ""
    linear = b.random.choice([None, 1]) if op_type == "GRU" else None
    names = b.raw(op_type, [steps.name, w, r, bias], 2, hidden_size=h, direction=direction, linear_before_reset=linear)
    if b.chance(0.4):
        last = b.add(names[1], (fixed(n), x.shape[0], fixed(h)), [steps])
        return b.op("Transpose", [last], (x.shape[0], fixed(n), fixed(h)), perm=[1, 0, 2])
    every = b.add(names[0], (x.shape[1], fixed(n), x.shape[0], fixed(h)), [steps])
    back = b.op("Transpose", [every], (x.shape[0], x.shape[1], fixed(n), fixed(h)), perm=[2, 0, 1, 3])
    return b.op("Reshape", [back, b.ints(0, 0, -1)], (x.shape[0], x.shape[1], fixed(n * h)))


def retyped(b: Builder, x: Value) -> Value | None:
    """Through double and back, or through integers, which have no gradient."""
    to = b.random.choice([11, 11, 1, 7])
    middle = b.raw("Cast", [x.name], to=to)[0]
    b.used.add(x.name)
    return b.op("Cast", [middle], x.shape, to=1)


ARITHMETIC = {
    activation: 8, written_out_activation: 1, clip: 2, prelu: 1, of_positive: 2, power: 1, exponential: 1,
    with_constant: 4, with_value: 6, outer: 2, reduction: 4, softmax: 2, written_out_softmax: 1, layer_normalization: 2,
    lp_normalization: 1, mean_variance: 1, matmul_weights: 3, matmul_weights_first: 1, matmul_values: 1, attention: 1,
    gemm: 3, einsum: 1, recurrent: 1, retyped: 1,
}  # fmt: skip
