"""Integrated gradients on straight paths: from one baseline, and from many references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..checks import check_count
from ..errors import InputError
from .helpers.baselines import baseline_of, by_input
from .helpers.paths import Path, PathMethod, gauss_legendre
from .helpers.sampling import Indices, per_sample, working_type

if TYPE_CHECKING:
    from ..metrics.baselines import Baseline

Array = NDArray[Any]


@dataclass(frozen=True)
class IntegratedGradients(PathMethod):
    """(x - x') * ∫_0^1 dS_c/dx (x' + t (x - x')) dt (Sundararajan, Taly, Yan 2017, "Axiomatic Attribution for Deep
    Networks", equation 1), by Gauss-Legendre quadrature.

    - ``steps``: points of the quadrature. The paper says 20 to 300 for its sum of equal steps, which needs more.
    - ``baseline``: x', in the values that the model takes, that is, after the preprocessing: a number; "zero" (the mean
      colour for most preprocessings; the paper takes black images); "mean", of each channel of the sample; "blur"; an
      array that broadcasts over one sample; for several inputs also a dict of these.

    The details have ``completeness_gap``: more steps make it smaller. For an input of token ids the path is one of
    embeddings. Captum's ``IntegratedGradients`` is the same with its ``method="gausslegendre"`` and 50 steps.
    """

    steps: int = 50
    baseline: Baseline | Mapping[str, Baseline] = 0.0

    name = "integrated_gradients"

    def __post_init__(self) -> None:
        check_count("steps", self.steps, 1)

    def path(self, inputs: Mapping[str, Array], axes: Mapping[str, int | None]) -> Path:
        baselines = by_input(self.baseline, inputs, "baseline")
        start = {name: baseline_of(baselines[name], x, axes[name]) for name, x in inputs.items()}
        return _StraightPath(self.steps, start, inputs)


@dataclass(frozen=True)
class ExpectedGradients(PathMethod):
    """The mean of (x - x') * dS_c/dx (x' + t (x - x')) over references x' and t ~ U(0, 1) (Erion et al. 2021,
    "Improving performance of deep learning models with axiomatic attribution priors and expected gradients").

    - ``references``: samples [R, ...] that the model takes, such as a part of its training data; there is no default.
      For several inputs a dict of these.
    - ``samples``: how many pairs of a reference and a t are drawn; 200 as in shap's ``GradientExplainer``.
    - ``seed``: of the draws; every sample gets the same ones, whatever the batch it is in.

    Attributions add up to S_c(x) - mean S_c(x') in the limit of many draws. Captum's ``GradientShap`` draws like this
    too, for every sample anew, and adds noise to the samples.
    """

    references: Sequence[Any] | Array | Mapping[str, Any] | None = None
    samples: int = 200
    seed: int = 0

    name = "expected_gradients"

    def __post_init__(self) -> None:
        check_count("samples", self.samples, 1)
        check_count("seed", self.seed, 0)
        if self.references is None:
            raise InputError(
                "expected gradients need references, samples to compare with: pass references=, an array [R, ...]; "
                "method='integrated_gradients' has one baseline."
            )

    def path(self, inputs: Mapping[str, Array], axes: Mapping[str, int | None]) -> Path:
        references = {
            name: _references(value, inputs[name], name)
            for name, value in by_input(self.references, inputs, "references").items()
        }
        counts = {len(array) for array in references.values()}
        if len(counts) != 1:
            raise InputError(f"the inputs have different numbers of references: {sorted(counts)}.")
        return _PathsFromReferences(self.samples, self.seed, references, counts.pop(), inputs)


class _StraightPath(Path):
    """p = x' + t (x - x')."""

    def __init__(self, steps: int, start: Mapping[str, Array], inputs: Mapping[str, Array]) -> None:
        nodes, weights = gauss_legendre(steps)
        super().__init__(weights, start)
        self._nodes, self._start = nodes, start
        self._way = {name: x.astype(working_type(x), copy=False) - start[name] for name, x in inputs.items()}

    def points(self, step: Indices, sample: Indices) -> dict[str, Array]:
        return {
            name: self._start[name][sample] + _times(self._nodes[step], way[sample]) for name, way in self._way.items()
        }

    def velocities(self, step: Indices, sample: Indices) -> dict[str, Array]:
        return {name: way[sample] for name, way in self._way.items()}


class _PathsFromReferences(Path):
    """One point of a path of its own in each step: p = x' + t (x - x') for random x' and t."""

    def __init__(
        self, samples: int, seed: int, references: Mapping[str, Array], count: int, inputs: Mapping[str, Array]
    ) -> None:
        super().__init__(np.full(samples, 1 / samples), None)
        draws = np.random.default_rng(seed)
        self._chosen, self._nodes = draws.integers(count, size=samples), draws.random(samples)
        self._references = references
        self._inputs = {name: x.astype(working_type(x), copy=False) for name, x in inputs.items()}

    def points(self, step: Indices, sample: Indices) -> dict[str, Array]:
        return {
            name: self._references[name][self._chosen[step]] + _times(self._nodes[step], velocity)
            for name, velocity in self.velocities(step, sample).items()
        }

    def velocities(self, step: Indices, sample: Indices) -> dict[str, Array]:
        return {name: x[sample] - self._references[name][self._chosen[step]] for name, x in self._inputs.items()}


def _times(factors: Array, values: Array) -> Array:
    """Return ``factors`` [m] times ``values`` [m, ...], in their type."""
    product: Array = per_sample(factors, values).astype(values.dtype) * values
    return product


def _references(value: Any, x: Array, name: str) -> Array:
    try:
        found = np.asarray(value, dtype=working_type(x))
    except (TypeError, ValueError):
        raise InputError(f"references are an array [R, ...] of numbers; found {type(value).__name__}.") from None
    if found.shape[1:] != x.shape[1:] or found.ndim != x.ndim or len(found) == 0:
        wanted = ", ".join(map(str, x.shape[1:]))
        raise InputError(f"references of {name!r} are samples [R, {wanted}]; found {list(found.shape)}.")
    if not np.isfinite(found).all():
        raise InputError(f"references of {name!r} hold NaN or infinity.")
    return found
