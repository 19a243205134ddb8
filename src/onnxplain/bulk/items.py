"""One photo of a source, and its bytes. What a source says of paths is not trusted: none leads out of the root."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from ..errors import ImageError
from ..text import printable

#: Bytes of an encoded photo that are read at most: more than any photo of ``MAX_PIXELS`` needs.
MAX_BYTES = 1 << 29


@dataclass(frozen=True, slots=True)
class Item:
    """A photo as its source lists it.

    - ``id``: what it is called in the shards and in errors.
    - ``path``: its file, or the tar that holds it, counted from the root of the source.
    - ``offset``, ``size``: where its bytes are in a tar, None for a file of its own.
    - ``target``: the class index or label that the source states for it, None where it states none.
    - ``error``: why there is nothing to explain, None where there may be.
    """

    id: str
    path: str
    offset: int | None = None
    size: int | None = None
    target: int | str | None = None
    error: str | None = None


def read_item(item: Item, root: Path) -> bytes:
    """Return the bytes of a photo.

    Raises:
        ImageError: the source has none, the path leads out of ``root``, or the file cannot be read or is too large.
    """
    if (error := item.error) is not None:
        raise ImageError(f"{item.id}: {error}")
    try:
        place = inside(root, item.path)
        with open(place, "rb") as file:
            length = os.fstat(file.fileno()).st_size - (item.offset or 0) if item.size is None else item.size
            if length > MAX_BYTES:
                raise ImageError(f"{item.id}: has {length} bytes, more than the limit of {MAX_BYTES}; shrink it.")
            file.seek(item.offset or 0)
            content = file.read(length)
    except ImageError:
        raise
    except (OSError, ValueError) as failure:  # a path with NUL is a ValueError
        reason = getattr(failure, "strerror", None) or failure
        raise ImageError(f"{item.id}: cannot be read: {reason}.") from None
    if len(content) < length:
        raise ImageError(f"{item.id}: is cut off: {len(content)} of {length} bytes are there.")
    return content


def inside(root: Path, path: str) -> Path:
    """Return the regular file that ``path`` names, counted from ``root``; links are followed.

    Raises:
        ImageError: it lies outside of ``root``, or is no regular file.
        OSError: there is none, or links turn in a circle.
    """
    place = Path(os.path.realpath(root / path, strict=True))
    if not place.is_relative_to(root):
        raise ImageError(f"{printable(path)}: leads out of the folder {root}; name a wider one with --root.")
    if not stat.S_ISREG(place.stat().st_mode):
        raise ImageError(f"{printable(path)}: is no regular file.")
    return place
