"""What explaining a row of features, or a sequence of tokens, for one class gives: one number for each of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, OutputError
from ..files import make_folder, write_bytes
from ..model.ranking import ClassScore
from ..pictures import bars, bars_figure, save_image, tokens_html, tokens_image
from ..pictures.figures import encode_figure
from ..pictures.html import bar_table, data_uri, escape
from ..text import json_text, utf8

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[Any]

_PICTURES, _FIGURES = (".png", ".jpg", ".jpeg", ".webp"), (".svg", ".pdf")


@dataclass(frozen=True, repr=False)
class FeatureExplanation:
    """One row of features or one sequence of tokens, explained for one class.

    - ``names`` [F]: of the features, or the tokens; ``values`` [F]: what the model got, numbers or token ids.
    - ``attribution`` [F]: float32, positive where it speaks for the class; of methods whose sign says nothing, 0 or
      more. The unit is that of the score, or of the score for each unit of the feature for gradients.
    - ``method``, ``target``, ``label``, ``score``, ``probability``, ``top``, ``provider``, ``straight_through``,
      ``details``, ``versus``, ``step``: as in :class:`~onnxplain.Explanation`.
    """

    names: list[str]
    values: Array
    attribution: NDArray[np.float32]
    target: int
    label: str | None
    score: float
    probability: float | None
    top: list[ClassScore]
    provider: str
    straight_through: bool
    method: str
    details: Mapping[str, float] = field(default_factory=dict)
    versus: str | None = None
    step: int | None = None

    _what: ClassVar[str] = "feature"

    @property
    def title(self) -> str:
        """The class and how sure the model is of it, for people; of a model with a single output, its value."""
        if len(self.top) == 1 and self.label is None:
            return f"output {self.score:.4g}"
        mine = ClassScore(self.target, self.label, self.score, self.probability)
        return mine.title(self.straight_through, self.versus, self.step)

    def bars(self, **options: Any) -> NDArray[np.uint8]:
        """Return the largest attributions as bars, uint8 RGB [H,W,3]; ``options``: :func:`onnxplain.pictures.bars`."""
        return bars(self._bar_names(), self.attribution, **{"title": self.title, **options})

    def plot(self, **options: Any) -> Figure:
        """Return :meth:`bars` as a matplotlib figure; ``options`` are those of :func:`onnxplain.pictures.bars_figure`.

        Raises:
            RuntimeMissingError: matplotlib is not installed.
        """
        return bars_figure(self._bar_names(), self.attribution, **{"title": self.title, **options})

    def picture(self, **options: Any) -> NDArray[np.uint8]:
        """Return what :meth:`save` writes as a picture, uint8 RGB [H,W,3]: :meth:`bars`."""
        return self.bars(**options)

    def html(self) -> str:
        """Return a fragment of HTML with everything inside."""
        picture = data_uri(self.picture(), "PNG")
        return f'<img src="{picture}" alt="{escape(self.method)}: {escape(self.title)}" style="max-width:100%">'

    def to_dict(self) -> dict[str, Any]:
        """Everything, as plain values for JSON."""
        return {
            **asdict(self),
            "values": self.values.tolist(),
            "attribution": [float(value) for value in self.attribution],
            "details": dict(self.details),
        }

    def save(self, path: str | os.PathLike[str], **options: Any) -> Path:
        """Write one file, whole or not at all; an existing one is replaced.

        Args:
            path: .png, .jpg, .jpeg or .webp for :meth:`picture`, .svg or .pdf for :meth:`plot`, both with ``options``;
                .html for the fragment of :meth:`html`, .json for :meth:`to_dict`.

        Raises:
            OutputError: another suffix, or the file cannot be written.
            InputError: options of a file that has none.
            RuntimeMissingError: a figure without matplotlib.
        """
        place = Path(path)
        suffix = place.suffix.lower()
        if options and suffix not in (*_PICTURES, *_FIGURES):
            raise InputError(f"{place}: only pictures have options; found {', '.join(options)}.")
        if suffix in _PICTURES:
            make_folder(place.parent)
            return save_image(place, self.picture(**options))
        if suffix in _FIGURES:
            content = encode_figure(self.plot(**options), suffix[1:])
        elif suffix == ".html":
            content = utf8(self.html())
        elif suffix == ".json":
            content = utf8(json_text(self.to_dict()) + "\n")
        else:
            known = ", ".join((*_PICTURES, *_FIGURES, ".html", ".json"))
            raise OutputError(f"{place}: explanations of features are written as {known}.")
        make_folder(place.parent)
        return write_bytes(place, content)

    def _bar_names(self) -> list[str]:
        return list(self.names)

    def _repr_html_(self) -> str:
        rows = [(one.name, one.probability or 0, f"{one.score:.3g}") for one in self.top]
        facts = "" if self.probability is None else bar_table(rows)
        return f"<figure style='margin:0'>{self.html()}<figcaption>{escape(self.method)}{facts}</figcaption></figure>"

    def __repr__(self) -> str:
        largest = self.names[int(np.argmax(np.abs(self.attribution)))]
        parts = f"{len(self.names)} {self._what}{'' if len(self.names) == 1 else 's'}"
        return f"<{type(self).__name__} of {parts}: {self.title}, {self.method}, most by {largest!r}>"


@dataclass(frozen=True, repr=False)
class TableExplanation(FeatureExplanation):
    """A row of features explained; its picture are bars with the values of the features."""

    def _bar_names(self) -> list[str]:
        return [f"{name} = {_short(value)}" for name, value in zip(self.names, self.values)]


@dataclass(frozen=True, repr=False)
class TokenExplanation(FeatureExplanation):
    """A sequence of tokens explained; its picture are the tokens, each on the colour of its attribution."""

    _what = "token"

    def picture(self, **options: Any) -> NDArray[np.uint8]:
        """Return the tokens in lines, uint8 RGB [H,W,3]; ``options``: :func:`onnxplain.pictures.tokens_image`."""
        return tokens_image(self.names, self.attribution, **{"title": self.title, **options})

    def html(self) -> str:
        """Return the class, and the tokens as text, each on the colour of its attribution; everything inside."""
        return f"<p><strong>{escape(self.title)}</strong></p>{tokens_html(self.names, self.attribution)}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, (float, np.floating)) else str(value)
