"""Steps uphill: plain gradient ascent, and Adam (Kingma, Ba 2015)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

#: Adam's decay rates of the two moments, and what keeps its division finite.
_FIRST, _SECOND, _EPSILON = 0.9, 0.999, 1e-8


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
