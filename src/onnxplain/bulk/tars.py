"""The photos of a WebDataset tar: found by its headers, read later where they lie. Nothing is unpacked."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import IO

from ..errors import InputError
from ..photos.load import SUFFIXES
from ..text import printable
from .items import Item

#: Bytes of a header, or of a target, that are read at most.
_MAX_HEADER = 1 << 20
_BLOCK = 512
_INDEX = re.compile(r"[+-]?\d{1,18}")


class _Headers:
    """A file of which only headers are read, so that a large one is refused instead of read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_HEADER:
            raise tarfile.ReadError(f"a header has {size} bytes.")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def tar_items(root: Path, path: str, column: str | None) -> Iterator[Item]:
    """Yield the photos of a tar in order; files next to each other with one name up to the first dot are one sample.

    ``column`` is the suffix of the files that hold the targets ("cls"). A sample without a photo, with several, or with
    a link in the place of one is an item with an error; so is the rest of a damaged tar.

    Raises:
        InputError: it cannot be opened, or is no tar.
    """
    place = root / path
    try:
        with place.open("rb") as file:
            samples = groupby(_members(file, place), lambda member: _key(member[0]))
            for key, members in samples:
                yield _sample(f"{path}/{printable(key)}", path, [*members], column, file)
    except tarfile.ReadError as error:
        reason = str(error).rstrip(".")
        raise InputError(f"{place} is no tar: {reason}. Compressed tars are unpacked first (gunzip).") from None
    except OSError as error:
        raise InputError(f"{place} cannot be read: {error.strerror or error}.") from None


#: Name, offset and size of a file in a tar, and what is wrong with it.
_Member = tuple[str, int, int, "str | None"]


def _members(file: IO[bytes], place: Path) -> Iterator[_Member]:
    """Yield the files of a tar; a last one with an error where it is damaged.

    Raises:
        tarfile.ReadError: it does not begin as a tar.
    """
    found = 0
    with tarfile.open(fileobj=_Headers(file), mode="r:") as tar:  # type: ignore[call-overload]
        while True:
            try:
                member = tar.next()
            except (tarfile.TarError, ValueError, OverflowError) as error:
                if not found:
                    raise tarfile.ReadError(str(error)) from None
                reason = str(error).rstrip(".")
                yield "", 0, 0, f"the tar is damaged after {found} files: {reason}."
                return
            if member is None:
                break
            if member.size < 0:  # Python reads it as a way back, and goes round for ever
                yield "", 0, 0, f"the tar is damaged after {found} files: a file has {member.size} bytes."
                return
            found += 1
            tar.members = []  # else every header stays in memory
            if member.isdir() or PurePosixPath(member.name).name.startswith("."):
                continue
            plain = member.isreg() and not member.issparse()
            yield member.name, member.offset_data, member.size, None if plain else "is a link or no plain file."
        file.seek(tar.offset)
        if file.read(_BLOCK) != bytes(_BLOCK):
            yield "", 0, 0, f"the tar is damaged or cut off after {found} files: its end is missing."


def _key(name: str) -> str:
    """Return the name up to the first dot of its last part."""
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.partition('.')[0]}"


def _sample(name: str, path: str, members: list[_Member], column: str | None, file: IO[bytes]) -> Item:
    """Return the photo of a sample with its target."""
    if not members[0][0]:
        return Item(path, path, error=members[0][3])
    photos = [one for one in members if f".{_suffix(one[0])}" in SUFFIXES]
    if len(photos) != 1:
        listed = ", ".join(printable(PurePosixPath(one[0]).name) for one in (photos or members))
        return Item(name, path, error=f"{'several photos' if photos else 'no photo'} in the sample: {listed}.")
    [(_, offset, size, error)] = photos
    if error is not None or column is None:
        return Item(name, path, offset, size, error=error)
    targets = [one for one in members if _suffix(one[0]) == column.lower()]
    if len(targets) != 1 or targets[0][3] is not None or targets[0][2] > _MAX_HEADER:
        return Item(name, path, offset, size, error=f"no file with the suffix {column!r} states its target.")
    file.seek(targets[0][1])
    text = file.read(targets[0][2]).decode("utf-8", "replace").strip()
    return Item(name, path, offset, size, target_of(text), None if text else f"its target in {column!r} is empty.")


def _suffix(name: str) -> str:
    """Return all behind the first dot of the last part of a name, in lower case."""
    return name.rpartition("/")[2].partition(".")[2].lower()


def target_of(text: str) -> int | str:
    """Return a class index where ``text`` is a number, else the label that it is."""
    return int(text) if _INDEX.fullmatch(text) else text
