"""Targets at the front door: several of one sample, one for each of several, comparisons, and what evaluation holds."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from onnxplain import Explainer, Explanation, Explanations, InputError, Target, TargetError, evaluate

from support import small_models as small
from support.small_models import build

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


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (Target(weights=np.ones(7)), r"weights= has the shape of the output of one sample, \[5\]; found \[7\]"),
        (Target(weights=np.ones((5, 2))), r"one sample, \[5\]; found \[5, 2\]"),
        (Target(weights=np.array([1, 2, np.nan, 0, 0])), "weights= holds NaN or infinity"),
        (Target(weights=np.array(["a"] * 5)), "weights= is an array of numbers"),
        (Target(like=np.zeros(5)), "like= is zero everywhere"),
        (Target(like=np.ones(4)), r"like= is a vector of 5 numbers, as embed\(\) gives; found \[4\]"),
        (Target(like=[1, 2, 3, 4, np.inf]), "like= holds NaN or infinity"),
        (Target(like=np.ones(5), versus=Target(like=np.zeros(5))), "like= is zero everywhere"),
    ],
    ids=repr,
)
def test_references_and_weights_that_fit_nothing_are_refused(explainer: Explainer, wrong: Target, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        explainer.attribute(X, wrong)


def test_weights_of_an_output_of_open_size_are_alike_for_all_samples() -> None:
    nodes = [helper.make_node("Mul", ["x", "x"], ["y"])]
    shape = ["N", 2, "H", "W"]
    model = build(nodes, [("x", TensorProto.FLOAT, shape)], [("y", TensorProto.FLOAT, shape)])
    explainer, x = Explainer(model), np.random.default_rng(0).normal(size=(2, 2, 3, 4)).astype(np.float32)
    weights = np.random.default_rng(1).normal(size=(2, 3, 4)).astype(np.float32)
    np.testing.assert_allclose(explainer.attribute(x, Target(weights=weights)), 2 * x * weights, rtol=1e-6)
    with pytest.raises(TargetError, match=r"one sample, \[2, 3, 4\]; found \[2, 3, 3\]"):
        explainer.attribute(x, [Target(weights=weights), Target(weights=weights[:, :, :3])])


def test_a_comparison_is_of_one_output() -> None:
    nodes = [helper.make_node("Mul", ["x", "x"], ["y"]), helper.make_node("Mul", ["y", "x"], ["z"])]
    spec = (TensorProto.FLOAT, ["N", 3])
    explainer = Explainer(build(nodes, [("x", *spec)], [("y", *spec), ("z", *spec)]))
    x = np.array([[1, 2, 3]], np.float32)
    found = explainer.attribute(x, Target(0, versus=Target(1, output="z"), output="z"))
    np.testing.assert_allclose(found, [[3, -12, 0]])
    for target in (None, "y"):
        with pytest.raises(TargetError, match=r"versus= is of the output 'z', .*; both are of one output"):
            Target(0, versus=Target(1, output="z"), output=target)


@pytest.mark.parametrize("other", [Target(like=[1.0, 2.0]), Target(weights=np.ones(5))])
def test_a_class_is_compared_with_a_class(explainer: Explainer, other: Target) -> None:
    with pytest.raises(TargetError, match=r"versus= is a class, .*; found Target\("):
        explainer.attribute(X, Target(0, versus=other))


def test_weights_are_shaped_like_the_output_or_its_scores() -> None:
    """Axes of one element may be left out, as the scores leave them out."""
    nodes = [helper.make_node("Mul", ["x", "x"], ["y"])]
    spec = (TensorProto.FLOAT, ["N", 1, 1, 3])
    explainer, x = Explainer(build(nodes, [("x", *spec)], [("y", *spec)])), np.array([[[[1, 2, 3]]]], np.float32)
    weights = np.array([3, -1, 2])
    for given in (weights, weights[None, None], weights[:, None]):
        found = explainer.attribute(x, Target(weights=given))
        np.testing.assert_allclose(found, 2 * x * weights)
    with pytest.raises(TargetError, match=r"one sample, \[3\]; found \[1, 4\]"):
        explainer.attribute(x, Target(weights=np.ones((1, 4))))


@pytest.mark.parametrize("extents", [["N"], ["N", 1]])
def test_nothing_is_like_a_single_number(extents: list[int | str]) -> None:
    keep = int(len(extents) == 2)
    nodes = [helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=keep)]
    constants = {"axes": np.array([1], np.int64)}
    model = build(nodes, [("x", TensorProto.FLOAT, ["N", 3])], [("y", TensorProto.FLOAT, extents)], constants)
    with pytest.raises(InputError, match="'y' is one number for each sample"):
        Explainer(model).attribute(np.ones((1, 3), np.float32), Target(like=[2.0]))


def test_a_constant_output_explains_nothing() -> None:
    nodes = [helper.make_node("Mul", ["x", "x"], ["y"])]
    outputs = [("y", TensorProto.FLOAT, ["N", 3]), ("version", TensorProto.FLOAT, [1])]
    model = build(nodes, [("x", TensorProto.FLOAT, ["N", 3])], outputs, {"version": np.ones(1, np.float32)})
    with pytest.raises(InputError, match=r"^the output 'version' is constant"):
        Explainer(model).attribute(np.ones((1, 3), np.float32), Target(0, output="version"))


def test_sequences_of_different_lengths_are_refused_in_one_sentence() -> None:
    with pytest.raises(InputError, match=r"[^.]\.$"):
        Explainer(small.tokens()).explain_tokens([[1, 2, 3], [1, 2]])
