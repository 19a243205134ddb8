"""Targets at the front door: several of one sample, one for each of several, comparisons, and what evaluation holds."""

from __future__ import annotations

import numpy as np
import pytest

from onnxplain import Explainer, Explanation, Explanations, Target, TargetError, evaluate

from support import small_models as small

X = small.inputs(2)


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(small.quadratic(ending="Softmax", metadata=small.image_metadata()), batch_size=2)


def test_several_targets_of_one_sample_are_an_axis(explainer: Explainer) -> None:
    found = explainer.attribute(X[:1], ["cat", 1, Target("dog", versus="cat")])
    expected = small.quadratic_gradient(X[[0, 0, 0]], [3, 1, 4])
    expected[2] -= expected[0]
    np.testing.assert_allclose(found, expected[None], rtol=1e-5, atol=1e-6)
    assert explainer.saliency(X[:1], ["cat", "dog"]).shape == (1, 2, 4, 4)


def test_a_sequence_is_still_one_target_for_each_sample(explainer: Explainer) -> None:
    found = explainer.attribute(X, ["cat", "green"])
    np.testing.assert_allclose(found, small.quadratic_gradient(X, [3, 1]), rtol=1e-5)
    assert explainer.attribute(X[:1], ["cat"]).shape == X[:1].shape
    for wrong in (["cat", "dog", "red"], []):
        with pytest.raises(TargetError, match="2 samples"):
            explainer.attribute(X, wrong)


def test_targets_of_two_samples_with_different_comparisons(explainer: Explainer) -> None:
    found = explainer.attribute(X, [Target("cat", versus="dog"), Target("red", versus=1)])
    expected = small.quadratic_gradient(X, [3, 0]) - small.quadratic_gradient(X, [4, 1])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_several_targets_of_one_photo_are_a_list(explainer: Explainer) -> None:
    photo = small.picture()
    found = explainer.explain(photo, ["cat", Target("dog", versus="cat")])
    assert isinstance(found, Explanations)
    assert [one.label for one in found] == ["cat", "dog"]
    alone = explainer.explain(photo, "cat")
    assert isinstance(alone, Explanation)
    np.testing.assert_array_equal(found[0].attribution, alone.attribution)
    assert found[0].probability == alone.probability and found[1].probability is None
    assert len(explainer.explain(photo, ["cat"])) == 1
    assert len(explainer.explain([photo, photo], ["cat", "dog"])) == 2
    with pytest.raises(TargetError, match="2 samples"):
        explainer.explain([photo, photo], ["cat", "dog", "red"])


def test_several_targets_of_one_row() -> None:
    explainer = Explainer(small.tokens())
    found = explainer.explain_tokens([1, 2, 3], target=[0, 1])
    assert [one.target for one in found] == [0, 1]


def test_evaluation_holds_the_class_and_keeps_the_comparison(explainer: Explainer) -> None:
    photos = [small.picture(seed=seed) for seed in (0, 1)]
    asked = Target(versus="cat")
    found = evaluate(explainer, photos, ["gradient_x_input", "saliency"], target=asked, metrics=["sparseness"])
    predicted = [one.target for one in explainer.stream(photos, asked)]
    assert found.targets == predicted
    maps = explainer.explain(photos[0], Target(predicted[0], versus="cat"), "saliency").saliency_input
    twice = evaluate(explainer, photos[:1], ["saliency"], target=asked, metrics=["sparseness"])
    assert found.values["sparseness"][1, 0] == pytest.approx(twice.values["sparseness"][0, 0])
    assert maps.max() == 1
