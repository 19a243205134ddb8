"""Steps uphill: a line search, plain gradient ascent, and Adam (Kingma, Ba 2015)."""

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
#: The share of the rise that the slope promises which a step has to bring (Armijo 1966), and the most by which one
#: step is longer than the last one, or shorter.
_LEAST_RISE, _LONGER, _SHORTER = 1e-4, 4.0, 0.1


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


class LineSearch:
    """Steps along the slope of N images, each as long as it lets f rise.

    ``here`` is the best place so far; ``candidate`` are the parameters to look at next, and :meth:`move` is told what
    was found there. The first step changes the parameters by ``rate`` (root mean square).
    """

    def __init__(self, start: Place, rate: float, *, penalised: bool) -> None:
        self.here = start
        squares = _dot(start.slopes, start.slopes)
        self._lengths = rate / np.sqrt(squares / start.slopes[0].size)
        self._first_slope, self._penalised = np.sqrt(squares), penalised

    @property
    def candidate(self) -> Array:
        return self.here.parameters + _by_image(self._lengths, self.here.slopes)

    @property
    def converged(self) -> NDArray[np.bool_]:
        """Which images are best ones: the slope of f is nothing beside that of the score, [N]."""
        slope = np.sqrt(_dot(self.here.slopes, self.here.slopes))
        whole = np.sqrt(_dot(self.here.pull, self.here.pull)) if self._penalised else self._first_slope
        return np.asarray(slope <= np.maximum(_FLAT * whole, _ROUNDING * self._first_slope))

    def move(self, there: Place) -> None:
        """Go where f has risen, and choose the lengths of the next steps."""
        here, way = self.here, there.parameters - self.here.parameters
        with np.errstate(invalid="ignore", over="ignore"):
            least = here.values + _LEAST_RISE * self._lengths * _dot(here.slopes, here.slopes)
            risen = there.values >= least - _ROUNDING * np.abs(here.values)
            bend = _dot(way, here.slopes - there.slopes)
            fitting = np.where(bend > 0, _dot(way, way) / np.where(bend > 0, bend, 1), np.inf)
        risen &= there.finite & ~self.converged
        longest = np.where(risen, _LONGER, 0.5) * self._lengths
        fitting = np.where(there.finite & (risen | (bend > 0)), fitting, 0.25 * self._lengths)
        self._lengths = np.clip(fitting, _SHORTER * self._lengths, longest)
        self.here = Place(
            **{one.name: _chosen(risen, getattr(there, one.name), getattr(here, one.name)) for one in fields(Place)}
        )


class Optimizer(ABC):
    """Where to go from a gradient, step after step."""

    @abstractmethod
    def step(self, gradient: Array) -> Array:
        """What is added to the parameters."""


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


def _by_image(factors: Array, values: Array) -> Array:
    return np.asarray(factors.reshape(-1, *[1] * (values.ndim - 1)) * values)


def _chosen(which: NDArray[np.bool_], one: Array, other: Array) -> Array:
    return np.where(which.reshape(-1, *[1] * (one.ndim - 1)), one, other)
