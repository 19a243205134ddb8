"""Prepared models on disk, used again by later processes.

An entry is a folder, named by the hash of all that its files depend on. It is written aside and then renamed, so
that every process sees it whole or not at all; whoever finds one gone or damaged makes it anew. When the entries
are larger together than the limit, those that were not used for the longest time are removed.

Environment: ``ONNXPLAIN_CACHE`` names the folder; ``0`` or ``off`` turns the cache off.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import InputError

#: Bytes of all entries together: some ten networks of the size of ResNet-50.
LIMIT = 2 << 30
_VARIABLE = "ONNXPLAIN_CACHE"
_OFF = ("0", "off", "false", "no")
_CHECKSUMS = "checksums.json"
_ENTRY = re.compile(r"[0-9a-f]{64}")
_ASIDE = re.compile(r"\.[0-9a-f]{16}\.part")
#: Seconds after which something written aside belongs to a process that is gone.
_ABANDONED = 3600.0
_CHUNK = 1 << 20


class ModelCache:
    """The entries in ``folder``. Files that cannot be written or removed are no error: the entry is just not there."""

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        self.folder, self.limit = folder, limit

    def find(self, key: str) -> Path | None:
        """Return the folder of an entry whose files are as they were written, now the one used last; else None."""
        entry = self.folder / key
        try:
            stated = json.loads((entry / _CHECKSUMS).read_text(encoding="ascii"))
            sound = stated == {name: _checksum(entry / name) for name in stated}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError):
            sound = False
        if not sound:
            self.drop(key)
            return None
        with suppress(OSError):
            os.utime(entry / _CHECKSUMS)
        return entry

    @contextmanager
    def aside(self) -> Iterator[Path | None]:
        """Make a folder for the files of an entry, removed at the end unless kept; None where it cannot be made."""
        folder: Path | None = self.folder / f".{secrets.token_hex(8)}.part"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            assert folder is not None
            folder.mkdir()
        except OSError:
            folder = None
        with _removed(folder):
            yield folder

    def keep(self, key: str, folder: Path) -> None:
        """Make the files in ``folder``, which :meth:`aside` gave, the entry ``key``; older entries may have to go."""
        with suppress(OSError):
            stated = {path.name: _checksum(path) for path in folder.iterdir()}
            (folder / _CHECKSUMS).write_text(json.dumps(stated), encoding="ascii")
            if _size(folder) > self.limit:
                return
            self.drop(key)
            folder.rename(self.folder / key)
            self._shrink(key)

    def drop(self, key: str) -> None:
        """Remove an entry."""
        _remove(self.folder / key)

    def clear(self) -> int:
        """Remove all entries, and what was left aside; returns how many bytes that were."""
        before = self.size()
        for path in self._folders(_ENTRY) + self._folders(_ASIDE):
            _remove(path)
        return before - self.size()

    def size(self) -> int:
        """Bytes of all entries."""
        return sum(_size(path) for path in self._folders(_ENTRY))

    def count(self) -> int:
        """Return how many entries there are."""
        return len(self._folders(_ENTRY))

    def _shrink(self, newest: str) -> None:
        """Remove what was left aside, and the entries used least recently until the others fit the limit."""
        for path in self._folders(_ASIDE):
            if time.time() - _last_use(path) > _ABANDONED:
                _remove(path)
        entries = sorted(self._folders(_ENTRY), key=_last_use, reverse=True)
        total = _size(self.folder / newest)
        for path in entries:
            if path.name != newest:
                total += _size(path)
                if total > self.limit:
                    _remove(path)

    def _folders(self, name: re.Pattern[str]) -> list[Path]:
        try:
            return [path for path in self.folder.iterdir() if name.fullmatch(path.name)]
        except OSError:
            return []


@contextmanager
def aside() -> Iterator[Path | None]:
    """Make a folder for files that nothing keeps, removed at the end; None where it cannot be made."""
    try:
        folder: Path | None = Path(tempfile.mkdtemp(prefix="onnxplain-"))
    except OSError:
        folder = None
    with _removed(folder):
        yield folder


@contextmanager
def _removed(folder: Path | None) -> Iterator[None]:
    try:
        yield
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def open_cache(cache: bool | str | os.PathLike[str] = True) -> ModelCache | None:
    """Return the cache in a folder; with True in the one that the environment names, or the usual one; with False none.

    Raises:
        InputError: neither a bool nor a path.
    """
    if isinstance(cache, (str, os.PathLike)):
        return ModelCache(Path(cache))
    if not isinstance(cache, bool):
        raise InputError(f"cache is True, False or a folder; found {cache!r}.")
    stated = os.environ.get(_VARIABLE, "").strip()
    if not cache or stated.lower() in _OFF:
        return None
    return ModelCache(Path(stated) if stated else _usual_folder())


def clear_cache() -> int:
    """Remove every model that was prepared and kept on disk; returns how many bytes that were."""
    cache = open_cache()
    return 0 if cache is None else cache.clear()


def _usual_folder() -> Path:
    """Where the platform keeps what can be made again."""
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "onnxplain" / "Cache"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "onnxplain"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "onnxplain"


def _checksum(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            value = zlib.crc32(chunk, value)
    return value


def _size(folder: Path) -> int:
    try:
        return sum(entry.stat().st_size for entry in os.scandir(folder))
    except OSError:
        return 0


def _last_use(folder: Path) -> float:
    for path in (folder / _CHECKSUMS, folder):
        with suppress(OSError):
            return path.stat().st_mtime
    return 0.0


def _remove(folder: Path) -> None:
    """Remove a folder; other processes see it whole or not at all."""
    aside = folder.with_name(f".{secrets.token_hex(8)}.part")
    with suppress(OSError):
        folder.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)
