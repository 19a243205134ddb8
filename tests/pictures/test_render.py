"""Maps as pictures: contrast, colours, overlay, panel, and files that appear whole or not at all."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from onnxplain.errors import ImageError, InputError, OutputError
from onnxplain.files import write_bytes
from onnxplain.photos.load import load_image
from onnxplain.pictures import COLORMAPS, ColourBar, colormap, contrast, heatmap, overlay_image, panel, save_image
from onnxplain.pictures.colormaps import shown_colormap
from onnxplain.pictures.render import _percentiles

PHOTO = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
RAW: dict[str, Any] = {"percentiles": (0, 100), "smooth": 0}


def luminance(table: NDArray[np.uint8]) -> NDArray[np.float64]:
    """CIE lightness L* of sRGB colours."""
    light = table / 255
    linear = np.where(light <= 0.04045, light / 12.92, ((light + 0.055) / 1.055) ** 2.4)
    y = linear @ np.array([0.2126, 0.7152, 0.0722])
    return np.asarray(np.where(y > 0.008856, 116 * np.cbrt(y) - 16, 903.3 * y))


@pytest.mark.parametrize("name", COLORMAPS)
def test_tables(name: str) -> None:
    table = colormap(name)
    assert table.shape == (256, 3) and table.dtype == np.uint8
    assert np.abs(np.diff(table.astype(int), axis=0)).max() <= 12


@pytest.mark.parametrize("name", ["inferno", "magma", "viridis", "cividis", "gray"])
def test_lightness_rises_all_the_way(name: str) -> None:
    lightness = luminance(colormap(name))
    assert (np.diff(lightness) > -0.3).all()
    assert lightness[-1] - lightness[0] > 60
    if name != "gray":  # uniform in CAM02-UCS, which CIE lightness follows but for the nearly black colours
        steps = np.diff(lightness[15::15])
        assert steps.min() > 0.75 * steps.mean() and steps.max() < 1.35 * steps.mean()


@pytest.mark.parametrize("name", ["inferno", "magma", "viridis", "cividis", "turbo"])
def test_tables_are_close_to_the_published_ones(name: str) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    published = np.rint(matplotlib.colormaps[name](np.arange(256))[:, :3] * 255)
    assert np.abs(colormap(name) - published).max() <= 3


def test_the_palette_for_colour_blind_people_goes_by_the_sign() -> None:
    np.testing.assert_array_equal(shown_colormap("colour_blind", signed=False), colormap("cividis"))
    np.testing.assert_array_equal(shown_colormap("colour_blind", signed=True), colormap("blue_orange"))
    table = colormap("blue_orange").astype(int)
    # without red or green cones red and green are one channel: the ends have to differ in blue against yellow
    assert (table[20] @ [-1, -1, 2])[()] > 100 and (table[235] @ [-1, -1, 2])[()] < -100
    lightness = luminance(colormap("blue_orange"))
    assert 126 <= lightness.argmin() <= 129 and np.abs(lightness - lightness[::-1]).max() < 9


def test_a_panel_has_a_colour_bar_with_its_words() -> None:
    picture = np.zeros((100, 400, 3), np.uint8)
    plain = panel([picture], title="a")
    sheet = panel([picture], title="a", bar=ColourBar(colormap("turbo"), "little", "much"))
    added = sheet[len(plain) - 12 :].astype(int)
    assert sheet.shape[1] == plain.shape[1] and sheet.shape[0] > plain.shape[0]
    for colour in colormap("turbo")[[40, 128, 200]].astype(int):
        assert np.abs(added - colour).max(axis=2).min() < 10
    third = sheet.shape[1] // 3
    assert (added[:, :third] < 150).any() and (added[:, -third:] < 150).any()


def test_diverging_is_lightest_in_the_middle_and_symmetric_in_lightness() -> None:
    lightness = luminance(colormap("diverging"))
    assert 126 <= lightness.argmax() <= 129
    assert np.abs(lightness - lightness[::-1]).max() < 12


def test_own_table_and_refusals() -> None:
    own = np.zeros((256, 3), np.uint8)
    np.testing.assert_array_equal(colormap(own), own)
    for which, message in (("jet", "no colour map is called 'jet'; there are inferno"), (own[:4], r"found uint8 \[4")):
        with pytest.raises(InputError, match=message):
            colormap(which)


@given(st.integers(1, 50), st.integers(1, 50), st.floats(0, 40), st.floats(0, 0.2))
def test_contrast_stays_in_range_and_keeps_flat_maps_flat(height: int, width: int, low: float, smooth: float) -> None:
    values = np.random.default_rng(1).random((height, width)) * 7
    stretched = contrast(values, percentiles=(low, 99), smooth=smooth)
    assert stretched.shape == (height, width) and stretched.dtype == np.float32
    assert stretched.min() >= 0 and stretched.max() <= 1
    assert not contrast(np.zeros((height, width)), smooth=smooth).any()


def test_contrast_without_stretch_divides_by_the_maximum() -> None:
    values = np.array([[0.0, 1.0], [2.0, 4.0]])
    np.testing.assert_allclose(contrast(values, **RAW), values / 4)
    np.testing.assert_allclose(contrast(np.full((3, 3), 0.2), **RAW), np.ones((3, 3)))


def test_contrast_ignores_zeros_outside_a_crop() -> None:
    inside = np.random.default_rng(2).random((20, 20)) + 0.1
    padded = np.pad(inside, 30)
    np.testing.assert_array_equal(contrast(padded, smooth=0)[30:50, 30:50], contrast(inside, smooth=0))


@pytest.mark.parametrize("sigma", [0.7, 1.5, 3.9, 4.0, 9.0])
def test_smoothing_is_a_gaussian(sigma: float) -> None:
    side = 121
    values = np.zeros((side, side))
    values[54:67, 54:67] = 1  # wider than the blocks that a wide filter works on
    got = contrast(values, percentiles=(0, 100), smooth=sigma / side)
    radius = int(6 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    line = np.convolve(values[60], kernel / kernel.sum(), "same")
    expected = np.outer(line, line)
    assert np.abs(got - expected / expected.max()).max() < (0.01 if sigma < 4 else 0.05)


def test_heatmap_colours() -> None:
    values = np.linspace(0, 1, 256).reshape(1, 256)
    np.testing.assert_array_equal(heatmap(values, **RAW)[0], colormap("inferno"))
    np.testing.assert_array_equal(heatmap(values, colormap="gray", **RAW)[0, :, 0], np.arange(256))


def test_signed_heatmap_has_zero_in_the_middle() -> None:
    values = np.array([[-2.0, 0.0, 1.0, 2.0]])
    table = colormap("diverging").astype(int)
    got = heatmap(values, signed=True, percentiles=(0, 100))[0]
    for colour, level in zip(got, (0, 128, 191, 255)):
        assert np.abs(table[max(0, level - 1) : level + 2] - colour).sum(axis=1).min() == 0


def test_overlay_lets_the_photo_through_where_the_map_is_zero() -> None:
    values = np.zeros((40, 60))
    values[10:20, 20:30] = 1
    out = overlay_image(PHOTO, values, alpha=1, saturation=1, brightness=1, **RAW)
    assert out.shape == PHOTO.shape and out.dtype == np.uint8
    hot = values > 0
    np.testing.assert_array_equal(out[~hot], PHOTO[~hot])
    assert (out[hot] == colormap("inferno")[255]).all()


def test_overlay_dims_and_greys() -> None:
    flat = np.zeros((40, 60))
    grey = PHOTO @ np.array([0.299, 0.587, 0.114])
    out = overlay_image(PHOTO, flat, saturation=0, brightness=0.5)
    np.testing.assert_allclose(out, np.dstack([grey / 2] * 3), atol=0.51)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (3, 7)])
def test_overlay_of_tiny_and_thin_photos(shape: tuple[int, int]) -> None:
    photo = np.zeros((*shape, 3), np.uint8)
    assert overlay_image(photo, np.random.default_rng(0).random(shape)).shape == (*shape, 3)


def test_refusals() -> None:
    values = np.ones((40, 60))
    for call, message in (
        (lambda: overlay_image(PHOTO, values[:20]), r"the map is \[20, 60\], the photo \[40, 60\]"),
        (lambda: overlay_image(PHOTO, values, alpha=1.5), "alpha is 1.5"),
        (lambda: overlay_image(PHOTO, values, saturation=-1), "saturation is -1"),
        (lambda: contrast(values * np.nan), "NaN"),
        (lambda: contrast(-values), "negative"),
        (lambda: contrast(values[0]), r"found float64 \[60\]"),
        (lambda: contrast(values.astype(int)), "found int64"),
        (lambda: contrast(values, percentiles=(99, 5)), "ascend"),
        (lambda: contrast(values, smooth=-1), "smooth is negative"),
        (lambda: panel([]), "panel of 0 pictures"),
        (lambda: panel([PHOTO], captions=["a", "b"]), "cannot carry 2 captions"),
    ):
        with pytest.raises(InputError, match=message):
            call()
    with pytest.raises(ImageError, match="uint8 RGB"):
        overlay_image(PHOTO[:, :, 0], values)


def test_panel() -> None:
    plain = panel([PHOTO, PHOTO])
    assert plain.shape[0] < 224 and plain.shape[1] > 2 * 224  # enlarged to 224 pixels
    titled = panel([PHOTO, heatmap(np.ones((80, 30)))], title="tabby cat " * 30, captions=["photo", "map"])
    assert titled.shape[0] > plain.shape[0] and titled.dtype == np.uint8
    assert (titled[:2] == 255).all() and (titled < 128).any()
    large = np.zeros((3000, 2000, 3), np.uint8)
    assert panel([large]).shape[0] < 800


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".jpg", ".jpeg", ".webp"])
def test_save_image(tmp_path: Path, suffix: str) -> None:
    path = save_image(tmp_path / f"out{suffix}", PHOTO)
    assert [p.name for p in tmp_path.iterdir()] == [f"out{suffix}"]
    loaded = load_image(path)
    assert loaded.shape == PHOTO.shape
    if suffix.lower() == ".png":
        np.testing.assert_array_equal(loaded, PHOTO)
    save_image(path, 255 - PHOTO)
    assert load_image(path).astype(int).mean() == pytest.approx((255 - PHOTO).mean(), abs=3)


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    too_wide = np.zeros((1, 20000, 3), np.uint8)
    for path, picture, message in (
        (tmp_path / "a.gif", PHOTO, r"not \.gif"),
        (tmp_path / "a", PHOTO, "not no suffix"),
        (tmp_path / "missing" / "a.png", PHOTO, r"a\.png cannot be written"),
        (tmp_path / "folder.png", PHOTO, r"folder\.png"),
        (tmp_path / "a.webp", too_wide, "cannot be stored as WEBP"),
    ):
        with pytest.raises(OutputError, match=message):
            save_image(path, picture)
    assert [p.name for p in tmp_path.iterdir()] == ["folder.png"]


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_bytes(tmp_path / "a.bin", b"old")

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OutputError, match="No space left"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no umask")
def test_new_files_follow_the_umask(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    assert write_bytes(tmp_path / "a", b"").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_pictures_open_elsewhere(tmp_path: Path) -> None:
    with Image.open(save_image(tmp_path / "a.png", PHOTO)) as image:
        assert image.mode == "RGB" and image.size == (60, 40)


@pytest.mark.parametrize("count", [1, 2, 3, 1000, 100_001])
def test_percentiles_are_numpys(count: int) -> None:
    values = np.random.default_rng(count).random(count).astype(np.float32)
    for percents in ((0.0, 100.0), (50.0, 99.5), (33.3, 99.99)):
        np.testing.assert_allclose(_percentiles(values, percents), np.percentile(values, percents), rtol=1e-6)
