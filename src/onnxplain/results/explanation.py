"""What explaining one photo for one class gives."""

from __future__ import annotations

import inspect
import io
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, OutputError
from ..files import make_folder, write_bytes
from ..model.ranking import ClassScore, short_name
from ..photos import Geometry
from ..pictures import ColourBar, PictureOptions, contour_image, heatmap, outlined, overlay_image, panel, save_image
from ..pictures.colormaps import shown_colormap
from ..pictures.figures import encode_figure, pictures_figure
from ..pictures.html import bar_table, data_uri, escape, thumbnail
from ..pictures.render import encode
from ..target import Box
from ..text import json_text, utf8
from .record import METADATA_KEY, SCHEMA, Origin, map_facts, origin_facts, photo_facts, without_folders

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from typing_extensions import Unpack

#: What :meth:`Explanation.save` writes: a picture, a figure of matplotlib, the map as an array, the facts.
FORMATS = ("png", "svg", "pdf", "npy", "json")
#: What :meth:`Explanation.picture` draws.
PICTURES = ("overlay", "heatmap", "contour", "panel")
_PANEL = ("heatmap", "overlay")
_PICTURES = (".png", ".jpg", ".jpeg", ".webp")
_FIGURES = (".svg", ".pdf")
_NOTEBOOK_PIXELS = 480


