"""Preprocessing described by the files that model hubs put beside a model.

Hugging Face's ``preprocessor_config.json`` is read as its image processor classes read it (resize rule by
class, floor-rounded centre crop); a class or an option that is not known here is refused by name. timm's
``config.json`` is read as timm's evaluation transform does (torchvision rounding).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..checks import check_number, shown
from ..errors import InputError, PreprocessingError
from .model_input import ModelInput
from .preprocessing import Preprocessing

_MAX_JSON_BYTES = 16 << 20
_LARGEST_SIDE = 1 << 24
_LEAST_SHARE = 0.001
_RESAMPLE = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")


@dataclass(frozen=True)
class _Processor:
    """What an image processor class of transformers does where the file is silent."""

    int_size: Literal["square", "shortest"]
    resample: int
    rule: Literal["plain", "convnext", "levit", "poolformer"] = "plain"
    bgr: bool = False


_PROCESSORS = {
    "Beit": _Processor("square", 3),
    "Bit": _Processor("shortest", 3),
    "Blip": _Processor("square", 3),
    "CLIP": _Processor("shortest", 3),
    "ConvNext": _Processor("shortest", 3, "convnext"),
    "DeiT": _Processor("square", 3),
    "EfficientNet": _Processor("square", 0),
    "Levit": _Processor("shortest", 3, "levit"),
    "MobileNetV1": _Processor("shortest", 2),
    "MobileNetV2": _Processor("shortest", 2),
    "MobileViT": _Processor("shortest", 2, bgr=True),
    "PoolFormer": _Processor("shortest", 3, "poolformer"),
    "Segformer": _Processor("square", 2),
    "Siglip": _Processor("square", 3),
    "ViT": _Processor("square", 2),
    "ViTHybrid": _Processor("shortest", 3),
}
_MODEL_TYPES = {"beit": "Beit", "clip": "CLIP", "convnext": "ConvNext", "deit": "DeiT", "swin": "ViT", "vit": "ViT"}
_KNOWN_STEPS = {
    "do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb", "do_flip_channel_order",
    "do_reduce_labels",
}  # fmt: skip


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds.

    Raises:
        PreprocessingError: it holds anything else, or cannot be read.
    """
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise PreprocessingError(f"{path} has {path.stat().st_size} bytes, too many for a configuration.")
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise PreprocessingError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise PreprocessingError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(content, dict):
        raise PreprocessingError(f"{path} holds a JSON {type(content).__name__}, not an object.")
    return content


def sidecar_folders(model_path: Path) -> list[Path]:
    """Folders searched for sidecar files: the model's, and its parent if the model's is called ``onnx``."""
    folder = model_path.parent
    return [folder, folder.parent] if folder.resolve().name == "onnx" else [folder]


def is_hugging_face(values: Mapping[str, Any]) -> bool:
    """Return whether a JSON object looks like preprocessor_config.json."""
    return any(key in values for key in ("image_mean", "image_processor_type", "feature_extractor_type", "do_resize"))


def is_timm(values: Mapping[str, Any]) -> bool:
    """Return whether a JSON object looks like a timm model's config.json."""
    return "pretrained_cfg" in values or "input_size" in values


def from_hugging_face(values: Mapping[str, Any], model_type: str | None = None) -> Preprocessing:
    """Read preprocessor_config.json; ``model_type`` is that of the config.json beside it, if any."""
    processor = _processor(values, model_type)
    odd = sorted(k for k, v in values.items() if k.startswith("do_") and v is True and k not in _KNOWN_STEPS)
    if odd:
        raise PreprocessingError(f"preprocessor_config.json asks for {', '.join(odd)}, which is not supported.")
    changes: dict[str, Any] = {"crop_rounding": "floor", **_hugging_face_values(values)}
    if values.get("do_flip_channel_order", processor is not None and processor.bgr):
        changes["channels"] = "BGR"
    if values.get("do_resize", "size" in values):
        changes |= _hugging_face_resize(values, processor)
    if values.get("do_center_crop", "crop_size" in values):
        crop = values.get("crop_size", values.get("size"))
        changes["crop"] = _sides(crop, "crop_size")
    return Preprocessing(**changes)


def _processor(values: Mapping[str, Any], model_type: str | None) -> _Processor | None:
    name = values.get("image_processor_type") or values.get("feature_extractor_type")
    if name is None:
        return _PROCESSORS.get(_MODEL_TYPES.get(model_type or "", ""))
    short = str(name).removesuffix("Fast").removesuffix("ImageProcessor").removesuffix("FeatureExtractor")
    if short not in _PROCESSORS:
        raise PreprocessingError(
            f"preprocessor_config.json is for {name}, whose steps are not known; known are "
            f"{', '.join(sorted(_PROCESSORS))}. State the preprocessing yourself."
        )
    return _PROCESSORS[short]


