"""Detections of two outputs: boxes [N,A,4], and scores [N,A,K] or logits.

Sources: the heads of github.com/facebookresearch/detr and of the SSDs that torchvision, ONNX's model zoo and others
export.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from ..score import Scores
from .boxes import corners, in_pixels
from .reader import Reader, described, last, rank
from .scoring import class_scores, scores

USUAL: dict[str, dict[str, Any]] = {
    "ssd": {"format": "xyxy", "scale": "normalised"},
    "detr": {"format": "cxcywh", "scale": "normalised", "activation": "softmax", "background": -1},
}
EXPECTS = {
    "ssd": "two outputs, boxes [N,A,4] and scores [N,A,K]",
    "detr": "two outputs, logits [N,A,K+1] (the last class is no object) and boxes [N,A,4]",
}
#: How the outputs are called where several would fit.
_BOXES, _SCORES = ("pred_boxes", "boxes"), ("logits", "pred_logits", "scores")


def pairs(reader: Reader) -> Scores:
    """The detections of an output with boxes and another with classes.

    Raises:
        InputError: there are no two such outputs, or a field makes no sense.
    """
    fields = reader.fields
    box, classes = _outputs(reader)
    written = fields.choice("format", "cxcywh", "xyxy", "yxyx")
    activation = fields.choice("activation", None, "sigmoid", "softmax")
    decoded = corners(
        reader.emit, in_pixels(reader, reader.floats(box), box, vertical_first=written == "yxyx"), written
    )
    found = class_scores(reader, [classes], activation)
    background = fields.whole("background", least=-1)
    return scores(reader, [classes], found, decoded, background=background)


def _outputs(reader: Reader) -> tuple[ir.Value, ir.Value]:
    """Boxes and classes, whichever comes first."""
    named = reader.named(2)
    known = reader.fitting(lambda v: rank(v) == 3) if named is None else named
    boxes = [v for v in known if last(v) == 4]
    if named is not None and len(boxes) == 2:
        boxes = named[:1] if reader.fields.layout == "ssd" else named[1:]
    box = reader.only(_called(boxes, _BOXES), "float output [N,A,4] of boxes")
    others = [v for v in known if v is not box]
    classes = reader.only(_called(others, _SCORES), "float output [N,A,K] of scores")
    if rank(classes) != 3 or rank(box) != 3 or _differ(box.shape, classes.shape):
        raise reader.refuse(f"{described(box)} and {described(classes)} are not of the same detections")
    return box, classes


def _called(values: list[ir.Value], names: tuple[str, ...]) -> list[ir.Value]:
    """Those with one of the usual names, if there are several."""
    found = [v for v in values if v.name in names] if len(values) > 1 else values
    return found or values


def _differ(one: ir.Shape | None, other: ir.Shape | None) -> bool:
    if one is None or other is None:
        return False
    return isinstance(one[1], int) and isinstance(other[1], int) and one[1] != other[1]
