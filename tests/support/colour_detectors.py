"""Detectors written by hand that find squares of one colour, shaped like YOLOv5 and YOLOv8, and a photo of squares.

Every cell of 8 and of 16 pixels looks at the square of 4 x 4 cells around its middle: how much of it is red, green or
blue, less half of how much of a square twice as large is. Boxes are these squares.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
from onnx import helper

from support.graphs import FLOAT, build

SIDE, STRIDES, CELLS = 128, (8, 16), 4
LABELS = ("red", "green", "blue")
#: The squares of :func:`photo` (x0, y0, x1, y1), in pixels.
RED, BLUE = (30, 70, 105, 145), (140, 45, 290, 195)
_SHARP, _ENOUGH = 20.0, 0.6


def yolo(shape: str, **preprocessing: Any) -> onnx.ModelProto:
    """x [N,3,128,128] -> "yolov5" [N,A,5+3] or "yolov8" [N,4+3,A]; photos are letterboxed unless stated otherwise."""
    colours = np.array([[1, -0.5, -0.5], [-0.5, 1, -0.5], [-0.5, -0.5, 1]], np.float32)[:, :, None, None]
    constants = {
        "colours": colours,
        "half": np.float32(0.5),
        "enough": np.float32(_ENOUGH),
        "rows": np.array([0, 3, -1]),
    }
    constants |= {"sharp": np.float32(_SHARP), "one": np.array([1])}
    nodes = [helper.make_node("Conv", ["x", "colours"], ["linear"]), helper.make_node("Relu", ["linear"], ["seen"])]
    boxes = []
    for s in STRIDES:
        for name, cells in ((f"inner{s}", CELLS), (f"outer{s}", 2 * CELLS)):
            window: dict[str, Any] = {"kernel_shape": [cells * s] * 2, "pads": [(cells - 1) * s // 2] * 4}
            nodes.append(
                helper.make_node("AveragePool", ["seen"], [name], strides=[s, s], count_include_pad=1, **window)
            )
        nodes += [
            helper.make_node("Mul", [f"outer{s}", "half"], [f"around{s}"]),
            helper.make_node("Sub", [f"inner{s}", f"around{s}"], [f"contrast{s}"]),
            helper.make_node("Reshape", [f"contrast{s}", "rows"], [f"flat{s}"]),
        ]
        middles = (np.arange(SIDE // s) + 0.5) * s
        y, x = np.meshgrid(middles, middles, indexing="ij")
        boxes.append(np.stack([x.ravel(), y.ravel(), np.full(x.size, CELLS * s), np.full(x.size, CELLS * s)]))
    constants["boxes"] = np.concatenate(boxes, axis=1)[None].astype(np.float32)
    count = constants["boxes"].shape[2]
    nodes += [
        helper.make_node("Concat", [f"flat{s}" for s in STRIDES], ["contrast"], axis=2),
        helper.make_node("Sub", ["contrast", "enough"], ["over"]),
        helper.make_node("Mul", ["over", "sharp"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["classes"]),
        helper.make_node("Shape", ["x"], ["batch"], start=0, end=1),
        helper.make_node("Concat", ["batch", "one", "one"], ["times"], axis=0),
        helper.make_node("Tile", ["boxes", "times"], ["all"]),
    ]
    if shape == "yolov8":
        nodes.append(helper.make_node("Concat", ["all", "classes"], ["out"], axis=1))
        extents: list[Any] = ["N", 4 + len(LABELS), count]
    else:
        nodes += [
            helper.make_node("ReduceMax", ["classes", "one"], ["objectness"], keepdims=1),
            helper.make_node("Concat", ["all", "objectness", "classes"], ["rows first"], axis=1),
            helper.make_node("Transpose", ["rows first"], ["out"], perm=[0, 2, 1]),
        ]
        extents = ["N", count, 5 + len(LABELS)]
    model = build(nodes, [("x", FLOAT, ["N", 3, SIDE, SIDE])], [("out", FLOAT, extents)], constants)
    stated = {"version": 1, "resize": "letterbox", "size": SIDE, **preprocessing}
    helper.set_model_props(
        model, {"onnxplain.preprocessing": json.dumps(stated), "onnxplain.labels": json.dumps(LABELS)}
    )
    return model


def photo() -> np.ndarray:
    """Grey noise, uint8 [200,300,3], with a red and a blue square."""
    noise = np.random.default_rng(0).integers(90, 160, (200, 300, 1))
    found = np.repeat(noise, 3, axis=2).astype(np.uint8)
    for (x0, y0, x1, y1), colour in ((RED, (255, 20, 20)), (BLUE, (20, 20, 255))):
        found[y0:y1, x0:x1] = colour
    return found