def _hugging_face_resize(values: Mapping[str, Any], processor: _Processor | None) -> dict[str, Any]:
    resample = values.get("resample", None if processor is None else processor.resample)
    if isinstance(resample, str) and resample.lower() in _RESAMPLE:
        resample = _RESAMPLE.index(resample.lower())
    if not isinstance(resample, int) or not 0 <= resample < len(_RESAMPLE):
        raise PreprocessingError(f"preprocessor_config.json has resample {resample!r}; it is a code 0..5.")
    size = values.get("size")
    keys = set(size) if isinstance(size, Mapping) else set()
    if isinstance(size, int):
        if processor is None:
            raise PreprocessingError(
                f"preprocessor_config.json has size {size} and names no image processor, so whether it is the "
                "shorter side or a square is unknown; state the preprocessing yourself."
            )
        rule, shortest = processor.int_size, size
    elif keys == {"height", "width"} or isinstance(size, Sequence):
        return {"resize": "exact", "size": _sides(size, "size"), "filter": _RESAMPLE[resample]}
    elif isinstance(size, Mapping) and keys == {"shortest_edge"}:
        rule, shortest = "shortest", size["shortest_edge"]
    else:
        raise PreprocessingError(
            f"preprocessor_config.json has size {size!r}; a number, shortest_edge alone, or height and width are read."
        )
    if not _is_side(shortest):
        raise PreprocessingError(
            f"preprocessor_config.json has size {shown(size)}; sizes are whole numbers up to {_LARGEST_SIDE}."
        )
    changes = {"resize": "shortest", "size": shortest, "filter": _RESAMPLE[resample]}
    share = values.get("crop_pct")
    special = "plain" if processor is None else processor.rule
    if rule == "square":
        changes["resize"] = "exact"
    elif special == "levit":
        changes["size"] = int(256 / 224 * shortest)
    elif special == "poolformer":
        changes["size"] = int(shortest / _share(share, 0.9))
    elif special == "convnext" and shortest >= 384:
        changes["resize"] = "exact"
    elif special == "convnext":
        changes |= {"size": int(shortest / _share(share, 224 / 256)), "crop": shortest}
    return changes


def _hugging_face_values(values: Mapping[str, Any]) -> dict[str, Any]:
    scale = values.get("rescale_factor", 1 / 255) if values.get("do_rescale", True) else 1.0
    mean, std = values.get("image_mean"), values.get("image_std")
    if values.get("do_normalize", mean is not None):
        if mean is None or std is None:
            raise PreprocessingError("preprocessor_config.json normalises, but lacks image_mean or image_std.")
    else:
        mean, std = 0.0, 1.0
    means, stds = _floats(mean, "image_mean"), _floats(std, "image_std")
    if values.get("rescale_offset"):  # EfficientNet: (p - 127.5) * factor
        means = [m + 127.5 * _floats(scale, "rescale_factor")[0] for m in means]
    if values.get("include_top") and values.get("do_normalize", True):  # EfficientNet divides by std once more
        stds = [s * s for s in stds]
    return {"scale": scale, "mean": tuple(means), "std": tuple(stds)}


def from_timm(values: Mapping[str, Any], model: ModelInput) -> Preprocessing:
    """Read timm's config.json; ``test_input_size`` counts where the model is fixed at that size."""
    config = values.get("pretrained_cfg", values)
    if not isinstance(config, Mapping):
        raise PreprocessingError("config.json has a pretrained_cfg that is not an object.")
    shape, share = config.get("input_size"), config.get("crop_pct")
    test = config.get("test_input_size")
    if test is not None and model.size is not None and tuple(_shape3(test)[1:]) == model.size:
        shape, share = test, config.get("test_crop_pct") or share
    channels, height, width = _shape3(shape)
    mode = config.get("crop_mode") or "center"
    if mode not in ("center", "squash") or config.get("crop_border_pixels"):
        raise PreprocessingError(
            f"config.json has crop_mode {mode!r}, crop_border_pixels {config.get('crop_border_pixels', 0)}; "
            "read are center and squash without a border."
        )
    scaled = tuple(math.floor(side / _share(share, 0.875)) for side in (height, width))
    filter_name = config.get("interpolation") or "bicubic"
    return Preprocessing(
        resize="shortest" if mode == "center" else "exact",
        size=(scaled[0], scaled[1]),
        filter="bilinear" if filter_name == "random" else filter_name,
        crop=(height, width),
        channels="L" if channels == 1 else "RGB",
        mean=tuple(_floats(config.get("mean"), "mean")),
        std=tuple(_floats(config.get("std"), "std")),
    )


def _shape3(value: object) -> list[int]:
    if not isinstance(value, Sequence) or len(value) != 3 or not all(map(_is_side, value)):
        raise PreprocessingError(f"config.json has input_size {shown(value)}; it is [channels, height, width].")
    return [int(v) for v in value]


def _is_side(value: object) -> bool:
    return isinstance(value, int) and 0 < value <= _LARGEST_SIDE


def _share(value: object, default: float) -> float:
    if value is None:
        return default
    if isinstance(value, (int, float)) and _LEAST_SHARE <= value <= 1:
        return float(value)
    raise PreprocessingError(f"crop_pct is {shown(value)}; it lies from {_LEAST_SHARE} to 1.")


def _floats(value: object, name: str) -> list[float]:
    items = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    try:
        numbers = [check_number(name, item) for item in items]
    except InputError:
        numbers = []
    if not numbers:
        raise PreprocessingError(f"{name} is {shown(value)}; it is a finite number or a list of them.")
    return numbers


def _sides(value: object, name: str) -> Any:
    """(height, width) out of a number, a pair, or an object; Preprocessing checks the numbers."""
    if isinstance(value, Mapping):
        if set(value) == {"height", "width"}:
            return value["height"], value["width"]
        if set(value) == {"shortest_edge"}:
            return value["shortest_edge"]
        raise PreprocessingError(f"preprocessor_config.json has {name} {dict(value)!r}; height and width are read.")
    return value
