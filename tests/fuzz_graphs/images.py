"""Operators on images [N,C,...]: windows with every style of padding, normalisations, resampling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .builder import ONE, Builder, Dim, Shape, Value, fixed


def _pads(b: Builder, kernel: Sequence[int], spatial: Shape) -> tuple[str | None, list[int] | None]:
    """A style of padding: (auto_pad, pads); pads stay below the kernel, as ONNX Runtime asks of pools."""
    style = b.random.choice(["none", "same", "any", "SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"])
    if style == "none":
        return None, None
    if style in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        return style, None
    if style == "same":
        return None, [k // 2 for k in kernel] * 2
    pads = [b.random.randrange(k) for k in kernel] + [b.random.randrange(k) for k in kernel]
    return ("NOTSET" if style == "NOTSET" else None), pads


def _extent(e: int, k: int, s: int, d: int, before: int, after: int, auto: str | None, ceil: bool) -> int:
    reach = (k - 1) * d + 1
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        return -(-e // s)
    room = e + (0 if auto == "VALID" else before + after) - reach
    if room < 0:
        return 0
    if not ceil:
        return room // s + 1
    return -(-room // s) + 1


def _overhangs(extents: Dim, before: int, after: int, reach: int, stride: int) -> bool:
    """Whether, with ``ceil_mode``, the last window would start behind the image in some world."""
    return any(-(-(e + before + after - reach) // stride) * stride >= e + before for e in extents.extents)


def _windows(
    b: Builder, x: Value, kernel: list[int], *, dilate: bool, ceil: bool, pooling: bool = True
) -> tuple[dict[str, object], Shape]:
    """Attributes of a window that fits, and the spatial shape of its result; an empty shape if it does not.

    Some are left out: ONNX Runtime does not run SAME with dilated convolutions, or of pools with negative pads; and
    its extents are not those of ONNX's shape inference, so that onnxplain refuses them, for SAME with dilated pools and
    for ``ceil_mode`` where the last window would start behind the image.
    """
    n = len(kernel)
    spatial = x.shape[2:]
    auto, pads = _pads(b, kernel, spatial)
    strides = [b.random.choice([1, 1, 2, 3]) for _ in kernel]
    dilations = [b.random.choice([1, 1, 2]) for _ in kernel] if dilate and b.chance(0.4) else [1] * n
    ceil = ceil and b.chance(0.4)
    before, after = (pads[:n], pads[n:]) if pads else ([0] * n, [0] * n)
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        short = any(k < s for k, s in zip(kernel, strides))
        if max(dilations) > 1 or (short and pooling):
            return {}, ()
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
    if ceil and any(_overhangs(d, *g) for d, *g in zip(spatial, before, after, reach, strides)):
        return {}, ()
    out = tuple(
        d.map(lambda e, i=i: _extent(e, kernel[i], strides[i], dilations[i], before[i], after[i], auto, ceil))
        for i, d in enumerate(spatial)
    )
    attributes: dict[str, object] = {"auto_pad": auto, "pads": pads}
    attributes["strides"] = strides if strides != [1] * n or b.chance(0.3) else None
    attributes["dilations"] = dilations if dilations != [1] * n or (dilate and b.chance(0.2)) else None
    attributes["ceil_mode"] = 1 if ceil else None
    return attributes, out if all(d.least >= 1 for d in out) else ()


def _kernel(b: Builder, x: Value) -> list[int]:
    return [b.random.randint(1, min(3, d.least)) for d in x.shape[2:]]


def conv(b: Builder, x: Value) -> Value | None:
    if x.rank < 3 or not x.static(1):
        return None
    channels = x.shape[1].number
    group = b.random.choice([g for g in (1, 1, 2, 3, channels) if channels % g == 0])
    many = group * b.random.choice([1, 1, 2])
    kernel = [3, 3] if x.rank == 4 and min(d.least for d in x.shape[2:]) >= 3 and b.chance(0.4) else _kernel(b, x)
    attributes, spatial = _windows(b, x, kernel, dilate=True, ceil=False, pooling=False)
    if not spatial:
        return None
    w = b.weights(many, channels // group, *kernel, scale=1 / np.sqrt(channels // group * np.prod(kernel)))
    bias = [b.weights(many)] if b.chance(0.6) else []
    attributes.pop("ceil_mode")
    attributes["kernel_shape"] = kernel if b.chance(0.7) else None
    attributes["group"] = group if group != 1 or b.chance(0.3) else None
    return b.op("Conv", [x, w, *bias], (x.shape[0], fixed(many), *spatial), **attributes)


def conv_transpose(b: Builder, x: Value) -> Value | None:
    if x.rank < 3 or not x.static(1) or max(max(d.extents) for d in x.shape[2:]) > 7:
        return None
    channels = x.shape[1].number
    group = b.random.choice([g for g in (1, 1, channels) if channels % g == 0])
    each = b.random.choice([1, 2])
    n = x.rank - 2
    kernel = [b.random.randint(1, 3) for _ in range(n)]
    strides = [b.random.choice([1, 2, 3]) for _ in range(n)]
    dilations = [b.random.choice([1, 1, 2]) for _ in range(n)] if b.chance(0.3) else [1] * n
    extra = [b.random.randrange(max(s, d)) for s, d in zip(strides, dilations)] if b.chance(0.4) else [0] * n
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
    auto = b.random.choice(["SAME_UPPER", "SAME_LOWER", "VALID"]) if b.chance(0.3) else None
    pads = None if auto or b.chance(0.3) else [b.random.randrange(r) for r in reach + reach]
    if auto and auto.startswith("SAME"):
        if any(r < s for r, s in zip(reach, strides)) or any(extra):
            return None
        spatial = tuple(d.map(lambda e, s=s: e * s) for d, s in zip(x.shape[2:], strides))
    else:
        less = [0] * n if pads is None else [pads[i] + pads[n + i] for i in range(n)]
        spatial = tuple(
            d.map(lambda e, i=i: (e - 1) * strides[i] + reach[i] + extra[i] - less[i])
            for i, d in enumerate(x.shape[2:])
        )
    if any(d.least < 1 for d in spatial):
        return None
    w = b.weights(channels, each, *kernel, scale=1 / np.sqrt(channels // group * 2))
    bias = [b.weights(each * group)] if b.chance(0.5) else []
    return b.op(
        "ConvTranspose",
        [x, w, *bias],
        (x.shape[0], fixed(each * group), *spatial),
        kernel_shape=kernel if b.chance(0.7) else None,
        strides=strides,
        dilations=dilations if dilations != [1] * n else None,
        output_padding=extra if any(extra) else None,
        auto_pad=auto,
        pads=pads,
        group=group if group != 1 else None,
    )


def max_pool(b: Builder, x: Value) -> Value | None:
    if x.rank < 3:
        return None
    kernel = _kernel(b, x)
    attributes, spatial = _windows(b, x, kernel, dilate=b.opset >= 10, ceil=b.opset >= 10)
    if not spatial:
        return None
    return b.op("MaxPool", [x], (*x.shape[:2], *spatial), kernel_shape=kernel, **attributes)


def average_pool(b: Builder, x: Value) -> Value | None:
    if x.rank < 3:
        return None
    kernel = _kernel(b, x)
    attributes, spatial = _windows(b, x, kernel, dilate=b.opset >= 19, ceil=b.opset >= 10)
    if not spatial:
        return None
    attributes["count_include_pad"] = b.random.choice([None, 0, 1])
    return b.op("AveragePool", [x], (*x.shape[:2], *spatial), kernel_shape=kernel, **attributes)


def lp_pool(b: Builder, x: Value) -> Value | None:
    if x.rank < 3:
        return None
    kernel = _kernel(b, x)
    attributes, spatial = _windows(b, x, kernel, dilate=b.opset >= 18, ceil=b.opset >= 18)
    if not spatial:
        return None
    attributes["p"] = b.random.choice([2, 2, 3])
    return b.op("LpPool", [x], (*x.shape[:2], *spatial), kernel_shape=kernel, **attributes)


def global_pool(b: Builder, x: Value) -> Value | None:
    if x.rank < 3:
        return None
    op_type = b.random.choice(["GlobalAveragePool", "GlobalAveragePool", "GlobalMaxPool"])
    return b.op(op_type, [x], (*x.shape[:2], *(ONE for _ in x.shape[2:])))


def squeeze_and_excite(b: Builder, x: Value) -> Value | None:
    if x.rank != 4 or not x.static(1):
        return None
    channels = x.shape[1].number
    pooled = b.op("GlobalAveragePool", [x], (*x.shape[:2], ONE, ONE))
    gate = b.op("Conv", [pooled, b.weights(channels, channels, 1, 1)], pooled.shape)
    gate = b.op(b.random.choice(["Sigmoid", "HardSigmoid"]), [gate], gate.shape)
    return b.op("Mul", [x, gate] if b.chance(0.5) else [gate, x], x.shape)


def batch_normalization(b: Builder, x: Value) -> Value | None:
    if x.rank < 2 or not x.static(1):
        return None
    c = x.shape[1].number
    parameters = [b.weights(c), b.weights(c), b.weights(c), b.positive_weights(c)]
    return b.op("BatchNormalization", [x, *parameters], x.shape, epsilon=b.random.choice([None, 1e-3]))


def instance_normalization(b: Builder, x: Value) -> Value | None:
    if x.rank < 3 or not x.static(1) or any(np.prod([d.extents[w] for d in x.shape[2:]]) < 4 for w in range(2)):
        return None
    c = x.shape[1].number
    return b.op("InstanceNormalization", [x, b.weights(c), b.weights(c)], x.shape, epsilon=b.random.choice([None, 0.1]))


def group_normalization(b: Builder, x: Value) -> Value | None:
    if x.rank < 3 or not x.static(1) or not b.has("GroupNormalization") or b.opset < 21:
        return None
    c = x.shape[1].number
    groups = b.random.choice([g for g in (1, 2, 3) if c % g == 0])
    if any(c // groups * np.prod([d.extents[w] for d in x.shape[2:]]) < 4 for w in range(2)):
        return None
    return b.op("GroupNormalization", [x, b.weights(c), b.weights(c)], x.shape, num_groups=groups, epsilon=0.01)


def lrn(b: Builder, x: Value) -> Value | None:
    if x.rank != 4:
        return None
    return b.op("LRN", [x], x.shape, size=b.random.choice([1, 3]), alpha=b.random.choice([None, 0.5]), bias=2.0)


def resize(b: Builder, x: Value) -> Value | None:
    if x.rank != 4 or max(max(d.extents) for d in x.shape[2:]) > 10:
        return None
    scales = [1.0, 1.0, *(b.random.choice([1.0, 2.0, 2.0, 3.0, 1.5, 0.5]) for _ in range(2))]
    shape = (*x.shape[:2], *(d.map(lambda e, s=s: int(np.floor(e * s))) for d, s in zip(x.shape[2:], scales[2:])))
    if any(d.least < 1 for d in shape):
        return None
    values = b.constant(np.array(scales, dtype=np.float32))
    if b.opset < 11:
        mode = b.random.choice(["nearest", "linear"])
        if b.opset < 9:
            return b.op("Upsample", [x], shape, mode=mode, scales=scales) if min(scales) >= 1 else None
        if b.opset == 9:
            return b.op("Upsample", [x, values], shape, mode=mode) if min(scales) >= 1 else None
        return b.op("Resize", [x, values], shape, mode=mode)
    mode = b.random.choice(["nearest", "linear", "linear", "cubic"])
    ways = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", None]
    attributes: dict[str, object] = {"mode": mode, "coordinate_transformation_mode": b.random.choice(ways)}
    if mode == "nearest":
        attributes["nearest_mode"] = b.random.choice([None, "floor", "ceil", "round_prefer_ceil", "round_prefer_floor"])
    if mode == "cubic":
        attributes["cubic_coeff_a"] = b.random.choice([None, -0.5])
        attributes["exclude_outside"] = b.random.choice([None, 1])
    if b.opset >= 18 and mode != "nearest" and b.chance(0.3):
        attributes["antialias"] = 1
    roi = "" if b.opset >= 13 else b.constant(np.zeros(0, dtype=np.float32))
    if all(d.static for d in shape) and b.chance(0.3):
        empty = "" if b.opset >= 13 else b.constant(np.zeros(0, dtype=np.float32))
        return b.op("Resize", [x, roi, empty, b.ints(*(d.number for d in shape))], shape, **attributes)
    if b.opset >= 18 and b.chance(0.3):
        two = b.constant(np.array(scales[2:], dtype=np.float32))
        return b.op("Resize", [x, roi, two], shape, axes=[2, 3], **attributes)
    return b.op("Resize", [x, roi, values], shape, **attributes)


def depth_to_space(b: Builder, x: Value) -> Value | None:
    if x.rank != 4 or not x.static(1) or x.shape[1].number % 4:
        return None
    mode = b.random.choice([None, "DCR", "CRD"]) if b.opset >= 11 else None
    spatial = tuple(d.map(lambda e: e * 2) for d in x.shape[2:])
    shape = (x.shape[0], fixed(x.shape[1].number // 4), *spatial)
    return b.op("DepthToSpace", [x], shape, blocksize=2, mode=mode)


def space_to_depth(b: Builder, x: Value) -> Value | None:
    if x.rank != 4 or not x.static(1) or any(e % 2 for d in x.shape[2:] for e in d.extents):
        return None
    spatial = tuple(d.map(lambda e: e // 2) for d in x.shape[2:])
    return b.op("SpaceToDepth", [x], (x.shape[0], fixed(x.shape[1].number * 4), *spatial), blocksize=2)


def channel_shuffle(b: Builder, x: Value) -> Value | None:
    """Reshape, Transpose, Reshape, with the sizes read from the graph as ShuffleNet's export does."""
    if x.rank != 4 or not x.static(1) or x.shape[1].number % 2:
        return None
    half = x.shape[1].number // 2
    n, h, w = (b.dim(x, a) if not x.shape[a].static or b.chance(0.3) else x.shape[a].number for a in (0, 2, 3))
    split = (x.shape[0], fixed(2), fixed(half), *x.shape[2:])
    y = b.op("Reshape", [x, b.shape_of(x, [n, 2, half, h, w])], split)
    y = b.op("Transpose", [y], (split[0], split[2], split[1], *split[3:]), perm=[0, 2, 1, 3, 4])
    return b.op("Reshape", [y, b.shape_of(x, [n, 2 * half, h, w])], x.shape)


def grid_sample(b: Builder, x: Value) -> Value | None:
    if x.rank != 4 or b.opset < 16 or not x.shape[0].static:
        return None
    n, h, w = x.shape[0].number, 3, 2
    grid = b.constant(b.numbers.uniform(-1.1, 1.1, (n, h, w, 2)).astype(np.float32))
    modes = ["bilinear", "nearest", "bicubic"] if b.opset < 20 else ["linear", "nearest", "cubic"]
    mode, padding = b.random.choice(modes), b.random.choice([None, "border", "reflection"])
    aligned = b.random.choice([None, 1])
    shape = (*x.shape[:2], fixed(h), fixed(w))
    return b.op("GridSample", [x, grid], shape, mode=mode, padding_mode=padding, align_corners=aligned)


IMAGES = {
    conv: 8, conv_transpose: 3, max_pool: 3, average_pool: 4, lp_pool: 1, global_pool: 1, squeeze_and_excite: 1,
    batch_normalization: 2, instance_normalization: 1, group_normalization: 1, lrn: 1, resize: 3, depth_to_space: 1,
    space_to_depth: 1, channel_shuffle: 1, grid_sample: 1,
}  # fmt: skip
