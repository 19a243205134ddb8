"""Infidelity: do attributions predict what a perturbation does to the score?

Yeh, Hsieh, Suggala, Inouye, Ravikumar 2019, "On the (In)fidelity and Sensitivity of Explanations", definition 2.1.
For attributions Phi of f at x and random perturbations I::

    INFD = E_I [ (I . Phi - (f(x) - f(x - I)))^2 ]

0 for the gradient of a linear f. With ``normalize`` Phi is first scaled by the factor beta = E[(I . Phi) Df] / E[(I .
Phi)^2], Df = f(x) - f(x - I), that is best for it (section 3), so that methods with different units compare.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..checks import check_count
from ..errors import InputError
from .arrays import Array, ScoreFunction, as_targets, like, score_all
from .baselines import Baseline, baseline_images

#: "square": I = x - baseline on a random square, 0 elsewhere: the square is removed. "gaussian": I of independent
#: normal numbers. A function (x [B,...], generator) -> I [B,...].
Perturbation: TypeAlias = Literal["square", "gaussian"] | Callable[[Array, np.random.Generator], Array]

#: (image [B], number [B]) -> the changes I [B,...], and what the attributions are multiplied with to predict them.
_Draw: TypeAlias = Callable[[NDArray[np.intp], NDArray[np.intp]], tuple[Array, Array]]
#: The same -> masks that broadcast over the images, true where they are perturbed.
_Squares: TypeAlias = Callable[[NDArray[np.intp], NDArray[np.intp]], NDArray[np.bool_]]


def infidelity(
    score: ScoreFunction,
    x: Array,
    attributions: Array,
    targets: Any,
    *,
    perturbation: Perturbation = "square",
    square: float = 0.25,
    sigma: float = 0.1,
    baseline: Baseline = "zero",
    multiplied: bool = False,
    normalize: bool = False,
    samples: int = 50,
    seed: int = 0,
    batch_size: int = 32,
    channel_axis: int = 1,
) -> NDArray[np.float64]:
    """Return the infidelity of N attributions, [N]; lower is better.

    Args:
        score: f(x [B,...], targets [B]) -> [B]: what the attributions explain, mostly the score before softmax.
        x: the input tensors [N,C,H,W], or [N,H,W,C] with ``channel_axis=-1``.
        attributions: signed, shaped like ``x``, or with one channel.
        targets: the class, or one for each image.
        perturbation: how I is drawn.
        square: side of the square as a share of the shorter side of the image.
        sigma: standard deviation for "gaussian", in units of ``x``.
        baseline: what the square becomes.
        multiplied: the attributions have the factor x - baseline in them, as those of integrated gradients and
            gradient x input do (the paper's global attributions): for them I . Phi is the sum of Phi over the square.
        normalize: scale the attributions of each image by the best factor.
        samples, seed: how many perturbations, and which.
        batch_size: images scored at once, over images and perturbations.

    Raises:
        InputError: shapes that do not fit; ``multiplied`` for another perturbation than "square".
    """
    x, phi = np.asarray(x), np.asarray(attributions, dtype=np.float64)
    axis = channel_axis % x.ndim if x.ndim else 0
    if phi.shape not in (x.shape, tuple(1 if a == axis else n for a, n in enumerate(x.shape))):
        raise InputError(f"attributions are shaped like the images {list(x.shape)}; found {list(phi.shape)}.")
    if multiplied and perturbation != "square":
        raise InputError("multiplied attributions are measured by removing squares; use perturbation='square'.")
    classes, count = as_targets(targets, len(x)), check_count("samples", samples)
    generator = np.random.default_rng(seed)
    if perturbation == "square":
        squares = _squares(generator, (len(x), count), x, axis, square)
        draw = _removal(x, baseline_images(baseline, x, channel_axis), squares, multiplied)
    elif perturbation == "gaussian" or callable(perturbation):
        draw = _noise(x, perturbation, generator, sigma)
    else:
        raise InputError(f"perturbation {perturbation!r} is unknown; there are square, gaussian, or a function.")
    expected = np.empty((len(x), count))

    def make(rows: NDArray[np.intp], numbers: NDArray[np.intp]) -> Array:
        change, weights = draw(rows, numbers)
        expected[rows, numbers] = (weights * phi[rows]).reshape(len(rows), -1).sum(axis=1)
        return like(x[rows] - change, x)

    moved = score_all(score, make, classes, count, batch_size)
    found = score_all(score, lambda rows, _: x[rows], classes, 1, batch_size) - moved
    if normalize:
        expected *= _best_factors(expected, found)
    errors: NDArray[np.float64] = np.square(expected - found).mean(axis=1)
    return errors


def _removal(x: Array, removed: Array, squares: _Squares, multiplied: bool) -> _Draw:
    """Return the draws of I that take squares away; ``multiplied`` attributions are summed over them."""

    def draw(rows: NDArray[np.intp], numbers: NDArray[np.intp]) -> tuple[Array, Array]:
        inside = squares(rows, numbers)
        change = np.where(inside, x[rows].astype(np.float64) - removed[rows], 0)
        return change, inside if multiplied else change

    return draw


def _noise(x: Array, perturbation: Perturbation, generator: np.random.Generator, sigma: float) -> _Draw:
    """Return the draws of I by a function, or of normal numbers."""

    def draw(rows: NDArray[np.intp], numbers: NDArray[np.intp]) -> tuple[Array, Array]:
        if callable(perturbation):
            change = np.asarray(perturbation(x[rows], generator))
        else:
            change = generator.normal(0, sigma, (len(rows), *x.shape[1:]))
        return change, change

    return draw


def _best_factors(expected: NDArray[np.float64], found: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each row the factor of ``expected`` that makes its squared distance from ``found`` least, [N,1]."""
    power = np.square(expected).sum(axis=1, keepdims=True)
    product = (expected * found).sum(axis=1, keepdims=True)
    factors: NDArray[np.float64] = np.divide(product, power, out=np.zeros_like(power), where=power > 0)
    return factors


def _squares(
    generator: np.random.Generator, counts: tuple[int, int], x: Array, channel_axis: int, share: float
) -> _Squares:
    """Random squares for ``counts`` pairs (image, number): a function from pairs to masks that broadcast over ``x``."""
    if x.ndim != 4 or not 0 < share <= 1:
        raise InputError(
            f"squares of {share!r} of the shorter side (0..1) are removed from images, not {list(x.shape)}."
        )
    height, width = (n for axis, n in enumerate(x.shape) if axis not in (0, channel_axis))
    side = max(1, round(share * min(height, width)))
    tops = generator.integers(0, height - side + 1, counts)
    lefts = generator.integers(0, width - side + 1, counts)

    def masks(rows: NDArray[np.intp], numbers: NDArray[np.intp]) -> NDArray[np.bool_]:
        down = np.arange(height)[None] - tops[rows, numbers][:, None]
        across = np.arange(width)[None] - lefts[rows, numbers][:, None]
        both = ((down >= 0) & (down < side))[:, :, None] & ((across >= 0) & (across < side))[:, None, :]
        return np.expand_dims(both, channel_axis)

    return masks
