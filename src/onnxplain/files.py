"""Output files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from .errors import OutputError

#: Largest picture that is decoded unless a caller says otherwise: Pillow's own limit.
MAX_PIXELS = 89_478_485


def write_bytes(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write ``content`` as :func:`write_chunks` does."""
    return write_chunks(path, [content])


def write_chunks(path: str | os.PathLike[str], chunks: Iterable[bytes]) -> Path:
    """Write ``chunks``, one after the other, to a temporary file in the same folder, then renames it to ``path``.

    An existing file is replaced.

    Raises:
        OutputError: that is impossible; nothing is left behind.
    """
    place = Path(path)
    if place.is_dir():
        raise OutputError(f"{place} is a folder; name a file in it.")
    temporary = place.with_name(f".{secrets.token_hex(8)}.part")
    try:
        try:
            with temporary.open("xb") as file:
                file.writelines(chunks)
            os.replace(temporary, place)
        finally:
            temporary.unlink(missing_ok=True)
    except OutputError:  # of what makes the chunks
        raise
    except OSError as error:
        raise OutputError(f"{place} cannot be written: {error.strerror or error}.") from error
    return place


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Make the folder ``path`` and those above it, where they do not exist.

    Raises:
        OutputError: that is impossible, or nothing can be written into it.
    """
    place = Path(path)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder {place} cannot be made: {error.strerror or error}.") from error
    if not os.access(place, os.W_OK):
        raise OutputError(f"the folder {place} cannot be written to.")
    return place
