"""Operators that move, cut, join or choose: reshapes with computed shapes, slices, gathers, pads, conditions."""

from __future__ import annotations

import numpy as np

from .builder import ONE, Builder, Dim, Shape, Value, fixed, same


def transpose(b: Builder, x: Value) -> Value | None:
    if x.rank < 2:
        return None
    perm = list(range(x.rank))
    tail = perm[1:] if b.chance(0.9) else perm
    b.random.shuffle(tail)
    perm = tail if len(tail) == x.rank else [0, *tail]
    return b.op("Transpose", [x], tuple(x.shape[p] for p in perm), perm=perm)


def _entry(b: Builder, x: Value, axis: int, at: int) -> int | str:
    """How an extent that is kept stands in the shape of a Reshape: a number, zero (copied), or computed."""
    d = x.shape[axis]
    if axis == at and b.chance(0.3):
        return 0
    return d.number if d.static and b.chance(0.8) else b.dim(x, axis)


def merge_axes(b: Builder, x: Value) -> Value | None:
    """Reshape that folds two neighbouring axes into one, by -1 or by a computed product."""
    if x.rank < 2:
        return None
    at = b.random.randrange(1 if x.rank > 2 and b.chance(0.9) else 0, x.rank - 1)
    one, two = x.shape[at], x.shape[at + 1]
    both = Dim(tuple(p * q for p, q in zip(one.extents, two.extents)), "?" if one.name or two.name else "")
    shape: Shape = (*x.shape[:at], both, *x.shape[at + 2 :])
    dims: list[int | str] = [_entry(b, x, a, a) for a in range(at)]
    if b.chance(0.7):
        dims.append(-1)
    elif both.static:
        dims.append(both.number)
    else:
        dims.append(b.raw("Mul", [b.dim(x, at), b.dim(x, at + 1)])[0])
    dims += [_entry(b, x, a, a - 1) for a in range(at + 2, x.rank)]
    return b.op("Reshape", [x, b.shape_of(x, dims)], shape)


