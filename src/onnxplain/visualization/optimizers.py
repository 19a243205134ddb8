"""Steps uphill: gradient ascent with steps of its own choice or of a fixed factor, and Adam (Kingma, Ba 2015)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

#: Adam's decay rates of the two moments, and what keeps its division finite.
_FIRST, _SECOND, _EPSILON = 0.9, 0.999, 1e-8

#: The slope of a best image, as a share of that of its score; of a score without penalties, of that of the first image.
_FLAT = 1e-3
#: What float32 leaves of a slope, and of a value, as a share of the first slope and of the value.
_ROUNDING = 1e-6
#: The cosine of two slopes, one after the other, above which the way is straight, and below which it turns back.
_STRAIGHT, _BACK = 0.9, -0.5
#: Steps without a larger f after which steps become shorter.
_PATIENCE = 10


@dataclass(frozen=True)
class Place:
    """Where N images are, by their ``parameters``.

    ``values`` [N] are f, ``scores`` [N] those of the classes; ``slopes`` are the gradients of f, ``pull`` those of the
    scores, both with respect to the parameters.
    """

    parameters: Array
    images: Array
    scores: Array
    values: Array
    slopes: Array
    pull: Array

    @property
    def finite(self) -> NDArray[np.bool_]:
        """Whether the value and the slope of each image are finite numbers, [N]."""
        return np.asarray(np.isfinite(self.values) & np.isfinite(_dot(self.slopes, self.slopes)))

    def where(self, which: NDArray[np.bool_], other: Place) -> Place:
        """Return this place for the images ``which`` [N], and ``other`` for the rest."""
        return Place(
            **{one.name: _chosen(which, getattr(self, one.name), getattr(other, one.name)) for one in fields(Place)}
        )


class AdaptiveAscent:
    """Steps along the slopes of N images, whose lengths follow from where the slopes turn.

    A step of length s leads from z to z + s slope / (1 + 2 s lambda), which takes the penalty of L2 exactly where
    parameters are images. The next one is twice as long if the slope has hardly turned, half as long if it has turned
    back; a step after which it has turned back and f has fallen is not taken, and a quarter of it is tried. The slopes
    of networks turn at random from step to step: as long as f rises every few steps, the length stays, and when it no
    longer does, the way goes on from the best place so far in steps half as long.

    ``here`` is where the images are, ``best`` where f was largest; ``candidate`` are the parameters to look at next,
    and :meth:`move` is told what was found there.
    """

    def __init__(self, start: Place, rate: float, *, l2: float, penalised: bool) -> None:
        """Begin at ``start``.

        Args:
            start: the first place.
            rate: the root mean square by which the first step changes the parameters, unless lambda allows less.
            l2: lambda, where the parameters are images, else 0.
            penalised: whether anything is subtracted from the scores.
        """
        self.here = self.best = start
        squares = _dot(start.slopes, start.slopes)
        first = rate / np.sqrt(squares / start.slopes[0].size)
        self._lengths = first / np.maximum(1 - 2 * l2 * first, _ROUNDING)
        self._l2, self._penalised, self._first_slope = l2, penalised, np.sqrt(squares)
        self._waited = np.zeros(len(squares), np.int64)

    @property
    def candidate(self) -> Array:
        lengths = self._lengths / (1 + 2 * self._l2 * self._lengths)
        return self.here.parameters + _by_image(lengths, self.here.slopes)

    @property
    def converged(self) -> NDArray[np.bool_]:
        """Which images are best ones: the slope of f is nothing beside that of the score, [N]."""
        whole = np.sqrt(_dot(self.best.pull, self.best.pull)) if self._penalised else self._first_slope
        return np.asarray((self._slope <= _FLAT * whole) | self.finished)

    @property
    def finished(self) -> NDArray[np.bool_]:
        """Which images are as good as float32 lets them become, [N]."""
        return np.asarray(self._slope <= _ROUNDING * self._first_slope)

    @property
    def _slope(self) -> Array:
        return np.asarray(np.sqrt(_dot(self.best.slopes, self.best.slopes)))

    def move(self, there: Place) -> None:
        """Go to the candidates, or back, and choose the lengths of the next steps."""
        turn = _cosine(self.here.slopes, there.slopes)
        fallen = ~_not_below(there, self.here)
        refused = ~there.finite | ((turn < _BACK) & fallen)
        factors = np.where(turn > _STRAIGHT, 2.0, np.where(turn < _BACK, 0.5, 1.0))
        self._lengths = self._lengths * np.where(refused, 0.25, factors)
        moving = ~self.finished
        self.here = there.where(moving & ~refused, self.here)
        flatter = _dot(self.here.slopes, self.here.slopes) < _dot(self.best.slopes, self.best.slopes)
        better = (self.here.values > self.best.values) | (_not_below(self.here, self.best) & flatter)
        better &= moving
        self.best = self.here.where(better, self.best)
        self._waited = np.where(better, 0, self._waited + 1)
        back = self._waited >= _PATIENCE
        self.here = self.best.where(back, self.here)
        self._lengths = np.where(back, 0.5, 1.0) * self._lengths
        self._waited = np.where(back, 0, self._waited)


class Optimizer(ABC):
    """Where to go from a gradient, step after step."""

    @abstractmethod
    def step(self, gradient: Array) -> Array:
        """Return what is added to the parameters."""


class GradientAscent(Optimizer):
    """s * gradient, with one fixed s for each image: the first step changes it by ``rate`` (root mean square).

    Gradients of one model are ten times those of another; a rate that is counted in the image suits both.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._scale: Array | None = None

    def step(self, gradient: Array) -> Array:
        if self._scale is None:
            axes = tuple(range(1, gradient.ndim))
            self._scale = self._rate / np.sqrt(np.mean(gradient**2, axis=axes, keepdims=True))
        return self._scale * gradient


