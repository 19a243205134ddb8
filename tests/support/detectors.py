"""Tiny detectors with the outputs of well-known families, and what these outputs mean, decoded by NumPy.

All see x [N,3,16,16], have cells of 4 and of 8 pixels (16 + 4 detections) and three classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper

from support.graphs import FLOAT, INT64, build

SIDE, STRIDES, CLASSES = 16, (4, 8), 3
CELLS = sum((SIDE // stride) ** 2 for stride in STRIDES)
Array = np.ndarray
Arrays = Mapping[str, Array]


class Net:
    """A network in the making; every tensor that it makes has a name."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}

    def op(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        name = name or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def constant(self, array: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array, dtype)
        return name

    def map(self, stride: int, width: int) -> str:
        """[N,width,h,w] of the image."""
        weights = self.random.standard_normal((width, 3, stride, stride)) / stride
        return self.op("Conv", "x", self.constant(weights), strides=[stride, stride])

    def rows(self, width: int, strides: Sequence[int] = STRIDES) -> str:
        """[N,A,width], the cells of all strides."""
        flat = [self.op("Reshape", self.map(s, width), self.constant([0, width, -1], np.int64)) for s in strides]
        return self.op("Transpose", flat[0] if len(flat) == 1 else self.op("Concat", *flat, axis=2), perm=[0, 2, 1])

    def boxes(self, *scales: float) -> str:
        """[N,A,4] of numbers between 0 and the scales."""
        return self.op("Mul", self.op("Sigmoid", self.rows(4)), self.constant(scales))

    def model(self, outputs: Mapping[str, Sequence[Any]], shape: Sequence[Any], **kinds: int) -> onnx.ModelProto:
        shown = [(name, kinds.get(name, FLOAT), list(extents)) for name, extents in outputs.items()]
        return build(self.nodes, [("x", FLOAT, list(shape))], shown, self.constants)


Shape = Sequence[Any]
USUAL: Shape = ("N", 3, SIDE, SIDE)


def cells_of(shape: Shape) -> int | str:
    return CELLS if shape[2:] == USUAL[2:] else "A"


def yolov5(shape: Shape = USUAL) -> onnx.ModelProto:
    net = Net(5)
    net.op("Concat", net.boxes(16, 16, 9, 9), net.op("Sigmoid", net.rows(1 + CLASSES)), name="out", axis=2)
    return net.model({"out": [shape[0], cells_of(shape), 5 + CLASSES]}, shape)


def yolov8(shape: Shape = USUAL, points: int = 0) -> onnx.ModelProto:
    net = Net(8)
    parts = [net.boxes(16, 16, 9, 9), net.op("Sigmoid", net.rows(CLASSES)), *([net.rows(3 * points)] if points else [])]
    net.op("Transpose", net.op("Concat", *parts, axis=2), name="out", perm=[0, 2, 1])
    return net.model({"out": [shape[0], 4 + CLASSES + 3 * points, cells_of(shape)]}, shape)


def yolox(shape: Shape = USUAL) -> onnx.ModelProto:
    net = Net(10)
    net.op("Concat", net.rows(4), net.op("Sigmoid", net.rows(1 + CLASSES)), name="out", axis=2)
    return net.model({"out": [shape[0], cells_of(shape), 5 + CLASSES]}, shape)


def ssd(shape: Shape = USUAL) -> onnx.ModelProto:
    """Scores first; class 0 is the background."""
    net = Net(11)
    logits = net.op("Identity", net.rows(CLASSES + 1), name="logits")
    net.op("Softmax", logits, name="scores", axis=2)
    low = net.op("Mul", net.boxes(1, 1, 1, 1), net.constant(0.5))
    low, more = (net.op("Slice", low, *(net.constant([n], np.int64) for n in (a, a + 2, 2))) for a in (0, 2))
    net.op("Concat", low, net.op("Add", low, more), name="boxes", axis=2)
    return net.model(
        {"scores": [shape[0], cells_of(shape), CLASSES + 1], "boxes": [shape[0], cells_of(shape), 4]}, shape
    )


def detr(shape: Shape = USUAL) -> onnx.ModelProto:
    net = Net(12)
    net.op("Identity", net.rows(CLASSES + 1), name="logits")
    net.op("Identity", net.boxes(1, 1, 0.5, 0.5), name="pred_boxes")
    return net.model({"logits": [shape[0], cells_of(shape), 4], "pred_boxes": [shape[0], cells_of(shape), 4]}, shape)


def rtdetr(shape: Shape = USUAL) -> onnx.ModelProto:
    net = Net(19)
    net.op("Concat", net.boxes(1, 1, 0.5, 0.5), net.op("Sigmoid", net.rows(CLASSES)), name="out", axis=2)
    return net.model({"out": [shape[0], cells_of(shape), 4 + CLASSES]}, shape)


def nanodet(shape: Shape = USUAL) -> onnx.ModelProto:
    """The coarser stride first, as no exporter has it."""
    net, outputs = Net(13), {}
    for stride in reversed(STRIDES):
        net.op(
            "Sigmoid", net.op("Identity", net.rows(CLASSES, [stride]), name=f"logits_{stride}"), name=f"cls_{stride}"
        )
        net.op("Identity", net.rows(16, [stride]), name=f"dis_{stride}")
        count = (SIDE // stride) ** 2
        outputs |= {f"cls_{stride}": [shape[0], count, CLASSES], f"dis_{stride}": [shape[0], count, 16]}
    return net.model(outputs, shape)


def maps(shape: Shape = USUAL) -> onnx.ModelProto:
    """Of both strides [N,2*(5+K),h,w] with two anchors a cell, nothing decoded."""
    net = Net(14)
    for stride in STRIDES:
        net.op("Identity", net.map(stride, 2 * (5 + CLASSES)), name=f"map_{stride}")
    return net.model({f"map_{s}": [shape[0], 2 * (5 + CLASSES), SIDE // s, SIDE // s] for s in STRIDES}, shape)


def suppressed(shape: Shape = USUAL, more: int = 0, scales: Sequence[float] = (8, 8, 16, 16)) -> onnx.ModelProto:
    """[N,A,6]: box, score and class, as suppression in the graph leaves them; ``more`` numbers may follow."""
    net = Net(15)
    sure = net.op("Sigmoid", net.rows(CLASSES))
    best = net.op("ReduceMax", sure, net.constant([2], np.int64), keepdims=1)
    index = net.op("Cast", net.op("ArgMax", sure, axis=2, keepdims=1), to=FLOAT)
    net.op("Concat", net.boxes(*scales), best, index, *([net.rows(more)] if more else []), name="out", axis=2)
    return net.model({"out": [shape[0], cells_of(shape), 6 + more]}, shape)


def torchvision(shape: Shape = (1, *USUAL[1:])) -> onnx.ModelProto:
    net, zero = Net(16), None
    sure = net.op("Sigmoid", net.rows(CLASSES))
    zero = net.constant([0], np.int64)
    net.op("Squeeze", net.boxes(8, 8, 16, 16), zero, name="boxes")
    net.op("Squeeze", net.op("ArgMax", sure, axis=2, keepdims=0), zero, name="labels")
    net.op("Squeeze", net.op("ReduceMax", sure, net.constant([2], np.int64), keepdims=0), zero, name="scores")
    return net.model({"boxes": [CELLS, 4], "labels": [CELLS], "scores": [CELLS]}, shape, labels=INT64)


def tensorflow(shape: Shape = USUAL) -> onnx.ModelProto:
    """Seven of the detections are meant."""
    net = Net(17)
    sure = net.op("Sigmoid", net.rows(CLASSES))
    net.op("Identity", net.boxes(0.5, 0.5, 1, 1), name="detection_boxes")
    net.op("Cast", net.op("ArgMax", sure, axis=2, keepdims=0), name="detection_classes", to=FLOAT)
    net.op("ReduceMax", sure, net.constant([2], np.int64), name="detection_scores", keepdims=0)
    batch = net.op("Shape", "x", start=0, end=1)
    net.op("Expand", net.constant([7.0]), batch, name="num_detections")
    count = cells_of(shape)
    outputs = {"detection_boxes": [shape[0], count, 4], "detection_classes": [shape[0], count]}
    return net.model({**outputs, "detection_scores": [shape[0], count], "num_detections": [shape[0]]}, shape)


def grid(height: int = SIDE, width: int = SIDE, strides: Sequence[int] = STRIDES) -> tuple[Array, Array]:
    """Column and row [A,2], and pixels a cell [A,1], of every cell."""
    found = [(c, r, s) for s in strides for r in range(height // s) for c in range(width // s)]
    return np.array(found, np.float64)[:, :2], np.array(found, np.float64)[:, 2:]


def around(centre: Array, sides: Array) -> Array:
    return np.concatenate([centre - sides / 2, centre + sides / 2], axis=2)


def softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def sigmoid(logits: Array) -> Array:
    return 1 / (1 + np.exp(-logits))


@dataclass(frozen=True)
class Decoded:
    """What outputs mean: boxes [N,A,4], scores and confidences [N,A,K]."""

    boxes: Array
    value: Array
    confidence: Array


def read_yolov5(out: Arrays) -> Decoded:
    rows = out["out"]
    product = rows[..., 4:5] * rows[..., 5:]
    return Decoded(around(rows[..., :2], rows[..., 2:4]), product, product)


def read_yolov8(out: Arrays) -> Decoded:
    rows = out["out"].transpose(0, 2, 1)
    classes = rows[..., 4 : 4 + CLASSES]
    return Decoded(around(rows[..., :2], rows[..., 2:4]), classes, classes)


def read_yolox(out: Arrays) -> Decoded:
    rows, (places, steps) = out["out"], grid()
    product = rows[..., 4:5] * rows[..., 5:]
    return Decoded(around((rows[..., :2] + places) * steps, np.exp(rows[..., 2:4]) * steps), product, product)


def read_ssd(out: Arrays) -> Decoded:
    sure = out["scores"] * [0, 1, 1, 1]
    return Decoded(out["boxes"] * SIDE, np.log(out["scores"]), sure)


def read_detr(out: Arrays) -> Decoded:
    boxes = out["pred_boxes"] * SIDE
    return Decoded(around(boxes[..., :2], boxes[..., 2:]), out["logits"][..., :-1], softmax(out["logits"])[..., :-1])


def read_rtdetr(out: Arrays) -> Decoded:
    boxes, classes = out["out"][..., :4] * SIDE, out["out"][..., 4:]
    return Decoded(around(boxes[..., :2], boxes[..., 2:]), classes, classes)


def read_nanodet(out: Arrays) -> Decoded:
    sure = np.concatenate([out[f"cls_{s}"] for s in STRIDES], 1)
    logits = np.concatenate([out[f"dis_{s}"] for s in STRIDES], 1)
    places, steps = grid()
    distances = (softmax(logits.reshape(*logits.shape[:2], 4, 4)) * np.arange(4)).sum(3) * steps
    middle = (places + 0.5) * steps
    boxes = np.concatenate([middle - distances[..., :2], middle + distances[..., 2:]], 2)
    return Decoded(boxes, np.log(sure / (1 - sure)), sure)


ANCHORS = [[[3.0, 4.0], [6.0, 2.0]], [[9.0, 7.0], [5.0, 11.0]]]


def read_maps(out: Arrays, *, version: int) -> Decoded:
    """YOLOv3 or YOLOv5, anchor by anchor within a scale."""
    boxes, products = [], []
    for stride, anchors in zip(STRIDES, ANCHORS):
        places, _ = grid(strides=[stride])
        whole = out[f"map_{stride}"]
        for index, anchor in enumerate(anchors):
            part = whole[:, index * (5 + CLASSES) : (index + 1) * (5 + CLASSES)]
            rows = part.reshape(len(part), 5 + CLASSES, -1).transpose(0, 2, 1)
            near = sigmoid(rows[..., :2])
            far = np.exp(rows[..., 2:4]) if version == 3 else (2 * sigmoid(rows[..., 2:4])) ** 2
            centre = near + places if version == 3 else 2 * near - 0.5 + places
            boxes.append(around(centre * stride, far * anchor))
            products.append(sigmoid(rows[..., 4:5]) * sigmoid(rows[..., 5:]))
    product = np.concatenate(products, 1)
    return Decoded(np.concatenate(boxes, 1), product, product)


def by_class(score: Array, ids: Array) -> Array:
    return score[..., None] * (ids[..., None] == np.arange(CLASSES))


def read_suppressed(out: Arrays) -> Decoded:
    sure = by_class(out["out"][..., 4], out["out"][..., 5])
    return Decoded(out["out"][..., :4], sure, sure)


def read_torchvision(out: Arrays) -> Decoded:
    sure = by_class(out["scores"][None], out["labels"][None])
    return Decoded(out["boxes"][None], sure, sure)


def read_tensorflow(out: Arrays) -> Decoded:
    counted = np.arange(CELLS) < out["num_detections"][:, None]
    sure = by_class(out["detection_scores"] * counted, out["detection_classes"])
    return Decoded(out["detection_boxes"][..., [1, 0, 3, 2]] * SIDE, sure, sure)


@dataclass(frozen=True)
class Family:
    """A tiny detector, its layout, and how NumPy reads it; ``free``: scores are known but for a constant of a row."""

    build: Callable[..., onnx.ModelProto]
    layout: Any
    read: Callable[[Arrays], Decoded]
    batch: int = 2
    free: bool = False
    probability: str | None = "identity"
    blank: int | None = field(default=None)


_MAPS = {
    "outputs": ["map_4", "map_8"],
    "objectness": 4,
    "activation": "sigmoid",
    "strides": STRIDES,
    "anchors": ANCHORS,
}
FAMILIES = {
    "yolov5": Family(yolov5, "yolov5", read_yolov5),
    "yolov8": Family(yolov8, "yolov8", read_yolov8),
    "yolox": Family(yolox, {"name": "yolox", "strides": STRIDES}, read_yolox),
    "ssd": Family(ssd, {"name": "ssd", "background": 0}, read_ssd, free=True, probability="softmax", blank=0),
    "detr": Family(detr, "detr", read_detr, probability=None),
    "rtdetr": Family(rtdetr, "rtdetr", read_rtdetr),
    "nanodet": Family(
        nanodet, {"name": "nanodet", "strides": STRIDES, "reg_max": 3}, read_nanodet, probability="sigmoid"
    ),
    "yolov3 maps": Family(maps, {"name": "boxes", "decode": "yolov3", **_MAPS}, lambda out: read_maps(out, version=3)),
    "yolov5 maps": Family(maps, {"name": "yolov5", "decode": "yolov5", **_MAPS}, lambda out: read_maps(out, version=5)),
    "yolov8_nms": Family(suppressed, {"name": "yolov8_nms", "classes": CLASSES}, read_suppressed),
    "torchvision": Family(torchvision, {"name": "torchvision", "classes": CLASSES}, read_torchvision, batch=1),
    "tensorflow": Family(tensorflow, {"name": "tensorflow", "classes": CLASSES}, read_tensorflow),
}