def split_axis(b: Builder, x: Value) -> Value | None:
    """Reshape that splits an axis in two, as multi-head attention does."""
    found = [a for a, d in enumerate(x.shape) if d.static and d.number > 1] if 2 <= x.rank <= 4 else []
    if not found:
        return None
    at = b.random.choice(found)
    extent = x.shape[at].number
    first = b.random.choice([f for f in range(1, extent + 1) if extent % f == 0])
    shape: Shape = (*x.shape[:at], fixed(first), fixed(extent // first), *x.shape[at + 1 :])
    dims: list[int | str] = [_entry(b, x, a, a) for a in range(at)]
    dims += [first, extent // first]
    dims += [_entry(b, x, a, a + 1) for a in range(at + 1, x.rank)]
    numbers = [i for i, d in enumerate(dims) if isinstance(d, int) and d > 0]
    if numbers and b.chance(0.4):
        dims[b.random.choice(numbers)] = -1
    return b.op("Reshape", [x, b.shape_of(x, dims)], shape)


def flatten(b: Builder, x: Value) -> Value | None:
    if x.rank < 2:
        return None
    axis = 1 if b.chance(0.8) else b.random.randrange(x.rank + 1)

    def product(dims: Shape) -> Dim:
        extents = tuple(int(np.prod([d.extents[w] for d in dims])) for w in range(2))
        return Dim(extents, "?" if any(d.name for d in dims) else "")

    first = x.shape[0] if axis == 1 else product(x.shape[:axis])
    shape = (first, product(x.shape[axis:]))
    if b.chance(0.4) and axis == 1:
        return b.op("Reshape", [x, b.shape_of(x, [b.dim(x, 0) if b.chance(0.6) else 0, -1])], shape)
    return b.op("Flatten", [x], shape, axis=None if axis == 1 and b.chance(0.5) else axis)


def unsqueeze(b: Builder, x: Value) -> Value | None:
    if x.rank > 4:
        return None
    axis = b.random.randrange(1, x.rank + 1) if x.rank else 0
    return b.add(b.unsqueeze(x.name, axis), (*x.shape[:axis], ONE, *x.shape[axis:]), [x])


def squeeze(b: Builder, x: Value) -> Value | None:
    ones = [a for a, d in enumerate(x.shape) if d.static and d.number == 1 and a > 0]
    if not ones:
        return None
    axis = b.random.choice(ones)
    rest = (*x.shape[:axis], *x.shape[axis + 1 :])
    if all(e != 1 for d in rest for e in d.extents) and b.chance(0.3):
        return b.op("Squeeze", [x], rest)
    return b.add(b.squeeze(x.name, axis), rest, [x])


def slice_axis(b: Builder, x: Value) -> Value | None:
    found = [a for a, d in enumerate(x.shape) if d.least >= 2 and (a or b.chance(0.1))]
    if not found:
        return None
    axis = b.random.choice(found)
    d = x.shape[axis]
    start = b.random.randrange(d.least - 1)
    stop = b.random.choice([2**31 - 1, d.least, -1 if start + 1 < d.least else d.least, 9223372036854775807])
    step = b.random.choice([1, 1, 2]) if b.opset >= 10 else 1
    if b.opset >= 10 and b.chance(0.15):
        start, stop, step = -1, -9223372036854775807, -1

    extents = tuple(len(range(e)[start : (None if abs(stop) > 2**30 else stop) : step]) for e in d.extents)
    shape = (*x.shape[:axis], Dim(extents, "?" if d.name else ""), *x.shape[axis + 1 :])
    where = b.axis(axis, x.rank) if b.opset >= 10 else axis
    return b.add(b.slice_name(x.name, where, start, stop, step), shape, [x])


def slice_two(b: Builder, x: Value) -> Value | None:
    """A crop of two axes at once."""
    found = [a for a, d in enumerate(x.shape) if d.least >= 3 and a]
    if len(found) < 2:
        return None
    axes = found[-2:]
    shape = tuple(d.map(lambda e: e - 2) if a in axes else d for a, d in enumerate(x.shape))
    if b.opset < 10:
        return b.op("Slice", [x], shape, axes=axes, starts=[1, 1], ends=[-1, -1])
    return b.op("Slice", [x, b.ints(1, 1), b.ints(-1, -1), b.ints(*axes)], shape)


def computed_slice(b: Builder, x: Value) -> Value | None:
    """A slice that ends in the middle of an extent read from the graph."""
    found = [a for a, d in enumerate(x.shape) if d.least >= 2 and a]
    if not found or b.opset < 10:
        return None
    axis = b.random.choice(found)
    half = b.raw("Div", [b.dim(x, axis), b.ints(2)])[0]
    low, high = b.chance(0.5), x.shape[axis]
    d = high.map(lambda e: e // 2 if low else e - e // 2)
    start, stop = (b.ints(0), half) if low else (half, b.dim(x, axis))
    return b.op("Slice", [x, start, stop, b.ints(axis)], (*x.shape[:axis], d, *x.shape[axis + 1 :]))


def gather(b: Builder, x: Value) -> Value | None:
    found = [a for a, d in enumerate(x.shape) if a or b.chance(0.1)]
    if not found:
        return None
    axis = b.random.choice(found)
    least = x.shape[axis].least
    before, after = x.shape[:axis], x.shape[axis + 1 :]
    low = -least if b.opset >= 11 else 0
    if b.chance(0.3):
        index = b.integer(b.random.randrange(low, least))
        return b.op("Gather", [x, index], (*before, *after), axis=axis)
    indices = [b.random.randrange(low, least) for _ in range(b.random.randint(1, 4))]
    if b.chance(0.2) and x.rank < 5:
        array = b.constant(np.array([indices, indices[::-1]], dtype=np.int64))
        return b.op("Gather", [x, array], (*before, fixed(2), fixed(len(indices)), *after), axis=axis)
    kind = np.int32 if b.chance(0.2) else np.int64
    chosen = b.constant(np.array(indices, dtype=kind))
    return b.op("Gather", [x, chosen], (*before, fixed(len(indices)), *after), axis=axis)


def gather_elements(b: Builder, x: Value) -> Value | None:
    if b.opset < 11 or x.rank < 2 or not all(d.static for d in x.shape) or x.rank > 4:
        return None
    axis = b.random.randrange(x.rank)
    shape = [d.number for d in x.shape]
    shape[axis] = b.random.randint(1, 3)
    indices = b.numbers.integers(-x.shape[axis].number, x.shape[axis].number, shape)
    return b.op("GatherElements", [x, b.constant(indices)], tuple(map(fixed, shape)), axis=axis)


def gather_nd(b: Builder, x: Value) -> Value | None:
    if b.opset < 12 or x.rank < 3:
        return None
    indices = b.numbers.integers(0, x.shape[0].least, (2, 1))
    return b.op("GatherND", [x, b.constant(indices)], (fixed(2), *x.shape[1:]))


def scatter_elements(b: Builder, x: Value) -> Value | None:
    if b.opset < 11 or x.rank < 2 or not x.static(*range(x.rank)):
        return None
    axis = b.random.randrange(x.rank)
    shape = [d.number for d in x.shape]
    indices = np.argsort(b.numbers.random(shape), axis=axis)
    reduction = b.random.choice([None, "add"]) if b.opset >= 16 else None
    updates = b.pick(shape=x.shape) or x
    return b.op("ScatterElements", [x, b.constant(indices), updates], x.shape, axis=axis, reduction=reduction)


def scatter_nd(b: Builder, x: Value) -> Value | None:
    if b.opset < 11 or x.rank < 2 or not x.static(*range(x.rank)):
        return None
    row = b.numbers.integers(0, x.shape[0].number, (1, 1))
    updates = b.weights(1, *(d.number for d in x.shape[1:]))
    return b.op("ScatterND", [x, b.constant(row), updates], x.shape)


def split(b: Builder, x: Value) -> Value | None:
    found = [a for a, d in enumerate(x.shape) if a and d.static and d.number >= 2]
    if not found:
        return None
    axis = b.random.choice(found)
    extent = x.shape[axis].number
    first = b.random.randint(1, extent - 1)
    parts = [extent // 2] * 2 if extent % 2 == 0 and b.chance(0.4) else [first, extent - first]
    even = parts[0] == parts[1] and b.chance(0.5)
    where = b.axis(axis, x.rank)
    if b.opset < 13:
        names = b.raw("Split", [x.name], 2, axis=where, split=None if even else parts)
    elif even and b.opset >= 18:
        names = b.raw("Split", [x.name], 2, axis=where, num_outputs=2)
    else:
        names = b.raw("Split", [x.name, *([] if even else [b.ints(*parts)])], 2, axis=where)
    values = [b.add(n, (*x.shape[:axis], fixed(p), *x.shape[axis + 1 :]), [x]) for n, p in zip(names, parts)]
    return b.random.choice(values)


def concat(b: Builder, x: Value) -> Value | None:
    if x.rank < 2:
        return None
    axis = b.random.randrange(1, x.rank)
    others = [
        v for v in b.pool
        if v.rank == x.rank and same(v.shape[:axis] + v.shape[axis + 1 :], x.shape[:axis] + x.shape[axis + 1 :])
    ]  # fmt: skip
    chosen = [x, b.random.choice(others)]
    if b.chance(0.3):
        chosen.append(b.random.choice(others))
    b.random.shuffle(chosen)
    dims = [v.shape[axis] for v in chosen]
    extents = tuple(sum(d.extents[w] for d in dims) for w in range(2))
    joined = Dim(extents, "?" if any(d.name for d in dims) else "")
    if max(extents) > 24:
        return None
    return b.op("Concat", chosen, (*x.shape[:axis], joined, *x.shape[axis + 1 :]), axis=b.axis(axis, x.rank))


def pad(b: Builder, x: Value) -> Value | None:
    if x.rank < 2 or any(d.least < 2 for d in x.shape[2:]):
        return None
    mode = b.random.choice(["constant", "constant", "reflect", "edge", *(["wrap"] if b.opset >= 19 else [])])
    free = range(2 if x.rank > 2 else 1, x.rank)
    low = [b.random.choice([0, 1, 1, -1]) if a in free else 0 for a in range(x.rank)]
    high = [b.random.choice([0, 1]) if a in free else 0 for a in range(x.rank)]
    if any(d.least + p + q < 1 or (d.least < 2 and (p or q)) for d, p, q in zip(x.shape, low, high)):
        return None
    if mode != "constant" and min(low) < 0:
        low = [max(p, 0) for p in low]
    shape = tuple(d.map(lambda e, r=p + q: e + r) for d, p, q in zip(x.shape, low, high))
    value = 0.5 if mode == "constant" and b.chance(0.5) else None
    if b.opset < 11:
        return b.op("Pad", [x], shape, mode=mode, pads=low + high, value=value)
    if b.opset >= 18 and b.chance(0.3):
        axes = list(free)
        pads = b.ints(*(low[a] for a in axes), *(high[a] for a in axes))
        return b.op("Pad", [x, pads, "" if value is None else b.number(value), b.ints(*axes)], shape, mode=mode)
    return b.op("Pad", [x, b.ints(*low, *high), *([] if value is None else [b.number(value)])], shape, mode=mode)


def expand(b: Builder, x: Value) -> Value | None:
    ones = [a for a, d in enumerate(x.shape) if d.static and d.number == 1]
    if b.opset < 8 or not ones:
        return None
    shape = tuple(fixed(b.random.choice([2, 3])) if a in ones and b.chance(0.7) else d for a, d in enumerate(x.shape))
    dims: list[int | str] = []
    for a, d in enumerate(shape):
        keep = a not in ones or (d.static and d.number == 1)
        dims.append(b.random.choice([1, b.dim(x, a)]) if keep else d.number)
    return b.op("Expand", [x, b.shape_of(x, dims)], shape)


def expand_like(b: Builder, x: Value) -> Value | None:
    """Expand to the shape of another value, read at run time."""
    other = b.pick(rank=x.rank)
    if b.opset < 8 or other is None or other.name == x.name:
        return None
    fits = all(p.extents == q.extents or (p.static and p.number == 1) for p, q in zip(x.shape, other.shape))
    return b.op("Expand", [x, b.raw("Shape", [other.name])[0]], other.shape) if fits else None


def tile(b: Builder, x: Value) -> Value | None:
    if x.rank < 2 or max(max(d.extents) for d in x.shape) > 12:
        return None
    repeats = [1, *(b.random.choice([1, 1, 2]) for _ in range(x.rank - 1))]
    shape = tuple(d.map(lambda e, r=r: e * r) for d, r in zip(x.shape, repeats))
    return b.op("Tile", [x, b.ints(*repeats)], shape)


def condition(b: Builder, x: Value, over: Value) -> str:
    """A bool tensor shaped like ``over``: where ``x`` is above a number, or not."""
    compare = b.random.choice(["Greater", "Less", *(["GreaterOrEqual", "LessOrEqual"] if b.opset >= 12 else [])])
    if b.opset < 9:
        compare = b.random.choice(["Greater", "Less"])
    found = b.raw(compare, [over.name, b.number(round(b.random.uniform(-0.5, 0.5), 3))])[0]
    return b.raw("Not", [found])[0] if b.chance(0.2) else found


def where(b: Builder, x: Value) -> Value | None:
    if b.opset < 9:
        return None
    other = b.pick(shape=x.shape) or x
    over = b.random.choice([x, other])
    chosen = condition(b, x, over)
    operands: list[Value | str] = [x, b.number(0.2) if b.chance(0.5) else other]
    if b.chance(0.5):
        operands.reverse()
    return b.op("Where", [chosen, *operands], x.shape)


def masked(b: Builder, x: Value) -> Value | None:
    """x * Cast(x > c), as exporters of older opsets wrote Where."""
    mask = b.raw("Cast", [condition(b, x, x)], to=1)[0]
    return b.op("Mul", [x, mask], x.shape)


def top_k(b: Builder, x: Value) -> Value | None:
    if x.rank < 2:
        return None
    axis = b.random.randrange(1, x.rank)
    k = b.random.randint(1, min(3, x.shape[axis].least))
    shape = (*x.shape[:axis], fixed(k), *x.shape[axis + 1 :])
    smallest = {"largest": b.random.choice([None, 0, 1])} if b.opset >= 11 else {}
    if b.opset < 10:
        names = b.raw("TopK", [x.name], 2, axis=axis, k=k)
    else:
        names = b.raw("TopK", [x.name, b.ints(k)], 2, axis=axis, **smallest)
    return b.add(names[0], shape, [x])


def arg_max_chosen(b: Builder, x: Value) -> Value | None:
    """The maximum fetched by its index, and an argmax on the side."""
    if b.opset < 11 or x.rank < 2:
        return None
    axis = b.random.randrange(1, x.rank)
    index = b.raw("ArgMax", [x.name], axis=axis, keepdims=1)[0]
    shape = (*x.shape[:axis], ONE, *x.shape[axis + 1 :])
    return b.op("GatherElements", [x, index], shape, axis=axis)


def cumulative_sum(b: Builder, x: Value) -> Value | None:
    if b.opset < 11 or x.rank < 2:
        return None
    axis = b.random.randrange(1, x.rank)
    attributes = {"exclusive": b.random.choice([None, 1]), "reverse": b.random.choice([None, 1])}
    return b.op("CumSum", [x, b.integer(axis)], x.shape, **attributes)


def trilu(b: Builder, x: Value) -> Value | None:
    if b.opset < 14 or x.rank < 2:
        return None
    more = [b.integer(b.random.choice([-1, 0, 1]))] if b.chance(0.5) else []
    return b.op("Trilu", [x, *more], x.shape, upper=b.random.choice([None, 0]))


def size_scaled(b: Builder, x: Value) -> Value | None:
    """Divided by an extent read from the graph and cast to float."""
    if x.rank < 1:
        return None
    extent = b.raw("Cast", [b.dim(x, b.random.randrange(x.rank))], to=1)[0]
    return b.op("Div", [x, extent], x.shape)


def positions(b: Builder, x: Value) -> Value | None:
    """Plus a row of a table of positions as long as the sequence: Shape, Slice or Range, Gather, Add."""
    if x.rank != 3 or not x.static(2):
        return None
    table, length = b.weights(16, x.shape[2].number), b.dim(x, 1)
    if b.opset >= 11 and b.chance(0.5):
        steps = b.raw("Range", [b.integer(0), b.squeeze(length, 0), b.integer(1)])[0]
        rows = b.raw("Gather", [table, steps])[0]
    elif b.opset >= 10:
        rows = b.raw("Slice", [table, b.ints(0), length, b.ints(0)])[0]
    else:
        return None
    if max(x.shape[1].extents) > 16:
        return None
    return b.op("Add", [x, rows], x.shape)


def zeros_joined(b: Builder, x: Value) -> Value | None:
    """A ConstantOfShape whose shape is computed, joined to the value: a class token."""
    if b.opset < 9 or x.rank != 3 or not x.static(2):
        return None
    shape = b.shape_of(x, [b.dim(x, 0), 1, x.shape[2].number])
    token = b.raw("ConstantOfShape", [shape])[0]
    if b.chance(0.5):
        token = b.raw("Add", [token, b.weights(1, 1, x.shape[2].number)])[0]
    return b.op("Concat", [token, x.name], (x.shape[0], x.shape[1].map(lambda e: e + 1), x.shape[2]), axis=1)


TENSORS = {
    transpose: 4, merge_axes: 4, split_axis: 4, flatten: 2, unsqueeze: 2, squeeze: 3, slice_axis: 4, slice_two: 1,
    computed_slice: 2, gather: 4, gather_elements: 1, gather_nd: 1, scatter_elements: 1, scatter_nd: 1, split: 3,
    concat: 4, pad: 4, expand: 3, expand_like: 2, tile: 2, where: 4, masked: 1, top_k: 2, arg_max_chosen: 1,
    cumulative_sum: 1, trilu: 1, size_scaled: 1, positions: 2, zeros_joined: 1,
}  # fmt: skip
