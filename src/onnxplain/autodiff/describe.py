"""Say in the file itself what was added to it: of every new input and output, what it holds.

The metadata ``onnxplain.inputs`` and ``onnxplain.outputs`` are JSON objects, by name; each output has its entry in its
own metadata, too, under ``onnxplain``. docs/deployment_files.md lists the fields.
"""

from __future__ import annotations

import json
from dataclasses import fields

import onnx_ir as ir

from ..target import Kind
from .graph.channels import channel_axis
from .photo.inside import Photo
from .request import Request

_PREFIX = "onnxplain."
Entry = dict[str, object]

#: What an added output holds, by the first part of the key that its name is recorded under.
_WHAT = {
    "score": "score",
    "grad": "gradient",
    "saliency": "saliency map",
    "magnitude": "maximum over channels of the absolute gradient",
    "at": "place that was chosen",
    "class_scores": "scores of all classes",
    "scores": "scores of all classes at all places",
    "boxes": "boxes (x0, y0, x1, y1) in pixels of the model's input",
    "confidence": "confidence of all classes at all places",
    "value": "inner tensor",
}
#: What an added input holds, its least value, and its axes.
_INPUTS: dict[str, tuple[str, int | None, list[str]]] = {
    "target": ("class index", 0, ["N"]),
    "contrast": ("class index, whose score is subtracted", 0, ["N"]),
    "position": ("step or detection of the output", 0, ["N", "1"]),
    "region": ("weight of each place of the output", None, ["N", "places"]),
    "box": ("box (x0, y0, x1, y1) in pixels of the {pixels}", None, ["N", "4"]),
    "reference": ("vector that the output is compared with", None, ["N", "D"]),
    "cotangent": ("weights of the output's elements", None, ["as the output"]),
    "photo": ("photo, RGB", 0, ["N", "H", "W", "C"]),
}


def describe(model: ir.Model, request: Request, photo: Photo | None) -> None:
    """Write the descriptions of what was added into the metadata of ``model`` and of its outputs."""
    names = {key.removeprefix(_PREFIX): name for key, name in model.metadata_props.items() if key.startswith(_PREFIX)}
    outputs = {value.name: value for value in model.graph.outputs}
    values = {value.name: value for value in model.graph.inputs}
    given, made = dict[str, Entry](), dict[str, Entry]()
    for key, name in names.items():
        if key.removeprefix("contrast_") in _INPUTS and name in values:
            given[name] = _input(key, photo)
    values |= {value.name: value for node in model.graph for value in node.outputs}
    for key, name in names.items():
        kind, _, source = key.partition(".")
        if kind in _WHAT and name in outputs:
            axes = _axes(kind, outputs[name], values.get(source), request.channel_axis)
            made[name] = _output(kind, source, axes, request, names["score_tensor"])
            outputs[name].metadata_props["onnxplain"] = json.dumps(made[name])
    model.metadata_props[f"{_PREFIX}outputs"] = json.dumps(made)
    model.metadata_props[f"{_PREFIX}inputs"] = json.dumps(given)


def _output(kind: str, source: str, axes: list[str], request: Request, of: str) -> Entry:
    """What an output holds; ``source`` is the tensor that it belongs to, ``of`` the one that is explained."""
    least = 0 if kind in ("saliency", "magnitude", "at", "confidence") else None
    entry: Entry = {"what": _WHAT[kind], "axes": axes}
    entry["range"] = [least, 1 if kind in ("saliency", "confidence") else None]
    if kind in ("grad", "saliency", "magnitude"):
        entry |= {"method": "gradient" if kind == "grad" else "saliency", "wrt": source}
    if kind != "value":
        entry |= {"of": of, "target": _kind(request.target)}
        entry |= {} if request.target == "cotangent" else {"score": request.score}
    return entry


def _axes(kind: str, value: ir.Value, source: ir.Value | None, channels: int | None) -> list[str]:
    """The names of axes: N the batch, C channels, D, H, W places of an image, F features; numbers for others."""
    rank = 0 if value.shape is None else len(value.shape)
    if kind == "saliency" and rank == 3:
        return ["N", "H", "W"]
    if kind == "grad" and rank == 2:
        return ["N", "F"]
    found: list[str] = ["N", *(str(axis) for axis in range(1, rank))]
    if kind == "grad" and source is not None and 3 < rank <= 5:
        axis = channel_axis(source) if channels is None else channels % rank
        if axis is not None:
            found[1:] = ["D", "H", "W"][5 - rank :]
            found.insert(axis, "C")
    return found


def _input(key: str, photo: Photo | None) -> Entry:
    """What an input holds."""
    what, least, axes = _INPUTS[key.removeprefix("contrast_")]
    if key.startswith("contrast_"):
        what = f"{what}, for the score that is subtracted"
    pixels = "model's input" if photo is None else "photo"
    return {"what": what.format(pixels=pixels), "axes": axes, "range": [least, 255 if key == "photo" else None]}


def _kind(target: Kind | str) -> object:
    """Which question the file answers, without the fields that say nothing."""
    if isinstance(target, str):
        return target
    stated = {field.name: getattr(target, field.name) for field in fields(target)}
    return {name: _kind(v) if isinstance(v, Kind) else v for name, v in stated.items() if v is not None}
