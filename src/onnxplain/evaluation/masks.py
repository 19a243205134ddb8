"""The object masks of photos: a folder, or one for each."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageError, InputError
from ..photos import load_mask
from ..photos.load import SUFFIXES
from ..pipeline.stream import Photo

#: A folder, or for each photo a path or an array [H,W]; None: there are none.
Masks: TypeAlias = str | os.PathLike[str] | Sequence[Any] | NDArray[Any] | None


def without_masks(sources: Iterable[Any], masks: Masks) -> Iterable[Any]:
    """Return the photos among ``sources``: without files ``<photo>_mask.<suffix>`` of the folder ``masks``."""
    if not isinstance(masks, (str, os.PathLike)) or not isinstance(sources, Sequence):
        return sources
    folder = Path(masks).resolve()

    def is_mask(source: Any) -> bool:
        path = Path(source) if isinstance(source, (str, os.PathLike)) else None
        return path is not None and path.stem.endswith("_mask") and path.resolve().parent == folder

    return [source for source in sources if not is_mask(source)]


def mask_of(photo: Photo, masks: Masks) -> NDArray[np.bool_]:
    """Return the mask [H,W] of a photo, true on the object: opaque pixels above half of full white, numbers above 0.

    In a folder the mask of ``dog.jpg`` is ``dog_mask.png`` or ``dog.png``, of any format.

    Raises:
        InputError: no mask for this photo, or of another size.
        ImageError: the mask cannot be read.
    """
    if isinstance(masks, (str, os.PathLike)):
        source: Any = _beside(photo, Path(masks))
    elif masks is None or photo.index >= len(masks):
        raise InputError(f"{photo.name}: there is no mask for this photo; give one for each.")
    else:
        source = masks[photo.index]
    if isinstance(source, np.ndarray):
        found: NDArray[np.bool_] = source.squeeze() > 0
    else:
        found = load_mask(source)
    if found.shape != photo.image.shape[:2]:
        raise InputError(f"{photo.name} is {photo.image.shape[:2]} pixels (high, wide), its mask {found.shape}.")
    if not found.any():
        raise InputError(f"{photo.name}: its mask is empty; there is no object to find.")
    return found


def _beside(photo: Photo, folder: Path) -> Path:
    if photo.source is None:
        raise InputError(f"{photo.name} has no file name, so no mask in {folder} belongs to it; pass masks as a list.")
    stem = Path(photo.source).stem
    for name in (f"{stem}_mask", stem):
        for suffix in SUFFIXES:
            path = folder / f"{name}{suffix}"
            if path.is_file() and path.resolve() != Path(photo.source).resolve():
                return path
    raise ImageError(f"{folder} holds no mask for {photo.source}; looked for {stem}_mask.png and {stem}.png.")
