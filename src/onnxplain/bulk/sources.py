"""What is in a folder, a manifest or tars: an item for each photo, in an order that stays the same."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import ImageError, InputError
from ..parquet import import_parquet
from ..photos.load import SUFFIXES
from ..text import printable
from .items import Item
from .tars import tar_items, target_of

#: Photos of one source at most: all of them are listed in memory.
MAX_ITEMS = 20_000_000
_MANIFESTS = (".csv", ".parquet")


@dataclass(frozen=True)
class Source:
    """The photos of a source: ``items`` in order, whose paths are counted from ``root``."""

    root: Path
    items: Sequence[Item]

    def digest(self) -> str:
        """SHA-256 of all that is known of the items, not of the photos' content."""
        found = hashlib.sha256()
        for one in self.items:
            found.update(f"{(one.id, one.path, one.offset, one.size, one.target, one.error)!r}\n".encode())
        return found.hexdigest()


def open_source(
    place: Path,
    *,
    root: Path | None = None,
    path_column: str = "path",
    target_column: str | None = None,
    leave_out: Path | None = None,
) -> Source:
    """List the photos of ``place``.

    Args:
        place: a folder (of photos, with those in folders in it; or of tars), a .csv or .parquet file, or a .tar file.
        root: the folder that no photo may lie outside of; None is the folder that ``place`` is or lies in.
        path_column: the column of a manifest that holds the paths, counted from the manifest's folder.
        target_column: the column of a manifest, or the suffix of the files in a tar, that holds the targets.
        leave_out: a folder below ``place`` that is not looked into.

    Raises:
        ImageError: nothing is there.
        InputError: it cannot be read, a column is missing, or there are too many photos.
    """
    if not place.exists():
        raise ImageError(f"{place}: no such file or folder; give a folder, a .csv, a .parquet or a .tar file.")
    base = (place if place.is_dir() else place.parent).resolve()
    top = base if root is None else root.resolve()
    if not base.is_relative_to(top):
        raise InputError(f"--root: {place} does not lie in {top}; name a folder above it.")
    suffix = place.suffix.lower()
    if place.is_dir():
        found = _of_folder(base, target_column, None if leave_out is None else leave_out.resolve())
    elif suffix == ".tar":
        found = tar_items(base, place.name, target_column)
    elif suffix in _MANIFESTS:
        rows = _csv_rows(place) if suffix == ".csv" else _parquet_rows(place, path_column, target_column)
        found = _of_rows(rows, place, path_column, target_column)
    else:
        raise InputError(f"{place} is no source; it is a folder, a .csv, a .parquet or a .tar file (not compressed).")
    prefix = base.relative_to(top)
    items = [_moved(item, prefix) for item in islice(found, MAX_ITEMS + 1)]
    if len(items) > MAX_ITEMS:
        raise InputError(f"{place} holds more than {MAX_ITEMS:,} photos; split it.")
    if not items:
        raise ImageError(f"{place} holds no photos.")
    return Source(top, items)


def _moved(item: Item, prefix: Path) -> Item:
    """Return an item whose path is counted from a folder above."""
    if prefix == Path():
        return item
    return Item(item.id, str(prefix / item.path), item.offset, item.size, item.target, item.error)


def _of_folder(base: Path, column: str | None, leave_out: Path | None) -> Iterator[Item]:
    """Yield the photos below a folder, or those of the tars in it.

    Raises:
        InputError: it holds both, or targets are asked for that a folder does not have.
    """
    tars = sorted(one.name for one in base.iterdir() if one.suffix.lower() == ".tar" and one.name[0] != ".")
    photos = _photos_below(base, leave_out)
    first = next(photos, None)
    if tars:
        if first is not None:
            raise InputError(f"{base} holds photos ({first.id}) and tars ({tars[0]}); name one of the two.")
        for name in tars:
            yield from tar_items(base, name, column)
        return
    if column is not None:
        raise InputError("--target-column: a folder of photos states no targets; list them in a manifest.")
    if first is not None:
        yield first
        yield from photos


def _photos_below(base: Path, leave_out: Path | None) -> Iterator[Item]:
    """Yield the files named like pictures, folder by folder; hidden ones are left out, links to folders are errors."""
    for folder, inner, names in os.walk(base):
        here = Path(folder)
        inner[:] = sorted(one for one in inner if one[0] != "." and here / one != leave_out)
        relative = here.relative_to(base)
        for name in [one for one in inner if (here / one).is_symlink()]:
            path = str(relative / name)
            yield Item(printable(path), path, error="is a link to a folder, which is not followed; name it itself.")
        for name in sorted(names):
            if Path(name).suffix.lower() in SUFFIXES and name[0] != ".":
                path = str(relative / name)
                yield Item(printable(path), path)


_Row = tuple[int, "dict[str, Any]"]


def _of_rows(rows: Iterator[_Row], place: Path, path_column: str, target_column: str | None) -> Iterator[Item]:
    """Yield the photos that the rows of a manifest name.

    Raises:
        InputError: a column is missing.
    """
    for number, row in rows:
        for column in (path_column, target_column):
            if column is not None and column not in row:
                listed = ", ".join(repr(name) for name in row if name)
                raise InputError(f"{place} has no column {column!r}; it has {listed}.")
        path, target = row[path_column], None if target_column is None else row[target_column]
        if not isinstance(path, str) or not path.strip():
            yield Item(f"row {number}", "", error=f"the column {path_column!r} is empty.")
            continue
        where, path = printable(path), path.strip()
        if target_column is None:
            yield Item(where, path)
        elif target is None or not str(target).strip():
            yield Item(where, path, error=f"the column {target_column!r} is empty.")
        elif isinstance(target, (int, str)) and not isinstance(target, bool):
            yield Item(where, path, target=target_of(target.strip()) if isinstance(target, str) else target)
        else:
            yield Item(where, path, error=f"the column {target_column!r} holds {target!r}; it holds classes.")


def _csv_rows(place: Path) -> Iterator[_Row]:
    """Yield the rows of a .csv file with their numbers (the first below the header is 1).

    Raises:
        InputError: it cannot be read.
    """
    number = 0
    try:
        with place.open(encoding="utf-8-sig", newline="") as file:
            for number, row in enumerate(csv.DictReader(file), 1):
                yield number, {name: row[name] for name in row if isinstance(name, str)}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{place} cannot be read after row {number}: {error}.") from None


def _parquet_rows(place: Path, *columns: str | None) -> Iterator[_Row]:
    """Yield the rows of a .parquet file, of the named columns alone.

    Raises:
        InputError: it cannot be read, or a column is missing.
        RuntimeMissingError: pyarrow is not installed.
    """
    pyarrow, parquet = import_parquet("a Parquet list of photos")
    wanted = [column for column in columns if column is not None]
    try:
        with parquet.ParquetFile(place) as file:
            for column in wanted:
                if column not in file.schema_arrow.names:
                    listed = ", ".join(map(repr, file.schema_arrow.names))
                    raise InputError(f"{place} has no column {column!r}; it has {listed}.")
            number = 0
            for batch in file.iter_batches(batch_size=10_000, columns=wanted):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{place} cannot be read: {' '.join(str(error).split())}.") from None
