"""Classes by score, with names and probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .classes import Classes


@dataclass(frozen=True)
class ClassScore:
    """A class and its score; ``label`` is None without labels, ``probability`` where it has no meaning."""

    index: int
    label: str | None
    score: float
    probability: float | None

    @property
    def name(self) -> str:
        """The label, or the number where there is none."""
        return f"class {self.index}" if self.label is None else self.label

    def title(self, straight_through: bool = False, versus: str | None = None, step: int | None = None) -> str:
        """The class and how sure the model is of it, for people; with what it is compared with, and at which step."""
        name = self.name if versus is None else f"{short_name(self.name)} rather than {short_name(versus)}"
        place = "" if step is None else f" at {step}"
        sure = "" if self.probability is None else f"{self.probability:.1%}, "
        estimate = ", straight-through" if straight_through else ""
        return f"{name}{place} ({sure}score {self.score:.3g}{estimate})"


def short_name(label: str) -> str:
    """The first of the names of a class that a label lists: "tabby" of "tabby, tabby cat"."""
    return label.split(",")[0].strip() or label


@dataclass(frozen=True)
class Ranking:
    """All classes of one sample: ``scores`` [K], ``probabilities`` [K] or None."""

    scores: NDArray[np.float64]
    probabilities: NDArray[np.float64] | None
    classes: Classes

    def of(self, index: int) -> ClassScore:
        """Return the class ``index``."""
        probability = None if self.probabilities is None else float(self.probabilities[index])
        return ClassScore(index, self.classes.label(index), float(self.scores[index]), probability)

    def best(self, count: int) -> list[ClassScore]:
        """Return the ``count`` classes with the highest scores, best first; the lower index first among equals."""
        return [self.of(int(index)) for index in np.argsort(-self.scores, kind="stable")[:count]]


def rank_classes(scores: NDArray[Any], probability: str | None, classes: Classes) -> Ranking:
    """Return the ranking of one sample with scores [K]; ``probability`` as in :func:`probabilities`."""
    exact = scores.astype(np.float64)
    return Ranking(exact, probabilities(exact, probability), classes)


def probabilities(scores: NDArray[Any], probability: str | None) -> NDArray[np.float64] | None:
    """Return the probabilities [..., K] of scores [..., K].

    ``probability`` says what they are: "softmax" or "sigmoid" of the scores, "identity" (the scores are probabilities),
    or None (no meaning).
    """
    exact = scores.astype(np.float64)
    if probability == "softmax":
        powers = np.exp(exact - exact.max(axis=-1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
    if probability == "sigmoid":
        return np.exp(-np.logaddexp(0, -exact))
    return exact if probability == "identity" else None
