"""What explaining one photo for one class gives."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .errors import InputError, OutputError, RuntimeMissingError
from .image import Geometry
from .image.files import make_folder, write_bytes
from .image.render import overlay_image, save_image
from .methods.ranking import ClassScore

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: What :meth:`Explanation.save` writes: the overlay, the map as an array, the facts.
FORMATS = ("png", "npy", "json")
_PICTURES = (".png", ".jpg", ".jpeg", ".webp")


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
      score is the unnormalised S_c unless the probability was asked for, summed over positions if the model
      has any (segmentation, detection).
    - ``top``: the five classes with the highest scores, best first.
    - ``provider``: the execution provider that ran.
    - ``straight_through``: whether the gradient passed the roundings of a quantised model as if they were the
      identity (straight-through estimator), so that it is an estimate.
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

    @cached_property
    def saliency(self) -> NDArray[np.float32]:
        return self.geometry.to_photo(self.saliency_input)

    @cached_property
    def signed(self) -> NDArray[np.float32] | None:
        return None if self.signed_input is None else self.geometry.to_photo(self.signed_input)

    @property
    def title(self) -> str:
        """The class and how sure the model is of it, for people."""
        name = f"class {self.target}" if self.label is None else self.label
        sure = "" if self.probability is None else f"{self.probability:.1%}, "
        estimate = ", straight-through" if self.straight_through else ""
        return f"{name} ({sure}score {self.score:.3g}{estimate})"

    def overlay(self, **options: Any) -> NDArray[np.uint8]:
        """The saliency map laid over the photo, uint8 RGB [H,W,3].

        ``options`` are those of :func:`onnxplain.image.render.overlay_image`: ``colormap``, ``alpha``,
        ``percentiles``, ``smooth``, ``saturation``, ``brightness``, ``threads``.
        """
        return overlay_image(self.image, self.saliency, **options)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the arrays, as plain values for JSON."""
        return {
            "source": self.source,
            "size": list(self.image.shape[:2]),
            "method": self.method,
            "target": self.target,
            "label": self.label,
            "score": self.score,
            "probability": self.probability,
            "top": [asdict(one) for one in self.top],
            "crop_box": list(self.geometry.crop_box),
            "provider": self.provider,
            "straight_through": self.straight_through,
        }

    def save(self, path: str | os.PathLike[str], formats: str | Sequence[str] | None = None) -> list[Path]:
        """Write files; each appears whole or not at all. Existing ones are replaced.

        Args:
            path: a file (.png, .jpg, .jpeg or .webp for the overlay, .npy for the map [H,W], .json for the facts), or
                a folder, made if needed, for ``<photo>_<method>.<format>``.
            formats: any of "png", "npy", "json", also as "png,npy"; default what ``path`` says, and "png" for a
                folder. With several, a file's name is taken without its suffix.

        Returns:
            The paths written, in the order of ``formats``.

        Raises:
            InputError: an unknown format.
            OutputError: a file cannot be written.
        """
        paths = self.paths(path, formats)
        make_folder(paths[0].parent)
        for place in paths:
            self._write(place)
        return paths

    def paths(self, path: str | os.PathLike[str], formats: str | Sequence[str] | None = None) -> list[Path]:
        """The files that :meth:`save` writes for the same arguments.

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

    def plot(self) -> Figure:
        """A matplotlib figure: the photo and the overlay.

        Raises:
            RuntimeMissingError: matplotlib is not installed.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise RuntimeMissingError('plot() needs matplotlib; pip install "onnxplain[plot]".') from error
        height, width = self.image.shape[:2]
        figure = Figure(figsize=(9, 9 * height / (2 * width) + 0.6), layout="constrained")
        for axes, picture in zip(figure.subplots(1, 2), (self.image, self.overlay())):
            axes.imshow(picture)
            axes.set_axis_off()
        figure.suptitle(self.title)
        return figure

    def _repr_png_(self) -> bytes:
        encoded = io.BytesIO()
        Image.fromarray(self.overlay()).save(encoded, format="PNG")
        return encoded.getvalue()

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        return f"<Explanation of {self.source or 'an image'} ({height}x{width}): {self.title}, target {self.target}>"

    def _write(self, path: Path) -> None:
        if path.suffix.lower() == ".npy":
            encoded = io.BytesIO()
            np.save(encoded, self.saliency, allow_pickle=False)
            write_bytes(path, encoded.getvalue())
        elif path.suffix.lower() == ".json":
            write_bytes(path, (json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n").encode())
        else:
            save_image(path, self.overlay())


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
    """Whether :meth:`Explanation.save` takes ``path`` for a file; False for a folder, new or old.

    Raises:
        OutputError: it has the suffix of a file that cannot be written.
    """
    known = (*_PICTURES, ".npy", ".json")
    if path.is_dir() or not path.suffix:
        return False
    if path.suffix.lower() not in known:
        raise OutputError(f"{path}: results are written as {', '.join(known)}, or into a folder.")
    return True
