"""The scripts' arithmetic against Python's: preprocessing, the way back to the photo, noise."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from onnxplain import Preprocessing, native

Opened = Callable[..., Any]
RECIPES = [
    Preprocessing(resize="shortest", size=24, crop=20, filter="bilinear", mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4)),
    Preprocessing(resize="shortest", size=50, crop=31, filter="bicubic", crop_rounding="floor", scale=1.0),
    Preprocessing(resize="exact", size=(17, 40), filter="lanczos", channels="BGR", layout="NHWC"),
    Preprocessing(resize="letterbox", size=32, filter="bilinear", pad_color=(114, 10, 200)),
    Preprocessing(resize="letterbox", size=(20, 48), filter="hamming", channels="L", invert=True),
    Preprocessing(resize="exact", size=19, filter="box"),
    Preprocessing(resize="exact", size=64, filter="nearest"),
    Preprocessing(resize="none", crop=44, crop_rounding="ceil", pad_color=(9, 8, 7)),
]


@pytest.fixture
def modules(opened: Opened) -> Any:
    return opened("model=small&engine=single")


def test_preprocessing_is_pythons(modules: Any) -> None:
    random = np.random.default_rng(2)
    for recipe in RECIPES:
        for height, width in ((37, 53), (90, 41)):
            image = random.integers(0, 256, (height, width, 3), np.uint8)
            pixels = np.concatenate([image, np.full((height, width, 1), 255, np.uint8)], axis=2)
            want, geometry = recipe.apply(image)
            map_ = random.random(geometry.canvas, np.float32)
            values, back = modules.evaluate(
                """async ([data, width, height, recipe, map]) => {
                  const {tensorOf, toPhoto} = await import("/preprocessing.js");
                  const image = new ImageData(new Uint8ClampedArray(data), width, height);
                  const {values, geometry} = tensorOf(image, recipe);
                  return [Array.from(values), Array.from(toPhoto(new Float32Array(map), geometry, [height, width]))];
                }""",
                [pixels.ravel().tolist(), width, height, json.loads(recipe.to_json()), map_.ravel().tolist()],
            )
            assert np.array_equal(np.array(values, np.float32).reshape(want.shape), want), recipe
            assert np.abs(np.array(back).reshape(height, width) - geometry.to_photo(map_)).max() < 1e-6, recipe


def test_noise_is_pythons(modules: Any) -> None:
    key = 0xFEDCBA9876543210
    found = modules.evaluate(
        'async ([n, key]) => Array.from((await import("/noise.js")).normals(n, key))', [1000, [key % 2**32, key >> 32]]
    )
    want = native.add_noise(np.zeros(1000, np.float32), 1.0, key)
    assert np.abs(np.array(found) - want).max() < 2e-6
