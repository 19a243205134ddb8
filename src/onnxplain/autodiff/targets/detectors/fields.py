"""The fields of a layout, read one by one; what makes no sense is refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....errors import InputError
from ....layout import Layout

#: More than any detector has; each takes some memory.
_MOST_CLASSES = 1 << 20


class Fields:
    """The fields of a detector's layout; ``usual`` are those of the family, where nothing else is stated."""

    def __init__(self, layout: Layout, **usual: Any) -> None:
        self.layout = layout.name or ""
        self.stated = frozenset(layout.fields)
        self._values = {**usual, **layout.fields}

    def wrong(self, key: str, meaning: str) -> InputError:
        """The error about field ``key``, which should be ``meaning``."""
        return InputError(f"layout {self.layout!r}: {key} is {meaning}; found {self._values.get(key)!r}.")

    def names(self, key: str) -> tuple[str, ...] | None:
        """Names, or one."""
        value = self._values.get(key)
        value = (value,) if isinstance(value, str) else value
        if value is None:
            return None
        if not isinstance(value, Sequence) or not value or not all(isinstance(v, str) for v in value):
            raise self.wrong(key, "a name or a list of names")
        return tuple(value)

    def choice(self, key: str, *known: str | None) -> str | None:
        """One of the words ``known``."""
        value = self._values.get(key)
        if not (value is None or isinstance(value, str)) or value not in known:
            raise self.wrong(key, f"one of {', '.join(map(repr, known))}")
        return value

    def whole(self, key: str, least: int = 0) -> int | None:
        """A whole number of at least ``least``, or None."""
        value = self._values.get(key)
        if value is None:
            return None
        if not _is_whole(value) or value < least:
            raise self.wrong(key, f"a whole number of at least {least}, or None")
        return int(value)

    def number(self, key: str) -> float:
        """A finite number."""
        value = self._values.get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
            raise self.wrong(key, "a finite number")
        return float(value)

    def indices(self, key: str, count: int | None = None) -> list[int]:
        """Different indices, ``count`` of them."""
        value = self._values.get(key)
        meaning = f"{'a list of' if count is None else count} different indices, counted from 0"
        if not isinstance(value, Sequence) or isinstance(value, str) or not value:
            raise self.wrong(key, meaning)
        if not all(_is_whole(v) and v >= 0 for v in value) or len(set(value)) != len(value):
            raise self.wrong(key, meaning)
        if count not in (None, len(value)):
            raise self.wrong(key, meaning)
        return [int(v) for v in value]

    def strides(self) -> list[int]:
        """Pixels a cell, of every scale; empty without any."""
        value = self._values.get("strides")
        value = [value] if _is_whole(value) else value
        if value is None:
            return []
        if not isinstance(value, Sequence) or not value or not all(_is_whole(v) and v > 0 for v in value):
            raise self.wrong("strides", "a list of whole numbers of pixels, one for each scale")
        return [int(v) for v in value]

    def anchors(self, scales: int) -> np.ndarray | None:
        """Widths and heights [scales,n,2] in pixels, or None."""
        value = self._values.get("anchors")
        if value is None:
            return None
        meaning = f"for each of the {scales} strides a list of [width, height] in pixels, equally many each"
        try:
            found = np.asarray(value, np.float64)
        except (TypeError, ValueError) as error:
            raise self.wrong("anchors", meaning) from error
        if found.ndim != 3 or found.shape[0] != scales or found.shape[2] != 2 or not (found > 0).all():
            raise self.wrong("anchors", meaning)
        return found

    def keypoints(self) -> tuple[int, int]:
        """How many keypoints a detection has, and how many numbers each of them."""
        value = self._values.get("keypoints")
        if value is None:
            return 0, 0
        if not isinstance(value, Sequence) or len(value) != 2 or not all(map(_is_whole, value)):
            raise self.wrong("keypoints", "[how many there are, 2 or 3 numbers of each]")
        if value[0] < 1 or value[1] not in (2, 3):
            raise self.wrong("keypoints", "[how many there are, 2 or 3 numbers of each]")
        return int(value[0]), int(value[1])

    def classes(self, first: int) -> list[int] | None:
        """The places of the classes, from ``first`` on if only their number is stated; None: all that follow."""
        value = self._values.get("classes")
        if value is None:
            return None
        if _is_whole(value) and 0 < value <= _MOST_CLASSES:
            return list(range(first, first + int(value)))
        return self.indices("classes")


def _is_whole(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
