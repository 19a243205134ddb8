"""Lists of explanations, grids and reports: what they are, and what notebooks show of them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

import onnxplain
from onnxplain import Explainer, Explanation, Explanations
from onnxplain.results.grid import Grid
from onnxplain.results.report import Report

from support import small_models as small


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(small.quadratic(ending="Softmax", metadata=small.image_metadata()))


def test_several_photos_and_several_classes_are_lists_that_notebooks_show(explainer: Explainer) -> None:
    images = [small.picture(seed=seed) for seed in range(3)]
    found = explainer.explain(images)
    assert isinstance(found, Explanations) and isinstance(found, list)
    assert found._repr_html_().count("<figure") == 3
    ranked = explainer.explain(images[0], "top2")
    assert isinstance(ranked, Explanations) and ranked._repr_html_().count("<figure") == 2
    several = explainer.explain(images, "top2")
    assert isinstance(several, Explanations) and isinstance(several[0], Explanations)
    assert several._repr_html_().count("<figure") == 6
    assert Explanations[Explanation]()._repr_html_() == "[]"


def test_of_a_long_list_notebooks_show_the_first(explainer: Explainer) -> None:
    shown = Explanations([explainer.explain(small.picture())] * 23)._repr_html_()
    assert shown.count("<figure") == 20 and shown.endswith("<p>3 more</p>")


def test_a_grid_is_an_array_that_notebooks_show(explainer: Explainer) -> None:
    found = explainer.explain([small.picture(), small.picture(seed=1)])
    sheet = found.grid("heatmap", cell=64, title="two", colormap="viridis")
    np.testing.assert_array_equal(sheet, onnxplain.grid(found, "heatmap", cell=64, title="two", colormap="viridis"))
    shown = sheet._repr_png_()
    assert shown is not None
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(shown))), sheet)
    assert sheet[0]._repr_png_() is None and (sheet / 2)._repr_png_() is None


def test_grids_and_reports_say_what_they_hold(explainer: Explainer) -> None:
    grid, report = Grid("contour"), Report(title="Birds")
    assert grid._repr_png_() is None
    for one in explainer.explain(small.picture(), "top2"):
        grid.add(one)
        report.add(one)
    assert repr(grid) == "<Grid of contour pictures: photos 1, explanations 2>"
    assert repr(report) == "<Report 'Birds': photos 1, explanations 2>"
    shown = grid._repr_png_()
    assert shown is not None and shown.startswith(b"\x89PNG")


def test_an_explainer_says_which_model_it_holds(explainer: Explainer) -> None:
    assert repr(explainer) == (
        "<Explainer: model in memory; provider CPUExecutionProvider; inputs x float32 [N,3,4,4]; "
        "classes 5 (red, green, blue, ...)>"
    )
    assert "x float32 [N,3,4,4]" in explainer._repr_html_()
    labels = ["<b>", "b", "c", "d", "e"]
    assert "&lt;b&gt;" in Explainer(small.quadratic(), labels=labels)._repr_html_()
    assert repr(Explainer(small.quadratic())).endswith("classes 5>")
