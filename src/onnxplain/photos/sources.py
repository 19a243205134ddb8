"""Where a preprocessing comes from: caller, model metadata, sidecar file; never a guess.

The order is fixed. The first source that says anything decides; if what it says contradicts the model, or
cannot be read, that is an error and no later source is asked.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from ..checks import read_literal
from ..errors import PreprocessingError
from ..rtdetr import is_rtdetr
from . import sidecars
from .model_input import ModelInput
from .preprocessing import METADATA_KEY, Channels, Layout, Preprocessing
from .presets import PRESETS, preset_for

PreprocessingLike: TypeAlias = Preprocessing | str | os.PathLike[str] | Mapping[str, Any]

_LETTERBOX_TASKS = ("detect", "segment", "pose", "obb")
_PIXEL_FORMATS: dict[str, Channels | None] = {"gray8": "L", "rgb8": "RGB", "bgr8": "BGR", "rgba8": None, "bgra8": None}
#: scale and mean of the pixel ranges that ONNX names (MetadataProps): x = p * scale - mean.
_PIXEL_RANGES = {
    "nominalrange_0_255": (1.0, 0.0),
    "normalized_0_1": (1 / 255, 0.0),
    "normalized_1_1": (2 / 255, 1.0),
    "nominalrange_16_235": (219 / 255, -16.0),
}


@dataclass(frozen=True)
class ResolvedPreprocessing:
    """A preprocessing that fits the model, and in words where it was found."""

    preprocessing: Preprocessing
    source: str


def resolve_preprocessing(
    explicit: PreprocessingLike | None = None,
    *,
    metadata: Mapping[str, str] | None = None,
    model_path: str | os.PathLike[str] | None = None,
    input_shape: Sequence[int | str | None],
    input_dtype: str = "float32",
    layout: Layout | None = None,
) -> ResolvedPreprocessing:
    """Find the preprocessing of a model.

    Asked in this order: ``explicit`` (a Preprocessing, the name of a preset, a dict of its fields, or the
    path of a JSON file: ours, Hugging Face's or timm's); ``metadata`` of the model (``onnxplain.preprocessing``,
    ultralytics' ``task`` and ``imgsz``, ONNX's ``Image.*``); files beside ``model_path``
    (``<model>.preprocessing.json``, ``preprocessor_config.json``, timm's ``config.json``).

    ``input_shape`` is the model's input with names or None for open extents. Layout and float type always
    follow the model; a preset also follows its size and channel count.

    Raises:
        PreprocessingError: nothing is found (the message lists the options), or what is found contradicts the model.
    """
    model = ModelInput.of(input_shape, input_dtype, layout)
    path = None if model_path is None else Path(model_path)
    found = _from_caller(explicit, model) if explicit is not None else _from_metadata(metadata or {}, model)
    if found is not None and isinstance(explicit, str) and explicit in PRESETS:
        _warn_of_contradiction(found, metadata or {}, model)
    if found is None and path is not None:
        found = _from_sidecar(path, model)
    if found is None:
        where = f" or beside {path.name}" if path else ""
        raise PreprocessingError(
            f"no preprocessing is stated in the model's metadata{where}, and none is guessed. Give one: "
            f"a preset ({', '.join(PRESETS)}), a Preprocessing, a dict of its fields, or a JSON file "
            "(preprocessor_config.json, timm's config.json or <model>.preprocessing.json)."
        )
    return ResolvedPreprocessing(model.fit(found.preprocessing, found.source), found.source)


def _warn_of_contradiction(preset: ResolvedPreprocessing, metadata: Mapping[str, str], model: ModelInput) -> None:
    """Warn where the model's own metadata state another preprocessing than the preset, which counts all the same."""
    try:
        stated = _from_metadata(metadata, model)
        if stated is None or model.fit(stated.preprocessing, "") == model.fit(preset.preprocessing, ""):
            return
    except PreprocessingError:  # what cannot be read, or does not fit, is no reason to stay with it
        return
    warnings.warn(
        f"{preset.source} replaces what {stated.source} states, and the two differ; leave the preset out to take the "
        "model's own.",
        stacklevel=3,
    )


def _from_caller(explicit: PreprocessingLike, model: ModelInput) -> ResolvedPreprocessing:
    if isinstance(explicit, Preprocessing):
        return ResolvedPreprocessing(explicit, "the given Preprocessing")
    if isinstance(explicit, Mapping):
        return ResolvedPreprocessing(_from_object(explicit, model), "the given dict")
    if isinstance(explicit, str) and explicit in PRESETS:
        return ResolvedPreprocessing(preset_for(explicit, model), f'the preset "{explicit}"')
    if not isinstance(explicit, (str, os.PathLike)):
        raise PreprocessingError(
            f"preprocessing is a {type(explicit).__name__}; it is a Preprocessing, a preset, a dict or a JSON file."
        )
    path = Path(explicit)
    if not path.is_file():
        raise PreprocessingError(f"{str(explicit)!r} is neither a preset ({', '.join(PRESETS)}) nor a JSON file.")
    return ResolvedPreprocessing(_from_object(sidecars.read_json_object(path), model), str(path))


def _from_object(values: Mapping[str, Any], model: ModelInput) -> Preprocessing:
    if sidecars.is_hugging_face(values):
        return sidecars.from_hugging_face(values)
    if sidecars.is_timm(values):
        return sidecars.from_timm(values, model)
    return Preprocessing.from_dict(values)


def _from_metadata(metadata: Mapping[str, str], model: ModelInput) -> ResolvedPreprocessing | None:
    if METADATA_KEY in metadata:
        source = f"the model's metadata {METADATA_KEY}"
        try:
            values = json.loads(metadata[METADATA_KEY])
        except (ValueError, RecursionError) as error:
            raise PreprocessingError(f"{source} is not valid JSON: {error}.") from error
        if not isinstance(values, dict):
            raise PreprocessingError(f"{source} is not a JSON object.")
        return ResolvedPreprocessing(Preprocessing.from_dict(values), source)
    if {"task", "stride", "names"} <= set(metadata):
        return _from_ultralytics(metadata, model)
    image_keys = {key.lower(): value for key, value in metadata.items() if key.lower().startswith("image.")}
    return _from_onnx_image(image_keys, model) if "image.nominalpixelrange" in image_keys else None


def _from_ultralytics(metadata: Mapping[str, str], model: ModelInput) -> ResolvedPreprocessing:
    """Ultralytics exports: RGB 0..1; letterbox with grey 114, or for classifiers shorter side and centre crop.

    Photos are stretched for an RT-DETR, whose task is "detect", too. Both resize with OpenCV, which does not
    antialias; Pillow's bilinear filter here does.
    """
    task, source = metadata["task"].strip().lower(), "the model's ultralytics metadata"
    try:
        size = model.size or read_literal(metadata.get("imgsz", ""))
    except ValueError as error:
        raise PreprocessingError(
            f"{source} has imgsz {metadata.get('imgsz', '')[:80]!r}; expected [height, width]."
        ) from error
    if task == "classify":
        return ResolvedPreprocessing(Preprocessing("shortest", size, "bilinear", size), f"{source} (task classify)")
    if task == "detect" and is_rtdetr(metadata):
        return ResolvedPreprocessing(Preprocessing("exact", size, "bilinear"), f"{source} (RT-DETR)")
    if task in _LETTERBOX_TASKS:
        letterbox = Preprocessing("letterbox", size, "bilinear", pad_color=(114, 114, 114))
        return ResolvedPreprocessing(letterbox, f"{source} (task {task})")
    tasks = ", ".join(("classify", *_LETTERBOX_TASKS))
    raise PreprocessingError(f"{source} has task {task!r}; known are {tasks}. State the preprocessing yourself.")


def _from_onnx_image(keys: Mapping[str, str], model: ModelInput) -> ResolvedPreprocessing:
    """ONNX's Image.* keys name pixel format and range, but no resize: the photo is stretched to the input.

    That is how the exporters that write these keys (Custom Vision) feed their own models.
    """
    source = "the model's Image.* metadata"
    pixel_format = keys.get("image.bitmappixelformat", "").lower()
    pixel_range = keys["image.nominalpixelrange"].lower()
    gamma = keys.get("image.colorspacegamma", "srgb").lower()
    channels = _PIXEL_FORMATS.get(pixel_format)
    if channels is None or pixel_range not in _PIXEL_RANGES or gamma != "srgb":
        raise PreprocessingError(
            f"{source} states BitmapPixelFormat {pixel_format!r}, NominalPixelRange {pixel_range!r}, "
            f"ColorSpaceGamma {gamma!r}; supported are Gray8, Rgb8, Bgr8 with "
            f"{', '.join(_PIXEL_RANGES)} and sRGB. State the preprocessing yourself."
        )
    if model.size is None:
        raise PreprocessingError(f"{source} names no size and the model fixes none; state the preprocessing yourself.")
    scale, mean = _PIXEL_RANGES[pixel_range]
    preprocessing = Preprocessing(
        "exact",
        model.size,
        "bilinear",
        channels=channels,
        scale=scale,
        mean=(mean,),
    )
    return ResolvedPreprocessing(preprocessing, f"{source}, stretched to the input size because they name no resize")


def _from_sidecar(model_path: Path, model: ModelInput) -> ResolvedPreprocessing | None:
    own = model_path.with_name(f"{model_path.stem}.preprocessing.json")
    if own.is_file():
        return ResolvedPreprocessing(_from_object(sidecars.read_json_object(own), model), own.name)
    for folder in sidecars.sidecar_folders(model_path):
        processor, config = folder / "preprocessor_config.json", folder / "config.json"
        settings = sidecars.read_json_object(config) if config.is_file() else {}
        if processor.is_file():
            values = sidecars.read_json_object(processor)
            if not (sidecars.is_hugging_face(values) or sidecars.is_timm(values)):
                raise PreprocessingError(f"{processor} describes no image preprocessing.")
            if sidecars.is_timm(values):
                return ResolvedPreprocessing(sidecars.from_timm(values, model), processor.name)
            model_type = settings.get("model_type")
            read = sidecars.from_hugging_face(values, model_type if isinstance(model_type, str) else None)
            return ResolvedPreprocessing(read, processor.name)
        if sidecars.is_timm(settings):
            return ResolvedPreprocessing(sidecars.from_timm(settings, model), config.name)
    return None
