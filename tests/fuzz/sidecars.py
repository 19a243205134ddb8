"""Damaged files beside a model, and damaged metadata in it: preprocessing, labels and layouts."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from onnxplain.layout import find_layout, layout_beside
from onnxplain.photos.labels import resolve_labels
from onnxplain.photos.sources import resolve_preprocessing

from .mutate import TEXTS, mutate_bytes, mutate_json, written_json

_PREPROCESSING = {
    "version": 1, "resize": "shortest", "size": 256, "filter": "bilinear", "crop": [224, 224], "channels": "RGB",
    "scale": 1 / 255, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "layout": "NCHW", "dtype": "float32",
}  # fmt: skip
_HUGGING_FACE = {
    "image_processor_type": "ViTImageProcessor", "do_resize": True, "size": {"height": 224, "width": 224},
    "resample": 2, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5], "do_center_crop": True, "crop_size": {"height": 224, "width": 224},
}  # fmt: skip
_TIMM = {
    "architecture": "resnet18", "pretrained_cfg": {
        "input_size": [3, 224, 224], "interpolation": "bicubic", "crop_pct": 0.95, "crop_mode": "center",
        "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
    },
}  # fmt: skip
_LABELS: dict[str, Any] = {"id2label": {str(i): f"class {i}" for i in range(5)}}
_LAYOUT: dict[str, Any] = {"name": "yolov8", "classes": 80, "batch_axis": 0}
_METADATA = {
    "task": "detect", "stride": "32", "names": "{0: 'a', 1: 'b'}", "imgsz": "[224, 224]", "author": "Ultralytics",
    "kpt_shape": "[17, 3]", "args": "{'nms': True}", "end2end": "False",
    "onnxplain.preprocessing": json.dumps(_PREPROCESSING), "onnxplain.layout": json.dumps(_LAYOUT),
    "onnxplain.labels": json.dumps(["a", "b"]), "Image.NominalPixelRange": "Normalized_0_1",
    "Image.BitmapPixelFormat": "Rgb8",
}  # fmt: skip
_FILES: dict[str, Any] = {
    "model.preprocessing.json": _PREPROCESSING, "preprocessor_config.json": _HUGGING_FACE, "config.json": _TIMM,
    "model.labels.json": _LABELS, "model.layout.json": _LAYOUT,
}  # fmt: skip
_TEXT_FILES = {"model.labels.txt": "cat\ndog\nbird\n", "model.labels.csv": "index,label\n0,cat\n1,dog\n"}
_SHAPE = ("N", 3, 224, 224)


def attempt(seed: int) -> None:
    """Read what a seed puts beside a model, or into its metadata, and use it on a small photo."""
    rng = random.Random(f"sidecar {seed}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        metadata = _damaged_metadata(rng) if rng.random() < 0.5 else {}
        if not metadata:
            _write_damaged(folder, rng)
        model = folder / "model.onnx"
        what = rng.randrange(3)
        if what == 0:
            found = resolve_preprocessing(metadata=metadata, model_path=model, input_shape=_SHAPE)
            found.preprocessing.apply(np.zeros((30, 40, 3), np.uint8))
        elif what == 1:
            resolve_labels(None, classes=rng.choice((None, 2, 5)), metadata=metadata, model_path=model)
        elif metadata:
            find_layout(None, metadata)
        else:
            layout_beside(model)


def _damaged_metadata(rng: random.Random) -> dict[str, str]:
    kept = rng.sample(sorted(_METADATA), rng.randrange(1, len(_METADATA)))
    metadata = {key: _METADATA[key] for key in kept}
    for _ in range(rng.choice((1, 2))):
        key = rng.choice(kept)
        how = rng.random()
        if how < 0.4 and metadata[key][:1] in "[{":
            try:
                value = json.loads(metadata[key])
                metadata[key] = json.dumps(mutate_json(value, rng))
            except (ValueError, RecursionError):
                metadata[key] = mutate_bytes(metadata[key].encode(), rng).decode("utf-8", "replace")
        elif how < 0.6:
            metadata[key] = rng.choice((*TEXTS, "(" * 5_000, "[" * 100_000, "9" * 5_000, "-" * 3_000 + "1", "1e999"))
        else:
            metadata[key] = mutate_bytes(metadata[key].encode(), rng).decode("utf-8", "replace")
    return metadata


def _write_damaged(folder: Path, rng: random.Random) -> None:
    if rng.random() < 0.2:
        name = rng.choice(sorted(_TEXT_FILES))
        (folder / name).write_bytes(mutate_bytes(_TEXT_FILES[name].encode(), rng))
        return
    name = rng.choice(sorted(_FILES))
    value = _FILES[name]
    for _ in range(rng.choice((1, 1, 2, 3))):
        value = mutate_json(value, rng)
    (folder / name).write_bytes(written_json(value, rng))
