"""Explanations of several photos, or of several classes of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from .explanation import Explanation
from .grid import GridPicture, flattened, grid

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..pictures import PictureOptions

#: How many explanations a notebook shows.
_SHOWN = 20

E = TypeVar("E", bound=Explanation | Sequence[Explanation])


class Explanations(list[E]):
    """A list of explanations, in the order of the photos, or of the classes of one photo, best first.

    With "top3" the members of several photos are such lists themselves. Notebooks show all of them.
    """

    def grid(
        self, kind: str = "overlay", *, title: str = "", cell: int = 240, **options: Unpack[PictureOptions]
    ) -> GridPicture:
        """Return all of them on one sheet, uint8 RGB [H,W,3]; see :func:`onnxplain.grid`.

        Raises:
            InputError: as for :func:`onnxplain.grid`.
        """
        return grid(self, kind, title=title, cell=cell, **options)

    def _repr_html_(self) -> str:
        """Return one after the other, as notebooks show each."""
        listed = list(flattened(self))
        more = f"<p>{len(listed) - _SHOWN} more</p>" if len(listed) > _SHOWN else ""
        return "".join(one._repr_html_() for one in listed[:_SHOWN]) + more or "[]"
