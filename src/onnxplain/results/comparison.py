"""What the model predicted and what was expected of it, side by side."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..files import make_folder
from ..pictures import panel, save_image
from ..pictures.html import data_uri, escape
from ..pictures.render import encode
from .explanation import Explanation

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..pictures import PictureOptions


@dataclass(frozen=True, repr=False)
class Comparison:
    """One photo explained for the class that the model predicted, and for the one that was expected.

    - ``predicted``, ``expected``: the two explanations; the same one if the prediction is as expected.
    - ``difference``: of the predicted class rather than the expected one; ``signed`` is positive where the photo speaks
      for the predicted one, and of methods whose sign says nothing the predicted map less the expected one. None if the
      prediction is as expected.
    """

    predicted: Explanation
    expected: Explanation
    difference: Explanation | None

    @property
    def is_mistake(self) -> bool:
        """Whether another class was predicted than the expected one."""
        return self.difference is not None

    @property
    def title(self) -> str:
        """Both classes and how sure the model is of them, for people."""
        if self.difference is None:
            return f"as expected: {self.predicted.class_title}"
        return f"predicted: {self.predicted.class_title}; expected: {self.expected.class_title}"

    @property
    def explanations(self) -> list[Explanation]:
        """The predicted class, the expected one and the difference; the predicted one alone if it was expected."""
        return [self.predicted] if self.difference is None else [self.predicted, self.expected, self.difference]

    def picture(self, **options: Unpack[PictureOptions]) -> NDArray[np.uint8]:
        """The photo, both maps and their difference in one panel below the classes, uint8 RGB [H,W,3].

        The difference is in colours that diverge at zero; ``options`` are those of :meth:`Explanation.overlay`.

        Raises:
            InputError: as for :meth:`Explanation.picture`.
        """
        parts = [self.predicted.image, *(one.overlay(**options) for one in self.explanations)]
        roles = [f"{one.role}: {one.short}" for one in (self.predicted, self.expected)]
        captions = [*roles, "predicted rather than expected"] if self.is_mistake else [self.predicted.short]
        return panel(parts, title=self.title, captions=["photo", *captions])

    def save(self, path: str | os.PathLike[str], **options: Unpack[PictureOptions]) -> Path:
        """Write :meth:`picture` as .png, .jpg, .jpeg or .webp; the file appears whole or not at all.

        Raises:
            OutputError: another suffix, or the file cannot be written.
            InputError: as for :meth:`picture`.
        """
        place = Path(path)
        make_folder(place.parent)
        return save_image(place, self.picture(**options))

    def to_dict(self) -> dict[str, Any]:
        """Everything but the arrays, as plain values for JSON."""
        return {
            "source": self.predicted.source,
            "mistake": self.is_mistake,
            "predicted": self.predicted.to_dict(),
            "expected": self.expected.to_dict(),
            "difference": None if self.difference is None else self.difference.to_dict(),
        }

    def __iter__(self) -> Iterator[Explanation]:
        """One explanation after the other, as reports and grids take them."""
        return iter(self.explanations)

    def _repr_png_(self) -> bytes:
        return encode(self.picture())

    def _repr_html_(self) -> str:
        return f'<img src="{data_uri(self.picture())}" alt="{escape(self.title)}" style="max-width:100%">'

    def __repr__(self) -> str:
        return f"<Comparison of {self.predicted.source or 'an image'}: {self.title}>"
