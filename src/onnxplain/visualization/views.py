"""Random views of an image: moved, enlarged, turned; bilinear sampling and its transpose.

The pixel p of a view shows the point q of the image:

    q = centre + R(angle) (p - centre) / scale + shift

by the four pixels around q, weighted bilinearly. Beyond the border the image is zero, the mean pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .settings import Settings

Array = NDArray[Any]


@dataclass(frozen=True)
class View:
    """A linear map from images [C,H,W] to views [C,H,W]: taps ``index`` [4,H*W], and the ``weight`` of each."""

    index: NDArray[np.intp]
    weight: NDArray[np.float32]

    @classmethod
    def of(
        cls, height: int, width: int, *, shift: tuple[float, float] = (0, 0), scale: float = 1, angle: float = 0
    ) -> View:
        """Return the view of an image [height, width]; ``shift`` (y, x) in pixels, ``angle`` in degrees."""
        centre = np.array([(height - 1) / 2, (width - 1) / 2])
        cosine, sine = np.cos(np.deg2rad(angle)) / scale, np.sin(np.deg2rad(angle)) / scale
        y, x = np.arange(height)[:, None] - centre[0], np.arange(width) - centre[1]
        rows = (centre[0] + shift[0] + cosine * y - sine * x).ravel()
        columns = (centre[1] + shift[1] + sine * y + cosine * x).ravel()
        top, left = np.floor(rows), np.floor(columns)
        taps = [
            (top + dy, left + dx, (1 - np.abs(rows - top - dy)) * (1 - np.abs(columns - left - dx)))
            for dy in (0, 1)
            for dx in (0, 1)
        ]
        at_y, at_x, weight = (np.stack(part) for part in zip(*taps))
        inside = (at_y >= 0) & (at_y < height) & (at_x >= 0) & (at_x < width)
        index = np.where(inside, at_y * width + at_x, 0).astype(np.intp)
        return cls(index, np.where(inside, weight, 0).astype(np.float32))

    def apply(self, image: Array) -> NDArray[np.float32]:
        """Return the view of an image."""
        flat = image.reshape(len(image), -1).astype(np.float32, copy=False)
        view = np.zeros_like(flat)
        for index, weight in zip(self.index, self.weight):
            view += flat[:, index] * weight
        return view.reshape(image.shape)

    def transpose(self, cotangent: Array) -> Array:
        """Return the transposed map: from views to images."""
        flat = cotangent.reshape(len(cotangent), -1)
        index = self.index.ravel()
        planes = [np.bincount(index, (self.weight * plane).ravel(), minlength=flat.shape[1]) for plane in flat]
        return np.stack(planes).reshape(cotangent.shape)


@dataclass(frozen=True)
class RandomViews:
    """Draws views; the settings of that name in :class:`~.settings.Settings`."""

    jitter: float
    scaling: float
    rotation: float

    @classmethod
    def of(cls, settings: Settings) -> RandomViews:
        """Return those of the settings."""
        return cls(settings.jitter, settings.scaling, settings.rotation)

    def draw(self, generator: np.random.Generator, height: int, width: int) -> View:
        """Return a view of images [height, width]."""
        down, right, zoom, turn = generator.uniform(-1, 1, 4)
        return View.of(
            height,
            width,
            shift=(self.jitter * height * down, self.jitter * width * right),
            scale=(1 + self.scaling) ** zoom,
            angle=self.rotation * turn,
        )

    @property
    def none(self) -> bool:
        """Whether every view is the image itself."""
        return not (self.jitter or self.scaling or self.rotation)
