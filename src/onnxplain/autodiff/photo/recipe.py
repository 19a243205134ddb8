"""What the graph has to know of a preprocessing: :class:`onnxplain.Preprocessing` is such a recipe."""

from __future__ import annotations

from typing import Protocol

Size = tuple[int, int]


class Recipe(Protocol):
    """The steps from uint8 RGB pixels to a tensor; :class:`onnxplain.Preprocessing` says what each field means."""

    @property
    def resize(self) -> str:
        """ "none", "shortest", "exact" or "letterbox"."""

    @property
    def size(self) -> int | Size | None:
        """Of the resize, (height, width) or one number for both."""

    @property
    def filter(self) -> str:
        """Of the resize, as Pillow calls it."""

    @property
    def crop(self) -> int | Size | None:
        """The size of the centre crop."""

    @property
    def crop_rounding(self) -> str:
        """ "torchvision", "floor" or "ceil"."""

    @property
    def pad_color(self) -> tuple[int, int, int]:
        """RGB, 0..255."""

    @property
    def channels(self) -> str:
        """ "RGB", "BGR" or "L"."""

    @property
    def scale(self) -> float:
        """What a pixel is multiplied by."""

    @property
    def mean(self) -> tuple[float, ...]:
        """What is subtracted from each channel then."""

    @property
    def std(self) -> tuple[float, ...]:
        """What each channel is divided by then."""

    @property
    def invert(self) -> bool:
        """Whether pixels count from white."""


def pair(size: int | Size) -> Size:
    """Return (height, width) of a size."""
    return (size, size) if isinstance(size, int) else size


def output_size(recipe: Recipe) -> Size | None:
    """Return (height, width) of the tensor, None where it depends on the photo."""
    if recipe.crop is not None:
        return pair(recipe.crop)
    return None if recipe.resize == "shortest" or recipe.size is None else pair(recipe.size)
