"""What the axes and rows of an output mean: stated by the caller, the model's metadata or a file beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import InputError

#: Metadata that state a layout, as JSON: a name, or an object with the fields of :class:`Layout`.
METADATA_KEY = "onnxplain.layout"

#: Outputs without places, and with places that are steps or pixels.
PLAIN = ("classes", "embedding", "sequence", "ctc", "segmentation", "map")
#: Outputs of detectors, by the family that has them; "boxes" is described by its fields alone.
DETECTORS = (
    "yolov5", "yolov8", "yolov8_nms", "yolox", "ssd", "detr", "nanodet", "yunet", "fastestdet", "torchvision",
    "tensorflow", "boxes",
)  # fmt: skip
_AXES = ("class_axis", "batch_axis")


@dataclass(frozen=True)
class Layout:
    """A layout: its ``name``, and what else is stated of it.

    - ``class_axis``, ``batch_axis``: of the output; None where the graph tells. ``batch_axis=-1`` of an output that has
      none: the model takes one sample at a time.
    - ``fields``: of "ctc" the class ``blank``; of detectors what their decoding needs (``strides``, ``anchors``,
      ``outputs``, ``box``, ``objectness``, ``classes`` ...), see :mod:`onnxplain.autodiff.targets.detectors`.
    """

    name: str | None = None
    class_axis: int | None = None
    batch_axis: int | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def detects(self) -> bool:
        """Whether the output holds detections."""
        return self.name in DETECTORS


LayoutLike = str | Mapping[str, Any] | Layout


def find_layout(stated: LayoutLike | None, metadata: Mapping[str, str] | None = None) -> Layout:
    """The layout as stated, else that of the model's metadata (ours, or those that Ultralytics writes).

    Raises:
        InputError: there is no layout of that name, or a field makes no sense.
    """
    if stated is None and metadata is not None:
        stated = _from_metadata(metadata)
    if stated is None:
        return Layout()
    if isinstance(stated, Layout):
        return stated
    if isinstance(stated, str):
        stated = {"name": stated}
    if not isinstance(stated, Mapping):
        raise InputError(f"layout is a name or a dict; found {type(stated).__name__}. {_known()}")
    fields = dict(stated)
    name = fields.pop("name", None)
    if name is not None and name not in PLAIN + DETECTORS:
        raise InputError(f"layout {name!r} is unknown. {_known()}")
    axes: dict[str, int | None] = {}
    for axis in _AXES:
        value = fields.pop(axis, None)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise InputError(f"layout: {axis} is the number of an axis; found {value!r}.")
        axes[axis] = value
    return Layout(name, axes["class_axis"], axes["batch_axis"], fields)


def _from_metadata(metadata: Mapping[str, str]) -> LayoutLike | None:
    text = metadata.get(METADATA_KEY)
    if text is not None:
        try:
            found = json.loads(text)
        except ValueError:
            found = text
        if not isinstance(found, (str, dict)):
            raise InputError(f"the metadata {METADATA_KEY} hold {text[:80]!r}; they are a layout's name or its fields.")
        return found
    if "ultralytics" in metadata.get("author", "").lower() + metadata.get("description", "").lower():
        tasks = {"detect": "yolov8", "classify": "classes"}
        return tasks.get(metadata.get("task", ""))
    return None


def _known() -> str:
    return f"There are {', '.join(PLAIN + DETECTORS)}."
