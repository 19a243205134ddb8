"""All detections of a model, as a differentiated model returns them, and how to compare them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from onnxplain.autodiff.differentiate import add_gradients
from onnxplain.autodiff.graph.io import read_model, write_model
from onnxplain.autodiff.request import Request

from support.detectors import SIDE, Array
from support.graphs import run


def image(batch: int = 2, height: int = SIDE, width: int = SIDE) -> Array:
    return np.random.default_rng(3).standard_normal((batch, 3, height, width)).astype(np.float32)


def everything(model: onnx.ModelProto, layout: Any, x: Array, **options: Any) -> dict[str, Array]:
    """ "our boxes", "our confidence" and "our scores" of all detections, and the model's own outputs."""
    read = read_model(model)
    scores = add_gradients(read, Request.of(None, layout=layout, predict=True, **options))
    assert scores is not None
    count = scores.extents[0]
    if not isinstance(count, int):
        count = sum((x.shape[2] // stride) * (x.shape[3] // stride) for stride in (8, 16, 32))
    region = np.zeros((len(x), count), np.float32)
    made = write_model(read)
    feed = made.graph.input[0].name
    found = run(made, **{feed: x}, target=np.zeros(len(x), np.int64), region=region)
    metadata = {entry.key: entry.value for entry in made.metadata_props}
    return found | {f"our {key}": found[metadata[f"onnxplain.{key}"]] for key in ("boxes", "confidence", "scores")}


def close(found: Array, expected: Array, tolerance: float = 1e-6) -> bool:
    """Whether the greatest difference is ``tolerance`` of the greatest number."""
    return found.shape == expected.shape and bool(abs(found - expected).max() <= tolerance * abs(expected).max())


def iou(boxes: Array, box: Array) -> Array:
    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
    shared = np.maximum(high - low, 0).prod(1)
    areas = [(b[..., 2:] - b[..., :2]).prod(-1) for b in (boxes, box)]
    return shared / (areas[0] + areas[1] - shared)
