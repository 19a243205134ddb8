"""Detections that are rows of one output, or of one for each scale: box, objectness, classes and keypoints.

YOLOv5, YOLOv8, YOLOX, RT-DETR and FastestDet differ only in where these are in a row and in how the box is written;
"boxes" says both itself. Sources: the ``Detect`` heads of github.com/ultralytics/yolov5 and ultralytics/ultralytics,
the ``decode_outputs`` of Megvii-BaseDetection/YOLOX, the ONNX example of dog-qiuqiu/FastestDet, the layers of YOLOv3.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from ..score import Scores
from .boxes import cells, column, corners, cut, extent_of, from_cells, from_distances, in_pixels
from .fields import Fields
from .reader import Reader, described, rank
from .scoring import Classes, as_probabilities, of_objects, scores

_PLAIN: dict[str, Any] = {"axis": 1, "box": [0, 1, 2, 3], "format": "cxcywh", "scale": "pixels"}
USUAL: dict[str, dict[str, Any]] = {
    "yolov5": {**_PLAIN, "objectness": 4},
    "yolov8": {**_PLAIN, "axis": 2},
    "yolox": {**_PLAIN, "objectness": 4, "decode": "yolox", "strides": [8, 16, 32]},
    "rtdetr": {**_PLAIN, "scale": "normalised"},
    "fastestdet": {**_PLAIN, "box": [1, 2, 3, 4], "objectness": 0, "decode": "fastestdet", "strides": [16]},
    "boxes": _PLAIN,
}
EXPECTS = {
    "yolov5": "one output [N,A,5+K] (cx, cy, width, height, objectness, K classes)",
    "yolov8": "one output [N,4+K,A] (cx, cy, width, height, K classes)",
    "yolox": "one output [N,A,5+K] (cx, cy, width, height, objectness, K classes)",
    "rtdetr": "one output [N,A,4+K] (cx, cy, width, height, K classes)",
    "fastestdet": "one output [N,5+K,h,w] (objectness, cx, cy, width, height, K classes)",
    "boxes": "outputs whose rows hold a box and K classes",
}
_RTDETR = (
    "; if the model is an RT-DETR, state the layout 'rtdetr', or for rows of 6 numbers {'name': 'yolov8_nms', "
    "'format': 'cxcywh', 'scale': 'normalised'}, and a preprocessing with resize \"exact\""
)
#: The keypoints of a person, in the order of COCO.
_PERSON = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip


def rows(reader: Reader) -> Scores:
    """The detections of outputs that hold everything in rows.

    Raises:
        InputError: the outputs do not have such rows, or a field makes no sense.
    """
    emit, fields = reader.emit, reader.fields
    strides = fields.strides()
    outputs = _outputs(reader, len(strides))
    anchors = fields.anchors(len(strides))
    each = 1 if anchors is None else anchors.shape[1]
    table = reader.joined([_table(reader, output, each) for output in outputs])
    box, objectness = fields.indices("box", 4), fields.whole("objectness")
    found = _class_places(reader, outputs[0], table, max(*box, -1 if objectness is None else objectness) + 1)
    activation = fields.choice("activation", None, "sigmoid", "softmax")
    numbers = cut(emit, table, found)
    sure = as_probabilities(emit, numbers, activation)
    if objectness is not None:
        object_ = cut(emit, table, [objectness])
        classes = of_objects(emit, sure, object_ if activation is None else emit.Sigmoid(object_))
    elif activation is not None and reader.score == "logit":
        classes = Classes(numbers, sure, activation)
    else:
        classes = Classes(sure, sure, "identity")
    boxes = _boxes(reader, outputs[0], cut(emit, table, box))
    points = _points(reader, outputs[0], table, max(found) + 1)
    return scores(reader, outputs, classes, boxes, points=points)


def _outputs(reader: Reader, scales: int) -> list[ir.Value]:
    found = reader.named(None)
    if found is not None:
        if len(found) not in (1, scales):
            raise reader.fields.wrong("outputs", f"one name, or one for each of the {scales} strides")
        if any(rank(value) not in (3, 4, 5) for value in found):
            raise reader.refuse(f"{', '.join(map(described, found))} is not of rank 3, 4 or 5")
        return found
    wanted = 4 if reader.fields.layout == "fastestdet" else 3
    return [reader.only(reader.fitting(lambda v: rank(v) == wanted), f"float output of rank {wanted}")]


def _table(reader: Reader, output: ir.Value, each: int) -> ir.Value:
    """An output as [N,A,C]: of rank 3, or of a map [N,C,h,w] or [N,anchors,h,w,C]."""
    emit, value = reader.emit, reader.floats(output)
    assert value.shape is not None
    if rank(value) == 3:
        axis = reader.fields.whole("axis", 1)
        if axis not in (1, 2):
            raise reader.fields.wrong("axis", "1 or 2, the axis of the output that counts detections")
        count, width = value.shape[axis], value.shape[3 - axis]
        doubtful = "axis" not in reader.fields.stated and reader.fields.layout != "boxes"
        if doubtful and isinstance(count, int) and not (isinstance(width, int) and width <= count):
            numbers = f"{width} numbers" if isinstance(width, int) else "an open number of numbers"
            raise reader.refuse(
                f"{described(output)} would be {count} detections of {numbers} each (if it is, state the field "
                f"'axis': {axis}{_RTDETR if reader.fields.layout == 'yolov8' else ''})"
            )
        return value if axis == 1 else emit.Transpose(value, perm=[0, 2, 1])
    batch = emit.extent(value, 0)
    if rank(value) == 5:
        return emit.Reshape(value, emit.vector([batch, -1, emit.extent(value, 4)]), allowzero=1)
    channels = value.shape[1]
    if not isinstance(channels, int) or channels % each:
        raise reader.refuse(f"{described(output)} has no channels for {each} anchors")
    width = channels // each
    split = emit.Reshape(value, emit.vector([batch, each, width, -1]), allowzero=1)
    return emit.Reshape(emit.Transpose(split, perm=[0, 1, 3, 2]), emit.vector([batch, -1, width]), allowzero=1)


def _class_places(reader: Reader, output: ir.Value, table: ir.Value, first: int) -> list[int]:
    """Where in a row the classes are."""
    assert table.shape is not None
    width = table.shape[2]
    stated = reader.fields.classes(first)
    points, numbers = reader.fields.keypoints()
    if isinstance(width, int):
        found = stated or list(range(first, width - points * numbers))
        if found and max(found) + points * numbers < width:
            return found
        raise reader.refuse(
            f"the {width} numbers of a row of {described(output)} leave no room for "
            f"{len(found) or 'any'} classes behind the {first} before them"
            + (f" and {points} keypoints of {numbers} numbers" if points else "")
        )
    if stated is None:
        raise reader.refuse(f"how many numbers a row of {described(output)} has is open; state the field 'classes'")
    return stated


def _boxes(reader: Reader, output: ir.Value, box: ir.Value) -> ir.Value:
    emit, fields = reader.emit, reader.fields
    written = fields.choice("format", "cxcywh", "xyxy", "yxyx", "ltrb")
    decode = fields.choice("decode", None, "yolox", "yolov3", "yolov5", "fastestdet")
    strides = fields.strides()
    if decode is None and written != "ltrb":
        return corners(emit, in_pixels(reader, box, output, vertical_first=written == "yxyx"), written)
    if not strides:
        raise fields.wrong("strides", "the pixels a cell of every scale, which the boxes are relative to")
    anchors = fields.anchors(len(strides))
    if written == "ltrb":
        scale = fields.choice("scale", "pixels", "strides")
        return from_distances(emit, box, cells(reader, output, box, strides, 0.5), in_strides=scale == "strides")
    if (decode in ("yolov3", "yolov5")) != (anchors is not None):
        raise fields.wrong("anchors", f"{'needed' if anchors is None else 'not used'} with decode {decode!r}")
    assert decode is not None and box.dtype is not None
    size = extent_of(emit, reader.image(output), box.dtype) if decode == "fastestdet" else None
    return from_cells(emit, box, cells(reader, output, box, strides, anchors=anchors), decode, size)


def _points(reader: Reader, output: ir.Value, table: ir.Value, first: int) -> dict[str, ir.Value]:
    """The keypoints [N,A] of every detection, by name."""
    emit, fields = reader.emit, reader.fields
    count, numbers = fields.keypoints()
    names = point_names(fields, count)
    found: dict[str, ir.Value] = {}
    for index, name in enumerate(names):
        start = first + index * numbers
        place = in_pixels(reader, cut(emit, table, [start, start + 1]), output)
        found |= {f"{name}.x": column(emit, place, 0), f"{name}.y": column(emit, place, 1)}
        if numbers == 3:
            found[f"{name}.visible"] = column(emit, table, start + 2)
    return found


def point_names(fields: Fields, count: int) -> tuple[str, ...]:
    """The names of keypoints: as stated, those of a person if there are 17, else numbered."""
    stated = fields.names("keypoint_names")
    if stated is None:
        return _PERSON if count == len(_PERSON) else tuple(f"point_{index}" for index in range(count))
    if len(stated) != count:
        raise fields.wrong("keypoint_names", f"{count} names, as many as there are keypoints (see 'keypoints')")
    return stated
