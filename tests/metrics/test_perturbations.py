"""Infidelity and max-sensitivity: identities of linear models, and Captum's values on the same perturbations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.metrics import infidelity as captum_infidelity
from captum.metrics import sensitivity_max

from onnxplain import InputError
from onnxplain.metrics import infidelity, max_sensitivity

SHAPE, CLASSES, SAMPLES = (3, 4, 4), 5, 6
GENERATOR = np.random.default_rng(0)
WEIGHT = GENERATOR.standard_normal((CLASSES, *SHAPE))
X = GENERATOR.standard_normal((2, *SHAPE))
TARGETS = np.array([3, 1])


def linear(x: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return (x * WEIGHT[targets]).sum(axis=(1, 2, 3)) + targets


def curved(x: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return np.tanh(0.2 * linear(x, targets))


def curved_gradient(x: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return 0.2 * (1 - curved(x, targets) ** 2)[:, None, None, None] * WEIGHT[targets]


def torch_curved(x: torch.Tensor) -> torch.Tensor:
    weight = torch.from_numpy(WEIGHT.reshape(CLASSES, -1))
    return torch.tanh(0.2 * (x.flatten(1) @ weight.T + torch.arange(CLASSES)))


@pytest.mark.parametrize("perturbation", ["square", "gaussian", lambda x, generator: 3 * generator.random(x.shape)])
def test_the_gradient_of_a_linear_model_is_faithful(perturbation) -> None:
    found = infidelity(linear, X, WEIGHT[TARGETS], TARGETS, perturbation=perturbation, sigma=2.0)
    np.testing.assert_allclose(found, 0, atol=1e-20)


def test_gradient_times_difference_of_a_linear_model_is_faithful_if_multiplied() -> None:
    for baseline, value in (("zero", 0), ("mean", X.mean(axis=(2, 3), keepdims=True)), (np.array(0.5), 0.5)):
        attributions = WEIGHT[TARGETS] * (X - value)
        found = infidelity(linear, X, attributions, TARGETS, baseline=baseline, multiplied=True)
        np.testing.assert_allclose(found, 0, atol=1e-20)
    assert infidelity(linear, X, WEIGHT[TARGETS], TARGETS, multiplied=True).min() > 0.01


def test_the_best_factor_makes_units_irrelevant() -> None:
    plain = infidelity(curved, X, curved_gradient(X, TARGETS), TARGETS, normalize=True)
    scaled = infidelity(curved, X, 100 * curved_gradient(X, TARGETS), TARGETS, normalize=True)
    np.testing.assert_allclose(plain, scaled)
    np.testing.assert_allclose(infidelity(linear, X, 7 * WEIGHT[TARGETS], TARGETS, normalize=True), 0, atol=1e-20)
    assert (plain < infidelity(curved, X, np.zeros_like(X), TARGETS, normalize=True)).all()


def test_one_channel_stands_for_all_and_layouts_agree() -> None:
    maps = GENERATOR.random((2, 1, 4, 4))
    expected = infidelity(curved, X, np.repeat(maps, 3, axis=1), TARGETS)
    np.testing.assert_allclose(infidelity(curved, X, maps, TARGETS), expected)
    last = infidelity(
        lambda x, targets: curved(np.moveaxis(x, -1, 1), targets),
        np.moveaxis(X, 1, -1),
        np.moveaxis(maps, 1, -1),
        TARGETS,
        channel_axis=-1,
    )
    np.testing.assert_allclose(last, expected)


@pytest.mark.parametrize("perturbation", ["square", "gaussian"])
def test_infidelity_is_seeded_and_does_not_depend_on_the_batch(perturbation) -> None:
    def measure(**options):
        return infidelity(curved, X, WEIGHT[TARGETS], TARGETS, perturbation=perturbation, **options)

    np.testing.assert_allclose(measure(batch_size=1), measure(batch_size=1000), rtol=1e-12)
    assert (measure(seed=1) != measure(seed=2)).all()


@pytest.mark.parametrize("normalize", [False, True])
def test_infidelity_is_captum_s(normalize: bool) -> None:
    changes = np.random.default_rng(5).standard_normal((2 * SAMPLES, *SHAPE))
    attributions = curved_gradient(X, TARGETS)
    expected = captum_infidelity(
        torch_curved,
        lambda x: (torch.from_numpy(changes), x - torch.from_numpy(changes)),
        torch.from_numpy(X),
        torch.from_numpy(attributions),
        target=torch.from_numpy(TARGETS),
        n_perturb_samples=SAMPLES,
        normalize=normalize,
    )
    found = infidelity(
        curved,
        X,
        attributions,
        TARGETS,
        perturbation=lambda x, _: changes,
        samples=SAMPLES,
        normalize=normalize,
        batch_size=2 * SAMPLES,
    )
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-10)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"attributions": X[:, :, :2]}, "shaped like the images"),
        ({"multiplied": True, "perturbation": "gaussian"}, "removing squares"),
        ({"perturbation": "circle"}, "square, gaussian, or a function"),
        ({"square": 0}, "shorter side"),
        ({"samples": 0}, "samples"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        infidelity(**{"score": linear, "x": X, "attributions": X, "targets": TARGETS, **options})


def test_max_sensitivity_of_an_explanation_that_ignores_its_input_is_zero() -> None:
    found = max_sensitivity(lambda x, targets: WEIGHT[targets], X, TARGETS)
    np.testing.assert_array_equal(found, 0)


def test_max_sensitivity_of_the_input_itself_is_bounded_by_the_radius() -> None:
    found = max_sensitivity(lambda x, targets: x, X, TARGETS, radius=0.1, samples=200, normalize=False)
    assert (found < 0.1 * np.sqrt(X[0].size)).all() and (found > 0.05 * np.sqrt(X[0].size)).all()
    channel = np.array([0.1, 0, 0]).reshape(3, 1, 1)
    one = max_sensitivity(lambda x, targets: x[:, 1:], X, TARGETS, radius=channel)
    np.testing.assert_array_equal(one, 0)


@pytest.mark.parametrize("normalize", [False, True])
def test_max_sensitivity_is_captum_s_on_the_same_inputs(normalize: bool) -> None:
    generator = np.random.default_rng(7)
    moves = [generator.uniform(-1, 1, X.shape) * 0.3 for _ in range(SAMPLES)]
    found = max_sensitivity(curved_gradient, X, TARGETS, radius=0.3, samples=SAMPLES, normalize=normalize, seed=7)
    # Captum repeats each sample for all of its perturbations in one call.
    repeated = np.stack(moves, axis=1).reshape(-1, *SHAPE)

    def single(x: torch.Tensor | tuple[torch.Tensor, ...]) -> torch.Tensor:
        return x if isinstance(x, torch.Tensor) else x[0]

    def explain(x: torch.Tensor | tuple[torch.Tensor, ...], target: torch.Tensor) -> tuple[torch.Tensor]:
        return (torch.from_numpy(curved_gradient(single(x).numpy(), target.numpy())),)

    expected = sensitivity_max(
        explain,
        torch.from_numpy(X),
        perturb_func=lambda x: single(x) + torch.from_numpy(repeated),
        target=torch.from_numpy(TARGETS),
        n_perturb_samples=SAMPLES,
    )
    if not normalize:
        expected = expected * torch.from_numpy(curved_gradient(X, TARGETS)).flatten(1).norm(dim=1)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-6)


def test_whole_numbers_stay_whole_numbers_of_their_type() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, *SHAPE), dtype=np.uint8)
    seen = []

    def score(x: np.ndarray, targets: np.ndarray) -> np.ndarray:
        seen.append(x)
        return linear(x.astype(np.float64), targets)

    found = infidelity(score, pixels, WEIGHT[TARGETS], TARGETS, baseline=np.array(255))
    np.testing.assert_allclose(found, 0, atol=1e-18)
    max_sensitivity(score, pixels, TARGETS, radius=300)
    assert all(x.dtype == np.uint8 for x in seen)
    assert seen[-1].min() == 0 and seen[-1].max() == 255
