"""SmoothGrad, SmoothGrad-squared and VarGrad: against Captum with the same noise, seeds, batches, embeddings."""

from __future__ import annotations

from typing import Any

import captum.attr
import numpy as np
import pytest
import torch
from onnx import TensorProto, helper

from onnxplain import Explainer, InputError
from onnxplain.methods import METHODS
from onnxplain.methods.gradients import GradientXInput
from onnxplain.methods.smoothgrad import NoisyMethod, SmoothGrad

from support import small_models as small
from support.torch_twins import Twins, assert_agree, noise_of, twins

KINDS = {"smoothgrad": "smoothgrad", "smoothgrad_squared": "smoothgrad_sq", "vargrad": "vargrad"}


def noise_tunnel(pair: Twins, method: Any, kind: str, monkeypatch: pytest.MonkeyPatch, **options: Any) -> torch.Tensor:
    """Captum's NoiseTunnel with the noise of seed 4, 10 samples, standard deviation 0.2."""
    noise = torch.from_numpy(noise_of(4, 10, pair.x.shape[1:]))

    def normal(mean: float, deviations: torch.Tensor) -> torch.Tensor:
        assert mean == 0 and len(deviations) == 10 * len(pair.x)
        return deviations * noise.repeat(len(pair.x), 1, 1, 1)

    monkeypatch.setattr(torch, "normal", normal)
    tunnel = captum.attr.NoiseTunnel(method)
    found: torch.Tensor = tunnel.attribute(
        pair.tensor, nt_type=kind, nt_samples=10, stdevs=0.2, target=pair.targets, **options
    )
    return found


