"""NanoDet: of every stride the classes, and for each side of a box how probable which distance to it is.

Source: ``disPred2Bbox`` of github.com/RangiLyu/nanodet. A distance is the mean of a softmax over 0..reg_max cells,
counted from the middle of the cell.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from ...graph.emitter import Emitter
from ..score import Scores
from .boxes import cells, from_distances
from .reader import Reader, described, last, rank
from .scoring import class_scores, scores

USUAL: dict[str, Any] = {"strides": [8, 16, 32], "offset": 0.5, "reg_max": 7}
EXPECTS = (
    "for every stride an output [N,A,K] of class scores and one [N,A,4*(reg_max+1)] of distances, all scores first"
)


def nanodet(reader: Reader) -> Scores:
    """The detections of all strides.

    Raises:
        InputError: the outputs are not such pairs, or a field makes no sense.
    """
    emit, fields = reader.emit, reader.fields
    strides, longest = fields.strides(), fields.whole("reg_max", 1)
    if longest is None or not strides:
        raise fields.wrong("strides" if longest else "reg_max", "needed")
    classes, sides = _outputs(reader, len(strides), 4 * (longest + 1))
    found = class_scores(reader, classes, fields.choice("activation", None, "sigmoid"))
    distances = _means(emit, reader.joined([reader.floats(side) for side in sides]), longest + 1)
    grid = cells(reader, sides[0], distances, strides, fields.number("offset"))
    return scores(reader, classes, found, from_distances(emit, distances, grid, in_strides=True))


def _means(emit: Emitter, logits: ir.Value, bins: int) -> ir.Value:
    """The mean distances [N,A,4] of distributions [N,A,4*bins], in cells."""
    assert logits.dtype is not None
    batch = emit.extent(logits, 0)
    split = emit.Reshape(logits, emit.vector([batch, emit.extent(logits, 1), 4, bins]), allowzero=1)
    weights = emit.constant(np.arange(bins), logits.dtype)
    return emit.ReduceSum(emit.Mul(emit.Softmax(split, axis=3), weights), [3], keepdims=0)


def _outputs(reader: Reader, scales: int, width: int) -> tuple[list[ir.Value], list[ir.Value]]:
    """Classes and distances of every stride, in the order of the strides."""
    named = reader.named(2 * scales)
    if named is not None:
        classes, sides = named[:scales], named[scales:]
    else:
        known = reader.fitting(lambda v: rank(v) == 3)
        sides = [v for v in known if last(v) == width]
        classes = [v for v in known if v not in sides]
        classes, sides = sorted(classes, key=_finest_first), sorted(sides, key=_finest_first)
    if len(classes) != scales or len(sides) != scales:
        raise reader.refuse(
            f"of {scales} strides there are {len(classes)} outputs of classes and {len(sides)} whose last axis has "
            f"{width} numbers (see the fields 'strides' and 'reg_max')"
        )
    for one, other in zip(classes, sides, strict=True):
        if rank(one) != 3 or rank(other) != 3 or last(other) != width:
            raise reader.refuse(f"{described(one)} and {described(other)} are not scores and distances of one stride")
    return classes, sides


def _finest_first(value: ir.Value) -> int:
    """A key that puts the output with the most cells, that of the smallest stride, first; open ones stay in order."""
    count = None if value.shape is None else value.shape[1]
    return -count if isinstance(count, int) else 0
