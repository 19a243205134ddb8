"""A grid of convolutions: kernels, strides, pads, dilations, groups, extents, one to three axes, auto_pad."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from support.cases.base import Case, normal
from support.cases.convolution import conv, transposed
from support.grid import named

#: group, channels in, channels out
GROUPS = ((1, 2, 3), (1, 3, 1), (2, 4, 2), (2, 2, 4), (3, 3, 3), (2, 2, 2))


KINDS = ("static", "symbolic")


def _positions(extents: tuple[int, ...], kernel: Any, strides: Any, pads: Any, dilations: Any) -> list[int]:
    n = len(extents)
    return [
        (extents[i] + pads[i] + pads[i + n] - (kernel[i] - 1) * dilations[i] - 1) // strides[i] + 1 for i in range(n)
    ]


def _conv(
    kind: str, extents: tuple[int, ...], kernel: Any, strides: Any, pads: Any, dilations: Any, groups: tuple[int, ...]
) -> Case:
    group, before, after = groups
    text = f"{len(extents)}d {kind} {extents} k{kernel} s{strides} p{pads} d{dilations} g{group}"
    return Case(
        "Conv",
        (normal("N", before, *named(kind, extents)), normal(after, before // group, *kernel)),
        {"strides": strides, "pads": pads, "dilations": dilations, "group": group},
        text.replace(" ", "").replace(",)", ")"),
        conv(pads, stride=tuple(strides), dilation=tuple(dilations), groups=group),
    )


def _one_axis() -> Iterator[Case]:
    grid = product((7, 8), (1, 2, 3, 5), (1, 2, 3), ((0, 0), (1, 0), (1, 2), (4, 3)), (1, 2), KINDS)
    for index, (extent, kernel, stride, pads, dilation, kind) in enumerate(grid):
        if _positions((extent,), [kernel], [stride], pads, [dilation])[0] > 0:
            groups = GROUPS[index % len(GROUPS)]
            yield _conv(kind, (extent,), [kernel], [stride], list(pads), [dilation], groups)


def _several_axes(axes: int, count: int) -> Iterator[Case]:
    rng = np.random.default_rng(axes)
    while count:
        extents = tuple(int(v) for v in rng.integers(3, 10 if axes == 2 else 7, axes))
        kernel, strides, dilations, pads = (
            [int(v) for v in rng.integers(low, high, size)]
            for low, high, size in [(1, 5, axes), (1, 4, axes), (1, 4, axes), (0, 4, 2 * axes)]
        )
        if min(_positions(extents, kernel, strides, pads, dilations)) > 0:
            groups = GROUPS[int(rng.integers(len(GROUPS)))]
            yield _conv(KINDS[count % 2], extents, kernel, strides, pads, dilations, groups)
            count -= 1


def _same_pads(extent: int, kernel: int, stride: int, auto_pad: str) -> tuple[int, int]:
    """TensorFlow's rule: ceil(extent / stride) positions, an odd position of padding at the end (LOWER: head)."""
    total = max(0, ((extent + stride - 1) // stride - 1) * stride + kernel - extent)
    small, large = total // 2, total - total // 2
    return (small, large) if auto_pad == "SAME_UPPER" else (large, small)


def _same() -> Iterator[Case]:
    grid = product((6, 7, 8), (1, 2, 3, 4), (1, 2, 3), ("SAME_UPPER", "SAME_LOWER"), KINDS)
    for index, (extent, kernel, stride, auto_pad, kind) in enumerate(grid):
        if kernel + 1 < stride:
            continue  # refused, see test_windows_refusals.py
        other = GROUPS[index % len(GROUPS)]
        group, before, after = other
        head, tail = _same_pads(extent, kernel, stride, auto_pad)
        yield Case(
            "Conv",
            (normal("N", before, *named(kind, (extent, 5))), normal(after, before // group, kernel, 2)),
            {"strides": [stride, 1], "auto_pad": auto_pad, "group": group},
            f"{auto_pad}-{kind}-{extent}-k{kernel}-s{stride}-g{group}",
            conv(
                [head, _same_pads(5, 2, 1, auto_pad)[0], tail, _same_pads(5, 2, 1, auto_pad)[1]],
                stride=(stride, 1),
                groups=group,
            ),
        )


def _transposed(count: int) -> Iterator[Case]:
    rng = np.random.default_rng(9)
    while count:
        axes = int(rng.integers(1, 4))
        extents = tuple(int(v) for v in rng.integers(2, 6, axes))
        kernel, strides, dilations, pads = (
            [int(v) for v in rng.integers(low, high, size)]
            for low, high, size in [(1, 5, axes), (1, 4, axes), (1, 3, axes), (0, 3, 2 * axes)]
        )
        extra = [int(rng.integers(0, s)) for s in strides]
        natural = [
            (e - 1) * s + (k - 1) * d + 1 + x for e, s, k, d, x in zip(extents, strides, kernel, dilations, extra)
        ]
        if min(n - pads[i] - pads[i + axes] for i, n in enumerate(natural)) < 1:
            continue
        group, before, after = GROUPS[int(rng.integers(len(GROUPS)))]
        kind = KINDS[count % 2]
        text = f"{axes}d{kind}{extents}k{kernel}s{strides}p{pads}d{dilations}o{extra}g{group}"
        yield Case(
            "ConvTranspose",
            (normal("N", before, *named(kind, extents)), normal(before, after // group, *kernel)),
            {"strides": strides, "pads": pads, "dilations": dilations, "output_padding": extra, "group": group},
            text.replace(" ", ""),
            transposed(
                pads, stride=tuple(strides), dilation=tuple(dilations), output_padding=tuple(extra), groups=group
            ),
        )
        count -= 1


GRID = [*_one_axis(), *_several_axes(2, 180), *_several_axes(3, 40), *_same(), *_transposed(110)]


def fixed_weight(case: Case) -> Case:
    """The weight as an initialiser."""
    x, w = case.inputs
    assert not isinstance(w, np.ndarray) and w is not None
    return replace(case, inputs=(x, w.array(np.random.default_rng(3), 1).astype(np.float32)))
