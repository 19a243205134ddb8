"""Many explanations on one sheet: photos in rows, methods or targets in columns."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..pictures import PictureOptions, grid_sheet
from ..pictures.html import thumbnail
from ..pictures.render import encode
from .explanation import Explanation, check_picture

if TYPE_CHECKING:
    from typing_extensions import Unpack

Picture = NDArray[np.uint8]
#: One column: a method, and which of its explanations of a photo ("top3" gives three).
_Column = tuple[str, int]


def grid(
    explanations: Iterable[Explanation | Sequence[Explanation]],
    kind: str = "overlay",
    *,
    title: str = "",
    cell: int = 240,
    **options: Unpack[PictureOptions],
) -> GridPicture:
    """Explanations side by side, uint8 RGB [H,W,3]: a row for each photo, a column for each method or target.

    Args:
        explanations: in any order, also lists of them, as :meth:`Explainer.explain` gives with "top3"; those of one
            photo form a row.
        kind: what a cell shows, "overlay", "heatmap" or "contour"; see :meth:`Explanation.picture`.
        title: a line above all.
        cell: the width of a cell in pixels.
        options: as for :meth:`Explanation.picture`.

    Returns:
        An array; notebooks show it as a picture.

    Raises:
        InputError: there are no explanations, or too many for one picture; or as for :meth:`Explanation.picture`.
    """
    made = Grid(kind, cell=cell, **options)
    for explanation in flattened(explanations):
        made.add(explanation)
    return made.picture(title)


class GridPicture(np.ndarray[Any, np.dtype[np.uint8]]):
    """A grid as an array, uint8 RGB [H,W,3], which notebooks show as a picture; a part of it is shown as numbers."""

    def _repr_png_(self) -> bytes | None:
        return encode(np.asarray(self)) if self.ndim == 3 and self.shape[2] == 3 and self.dtype == np.uint8 else None


class Grid:
    """A grid that grows by one explanation after the other and holds their small pictures only."""

    def __init__(self, kind: str = "overlay", *, cell: int = 240, **options: Unpack[PictureOptions]) -> None:
        """Take ``kind``, ``cell`` and ``options`` as for :func:`grid`.

        Raises:
            InputError: an unknown kind or option.
        """
        if kind == "panel":
            raise InputError("a panel has rows of its own; the cells of a grid are overlay, heatmap or contour.")
        check_picture([kind], options)
        self._kind, self._cell = kind, cell
        self._options = options
        self._rows: dict[str, _Row] = {}

    def add(self, explanation: Explanation) -> None:
        """Draw one explanation into the row of its photo."""
        key = photo_key(explanation)
        if key not in self._rows:
            self._rows[key] = _Row(self._small(explanation.image), explanation.stem)
        cells = self._rows[key].cells
        column = (explanation.method, sum(method == explanation.method for method, _ in cells))
        picture = self._small(explanation.picture(self._kind, **self._options))
        cells[column] = (picture, explanation.title)

    def picture(self, title: str = "") -> GridPicture:
        """Return the grid so far, uint8 RGB [H,W,3].

        Raises:
            InputError: it is empty, or too large for one picture.
        """
        rows = list(self._rows.values())
        columns = list(dict.fromkeys(column for row in rows for column in row.cells))
        cells = [[row.cells.get(column, (None, "")) for column in columns] for row in rows]
        sheet = grid_sheet(
            [[row.photo, *(picture for picture, _ in line)] for row, line in zip(rows, cells)],
            title=title,
            headers=["photo", *(method for method, _ in columns)],
            captions=[[row.name, *(caption for _, caption in line)] for row, line in zip(rows, cells)],
            cell=self._cell,
        )
        return sheet.view(GridPicture)

    def _repr_png_(self) -> bytes | None:
        return encode(self.picture()) if self._rows else None

    def __repr__(self) -> str:
        cells = sum(len(row.cells) for row in self._rows.values())
        return f"<Grid of {self._kind} pictures: photos {len(self._rows)}, explanations {cells}>"

    def _small(self, picture: Picture) -> Picture:
        return thumbnail(picture, 3 * self._cell // 2)


@dataclass(frozen=True)
class _Row:
    photo: Picture
    name: str
    cells: dict[_Column, tuple[Picture, str]] = field(default_factory=dict)


def flattened(explanations: Iterable[Explanation | Sequence[Explanation]]) -> Iterator[Explanation]:
    """Return one explanation after the other, lists of them opened."""
    for one in explanations:
        yield from [one] if isinstance(one, Explanation) else one


def photo_key(explanation: Explanation) -> str:
    """Return the same text for explanations of one photo: its path, or a digest of its pixels where there is none."""
    if explanation.source is not None:
        return explanation.source
    digest = hashlib.blake2b(repr(explanation.image.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(explanation.image).data)
    return digest.hexdigest()
