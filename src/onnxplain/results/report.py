"""The report: a card for each photo with its explanations, and what filters, sorts and enlarges them.

The page is three files beside this one (markup, style, script) with the cards between them. Everything is inside the
written file: pictures as ``data:`` addresses, no reference to anything elsewhere, and a content security policy that
forbids any.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .._version import __version__
from ..errors import InputError
from ..files import make_folder, write_chunks
from ..pictures import PictureOptions
from ..pictures.html import bar_table, data_uri, escape, thumbnail
from ..text import utf8
from .explanation import Explanation, check_picture
from .grid import flattened, photo_key

if TYPE_CHECKING:
    from typing_extensions import Unpack

_KINDS = ("heatmap", "overlay")
_QUALITY = 80


def report(
    explanations: Iterable[Explanation | Sequence[Explanation]],
    path: str | os.PathLike[str],
    *,
    title: str = "What the model looked at",
    kinds: Sequence[str] = _KINDS,
    pixels: int = 400,
    **options: Unpack[PictureOptions],
) -> Path:
    """Write one HTML file that shows explanations and needs nothing else: it opens offline, in any browser.

    It has a card for each photo, with the photo, the best classes, and a row for each method or target; cards can be
    searched, filtered by label, sorted by score or name, and their pictures enlarged. Only small pictures are kept
    while ``explanations`` is read, so it may be a stream of any length.

    Args:
        explanations: in any order, also lists of them, as :meth:`Explainer.explain` gives with "top3"; those of one
            photo share a card. :meth:`Explainer.stream` gives them one by one.
        path: the file; its folder is made if needed.
        title: the headline.
        kinds: what is shown of each, any of "overlay", "heatmap", "contour"; see :meth:`Explanation.picture`.
        pixels: the longer side of the pictures.
        options: as for :meth:`Explanation.pictures`.

    Returns:
        The path.

    Raises:
        InputError: there are no explanations; or as for :meth:`Explanation.pictures`.
        OutputError: the file cannot be written.
    """
    made = Report(title=title, kinds=kinds, pixels=pixels, **options)
    for explanation in flattened(explanations):
        made.add(explanation)
    return made.write(path)


class Report:
    """A report that grows by one explanation after the other and is written at the end."""

    def __init__(
        self,
        *,
        title: str = "What the model looked at",
        kinds: Sequence[str] = _KINDS,
        pixels: int = 400,
        **options: Unpack[PictureOptions],
    ) -> None:
        """The arguments are those of :func:`report`.

        Raises:
            InputError: an unknown kind or option, or pictures without pixels.
        """
        if "panel" in kinds or not kinds:
            raise InputError(f"the pictures of a report are overlay, heatmap or contour, not {', '.join(kinds)!r}.")
        if pixels < 1:
            raise InputError(f"pictures of {pixels} pixels show nothing; take 200 or more.")
        check_picture(kinds, options)
        self._title, self._kinds, self._pixels = title, tuple(kinds), pixels
        self._options = options
        self._cards: dict[str, _Card] = {}

    def add(self, explanation: Explanation) -> None:
        """Put one explanation on the card of its photo; its pictures are drawn and encoded now."""
        key = photo_key(explanation)
        if key not in self._cards:
            name = explanation.stem if explanation.source is None else Path(explanation.source).name
            self._cards[key] = _Card(len(self._cards), name, self._figure(explanation.image, "photo", name))
        card = self._cards[key]
        drawn = explanation.pictures(self._kinds, **self._options)
        about = f"{explanation.method}, {explanation.title}, {card.name}"
        figures = [self._figure(picture, kind, f"{kind}: {about}") for kind, picture in zip(self._kinds, drawn)]
        card.add(explanation, figures)

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the file; it appears whole or not at all.

        Raises:
            InputError: nothing was added.
            OutputError: it cannot be written.
        """
        if not self._cards:
            raise InputError("a report needs at least one explanation.")
        place = Path(path)
        make_folder(place.parent)
        return write_chunks(place, (utf8(part) for part in self._parts()))

    def __repr__(self) -> str:
        explanations = sum(len(card.explanations) for card in self._cards.values())
        return f"<Report {self._title!r}: photos {len(self._cards)}, explanations {explanations}>"

    def _parts(self) -> Iterator[str]:
        before, after = _asset("report.html").split("{{cards}}")
        values = {
            "style": _asset("report.css"),
            "script": _asset("report.js"),
            "version": __version__,
            "title": escape(self._title),  # last, for a title may hold anything
        }
        for name, value in values.items():
            before, after = before.replace(f"{{{{{name}}}}}", value), after.replace(f"{{{{{name}}}}}", value)
        yield before
        yield from (card.html() for card in self._cards.values())
        yield after

    def _figure(self, picture: NDArray[np.uint8], caption: str, description: str) -> str:
        """Return a picture that can be enlarged, with its caption."""
        small = thumbnail(picture, self._pixels)
        height, width = small.shape[:2]
        return (
            f'<figure><button type="button" class="zoom" aria-label="Enlarge {escape(description)}">'
            f'<img src="{data_uri(small, quality=_QUALITY)}" alt="{escape(description)}" width="{width}" '
            f'height="{height}" decoding="async"></button><figcaption>{escape(caption)}</figcaption></figure>\n'
        )


@dataclass
class _Card:
    """A photo and its explanations, as HTML that is finished but for the frame around it."""

    number: int
    name: str
    photo: str
    explanations: list[str] = field(default_factory=list)
    labels: dict[str, None] = field(default_factory=dict)
    methods: dict[str, None] = field(default_factory=dict)
    score: float = 0.0
    bars: str = ""

    def add(self, explanation: Explanation, figures: Sequence[str]) -> None:
        if not self.explanations:
            self.score = explanation.score
            self.bars = bar_table(explanation.top_bars())
        self.labels[_line(explanation.name)] = None
        self.methods[explanation.method] = None
        self.explanations.append(
            f'<section class="explanation"><h3>{escape(explanation.title)}</h3>'
            f'<p class="method">{escape(explanation.method)}</p>'
            f'<div class="pictures">{"".join(figures)}</div></section>\n'
        )

    def html(self) -> str:
        facts = {
            "order": self.number,
            "name": _line(self.name),
            "score": f"{self.score:.9g}",
            "labels": "\n".join(self.labels),
            "methods": "\n".join(self.methods),
        }
        attributes = " ".join(f'data-{name}="{escape(str(value))}"' for name, value in facts.items())
        several = " several" if len(self.explanations) > 1 else ""
        return (
            f'<li class="card{several}" {attributes}>\n<h2>{escape(self.name)}</h2>\n<div class="row">\n'
            f'<section class="photo">{self.photo}{self.bars}</section>\n'
            f'<div class="explanations">{"".join(self.explanations)}</div>\n</div>\n</li>\n'
        )


def _line(text: str) -> str:
    return " ".join(text.split())


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
