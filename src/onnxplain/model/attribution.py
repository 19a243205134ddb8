"""What one micro-batch gives: attributions for one class of each sample, and the scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Attribution:
    """What one micro-batch of n samples gives for one class each.

    ``attributions`` are one array [n, ...] for each differentiated input; ``targets`` [n] the classes, ``scores`` [n]
    their scores, ``class_scores`` [n,K] those of all classes; ``tensors`` the inner tensors that were asked for;
    ``details`` are what a method reports besides, one number for each sample [n].
    """

    attributions: list[Array]
    targets: NDArray[np.int64]
    scores: Array
    class_scores: Array
    tensors: Mapping[str, Array]
    details: Mapping[str, Array] = field(default_factory=dict)

    def with_attributions(self, attributions: list[Array], **details: Array) -> Attribution:
        """Return the same with other attributions, and with details."""
        return replace(self, attributions=attributions, details=details)

    def of(self, targets: NDArray[np.int64], attributions: list[Array]) -> Attribution:
        """Return the same for other classes [n]."""
        scores = picked(self.class_scores, targets)
        return replace(self, attributions=attributions, targets=targets, scores=scores)

    def next_classes(self, top: int | None) -> list[NDArray[np.int64]]:
        """Return the classes [n] with the second, third, ... highest scores, ``top`` together with the first.

        None: no such classes.
        """
        if top is None:
            return []
        order = np.argsort(-self.class_scores, axis=1, kind="stable")
        return [order[:, rank] for rank in range(1, top)]


def picked(class_scores: Array, targets: NDArray[np.int64]) -> Array:
    """Of the scores of all classes [n,K] those of ``targets`` [n]."""
    found: Array = np.take_along_axis(class_scores, targets[:, None], axis=1)[:, 0]
    return found
