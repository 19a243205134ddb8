"""Where in the output: from a place that a user names to weights of all places, chosen by a pass forwards.

The weights (a region) are handed to the graph, so that they are held while a method moves the input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TargetError
from ..photos import Geometry
from ..photos.geometry import resize_maps
from ..signature import Places
from ..target import Box, Target, place_of
from .attributor import Attributor
from .classes import PREDICTED

Array = NDArray[Any]
#: The least overlap with a detection (intersection over union) that a box must have to mean it.
_LEAST_OVERLAP = 0.1


class Chooser:
    """Finds the place and the class that a target means in a sample, with at most one pass forwards for all."""

    def __init__(
        self, attributor: Attributor, feeds: Mapping[str, Array], geometries: Sequence[Geometry] | None
    ) -> None:
        self._attributor, self._feeds, self._geometries = attributor, feeds, geometries
        self._maps: dict[str, Array] | None = None

    def places(self, targets: Sequence[Target]) -> tuple[list[int], NDArray[np.float32], tuple[Any, ...]]:
        """For the target of each sample: the classes, the weights of all places [n, ...], and the places themselves."""
        found = [self.place(row, target) for row, target in enumerate(targets)]
        return [of for of, *_ in found], np.stack([region for _, region, _ in found]), tuple(at for *_, at in found)

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

    def boxes(self, regions: Array | None) -> tuple[Array | None, ...] | None:
        """The box [4] of the one place that each region [A] weighs, None where it weighs several; of detectors only."""
        places = self._attributor.signature.places
        if regions is None or places is None or not places.boxes:
            return None
        self._scores()
        assert self._maps is not None
        found = zip(self._maps["boxes"], regions)
        return tuple(boxes[np.argmax(one)] if np.count_nonzero(one) == 1 else None for boxes, one in found)

    def _by_class(self, row: int) -> Array:
        """The scores of a sample [K, places]."""
        axis, scores = self._known().class_axis, self._scores()[row]
        return scores[None] if axis is None else np.moveaxis(scores, axis - 1, 0)

    def _own(self, row: int, of: int) -> tuple[int, NDArray[np.float32], str]:
        """Where the class has the highest score; of no class in particular, the one with the largest region."""
        scores = self._by_class(row)
        if len(scores) == 1:
            threshold = 0.5 if self._attributor.signature.probability == "identity" else 0.0
            of, mine = 0, scores[0] > threshold
        else:
            best = scores.argmax(axis=0)
            counts, blank = np.bincount(best.ravel(), minlength=len(scores)), self._known().blank
            if blank is not None and of == PREDICTED:
                counts[blank] = 0
            of = int(counts.argmax()) if of == PREDICTED else of
            mine = (best == of) & (counts[of] > 0)
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
        blank = self._known().blank
        if of == PREDICTED:
            best = weights.max(axis=1)
            of = int((best if blank is None else np.where(np.arange(len(best)) == blank, -np.inf, best)).argmax())
        place = int(weights[of].argmax())
        if sure is not scores and not weights[of].any():
            name, there = self._attributor.classes.label(of) or f"class {of}", "" if box is None else f" within {box!r}"
            raise TargetError(f"{name} is found nowhere{there} in sample {row}; detect() lists what is found.")
        region = np.zeros(sure.shape[1], np.float32)
        region[place] = 1
        return of, region, place

    def _overlap(self, row: int, box: Box) -> Array:
        """The overlap of every detection of a sample with a box, [A]."""
        if self._maps is None or "boxes" not in self._maps:
            raise TargetError("a Box is for detectors; state the layout of the outputs with Explainer(layout=...).")
        inside = box
        if self._geometries is not None:
            geometry = self._geometries[row]
            (y0, x0), (y1, x1) = geometry.point_to_model(box.y0, box.x0), geometry.point_to_model(box.y1, box.x1)
            inside = Box(x0, y0, x1, y1)
        boxes = self._maps["boxes"][row].astype(np.float64)
        low = np.maximum(boxes[:, :2], [inside.x0, inside.y0])
        high = np.minimum(boxes[:, 2:], [inside.x1, inside.y1])
        shared = np.maximum(high - low, 0).prod(axis=1)
        areas = np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(axis=1) + inside.width * inside.height
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
            if not all(isinstance(v, (int, np.integer)) and not isinstance(v, bool) for v in at):
                raise TargetError(f"at={at}: a tuple is a row and a column, two whole numbers; a mask is an array.")
            if len(extents) != 2 or len(at) != 2:
                raise TargetError(
                    f"at={at} is a row and a column, and the places of the output are {list(extents)}: give at= "
                    f"{'a number' if len(extents) == 1 else 'a mask'} of these."
                )
            point = tuple(at) if geometry is None else _point_in_output(geometry, tuple(at), extents)
            if not all(-extent <= v < extent for v, extent in zip(point, extents)):
                raise TargetError(f"at={at} is out of range: the output has the places {list(extents)}.")
            region = np.zeros(extents, np.float32)
            region[point] = 1
            return region, at
        try:
            mask = np.asarray(at)
        except ValueError:
            raise TargetError("at= is a mask, and its rows have different lengths; give an array [h,w].") from None
        if mask.dtype.kind not in "bfiu" or not np.isfinite(mask).all():
            raise TargetError(f"at= is a mask of finite numbers; found {mask.dtype}.")
        if geometry is not None and mask.ndim == 2 != len(extents):
            raise TargetError(
                f"at= is a mask {list(mask.shape)} of a photo, and the places of the output are {list(extents)}."
            )
        if geometry is not None and mask.shape == geometry.photo:
            mask = resize_maps(geometry.to_model(mask.astype(np.float32))[None], extents)[0]
        if mask.shape != extents:
            raise TargetError(f"at= is a mask {list(mask.shape)}; the output has the places {list(extents)}.")
        if not (mask > 0).any():
            raise TargetError("at= is a mask without any place; it must be above zero somewhere.")
        return mask.astype(np.float32), "mask"


def _point_in_output(geometry: Geometry, at: tuple[int, ...], extents: tuple[int, ...]) -> tuple[int, ...]:
    """The place of the output over a pixel of the photo; negative numbers count from the photo's end."""
    height, width = geometry.photo
    y, x = (v + extent if v < 0 else v for v, extent in zip(at, geometry.photo))
    if not (0 <= y < height and 0 <= x < width):
        raise TargetError(f"at={at} is out of range: the photo has {height} rows and {width} columns.")
    inside = geometry.point_to_model(y + 0.5, x + 0.5)
    if not all(0 <= v < extent for v, extent in zip(inside, geometry.canvas)):
        top, left, bottom, right = (round(edge) for edge in geometry.crop_box)
        raise TargetError(
            f"at={at} is not in rows {top} to {bottom - 1} and columns {left} to {right - 1}, which the model sees "
            "of the photo."
        )
    return tuple(int(v * e // c) for v, e, c in zip(inside, extents, geometry.canvas))
