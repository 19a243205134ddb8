"""Targets: indices, labels, sequences, the predicted class, the top k, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

from onnxplain import Explainer, Target, TargetError
from onnxplain.model.classes import PREDICTED, Classes

from support import small_models as small

LABELS = ["red", "green", "blue", "cat", "dog, hound"]
KNOWN = Classes(5, LABELS)


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(small.quadratic(ending="Softmax"), labels=LABELS, batch_size=2)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (None, [PREDICTED] * 3),
        ("top2", [PREDICTED] * 3),
        (2, [2, 2, 2]),
        (np.int32(4), [4, 4, 4]),
        (np.array(1), [1, 1, 1]),
        ("cat", [3, 3, 3]),
        ("Hound", [4, 4, 4]),
        ([0, 1, 4], [0, 1, 4]),
        (["red", 2, "dog"], [0, 2, 4]),
        (np.array([4, 3, 2]), [4, 3, 2]),
    ],
)
def test_indices(target: Any, expected: list[int]) -> None:
    found = KNOWN.indices(target, 3)
    assert found.dtype == np.int64
    assert found.tolist() == expected


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (5, r"target 5 is out of range.*0\.\.4"),
        (-1, r"target -1 is out of range.*0\.\.4"),
        ([0, 1, 9], r"target 9 is out of range.*0\.\.4"),
        ([0, 1], r"shape \[2\].*3 samples"),
        (np.zeros((3, 1), np.int64), r"shape \[3, 1\].*3 samples"),
        (1.0, "1.0 \\(float\\)"),
        (True, "True \\(bool\\)"),
        (np.array([0.0, 1.0, 2.0]), "0.0 \\(float\\)"),
        ("unicorn", "unicorn"),
        ("top6", "top 6 classes.*has 5"),
        ("top0", "top0"),
    ],
)
def test_wrong_targets_are_refused_with_numbers(target: Any, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        KNOWN.indices(target, 3)


def test_a_label_needs_labels() -> None:
    with pytest.raises(TargetError, match=r"no labels; give an index, or pass labels="):
        Classes(5, None).indices("cat", 1)


def test_the_predicted_class_is_picked_in_the_graph(explainer: Explainer) -> None:
    x = small.inputs(7)
    best = small.quadratic_scores(x).argmax(axis=1)
    assert len(set(best)) > 1
    np.testing.assert_allclose(explainer.attribute(x), small.quadratic_gradient(x, best), rtol=1e-6)


def test_each_sample_has_its_own_target(explainer: Explainer) -> None:
    x, targets = small.inputs(5), [4, 3, 2, 1, 0]
    np.testing.assert_allclose(explainer.attribute(x, targets), small.quadratic_gradient(x, targets), rtol=1e-6)


def test_a_label_is_the_same_as_its_index(explainer: Explainer) -> None:
    x = small.inputs(3)
    np.testing.assert_array_equal(explainer.attribute(x, "cat"), explainer.attribute(x, 3))


def test_top_k_has_an_axis_of_classes_best_first(explainer: Explainer) -> None:
    x = small.inputs(5)
    order = np.argsort(-small.quadratic_scores(x), axis=1)
    found = explainer.attribute(x, "top3")
    assert isinstance(found, np.ndarray)
    assert found.shape == (5, 3, *x.shape[1:])
    for rank in range(3):
        np.testing.assert_allclose(found[:, rank], small.quadratic_gradient(x, order[:, rank]), rtol=1e-6)
    maps = explainer.saliency(x, "top3")
    assert isinstance(maps, np.ndarray)
    assert maps.shape == (5, 3, 4, 4)
    np.testing.assert_array_equal(maps[:, 0], explainer.saliency(x))


def test_equal_scores_predict_the_first_class() -> None:
    model = small.build(
        [helper.make_node("Mul", ["x", "W"], ["logits"])],
        [("x", small.FLOAT, ["N", 3])],
        [("logits", small.FLOAT, ["N", 3])],
        {"W": np.array([1, 2, 2], np.float32)},
    )
    assert Explainer(model).attribute(np.ones((1, 3), np.float32)).tolist() == [[0, 2, 0]]  # type: ignore[union-attr]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_a_model_with_a_fixed_batch_explains_any_number(count: int) -> None:
    fixed, x = Explainer(small.quadratic(batch=3)), small.inputs(count)
    targets = np.arange(count) % 5
    np.testing.assert_allclose(fixed.attribute(x, targets), small.quadratic_gradient(x, targets), rtol=1e-6)
    assert fixed.scores(x).shape == (count, 5)


def test_an_open_number_of_classes_is_asked_of_the_model() -> None:
    x = np.array([[1, 0, 2, 0, 3, 4], [1, 0, 5, 0, 3, 4]], np.float32)
    found = Explainer(small.open_classes()).attribute(x, [1, 3])
    assert np.asarray(found).tolist() == [[0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 1]]
    with pytest.raises(TargetError, match=r"target 4 is out of range.*0\.\.3"):
        Explainer(small.open_classes()).attribute(x, 4)
    with pytest.raises(TargetError, match=r"top 5 classes.*has 4"):
        Explainer(small.open_classes()).attribute(x, "top5")


def test_one_score_per_sample_is_one_class() -> None:
    model = small.build(
        [helper.make_node("ReduceSum", ["x", "axes"], ["logit"], keepdims=0)],
        [("x", small.FLOAT, ["N", 3])],
        [("logit", small.FLOAT, ["N"])],
        {"axes": np.array([1])},
    )
    explainer = Explainer(model)
    assert explainer.scores(np.ones((2, 3), np.float32)).tolist() == [[3], [3]]
    with pytest.raises(TargetError, match=r"0\.\.0"):
        explainer.attribute(np.ones((2, 3), np.float32), 1)


def test_positions_are_summed_where_that_is_asked_for() -> None:
    model = small.build(
        [helper.make_node("Mul", ["x", "x"], ["maps"])],
        [("x", small.FLOAT, ["N", 3, 4, 4])],
        [("maps", small.FLOAT, ["N", 3, 4, 4])],
    )
    explainer, x = Explainer(model), small.inputs(4)
    gradient = np.asarray(explainer.attribute(x, [Target(channel, at="all") for channel in (0, 1, 2, 0)]))
    expected = np.zeros_like(x)
    for sample, channel in enumerate([0, 1, 2, 0]):
        expected[sample, channel] = 2 * x[sample, channel]
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)
