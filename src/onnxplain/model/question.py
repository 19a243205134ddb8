"""From the targets that a user gives to what a model is fed: classes, places, references, one for each sample.

Places are chosen here, by a pass forwards, and handed to the graph as weights of the places (a region), so that they
are held while a method moves the input.
"""

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
from ..photos.geometry import resize_maps
from ..signature import Places
from ..target import Box, Kind, Target, TargetLike, place_of
from .attributor import Attributor
from .classes import PREDICTED

Array = NDArray[Any]
_TOP = re.compile(r"top([1-9]\d*)", re.IGNORECASE)
#: The least overlap with a detection (intersection over union) that a box must have to mean it.
_LEAST_OVERLAP = 0.1


@dataclass(frozen=True)
class Question:
    """What is explained of n samples, as a model takes it.

    - ``attributor``: runs the model, differentiated for this kind of question.
    - ``targets``: class indices [n], ``PREDICTED`` where the model is to choose.
    - ``feeds``: further inputs of the model by name, each [n, ...].
    - ``top``: the number of best classes that are explained in turn; None: the target alone.
    - ``places``: where, for each sample, as it was chosen: a step, an index of a detection, "own", a mask; None
      without.
    - ``single``: whether each sample has one place, so that its scores are those of one and may become probabilities.
    """

    attributor: Attributor
    targets: NDArray[np.int64]
    feeds: dict[str, Array]
    top: int | None = None
    places: tuple[Any, ...] | None = None
    single: bool = True

    @property
    def is_chance(self) -> bool:
        """Whether the scores are those of one place, and nothing is subtracted, so that they may be probabilities."""
        return self.single and not self.attributor.signature.target_inputs.keys() - {"region"}


