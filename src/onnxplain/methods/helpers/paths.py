"""Gradients summed along a path from a baseline to the sample.

    a = Σ_s w_s dS_c/dx (p_s) * v_s

for points p_s of the path, its velocity v_s there and the weights w_s of a quadrature. If the path leads from x' to x,
the attributions add up to S_c(x) - S_c(x') but for the error of the quadrature (completeness, Sundararajan et al.
2017). That error is reported in the details, ``completeness_gap`` = Σ a - (S_c(x) - S_c(x')), beside
``baseline_score`` = S_c(x').
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...model.attribution import Attribution
from ...model.attributor import Attributor
from ..base import Method
from .sampling import Indices, attributions_at, working_type

Array = NDArray[Any]


class Path(ABC):
    """A path of n samples with one step for each of its ``weights`` [steps].

    ``start`` has the baseline x' [n, ...] of each input by its name; None if there is not one.
    """

    def __init__(self, weights: Array, start: Mapping[str, Array] | None) -> None:
        self.weights, self.start = weights, start

    @abstractmethod
    def points(self, step: Indices, sample: Indices) -> dict[str, Array]:
        """p [m, ...] of each input, for steps [m] of samples [m]."""

    @abstractmethod
    def velocities(self, step: Indices, sample: Indices) -> dict[str, Array]:
        """v [m, ...] of each input, for steps [m] of samples [m]."""


class PathMethod(Method):
    """Gradients summed along a path; the map is |sum over channels|, the sign says for or against the class."""

    reduction = "abs_sum"

    @abstractmethod
    def path(self, inputs: Mapping[str, Array], axes: Mapping[str, int | None]) -> Path:
        """Return the path to ``inputs``, arrays [n, ...] by name; ``axes`` are their channel axes."""

    def attribute(self, attributor: Attributor, feeds: Mapping[str, Array], targets: NDArray[np.int64]) -> Attribution:
        axes = self.axes(attributor)
        attributor, feeds = attributor.on_floats(feeds)
        unchanged = attributor.scored(feeds, targets)
        inputs = {gradient.wrt: feeds[gradient.wrt] for gradient in attributor.gradients}
        path = self.path(inputs, axes)
        sums = {name: np.zeros(x.shape) for name, x in inputs.items()}
        runs = attributions_at(path.points, len(path.weights), attributor, feeds, unchanged.targets)
        for step, sample, gradients in runs:
            velocities = path.velocities(step, sample)
            for (name, total), gradient in zip(sums.items(), gradients):
                for row, index in enumerate(sample):
                    total[index] += path.weights[step[row]] * velocities[name][row] * gradient[row]
        found = unchanged.with_attributions([sums[name].astype(working_type(x)) for name, x in inputs.items()])
        if path.start is None:
            return found
        baseline = {name: values.astype(feeds[name].dtype, copy=False) for name, values in path.start.items()}
        return with_completeness(found, attributor.scored({**feeds, **baseline}, unchanged.targets).scores)


def with_completeness(found: Attribution, baseline_scores: Array) -> Attribution:
    """Return ``found`` with the details that say by how much it misses completeness."""
    gap = sum(a.reshape(len(a), -1).sum(axis=1, dtype=np.float64) for a in found.attributions)
    gap = gap - (found.scores.astype(np.float64) - baseline_scores)
    return found.with_attributions(found.attributions, completeness_gap=gap, baseline_score=baseline_scores)


def gauss_legendre(steps: int) -> tuple[Array, Array]:
    """Nodes and weights of ∫_0^1 f(t) dt = Σ_s w_s f(t_s), which is exact for polynomials of degree 2 steps - 1."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return (nodes + 1) / 2, weights / 2
