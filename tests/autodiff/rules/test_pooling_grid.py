"""Pooling gradients over a grid of geometries, against torch, with a symbolic batch.

Windows that overlap, touch and leave gaps, asymmetric pads, dilation, ceil_mode with and without
dropped windows, count_include_pad, one to three axes, extents static and symbolic, auto_pad.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest

from support.cases.base import Case, distinct, normal
from support.grid import check_against_torch, named
from support.windows import Geometry

KINDS = ("static", "symbolic")


def _text(g: Geometry) -> str:
    text = f"k{list(g.kernel)}s{list(g.strides)}p{list(g.pads)}d{list(g.dilations)}{'ceil' if g.ceil else ''}"
    return text.replace(" ", "")


def _fits(g: Geometry, extents: tuple[int, ...]) -> bool:
    """Whether there is a window on every axis, and something of the image in every window."""
    n = len(extents)
    for i, extent in enumerate(extents):
        room = extent + g.pads[i] + g.pads[i + n] - (g.kernel[i] - 1) * g.dilations[i] - 1
        if room < 0:
            return False
        for start in range(-g.pads[i], extent, g.strides[i]):
            if start + g.pads[i] <= room and not any(
                0 <= start + t * g.dilations[i] < extent for t in range(g.kernel[i])
            ):
                return False
    return True


def _geometries() -> Iterator[tuple[Geometry, tuple[int, ...], str]]:
    """One axis: a full grid. Two and three axes: drawn."""
    grid = product((6, 7), (1, 2, 3, 4), (1, 2, 3), ((0, 0), (1, 0), (1, 2)), (1, 2), (False, True), KINDS)
    for extent, kernel, stride, pads, dilation, ceil, kind in grid:
        g = Geometry([kernel], [stride], list(pads), [dilation], ceil)
        if max(pads) < kernel and _fits(g, (extent,)):
            yield g, (extent,), kind
    rng = np.random.default_rng(5)
    count = 160
    while count:
        axes = 2 + (count % 4 == 0)
        extents = tuple(int(v) for v in rng.integers(3, 9 if axes == 2 else 6, axes))
        kernel, strides, dilations = ([int(v) for v in rng.integers(1, high, axes)] for high in (5, 4, 3))
        pads = [int(rng.integers(0, min(k, 3))) for k in kernel * 2]
        g = Geometry(kernel, strides, pads, dilations, bool(count % 3))
        if _fits(g, extents):
            yield g, extents, KINDS[count % 2]
            count -= 1


def _grid() -> Iterator[Case]:
    for index, (g, extents, kind) in enumerate(_geometries()):
        shape, text = ("N", 2, *named(kind, extents)), f"{kind}{list(extents)}{_text(g)}".replace(" ", "")
        attributes = g.attributes()
        padded = bool(index // 2 % 2)
        # One operator a geometry, in turn, and every operator a geometry of several axes.
        turn = index % 3 if len(extents) == 1 else None
        if turn in (0, None):
            yield Case("MaxPool", (distinct(*shape),), attributes, text, g.maximum(), opset=22)
        if turn in (1, None):
            yield Case(
                "AveragePool",
                (normal(*shape),),
                {**attributes, "count_include_pad": int(padded)},
                f"{text}{'padded' if padded else ''}",
                g.average(padded),
                opset=22,
            )
        if turn == 2 or (turn is None and index % 4 == 0):
            yield Case(
                "LpPool",
                (normal(*shape),),
                {**attributes, "p": 1 + index % 3},
                f"{text}p{1 + index % 3}",
                g.norm(1 + index % 3),
                opset=22,
            )


def _same() -> Iterator[Case]:
    """auto_pad on the first of two axes, with TensorFlow's rule for the pads."""
    grid = product((6, 7, 8), (1, 2, 3, 4), (1, 2, 3), ("SAME_UPPER", "SAME_LOWER"), KINDS)
    for index, (extent, kernel, stride, auto_pad, kind) in enumerate(grid):
        total = ((extent + stride - 1) // stride - 1) * stride + kernel - extent
        if total < 0 or (kernel + 1 < stride and kind == "symbolic"):
            continue  # ONNX Runtime refuses the former in two axes, the rule the latter
        head = (total + (auto_pad == "SAME_LOWER")) // 2
        g = Geometry([kernel, 1], [stride, 2], [head, 0, total - head, 0], [1, 1])
        attributes = {"kernel_shape": [kernel, 1], "strides": [stride, 2], "auto_pad": auto_pad}
        shape = ("N", 2, *named(kind, (extent, 5)))
        text = f"{auto_pad}-{kind}-{extent}-k{kernel}-s{stride}"
        padded = index % 3 == 2
        if index % 3 == 0:
            yield Case("MaxPool", (distinct(*shape),), attributes, text, g.maximum())
        else:
            yield Case(
                "AveragePool",
                (normal(*shape),),
                {**attributes, "count_include_pad": int(padded)},
                text,
                g.average(padded),
            )


GRID = [*_grid(), *_same()]


@pytest.mark.parametrize("case", GRID, ids=[case.id for case in GRID])
def test_gradient(case: Case) -> None:
    check_against_torch(case)


def test_the_grid_is_large() -> None:
    assert len({case.id for case in GRID}) == len(GRID) >= 400
