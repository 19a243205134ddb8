"""Preset "paper": argmax over I of S_c(I) - lambda ||I||^2 is reached, or said not to be; never a silent divergence."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxplain import ClassVisualization, Explainer, GradientError, OnnxplainError
from onnxplain.photos import Preprocessing
from onnxplain.visualization import ConvergenceWarning

from support import small_models as small

FLOAT = TensorProto.FLOAT
#: x = p / 127.5 - 1: images are counted in values of the tensor.
CENTRED = Preprocessing(scale=1 / 127.5, mean=(1.0,))
SHAPE = (small.CHANNELS, small.SIDE, small.SIDE)
WEIGHT = np.random.default_rng(4).standard_normal((small.CLASSES, *SHAPE)).astype(np.float32)


def linear(scale: float = 1.0, channels_last: bool = False) -> onnx.ModelProto:
    """x [N,3,4,4] (or [N,4,4,3]) -> S_c(x) = scale WEIGHT[c] . x; its best image is scale WEIGHT[c] / 2 lambda."""
    nodes = [helper.make_node("Transpose", ["x"], ["nchw"], perm=[0, 3, 1, 2])] if channels_last else []
    nodes += [
        helper.make_node("Conv", ["nchw" if channels_last else "x", "W"], ["maps"]),
        helper.make_node("Flatten", ["maps"], ["logits"], axis=1),
    ]
    shape = ["N", small.SIDE, small.SIDE, small.CHANNELS] if channels_last else ["N", *SHAPE]
    outputs: list[small.Spec] = [("logits", FLOAT, ["N", small.CLASSES])]
    return small.build(nodes, [("x", FLOAT, shape)], outputs, {"W": WEIGHT * np.float32(scale)})


def bowl(curvature: float) -> onnx.ModelProto:
    """S_c(x) = w_c x + curvature ||x||^2: with lambda below it, there is no largest value, and ascent has no end."""
    nodes = [
        helper.make_node("Conv", ["x", "W"], ["maps"]),
        helper.make_node("Flatten", ["maps"], ["slopes"], axis=1),
        helper.make_node("ReduceSumSquare", ["x", "axes"], ["norm"], keepdims=0),
        helper.make_node("Mul", ["norm", "curvature"], ["bent"]),
        helper.make_node("Unsqueeze", ["bent", "last"], ["column"]),
        helper.make_node("Add", ["slopes", "column"], ["logits"]),
    ]
    constants = {"W": WEIGHT, "axes": np.array([1, 2, 3]), "last": np.array([1])}
    constants["curvature"] = np.array(curvature, np.float32)
    outputs: list[small.Spec] = [("logits", FLOAT, ["N", small.CLASSES])]
    return small.build(nodes, [("x", FLOAT, ["N", *SHAPE])], outputs, constants)


def drawn(model: onnx.ModelProto, target: Any = 2, preprocessing: Preprocessing = CENTRED, **options: Any) -> Any:
    explainer = Explainer(model, preprocessing=preprocessing, threads=1)
    return explainer.visualize_class(target, preset="paper", progress=False, **options)


def unless_refused(call: Callable[[], Any], *words: str) -> Any:
    """What ``call`` returns; None where it is refused for a reason that has one of these words."""
    try:
        return call()
    except OnnxplainError as error:
        reason = str(error)
    assert any(word in reason for word in words), reason
    return None


def said_so(caught: list[warnings.WarningMessage]) -> bool:
    return any("converge" in str(one.message) for one in caught)


@pytest.mark.parametrize("l2", [1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0])
def test_the_best_image_of_a_linear_model(l2: float) -> None:
    """w / (2 lambda) to 1 %, over six decades of lambda, and no word of trouble."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = drawn(linear(), l2=l2).input
    assert found.dtype == np.float32 and found.shape == (1, *SHAPE)
    expected = WEIGHT[2] / (2 * l2)
    assert np.abs(found - expected).max() <= 0.01 * np.abs(expected).max()


@pytest.mark.parametrize("scale", [1e-4, 1e-2, 1e2, 1e4])
def test_the_size_of_the_gradient_does_not_matter(scale: float) -> None:
    found = drawn(linear(scale), l2=1e-2).input
    expected = scale * WEIGHT[2] / 2e-2
    assert np.abs(found - expected).max() <= 0.01 * np.abs(expected).max()


def test_several_classes_each_reach_their_own() -> None:
    found = drawn(linear(), [0, 4, 2], l2=0.3)
    for picture, target in zip(found, [0, 4, 2]):
        assert isinstance(picture, ClassVisualization)
        np.testing.assert_allclose(
            picture.input[0], WEIGHT[target] / 0.6, rtol=0, atol=0.01 * np.abs(WEIGHT).max() / 0.6
        )


