"""Gradients along paths: against Captum and closed forms, completeness, batches, baselines, refusals."""

from __future__ import annotations

from typing import Any

import captum.attr
import numpy as np
import pytest
import torch
from onnx import helper

from onnxplain import Explainer, InputError
from onnxplain.methods import METHODS
from onnxplain.methods.blur_integrated_gradients import cosine_transform
from onnxplain.methods.helpers.paths import gauss_legendre

from support import small_models as small
from support.torch_twins import assert_agree, noise_of, twins

REFERENCES = small.inputs(4, seed=9)
#: Methods by name, with the options that they need.
PATHS: dict[str, dict[str, Any]] = {
    "integrated_gradients": {},
    "blur_integrated_gradients": {"max_sigma": 3.0},
    "guided_integrated_gradients": {"steps": 10, "max_distance": 0.2, "baseline": "mean"},
    "expected_gradients": {"references": REFERENCES, "samples": 20},
}


def gap_of(explainer: Explainer, x: np.ndarray, method: str, **options: Any) -> dict[str, float]:
    """The details of one sample that is no photo."""
    found = METHODS[method](**options).attribute(explainer._attributor, {"x": x}, np.array([0] * len(x)))
    return {name: float(values[0]) for name, values in found.details.items()}


@pytest.mark.parametrize("baseline", [0.0, 0.4])
def test_captum_agrees(baseline: float) -> None:
    pair = twins()
    found = pair.explainer.attribute(pair.x, pair.targets, method="integrated_gradients", steps=20, baseline=baseline)
    captums = captum.attr.IntegratedGradients(pair.torch)
    expected = captums.attribute(pair.tensor, baseline, pair.targets, n_steps=20, method="gausslegendre")
    assert_agree(found, expected)


def test_captum_agrees_on_saliency_and_gradient_x_input() -> None:
    pair = twins()
    saliency = captum.attr.Saliency(pair.torch).attribute(pair.tensor, pair.targets, abs=False)
    assert_agree(pair.explainer.attribute(pair.x, pair.targets), saliency)
    times = captum.attr.InputXGradient(pair.torch).attribute(pair.tensor, pair.targets)
    assert_agree(pair.explainer.attribute(pair.x, pair.targets, method="gradient_x_input"), times)


def test_captum_agrees_around_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """SmoothGrad of integrated gradients."""
    pair = twins()
    noise = noise_of(0, 3, pair.x.shape[1:])

    def normal(mean: float, deviations: torch.Tensor) -> torch.Tensor:
        return deviations * torch.from_numpy(noise).repeat(len(pair.x), 1, 1, 1)

    monkeypatch.setattr(torch, "normal", normal)
    tunnel = captum.attr.NoiseTunnel(captum.attr.IntegratedGradients(pair.torch))
    expected = tunnel.attribute(
        pair.tensor, nt_samples=3, stdevs=0.1, target=pair.targets, n_steps=8, method="gausslegendre"
    )
    base = METHODS["integrated_gradients"](steps=8)  # type: ignore[call-arg]
    found = pair.explainer.attribute(
        pair.x, pair.targets, method="smoothgrad", samples=3, noise=0.1, relative=False, base=base
    )
    assert_agree(found, expected)


def test_quadratic_models_are_exact_with_one_step() -> None:
    """The gradient is linear along a straight path: its mean is that in the middle."""
    explainer, x = Explainer(small.quadratic()), small.inputs(3)
    baseline = small.inputs(1, seed=5)[0]
    found = explainer.attribute(x, [0, 1, 2], method="integrated_gradients", steps=1, baseline=baseline)
    expected = (x - baseline) * small.quadratic_gradient((x + baseline) / 2, [0, 1, 2])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    details = gap_of(explainer, x[:1], "integrated_gradients", steps=1, baseline=baseline)
    assert details["completeness_gap"] == pytest.approx(0, abs=1e-4)
    assert details["baseline_score"] == pytest.approx(small.quadratic_scores(baseline[None])[0, 0], rel=1e-5)


