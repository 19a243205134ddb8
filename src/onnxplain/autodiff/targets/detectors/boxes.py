"""Boxes [N,A,4] as x0, y0, x1, y1 in pixels, from the ways in which detectors write them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ...graph.emitter import Emitter
from .reader import Image, Reader


@dataclass(frozen=True)
class Cells:
    """Where the cells of all scales are: ``places`` [1,A,2] their columns and rows, ``steps`` [1,A,1] pixels a cell.

    ``anchors`` [1,A,2] are widths and heights in pixels, None without any.
    """

    places: ir.Value
    steps: ir.Value
    anchors: ir.Value | None


def cut(emit: Emitter, rows: ir.Value, indices: Sequence[int], axis: int = 2) -> ir.Value:
    """The numbers of every row at ``indices``."""
    first, count = indices[0], len(indices)
    if list(indices) == list(range(first, first + count)):
        return emit.Slice(rows, [first], [first + count], [axis])
    return emit.Gather(rows, emit.constant(np.array(indices, np.int64)), axis=axis)


def column(emit: Emitter, rows: ir.Value, index: int) -> ir.Value:
    """One number [N,A] of every row [N,A,C]."""
    return emit.Squeeze(emit.Slice(rows, [index], [index + 1], [2]), [2])


def extent_of(
    emit: Emitter, image: Image, dtype: ir.DataType, times: int = 1, vertical_first: bool = False
) -> ir.Value:
    """Width and height of the image in pixels, ``times`` times one after the other: [2 * times]."""
    axes = (image.rows, image.columns) if vertical_first else (image.columns, image.rows)
    sides = [emit.extent(image.value, axis) for axis in axes] * times
    if all(isinstance(side, int) for side in sides):
        return emit.constant(np.array(sides), dtype)
    return emit.Cast(emit.vector(sides), to=dtype)


def in_pixels(reader: Reader, numbers: ir.Value, output: ir.Value, *, vertical_first: bool = False) -> ir.Value:
    """Numbers [N,A,2k], by turns horizontal and vertical, in pixels of the image: as they are, or normalised."""
    if reader.fields.choice("scale", "pixels", "normalised") == "pixels":
        return numbers
    assert numbers.dtype is not None and numbers.shape is not None and isinstance(numbers.shape[-1], int)
    size = extent_of(reader.emit, reader.image(output), numbers.dtype, numbers.shape[-1] // 2, vertical_first)
    return reader.emit.Mul(numbers, size)


def corners(emit: Emitter, box: ir.Value, written: str | None) -> ir.Value:
    """Boxes [N,A,4] as x0, y0, x1, y1, of those that are ``written`` as "cxcywh", "xyxy" or "yxyx"."""
    if written == "xyxy":
        return box
    if written == "yxyx":
        return emit.Gather(box, [1, 0, 3, 2], axis=2)
    return around(emit, cut(emit, box, [0, 1]), cut(emit, box, [2, 3]))


def around(emit: Emitter, centre: ir.Value, sides: ir.Value) -> ir.Value:
    """Boxes of centres [N,A,2] and sides [N,A,2]."""
    half = emit.Mul(sides, 0.5)
    return emit.Concat(emit.Sub(centre, half), emit.Add(centre, half), axis=2)


def cells(
    reader: Reader,
    output: ir.Value,
    count: ir.Value,
    strides: Sequence[int],
    offset: float = 0.0,
    anchors: np.ndarray | None = None,
) -> Cells:
    """The cells of all scales, each row by row, with ``anchors`` anchor by anchor.

    ``count`` is a tensor [N,A,...] with as many detections as there have to be cells.

    Raises:
        InputError: there are more or fewer.
    """
    emit, dtype = reader.emit, count.dtype
    assert dtype is not None and count.shape is not None
    image = reader.image(output)
    sides = [emit.extent(image.value, axis) for axis in (image.rows, image.columns)]
    height, width = sides
    if isinstance(height, int) and isinstance(width, int):
        return _constant_cells(reader, height, width, count, strides, offset, anchors)
    made = [_emitted(emit, sides, stride, None if anchors is None else anchors[k]) for k, stride in enumerate(strides)]
    places, steps_, sizes_ = (reader.joined([emit.Cast(part[k], to=dtype) for part in made]) for k in range(3))
    return Cells(emit.Add(places, offset) if offset else places, steps_, None if anchors is None else sizes_)


def _constant_cells(
    reader: Reader,
    height: int,
    width: int,
    count: ir.Value,
    strides: Sequence[int],
    offset: float,
    anchors: np.ndarray | None,
) -> Cells:
    """Return :func:`cells` of an image whose extents are fixed, as constants."""
    emit, dtype, each = reader.emit, count.dtype, 1 if anchors is None else anchors.shape[1]
    assert dtype is not None and count.shape is not None
    grids = [(-(-height // stride), -(-width // stride)) for stride in strides]
    parts = [_numbers(rows, columns, each) for rows, columns in grids]
    found = sum(len(part) for part in parts)
    if isinstance(count.shape[1], int) and count.shape[1] != found:
        shown = " + ".join(f"{each if each > 1 else ''}{'x' * (each > 1)}{r}x{c}" for r, c in grids)
        raise reader.refuse(
            f"strides {list(strides)} make {shown} = {found} cells of {height}x{width} pixels, but there are "
            f"{count.shape[1]} detections"
        )
    steps = np.repeat(strides, [len(part) for part in parts])[None, :, None]
    sizes = None
    if anchors is not None:
        per = [np.repeat(a, r * c, axis=0) for a, (r, c) in zip(anchors, grids, strict=True)]
        sizes = emit.constant(np.concatenate(per)[None], dtype)
    return Cells(emit.constant(np.concatenate(parts)[None] + offset, dtype), emit.constant(steps, dtype), sizes)


def _numbers(rows: int, columns: int, each: int) -> np.ndarray:
    """Column and row of every cell, row by row, ``each`` times over."""
    row, column = np.divmod(np.arange(rows * columns), columns)
    return np.tile(np.stack([column, row], 1), (each, 1))


def _emitted(
    emit: Emitter, sides: Sequence[int | ir.Value], stride: int, anchors: np.ndarray | None
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Columns and rows [1,A,2], steps [1,A,1] and anchors [1,A,2] of one scale, computed in the graph."""
    each = 1 if anchors is None else len(anchors)
    zero, one = (emit.constant(n, ir.DataType.INT64) for n in (0, 1))
    lengths = [
        emit.constant([-(-side // stride)], ir.DataType.INT64)
        if isinstance(side, int)
        else emit.Div(emit.Add(side, stride - 1), stride)
        for side in sides
    ]
    row, column = (emit.Range(zero, emit.Squeeze(length, [0]), one) for length in lengths)
    grid = emit.vector([each, *lengths, 1])
    parts = [
        emit.Expand(emit.Reshape(column, [1, 1, -1, 1]), grid),
        emit.Expand(emit.Reshape(row, [1, -1, 1, 1]), grid),
    ]
    places = emit.Reshape(emit.Concat(*parts, axis=3), [1, -1, 2])
    steps = emit.Reshape(emit.Expand(emit.constant(np.full((1, 1, 1, 1), stride), ir.DataType.INT64), grid), [1, -1, 1])
    sizes = np.ones((1, 2)) if anchors is None else anchors
    wide = emit.vector([each, *lengths, 2])
    shown = emit.Expand(emit.constant(sizes.reshape(each, 1, 1, 2), ir.DataType.FLOAT), wide)
    return places, steps, emit.Reshape(shown, [1, -1, 2])


def from_cells(emit: Emitter, box: ir.Value, cells: Cells, decode: str, size: ir.Value | None) -> ir.Value:
    """Boxes [N,A,4] of four numbers relative to a cell, as the families write them; ``size`` is the image's."""
    near, far = cut(emit, box, [0, 1]), cut(emit, box, [2, 3])
    if decode == "yolox":
        shift, sides = near, emit.Mul(emit.Exp(far), cells.steps)
    elif decode == "yolov3":
        shift, sides = emit.Sigmoid(near), emit.Mul(emit.Exp(far), cells.anchors)
    elif decode == "yolov5":
        double = emit.Mul(emit.Sigmoid(far), 2.0)
        shift = emit.Sub(emit.Mul(emit.Sigmoid(near), 2.0), 0.5)
        sides = emit.Mul(emit.Mul(double, double), cells.anchors)
    else:
        shift, sides = emit.Tanh(near), emit.Mul(emit.Sigmoid(far), size)
    return around(emit, emit.Mul(emit.Add(shift, cells.places), cells.steps), sides)


def from_distances(emit: Emitter, distances: ir.Value, cells: Cells, *, in_strides: bool) -> ir.Value:
    """Boxes [N,A,4] of distances from the middles of cells to the left, upper, right and lower side."""
    if in_strides:
        distances = emit.Mul(distances, cells.steps)
    middle = emit.Mul(cells.places, cells.steps)
    low = emit.Sub(middle, cut(emit, distances, [0, 1]))
    return emit.Concat(low, emit.Add(middle, cut(emit, distances, [2, 3])), axis=2)
