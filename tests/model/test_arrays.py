"""Arrays of any byte order mean what NumPy says they mean, and elements that are masked are not read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from onnxplain import Explainer, OnnxplainError, metrics, native
from onnxplain.photos import load_image

from support import small_models as small
from support.graphs import classifier

X, IDS = small.inputs(2), np.array([[1, 2, 3], [4, 5, 0]])
ROW = np.arange(4, dtype=np.float32)


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(small.quadratic(metadata=small.image_metadata()))


@pytest.mark.parametrize("method", ["saliency", "occlusion", "smoothgrad"])
def test_a_big_endian_input_has_its_values(explainer: Explainer, method: str) -> None:
    swapped = X.astype(X.dtype.newbyteorder(">"))
    np.testing.assert_array_equal(explainer.scores(swapped), explainer.scores(X))
    found, expected = explainer.attribute(swapped, [1, 2], method), explainer.attribute(X, [1, 2], method)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(explainer.saliency(swapped, 1), explainer.saliency(X, 1))


def test_the_gradient_of_a_big_endian_input(explainer: Explainer) -> None:
    found = explainer.attribute(X.astype(">f4"), [1, 2])
    np.testing.assert_allclose(found, small.quadratic_gradient(X, [1, 2]), rtol=1e-6)


def test_big_endian_token_ids() -> None:
    explainer = Explainer(small.tokens())
    np.testing.assert_array_equal(explainer.attribute(IDS.astype(">i8"), 1), explainer.attribute(IDS, 1))


def test_big_endian_inputs_of_a_dict() -> None:
    a, b = (np.random.default_rng(seed).standard_normal((2, 4)).astype(np.float32) for seed in (0, 1))
    found: Any = Explainer(small.product()).attribute({"a": a.astype(">f4"), "b": b}, 2)
    np.testing.assert_allclose(found["b"], np.eye(4)[[2, 2]] * a, rtol=1e-6)


def hiding(array: np.ndarray) -> np.ma.MaskedArray:
    """The array with its first element masked; what lies below is nobody's business."""
    mask = np.zeros(array.shape, bool)
    mask[(0,) * array.ndim] = True
    return np.ma.masked_array(array, mask)


Call = Callable[[Explainer], Any]
MASKED: dict[str, Call] = {
    "attribute": lambda e: e.attribute(hiding(X), 1),
    "attribute of a dict": lambda e: e.attribute({"x": hiding(X)}, 1),
    "saliency": lambda e: e.saliency(hiding(X), 1),
    "scores": lambda e: e.scores(hiding(X)),
    "occlusion": lambda e: e.attribute(hiding(X), 1, "occlusion"),
    "a baseline": lambda e: e.attribute(X, 1, "integrated_gradients", baseline=hiding(np.zeros(X.shape[1:]))),
    "targets": lambda e: e.attribute(X, hiding(np.array([1, 2]))),
    "tokens": lambda e: Explainer(small.tokens()).explain_tokens(hiding(IDS), target=1),
    "maps": lambda e: metrics.sparseness(hiding(np.abs(X[:, 0]))),
    "gradients": lambda e: native.saliency(hiding(X)),
    "a photo": lambda e: load_image(hiding(np.zeros((4, 5, 3), np.uint8))),
    "masks": lambda e: metrics.energy_in_mask(np.abs(X[:, 0]), hiding(X[:, 0] > 0)),
}


@pytest.mark.parametrize("call", MASKED)
def test_masked_elements_are_refused(explainer: Explainer, call: str) -> None:
    with pytest.raises(OnnxplainError, match="masked"):
        MASKED[call](explainer)


def test_a_masked_row_of_a_table() -> None:
    model = Explainer(small.product())
    with pytest.raises(OnnxplainError, match="masked"):
        model.explain_table({"a": hiding(ROW[None]), "b": ROW[None]}, target=1)


def test_a_masked_background_of_a_table() -> None:
    rows = X[:, 0, 0, :3]
    with pytest.raises(OnnxplainError, match="masked"):
        Explainer(classifier()).explain_table(rows, target=1, background=hiding(rows))


def test_a_masked_array_that_hides_nothing_is_an_array(explainer: Explainer) -> None:
    plain = np.ma.masked_array(X, np.zeros(X.shape, bool))
    np.testing.assert_array_equal(explainer.attribute(plain, 1), explainer.attribute(X, 1))
    np.testing.assert_array_equal(explainer.attribute(np.ma.masked_array(X), 1), explainer.attribute(X, 1))