class Adam(Optimizer):
    """rate * m / (sqrt(v) + epsilon), with m and v the corrected running means of g and |g|^2.

    A complex parameter is one with a length, so that the phases of a spectrum turn freely.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._count = 0
        self._mean: Array = np.zeros(())
        self._square: Array = np.zeros(())

    def step(self, gradient: Array) -> Array:
        self._count += 1
        self._mean = _FIRST * self._mean + (1 - _FIRST) * gradient
        self._square = _SECOND * self._square + (1 - _SECOND) * np.abs(gradient) ** 2
        mean = self._mean / (1 - _FIRST**self._count)
        square = self._square / (1 - _SECOND**self._count)
        step: Array = self._rate * mean / (np.sqrt(square) + _EPSILON)
        return step


def _dot(a: Array, b: Array) -> Array:
    """Return the inner product of each image's numbers, [N], also of complex ones."""
    return np.asarray((a.conj() * b).real.sum(axis=tuple(range(1, a.ndim))))


def _not_below(one: Place, other: Place) -> NDArray[np.bool_]:
    """Return whether f is no smaller, as far as float32 tells, [N]."""
    return np.asarray(one.values >= other.values - _ROUNDING * np.abs(other.values))


def _cosine(a: Array, b: Array) -> Array:
    """Return the cosine between each image's numbers, [N]; 1 where one of them has no direction."""
    lengths = np.sqrt(_dot(a, a) * _dot(b, b))
    known = np.isfinite(lengths) & (lengths > 0)
    return np.asarray(np.divide(_dot(a, b), lengths, out=np.ones_like(lengths), where=known))


def _by_image(factors: Array, values: Array) -> Array:
    return np.asarray(factors.reshape(-1, *[1] * (values.ndim - 1)) * values)


def _chosen(which: NDArray[np.bool_], one: Array, other: Array) -> Array:
    return np.where(which.reshape(-1, *[1] * (one.ndim - 1)), one, other)
