"""A class as its model sees it: the picture, how its score rose, files."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import InputError, OutputError
from ..files import make_folder, write_bytes
from ..model.ranking import ClassScore
from ..pictures.render import encode, save_image


class ConvergenceWarning(UserWarning):
    """The image of a class is not the best one yet."""


_ANIMATIONS = {".gif": "GIF", ".webp": "WEBP", ".png": "PNG"}


@dataclass(frozen=True, repr=False)
class ClassVisualization:
    """The picture of one class, or of one neuron.

    - ``image``: uint8 RGB [H,W,3].
    - ``input``: the image itself, before it is cut off at the bounds of pixels and rounded, as the model's input tensor
      with a batch of one, [1,C,H,W] or [1,H,W,C] (float32, unless the model takes another type):
      ``explainer.scores(found.input)`` are its scores.
    - ``converged``: whether ``input`` is where f = S_c - lambda ||I||_2^2 has its largest value, at least nearby: the
      gradient of f is at most a thousandth of that of the score. None where that is not judged: with random views.
    - ``target``, ``label``: the class, or the channel of the inner tensor and ``tensor:channel``.
    - ``scores``: the score at each step, float64 [steps], of the random views that were taken.
    - ``score``, ``probability``: those of ``image`` itself, as a photo; for a neuron the mean over its positions, and
      None.
    - ``top``: the five classes with the highest scores for ``image``, best first; empty for a neuron.
    - ``settings``: the preset, the seed, and every setting.
    - ``frames``: the images after every k-th step, [H,W,3] each, the last one included; empty unless asked for.
    """

    image: NDArray[np.uint8]
    input: NDArray[Any]
    converged: bool | None
    target: int
    label: str | None
    scores: NDArray[np.float64]
    score: float
    probability: float | None
    top: list[ClassScore]
    settings: Mapping[str, Any]
    frames: list[NDArray[np.uint8]]

    @property
    def title(self) -> str:
        """The class and how sure the model is of it, for people."""
        sure = "" if self.probability is None else f"{self.probability:.1%}, "
        name = f"class {self.target}" if self.label is None else self.label
        return f"{name} ({sure}score {self.score:.3g})"

    @property
    def stem(self) -> str:
        """A file name without suffix: the first words of the label, and the number of the class."""
        words = "class" if self.label is None else self.label.removesuffix(f":{self.target}").split(",")[0]
        plain = re.sub(r"[^\w.-]+", "_", words).strip("_.")
        return f"{plain or 'class'}_{self.target}"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture (.png, .jpg, .jpeg or .webp); it appears whole or not at all.

        Raises:
            OutputError: the file cannot be written, or pictures of its kind are not.
        """
        make_folder(Path(path).parent)
        save_image(path, self.image)
        return Path(path)

    def save_animation(self, path: str | os.PathLike[str], *, seconds: float = 0.1) -> list[Path]:
        """Write the frames as one animation (.gif, .webp, or .png for an animated PNG), or into a folder.

        Args:
            path: a file with one of these suffixes, or a folder for ``frame_0001.png`` and so on.
            seconds: how long one frame is shown; the last one ten times as long.

        Raises:
            InputError: there are no frames; they are kept with ``every=``.
            OutputError: a file cannot be written, or animations of its kind are not.
        """
        if not self.frames:
            raise InputError("no frames were kept; make the picture with every=k to keep that of every k-th step.")
        place = Path(path)
        if not place.suffix or place.is_dir():
            return self._save_frames(place)
        if place.suffix.lower() not in _ANIMATIONS:
            raise OutputError(f"{place}: animations are written as {', '.join(_ANIMATIONS)}, or into a folder.")
        make_folder(place.parent)
        pictures = [Image.fromarray(frame) for frame in self.frames]
        durations = [round(1000 * seconds)] * (len(pictures) - 1) + [round(10_000 * seconds)]
        encoded = io.BytesIO()
        kind = _ANIMATIONS[place.suffix.lower()]
        pictures[0].save(encoded, kind, save_all=True, append_images=pictures[1:], duration=durations, loop=0)
        return [write_bytes(place, encoded.getvalue())]

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the pictures, as plain values for JSON."""
        return {
            "target": self.target,
            "label": self.label,
            "score": self.score,
            "probability": self.probability,
            "top": [asdict(one) for one in self.top],
            "converged": self.converged,
            "size": list(self.image.shape[:2]),
            "scores": self.scores.tolist(),
            "settings": dict(self.settings),
        }

    def _save_frames(self, folder: Path) -> list[Path]:
        make_folder(folder)
        paths = [folder / f"frame_{number:04d}.png" for number in range(1, len(self.frames) + 1)]
        for path, frame in zip(paths, self.frames):
            save_image(path, frame)
        return paths

    def _repr_png_(self) -> bytes:
        return encode(self.image)

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        made = f"{self.settings['preset']}, {len(self.scores)} steps"
        doubt = ", not converged" if self.converged is False else ""
        return f"<ClassVisualization {height}x{width}: {self.title}, target {self.target}, {made}{doubt}>"