@pytest.mark.parametrize("method", ["integrated_gradients", "blur_integrated_gradients", "guided_integrated_gradients"])
def test_more_steps_make_the_gap_smaller(method: str) -> None:
    pair, gaps = twins(), []
    for steps in (2, 300):
        found = METHODS[method](steps=steps).attribute(
            pair.explainer._attributor, {"x": pair.x}, np.array(pair.targets)
        )
        sums = found.attributions[0].sum(axis=(1, 2, 3)) - (found.scores - found.details["baseline_score"])
        np.testing.assert_allclose(found.details["completeness_gap"], sums, atol=1e-4)
        gaps.append(np.abs(sums).max())
    assert gaps[1] < 0.01 and gaps[1] < gaps[0] / 5


def test_explanations_report_the_gap() -> None:
    explainer = Explainer(small.quadratic(metadata=small.image_metadata()))
    found = explainer.explain(small.picture(), 2, method="integrated_gradients", baseline="mean")
    facts = found.to_dict()["details"]
    assert abs(facts["completeness_gap"]) < 1e-3 * abs(found.score)
    assert found.attribution.sum() == pytest.approx(found.score - facts["baseline_score"], rel=1e-3)
    assert found.signed.min() < 0 < found.signed.max()
    assert explainer.explain(small.picture(), 2).to_dict()["details"] == {}


