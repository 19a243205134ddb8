"""The maps of the page are those of Python."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onnxplain import Explainer, Target
from page.use import explained, numbers, upload

Opened = Callable[..., Any]
#: Of maps whose maximum is one; the page is to keep 1e-3.
CLOSE = 1e-5


@pytest.fixture(scope="module")
def explainer(folder: Path) -> Explainer:
    return Explainer(folder / "small.onnx")


def test_the_bundled_classifier(opened: Opened, folder: Path, window: dict[str, Any]) -> None:
    page, photo = opened(**window), folder / "chelsea.png"
    said, want = upload(page, photo), Explainer().explain(photo)
    assert said.startswith(f"{want.label}: {100 * want.probability:.1f} %")
    assert np.abs(numbers(page) - want.saliency).max() < CLOSE
    with page.expect_download() as download:
        page.click("#save-png")
    assert download.value.suggested_filename == "saliency-tiger_cat.png"
    picture = np.asarray(Image.open(download.value.path()).convert("RGB")).astype(int)
    difference = np.abs(picture - want.overlay())
    assert difference.mean() < 0.6 and np.percentile(difference, 99.9) <= 3


def test_a_class_and_another_one_that_are_searched_for(
    opened: Opened, explainer: Explainer, folder: Path, window: dict[str, Any]
) -> None:
    page, photo = opened("model=small", **window), folder / "noise.png"
    upload(page, photo)
    page.fill("#class-search", "GRE")
    page.check("#class label:has-text('green') input")
    assert explained(page).startswith("green: ") and "class=1" in page.url
    assert np.abs(numbers(page) - explainer.explain(photo, target="green").saliency).max() < CLOSE
    page.click("#versus-details summary")
    page.fill("#versus-search", "d")
    page.check("#versus label:has-text('dog') input")
    assert explained(page).startswith("green rather than dog: ") and "versus=4" in page.url
    want = explainer.explain(photo, target=Target("green", versus="dog"))
    assert np.abs(numbers(page) - want.saliency).max() < CLOSE
    page.check("#versus label:has-text('no class') input")
    assert explained(page).startswith("green: ") and "versus" not in page.url


def test_gradient_times_input_with_its_sign(opened: Opened, explainer: Explainer, folder: Path) -> None:
    page, photo = opened("model=small&method=gradient_x_input"), folder / "noise.png"
    upload(page, photo)
    want = explainer.explain(photo, method="gradient_x_input")
    assert np.abs(numbers(page) - want.saliency).max() < CLOSE
    page.check("#signed")
    assert want.signed is not None and want.signed_input is not None
    assert page.input_value("#colours") == "diverging_dark"
    found = numbers(page)
    assert found.min() < 0 and np.abs(found - want.signed / np.abs(want.signed_input).max()).max() < CLOSE


def test_smoothgrad_has_the_same_noise_and_can_be_cancelled(opened: Opened, explainer: Explainer, folder: Path) -> None:
    page, photo = opened("model=small&method=smoothgrad&class=2"), folder / "noise.png"
    page.fill("#samples", "7")
    assert upload(page, photo).startswith("blue: ")
    want = explainer.explain(photo, method="smoothgrad", target=2, samples=7)
    before = numbers(page)
    assert np.abs(before - want.saliency).max() < CLOSE
    page.select_option("#model", "efficientnet_lite0")
    page.wait_for_selector("#progress[value]")
    page.click("#cancel")
    page.wait_for_selector("#status:text-is('Cancelled.')")
    assert not page.is_visible("#progress-row") and page.inner_text("#error") == ""
    assert np.array_equal(numbers(page), before)


def test_what_a_detector_found(opened: Opened, folder: Path) -> None:
    page, photo, explainer = opened("model=squares"), folder / "squares.png", Explainer(folder / "squares.onnx")
    found = explainer.detect(photo)
    assert len(found) >= 2
    upload(page, photo)
    listed = page.locator("#found label").all_inner_texts()
    assert [" ".join(text.split()) for text in listed] == [f"{one.label} {100 * one.score:.1f} %" for one in found]
    outer = page.locator("#stage").bounding_box()
    for index, one in enumerate(found):
        box = page.locator("#boxes > div").nth(index).bounding_box()
        sides = np.array([box["x"] - outer["x"], box["y"] - outer["y"], box["width"], box["height"]])
        want = np.array([one.box.x0, one.box.y0, one.box.x1 - one.box.x0, one.box.y1 - one.box.y0])
        assert np.abs(sides - want * outer["width"] / 300).max() < 1.5
        page.locator("#found input").nth(index).check()
        assert explained(page).startswith(f"{one.label}: ")
        assert np.abs(numbers(page) - explainer.explain(photo, one).saliency).max() < CLOSE
