"""Integrated gradients on a path that avoids steep places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..checks import check_count
from ..errors import InputError
from ..model.attribution import Attribution
from ..model.attributor import Attributor
from .base import Method
from .helpers.baselines import baseline_of, by_input
from .helpers.paths import with_completeness
from .helpers.sampling import working_type

if TYPE_CHECKING:
    from ..metrics.baselines import Baseline

Array = NDArray[Any]


@dataclass(frozen=True)
class GuidedIntegratedGradients(Method):
    """∫ dS_c/dx * dx along a path from x' to x on which in every step those elements move whose |dS_c/dx| is smallest
    (Kapishnikov et al. 2021, "Guided Integrated Gradients: An Adaptive Path Method for Removing Noise").

    After step k of K the path has come k/K of the distance |x - x'|_1. Elements with the smallest |dS_c/dx| move ahead,
    but no further than ``max_distance`` beyond k/K of their own way, and all have come as far as ``max_distance`` short
    of it. Elements gather the gradient at the beginning of a step times what they move in it.

    - ``steps``: K, one gradient each; they follow one another, so that only different samples run at once.
    - ``fraction``: the share of elements that move at a time, until the distance is covered.
    - ``max_distance``: 0 is the straight path, 1 leaves the order of the elements free.
    - ``baseline``: x', as for :class:`~.integrated_gradients.IntegratedGradients`.

    The defaults are those of the paper's code. Several inputs go one path. The details have ``completeness_gap``.
    Captum has no such method.
    """

    steps: int = 200
    fraction: float = 0.25
    max_distance: float = 0.02
    baseline: Baseline | Mapping[str, Baseline] = 0.0

    name = "guided_integrated_gradients"
    reduction = "abs_sum"

    def __post_init__(self) -> None:
        check_count("steps", self.steps, 1)
        for name, value in (("fraction", self.fraction), ("max_distance", self.max_distance)):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
                raise InputError(f"{name} is a number from 0 to 1; found {value!r}.")

    def attribute(self, attributor: Attributor, feeds: Mapping[str, Array], targets: NDArray[np.int64]) -> Attribution:
        axes = self.axes(attributor)
        attributor, feeds = attributor.on_floats(feeds)
        unchanged = attributor.scored(feeds, targets)
        inputs = {gradient.wrt: feeds[gradient.wrt] for gradient in attributor.gradients}
        baselines = by_input(self.baseline, inputs, "baseline")
        start = {name: baseline_of(baselines[name], x, axes[name]) for name, x in inputs.items()}
        end, place = _joined(inputs), _joined(start)
        begin, found = place.copy(), np.zeros_like(end)
        for step in range(self.steps):
            here = {n: part.astype(inputs[n].dtype) for n, part in _parted(place, inputs).items()}
            gradients = attributor.attribute({**feeds, **here}, unchanged.targets).attributions
            slopes = _joined(dict(zip(inputs, gradients)))
            for sample, slope in enumerate(slopes):
                moved = self._step((step + 1) / self.steps, place[sample], slope, begin[sample], end[sample])
                found[sample] += (moved - place[sample]) * slope
                place[sample] = moved
        parts = _parted(found, inputs)
        attributions = [parts[name].astype(working_type(x)) for name, x in inputs.items()]
        baseline_scores = attributor.scored({**feeds, **start}, unchanged.targets).scores
        return with_completeness(unchanged.with_attributions(attributions), baseline_scores)

    def _step(self, done: float, place: Array, slope: Array, begin: Array, end: Array) -> Array:
        """Where all elements are when ``done`` of the distance is covered; vectors [D]."""
        way = end - begin
        slowest = begin + max(done - self.max_distance, 0.0) * way
        furthest = begin + min(done + self.max_distance, 1.0) * way
        left = (1 - done) * np.abs(way).sum()
        place = np.where(np.abs(place - begin) < np.abs(slowest - begin), slowest, place)
        steepness = np.where(place == furthest, np.inf, np.abs(slope))
        order = np.argsort(steepness, kind="stable")
        at_a_time = max(1, int(self.fraction * len(order)))
        for first in range(0, len(order), at_a_time):
            chosen = order[first : first + at_a_time]
            excess = np.abs(end - place).sum() - left
            reach = np.abs(furthest[chosen] - place[chosen]).sum()
            if excess <= 0 or reach == 0:
                break
            place[chosen] += min(excess / reach, 1.0) * (furthest[chosen] - place[chosen])
        return place


def _joined(parts: Mapping[str, Array]) -> Array:
    """Return all inputs as one vector of every sample, float64 [n, D]."""
    return np.concatenate([part.reshape(len(part), -1) for part in parts.values()], axis=1, dtype=np.float64)


def _parted(joined: Array, like: Mapping[str, Array]) -> dict[str, Array]:
    """Return the inputs that :func:`_joined` made one vector of."""
    ends = np.cumsum([x[0].size for x in like.values()])[:-1]
    parts = np.split(joined, ends, axis=1)
    return {name: part.reshape(x.shape) for (name, x), part in zip(like.items(), parts)}