def test_the_input_of_channels_last_models() -> None:
    """As the model takes it, a batch of one: [1,H,W,C]."""
    found = drawn(linear(channels_last=True), l2=0.3).input
    assert found.shape == (1, small.SIDE, small.SIDE, small.CHANNELS)
    np.testing.assert_allclose(np.moveaxis(found[0], -1, 0), WEIGHT[2] / 0.6, atol=0.05)


def test_the_input_is_in_units_of_the_tensor() -> None:
    """Images are counted in half pixel ranges, u; lambda is of the image I = x / u, so that x = u^2 w / (2 lambda)."""
    unit = 127.5
    found = drawn(linear(), l2=1.0, preprocessing=Preprocessing(scale=1.0, mean=(127.5,))).input
    expected = unit**2 * WEIGHT[2] / 2
    assert np.abs(found - expected).max() <= 0.01 * np.abs(expected).max()


def test_the_input_of_the_natural_preset_is_what_its_picture_shows() -> None:
    explainer = Explainer(linear(), preprocessing=CENTRED, threads=1)
    found = explainer.visualize_class(1, steps=3, progress=False)
    assert found.input.dtype == np.float32 and found.input.shape == (1, *SHAPE)
    assert found.converged is None
    shown = np.moveaxis(found.image, -1, 0) / 127.5 - 1
    np.testing.assert_allclose(found.input[0], shown, atol=1 / 127.5)


@pytest.mark.parametrize("steps", [1, 3])
def test_too_few_steps_are_said(steps: int) -> None:
    """A single step on a curved score cannot be known to have arrived; if it has not, that is said."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = drawn(bowl(-0.5), l2=1e-3, steps=steps).input
    expected = WEIGHT[2] / (2 * (1e-3 + 0.5))
    arrived = np.abs(found - expected).max() <= 0.01 * np.abs(expected).max()
    assert arrived or said_so(caught)


@pytest.mark.parametrize("learning_rate", [1e-6, 1e3])
def test_a_rate_of_the_callers_choice_is_not_silently_wrong(learning_rate: float) -> None:
    """Too short, it stops far from the optimum; too long, it diverges: right, said, or an error."""
    expected = WEIGHT[2] / 2e-2
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rate = learning_rate
        found = unless_refused(lambda: drawn(linear(), l2=1e-2, learning_rate=rate).input, "diverge", "learning_rate")
    arrived = found is None or np.abs(found - expected).max() <= 0.01 * np.abs(expected).max()
    assert arrived or said_so(caught)


@pytest.mark.parametrize("l2", [0.0, 0.01])
def test_a_divergence_is_an_error(l2: float) -> None:
    """A score that curves upwards more than lambda pulls down has no best image."""
    with pytest.raises(GradientError, match="diverge"):
        drawn(bowl(0.5), l2=l2)


def test_a_curved_score_reaches_its_optimum() -> None:
    """S_c = w x - ||x||^2 / 2: the best image is w / (2 lambda + 1), whatever the curvature of the penalty alone."""
    found = drawn(bowl(-0.5), l2=1e-3).input
    expected = WEIGHT[2] / (2 * (1e-3 + 0.5))
    assert np.abs(found - expected).max() <= 0.01 * np.abs(expected).max()


def test_the_input_goes_into_the_model() -> None:
    explainer = Explainer(linear(), preprocessing=CENTRED, threads=1)
    found = explainer.visualize_class(2, preset="paper", l2=0.3, progress=False)
    assert found.converged and "not converged" not in repr(found)
    expected = np.square(WEIGHT[2]).sum() / 0.6
    np.testing.assert_allclose(explainer.scores(found.input)[0, 2], expected, rtol=1e-2)
    np.testing.assert_allclose(found.scores[-1], expected, rtol=1e-2)


def test_what_did_not_converge_is_named() -> None:
    with pytest.warns(ConvergenceWarning, match=r"class 2 did not converge in 2 steps.*more steps") as caught:
        found = drawn(linear(), l2=1e-3, steps=2)
    assert caught[0].filename == __file__
    assert found.converged is False and "not converged" in repr(found) and found.to_dict()["converged"] is False


def test_total_variation_counts_in_the_line_search() -> None:
    """The image is flatter than w / (2 lambda), and its neighbours are worse."""
    found = drawn(linear(), l2=0.5, total_variation=0.3).input[0].astype(np.float64)

    def value(image: np.ndarray) -> float:
        down = np.diff(image, axis=1, append=image[:, -1:])
        right = np.diff(image, axis=2, append=image[..., -1:])
        lengths = np.sqrt((down**2 + right**2).sum(axis=0) + 0.01**2)
        return float((WEIGHT[2] * image).sum() - 0.5 * (image**2).sum() - 0.3 * lengths.sum())

    generator = np.random.default_rng(0)
    best = value(found)
    assert best > value(WEIGHT[2].astype(np.float64))
    assert all(value(found + 0.05 * generator.standard_normal(SHAPE)) < best for _ in range(50))
