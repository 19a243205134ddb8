"""Measuring the explanations of several methods on photos."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence, Sized
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..explainer import Explainer, Explanation
from ..explainer.inputs import Images
from ..methods import Method
from ..metrics import Curves
from ..photos.load import ImageSource
from ..pipeline.stream import OnError, Photo, photo_batches, photo_sources
from ..progress import track
from ..target import TargetLike
from .choices import Methods, find_methods, find_metrics, held, is_of_classes, micro_batch_targets
from .masks import Masks, mask_of, without_masks
from .measures import AGREEMENTS, METRICS, Case, Settings
from .results import Evaluation

#: Photos that are measured at once.
_BATCH = 8


def evaluate(
    explainer: Explainer,
    images: ImageSource | Images,
    methods: Methods = ("saliency",),
    *,
    masks: Masks = None,
    metrics: Sequence[str] | None = None,
    target: TargetLike = None,
    steps: int = 50,
    tolerance: float = 15.0,
    samples: int = 20,
    seed: int = 0,
    on_error: OnError | None = None,
    progress: bool | None = None,
) -> Evaluation:
    """Measure how good the maps of ``methods`` are on photos.

    Args:
        explainer: the model.
        images: photos, as for :meth:`Explainer.explain`.
        methods: names in :data:`onnxplain.methods.METHODS`, methods with options chosen, or a dict that gives either
            a name of its own: ``{"50 samples": SmoothGrad(samples=50)}``.
        masks: where the objects are: a folder with ``<photo>_mask.png`` or ``<photo>.png``, which may be that of the
            photos, or a mask for each photo (a path or an array [H,W]).
        metrics: any of deletion, insertion, pointing_game, pointing_game_exact (tolerance 0), energy, sparseness,
            infidelity, max_sensitivity, and for the agreement of methods rank_correlation, ssim. None: all but
            infidelity, max_sensitivity and ssim, as far as masks and methods allow. Infidelity is that of removed
            squares, with the best factor; max_sensitivity that of a radius of 2 % of the input's range.
        target: as for :meth:`Explainer.explain`, but no "top3". Of other questions than classes, and of outputs with
            places, nothing is measured that runs the model on changed photos.
        steps: of the deletion and insertion curves.
        tolerance: of the pointing game, in pixels of the photo.
        samples, seed: of infidelity and max_sensitivity.
        on_error: called with the name of a photo that cannot be read and the error; it is then left out.
        progress: a bar on stderr when it takes long; None: in terminals only.

    Raises:
        InputError: an unknown method or metric, a metric that needs masks without any, one of a class's score where
            another number is explained, no photo that can be read.
        As :meth:`Explainer.explain` raises.
    """
    chosen = find_methods(methods)
    classes = is_of_classes(target) and not explainer.has_places
    names = find_metrics(metrics, len(chosen), masks is not None, classes)
    located = any(METRICS[name].needs_masks for name in names if name in METRICS)
    settings = Settings(steps, tolerance, samples, seed)
    preprocessing = explainer.preprocessing.preprocessing
    sources = without_masks(photo_sources(images), masks)
    count = len(sources) if isinstance(sources, Sized) else None
    photos = track(sources, count, show=progress)
    found = _Numbers(list(chosen), names)
    for batch in photo_batches(photos, preprocessing, lambda tensor: _BATCH, on_error):
        objects = [mask_of(photo, masks) for photo in batch] if located else []
        cases = _cases(explainer, batch, list(chosen.values()), target, objects, settings)
        found.add(batch, cases)
    if not found.images:
        raise InputError("there is no photo to evaluate.")
    chances = classes and explainer.probabilities(cases[0].x[:1]) is not None
    return found.evaluation("probability" if chances else "score")


def _cases(
    explainer: Explainer,
    batch: list[Photo],
    methods: Sequence[Method],
    target: TargetLike,
    masks: list[NDArray[np.bool_]],
    settings: Settings,
) -> list[Case]:
    """Return the explanations of one micro-batch by each method, all of the classes that the first one explains.

    Raises:
        InputError: the target stands for several classes of a photo.
        As :meth:`Explainer.explain` raises.
    """
    x, preprocessing = np.stack([photo.tensor for photo in batch]), explainer.preprocessing.preprocessing
    classes, cases = micro_batch_targets(target, batch), []
    for method in methods:
        explanations = list(explainer.stream(batch, classes, method, progress=False))
        if not isinstance(explanations[0], Explanation):
            raise InputError(f"target {target!r} stands for several classes; an evaluation is of one for each photo.")
        classes = held(classes, explanations)
        cases.append(Case(explainer, preprocessing, method, x, explanations, masks, settings))
    return cases


class _Numbers:
    """The numbers of all micro-batches so far."""

    def __init__(self, methods: list[str], metrics: list[str]) -> None:
        self.images: list[str] = []
        self._methods, self._metrics = methods, metrics
        self._targets: list[int] = []
        self._labels: list[str | None] = []
        self._values: dict[str, list[list[NDArray[Any]]]] = defaultdict(list)
        self._curves: dict[str, list[list[Curves]]] = defaultdict(list)
        self._agreement: dict[str, list[NDArray[np.float64]]] = defaultdict(list)

    def add(self, batch: list[Photo], cases: list[Case]) -> None:
        """Measure one micro-batch: ``cases`` has one for each method."""
        self.images += [photo.name for photo in batch]
        self._targets += [explanation.target for explanation in cases[0].explanations]
        self._labels += [explanation.label for explanation in cases[0].explanations]
        for name in self._metrics:
            if name in AGREEMENTS:
                compare = AGREEMENTS[name]
                self._agreement[name].append(np.array([[compare(a.maps, b.maps) for b in cases] for a in cases]))
                continue
            measured = [METRICS[name].measure(case) for case in cases]
            curves = [one for one in measured if isinstance(one, Curves)]
            if curves:
                self._curves[name].append(curves)
            self._values[name].append([one.auc if isinstance(one, Curves) else one for one in measured])

    def evaluation(self, measured: str) -> Evaluation:
        """Return everything together."""
        return Evaluation(
            images=self.images,
            targets=self._targets,
            labels=self._labels,
            methods=self._methods,
            values={
                name: np.concatenate([np.stack(part) for part in parts], axis=1).astype(np.float64)
                for name, parts in self._values.items()
            },
            curves={
                name: [
                    Curves(parts[0][row].fractions, np.concatenate([part[row].scores for part in parts]))
                    for row in range(len(self._methods))
                ]
                for name, parts in self._curves.items()
            },
            agreement={name: np.concatenate(parts, axis=2) for name, parts in self._agreement.items()},
            measured=measured,
        )
