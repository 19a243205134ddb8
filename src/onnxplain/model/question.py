"""From the targets that a user gives to what a model is fed: classes, places, references, one for each sample."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import check_unmasked
from ..errors import TargetError
from ..photos import Geometry
from ..signature import Places
from ..target import Kind, Target, TargetLike
from .attributor import Attributor
from .classes import PREDICTED
from .places import Chooser

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
    return [ask(attributor, targets, asked.top, feeds, geometries) for targets in asked.of(samples)]


def ask(
    attributor: Attributor,
    asked: Sequence[Target],
    top: int | None,
    feeds: Mapping[str, Array],
    geometries: Sequence[Geometry] | None = None,
) -> Question:
    """The question that ``asked``, one for each, and ``top`` are about the samples in ``feeds``.

    ``geometries`` are those of photos, whose pixels boxes, masks and points are in; without them boxes are in pixels of
    the model's input, points and masks in places of its output.

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
    chooser = Chooser(attributor, feeds, geometries)
    if places is None:
        question = Question(attributor, _classes(attributor, asked, kind), {}, top)
    else:
        question = _placed(attributor, asked, kind, top, chooser)
    if kind.versus is None and kind.column is None:
        return _named(question, question.feeds)
    changed = attributor.variant(target=kind if places is None else _in_regions(kind))
    question = replace(question, attributor=changed, number=kind.column)
    if kind.versus is None:
        return _named(question, question.feeds)
    fed = _contrast(changed, asked, kind, chooser)
    labels = [changed.classes.label(index) or f"class {index}" for index in fed["contrast"].tolist()]
    return _named(replace(question, versus=tuple(labels)), {**question.feeds, **fed})


def _named(question: Question, fed: Mapping[str, Array]) -> Question:
    """The question with what is fed by the names of the graph's inputs, in the place of their roles."""
    names = question.attributor.signature.target_inputs
    return replace(question, feeds={names[role]: value for role, value in fed.items()})


def _classes(attributor: Attributor, asked: Sequence[Target], kind: Kind) -> NDArray[np.int64]:
    """The classes [n] of an output without places."""
    if kind.column is not None:
        raise TargetError(f"target {asked[0]!r}: {kind.column!r} is a number of a detection; state layout=.")
    for one in asked:
        if one.at not in (None, "all"):
            raise TargetError(f"target {one!r}: the output has one score for each class and no places; leave out at=.")
    return np.array([attributor.classes.index(one.of) for one in asked], np.int64)


def _placed(attributor: Attributor, asked: Sequence[Target], kind: Kind, top: int | None, chooser: Chooser) -> Question:
    """The question about places, whose weights are fed as the "region"."""
    if kind.column is not None:
        asked = [replace(one, of=None) for one in asked]
    chosen = [chooser.place(row, one) for row, one in enumerate(asked)]
    targets = np.array([0 if kind.column is not None else index for index, *_ in chosen], np.int64)
    regions = np.stack([region for _, region, _ in chosen])
    places = attributor.signature.places
    return Question(
        attributor,
        targets,
        {"region": regions},
        top,
        places=tuple(place for *_, place in chosen),
        single=all(np.count_nonzero(region) == 1 for region in regions),
        boxes=chooser.boxes(regions) if places is not None and places.boxes else None,
    )


def targets_of(target: TargetLike, samples: int, places: Places | None, *, alone: bool = False) -> Asked:
    """What is asked of a number of samples: a sequence is one target for each of them, or several for a single one.

    ``alone``: the sample came without others around it, so that a sequence of one target is a list of targets, too.

    Raises:
        TargetError: a sequence of another length than the samples, or something that is no target.
    """
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
    rows = [np.asarray(one.like if kind.form == "like" else one.weights, np.float32) for one in asked]
    others = [one.versus.like for one in asked if isinstance(one.versus, Target)]
    against = [np.asarray(other, np.float32) for other in others]
    shapes = {row.shape for row in [*rows, *against]}
    if len(shapes) > 1 or (kind.form == "like" and rows[0].shape != (classes,)):
        raise TargetError(
            f"like= is a vector of {classes} numbers, as embed() gives; found {', '.join(map(str, shapes))}."
        )
    names = changed.signature.target_inputs
    fed = {names[role]: np.stack(rows)}
    if against:
        fed[names["contrast_reference"]] = np.stack(against)
    number = "weighted sum" if kind.form == "weights" else "like the first" if against else "similarity"
    versus = ("like the second",) * len(asked) if against else None
    return Question(changed, np.zeros(len(asked), np.int64), fed, number=number, versus=versus)


def _contrast(attributor: Attributor, asked: Sequence[Target], kind: Kind, chooser: Chooser) -> dict[str, Array]:
    """What is fed for the targets that are subtracted."""
    others = [one.versus if isinstance(one.versus, Target) else Target(one.versus) for one in asked]
    if isinstance(kind.versus, Kind) and attributor.signature.places is not None:
        chosen = [chooser.place(row, other) for row, other in enumerate(others)]
        regions = np.stack([region for _, region, _ in chosen])
        classes = [index for index, *_ in chosen]
        fed = {"contrast_region": regions}
    else:
        classes, fed = [attributor.classes.index(other.of) for other in others], {}
    if PREDICTED in classes:
        raise TargetError("versus= names a class; the predicted one is what the score is of already.")
    return {**fed, "contrast": np.array(classes, np.int64)}
