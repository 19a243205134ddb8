"""Detectors as published find what is in a photo."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from onnxplain.autodiff import differentiate
from onnxplain.target import Target

from support.detections import everything, iou
from support.detectors import Array
from support.graphs import run

ZOO = os.environ.get("ONNXPLAIN_ZOO")
zoo = pytest.mark.skipif(ZOO is None, reason="ONNXPLAIN_ZOO is not set")
#: Written down by eye, in pixels of the photos, which have 320 x 320.
DOG, FACE = np.array([60.0, 40, 214, 293]), np.array([110.0, 40, 172, 118])
EYE, NOSE = (126, 63), (139, 78)


def photo(name: str, side: int) -> Array:
    """[1,3,side,side] BGR 0..255."""
    assert ZOO is not None
    with Image.open(Path(ZOO) / "photos" / name) as opened:
        pixels = np.asarray(opened.convert("RGB").resize((side, side), Image.Resampling.BILINEAR), np.float32)
    return np.ascontiguousarray(pixels[:, :, ::-1].transpose(2, 0, 1)[None])


def read_zoo(name: str, layout: str, x: Array) -> dict[str, Array]:
    """All detections of a model of the zoo."""
    assert ZOO is not None
    return everything(onnx.load(Path(ZOO) / name), layout, x, gradients=False)


def best(found: dict[str, Array]) -> tuple[int, int, float, Array]:
    """Row, class, confidence and box of the surest detection."""
    row, index = np.unravel_index(found["our confidence"][0].argmax(), found["our confidence"].shape[1:])
    return int(row), int(index), float(found["our confidence"][0, row, index]), found["our boxes"][0, row]


@zoo
def test_nanodet_finds_the_dog() -> None:
    mean, deviation = ([103.53, 116.28, 123.675], [57.375, 57.12, 58.395])
    x = (photo("winml_dog.jpg", 416) - np.reshape(mean, (3, 1, 1))) / np.reshape(deviation, (3, 1, 1))
    row, index, sure, box = best(read_zoo("tasks/nanodet_m.onnx", "nanodet", x.astype(np.float32)))
    assert (row, index) == (2704 + 676 + 83, 16)
    assert sure == pytest.approx(0.739, abs=0.01)
    assert iou(box[None], DOG * 416 / 320)[0] >= 0.5


@zoo
def test_fastestdet_finds_the_dog() -> None:
    _, index, _, box = best(read_zoo("models/fastestdet_coco.onnx", "fastestdet", photo("winml_dog.jpg", 352) / 255))
    assert index == 16
    assert iou(box[None], DOG * 352 / 320)[0] >= 0.5


@zoo
@pytest.mark.parametrize("side", [320, 256])
def test_yunet_finds_the_face(side: int) -> None:
    assert ZOO is not None
    x = photo("skimage_astronaut.jpg", side)
    row, index, sure, box = best(read_zoo("tasks/yunet_2026may.onnx", "yunet", x))
    assert index == 0 and sure > 0.7
    assert iou(box[None], FACE * side / 320)[0] >= 0.5
    for name, place in (("right_eye", EYE), ("nose", NOSE)):
        for letter, expected in zip("xy", place):
            model = differentiate(
                Path(ZOO) / "tasks/yunet_2026may.onnx", Target(f"{name}.{letter}", at="best"), layout="yunet"
            )
            found = run(model, input=x)
            assert found["at"].item() == row
            assert found["score"].item() == pytest.approx(expected * side / 320, abs=5)
            assert np.isfinite(found["grad_input"]).all() and found["grad_input"].any()
