"""What the axes and rows of an output mean: stated by the caller, the model's metadata or a file beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .checks import check_file, read_literal
from .errors import InputError
from .rtdetr import chooses_classes, is_rtdetr

#: Metadata that state a layout, as JSON: a name, or an object with the fields of :class:`Layout`.
METADATA_KEY = "onnxplain.layout"
#: Bytes of a file that states one.
_LARGEST_FILE = 1 << 16

#: Outputs without places, and with places that are steps or pixels.
PLAIN = ("classes", "embedding", "sequence", "ctc", "segmentation", "map")
#: Outputs of detectors, by the family that has them; "boxes" is described by its fields alone.
DETECTORS = (
    "yolov5", "yolov8", "yolov8_nms", "yolox", "ssd", "detr", "rtdetr", "nanodet", "yunet", "fastestdet",
    "torchvision", "tensorflow", "boxes",
)  # fmt: skip
_AXES = ("class_axis", "batch_axis")
_ROWS = (
    "outputs", "image", "axis", "box", "objectness", "classes", "format", "scale", "activation", "keypoints",
    "keypoint_names", "decode", "strides", "anchors",
)  # fmt: skip
_PAIR = ("outputs", "image", "format", "scale", "activation", "background")
_CHOSEN = ("outputs", "image", "format", "scale", "classes")
#: What may be stated of a layout besides its name and axes; layouts that are not here have nothing more.
FIELDS: Mapping[str, tuple[str, ...]] = {
    "ctc": ("blank",),
    **dict.fromkeys(("yolov5", "yolov8", "yolox", "rtdetr", "fastestdet", "boxes"), _ROWS),
    **dict.fromkeys(("ssd", "detr"), _PAIR),
    **dict.fromkeys(("yolov8_nms", "torchvision", "tensorflow"), _CHOSEN),
    "nanodet": ("outputs", "image", "strides", "offset", "reg_max", "activation"),
    "yunet": ("outputs", "image", "strides"),
}


@dataclass(frozen=True)
class Layout:
    """A layout: its ``name``, and what else is stated of it.

    - ``class_axis``, ``batch_axis``: of the output; None where the graph tells. ``batch_axis=-1`` of an output that has
      none: the model takes one sample at a time.
    - ``fields``: of "ctc" the class ``blank``; of detectors what differs from the usual, by the names in ``FIELDS``,
      whose meaning :mod:`onnxplain.autodiff.targets.detectors` states.
    """

    name: str | None = None
    class_axis: int | None = None
    batch_axis: int | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def detects(self) -> bool:
        """Whether the output holds detections."""
        return self.name in DETECTORS

    def to_dict(self) -> dict[str, Any]:
        """Return what is stated, as plain values for JSON; :func:`find_layout` reads it back to an equal object."""
        stated = {"name": self.name, "class_axis": self.class_axis, "batch_axis": self.batch_axis, **self.fields}
        return {name: value for name, value in stated.items() if value is not None}


LayoutLike = str | Mapping[str, Any] | Layout


def find_layout(stated: LayoutLike | None, metadata: Mapping[str, str] | None = None) -> Layout:
    """The layout as stated, else that of the model's metadata (ours, or those that Ultralytics writes).

    Where both name the same layout, the metadata fill in what is not stated.

    Raises:
        InputError: there is no layout of that name, or a field makes no sense.
    """
    found = Layout() if metadata is None else _checked(_from_metadata(metadata))
    if stated is None:
        return found
    made = _checked(stated)
    return replace(made, fields={**found.fields, **made.fields}) if made.name == found.name else made


def layout_beside(model: str | os.PathLike[str]) -> Layout | None:
    """Return what the file ``<model>.layout.json`` beside a model states, None where there is none.

    Raises:
        InputError: it holds no layout; the message names the file.
    """
    place = Path(model).with_suffix(".layout.json")
    check_file(place, InputError)
    try:
        with place.open("rb") as file:
            text = file.read(_LARGEST_FILE + 1)
    except OSError:
        return None
    if len(text) > _LARGEST_FILE:
        raise InputError(f"{place} has more than {_LARGEST_FILE} bytes; it states a layout's name or its fields.")
    try:
        return _checked(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place} states no layout: {error}") from error


def _checked(stated: LayoutLike) -> Layout:
    if isinstance(stated, Layout):
        return stated
    if isinstance(stated, str):
        stated = {"name": stated}
    if not isinstance(stated, Mapping):
        raise InputError(f"layout is a name or a dict; found {type(stated).__name__}. {_known()}.")
    fields = dict(stated)
    name = fields.pop("name", None)
    if name is not None and name not in PLAIN + DETECTORS:
        raise InputError(f"layout {name!r} is unknown. {_known()}.")
    axes: dict[str, int | None] = {}
    for axis in _AXES:
        value = fields.pop(axis, None)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise InputError(f"layout: {axis} is the number of an axis; found {value!r}.")
        axes[axis] = value
    known = FIELDS.get(name or "", ())
    unknown = [field for field in fields if field not in known]
    if unknown:
        raise InputError(
            f"layout {name!r} has no field {unknown[0]!r}; it has {', '.join((*_AXES, *known))}."
            if name is not None
            else f"layout: {unknown[0]!r} belongs to a named layout; state its name, too. {_known()}."
        )
    return Layout(name, axes["class_axis"], axes["batch_axis"], fields)


def _from_metadata(metadata: Mapping[str, str]) -> LayoutLike:
    text = metadata.get(METADATA_KEY)
    if text is not None:
        found = _parsed(text)
        found = text if found is None else found
        if not isinstance(found, (str, dict)):
            raise InputError(f"the metadata {METADATA_KEY} hold {text[:80]!r}; they are a layout's name or its fields.")
        return found
    if "ultralytics" in metadata.get("author", "").lower() + metadata.get("description", "").lower():
        return _from_ultralytics(metadata)
    return Layout()


def _from_ultralytics(metadata: Mapping[str, str]) -> LayoutLike:
    """What Ultralytics writes: task, names of the classes, shape of the keypoints, whether suppression is inside."""
    task = metadata.get("task", "")
    if task == "classify":
        return "classes"
    names, arguments = _parsed(metadata.get("names", "")), _parsed(metadata.get("args", ""))
    if task not in ("detect", "segment", "pose") or (task == "segment" and not names):
        return Layout()
    fields: dict[str, Any] = {} if not isinstance(names, (dict, list)) else {"classes": len(names)}
    if is_rtdetr(metadata):
        return _of_rtdetr(chooses_classes(metadata), fields)
    suppressed = isinstance(arguments, dict) and arguments.get("nms") is True
    if suppressed or metadata.get("end2end", "").lower() == "true":
        return {"name": "yolov8_nms", **fields}
    keypoints = _parsed(metadata.get("kpt_shape", ""))
    if task == "pose" and keypoints is not None:
        fields["keypoints"] = keypoints
    return {"name": "yolov8", **fields}


def _of_rtdetr(chosen: bool | None, fields: Mapping[str, Any]) -> LayoutLike:
    """Boxes in shares of the image, and behind them the class that was chosen or the scores of all."""
    if chosen is None:
        return Layout()
    if chosen:
        return {"name": "yolov8_nms", "format": "cxcywh", "scale": "normalised", **fields}
    return {"name": "rtdetr", **fields}


def _parsed(text: str) -> Any:
    """What ``text`` says in JSON, or as Python writes it; None if in neither."""
    for read in (json.loads, read_literal):
        with suppress(ValueError, RecursionError):
            return read(text)
    return None


def _known() -> str:
    return f"There are {', '.join(PLAIN + DETECTORS)}"
