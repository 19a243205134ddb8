"""From the attributions of micro-batches to what users get: arrays, rows of numbers, and what is known of a sample."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..methods import Method
from ..methods.helpers.maps import check_finite
from ..model.attribution import Attribution
from ..model.attributor import Attributor
from ..model.question import Asked, Question, ask_all, fed, sharing, targets_of
from ..model.ranking import ClassScore, rank_classes
from ..model.shared import SharedFeeds
from ..target import TargetLike

Array = NDArray[Any]

#: How many classes an explanation lists.
_LISTED = 5


def arrays(
    attributor: Attributor,
    method: Method,
    feeds: Mapping[str, Array],
    target: TargetLike,
    reduction: Mapping[str, Any] | None,
) -> dict[str, Array]:
    """Return the attributions of all samples by their tensor, or the maps that ``reduction`` makes of them.

    ``reduction`` are arguments of :meth:`Method.map`. With "top3", and with several targets of one sample, there is an
    axis of classes after the batch.
    """
    maps = reduction is not None
    samples = attributor.samples(feeds)
    asked = targets_of(target, samples, attributor.signature.places)
    if samples == 1:
        feeds = sharing(attributor, asked, feeds)
    questions = ask_all(attributor, asked, range(samples), feeds)
    asks = questions[0].attributor
    axes = method.axes(method.for_maps(asks) if maps else asks)
    found: dict[str, list[Array]] = {name: [] for name in axes}
    for start, parts in micro_batches(questions, method, feeds, maps=maps):
        names = [f"image {start + row}" for row in range(len(parts[0][1].scores))]
        for index, (tensor, axis) in enumerate(axes.items()):
            values = [part.attributions[index] for _, part in parts]
            if reduction is None:
                for one in values:
                    check_finite(one, names)
            else:
                values = [method.map(one, names, channel_axis=axis, **reduction) for one in values]
            found[tensor].append(np.stack(values, axis=1) if asked.lists else values[0])
    return {name: pieces[0] if len(pieces) == 1 else np.concatenate(pieces) for name, pieces in found.items()}


def ranked(
    attributor: Attributor,
    method: Method,
    feeds: Mapping[str, Array],
    targets: NDArray[np.int64],
    top: int | None,
    *,
    maps: bool = False,
) -> list[Attribution]:
    """Return the attributions of one micro-batch: for its targets, or for the ``top`` best classes in turn.

    Args:
        attributor: runs the model.
        method: computes the attributions.
        feeds: the model's own inputs, n samples.
        targets: class indices [n]; ``PREDICTED`` for the class with the highest score.
        top: the number of classes; the run for the predicted one also tells which come next.
        maps: whether only maps are wanted, so that attributions may come without channels.

    Raises:
        TargetError: a class is out of range.
        ProviderError: ONNX Runtime failed.
    """
    attributor.check_targets(feeds, targets, top)
    return method.ranked(method.for_maps(attributor) if maps else attributor, feeds, targets, top)


def micro_batches(
    questions: Sequence[Question], method: Method, feeds: Mapping[str, Array], *, maps: bool = False
) -> Iterator[tuple[int, list[tuple[Question, Attribution]]]]:
    """Return the answers to all questions about each micro-batch, with the number of its first sample.

    Several questions are about a single sample, so that there is one micro-batch for each; for a single sample
    :func:`sharing` has decided, for others every micro-batch shares its own pass forwards.
    """
    if len(questions) > 1 or isinstance(feeds, SharedFeeds):
        yield 0, answers(questions, method, feeds, maps=maps)
        return
    (one,) = questions
    several = (one.top or 1) > 1 and one.attributor.samples(feeds) > 1
    for start, part, chosen in one.attributor.split({**feeds, **one.feeds}, one.targets, at_once=several):
        given = SharedFeeds(part) if several and one.attributor.session.shares() else part
        yield start, [(one, answer) for answer in ranked(one.attributor, method, given, chosen, one.top, maps=maps)]


def answers(
    questions: Sequence[Question], method: Method, feeds: Mapping[str, Array], *, maps: bool = False
) -> list[tuple[Question, Attribution]]:
    """Return the answers to all questions about the samples in ``feeds``, one after the other."""
    return [
        (one, answer)
        for one, given in zip(questions, fed(questions, feeds))
        for answer in ranked(one.attributor, method, given, one.targets, one.top, maps=maps)
    ]


def only(axes: Iterable[str]) -> str:
    """Return the tensor that is explained.

    Raises:
        InputError: there are several.
    """
    names = list(axes)
    if len(names) != 1:
        listed = ", ".join(repr(name) for name in names)
        raise InputError(f"the model has gradients of {listed}; choose one with Explainer(wrt=...).")
    return names[0]


def row_attributions(
    attributor: Attributor, method: Method, feeds: Mapping[str, Array], asked: Asked
) -> Iterator[list[tuple[NDArray[np.float32], dict[str, Any]]]]:
    """Return one number for every feature of each sample [F], and the other fields of an explanation.

    With "top3" there are those of three classes for each sample, with several targets of one sample those of each. The
    numbers have a sign where the method's has a meaning; features of several tensors follow one another.

    Raises:
        InputError: an attribution has more axes than features.
    """
    samples = attributor.samples(feeds)
    if samples == 1:
        feeds = sharing(attributor, asked, feeds)
    questions = ask_all(attributor, asked, range(samples), feeds)
    axes = method.axes(questions[0].attributor)
    for start, parts in micro_batches(questions, method, feeds):
        names = [f"row {start + row}" for row in range(len(parts[0][1].scores))]
        joined = []
        for _, part in parts:
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
            yield [
                (found[row], facts(question, method, part, row, start + row))
                for found, (question, part) in zip(joined, parts)
            ]


def facts(question: Question, method: Method, part: Attribution, row: int, sample: int) -> dict[str, Any]:
    """Return what all explanations say of sample ``row`` of a micro-batch, the question's ``sample``, by field."""
    attributor = question.attributor
    known = attributor.probability if question.is_chance else None
    ranking = rank_classes(part.class_scores[row], known, attributor.classes)
    mine, listed = ranking.of(int(part.targets[row])), ranking.best(_LISTED)
    if question.number is not None:
        mine = ClassScore(mine.index, question.number, mine.score, None)
        listed = [mine]
    return {
        "target": mine.index,
        "label": mine.label,
        "score": float(part.scores[row]),
        "probability": mine.probability,
        "top": listed,
        "versus": None if question.versus is None else question.versus[sample],
        "step": question.step(sample),
        "provider": attributor.provider,
        "straight_through": attributor.signature.straight_through and method.gradients,
        "method": method.name,
        "details": {name: float(values[row]) for name, values in part.details.items()},
    }
