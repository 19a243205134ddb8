"""Photos from whatever a user hands in to batches of input tensors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .errors import InputError, OnnxplainError
from .image import Geometry, Preprocessing, find_images, load_image

#: Called with a photo's name and what was wrong with it.
OnError = Callable[[str, OnnxplainError], None]


@dataclass(frozen=True)
class Photo:
    """A photo and the input tensor made of it.

    ``index`` is its place in the sequence, ``name`` what errors call it, ``source`` its path if it has one.
    """

    index: int
    name: str
    source: str | None
    image: NDArray[np.uint8]
    tensor: NDArray[Any]
    geometry: Geometry


def is_one(images: object) -> bool:
    """Whether ``images`` is a single photo, and not a folder, a batch or another iterable of photos."""
    if isinstance(images, (str, os.PathLike)):
        return not Path(images).is_dir()
    if isinstance(images, np.ndarray):
        return images.ndim < 4
    return isinstance(images, (bytes, bytearray, Image.Image)) or hasattr(images, "read")


def photo_sources(images: Any) -> Iterable[Any]:
    """One photo after the other: the files of a folder, or the members of an iterable.

    Raises:
        ImageError: an empty folder.
        InputError: not an iterable.
    """
    if is_one(images):
        return [images]
    if isinstance(images, (str, os.PathLike)):
        return find_images(images)
    if not isinstance(images, Iterable):
        raise InputError(f"images are a photo, a folder or an iterable of photos; found {type(images).__name__}.")
    return images


def photo_batches(
    sources: Iterable[Any],
    preprocessing: Preprocessing,
    size_of: Callable[[NDArray[Any]], int],
    on_error: OnError | None,
) -> Iterator[list[Photo]]:
    """Photos in order, as many at once as ``size_of(tensor)`` says, all tensors of a batch of one shape.

    A photo that cannot be read goes to ``on_error`` and is left out; without ``on_error`` it raises.

    Raises:
        ImageError: a photo cannot be read.
        PreprocessingError: the preprocessing does not fit a photo.
    """
    batch: list[Photo] = []
    for index, source in enumerate(sources):
        path = str(source) if isinstance(source, (str, os.PathLike)) else None
        name = path or f"image {index}"
        try:
            image = load_image(source)
            tensor, geometry = preprocessing.apply(image)
        except OnnxplainError as error:
            if path is None:
                error = type(error)(f"{name}: {error}")
            if on_error is None:
                raise error from None
            on_error(name, error)
            continue
        if batch and (tensor.shape != batch[0].tensor.shape or len(batch) == size_of(tensor)):
            yield batch
            batch = []
        batch.append(Photo(index, name, path, image, tensor, geometry))
    if batch:
        yield batch
