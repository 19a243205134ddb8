"""Detections that the model has chosen itself, by suppression inside the graph: rows of box, score and class.

The class of a row is a number that the model computes. With the field ``classes`` (how many there are) a row has its
score in the column of its class and zero in all others, so that a class is asked for as of any detector. Without it a
row has one score, whichever class it is of. Rows of "yolov8_nms" may go on behind the class, with a mask or keypoints,
which are not read; ``classes`` has to be stated then. Sources: the end-to-end exports of Ultralytics, the detection
models of torchvision, and TensorFlow's Object Detection API.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from ..score import Scores
from .boxes import corners, cut, in_pixels
from .reader import Reader, described, last, rank
from .scoring import Classes, scores

USUAL: dict[str, dict[str, Any]] = {
    "yolov8_nms": {"format": "xyxy", "scale": "pixels"},
    "torchvision": {"format": "xyxy", "scale": "pixels"},
    "tensorflow": {"format": "yxyx", "scale": "normalised"},
}
EXPECTS = {
    "yolov8_nms": "one output [N,A,6] (x0, y0, x1, y1, score, class)",
    "torchvision": "three outputs of one image, boxes [A,4], labels [A] and scores [A]",
    "tensorflow": "outputs detection_boxes [N,A,4], detection_classes [N,A], detection_scores [N,A] and, if there is "
    "one, num_detections [N]",
}
_TENSORFLOW = ("detection_boxes", "detection_classes", "detection_scores", "num_detections")


def chosen(reader: Reader) -> Scores:
    """The detections that are left.

    Raises:
        InputError: the outputs are not such, or a field makes no sense.
    """
    read = {"yolov8_nms": _in_rows, "torchvision": _of_one_image, "tensorflow": _of_tensorflow}
    output, box, score, ids = read[reader.fields.layout](reader)
    emit = reader.emit
    written = reader.fields.choice("format", "cxcywh", "xyxy", "yxyx")
    boxes = corners(emit, in_pixels(reader, box, output, vertical_first=written == "yxyx"), written)
    labels = ids if ids.dtype == ir.DataType.INT64 else emit.Cast(ids, to=ir.DataType.INT64)
    value = emit.Unsqueeze(score, [2])
    count = reader.fields.whole("classes", 1)
    if count is not None:
        mine = emit.Equal(emit.Unsqueeze(labels, [2]), emit.constant(np.arange(count, dtype=np.int64)))
        value = emit.Mul(value, emit.Cast(mine, to=value.dtype))
    return scores(reader, [output], Classes(value, value, "identity"), boxes, labels=labels)


_Parts = tuple[ir.Value, ir.Value, ir.Value, ir.Value]


def _in_rows(reader: Reader) -> _Parts:
    named = reader.named(1)
    output = named[0] if named else reader.only(reader.fitting(lambda v: rank(v) == 3), "float output of rank 3")
    width, stated = last(output), reader.fields.whole("classes", 1) is not None
    if rank(output) != 3 or not (width in (None, 6) or (stated and isinstance(width, int) and width > 6)):
        longer = "" if stated else "; longer ones need the field 'classes'"
        raise reader.refuse(f"{described(output)} has no rows of 6 numbers{longer}")
    emit, rows = reader.emit, reader.floats(output)
    score, ids = (emit.Squeeze(cut(emit, rows, [index]), [2]) for index in (4, 5))
    return output, cut(emit, rows, [0, 1, 2, 3]), score, ids


def _of_one_image(reader: Reader) -> _Parts:
    emit, named = reader.emit, reader.named(3)
    if named is None:
        boxes = reader.only(reader.fitting(lambda v: rank(v) == 2 and last(v) == 4), "float output [A,4] of boxes")
        score = reader.only(reader.fitting(lambda v: rank(v) == 1), "float output [A] of scores")
        whole = [v for v in reader.graph.outputs if rank(v) == 1 and v.dtype in (ir.DataType.INT64, ir.DataType.INT32)]
        named = [boxes, reader.only(whole, "integer output [A] of labels"), score]
    boxes, ids, score = named
    if (rank(boxes), rank(ids), rank(score)) != (2, 1, 1):
        raise reader.refuse(f"{', '.join(map(described, named))} are not boxes, labels and scores of one image")
    box, sure, labels = (emit.Unsqueeze(v, [0]) for v in (reader.floats(boxes), reader.floats(score), ids))
    return score, box, sure, labels


def _of_tensorflow(reader: Reader) -> _Parts:
    emit, named = reader.emit, reader.named(None)
    if named is None:
        known = {(v.name or "").split(":")[0]: v for v in reader.graph.outputs}
        missing = [name for name in _TENSORFLOW[:3] if name not in known]
        if missing:
            raise reader.refuse(f"there is no output {missing[0]!r}")
        named = [known[name] for name in _TENSORFLOW if name in known]
    if len(named) not in (3, 4) or [rank(v) for v in named[:3]] != [3, 2, 2] or last(named[0]) != 4:
        raise reader.refuse(f"{', '.join(map(described, named))} are not boxes, classes, scores and how many there are")
    boxes, ids, score = named[:3]
    sure = reader.floats(score)
    if len(named) == 4:
        sure = emit.Mul(sure, emit.Cast(_counted(reader, sure, named[3]), to=sure.dtype))
    return score, reader.floats(boxes), sure, ids


def _counted(reader: Reader, score: ir.Value, count: ir.Value) -> ir.Value:
    """Which of the rows [N,A] are detections: the first ``count`` [N] of them."""
    emit = reader.emit
    zero, one = (emit.constant(n, ir.DataType.INT64) for n in (0, 1))
    index = emit.Range(zero, emit.Squeeze(emit.dim(score, 1), [0]), one)
    return emit.Less(index, emit.Reshape(emit.Cast(count, to=ir.DataType.INT64), [-1, 1]))
