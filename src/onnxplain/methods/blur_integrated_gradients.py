"""Integrated gradients on the path that sharpens a blurred sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import check_count
from ..errors import InputError
from .helpers.paths import Path, PathMethod, gauss_legendre
from .helpers.sampling import Indices, per_sample, working_type

Array = NDArray[Any]


@dataclass(frozen=True)
class BlurIntegratedGradients(PathMethod):
    """∫ dS_c/dx (x_σ) * dx_σ/dσ dσ from σ = ``max_sigma`` to 0, where x_σ is the sample blurred by a Gaussian of
    standard deviation σ (Xu, Venugopalan, Sundararajan 2020, "Attribution in Scale and Space").

    - ``steps``: points of the Gauss-Legendre quadrature over σ. The paper's code takes 100 equal steps.
    - ``max_sigma``: how far the baseline is blurred, in pixels; 50 in the paper's code.

    There is no baseline to choose: what is blurred away has no features. Positions are blurred, channels are not. Edges
    are mirrored; the paper's code has a border of zeros, which the path would then attribute to. The blur and its
    derivative are exact, products with exp(-σ²ω²/2) and -σω² exp(-σ²ω²/2) in the cosine transform of the sample.

    The details have ``completeness_gap``. Captum has no such method.
    """

    steps: int = 50
    max_sigma: float = 50.0

    name = "blur_integrated_gradients"

    def __post_init__(self) -> None:
        check_count("steps", self.steps, 1)
        number = isinstance(self.max_sigma, (int, float)) and not isinstance(self.max_sigma, bool)
        if not number or not 0 < self.max_sigma < np.inf:
            raise InputError(f"max_sigma is a standard deviation in pixels, above 0; found {self.max_sigma!r}.")

    def path(self, inputs: Mapping[str, Array], axes: Mapping[str, int | None]) -> Path:
        for name, x in inputs.items():
            if x.ndim == 2:
                raise InputError(f"a row of features {name!r} cannot be blurred; use method='integrated_gradients'.")
        return _SharpeningPath(self.steps, self.max_sigma, {n: _Blur(x, axes[n]) for n, x in inputs.items()})


class _SharpeningPath(Path):
    """p = x_σ from σ = max_sigma to 0."""

    def __init__(self, steps: int, max_sigma: float, blurs: Mapping[str, _Blur]) -> None:
        nodes, weights = gauss_legendre(steps)
        everyone = {name: np.arange(len(blur.spectrum)) for name, blur in blurs.items()}
        start = {name: blur.at(np.full(len(everyone[name]), max_sigma), everyone[name]) for name, blur in blurs.items()}
        super().__init__(max_sigma * weights, start)
        self._sigmas, self._blurs = max_sigma * nodes, blurs

    def points(self, step: Indices, sample: Indices) -> dict[str, Array]:
        return {name: blur.at(self._sigmas[step], sample) for name, blur in self._blurs.items()}

    def velocities(self, step: Indices, sample: Indices) -> dict[str, Array]:
        return {name: blur.sharpening(self._sigmas[step], sample) for name, blur in self._blurs.items()}


class _Blur:
    """Samples x [n, ...] in their cosine transform over positions, with ω² [1, ...] of every coefficient."""

    def __init__(self, x: Array, channel_axis: int | None) -> None:
        axes = [axis for axis in range(1, x.ndim) if axis != channel_axis]
        self._transforms = {axis: cosine_transform(x.shape[axis]).astype(working_type(x)) for axis in axes}
        self._squares = np.zeros([1] * x.ndim)
        for axis in axes:
            omega = np.pi * np.arange(x.shape[axis]) / x.shape[axis]
            self._squares = self._squares + np.square(omega).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
        self.spectrum = x.astype(working_type(x), copy=False)
        for axis, transform in self._transforms.items():
            self.spectrum = _along(axis, transform, self.spectrum)

    def at(self, sigmas: Array, sample: Indices) -> Array:
        """x_σ [m, ...] for each of ``sigmas`` [m] and samples [m]."""
        return self._back(self.spectrum[sample], self._passed(sigmas))

    def sharpening(self, sigmas: Array, sample: Indices) -> Array:
        """-dx_σ/dσ [m, ...] for each of ``sigmas`` [m] and samples [m]."""
        slope = per_sample(sigmas, self._squares) * self._squares
        return self._back(self.spectrum[sample], slope * self._passed(sigmas))

    def _passed(self, sigmas: Array) -> Array:
        passed: Array = np.exp(-per_sample(np.square(sigmas), self._squares) * self._squares / 2)
        return passed

    def _back(self, spectrum: Array, factors: Array) -> Array:
        values: Array = spectrum * factors.astype(spectrum.dtype)
        for axis, transform in self._transforms.items():
            values = _along(axis, transform.T, values)
        return values


def cosine_transform(extent: int) -> Array:
    """Return the orthonormal cosine transform (DCT-II) as a matrix [extent, extent]: a coefficient in each row."""
    place, wave = np.arange(extent) + 0.5, np.arange(extent)[:, None]
    matrix: Array = np.sqrt(2 / extent) * np.cos(np.pi * wave * place / extent)
    matrix[0] /= np.sqrt(2)
    return matrix


def _along(axis: int, matrix: Array, values: Array) -> Array:
    """Return ``matrix`` applied to every vector of ``values`` along ``axis``."""
    product: Array = np.moveaxis(values, axis, -1) @ matrix.T
    return np.moveaxis(product, -1, axis)
