"""Photos from whatever a user hands in to batches of input tensors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import InputError, OnnxplainError
from ..photos import Geometry, Preprocessing, find_images, load_image
from ..runtime import side_by_side

#: Called with a photo's name and what was wrong with it.
OnError = Callable[[str, OnnxplainError], None]
#: A photo's name, and what came of it or what was wrong with it.
Outcome = tuple[str, Any]


@dataclass(frozen=True)
class Photo:
    """A photo and the input tensor made of it by the preprocessing of the model that is to explain it.

    ``index`` is its place in the sequence, ``name`` what errors call it, ``source`` its path if it has one.
    """

    index: int
    name: str
    source: str | None
    image: NDArray[np.uint8]
    tensor: NDArray[Any]
    geometry: Geometry


def is_one(images: object) -> bool:
    """Return whether ``images`` is a single photo, and not a folder, a batch or another iterable of photos."""
    if isinstance(images, (str, os.PathLike)):
        return not Path(images).is_dir()
    if isinstance(images, np.ndarray):
        return images.ndim < 4
    return isinstance(images, (bytes, bytearray, Image.Image)) or hasattr(images, "read")


def photo_sources(images: Any) -> Iterable[Any]:
    """Return one photo after the other: the files of a folder, or the members of an iterable.

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


def load_photo(index: int, source: Any, preprocessing: Preprocessing) -> Photo:
    """Return photo number ``index`` and its tensor; of a :class:`Photo`, which was loaded already, what it holds.

    Raises:
        ImageError: it cannot be read.
        PreprocessingError: the preprocessing does not fit it.
    """
    if isinstance(source, Photo):
        return replace(source, index=index)
    name, path = photo_name(index, source)
    try:
        image = load_image(source)
        tensor, geometry = preprocessing.apply(image)
    except OnnxplainError as error:
        raise (error if path is not None else type(error)(f"{name}: {error}")) from None
    return Photo(index, name, path, image, tensor, geometry)


def photo_name(index: int, source: Any) -> tuple[str, str | None]:
    """Return what errors call a photo, and its path if it has one."""
    if isinstance(source, Photo):
        return source.name, source.source
    path = str(source) if isinstance(source, (str, os.PathLike)) else None
    return path or f"image {index}", path


def stream_photos(
    explained: Callable[[list[tuple[int, Any]]], list[Outcome]],
    sources: Iterable[Any],
    *,
    workers: int,
    share: int,
    on_error: OnError | None,
) -> Iterator[Any]:
    """Return the results of photos, in order, worked out side by side.

    ``explained`` takes ``share`` numbered photos at a time, in one of ``workers`` threads. An error goes to
    ``on_error`` with the photo's name; without ``on_error`` it raises.
    """
    if isinstance(sources, Sized):
        workers = workers if len(sources) >= workers else 1
        share = min(share, max(-(-len(sources) // workers), 1))
    groups = _in_groups(sources, share)
    with closing(side_by_side(explained, groups, workers)) as found:
        for name, outcome in chain.from_iterable(found):
            if not isinstance(outcome, OnnxplainError):
                yield outcome
            elif on_error is None:
                raise outcome
            else:
                on_error(name, outcome)


def _in_groups(sources: Iterable[Any], size: int) -> Iterator[list[tuple[int, Any]]]:
    numbered = enumerate(sources)
    while group := list(islice(numbered, size)):
        yield group


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
        try:
            photo = load_photo(index, source, preprocessing)
        except OnnxplainError as error:
            if on_error is None:
                raise
            on_error(photo_name(index, source)[0], error)
            continue
        if batch and (photo.tensor.shape != batch[0].tensor.shape or len(batch) == size_of(photo.tensor)):
            yield batch
            batch = []
        batch.append(photo)
    if batch:
        yield batch