def ask(
    attributor: Attributor,
    asked: Sequence[Target],
    top: int | None,
    feeds: Mapping[str, Array],
    geometries: Sequence[Geometry] | None = None,
) -> Question:
    """The question that ``asked`` and ``top``, as :func:`targets_of` returns them, are about the samples in ``feeds``.

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
    if places is None:
        for one in asked:
            if one.at not in (None, "all"):
                raise TargetError(
                    f"target {one!r}: the output has one score for each class and no places; leave out at=."
                )
    chooser = _Chooser(attributor, feeds, geometries)
    chosen = None if places is None else [chooser.place(row, one) for row, one in enumerate(asked)]
    targets = np.array(
        [attributor.classes.index(one.of) if chosen is None else chosen[row][0] for row, one in enumerate(asked)],
        np.int64,
    )
    fed: dict[str, Array] = {}
    if chosen is not None:
        fed["region"] = np.stack([region for _, region, _ in chosen])
    if kind.versus is not None:
        attributor = attributor.variant(target=kind if places is None else _in_regions(kind))
        fed |= _contrast(attributor, asked, kind, chooser)
    names = attributor.signature.target_inputs
    single = chosen is None or all(np.count_nonzero(region) == 1 for _, region, _ in chosen)
    shown = None if chosen is None else tuple(place for *_, place in chosen)
    return Question(attributor, targets, {names[role]: value for role, value in fed.items()}, top, shown, single)


def targets_of(target: TargetLike, samples: int, places: Places | None) -> tuple[list[Target], int | None]:
    """One target for each sample, and k for "topk", None for any other target.

    Raises:
        TargetError: a sequence of another length than the samples, or something that is no target.
        InputError: a masked array.
    """
    check_unmasked("target", target)
    if isinstance(target, tuple) and places is not None:
        target = _element(target)
    if target is None or isinstance(target, (str, Target)) or np.ndim(target) == 0:  # type: ignore[arg-type]
        one = _target(target)
        top = _TOP.fullmatch(one.of.strip()) if isinstance(one.of, str) else None
        if top is not None:
            return [replace(one, of=None)] * samples, int(top[1])
        return [one] * samples, None
    listed = list(target)  # type: ignore[arg-type]
    if (np.ndim(target) > 1 and places is None) or len(listed) != samples:  # type: ignore[arg-type]
        raise TargetError(
            f"target has shape {list(np.shape(target))}, but there are {samples} samples; "  # type: ignore[arg-type]
            "give one class, or one for each sample."
        )
    return [_target(_element(one) if isinstance(one, tuple) else one) for one in listed], None


def _element(index: tuple[Any, ...]) -> Target:
    """An element of the output of a sample as a tuple, as in Captum: its place, then its class."""
    *place, of = index
    if len(place) not in (1, 2) or not all(isinstance(one, (int, np.integer)) for one in index):
        raise TargetError(
            f"target {index!r}: a tuple is a place and a class, (position, class); use Target(of, at=...)."
        )
    return Target(int(of), at=int(place[0]) if len(place) == 1 else (int(place[0]), int(place[1])))


def _target(one: Any) -> Target:
    if one is None or isinstance(one, Target):
        return Target() if one is None else one
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
    return Kind("class", "region", replace(other, place="region") if isinstance(other, Kind) else other)


def _whole(attributor: Attributor, asked: Sequence[Target], kind: Kind) -> Question:
    """A question about the whole output: similar to a reference, or a weighted sum."""
    places, classes = attributor.signature.places, attributor.signature.classes
    if kind.form == "like" and places is not None:
        raise TargetError("like= compares vectors, and the output has places; name another with output= or tensor=.")
    changed = attributor.variant(target=kind)
    role = "reference" if kind.form == "like" else "cotangent"
    rows = [np.asarray(one.like if kind.form == "like" else one.weights, np.float32) for one in asked]
    shapes = {row.shape for row in rows}
    if len(shapes) > 1 or (kind.form == "like" and rows[0].shape != (classes,)):
        raise TargetError(
            f"like= is a vector of {classes} numbers, as embed() gives; found {', '.join(map(str, shapes))}."
        )
    names = changed.signature.target_inputs
    fed = {names[role]: np.stack(rows)}
    if isinstance(kind.versus, Kind) and kind.versus.form == "like":
        others = [np.asarray(one.versus.like, np.float32) for one in asked if isinstance(one.versus, Target)]
        fed[names["contrast_reference"]] = np.stack(others)
    return Question(changed, np.zeros(len(asked), np.int64), fed)


def _contrast(attributor: Attributor, asked: Sequence[Target], kind: Kind, chooser: _Chooser) -> dict[str, Array]:
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


class _Chooser:
    """Finds the place and the class that a target means in a sample, with at most one pass forwards for all."""

    def __init__(
        self, attributor: Attributor, feeds: Mapping[str, Array], geometries: Sequence[Geometry] | None
    ) -> None:
        self._attributor, self._feeds, self._geometries = attributor, feeds, geometries
        self._maps: dict[str, Array] | None = None

    def place(self, row: int, target: Target) -> tuple[int, NDArray[np.float32], Any]:
        """The class (``PREDICTED`` where the scores there decide), the weights of all places, and the place itself."""
        places, at = self._known(), target.at
        of = self._attributor.classes.index(target.of)
        if at is None:
            at = self._usual(places)
        if isinstance(at, str) and at == "all":
            return of, np.ones(self._extents, np.float32), "all"
        if isinstance(at, str) and at == "own":
            return self._own(row, of)
        if isinstance(at, (str, Box)):
            return self._detection(row, of, at if isinstance(at, Box) else None)
        if place_of(at) == "position":
            return of, *self._position(int(at))  # type: ignore[arg-type]
        return of, *self._region(row, at)

    def _known(self) -> Places:
        places = self._attributor.signature.places
        assert places is not None
        return places

    @property
    def _extents(self) -> tuple[int, ...]:
        """The extents of the places, learned by a pass forwards where they are open."""
        extents = self._known().extents
        if all(isinstance(extent, int) for extent in extents):
            return tuple(int(extent) for extent in extents)
        axis = self._known().class_axis
        shape = self._scores().shape[1:]
        return tuple(extent for index, extent in enumerate(shape, 1) if index != axis)

    def _scores(self) -> Array:
        if self._maps is None:
            self._maps = self._attributor.maps(self._feeds)
        return self._maps["scores"]

    def _usual(self, places: Places) -> Any:
        if places.boxes:
            return "best"
        if places.layout == "segmentation":
            return "own"
        if places.layout in ("sequence", "ctc"):
            raise TargetError(
                f"the output has a score of every class at each of {self._extents[0]} steps: say which one, "
                "Target(..., at=0), or at='all' for the sum over all steps."
            )
        raise TargetError(
            f"the output has a score of every class at each of {list(self._extents)} places, and nothing says what "
            "they are: state Explainer(layout='segmentation') or that of a detector, or say where: Target(..., at="
            "(row, column)), a mask, or at='all' for the sum over all places."
        )

    def _by_class(self, row: int) -> Array:
        """The scores of a sample [K, places]."""
        axis, scores = self._known().class_axis, self._scores()[row]
        return scores[None] if axis is None else np.moveaxis(scores, axis - 1, 0)

    def _own(self, row: int, of: int) -> tuple[int, NDArray[np.float32], str]:
        """Where the class is the predicted one; of no class in particular, the one with the largest region."""
        scores = self._by_class(row)
        if len(scores) == 1:
            threshold = 0.5 if self._attributor.signature.probability == "identity" else 0.0
            of, mine = 0, scores[0] > threshold
        else:
            best = scores.argmax(axis=0)
            of = int(np.bincount(best.ravel(), minlength=len(scores)).argmax()) if of == PREDICTED else of
            mine = best == of
        if not mine.any():
            name = self._attributor.classes.label(of) or f"class {of}"
            raise TargetError(
                f"{name} is predicted nowhere in sample {row}; say where: at=(row, column), a mask, 'all'."
            )
        return of, mine.astype(np.float32), "own"

    def _detection(self, row: int, of: int, box: Box | None) -> tuple[int, NDArray[np.float32], int]:
        """The surest detection of the class, or the one that a box means."""
        scores = self._by_class(row)
        sure = self._maps["confidence"][row].T if self._maps and "confidence" in self._maps else scores
        if sure.ndim != 2:
            raise TargetError("at='best' and a Box are for detectors and sequences; state the layout of the output.")
        weights = sure if box is None else sure * self._overlap(row, box)
        if of == PREDICTED:
            of = int(weights.max(axis=1).argmax())
        place = int(weights[of].argmax())
        region = np.zeros(sure.shape[1], np.float32)
        region[place] = 1
        return of, region, place

    def _overlap(self, row: int, box: Box) -> Array:
        """The overlap of every detection of a sample with a box, [A]."""
        if self._maps is None or "boxes" not in self._maps:
            raise TargetError("a Box is for detectors; state the layout of the outputs with Explainer(layout=...).")
        if self._geometries is not None:
            geometry = self._geometries[row]
            (y0, x0), (y1, x1) = geometry.point_to_model(box.y0, box.x0), geometry.point_to_model(box.y1, box.x1)
            box = Box(x0, y0, x1, y1)
        boxes = self._maps["boxes"][row].astype(np.float64)
        low = np.maximum(boxes[:, :2], [box.x0, box.y0])
        high = np.minimum(boxes[:, 2:], [box.x1, box.y1])
        shared = np.maximum(high - low, 0).prod(axis=1)
        areas = np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(axis=1) + box.width * box.height
        overlap = shared / np.maximum(areas - shared, 1e-9)
        if overlap.max(initial=0.0) < _LEAST_OVERLAP:
            raise TargetError(f"no detection overlaps {box!r}: the largest overlap is {overlap.max(initial=0.0):.2f}.")
        return np.asarray(overlap)

    def _position(self, at: int) -> tuple[NDArray[np.float32], int]:
        extents = self._extents
        if len(extents) != 1:
            raise TargetError(
                f"at={at}: the output has rows and columns; give at=(row, column), a mask, 'own' or 'all'."
            )
        if not -extents[0] <= at < extents[0]:
            raise TargetError(f"at={at} is out of range: the output has {extents[0]} steps.")
        region = np.zeros(extents, np.float32)
        region[at] = 1
        return region, at % extents[0]

    def _region(self, row: int, at: Any) -> tuple[NDArray[np.float32], Any]:
        """A point, or a mask of the output's places, of the photo, or of the model's input."""
        extents = self._extents
        geometry = None if self._geometries is None else self._geometries[row]
        if isinstance(at, tuple):
            if len(extents) != 2 or len(at) != 2:
                raise TargetError(f"at={at}: the output has {len(extents)} axes of places {list(extents)}.")
            point = tuple(at)
            if geometry is not None:
                inside = geometry.point_to_model(at[0] + 0.5, at[1] + 0.5)
                point = tuple(int(v * e // c) for v, e, c in zip(inside, extents, geometry.canvas))
            if not all(-extent <= v < extent for v, extent in zip(point, extents)):
                raise TargetError(f"at={at} is out of range: the output has the places {list(extents)}.")
            region = np.zeros(extents, np.float32)
            region[point] = 1
            return region, at
        mask = np.asarray(at)
        if mask.dtype.kind not in "bfiu" or not np.isfinite(mask).all():
            raise TargetError(f"at= is a mask of finite numbers; found {mask.dtype}.")
        if geometry is not None and mask.shape == geometry.photo and mask.shape != extents:
            mask = resize_maps(geometry.to_model(mask.astype(np.float32))[None], extents)[0]
        if mask.shape != extents:
            raise TargetError(f"at= is a mask {list(mask.shape)}; the output has the places {list(extents)}.")
        if not mask.any():
            raise TargetError("at= is a mask without any place; it must be above zero somewhere.")
        return mask.astype(np.float32), "mask"
