"""Kinds of pictures: signed maps, contours, sheets, text in pictures, bars and tokens, figures."""

from __future__ import annotations

import importlib.util
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageFont

from onnxplain import InputError
from onnxplain.pictures import (
    bars,
    bars_figure,
    colormap,
    contour_image,
    contour_segments,
    grid_sheet,
    heatmap,
    overlay_image,
    panel,
    signed_contrast,
    tokens_html,
    tokens_image,
)
from onnxplain.pictures.fonts import fitted
from onnxplain.pictures.tokens import signed_colours

PHOTO = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
SIGNED = np.random.default_rng(1).standard_normal((40, 60))
needs_matplotlib = pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="needs matplotlib")


def hill(height: int = 41, width: int = 61) -> NDArray[np.float64]:
    """A round hill of height 1 in the middle."""
    y, x = np.mgrid[:height, :width]
    return np.asarray(np.exp(-((y - height // 2) ** 2 + (x - width // 2) ** 2) / 200))


# Signed maps


def test_signed_contrast_keeps_signs_and_zero() -> None:
    values = np.array([[-2.0, 0.0, 1.0, 4.0]])
    np.testing.assert_allclose(signed_contrast(values, percentiles=(0, 100)), values / 4)
    assert not signed_contrast(np.zeros((3, 3))).any()


@pytest.mark.parametrize("scale", [1.0, -1.0, 1e-20, 1e20])
def test_zero_takes_the_colour_in_the_middle(scale: float) -> None:
    values = np.zeros((8, 8))
    values[2, 2], values[5, 5] = scale, -scale / 2
    colours = heatmap(values, signed=True, percentiles=(0, 100))
    assert (colours[values == 0] == colormap("diverging")[128]).all()
    assert (colours[2, 2] == colormap("diverging")[255 if scale > 0 else 0]).all()


def test_signed_smoothing_cancels_what_alternates() -> None:
    checkers = np.indices((64, 64)).sum(axis=0) % 2 * 2.0 - 1
    checkers[20:40, 20:40] += 1
    smoothed = signed_contrast(checkers, smooth=4 / 64)
    assert smoothed[30, 30] > 0.9 and abs(smoothed[5, 5]) < 0.1


def test_signed_overlay_leaves_the_photo_at_zero_and_tells_signs_apart() -> None:
    values = np.zeros((40, 60))
    values[:10], values[30:] = 1, -1
    out = overlay_image(PHOTO, values, signed=True, alpha=1, saturation=1, brightness=1, smooth=0, percentiles=(0, 100))
    table = colormap("diverging_dark")
    np.testing.assert_array_equal(out[10:30], PHOTO[10:30])
    assert (out[:10] == table[255]).all() and (out[30:] == table[0]).all()


# Contours


@given(st.integers(1, 9), st.integers(1, 9), st.floats(-1, 1), st.integers(0, 99))
def test_contours_lie_on_the_level_set(height: int, width: int, level: float, seed: int) -> None:
    values = np.random.default_rng(seed).standard_normal((height, width))
    segments = contour_segments(values, level)
    assert segments.dtype == np.float32 and segments.shape[1:] == (2, 2)
    for y, x in segments.reshape(-1, 2).astype(np.float64) - 0.5:
        top, left = int(np.floor(y + 1e-6)), int(np.floor(x + 1e-6))
        down, right = y - top, x - left
        assert min(abs(down), abs(right)) < 1e-5  # on a line between two pixel centres
        bottom, end = min(top + 1, height - 1), min(left + 1, width - 1)
        found = (1 - down) * ((1 - right) * values[top, left] + right * values[top, end]) + down * (
            (1 - right) * values[bottom, left] + right * values[bottom, end]
        )
        assert found == pytest.approx(level, abs=1e-4)


@given(st.integers(0, 99))
def test_contours_are_closed_inside_the_map(seed: int) -> None:
    """Every end inside the map belongs to two segments: lines do not break off, at saddles neither."""
    values = np.pad(np.random.default_rng(seed).standard_normal((6, 7)), 1, constant_values=-9)
    ends = contour_segments(values, 0.0).reshape(-1, 2)
    _, counts = np.unique(np.round(ends, 4), axis=0, return_counts=True)
    assert (counts == 2).all()


def test_the_contour_of_a_hill_is_a_circle() -> None:
    radius = np.sqrt(-200 * np.log(0.5))
    ends = contour_segments(hill(), 0.5).reshape(-1, 2)
    distance = np.hypot(ends[:, 0] - 20.5, ends[:, 1] - 30.5)
    np.testing.assert_allclose(distance, radius, atol=0.03)
    assert len(contour_segments(hill(), 1.0)) == 0


def test_contour_image_draws_at_the_level_and_nowhere_else() -> None:
    options: dict[str, Any] = {"levels": [0.5], "smooth": 0, "percentiles": (0, 100), "saturation": 1, "brightness": 1}
    photo = np.full((41, 61, 3), 200, np.uint8)
    out = contour_image(photo, hill(), width=2, **options)
    drawn = (out != photo).any(axis=2)
    distance = np.abs(np.hypot(*(np.mgrid[:41, :61] - np.array([20, 30])[:, None, None])) - np.sqrt(200 * np.log(2)))
    assert drawn[distance < 0.5].all() and not drawn[distance > 3.5].any()
    np.testing.assert_array_equal(contour_image(photo, hill(), alpha=0, **options), photo)
    assert (contour_image(photo, np.zeros((41, 61)), **options) == photo).all()


def test_signed_contours_have_a_line_on_either_side() -> None:
    values = np.concatenate([hill(), -hill()], axis=1)
    photo = np.zeros((41, 122, 3), np.uint8)
    out = contour_image(photo, values, signed=True, levels=[0.5], smooth=0, brightness=0).astype(int)
    assert (out[:, :61, 0] >= out[:, :61, 2]).all() and (out[:, 61:, 2] >= out[:, 61:, 0]).all()
    assert out[:, :61].any() and out[:, 61:].any()


# Sheets


def test_a_grid_has_a_cell_for_every_picture() -> None:
    red, blue = np.full((30, 40, 3), (255, 0, 0), np.uint8), np.full((90, 20, 3), (0, 0, 255), np.uint8)
    out = grid_sheet([[red, blue], [None, red]], title="t", headers=["a", "b"], captions=[["1", "2"]], cell=64)
    assert (out == (255, 0, 0)).all(axis=2).sum() == 2 * 64 * 48
    assert (out == (0, 0, 255)).all(axis=2).sum() == 21 * 96  # at most half as high again as a cell is wide
    assert (out[0] == 255).all() and (out[:, 0] == 255).all()


@pytest.mark.parametrize("shape", [(1, 1), (2, 900), (900, 2), (2000, 1500)])
def test_panels_of_odd_photos_are_readable_and_bounded(shape: tuple[int, int]) -> None:
    photo = np.zeros((*shape, 3), np.uint8)
    out = panel([photo, photo, photo], title="tabby cat (99.9%)", captions=["photo", "map", "overlay"])
    assert 280 <= out.shape[1] <= 2100 and 40 <= out.shape[0] <= 780


def test_text_fits_or_is_cut_off() -> None:
    for text in ("cat", "虎猫 кот", "x" * 500, "", "one\ntwo"):
        line, font = fitted(text, 16, 100)
        assert font.getlength(line) <= 100 and "\n" not in line
    assert fitted("cat", 16, 100)[0] == "cat" and fitted("x" * 500, 16, 100)[0].endswith("x…")


def test_a_wider_font_is_taken_where_the_system_has_one() -> None:
    try:
        ImageFont.truetype("DejaVuSans.ttf", 16)
    except OSError:
        pytest.skip("the system has no DejaVu Sans")
    _, font = fitted("⇒ ≠ ☃", 16, 500)
    assert isinstance(font, ImageFont.FreeTypeFont) and "DejaVu" in str(font.getname()[0])


# Tokens and bars


def test_colours_diverge_at_zero() -> None:
    table = colormap("diverging")
    colours = signed_colours([0.0, 2.0, -2.0, 1e-9])
    assert [tuple(table[i]) for i in (128, 255, 0, 128)] == colours
    assert signed_colours([0.0, 0.0]) == [tuple(table[128])] * 2
    assert signed_colours([]) == []


class Fragment(HTMLParser):
    """The tags and the text of a piece of HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_tokens_as_html() -> None:
    html = tokens_html(["<script>", "not", '"&'], [0.0, -1.5, 1.0])
    found = Fragment(html)
    assert found.tags == ["p", "span", "span", "span"] and found.text == '<script> not "&'
    assert 'title="-1.5"' in html and "http" not in html
    assert re.findall(r"background:rgb\((.+?)\)", html)[0] == "247, 247, 247"


def test_tokens_as_a_picture_are_wrapped() -> None:
    one = tokens_image(["word"] * 3, [0, 1, -1], width=400)
    many = tokens_image(["word"] * 60, np.linspace(-1, 1, 60), width=400, title="positive")
    assert one.shape[1] == many.shape[1] == 400 and many.shape[0] > 3 * one.shape[0]
    for end in (0, 255):
        assert (many == colormap("diverging")[end]).all(axis=2).any()
    assert tokens_image(["x" * 500, "", "\n"], [1, 2, 3], width=200).shape[1] == 200


def test_bars_leave_zero_to_either_side() -> None:
    out = bars(["age", "mass"], [3.0, -1.0], width=500)
    table = colormap("diverging")
    right = np.nonzero((out == table[255]).all(axis=2))
    left = np.nonzero((out == table[85]).all(axis=2))
    assert right[1].min() >= left[1].max() - 1
    assert np.ptp(right[1]) == pytest.approx(3 * np.ptp(left[1]), abs=4)
    assert right[0].max() < left[0].min()  # the larger one on top


def test_bars_sum_what_is_left_out() -> None:
    few = bars([f"f{n}" for n in range(50)], np.arange(50.0), most=5)
    six = bars([f"f{n}" for n in range(6)], np.arange(6.0))
    assert few.shape == six.shape
    assert bars(["only"], [0.0]).shape[1] == 640


def test_rounding_noise_has_no_bar() -> None:
    out = bars(["a", "b", "c"], [2.0, -3e-8, 1e-7])
    np.testing.assert_array_equal(out, bars(["a", "b", "c"], [2.0, 0.0, 0.0]))
    assert (out != bars(["a", "b", "c"], [2.0, -3e-5, 1e-4])).any()
    assert (bars(["a", "b"], [2e-9, 1e-9]) != bars(["a", "b"], [2e-9, 0.0])).any()


@needs_matplotlib
def test_rounding_noise_has_no_bar_in_figures() -> None:
    axes = bars_figure(["a", "b"], [2.0, 1e-8]).axes[0]
    assert [bar.get_width() for bar in axes.patches] == [2.0, 0.0]


@needs_matplotlib
def test_bars_as_a_figure() -> None:
    figure = bars_figure(["cost in $", "b", "c", "d"], [1, -3, 0.1, 0.2], most=2, title="$x$")
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", r"cost in \$", "2 others together"]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([-3, 1, 0.3])


def test_refusals() -> None:
    values = hill()
    photo = np.zeros((41, 61, 3), np.uint8)
    for call, message in (
        (lambda: contour_image(photo, values, levels=[]), "levels are"),
        (lambda: contour_image(photo, values, levels=[0.5, 1.0]), "levels are"),
        (lambda: contour_image(photo, values, width=0), "0 pixels wide"),
        (lambda: contour_image(photo, values, alpha=2), "alpha is 2"),
        (lambda: contour_image(photo, values[:5]), r"the map is \[5, 61\]"),
        (lambda: contour_image(photo, -values), "negative"),
        (lambda: grid_sheet([[None]]), "at least one picture"),
        (lambda: grid_sheet([[photo]], cell=5), "32 is the least"),
        (lambda: grid_sheet([[photo]] * 500, cell=640), "HTML report"),
        (lambda: tokens_html(["a"], [1, 2]), "1 tokens and 2 attributions"),
        (lambda: tokens_html(["a"], [np.nan]), "finite"),
        (lambda: tokens_image(["a"], [1], width=20), "lines of 20"),
        (lambda: bars([], []), "found 0 names"),
        (lambda: bars(["a"], [1, 2]), "found 1 names"),
        (lambda: bars(["a"], [1], most=0), "most is 0"),
        (lambda: bars(["a"], [1], width=50), "not 50"),
    ):
        with pytest.raises(InputError, match=message):
            call()


def test_pictures_are_plain_arrays(tmp_path: Path) -> None:
    for made in (bars(["a"], [1.0]), tokens_image(["a"], [1]), contour_image(PHOTO, np.abs(SIGNED))):
        assert made.dtype == np.uint8 and made.ndim == 3
        Image.fromarray(made).save(tmp_path / "a.png")
