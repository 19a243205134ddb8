"""Pixels to tensor: against plain NumPy and Pillow, and back."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from onnxplain.errors import ImageError, PreprocessingError
from onnxplain.photos import PRESETS, Preprocessing, preprocessing

PHOTO = np.random.default_rng(3).integers(0, 256, (90, 130, 3), dtype=np.uint8)


def torchvision_like(
    photo: NDArray[np.uint8], resize: int, crop: int, resample: Image.Resampling
) -> NDArray[np.float64]:
    """Resize(shorter side) and CenterCrop as torchvision computes them, [crop,crop,3] in 0..255."""
    image = Image.fromarray(photo)
    width, height = image.size
    if width <= height:
        image = image.resize((resize, int(resize * height / width)), resample)
    else:
        image = image.resize((int(resize * width / height), resize), resample)
    top, left = round((image.height - crop) / 2.0), round((image.width - crop) / 2.0)
    return np.asarray(image.crop((left, top, left + crop, top + crop)), dtype=np.float64)


MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
CLIP_MEAN = np.array([0.48145466, 0.4578275, 0.40821073])
CLIP_STD = np.array([0.26862954, 0.26130258, 0.27577711])
EXPECTED = {
    "imagenet": (256, "BILINEAR", lambda p: (p / 255 - MEAN) / STD),
    "tf": (256, "BILINEAR", lambda p: p / 127.5 - 1),
    "caffe": (256, "BILINEAR", lambda p: p[:, :, ::-1] - np.array([103.939, 116.779, 123.68])),
    "clip": (224, "BICUBIC", lambda p: (p / 255 - CLIP_MEAN) / CLIP_STD),
}


@pytest.mark.parametrize("shape", [(90, 130), (131, 97), (300, 451), (224, 224), (257, 256)])
@pytest.mark.parametrize("name", EXPECTED)
def test_presets_equal_the_reference(name: str, shape: tuple[int, int]) -> None:
    photo = np.random.default_rng(5).integers(0, 256, (*shape, 3), dtype=np.uint8)
    resize, resample, values = EXPECTED[name]
    expected = values(torchvision_like(photo, resize, 224, Image.Resampling[resample])).transpose(2, 0, 1)
    tensor, geometry = PRESETS[name].apply(photo)
    assert tensor.shape == (3, 224, 224) and tensor.dtype == np.float32 and tensor.flags.c_contiguous
    assert geometry.photo == shape and geometry.canvas == (224, 224)
    np.testing.assert_allclose(tensor, expected, rtol=1e-6, atol=1e-6)


def test_preset_none_changes_nothing() -> None:
    tensor, geometry = PRESETS["none"].apply(PHOTO)
    np.testing.assert_array_equal(tensor, PHOTO.transpose(2, 0, 1).astype(np.float32))
    assert geometry.canvas == (90, 130)


@pytest.mark.parametrize("name", ["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"])
def test_filters_are_pillows(name: str) -> None:
    tensor, _ = Preprocessing("exact", (31, 47), name, scale=1.0, layout="NHWC").apply(PHOTO)
    expected = np.asarray(Image.fromarray(PHOTO).resize((47, 31), Image.Resampling[name.upper()]))
    np.testing.assert_array_equal(tensor, expected)


@pytest.mark.parametrize("channels", ["RGB", "L"])
@pytest.mark.parametrize("name", ["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"])
def test_a_crop_is_that_of_the_whole_resized_photo(name: str, channels: Any) -> None:
    """Only what the crop keeps is computed, to the last bit as Pillow would."""
    resample = Image.Resampling[name.upper()]
    for height, width in ((90, 130), (301, 47), (64, 64), (33, 500), (200, 64)):
        photo = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
        recipe = Preprocessing("shortest", 64, name, crop=(50, 57), scale=1.0, layout="NHWC", channels=channels)
        tensor, geometry = recipe.apply(photo)
        (rows, columns), (top, left) = geometry.resized, geometry.offset
        whole = np.asarray(Image.fromarray(photo).convert(channels).resize((columns, rows), resample))
        expected = whole.reshape(rows, columns, -1)[top : top + 50, left : left + 57]
        np.testing.assert_array_equal(tensor, expected)


@pytest.mark.parametrize(("rounding", "first"), [("torchvision", 2), ("floor", 2), ("ceil", 3)])
def test_crop_rounding_of_five_spare_rows(rounding: Any, first: int) -> None:
    tensor, geometry = Preprocessing(crop=(5, 4), crop_rounding=rounding, scale=1.0).apply(PHOTO[:10, :4])
    assert geometry.offset == (first, 0)
    np.testing.assert_array_equal(tensor[0], PHOTO[first : first + 5, :4, 0])


def test_torchvision_rounds_half_to_even() -> None:
    offsets = [Preprocessing(crop=4).geometry(4 + spare, 4).offset[0] for spare in range(8)]
    assert offsets == [round(spare / 2.0) for spare in range(8)] == [0, 0, 1, 2, 2, 2, 3, 4]


@pytest.mark.parametrize(("rounding", "first"), [("torchvision", 1), ("floor", 2), ("ceil", 1)])
def test_crop_larger_than_the_photo_pads(rounding: Any, first: int) -> None:
    recipe = Preprocessing(crop=(7, 7), crop_rounding=rounding, pad_color=(9, 8, 7), scale=1.0, layout="NHWC")
    tensor, geometry = recipe.apply(PHOTO[:4, :7])
    assert geometry.offset == (-first, 0)
    np.testing.assert_array_equal(tensor[first : first + 4], PHOTO[:4, :7])
    assert (tensor[:first] == [9, 8, 7]).all() and (tensor[first + 4 :] == [9, 8, 7]).all()


def test_letterbox_like_ultralytics() -> None:
    recipe = Preprocessing("letterbox", 64, pad_color=(114, 114, 114), scale=1.0, layout="NHWC")
    tensor, geometry = recipe.apply(PHOTO)
    assert geometry.resized == (44, 64) and geometry.offset == (-10, 0)
    expected = np.full((64, 64, 3), 114)
    expected[10:54] = np.asarray(Image.fromarray(PHOTO).resize((64, 44), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(tensor, expected)


def test_letterbox_then_crop() -> None:
    whole, _ = Preprocessing("letterbox", 64, scale=1.0).apply(PHOTO)
    part, geometry = Preprocessing("letterbox", 64, crop=50, scale=1.0).apply(PHOTO)
    np.testing.assert_array_equal(part, whole[:, 7:57, 7:57])
    assert geometry.canvas == (50, 50)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("channels", ["RGB", "BGR", "L"])
def test_channels_and_layout(channels: Any, layout: Any) -> None:
    tensor, _ = Preprocessing(channels=channels, layout=layout, scale=1.0).apply(PHOTO)
    if layout == "NCHW":
        tensor = np.moveaxis(tensor, 0, -1)
    grey = np.asarray(Image.fromarray(PHOTO).convert("L"))[:, :, None]
    expected = {"RGB": PHOTO, "BGR": PHOTO[:, :, ::-1], "L": grey}[channels]
    np.testing.assert_array_equal(tensor, expected)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_values_are_rounded_once(dtype: str) -> None:
    recipe = PRESETS["imagenet"].replace(resize="none", size=None, crop=None, dtype=dtype)
    tensor, _ = recipe.apply(PHOTO)
    exact = ((PHOTO * (1 / 255) - MEAN) / STD).transpose(2, 0, 1)
    np.testing.assert_array_equal(tensor, exact.astype(dtype))


def test_uint8_and_invert() -> None:
    tensor, _ = Preprocessing(scale=1.0, dtype="uint8", invert=True, layout="NHWC").apply(PHOTO)
    assert tensor.dtype == np.uint8
    np.testing.assert_array_equal(tensor, 255 - PHOTO)


RECIPE = st.builds(
    Preprocessing,
    channels=st.sampled_from(["RGB", "BGR", "L"]),
    scale=st.sampled_from([1.0, 1 / 255, 2 / 255]),
    mean=st.floats(-2, 200).map(lambda v: (v,)),
    std=st.floats(0.1, 100).map(lambda v: (v,)),
    invert=st.booleans(),
    layout=st.sampled_from(["NCHW", "NHWC"]),
)


@given(RECIPE)
def test_to_pixels_inverts_the_values(recipe: Preprocessing) -> None:
    recipe = recipe.replace(dtype="float64")
    tensor, _ = recipe.apply(PHOTO)
    expected = PHOTO
    if recipe.channels == "L":
        expected = np.dstack([np.asarray(Image.fromarray(PHOTO).convert("L"))] * 3)
    np.testing.assert_array_equal(recipe.to_pixels(tensor), expected)


@given(RECIPE)
def test_value_range_is_that_of_black_and_white(recipe: Preprocessing) -> None:
    low, high = recipe.value_range()
    extremes = [recipe.apply(np.full((2, 2, 3), level, np.uint8))[0] for level in (0, 255)]
    np.testing.assert_allclose(np.broadcast_to(low, extremes[0].shape), np.minimum(*extremes), rtol=1e-6)
    np.testing.assert_allclose(np.broadcast_to(high, extremes[0].shape), np.maximum(*extremes), rtol=1e-6)


@given(
    st.sampled_from(list(PRESETS.values())),
    RECIPE,
    st.sampled_from([None, 32, (32, 48)]),
    st.sampled_from(["shortest", "exact", "letterbox"]),
)
def test_json_round_trip(preset: Preprocessing, recipe: Preprocessing, crop: Any, rule: Any) -> None:
    for value in (preset, recipe.replace(crop=crop, resize=rule, size=64, pad_color=(1, 2, 3))):
        assert Preprocessing.from_dict(json.loads(value.to_json())) == value


@pytest.mark.parametrize("shape", [(1, 5000), (5000, 1), (2, 3000), (7, 3001)])
@pytest.mark.parametrize("name", ["bilinear", "bicubic", "nearest"])
def test_huge_resizes_compute_only_the_crop(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int], name: str) -> None:
    """The strip path against resizing everything: the same pixels, but for rounding of one level."""
    photo = np.random.default_rng(7).integers(0, 256, (*shape, 3), dtype=np.uint8)
    recipe = Preprocessing("shortest", 64, name, crop=56, scale=1.0)
    whole, _ = recipe.apply(photo)
    monkeypatch.setattr(preprocessing, "_WHOLE_RESIZE_LIMIT", 0)
    part, _ = recipe.apply(photo)
    assert part.shape == (3, 56, 56)
    difference = np.abs(part.astype(float) - whole.astype(float))
    assert difference.max() <= 1 and (difference > 0).mean() < 0.02


def test_a_strip_of_a_million_pixels_is_cheap() -> None:
    """Resized whole this would be 256 x 256 million pixels."""
    tensor, geometry = PRESETS["imagenet"].apply(np.zeros((1, 1_000_000, 3), np.uint8))
    assert tensor.shape == (3, 224, 224) and geometry.resized == (256, 256_000_000)
    assert geometry.to_photo(np.ones((224, 224))).shape == (1, 1_000_000)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "rule": ({"resize": "fill"}, "resize is 'fill'; it is one of none, shortest"),
    "filter": ({"filter": "cubic"}, "filter is 'cubic'"),
    "channels": ({"channels": "RGBA"}, "channels is 'RGBA'"),
    "layout": ({"layout": "CHW"}, "layout is 'CHW'"),
    "dtype": ({"dtype": "int8"}, "dtype is 'int8'"),
    "no size": ({"resize": "shortest"}, "needs a size"),
    "zero size": ({"resize": "exact", "size": 0}, "size is 0"),
    "float size": ({"resize": "exact", "size": 2.5}, r"size is 2\.5"),
    "bool crop": ({"crop": True}, "crop is True"),
    "three sizes": ({"crop": (1, 2, 3)}, "crop is"),
    "two means": ({"mean": (1.0, 2.0)}, "mean has 2 values for 3 channel"),
    "three means for grey": ({"mean": (1.0, 2.0, 3.0), "channels": "L"}, "mean has 3 values for 1 channel"),
    "text mean": ({"mean": "a"}, "mean is 'a'"),
    "NaN mean": ({"mean": (math.nan,)}, "finite"),
    "zero std": ({"std": (0.0,)}, "must not be 0"),
    "zero scale": ({"scale": 0.0}, "must not be 0"),
    "invert": ({"invert": 1}, "invert is 1"),
    "pad": ({"pad_color": (0, 0, 256)}, "pad_color"),
    "scaled uint8": ({"dtype": "uint8"}, "a uint8 tensor holds plain pixels"),
}


@pytest.mark.parametrize("name", WRONG)
def test_senseless_values_are_refused(name: str) -> None:
    values, message = WRONG[name]
    with pytest.raises(PreprocessingError, match=message):
        Preprocessing(**values)


def test_unknown_keys_and_versions_are_refused() -> None:
    with pytest.raises(PreprocessingError, match=r"unknown preprocessing keys \['resise'\]; the keys are resize"):
        Preprocessing.from_dict({"resise": "exact"})
    with pytest.raises(PreprocessingError, match="version 2 is unknown"):
        Preprocessing.from_dict({"version": 2})


@pytest.mark.parametrize("array", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_apply_takes_only_rgb_bytes(array: NDArray[Any]) -> None:
    with pytest.raises(ImageError, match="uint8 RGB"):
        Preprocessing().apply(array)
