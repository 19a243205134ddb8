"""Gradient ascent on f(I) = S_c(I) - lambda ||I||_2^2 - t TV(I), the score taken of random views of I, if of any.

With V a random view, the gradient of one step is V^T dS/d(V I) - 2 lambda I - t dTV/dI, carried on to the parameters of
the image by the transpose of the parametrisation's derivative.

Without random views f is a function, and "ascent" chooses the lengths of its steps by what they bring, so that neither
the size of lambda nor that of the gradient matters; see :class:`~.optimizers.AdaptiveAscent`. Otherwise the optimiser's
rate says how long steps are.
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
from .optimizers import Adam, AdaptiveAscent, GradientAscent, Optimizer, Place
from .penalties import l2, l2_gradient, total_variation, total_variation_gradient
from .settings import Settings
from .views import RandomViews

Array = NDArray[Any]

#: An image so many half pixel ranges large (root mean square) is on its way to infinity.
_FAR = 1e9


@dataclass(frozen=True)
class Step:
    """After one step: the images [N,C,H,W], and the scores [N] of the views of the images before it.

    ``converged`` [N] says which images are best ones, None where that is not known.
    """

    images: Array
    scores: NDArray[np.float64]
    converged: NDArray[np.bool_] | None


def ascend(
    objective: Objective,
    targets: NDArray[np.int64],
    shape: tuple[int, int, int],
    settings: Settings,
    generators: Sequence[np.random.Generator],
) -> Iterator[Step]:
    """Return the steps of N images at once, ``settings.steps`` of them.

    Args:
        objective: what is maximised.
        targets: the class of each image, [N].
        shape: (C,H,W) of an image.
        settings: how.
        generators: the source of what is random in each image, so that it does not depend on the others.

    Raises:
        GradientError: a gradient holds NaN or infinity, the first one is zero everywhere, or an image diverges.
        ProviderError: ONNX Runtime failed.
    """
    form = _parametrization(objective, shape, settings)
    first = form.first(generators)
    if settings.optimizer == "ascent" and RandomViews.of(settings).none:
        yield from _climb(objective, targets, form, first, settings)
    else:
        yield from _follow(objective, targets, form, first, settings, generators)


def _climb(
    objective: Objective, targets: NDArray[np.int64], form: Parametrization, first: Array, settings: Settings
) -> Iterator[Step]:
    """Return the steps that adapt their lengths, for an f without anything random; images are the best ones so far."""

    def at(parameters: Array) -> Place:
        images = form.images(parameters)
        _check_near(images, targets)
        found = objective.evaluate(images, targets)
        pull = form.gradient(images, found.gradients)
        slopes = form.gradient(images, found.gradients - _penalty_gradient(images, settings))
        values = found.scores - settings.l2 * l2(images)
        if settings.total_variation:
            values = values - settings.total_variation * total_variation(images)
        return Place(parameters, images, found.scores, values, slopes, pull)

    here = at(first)
    _check_finite(here.pull)
    _check_slope(here.pull, targets)
    search = AdaptiveAscent(
        here,
        settings.learning_rate,
        l2=settings.l2 if isinstance(form, TensorImages) else 0.0,
        penalised=bool(settings.l2 or settings.total_variation),
    )
    for _ in range(settings.steps):
        scores = search.here.scores
        if not search.finished.all():
            search.move(at(search.candidate))
        yield Step(search.best.images, scores, search.converged)


def _follow(
    objective: Objective,
    targets: NDArray[np.int64],
    form: Parametrization,
    first: Array,
    settings: Settings,
    generators: Sequence[np.random.Generator],
) -> Iterator[Step]:
    """Return the steps of an optimiser that looks at gradients alone."""
    optimizer: Optimizer = (Adam if settings.optimizer == "adam" else GradientAscent)(settings.learning_rate)
    parameters, images = first, form.images(first)
    for number in range(settings.steps):
        scores, gradient = _score_gradient(objective, images, targets, settings, generators)
        _check_finite(gradient)
        if number == 0:
            _check_slope(gradient, targets)
        gradient = gradient - _penalty_gradient(images, settings)
        parameters = parameters + optimizer.step(form.gradient(images, gradient))
        images = form.images(parameters)
        _check_near(images, targets)
        yield Step(images, scores, None)


def _penalty_gradient(images: Array, settings: Settings) -> Array:
    gradient = settings.l2 * l2_gradient(images)
    if settings.total_variation:
        gradient = gradient + settings.total_variation * total_variation_gradient(images)
    return gradient


def _check_finite(gradient: Array) -> None:
    if not np.isfinite(gradient).all():
        raise GradientError("the gradient of the score holds NaN or infinity; try another preset or seed.")


def _check_slope(gradient: Array, targets: NDArray[np.int64]) -> None:
    """Refuse to start where nothing leads uphill: behind a ReLU that is off at the first image, say."""
    for target, one in zip(targets, gradient):
        if not one.any():
            raise GradientError(
                f"the score of class {target} does not change with the first image: its gradient is zero. "
                "Start elsewhere: with preset='natural', another seed, or more noise."
            )


def _check_near(images: Array, targets: NDArray[np.int64]) -> None:
    """Refuse images that grow without end: the score rises faster than lambda pulls them back."""
    sizes = np.sqrt((images**2).mean(axis=(1, 2, 3)))
    for target, size in zip(targets, sizes):
        if not size < _FAR:
            raise GradientError(
                f"the image of class {target} diverges: it has grown to {size:.1e} half pixel ranges, for its score "
                "rises without end. Take a larger l2, or a smaller learning_rate."
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
    """Return the scores [N] and their gradients, averaged over the random views of each image."""
    random = RandomViews.of(settings)
    if random.none:
        found = objective.evaluate(images, targets)
        return found.scores, found.gradients
    views = [random.draw(generator, *images.shape[2:]) for generator in generators for _ in range(settings.views)]
    seen = np.stack([view.apply(images[number // settings.views]) for number, view in enumerate(views)])
    found = objective.evaluate(seen, np.repeat(targets, settings.views))
    back = np.stack([view.transpose(gradient) for view, gradient in zip(views, found.gradients)])
    by_image = back.reshape(len(images), settings.views, *images.shape[1:])
    return found.scores.reshape(len(images), settings.views).mean(axis=1), by_image.mean(axis=1)
