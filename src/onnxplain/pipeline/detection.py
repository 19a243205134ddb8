"""From the outputs of a detector to what it found, and from what was chosen of an output to what is drawn of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..layout import DETECTORS
from ..model.attributor import Attributor
from ..model.question import Question
from ..photos import Geometry
from ..results.detection import Detection
from ..target import Box

Array = NDArray[Any]

#: Layouts whose detections are different objects already: chosen in the graph, or trained to be (DETR, RT-DETR).
DISTINCT = ("yolov8_nms", "torchvision", "tensorflow", "detr", "rtdetr")


def detections(
    attributor: Attributor,
    feeds: Mapping[str, Array],
    geometry: Geometry | None,
    *,
    threshold: float,
    overlap: float,
    limit: int,
) -> list[Detection]:
    """What the model finds in the one sample of ``feeds``, the surest first; see ``Explainer.detect``.

    ``geometry`` is that of the photo; without it boxes are in pixels of the model's input.

    Raises:
        InputError: the model is no detector, several samples, or a number out of range.
        ProviderError: ONNX Runtime failed.
    """
    for name, value in (("threshold", threshold), ("overlap", overlap)):
        if not 0 <= value <= 1:
            raise InputError(f"detect: {name} is {value}; it lies within 0..1.")
    if limit < 1:
        raise InputError(f"detect: limit is {limit}; it is a number of detections, 1 or more.")
    places = attributor.signature.places
    if places is None or not places.boxes:
        raise InputError(
            "detect: nothing says that the output of the model holds detections. Where it does, state what they look "
            f"like with layout=, one of {', '.join(DETECTORS)}, or with a dict; other models answer explain()."
        )
    if (count := attributor.samples(feeds)) != 1:
        raise InputError(f"detect: there are {count} samples; pass one at a time.")
    maps = attributor.maps(feeds)
    boxes, sure = maps["boxes"][0].astype(np.float64), maps["confidence"][0]
    classes = sure.argmax(axis=1)
    scores = sure[np.arange(len(sure)), classes].astype(np.float64)
    rows = np.flatnonzero((scores >= threshold) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1))
    if places.layout in DISTINCT:
        rows = rows[np.argsort(-scores[rows], kind="stable")[:limit]]
    else:
        rows = rows[suppressed(boxes[rows], scores[rows], classes[rows], overlap, limit)]
    found = []
    for row in rows:
        box = Box(*boxes[row]) if geometry is None else box_in_photo(boxes[row], geometry)
        if box is not None:
            index = int(classes[row])
            found.append(Detection.made(box, index, attributor.classes.label(index), float(scores[row]), int(row)))
    return found


def suppressed(
    boxes: Array, scores: Array, classes: Array, overlap: float, limit: int | None = None
) -> NDArray[np.intp]:
    """Non-maximum suppression: the rows that stay, the highest score first, at most ``limit``.

    A row is left out if a row of the same class with a higher score stays, and the two overlap by more than
    ``overlap`` (intersection over union). Of equal scores the earlier row counts as higher.

    Args:
        boxes: [A,4], corners x0, y0, x1, y1.
        scores, classes: [A].
        overlap: 0..1.
        limit: None: all.
    """
    order = np.argsort(-scores, kind="stable")
    kept: list[np.intp] = []
    while len(order) and (limit is None or len(kept) < limit):
        best, order = order[0], order[1:]
        kept.append(best)
        same = classes[order] == classes[best]
        order = order[~(same & (_overlaps(boxes[order], boxes[best]) > overlap))]
    return np.array(kept, np.intp)


def _overlaps(boxes: Array, box: Array) -> Array:
    """The intersection over the union of boxes [A,4] with one, [A]; 0 of two that are empty."""
    sides = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    shared = np.maximum(sides, 0).prod(axis=1)
    union = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod() - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def box_in_photo(corners: Array, geometry: Geometry) -> Box | None:
    """A box [4] of the model's input in the photo's pixels, as far as it lies within the photo; None if nowhere."""
    left, top, right, bottom = map(float, corners)
    (y0, x0), (y1, x1) = geometry.point_to_photo(top, left), geometry.point_to_photo(bottom, right)
    height, width = geometry.photo
    x0, y0, x1, y1 = max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))
    return Box(x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def shown_place(question: Question, row: int, geometry: Geometry) -> dict[str, Any]:
    """Where in the photo the number that is explained of sample ``row`` is from, by field of an explanation.

    ``box`` is that of a detection, ``region`` [H,W] the weights of the places of a map; None where there is none.
    """
    box = None if question.boxes is None else question.boxes[row]
    found: dict[str, Any] = {"box": None if box is None else box_in_photo(box, geometry), "region": None}
    place = None if question.places is None else question.places[row]
    if isinstance(place, str) and place in ("own", "mask"):
        region = question.feeds[question.attributor.signature.target_inputs["region"]][row]
        if region.ndim == 2:
            found["region"] = geometry.to_photo(region)
    return found