def test_expected_gradients_average_over_the_references() -> None:
    explainer, x = Explainer(small.quadratic()), small.inputs(2)
    found = explainer.attribute(x, [1, 4], method="expected_gradients", references=list(REFERENCES), samples=4000)
    # For a quadratic score the mean over t is the gradient in the middle.
    expected = np.mean([(x - r) * small.quadratic_gradient((x + r) / 2, [1, 4]) for r in REFERENCES], axis=0)
    assert_agree(found, expected, tolerance=0.05)
    one = explainer.attribute(x, [1, 4], method="expected_gradients", references=REFERENCES[:1], samples=1, seed=3)
    draws = np.random.default_rng(3)
    draws.integers(1, size=1)
    t = float(draws.random(1)[0])
    way = x - REFERENCES[0]
    np.testing.assert_allclose(
        one, way * small.quadratic_gradient(REFERENCES[0] + np.float32(t) * way, [1, 4]), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("method", PATHS)
@pytest.mark.parametrize("size", [1, 4, 64])
def test_batches_change_nothing(method: str, size: int) -> None:
    x, targets = small.inputs(5), [0, 1, 2, 3, 4]
    alone = Explainer(small.quadratic(), batch_size=3).attribute(x[3:4], 3, method=method, **PATHS[method])
    many = Explainer(small.quadratic(), batch_size=size).attribute(x, targets, method=method, **PATHS[method])
    np.testing.assert_allclose(many[3:4], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", PATHS)
def test_fixed_batches_channels_last_and_the_best_classes(method: str) -> None:
    x, options = small.inputs(3), PATHS[method]
    expected = Explainer(small.quadratic()).attribute(x, "top3", method=method, **options)
    fixed = Explainer(small.quadratic(2)).attribute(x, "top3", method=method, **options)
    np.testing.assert_allclose(fixed, expected, rtol=1e-4, atol=1e-5)
    last = dict(options)
    if "references" in last:
        last["references"] = REFERENCES.transpose(0, 2, 3, 1)
    found = Explainer(small.quadratic_nhwc()).attribute(x.transpose(0, 2, 3, 1), "top3", method=method, **last)
    np.testing.assert_allclose(found.transpose(0, 1, 4, 2, 3), expected, rtol=1e-4, atol=1e-5)


def test_channels_last_where_only_the_caller_knows() -> None:
    """Without a convolution nothing tells that the last axis has the channels, which are not to be blurred."""
    x = small.inputs(2)
    colours = np.broadcast_to(x[:, :, :1, :1], x.shape).copy()
    for method in ("integrated_gradients", "blur_integrated_gradients"):
        options = {"baseline": "blur"} if method == "integrated_gradients" else {}
        explainer = Explainer(small.quadratic(), channel_axis=1)
        found = explainer.attribute(colours, 0, method=method, **options)
        assert np.abs(found).max() < 1e-4


def test_several_inputs_go_one_path() -> None:
    a, b = (np.random.default_rng(seed).standard_normal((2, 4)).astype(np.float32) for seed in (0, 1))
    found = Explainer(small.product()).attribute({"a": a, "b": b}, 1, method="integrated_gradients", steps=2)
    for part in found.values():
        np.testing.assert_allclose(part[:, 1], (a * b)[:, 1] / 2, rtol=1e-5)
    own = {"a": 0.0, "b": 1.0}
    found = Explainer(small.product()).attribute({"a": a, "b": b}, 1, method="integrated_gradients", baseline=own)
    np.testing.assert_allclose((found["a"] + found["b"])[:, 1], (a * b)[:, 1], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["b"][:, 1], ((b - 1) * a / 2)[:, 1], rtol=1e-4, atol=1e-6)


def test_tokens_and_integers_have_paths_of_floats() -> None:
    ids = np.array([[1, 2, 0], [3, 1, 1]])
    found = Explainer(small.tokens(), batch_size=2).attribute(ids, 1, method="integrated_gradients", steps=3)
    expected = small.EMBEDDING[ids] ** 2 * small.READOUT[:, 1] * (ids > 0)[..., None]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 4), np.uint8)
    floats = (pixels / 255).astype(np.float32)
    found = Explainer(small.quadratic_uint8()).attribute(pixels, 1, method="integrated_gradients", steps=3)
    np.testing.assert_allclose(found, floats * small.quadratic_gradient(floats / 2, [1, 1]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
@pytest.mark.parametrize("method", ["integrated_gradients", "blur_integrated_gradients", "guided_integrated_gradients"])
def test_other_precisions(dtype: type, method: str) -> None:
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["squares"]),
        helper.make_node("ReduceSum", ["squares", "axes"], ["logits"], keepdims=0),
    ]
    model = small.build(nodes, [("x", element, ["N", 2, 6])], [("logits", element, ["N", 2])], {"axes": np.array([2])})
    x = np.random.default_rng(0).standard_normal((2, 2, 6)).astype(dtype)
    found = METHODS[method]().attribute(Explainer(model, channel_axis=1)._attributor, {"x": x}, np.array([1, 1]))
    assert found.attributions[0].dtype == np.result_type(dtype, np.float32)
    largest = float((x.astype(np.float64) ** 2).sum(axis=2).max())
    assert (
        np.abs(found.details["completeness_gap"]).max()
        < (1e-3 if dtype is np.float64 and "guided" not in method else 1e-2) * largest
    )


def test_guided_paths_without_freedom_are_straight() -> None:
    """They take the gradient at the beginning of each step, as Captum's left Riemann sum does."""
    pair = twins()
    found = pair.explainer.attribute(
        pair.x, pair.targets, method="guided_integrated_gradients", steps=12, max_distance=0.0
    )
    captums = captum.attr.IntegratedGradients(pair.torch)
    assert_agree(found, captums.attribute(pair.tensor, 0.0, pair.targets, n_steps=12, method="riemann_left"))