@dataclass(frozen=True, repr=False)
class Explanation:
    """One photo explained for one class.

    - ``image``: the photo, uint8 RGB [H,W,3]; ``source``: its path, None if it came from memory.
    - ``method``: what computed it, by its name in :data:`onnxplain.methods.METHODS`.
    - ``attribution``: what the method gives for the input tensor of this photo, without the batch axis: the raw
      gradient dS_c/dx for "saliency"; without channels for methods that have none.
    - ``saliency_input``: the saliency map in the model's pixels, float32 [h,w], 0..1.
    - ``saliency``: the same in the photo's own pixels, float32 [H,W]: crop and resize undone, 0 where the
      model did not look.
    - ``signed_input``: the attribution summed over channels, float32 [h,w], positive where it speaks for the class;
      None for methods whose sign says nothing. ``signed``: the same in the photo's own pixels.
    - ``target``, ``label``, ``score``, ``probability``: the explained class, as in :class:`ClassScore`; the
      score is the unnormalised S_c unless the probability was asked for, at the place that is explained if the output
      has places.
    - ``top``: the five classes with the highest scores, best first.
    - ``provider``: the execution provider that ran.
    - ``straight_through``: whether the gradient passed the roundings of a quantised model as if they were the
      identity (straight-through estimator), so that it is an estimate.
    - ``details``: numbers that the method reports besides, such as the ``completeness_gap`` of integrated gradients.
    - ``versus``: what is subtracted, by its label or number, so that ``score`` is a difference; None: nothing. Pictures
      are signed then, diverging at zero, where :attr:`signed` is there. ``step``: that of a sequence.
    - ``role``: "predicted" or "expected" in a :class:`~onnxplain.results.comparison.Comparison`, else None.
    - ``box``: that of the detection that is explained, in the photo's pixels; None for others. ``region``: the places
      of a segmentation that are explained, over the photo, float32 [H,W]; None for others. Pictures outline both.
    - ``origin``: the model, the question and all else that :meth:`to_dict` records; None if it is not known.
    """

    image: NDArray[np.uint8]
    source: str | None
    attribution: NDArray[Any]
    saliency_input: NDArray[np.float32]
    signed_input: NDArray[np.float32] | None
    geometry: Geometry
    target: int
    label: str | None
    score: float
    probability: float | None
    top: list[ClassScore]
    provider: str
    straight_through: bool = False
    method: str = "saliency"
    details: Mapping[str, float] = field(default_factory=dict)
    versus: str | None = None
    step: int | None = None
    role: str | None = None
    box: Box | None = None
    region: NDArray[np.float32] | None = None
    origin: Origin | None = None

    @cached_property
    def saliency(self) -> NDArray[np.float32]:
        return self.geometry.to_photo(self.saliency_input)

    @cached_property
    def signed(self) -> NDArray[np.float32] | None:
        return None if self.signed_input is None else self.geometry.to_photo(self.signed_input)

    @property
    def name(self) -> str:
        """The label, or the number of the class where there is none."""
        return ClassScore(self.target, self.label, self.score, self.probability).name

    @property
    def title(self) -> str:
        """The class and how sure the model is of it, for people; "tabby rather than lynx" for a comparison."""
        return self.class_title if self.role is None else f"{self.role}: {self.class_title}"

    @property
    def class_title(self) -> str:
        """:attr:`title` without the role."""
        mine = ClassScore(self.target, self.label, self.score, self.probability)
        return mine.title(self.straight_through, self.versus, self.step)

    @property
    def short(self) -> str:
        """The first of the names that the label lists: "tabby" of "tabby, tabby cat"."""
        return short_name(self.name)

    def overlay(self, **options: Unpack[PictureOptions]) -> NDArray[np.uint8]:
        """Return the map laid over the photo: :meth:`picture` of kind "overlay"."""
        return self.picture("overlay", **options)

    def picture(self, kind: str = "overlay", **options: Unpack[PictureOptions]) -> NDArray[np.uint8]:
        """Return a picture of the map in the photo's own pixels, uint8 RGB [H,W,3].

        Args:
            kind: "overlay", the map laid over the dimmed photo; "heatmap", the map alone; "contour", its iso-lines
                over the photo; "panel", the photo, the map and the overlay side by side below the class and its score.
            options: see :class:`~onnxplain.pictures.PictureOptions`; a kind has those of
                :func:`onnxplain.pictures.overlay_image` (a panel as well), :func:`~onnxplain.pictures.heatmap` or
                :func:`~onnxplain.pictures.contour_image`. With ``signed=True`` :attr:`signed` is drawn in the place
                of :attr:`saliency`; a comparison is signed unless ``signed=False``.

        Raises:
            InputError: an unknown kind, an option that it does not have, a signed picture of a method whose sign
                says nothing.
        """
        if kind != "panel":
            return self.pictures([kind], **options)[0]
        parts = [self.image, *self.pictures(_PANEL, **options)]
        signed = self._shown(options).get("signed", False)
        table = shown_colormap(options.get("colormap"), signed, usual_signed="diverging")
        words = ("against the class", "for the class") if signed else ("matters little", "matters most")
        bar = ColourBar(table, *words)
        return panel(parts, title=self.title, captions=["photo", self.method, "overlay"], bar=bar)

    def _shown(self, options: PictureOptions) -> PictureOptions:
        """The options, signed for a comparison unless they say otherwise."""
        return {"signed": True, **options} if self.versus is not None and self.signed_input is not None else options

    def pictures(self, kinds: Sequence[str], **options: Unpack[PictureOptions]) -> list[NDArray[np.uint8]]:
        """Return one :meth:`picture` for each of ``kinds``, "panel" excepted; each takes those ``options`` that it has.

        Raises:
            InputError: a panel, an unknown kind, an option that none of them has, a signed picture of a method whose
                sign says nothing.
        """
        if "panel" in kinds:
            raise InputError("a panel is a sheet of several pictures; picture('panel') draws it alone.")
        check_picture(kinds, options)
        options = self._shown(options)
        values = self.signed if options.get("signed") else self.saliency
        if values is None:
            raise InputError(f"the sign of {self.method!r} maps says nothing; draw them without signed=True.")
        values = values * self.geometry.fading()
        found = []
        for kind in kinds:
            ground = () if kind == "heatmap" else (self.image,)
            chosen = {name: value for name, value in options.items() if name in _options_of(kind)}
            found.append(outlined(_DRAWN[kind](*ground, values, **chosen), self.box, self.region))
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return the record of this explanation: everything but the arrays, as plain values for JSON.

        It has what is needed to make the map again (``onnxplain explain --again``) and to see whether it is the same:
        SHA-256 of the model, of the photo and of the map. docs/schemas/explanation-1.json describes it.
        """
        return {
            "schema": SCHEMA,
            "source": self.source,
            "size": list(self.image.shape[:2]),
            "method": self.method,
            "target": self.target,
            "label": self.label,
            "score": self.score,
            "probability": self.probability,
            "versus": self.versus,
            "step": self.step,
            "role": self.role,
            "top": [asdict(one) for one in self.top],
            "crop_box": list(self.geometry.crop_box),
            "provider": self.provider,
            "straight_through": self.straight_through,
            "details": dict(self.details),
            "box": None if self.box is None else asdict(self.box),
            "photo": photo_facts(self.source, self.image),
            "map": map_facts(self.saliency_input),
            **origin_facts(self.origin),
            "files": [],
        }

    def save(
        self,
        path: str | os.PathLike[str],
        formats: str | Sequence[str] | None = None,
        *,
        kind: str = "overlay",
        **options: Unpack[PictureOptions],
    ) -> list[Path]:
        """Write files; each appears whole or not at all. Existing ones are replaced.

        Pictures in PNG carry the record, :meth:`to_dict`, without folders, as the text ``onnxplain``.

        Args:
            path: a file (.png, .jpg, .jpeg or .webp for the picture, .svg or .pdf for the figure of :meth:`plot`, .npy
                for the map [H,W], .json for the facts), or a folder, made if needed, for ``<photo>_<method>.<format>``.
            formats: any of "png", "svg", "pdf", "npy", "json", also as "png,npy"; default what ``path`` says, and
                "png" for a folder. With several, a file's name is taken without its suffix.
            kind, options: as for :meth:`picture`.

        Returns:
            The paths written, in the order of ``formats``.

        Raises:
            InputError: an unknown format, or as for :meth:`picture`.
            OutputError: a file cannot be written.
            RuntimeMissingError: a figure without matplotlib.
        """
        paths = self.paths(path, formats)
        make_folder(paths[0].parent)
        record = {**self.to_dict(), "files": [str(place) for place in paths]}
        for place in paths:
            self._write(place, kind, options, record)
        return paths

    def paths(self, path: str | os.PathLike[str], formats: str | Sequence[str] | None = None) -> list[Path]:
        """Return the files that :meth:`save` writes for the same arguments.

        Raises:
            InputError: an unknown format.
            OutputError: ``path`` is neither a folder nor a file of a known format.
        """
        place, wanted = Path(path), parse_formats(formats)
        if not is_result_file(place):
            place = place / f"{self.stem}_{self.method}.png"
            wanted = wanted or ["png"]
        if not wanted:
            return [place]
        picture = place.suffix if place.suffix.lower() in _PICTURES else ".png"
        return [place.with_suffix(picture if name == "png" else f".{name}") for name in wanted]

    @property
    def stem(self) -> str:
        """The photo's name without folder and suffix; "image" if it has none."""
        return "image" if self.source is None else Path(self.source).stem or "image"

    def plot(self, kind: str = "overlay", **options: Unpack[PictureOptions]) -> Figure:
        """Return a matplotlib figure: the photo and :meth:`picture` beside it; for "panel" photo, map and overlay.

        Raises:
            RuntimeMissingError: matplotlib is not installed.
            InputError: as for :meth:`picture`.
        """
        kinds = _PANEL if kind == "panel" else (kind,)
        parts = [self.image, *self.pictures(kinds, **options)]
        captions = ["photo", self.method, "overlay"] if kind == "panel" else []
        return pictures_figure(parts, title=self.title, captions=captions)

    def top_bars(self) -> list[tuple[str, float, str]]:
        """Return the classes of :attr:`top`: name, length of a bar (0..1), number.

        Bars are as long as probabilities, or as scores relative to the highest where there are none.
        """
        largest = max(abs(one.score) for one in self.top) or 1.0
        return [
            (one.name, max(one.score, 0) / largest, f"{one.score:.3g}")
            if one.probability is None
            else (one.name, one.probability, f"{one.probability:.1%}")
            for one in self.top
        ]

    def _repr_png_(self) -> bytes:
        return encode(self.overlay())

    def _repr_html_(self) -> str:
        """Return the picture beside bars of the best classes; styles and pixels are inside."""
        picture = data_uri(thumbnail(self.overlay(), _NOTEBOOK_PIXELS))
        return (
            '<figure style="margin:0;display:flex;flex-wrap:wrap;gap:1em;align-items:flex-start">'
            f'<img src="{picture}" alt="{escape(self.method)} map of {escape(self.title)}" style="max-width:100%">'
            f"<figcaption><strong>{escape(self.title)}</strong><br>{escape(self.method)}{bar_table(self.top_bars())}</figcaption>"
            "</figure>"
        )

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        return f"<Explanation of {self.source or 'an image'} ({height}x{width}): {self.title}, target {self.target}>"

    def _write(self, path: Path, kind: str, options: PictureOptions, record: Mapping[str, Any]) -> None:
        if path.suffix.lower() == ".npy":
            encoded = io.BytesIO()
            np.save(encoded, self.saliency, allow_pickle=False)
            write_bytes(path, encoded.getvalue())
        elif path.suffix.lower() == ".json":
            write_bytes(path, utf8(json_text(record) + "\n"))
        elif path.suffix.lower() in _FIGURES:
            write_bytes(path, encode_figure(self.plot(kind, **options), path.suffix[1:].lower()))
        else:
            text = {METADATA_KEY: json_text(without_folders(record))}
            save_image(path, self.picture(kind, **options), text=text)


