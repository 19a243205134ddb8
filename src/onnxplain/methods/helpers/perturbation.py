"""What methods share that change the input and only run the model forwards; they serve models without gradients too."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...model.attribution import Attribution
from ...model.attributor import Attributor
from ..base import Method
from .baselines import baseline_of

if TYPE_CHECKING:
    from ...metrics.baselines import Baseline

Array = NDArray[Any]


@dataclass(frozen=True)
class Inputs:
    """n samples whose input ``name`` is perturbed, and the e explained pairs of a sample and a class.

    ``x`` [n, ...] are the values of the input, ``channel_axis`` is its channel axis; ``feeds`` are all inputs of the
    model, ``samples`` [e] and ``targets`` [e] the pairs, ``class_scores`` [n,K] the scores before anything was changed.
    """

    attributor: Attributor
    feeds: Mapping[str, Array]
    name: str
    channel_axis: int | None
    samples: NDArray[np.int64]
    targets: NDArray[np.int64]
    class_scores: Array

    @property
    def x(self) -> Array:
        return self.feeds[self.name]

    @property
    def positions(self) -> list[int]:
        """All axes but the batch and the channels."""
        return [axis for axis in range(1, self.x.ndim) if axis != self.channel_axis]

    @property
    def broadcastable(self) -> list[int]:
        """The shape in which values for all positions broadcast over ``x``: [1,1,H,W] for images."""
        return [extent if axis in self.positions else 1 for axis, extent in enumerate(self.x.shape)]

    @property
    def copies(self) -> int:
        """How many perturbed copies of all samples make a run of the best size."""
        return max(1, self.attributor.size(self.feeds) // len(self.x))

    def baseline(self, baseline: Baseline) -> Array:
        """Return what hides values of ``x``; see :func:`~.baselines.baseline_of`."""
        return baseline_of(baseline, self.x, self.channel_axis)

    def scores(self, perturbed: Array) -> Array:
        """Return the scores of all classes [m,n,K] for ``perturbed`` [m, n, ...] in the place of ``x``."""
        feeds = self.attributor.repeated({k: v for k, v in self.feeds.items() if k != self.name}, len(perturbed))
        found = self.attributor.class_scores({**feeds, self.name: perturbed.reshape(-1, *self.x.shape[1:])})
        return found.reshape(*perturbed.shape[:2], -1)

    def picked(self, values: Array) -> Array:
        """Of values [..., n, K] those of the explained pairs: [..., e]."""
        return values[..., self.samples, self.targets]


@dataclass(frozen=True)
class Perturbation(Method):
    """A method that needs scores only. Its attributions have a sign; the map shows what speaks for the class."""

    reduction = "positive"
    gradients = False

    def attribute(self, attributor: Attributor, feeds: Mapping[str, Array], targets: NDArray[np.int64]) -> Attribution:
        return self.ranked(attributor, feeds, targets, None)[0]

    def ranked(
        self, attributor: Attributor, feeds: Mapping[str, Array], targets: NDArray[np.int64], top: int | None
    ) -> list[Attribution]:
        """Return all classes from the same runs, since each gives the scores of all."""
        unchanged = attributor.scored(feeds, targets)
        ranks = [unchanged.targets, *unchanged.next_classes(top)]
        samples, classes = np.tile(np.arange(len(targets)), len(ranks)), np.concatenate(ranks)
        found = []
        for name, axis in self.axes(attributor).items():
            if feeds[name].dtype.kind not in "fiu":
                raise InputError(
                    f"method {self.name!r} changes numbers, but input {name!r} holds {feeds[name].dtype}; "
                    "choose another with Explainer(wrt=...)."
                )
            explained = Inputs(attributor, feeds, name, axis, samples, classes, unchanged.class_scores)
            found.append(np.split(self.perturb(explained), len(ranks)))
        return [unchanged.of(chosen, list(attributions)) for chosen, attributions in zip(ranks, zip(*found))]

    @abstractmethod
    def perturb(self, inputs: Inputs) -> Array:
        """Return the attributions [e, ...] of one input."""

    def signed_map(self, attribution: Array, channel_axis: int | None) -> Array | None:
        return attribution if channel_axis is None or not self.has_channels else attribution.sum(axis=channel_axis)