@pytest.mark.parametrize("name", KINDS)
def test_captum_agrees(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = twins()
    options = {"samples": 10, "noise": 0.2, "relative": False, "seed": 4}
    saliency = captum.attr.Saliency(pair.torch)
    expected = noise_tunnel(pair, saliency, KINDS[name], monkeypatch, abs=False)
    assert_agree(pair.explainer.attribute(pair.x, pair.targets, method=name, **options), expected)
    expected = noise_tunnel(pair, saliency, KINDS[name], monkeypatch)
    assert_agree(pair.explainer.attribute(pair.x, pair.targets, method=name, absolute=True, **options), expected)


@pytest.mark.filterwarnings("ignore:Setting (backward|forward) hooks:UserWarning")
@pytest.mark.parametrize(
    ("base", "captums"),
    [("gradient_x_input", captum.attr.InputXGradient), ("guided_backprop", captum.attr.GuidedBackprop)],
)
def test_captum_agrees_around_other_methods(base: str, captums: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = twins()
    found = pair.explainer.attribute(
        pair.x, pair.targets, method="smoothgrad", samples=10, noise=0.2, relative=False, seed=4, base=base
    )
    assert_agree(found, noise_tunnel(pair, captums(pair.torch), "smoothgrad", monkeypatch))


def test_the_definitions() -> None:
    """The model is quadratic, so its gradient is linear in the noise."""
    explainer, x, targets = Explainer(small.quadratic()), small.inputs(2), [1, 3]
    deviations = 0.15 * (x.max(axis=(1, 2, 3)) - x.min(axis=(1, 2, 3)))
    noise = noise_of(7, 6, x.shape[1:])
    gradients = np.stack([small.quadratic_gradient(x + deviations[:, None, None, None] * e, targets) for e in noise])
    options = {"samples": 6, "seed": 7}
    found = {name: explainer.attribute(x, targets, method=name, **options) for name in KINDS}
    np.testing.assert_allclose(found["smoothgrad"], gradients.mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["smoothgrad_squared"], (gradients**2).mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["vargrad"], gradients.var(axis=0), rtol=1e-4, atol=1e-5)
    unbiased = explainer.attribute(x, targets, method="vargrad", unbiased=True, **options)
    np.testing.assert_allclose(unbiased, gradients.var(axis=0, ddof=1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 5, 64])
def test_neither_the_batch_nor_its_size_changes_the_noise(size: int) -> None:
    x, targets = small.inputs(5), [0, 1, 2, 3, 4]
    alone = Explainer(small.quadratic(), batch_size=3).attribute(x[3:4], 3, method="vargrad", samples=7)
    many = Explainer(small.quadratic(), batch_size=size).attribute(x, targets, method="vargrad", samples=7)
    np.testing.assert_allclose(many[3:4], alone, rtol=1e-5)


def test_runs_have_the_best_size_and_the_class_is_that_of_the_unchanged_input() -> None:
    explainer, x = Explainer(small.quadratic(), batch_size=4, threads=1), small.inputs(1)
    runs: list[int] = []
    run = explainer._attributor.session.run

    def counting(feeds: dict[str, np.ndarray], outputs: list[str], *rest: Any) -> list[np.ndarray]:
        runs.append(len(feeds["x"]))
        return run(feeds, outputs, *rest)

    explainer._attributor.session.run = counting  # type: ignore[method-assign, assignment]
    predicted = int(np.argmax(small.quadratic_scores(x)))
    found = explainer.attribute(x, method="smoothgrad", samples=10, noise=3.0)
    assert sum(runs) == 10 and len(runs) == 3 and max(runs) <= 4
    explained = explainer.attribute(x, predicted, method="smoothgrad", samples=10, noise=3.0)
    np.testing.assert_array_equal(found, explained)


def test_threads_change_nothing() -> None:
    x, targets = small.inputs(3), [0, 1, 2]
    one, four = (
        Explainer(small.quadratic(), threads=threads).attribute(x, targets, method="smoothgrad", samples=20)
        for threads in (1, 4)
    )
    np.testing.assert_allclose(four, one, rtol=1e-6)


def test_fixed_batches_channels_last_and_the_best_classes() -> None:
    x = small.inputs(3)
    expected = Explainer(small.quadratic()).attribute(x, "top3", method="smoothgrad", samples=4)
    fixed = Explainer(small.quadratic(2)).attribute(x, "top3", method="smoothgrad", samples=4)
    np.testing.assert_allclose(fixed, expected, rtol=1e-5, atol=1e-6)
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    maps = Explainer(small.quadratic_nhwc()).saliency(last, 0, method="smoothgrad", samples=200)
    assert maps.shape == (3, 4, 4)
    plain = Explainer(small.quadratic()).saliency(x, 0)
    assert np.corrcoef(maps.ravel(), plain.ravel())[0, 1] > 0.9


def test_several_inputs_get_noise_of_their_own() -> None:
    """d(ab)/da = b: the mean of the noisy b, and the other way round."""
    a, b = (np.random.default_rng(seed).standard_normal((2, 4)).astype(np.float32) for seed in (0, 1))
    found = Explainer(small.product()).attribute({"a": a, "b": b}, 1, method="smoothgrad", noise=0.5, relative=False)
    shifts = {"a": found["a"][:, 1] - b[:, 1], "b": found["b"][:, 1] - a[:, 1]}
    assert shifts["a"][0] == pytest.approx(shifts["a"][1], abs=1e-5)
    assert 0 < abs(shifts["a"][0]) < 0.3 and abs(shifts["a"][0] - shifts["b"][0]) > 1e-3


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_precisions(dtype: type) -> None:
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["squares"]),
        helper.make_node("MatMul", ["squares", "W"], ["logits"]),
    ]
    weight = np.arange(12).reshape(4, 3).astype(dtype)
    model = small.build(nodes, [("x", element, ["N", 4])], [("logits", element, ["N", 3])], {"W": weight})
    x = np.random.default_rng(0).standard_normal((2, 4)).astype(dtype)
    found = Explainer(model).attribute(x, 2, method="smoothgrad", samples=5, noise=0.1, relative=False)
    noisy = x + 0.1 * noise_of(0, 5, (4,)).mean(axis=0)
    assert found.dtype == np.result_type(dtype, np.float32)
    np.testing.assert_allclose(found, 2 * noisy * weight[:, 2], rtol=1e-2 if dtype is np.float16 else 1e-6, atol=1e-2)


