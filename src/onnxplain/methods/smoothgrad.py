"""Statistics of attributions over noisy copies of the input: SmoothGrad, SmoothGrad-squared, VarGrad.

With noise e_s ~ N(0, σ²) and attributions a_s = a(x + e_s), s = 1 ... samples, by default the gradients dS_c/dx,

    SmoothGrad          mean a_s        (Smilkov et al. 2017, "SmoothGrad: removing noise by adding noise")
    SmoothGrad-squared  mean a_s²       (Hooker et al. 2019, "A Benchmark for Interpretability Methods ...")
    VarGrad             mean (a_s - mean a)²      (Adebayo et al. 2018, "Local explanation methods for deep neural
                                                   networks lack sensitivity to parameter values")

and σ = noise (max x - min x) of each sample, as in the first. Sums are streamed: no more than one run of noisy copies
is in memory. The class is the one that the model predicts without noise.

The noise (:func:`onnxplain.native.add_noise`) depends on the seed, the number of the noisy copy, the number of the
input and its shape alone. A sample therefore gets the same noise on every machine, whatever the batch it is in and
whatever the batch size, and all samples get the same (times their σ).

Captum's ``NoiseTunnel`` differs in two ways, and both are offered: its ``stdevs`` are absolute, as ``relative=False``
has it; and around ``Saliency`` with its default ``abs=True`` it averages |a_s|, as ``absolute=True`` does. Its vargrad
divides by the number of samples as here; ``unbiased=True`` divides by one less.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .. import native
from ..checks import check_count
from ..errors import InputError
from ..model.attribution import Attribution
from ..model.attributor import Attributor
from .base import Method
from .helpers.sampling import Indices, attributions_at, working_type

Array = NDArray[Any]


def noise_key(seed: int, number: int, position: int) -> int:
    """Return the key of the noise of noisy copy ``number`` of input ``position``."""
    return int(np.random.SeedSequence(seed, spawn_key=(number, position)).generate_state(1, np.uint64)[0])


@dataclass(frozen=True)
class NoisyMethod(Method):
    """A statistic of the attributions of noisy copies.

    - ``samples``: noisy copies of each sample.
    - ``noise``: the standard deviation of the noise, 0 or more: as a share of max - min of the sample (of each of its
      inputs), 10 to 20 % in the paper; or, unless ``relative``, in the units of the input tensor.
    - ``seed``: of the noise.
    - ``absolute``: whether the statistic is that of |a_s|.
    - ``base``: the method whose attributions a_s are, by its name or with options; its map is the method's map.
    """

    samples: int = 50
    noise: float = 0.15
    relative: bool = True
    seed: int = 0
    absolute: bool = False
    base: str | Method = "saliency"

    #: Whether a_s² is averaged beside a_s.
    squares: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_count("samples", self.samples, 1)
        check_count("seed", self.seed, 0)
        number = isinstance(self.noise, (int, float)) and not isinstance(self.noise, bool)
        if not number or not 0 <= self.noise < np.inf:
            raise InputError(f"noise is a standard deviation, a finite number, 0 or more; found {self.noise!r}.")
        if not self.method.gradients:
            raise InputError(f"base {self.method.name!r} takes no gradients; noise is for methods that do.")

    @abstractmethod
    def combine(self, *means: Array) -> Array:
        """Return the statistic of mean a_s and, with ``squares``, mean a_s²."""

    def attribute(self, attributor: Attributor, feeds: Mapping[str, Array], targets: NDArray[np.int64]) -> Attribution:
        attributor, feeds = attributor.on_floats(feeds)
        unchanged = attributor.scored(feeds, targets)
        names = [gradient.wrt for gradient in attributor.gradients]
        inputs = {name: np.ascontiguousarray(feeds[name], working_type(feeds[name])) for name in names}
        deviations = {name: self._deviation(x) for name, x in inputs.items()}

        def noisy(step: Indices, sample: Indices) -> dict[str, Array]:
            copies = {name: np.empty((len(sample), *x.shape[1:]), x.dtype) for name, x in inputs.items()}
            for position, name in enumerate(names):
                for copy, number, index in zip(copies[name], step, sample):
                    key = noise_key(self.seed, int(number), position)
                    _add_noise(inputs[name][index], deviations[name][index], key, copy)
            return copies

        sums: list[Array] = []
        for _, sample, found in attributions_at(noisy, self.samples, attributor, feeds, unchanged.targets, self.method):
            sums = sums or [np.zeros((2 if self.squares else 1, len(targets), *a.shape[1:])) for a in found]
            for totals, attribution in zip(sums, found):
                values = np.abs(attribution) if self.absolute else attribution
                for row, index in enumerate(sample):
                    native.accumulate(values[row : row + 1], *totals[:, index], threads=1)
        means = (totals / self.samples for totals in sums)
        return unchanged.with_attributions(
            [self.combine(*mean).astype(working_type(x)) for mean, x in zip(means, inputs.values())]
        )

    @cached_property
    def method(self) -> Method:
        """The method ``base``."""
        from .registry import find_method

        return find_method(self.base, {})

    @property
    def has_channels(self) -> bool:
        return self.method.has_channels

    def map(self, *arguments: Any, **options: Any) -> NDArray[np.float32]:
        return self.method.map(*arguments, **options)

    def _deviation(self, x: Array) -> Array:
        """Return the standard deviation of the noise for each sample [n]."""
        if not self.relative:
            return np.full(len(x), self.noise, np.float32)
        flat = x.reshape(len(x), -1)
        extents: Array = flat.max(axis=1) - flat.min(axis=1)
        return self.noise * extents


def _add_noise(x: Array, deviation: float, key: int, out: Array) -> None:
    """Write x + deviation e to ``out``, in its type, e being float32."""
    if out.dtype == np.float32:
        native.add_noise(x, deviation, key, out=out, threads=1)
    else:
        noise = native.add_noise(np.zeros(x.shape, np.float32), 1, key, threads=1)
        np.add(x, deviation * noise, out=out)


@dataclass(frozen=True)
class SmoothGrad(NoisyMethod):
    """mean a_s over noisy copies (Smilkov et al. 2017); see the options of :class:`NoisyMethod`.

    The defaults are those of the paper: 50 samples, noise of 10 to 20 % of the range.
    """

    name = "smoothgrad"
    squares = False

    def combine(self, *means: Array) -> Array:
        return means[0]

    def signed_map(self, attribution: Array, channel_axis: int | None) -> Array | None:
        return None if self.absolute else self.method.signed_map(attribution, channel_axis)


@dataclass(frozen=True)
class SmoothGradSquared(NoisyMethod):
    """mean a_s² over noisy copies (Hooker et al. 2019); see the options of :class:`NoisyMethod`."""

    name = "smoothgrad_squared"

    def combine(self, *means: Array) -> Array:
        return means[1]


@dataclass(frozen=True)
class VarGrad(NoisyMethod):
    """The variance of a_s over noisy copies (Adebayo et al. 2018); see the options of :class:`NoisyMethod`.

    - ``unbiased``: whether the sum of squares is divided by samples - 1 instead of samples.
    """

    unbiased: bool = False

    name = "vargrad"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.unbiased:
            check_count("samples of an unbiased variance", self.samples, 2)

    def combine(self, *means: Array) -> Array:
        variance: Array = np.maximum(means[1] - np.square(means[0]), 0)
        return variance * self.samples / (self.samples - 1) if self.unbiased else variance