_DRAWN: dict[str, Callable[..., NDArray[np.uint8]]] = {
    "overlay": overlay_image,
    "heatmap": heatmap,
    "contour": contour_image,
}


def check_picture(kinds: Sequence[str], options: Iterable[str]) -> None:
    """Refuse kinds of pictures that do not exist, and names of options that none of them has.

    Raises:
        InputError: with what there is.
    """
    single = [one for kind in kinds for one in (_PANEL if kind == "panel" else (kind,))]
    for kind in single:
        if kind not in _DRAWN:
            raise InputError(f"picture {kind!r} is unknown; there are {', '.join(PICTURES)}.")
    known = list(dict.fromkeys(name for kind in single for name in _options_of(kind)))
    for name in options:
        if name not in known:
            listed = ", ".join(one for one in known if one != "signed")
            raise InputError(f"a picture of kind {', '.join(kinds)} has no option {name!r}; it has {listed}.")


def _options_of(kind: str) -> list[str]:
    parameters = inspect.signature(_DRAWN[kind]).parameters.values()
    return [one.name for one in parameters if one.kind is one.KEYWORD_ONLY]


def parse_formats(formats: str | Sequence[str] | None) -> list[str]:
    """``formats`` as a list without doubles; empty if None.

    Raises:
        InputError: one is unknown.
    """
    listed = formats.split(",") if isinstance(formats, str) else list(formats or [])
    names = [name.strip().lower() for name in listed]
    for name in names:
        if name not in FORMATS:
            raise InputError(f"format {name!r} is unknown; there are {', '.join(FORMATS)}.")
    return list(dict.fromkeys(names))


def is_result_file(path: Path) -> bool:
    """Return whether :meth:`Explanation.save` takes ``path`` for a file; False for a folder, new or old.

    Raises:
        OutputError: it has the suffix of a file that cannot be written.
    """
    known = (*_PICTURES, *_FIGURES, ".npy", ".json")
    if path.is_dir() or not path.suffix:
        return False
    if path.suffix.lower() not in known:
        raise OutputError(f"{path}: results are written as {', '.join(known)}, or into a folder.")
    return True