def test_guided_paths_move_flat_elements_first() -> None:
    """S = 10 a + b² from 0 to (1, 1) in two steps: b, which is flat, goes all its way before a begins."""
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["squares"]),
        helper.make_node("MatMul", ["x", "linear"], ["first"]),
        helper.make_node("MatMul", ["squares", "quadratic"], ["second"]),
        helper.make_node("Add", ["first", "second"], ["logits"]),
    ]
    constants = {"linear": np.array([[10], [0]], np.float32), "quadratic": np.array([[0], [1]], np.float32)}
    model = small.build(nodes, [("x", small.FLOAT, ["N", 2])], [("logits", small.FLOAT, ["N", 1])], constants)
    x = np.ones((1, 2), np.float32)
    options = {"method": "guided_integrated_gradients", "fraction": 0.5}
    free = Explainer(model).attribute(x, 0, steps=2, max_distance=1.0, **options)
    np.testing.assert_allclose(free, [[10, 0]], atol=1e-6)  # b has moved from 0 to 1, where the slope was 0
    # Held back, b comes to 3/4 in the first step, and a to 1/4: the slope of b is 3/2 in the second.
    held = Explainer(model).attribute(x, 0, steps=2, max_distance=0.25, **options)
    np.testing.assert_allclose(held, [[10, 0.25 * 1.5]], rtol=1e-6)


def test_blurring_keeps_means_and_forgets_the_rest() -> None:
    transform = cosine_transform(7)
    np.testing.assert_allclose(transform @ transform.T, np.eye(7), atol=1e-12)
    x = small.inputs(1)
    details = gap_of(Explainer(small.quadratic()), x, "blur_integrated_gradients", max_sigma=100.0)
    flat = np.broadcast_to(x.mean(axis=(2, 3), keepdims=True), x.shape)
    assert details["baseline_score"] == pytest.approx(small.quadratic_scores(flat)[0, 0], rel=1e-4)


def test_quadrature() -> None:
    nodes, weights = gauss_legendre(3)
    assert [float(weights @ nodes**power) for power in range(6)] == pytest.approx([1 / (p + 1) for p in range(6)])


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("integrated_gradients", {"steps": 0}, "steps is a whole number, 1 or more; found 0"),
        ("integrated_gradients", {"baseline": "black"}, "baseline 'black' is unknown"),
        ("integrated_gradients", {"baseline": float("inf")}, "finite number"),
        ("integrated_gradients", {"baseline": np.zeros((2, 3, 4, 4))}, "does not fit"),
        ("integrated_gradients", {"baseline": {"y": 0.0}}, "baseline is a dict for 'y', but gradients belong to 'x'"),
        ("blur_integrated_gradients", {"steps": True}, "steps is a whole number"),
        ("blur_integrated_gradients", {"max_sigma": 0.0}, "max_sigma is a standard deviation in pixels, above 0"),
        ("guided_integrated_gradients", {"steps": 0}, "steps is a whole number"),
        ("guided_integrated_gradients", {"fraction": 2}, "fraction is a number from 0 to 1; found 2"),
        ("guided_integrated_gradients", {"max_distance": "far"}, "max_distance is a number from 0 to 1"),
        ("expected_gradients", {}, "need references"),
        ("expected_gradients", {"references": np.zeros((0, 3, 4, 4))}, r"samples \[R, 3, 4, 4\]; found \[0, 3, 4, 4\]"),
        ("expected_gradients", {"references": np.zeros((3, 4, 4))}, r"found \[3, 4, 4\]"),
        ("expected_gradients", {"references": "photos"}, "array .* of numbers; found str"),
        ("expected_gradients", {"references": np.full((1, 3, 4, 4), np.nan)}, "NaN"),
        ("expected_gradients", {"references": REFERENCES, "samples": 0}, "samples is a whole number"),
    ],
)
def test_bad_options_are_refused(method: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Explainer(small.quadratic()).attribute(small.inputs(2), 0, method=method, **options)


def test_rows_of_features_have_no_blur() -> None:
    a = np.ones((1, 4), np.float32)
    for method, options in (("blur_integrated_gradients", {}), ("integrated_gradients", {"baseline": "blur"})):
        with pytest.raises(InputError, match=r"row of features|mix the features"):
            Explainer(small.product()).attribute({"a": a, "b": a}, 0, method=method, **options)
