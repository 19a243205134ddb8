"""From the targets that a user gives to what a model is fed: classes, places, references, one for each sample."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import check_unmasked
from ..errors import TargetError
from ..photos import Geometry
from ..signature import Places
from ..target import Kind, Target, TargetLike
from .attributor import Attributor
from .classes import PREDICTED
from .places import Chooser
from .shared import SharedFeeds

Array = NDArray[Any]
_TOP = re.compile(r"top([1-9]\d*)", re.IGNORECASE)


@dataclass(frozen=True)
class Question:
    """What is explained of n samples, as a model takes it.

    - ``attributor``: runs the model, differentiated for this kind of question.
    - ``targets``: class indices [n], ``PREDICTED`` where the model is to choose.
    - ``feeds``: further inputs of the model by name, each [n, ...].
    - ``top``: the number of best classes that are explained in turn; None: the target alone.
    - ``places``: where, for each sample, as it was chosen: a step, an index of a detection, "own", a mask; None
      without.
    - ``boxes``: of a detector the box [4] that each place stands for, in pixels of the model's input; None for several.
    - ``single``: whether each sample has one place, so that its scores are those of one and may become probabilities.
    - ``number``: what the number is called that is explained, where it is no class; None for classes.
    - ``versus``: what is subtracted, for each sample, by its label or number; None: nothing.
    """

    attributor: Attributor
    targets: NDArray[np.int64]
    feeds: dict[str, Array]
    top: int | None = None
    places: tuple[Any, ...] | None = None
    single: bool = True
    boxes: tuple[Array | None, ...] | None = None
    number: str | None = None
    versus: tuple[str, ...] | None = None

    @property
    def is_chance(self) -> bool:
        """Whether the scores are those of one place, and nothing is subtracted, so that they may be probabilities."""
        plain = self.number is None and not self.attributor.signature.target_inputs.keys() - {"region"}
        return self.single and plain

    def step(self, sample: int) -> int | None:
        """The step of a sequence that is explained of a sample; None for other outputs, and for several steps."""
        layout = self.attributor.signature.places
        if self.places is None or layout is None or layout.layout not in ("sequence", "ctc"):
            return None
        place = self.places[sample]
        return place if isinstance(place, int) else None


@dataclass(frozen=True)
class Asked:
    """Targets as a user gives them, put in order.

    - ``targets``: one for each sample; or, with ``several``, those that every sample is explained for in turn.
    - ``top``: the number of best classes that every sample is explained for in turn; None: the target alone.
    """

    targets: Sequence[Target]
    top: int | None = None
    several: bool = False

    @property
    def lists(self) -> bool:
        """Whether a sample has a list of results, and not one."""
        return self.several or self.top is not None

    @property
    def rounds(self) -> int:
        """How many questions every sample is explained for."""
        return len(self.targets) if self.several else self.top or 1

    def of(self, samples: Sequence[int]) -> list[list[Target]]:
        """The targets of these samples, one for each, in every round of explaining them."""
        if self.several:
            return [[one] * len(samples) for one in self.targets]
        return [[self.targets[sample % len(self.targets)] for sample in samples]]


def ask_all(
    attributor: Attributor,
    asked: Asked,
    samples: Sequence[int],
    feeds: Mapping[str, Array],
    geometries: Sequence[Geometry] | None = None,
) -> list[Question]:
    """The questions about the samples in ``feeds``, one after the other; see :func:`ask`."""
    choosers: dict[Attributor, Chooser] = {}

    def chooser(plain: Attributor, asks: Attributor) -> Chooser:
        runs = asks if isinstance(feeds, SharedFeeds) else plain
        return choosers.setdefault(runs, Chooser(runs, feeds, geometries))

    return [ask(attributor, targets, asked.top, chooser) for targets in asked.of(samples)]


def sharing(attributor: Attributor, asked: Asked, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
    """``feeds``, for questions that share their pass forwards; as they are where there is but one, or it does not pay.

    Where the output has places, they are chosen by the scores, which the same pass forwards tells.
    """
    needed = asked.rounds > 1 or attributor.signature.places is not None
    return SharedFeeds(feeds) if needed and attributor.session.shares() else feeds


def fed(questions: Sequence[Question], feeds: Mapping[str, Array]) -> list[Mapping[str, Array]]:
    """What the model of each question is fed of the samples in ``feeds``, which :func:`sharing` gave."""
    rounds = Counter[Attributor]()
    for one in questions:
        rounds[one.attributor] += 2 if one.places is not None else one.top or 1
    return [
        feeds.asking(one.feeds)
        if isinstance(feeds, SharedFeeds) and rounds[one.attributor] > 1
        else {**feeds, **one.feeds}
        for one in questions
    ]


def ask(
    attributor: Attributor,
    asked: Sequence[Target],
    top: int | None,
    chooser_for: Callable[[Attributor, Attributor], Chooser],
) -> Question:
    """The question that ``asked``, one for each, and ``top`` are about some samples.

    ``chooser_for`` finds the places in the output that targets of these samples mean; it is given the model as it is,
    and as it is differentiated for this kind of question.

    Raises:
        TargetError: a target is out of range, of the wrong number, an unknown label, or has no answer in this model.
        InputError: the model was differentiated for another question.
    """
    kind = _kind(asked)
    output = asked[0].output
    if output is not None:
        attributor = attributor.variant(tensor=output)
    places = attributor.signature.places
    if kind.form != "class":
        return _whole(attributor, asked, kind)
    attributor.classes.check_count(top)
    if places is None:
        _refuse_places(asked, kind)
    plain = attributor
    if kind.versus is not None or kind.column is not None:
        attributor = attributor.variant(target=kind if places is None else _in_regions(kind))
    chooser = chooser_for(plain, attributor)
    if kind.column is not None:
        asked = [replace(one, of=None) for one in asked]
    if places is None:
        fed, shown, single = {}, None, True
        targets = np.array([attributor.classes.index(one.of) for one in asked], np.int64)
    else:
        classes, region, shown = chooser.places(asked)
        fed, single = {"region": region}, all(np.count_nonzero(one) == 1 for one in region)
        targets = np.array(classes, np.int64) if kind.column is None else np.zeros(len(asked), np.int64)
    versus = None
    if kind.versus is not None:
        fed |= _contrast(attributor, asked, kind, chooser)
        versus = tuple(attributor.classes.label(index) or f"class {index}" for index in fed["contrast"].tolist())
    names = attributor.signature.target_inputs
    boxes = chooser.boxes(fed.get("region"))
    named = {names[role]: value for role, value in fed.items()}
    return Question(attributor, targets, named, top, shown, single, boxes, kind.column, versus)


def _refuse_places(asked: Sequence[Target], kind: Kind) -> None:
    """Refuse places and columns where the output has one score for each class."""
    for one in asked:
        if isinstance(one.at, np.ndarray) or one.at not in (None, "all"):
            raise TargetError(f"target {one!r}: the output has one score for each class and no places; leave out at=.")
    if kind.column is not None:
        raise TargetError(f"target {asked[0]!r}: {kind.column!r} is a number of a detection; state layout=.")


def targets_of(target: TargetLike, samples: int, places: Places | None, *, alone: bool = False) -> Asked:
    """What is asked of a number of samples: a sequence is one target for each of them, or several for a single one.

    ``alone``: the sample came without others around it, so that a sequence of one target is a list of targets, too.

    Raises:
        TargetError: a sequence of another length than the samples, or something that is no target.
        InputError: a masked array.
    """
    check_unmasked("target", target)
    if isinstance(target, tuple) and places is not None:
        target = _element(target)
    check_unmasked("target", target)
    if target is None or isinstance(target, (str, Target)) or np.ndim(target) == 0:  # type: ignore[arg-type]
        one = Target() if target is None else _target(target)
        top = _TOP.fullmatch(one.of.strip()) if isinstance(one.of, str) else None
        if top is not None:
            return Asked([replace(one, of=None)] * samples, int(top[1]))
        return Asked([one] * samples)
    listed = list(target)  # type: ignore[arg-type]
    several = samples == 1 and (alone or len(listed) > 1) and len(listed) > 0
    if (np.ndim(target) > 1 and places is None) or (len(listed) != samples and not several):  # type: ignore[arg-type]
        raise TargetError(
            f"target has shape {list(np.shape(target))}, but there are {samples} samples; "  # type: ignore[arg-type]
            "give one class, or one for each sample."
        )
    return Asked([_target(_element(one) if isinstance(one, tuple) else one) for one in listed], None, several)


def _element(index: tuple[Any, ...]) -> Target:
    """An element of the output of a sample as a tuple, as in Captum: its place, then its class."""
    *place, of = index
    if len(place) not in (1, 2) or not all(isinstance(one, (int, np.integer)) for one in index):
        raise TargetError(
            f"target {index!r}: a tuple is a place and a class, (position, class); use Target(of, at=...)."
        )
    return Target(int(of), at=int(place[0]) if len(place) == 1 else (int(place[0]), int(place[1])))


def _target(one: Any) -> Target:
    if isinstance(one, Target):
        return one
    value = one.item() if isinstance(one, (np.generic, np.ndarray)) and one.size == 1 else one
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise TargetError(f"a target is a class index, a label or a Target; found {value!r} ({type(value).__name__}).")
    return Target(value)


def _kind(asked: Sequence[Target]) -> Kind:
    """The kind that all targets of one call have, but for their places."""
    kinds = {replace(one.kind, place=None) for one in asked}
    outputs = {one.output for one in asked}
    if len(kinds) > 1 or len(outputs) > 1:
        raise TargetError(
            "the targets of one call ask different questions; ask those with like=, weights=, versus= or "
            "output= in calls of their own."
        )
    return kinds.pop()


def _in_regions(kind: Kind) -> Kind:
    other = kind.versus
    subtracted = replace(other, place="region") if isinstance(other, Kind) else other
    return Kind("class", "region", subtracted, kind.column)


def _whole(attributor: Attributor, asked: Sequence[Target], kind: Kind) -> Question:
    """A question about the whole output: similar to a reference, or a weighted sum."""
    places, classes = attributor.signature.places, attributor.signature.classes
    if kind.form == "like" and places is not None:
        raise TargetError("like= compares vectors, and the output has places; name another with output= or tensor=.")
    changed = attributor.variant(target=kind)
    role = "reference" if kind.form == "like" else "cotangent"
    weighted = changed.signature.weighted
    if weighted is not None:
        shape = _weights(asked[0].weights, weighted).shape
        rows, against = [_weights(one.weights, shape) for one in asked], []
    else:
        extent = _numbers("like", asked[0].like).size if classes is None else classes
        rows = [_reference(one.like, extent) for one in asked]
        against = [_reference(one.versus.like, extent) for one in asked if isinstance(one.versus, Target)]
    names = changed.signature.target_inputs
    fed = {names[role]: np.stack(rows)}
    if against:
        fed[names["contrast_reference"]] = np.stack(against)
    number = "weighted sum" if kind.form == "weights" else "like the first" if against else "similarity"
    versus = ("like the second",) * len(asked) if against else None
    return Question(changed, np.zeros(len(asked), np.int64), fed, number=number, versus=versus)


def _weights(given: ArrayLike | None, shape: Sequence[int | str]) -> Array:
    """Weights of an output of ``shape``, in which names are extents of any size."""
    weights, sides = _numbers("weights", given), [extent for extent in shape if isinstance(extent, int)]
    if len(weights.shape) != len(shape) == len(sides) and _longer(weights.shape) == _longer(sides):
        weights = weights.reshape(sides)  # the output has axes of one element that its scores do not have
    fits = len(weights.shape) == len(shape) and all(
        isinstance(wanted, str) or found == wanted for found, wanted in zip(weights.shape, shape)
    )
    if not fits:
        raise TargetError(
            f"weights= has the shape of the output of one sample, [{', '.join(map(str, shape))}]; "
            f"found {list(weights.shape)}."
        )
    return weights


def _longer(shape: Sequence[int]) -> list[int]:
    """The extents of the axes of more than one element."""
    return [extent for extent in shape if extent != 1]


def _reference(given: ArrayLike | None, extent: int) -> Array:
    """A vector of ``extent`` numbers that has a cosine with others."""
    vector = _numbers("like", given)
    if vector.shape != (extent,):
        raise TargetError(f"like= is a vector of {extent} numbers, as embed() gives; found {list(vector.shape)}.")
    if not vector.any():
        raise TargetError("like= is zero everywhere; the cosine with it has no value.")
    return vector


def _numbers(name: str, given: ArrayLike | None) -> Array:
    """Numbers of a target, float32."""
    try:
        array = np.asarray(given, np.float32)
    except (TypeError, ValueError):
        raise TargetError(f"{name}= is an array of numbers; found {type(given).__name__}.") from None
    if not np.isfinite(array).all():
        raise TargetError(f"{name}= holds NaN or infinity.")
    return array


def _contrast(attributor: Attributor, asked: Sequence[Target], kind: Kind, chooser: Chooser) -> dict[str, Array]:
    """What is fed for the targets that are subtracted."""
    others = [one.versus if isinstance(one.versus, Target) else Target(one.versus) for one in asked]
    for other in others:
        if other.like is not None or other.weights is not None:
            raise TargetError(f"versus= is a class, as the target itself is; found {other!r}.")
    if isinstance(kind.versus, Kind) and attributor.signature.places is not None:
        classes, regions, _ = chooser.places(others)
        fed = {"contrast_region": regions}
    else:
        classes, fed = [attributor.classes.index(other.of) for other in others], {}
    if PREDICTED in classes:
        raise TargetError("versus= names a class; the predicted one is what the score is of already.")
    return {**fed, "contrast": np.array(classes, np.int64)}
