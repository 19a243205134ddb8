"""Gradient ascent on S_c(I) - lambda ||I||_2^2 - t TV(I), the score taken of random views of I.

With V a random view, the gradient of one step is V^T dS/d(V I) - 2 lambda I - t dTV/dI, carried on to the parameters of
the image by the transpose of the parametrisation's derivative.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import GradientError
from .images import FourierImages, Parametrization, TensorImages
from .objective import Objective
from .optimizers import Adam, GradientAscent, Optimizer
from .penalties import l2_gradient, total_variation_gradient
from .settings import Settings
from .views import RandomViews

Array = NDArray[Any]


@dataclass(frozen=True)
class Step:
    """After one step: the images [N,C,H,W], and the scores [N] of the views of the images before it."""

    images: Array
    scores: NDArray[np.float64]


def ascend(
    objective: Objective,
    targets: NDArray[np.int64],
    shape: tuple[int, int, int],
    settings: Settings,
    generators: Sequence[np.random.Generator],
) -> Iterator[Step]:
    """The steps of N images at once.

    Args:
        objective: what is maximised.
        targets: the class of each image, [N].
        shape: (C,H,W) of an image.
        settings: how.
        generators: the source of what is random in each image, so that it does not depend on the others.

    Raises:
        GradientError: a gradient holds NaN or infinity, or the first one is zero everywhere.
        ProviderError: ONNX Runtime failed.
    """
    form = _parametrization(objective, shape, settings)
    optimizer: Optimizer = (Adam if settings.optimizer == "adam" else GradientAscent)(settings.learning_rate)
    parameters = form.first(generators)
    images = form.images(parameters)
    for number in range(settings.steps):
        scores, gradient = _score_gradient(objective, images, targets, settings, generators)
        if number == 0:
            _check_slope(gradient, targets)
        if settings.l2:
            gradient = gradient - settings.l2 * l2_gradient(images)
        if settings.total_variation:
            gradient = gradient - settings.total_variation * total_variation_gradient(images)
        parameters = parameters + optimizer.step(form.gradient(images, gradient))
        images = form.images(parameters)
        yield Step(images, scores)


def _check_slope(gradient: Array, targets: NDArray[np.int64]) -> None:
    """Refuse to start where nothing leads uphill: behind a ReLU that is off at the first image, say."""
    for target, one in zip(targets, gradient):
        if not one.any():
            raise GradientError(
                f"the score of class {target} does not change with the first image: its gradient is zero. "
                "Start elsewhere: with preset='natural', another seed, or more noise."
            )


def _parametrization(objective: Objective, shape: tuple[int, int, int], settings: Settings) -> Parametrization:
    if settings.parametrization == "tensor":
        return TensorImages(shape)
    return FourierImages(shape, objective.low, objective.high, objective.reverse, settings.decay, settings.noise)


def _score_gradient(
    objective: Objective,
    images: Array,
    targets: NDArray[np.int64],
    settings: Settings,
    generators: Sequence[np.random.Generator],
) -> tuple[NDArray[np.float64], Array]:
    """The scores [N] and their gradients, averaged over the random views of each image."""
    random = RandomViews(settings.jitter, settings.scaling, settings.rotation)
    if random.none:
        found = objective.evaluate(images, targets)
        return found.scores, found.gradients
    views = [random.draw(generator, *images.shape[2:]) for generator in generators for _ in range(settings.views)]
    seen = np.stack([view.apply(images[number // settings.views]) for number, view in enumerate(views)])
    found = objective.evaluate(seen, np.repeat(targets, settings.views))
    back = np.stack([view.transpose(gradient) for view, gradient in zip(views, found.gradients)])
    by_image = back.reshape(len(images), settings.views, *images.shape[1:])
    return found.scores.reshape(len(images), settings.views).mean(axis=1), by_image.mean(axis=1)
