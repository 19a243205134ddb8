"""Predicted versus expected: both classes, their difference, and its picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnxplain import Explainer, Target, TargetError
from onnxplain.results.comparison import Comparison

from support import small_models as small

PHOTO = small.picture()


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(small.quadratic(ending="Softmax", metadata=small.image_metadata()))


@pytest.fixture(scope="module")
def other(explainer: Explainer) -> str:
    """A class that is not the predicted one."""
    predicted = explainer.explain(PHOTO).name
    return next(name for name in ("red", "green") if name != predicted)


@pytest.mark.parametrize("method", ["saliency", "gradient_x_input", "occlusion"])
def test_a_mistake_has_both_classes_and_their_difference(explainer: Explainer, other: str, method: str) -> None:
    found = explainer.explain(PHOTO, method=method, expected=other)
    assert isinstance(found, Comparison) and found.is_mistake and found.difference is not None
    predicted = explainer.explain(PHOTO, method=method)
    assert (found.predicted.target, found.expected.label) == (predicted.target, other)
    np.testing.assert_array_equal(found.predicted.attribution, predicted.attribution)
    rather = explainer.explain(PHOTO, Target(predicted.target, versus=other), method)
    np.testing.assert_array_equal(found.difference.attribution, rather.attribution)
    assert found.difference.signed is not None and found.difference.versus == other
    assert found.predicted.title.startswith("predicted: ") and found.expected.title.startswith(f"expected: {other} (")
    assert found.title == f"{found.predicted.title}; {found.expected.title}"


def test_the_difference_of_maps_without_a_sign_sums_to_zero(explainer: Explainer, other: str) -> None:
    found = explainer.explain(PHOTO, expected=other)
    assert found.difference is not None and found.difference.signed_input is not None
    assert found.difference.signed_input.sum() == pytest.approx(0, abs=1e-5)
    assert found.difference.signed_input.min() < 0 < found.difference.signed_input.max()


def test_a_right_prediction_is_alone(explainer: Explainer) -> None:
    found = explainer.explain(PHOTO, expected=explainer.explain(PHOTO).name)
    assert not found.is_mistake and found.difference is None and found.title.startswith("as expected: ")
    assert len(list(found)) == 1 and found.picture().ndim == 3 and found.to_dict()["difference"] is None


def test_the_panel_is_written(explainer: Explainer, other: str, tmp_path: Path) -> None:
    found = explainer.explain(PHOTO, expected=other)
    assert found.save(tmp_path / "made" / "panel.png").is_file()
    assert found.picture().shape[1] > 3 * found.picture().shape[0] and other in repr(found)
    assert found._repr_png_()[:4] == b"\x89PNG" and "data:" in found._repr_html_()


def test_several_photos_and_classes(explainer: Explainer, other: str) -> None:
    predicted = explainer.explain(PHOTO).name
    found = explainer.explain([PHOTO, PHOTO], expected=[other, predicted])
    assert [one.is_mistake for one in found] == [True, False]
    with pytest.raises(TargetError, match="1 expected classes, but 2 photos"):
        explainer.explain([PHOTO, PHOTO], expected=[other])
    with pytest.raises(TargetError, match="leave out the target"):
        explainer.explain(PHOTO, "cat", expected=other)  # type: ignore[call-overload]
