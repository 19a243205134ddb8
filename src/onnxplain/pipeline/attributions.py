"""From the attributions of micro-batches to what users get: arrays, rows of numbers, and what is known of a sample."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..methods import Method
from ..methods.maps import check_finite
from ..model.attributor import Attribution, Attributor
from ..model.classes import Target
from ..model.ranking import rank_classes

Array = NDArray[Any]

#: How many classes an explanation lists.
_LISTED = 5


def arrays(
    attributor: Attributor,
    method: Method,
    feeds: Mapping[str, Array],
    target: Target,
    reduction: Mapping[str, Any] | None,
) -> dict[str, Array]:
    """The attributions of all samples by the tensor they belong to, or the maps that ``reduction`` makes of them.

    ``reduction`` are arguments of :meth:`Method.map`. With "top3" there is an axis of classes after the batch.
    """
    model = attributor if reduction is None else method.for_maps(attributor)
    samples, axes, classes = model.samples(feeds), model.axes(method), model.classes
    targets, top = classes.indices(target, samples), classes.top(target)
    found: dict[str, list[Array]] = {name: [] for name in axes}
    for start, ranked in model.micro_batches(method, feeds, targets, top):
        names = [f"image {start + row}" for row in range(len(ranked[0].scores))]
        for index, (tensor, axis) in enumerate(axes.items()):
            parts = [attribution.attributions[index] for attribution in ranked]
            if reduction is None:
                for part in parts:
                    check_finite(part, names)
            else:
                parts = [method.map(part, names, channel_axis=axis, **reduction) for part in parts]
            found[tensor].append(parts[0] if top is None else np.stack(parts, axis=1))
    return {name: parts[0] if len(parts) == 1 else np.concatenate(parts) for name, parts in found.items()}


def only(axes: Iterable[str]) -> str:
    """The tensor that is explained.

    Raises:
        InputError: there are several.
    """
    names = list(axes)
    if len(names) != 1:
        listed = ", ".join(repr(name) for name in names)
        raise InputError(f"the model has gradients of {listed}; choose one with Explainer(wrt=...).")
    return names[0]


def row_attributions(
    attributor: Attributor, method: Method, feeds: Mapping[str, Array], target: Target
) -> Iterator[list[tuple[NDArray[np.float32], dict[str, Any]]]]:
    """One number for every feature of each sample [F], and the other fields of an explanation.

    With "top3" there are those of three classes for each sample. The numbers have a sign where the method's has a
    meaning; features of several tensors follow one another.

    Raises:
        InputError: an attribution has more axes than features.
    """
    samples, axes, classes = attributor.samples(feeds), attributor.axes(method), attributor.classes
    targets, top = classes.indices(target, samples), classes.top(target)
    for start, ranked in attributor.micro_batches(method, feeds, targets, top):
        names = [f"row {start + row}" for row in range(len(ranked[0].scores))]
        joined = []
        for part in ranked:
            tensors = []
            for (tensor, axis), attribution in zip(axes.items(), part.attributions):
                check_finite(attribution, names)
                signed = method.signed_map(attribution, axis)
                if signed is None:
                    signed = method.map(attribution, names, channel_axis=axis, normalize="none")
                if signed.ndim != 2:
                    raise InputError(
                        f"an attribution of {tensor!r} with shape {list(signed.shape)} is not one number for each "
                        "feature; use saliency()."
                    )
                tensors.append(signed.astype(np.float32))
            joined.append(np.concatenate(tensors, axis=1))
        for row in range(len(names)):
            yield [(found[row], facts(attributor, method, part, row)) for found, part in zip(joined, ranked)]


def facts(attributor: Attributor, method: Method, part: Attribution, row: int) -> dict[str, Any]:
    """What all explanations say of sample ``row`` of a micro-batch, by the names of their fields."""
    ranking = rank_classes(part.class_scores[row], attributor.model.probability, attributor.classes)
    mine = ranking.of(int(part.targets[row]))
    return {
        "target": mine.index,
        "label": mine.label,
        "score": mine.score,
        "probability": mine.probability,
        "top": ranking.best(_LISTED),
        "provider": attributor.session.session.provider,
        "straight_through": attributor.model.straight_through and method.gradients,
        "method": method.name,
        "details": {name: float(values[row]) for name, values in part.details.items()},
    }
