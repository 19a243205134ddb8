"""The way from photo to model input and back, for every size and rule."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st

from onnxplain.errors import PreprocessingError
from onnxplain.photos import Geometry, Preprocessing
from onnxplain.photos.geometry import resize_maps

SIDE = st.integers(1, 700)
RULES = [
    Preprocessing("shortest", 64, crop=56),
    Preprocessing("shortest", 56, crop=56, crop_rounding="floor"),
    Preprocessing("shortest", (48, 96), crop=(40, 80), crop_rounding="ceil"),
    Preprocessing("exact", (40, 72)),
    Preprocessing("exact", 64, crop=48),
    Preprocessing("letterbox", (64, 96)),
    Preprocessing("none", crop=50),
    Preprocessing("none"),
]
RULE = st.sampled_from(RULES)


@given(SIDE, SIDE, RULE)
@example(1, 20000, RULES[0])
@example(20000, 1, RULES[5])
@example(1, 1, RULES[0])
def test_map_back_has_the_photos_shape_and_the_maps_range(height: int, width: int, rule: Preprocessing) -> None:
    geometry = rule.geometry(height, width)
    values = np.random.default_rng(0).random(geometry.canvas)
    back = geometry.to_photo(values)
    assert back.shape == (height, width) and back.dtype == np.float32
    assert back.min() >= 0 and back.max() <= values.max() * (1 + 1e-5)
    assert back.max() > 0
    assert geometry.to_model(back).shape == geometry.canvas


@given(SIDE, SIDE, RULE)
def test_ones_come_back_as_ones_inside_the_crop_and_zeros_outside(height: int, width: int, rule: Preprocessing) -> None:
    geometry = rule.geometry(height, width)
    back = geometry.to_photo(np.ones(geometry.canvas))
    top, left, bottom, right = geometry.crop_box
    rows, columns = np.arange(height), np.arange(width)
    share = [
        np.clip(np.minimum(cells + 1, high) - np.maximum(cells, low), 0, 1)
        for cells, low, high in ((rows, top, bottom), (columns, left, right))
    ]
    np.testing.assert_allclose(back, np.outer(*share), atol=1e-4)


@given(SIDE, SIDE, RULE, st.floats(0.02, 0.98), st.floats(0.02, 0.98))
def test_a_point_comes_back_where_it_was(height: int, width: int, rule: Preprocessing, v: float, u: float) -> None:
    """The brightest pixel of a point's map lies within one model pixel, or one photo pixel, of the point."""
    geometry = rule.geometry(height, width)
    top, left, bottom, right = geometry.crop_box
    y, x = top + v * (bottom - top), left + u * (right - left)
    row, column = geometry.point_to_model(y, x)
    assume(0 <= row < geometry.canvas[0] and 0 <= column < geometry.canvas[1])
    np.testing.assert_allclose(geometry.point_to_photo(row, column), (y, x), atol=1e-6 * max(height, width))
    values = np.zeros(geometry.canvas)
    values[int(row), int(column)] = 1
    back = geometry.to_photo(values)
    found = np.unravel_index(back.argmax(), back.shape)
    for axis, wanted in ((0, y), (1, x)):
        pitch = max(1.0, geometry.photo[axis] / geometry.resized[axis])
        assert abs(found[axis] + 0.5 - wanted) <= 1.01 * pitch


@given(st.integers(60, 400), st.integers(60, 400), st.sampled_from(RULES[:7]))
def test_a_blob_survives_the_round_trip(height: int, width: int, rule: Preprocessing) -> None:
    """A blob in the photo, sent to the model's grid and back, keeps its centre within one pixel of the coarser grid."""
    geometry = rule.geometry(height, width)
    top, left, bottom, right = geometry.crop_box
    y, x = (top + bottom) / 2, (left + right) / 2
    radius = min(bottom - top, right - left) / 8
    rows, columns = np.arange(height)[:, None] + 0.5, np.arange(width) + 0.5
    blob = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * (radius / 2) ** 2))
    back = geometry.to_photo(geometry.to_model(blob))
    centre = (back * rows).sum() / back.sum(), (back * columns).sum() / back.sum()
    for axis, wanted in ((0, y), (1, x)):
        assert abs(centre[axis] - wanted) <= max(1.0, geometry.photo[axis] / geometry.resized[axis])


def test_pixels_of_an_uncropped_photo_come_back_unchanged() -> None:
    geometry = Preprocessing("none").geometry(7, 9)
    values = np.random.default_rng(1).random((7, 9)).astype(np.float32)
    np.testing.assert_array_equal(geometry.to_photo(values), values)
    np.testing.assert_array_equal(geometry.to_model(values), values)


def test_doubling_interpolates_linearly_between_centres() -> None:
    geometry = Geometry(photo=(2, 4), resized=(1, 2), offset=(0, 0), canvas=(1, 2))
    np.testing.assert_allclose(geometry.to_photo(np.array([[0.0, 1.0]])), [[0, 0.25, 0.75, 1]] * 2)


def test_shrinking_averages() -> None:
    geometry = Geometry(photo=(1, 1), resized=(4, 4), offset=(0, 0), canvas=(4, 4))
    values = np.zeros((4, 4))
    values[1, 2] = 16
    assert 0.5 < geometry.to_photo(values)[0, 0] < 3


def test_coarse_map_of_the_whole_input() -> None:
    """A 7x7 map (Grad-CAM) covers the same crop as a map at full resolution."""
    geometry = Preprocessing("shortest", 256, crop=224).geometry(300, 451)
    coarse, fine = geometry.to_photo(np.ones((7, 7))), geometry.to_photo(np.ones((224, 224)))
    np.testing.assert_allclose(coarse, fine, atol=1e-5)


def test_crop_box_of_a_known_photo() -> None:
    geometry = Preprocessing("shortest", 256, crop=224).geometry(300, 451)
    assert geometry.resized == (256, 384) and geometry.offset == (16, 80)
    assert geometry.crop_box == pytest.approx((18.75, 80 * 451 / 384, 281.25, 304 * 451 / 384))


def test_letterbox_box_is_the_whole_photo() -> None:
    geometry = Preprocessing("letterbox", 640).geometry(480, 1000)
    assert geometry.resized == (307, 640) and geometry.offset == (-166, 0)
    assert geometry.crop_box == (0, 0, 480, 1000)


def test_photo_of_another_size_is_refused_without_a_resize() -> None:
    with pytest.raises(PreprocessingError, match=r"20x30.*28x28"):
        Preprocessing("none", 28).geometry(20, 30)
    assert Preprocessing("none", 28).geometry(28, 28).canvas == (28, 28)


@pytest.mark.parametrize("shape", [(7, 5), (3, 4), (21, 40)])
def test_maps_are_enlarged_as_torch_does(shape: tuple[int, int]) -> None:
    maps = np.random.default_rng(0).random((2, 3, 4), dtype=np.float32)
    for ours, theirs in (("bilinear", {"mode": "bilinear", "align_corners": False}), ("nearest", {"mode": "nearest"})):
        expected = torch.nn.functional.interpolate(torch.from_numpy(maps)[:, None], shape, **theirs)[:, 0]
        np.testing.assert_allclose(resize_maps(maps, shape, ours), expected.numpy(), rtol=1e-5, atol=1e-6)
