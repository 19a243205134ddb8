"""The metrics of :func:`~onnxplain.evaluation.evaluate` by name: from one method's explanations to numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .. import metrics
from ..explainer import Explainer
from ..methods import Method
from ..metrics.arrays import Array
from ..photos import Preprocessing
from ..photos.geometry import Geometry
from ..results.explanation import Explanation


@dataclass(frozen=True)
class Settings:
    """What :func:`~onnxplain.evaluation.evaluate` was told about the metrics."""

    steps: int
    tolerance: float
    samples: int
    seed: int


@dataclass(frozen=True)
class Case:
    """The explanations of one micro-batch by one method.

    ``x`` is the input tensor, ``masks`` are those of the objects in the photos' pixels, empty if there are none.
    """

    explainer: Explainer
    preprocessing: Preprocessing
    method: Method
    x: Array
    explanations: list[Explanation]
    masks: list[NDArray[np.bool_]]
    settings: Settings

    @property
    def targets(self) -> NDArray[np.int64]:
        return np.array([explanation.target for explanation in self.explanations], dtype=np.int64)

    @property
    def channel_axis(self) -> int:
        return 1 if self.preprocessing.layout == "NCHW" else 3

    @cached_property
    def maps(self) -> NDArray[np.float32]:
        """The maps in the model's pixels, [N,h,w]."""
        return np.stack([model_map(explanation) for explanation in self.explanations])

    def probability(self, x: Array, targets: NDArray[np.int64]) -> Array:
        """Return the probability of one class for each sample; its score if the model's scores are no logits."""
        found = self.explainer.probabilities(x)
        return _picked(self.explainer.scores(x) if found is None else found, targets)

    def score(self, x: Array, targets: NDArray[np.int64]) -> Array:
        return _picked(self.explainer.scores(x), targets)

    def attribute(self, x: Array, targets: NDArray[np.int64]) -> Array:
        return np.asarray(self.explainer.attribute(x, targets, self.method))


@dataclass(frozen=True)
class Metric:
    """One number for each explanation, which of two is better, and whether object masks are needed.

    ``asks_again``: it runs the model on changed photos, and so measures the score of a class, no other question.
    """

    measure: Callable[[Case], NDArray[np.generic] | metrics.Curves]
    better: Literal["higher", "lower"]
    title: str
    needs_masks: bool = False
    asks_again: bool = False


def model_map(explanation: Explanation) -> NDArray[np.float32]:
    """Return the map over all of the model's pixels [h,w], also where the method makes a coarser one."""
    canvas = explanation.geometry.canvas
    if explanation.saliency_input.shape == canvas:
        return explanation.saliency_input
    return Geometry(canvas, canvas, (0, 0), canvas).to_photo(explanation.saliency_input)


def _picked(values: Array, targets: NDArray[np.int64]) -> Array:
    found: Array = values[np.arange(len(targets)), targets]
    return found


def _deletion(case: Case) -> metrics.Curves:
    return metrics.deletion(
        case.probability, case.x, case.maps, case.targets, steps=case.settings.steps, channel_axis=case.channel_axis
    )


def _insertion(case: Case) -> metrics.Curves:
    return metrics.insertion(
        case.probability, case.x, case.maps, case.targets, steps=case.settings.steps, channel_axis=case.channel_axis
    )


def _located(
    measure: Callable[[Array, Array], NDArray[np.generic]],
) -> Callable[[Case], NDArray[np.generic]]:
    """Return a measure of map and mask in the pixels of each photo."""

    def run(case: Case) -> NDArray[np.generic]:
        pairs = zip(case.explanations, case.masks)
        return np.array([measure(one.saliency[None], mask[None])[0] for one, mask in pairs])

    return run


def _pointing_game(case: Case) -> NDArray[np.generic]:
    tolerance = case.settings.tolerance
    return _located(lambda maps, masks: metrics.pointing_game(maps, masks, tolerance=tolerance))(case)


def _infidelity(case: Case) -> NDArray[np.generic]:
    attributions = np.stack([explanation.attribution for explanation in case.explanations])
    if attributions.ndim == case.x.ndim - 1:
        maps = case.maps if attributions.shape[1:] != case.maps.shape[1:] else attributions
        attributions = np.expand_dims(maps, case.channel_axis)
    return metrics.infidelity(
        case.score,
        case.x,
        attributions,
        case.targets,
        multiplied=case.method.reduction != "max_abs",
        normalize=True,
        samples=case.settings.samples,
        seed=case.settings.seed,
        channel_axis=case.channel_axis,
    )


def _max_sensitivity(case: Case) -> NDArray[np.generic]:
    low, high = case.preprocessing.value_range()
    return metrics.max_sensitivity(
        case.attribute,
        case.x,
        case.targets,
        radius=0.02 * (high - low),
        samples=case.settings.samples,
        seed=case.settings.seed,
    )


def _sparseness(case: Case) -> NDArray[np.generic]:
    return metrics.sparseness(case.maps)


def _ssim(a: Array, b: Array) -> NDArray[np.float64]:
    """With the usual window of 11 pixels, or the largest one that fits into smaller maps."""
    side = min(11, *a.shape[1:])
    return metrics.ssim(a, b, window=side if side % 2 else side - 1)


METRICS: dict[str, Metric] = {
    "deletion": Metric(_deletion, "lower", "deletion AUC", asks_again=True),
    "insertion": Metric(_insertion, "higher", "insertion AUC", asks_again=True),
    "pointing_game": Metric(_pointing_game, "higher", "pointing game", needs_masks=True),
    "pointing_game_exact": Metric(
        _located(lambda maps, masks: metrics.pointing_game(maps, masks, tolerance=0)),
        "higher",
        "pointing game, tolerance 0",
        needs_masks=True,
    ),
    "energy": Metric(_located(metrics.energy_in_mask), "higher", "energy in mask", needs_masks=True),
    "sparseness": Metric(_sparseness, "higher", "sparseness (Gini)"),
    "infidelity": Metric(_infidelity, "lower", "infidelity", asks_again=True),
    "max_sensitivity": Metric(_max_sensitivity, "lower", "max-sensitivity", asks_again=True),
}

#: Comparisons of two methods' maps by name.
AGREEMENTS: dict[str, Callable[[Array, Array], NDArray[np.float64]]] = {
    "rank_correlation": metrics.rank_correlation,
    "ssim": _ssim,
}