def test_integers_get_noise_at_the_tensor_that_stands_in_for_them() -> None:
    """The gradient of a uint8 model belongs to the pixels as floats."""
    x = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 4), np.uint8)
    found = Explainer(small.quadratic_uint8()).attribute(x, 1, method="smoothgrad", samples=8, noise=20, relative=False)
    noisy = x + 20 * noise_of(0, 8, (3, 4, 4)).mean(axis=0)
    np.testing.assert_allclose(found, small.quadratic_gradient(noisy / 255, [1, 1]) / 255, rtol=1e-4, atol=1e-6)


def test_tokens_get_noise_at_their_embeddings() -> None:
    ids = np.array([[1, 2, 0], [3, 1, 1]])
    explainer = Explainer(small.tokens(), batch_size=4)
    slope = 2 * small.READOUT[:, 1] * (ids > 0)[..., None]
    expected = slope * (small.EMBEDDING[ids] + 0.1 * noise_of(0, 9, (3, 5)).mean(axis=0))
    found = explainer.attribute(ids, 1, method="smoothgrad", samples=9, noise=0.1, relative=False)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    times = explainer.saliency(ids, 1, method="gradient_x_input", normalize="none")
    np.testing.assert_allclose(times, np.abs((slope * small.EMBEDDING[ids] ** 2).sum(axis=2)), rtol=1e-4)


def test_maps_and_signs_are_those_of_the_base() -> None:
    explainer, x = Explainer(small.quadratic(metadata=small.image_metadata())), small.inputs(1)
    smooth = SmoothGrad(samples=3, base=GradientXInput())
    raw = explainer.attribute(x, 0, method=smooth)
    maps = explainer.saliency(x, 0, method=smooth, normalize="none")
    np.testing.assert_allclose(maps, np.abs(raw.sum(axis=1)), rtol=1e-5)
    photo = small.picture()
    assert explainer.explain(photo, 0, method=smooth).signed is not None
    assert explainer.explain(photo, 0, method="smoothgrad").signed is None
    assert explainer.explain(photo, 0, method="vargrad", base="gradient_x_input").signed is None


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 0}, "samples is a whole number, 1 or more; found 0"),
        ({"samples": 2.5}, "samples is a whole number"),
        ({"seed": -1}, "seed is a whole number, 0 or more"),
        ({"noise": -0.1}, "noise is a standard deviation, a finite number, 0 or more; found -0.1"),
        ({"noise": float("nan")}, "noise is a standard deviation"),
        ({"noise": "much"}, "noise is a standard deviation"),
        ({"base": "nonsense"}, "'nonsense' is unknown"),
        ({"base": "occlusion"}, "base 'occlusion' takes no gradients"),
    ],
)
def test_bad_options_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    assert issubclass(METHODS[name], NoisyMethod)
    with pytest.raises(InputError, match=message):
        METHODS[name](**options)


def test_one_sample_has_no_unbiased_variance() -> None:
    with pytest.raises(InputError, match="2 or more"):
        METHODS["vargrad"](samples=1, unbiased=True)  # type: ignore[call-arg]


def test_integers_that_the_model_reads_as_they_are_are_refused() -> None:
    nodes = [
        helper.make_node("MatMulInteger", ["x", "W"], ["sums"]),
        helper.make_node("Cast", ["sums"], ["logits"], to=small.FLOAT),
    ]
    weight = np.arange(12, dtype=np.int8).reshape(4, 3)
    explainer = Explainer(
        small.build(nodes, [("x", TensorProto.INT8, ["N", 4])], [("logits", small.FLOAT, ["N", 3])], {"W": weight})
    )
    x = np.array([[1, 2, 3, 4]], np.int8)
    np.testing.assert_array_equal(explainer.attribute(x, 1)[0], weight[:, 1])
    with pytest.raises(InputError, match="reads the integers of 'x' as they are"):
        explainer.attribute(x, 1, method="smoothgrad")
