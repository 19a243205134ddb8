"""What gradient ascent changes: the image itself, or the spectrum of its decorrelated colours.

A parametrisation maps parameters z to images I(z) [N,C,H,W]; ``gradient`` is the transpose of the derivative of that
map, which turns dS/dI into dS/dz.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

#: Columns: the principal axes of the colours of photos (brightness, red against blue, green against both), each as long
#: as its standard deviation, scaled to rows of mean length 1. Covariance of the 41 coloured photos used in development.
_COLORS = np.array([[0.982, -0.317, 0.070], [0.962, 0.033, -0.162], [0.939, 0.298, 0.093]])

#: The amplitude of the mean colour, of what the spectrum says: total variation pulls it to white or black, where
#: differences are small.
_MEAN_SHARE = 0.09


class Parametrization(ABC):
    """Images [N,C,H,W] by parameters."""

    @abstractmethod
    def first(self, generators: Sequence[np.random.Generator]) -> Array:
        """Return the parameters to start from, one image for each generator."""

    @abstractmethod
    def images(self, parameters: Array) -> Array:
        """I(z), [N,C,H,W]."""

    @abstractmethod
    def gradient(self, images: Array, cotangent: Array) -> Array:
        """(dI/dz)^T applied to ``cotangent`` [N,C,H,W], shaped like the parameters of ``images``."""


@dataclass(frozen=True)
class TensorImages(Parametrization):
    """The image is its own parameters; it starts from zero. ``shape`` is (C,H,W)."""

    shape: tuple[int, int, int]

    def first(self, generators: Sequence[np.random.Generator]) -> Array:
        return np.zeros((len(generators), *self.shape))

    def images(self, parameters: Array) -> Array:
        return parameters

    def gradient(self, images: Array, cotangent: Array) -> Array:
        return cotangent


@dataclass(frozen=True)
class FourierImages(Parametrization):
    """I = low + (high - low) * sigmoid(M F^-1(z * a)): bounded images by their spectrum.

    z [N,C,H,W//2+1] is complex, F^-1 the inverse Fourier transform to real images, and a(f) the amplitude
    ~ 1 / max(f, 1/max(H,W))**decay that natural images have at the frequency f, scaled so that independent z of
    variance 1 give images of variance 1. M mixes decorrelated colours: with its columns as long as the deviations of
    natural colours, one step changes brightness more than hue.

    - ``shape``: (C,H,W).
    - ``low``, ``high``: the least and the greatest value of each channel, [C,1,1].
    - ``reverse``: whether the channels are BGR.
    - ``noise``: the standard deviation of the first image before the sigmoid.
    """

    shape: tuple[int, int, int]
    low: Array
    high: Array
    reverse: bool
    decay: float
    noise: float

    def first(self, generators: Sequence[np.random.Generator]) -> Array:
        draws = [generator.standard_normal((2, *self.shape[:2], self.shape[2] // 2 + 1)) for generator in generators]
        pairs = np.stack(draws)
        spectrum: Array = self.noise * np.sqrt(0.5) * (pairs[:, 0] + 1j * pairs[:, 1])
        return spectrum

    def images(self, parameters: Array) -> Array:
        planes = np.fft.irfft2(parameters * self._amplitude, s=self.shape[1:], norm="ortho")
        mixed = np.einsum("ck,nkhw->nchw", self._colors, planes)
        images: Array = self.low + (self.high - self.low) * (0.5 + 0.5 * np.tanh(0.5 * mixed))
        return images

    def gradient(self, images: Array, cotangent: Array) -> Array:
        slope = (images - self.low) * (self.high - images) / (self.high - self.low)
        planes = np.einsum("ck,nchw->nkhw", self._colors, cotangent * slope)
        # A frequency that stands for itself and its mirror image counts twice in a real image.
        gradient: Array = np.fft.rfft2(planes, norm="ortho") * (self._amplitude * self._copies)
        return gradient

    @property
    def _colors(self) -> Array:
        if self.shape[0] == 1:
            return np.ones((1, 1))
        return _COLORS[::-1] if self.reverse else _COLORS

    @cached_property
    def _copies(self) -> Array:
        """How often each column of the half spectrum is in the whole one: 2; 1 for those that mirror themselves."""
        columns = np.arange(self.shape[2] // 2 + 1)
        return np.where(2 * columns % self.shape[2] == 0, 1.0, 2.0)

    @cached_property
    def _amplitude(self) -> Array:
        """a(f), [H,W//2+1]."""
        _, height, width = self.shape
        frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
        amplitude = np.maximum(frequency, 1 / max(height, width)) ** -self.decay
        amplitude[0, 0] *= _MEAN_SHARE
        amplitudes: Array = amplitude / np.sqrt((self._copies * amplitude**2).sum() / (height * width))
        return amplitudes
