"""Prepared models on disk, used again by later processes.

An entry is a folder, named by the hash of all that its files depend on. It is written aside and then renamed, so
that every process sees it whole or not at all; whoever finds one gone or damaged makes it anew. When the entries
are larger together than the limit, those that were not used for the longest time are removed. What others may have
written is not used (see :mod:`.trust`): a model from the cache runs without a further look.

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
import warnings
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ..errors import CacheWarning, InputError
from ..files import unfinished, unfinished_folder
from .session import frames_of_the_package
from .trust import foreign_file, foreign_folder

#: Bytes of all entries together: some ten networks of the size of ResNet-50.
LIMIT = 2 << 30
_VARIABLE = "ONNXPLAIN_CACHE"
_OFF = ("0", "off", "false", "no")
_CHECKSUMS = "checksums.json"
_ENTRY = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1 << 20
#: Folders and entries that a warning was about.
_WARNED: set[Path] = set()


class ModelCache:
    """The entries in ``folder``. Files that cannot be written or removed are no error: the entry is just not there."""

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        self.folder, self.limit = folder, limit
        self._trusted: bool | None = None

    @property
    def trusted(self) -> bool:
        """Whether nobody but this user and root may write into the folder.

        Warns:
            CacheWarning: others may; once for each folder.
        """
        if self._trusted is None:
            reason = foreign_folder(self.folder)
            self._trusted = reason is None
            if reason is not None:
                _warn(self.folder, f"the cache {self.folder} is not used: {reason}. Name another folder in {_VARIABLE}")
        return self._trusted

    def find(self, key: str) -> Path | None:
        """Return the folder of an entry whose files are as they were written, now the one used last; else None.

        Warns:
            CacheWarning: the folder, or the entry, is not used, because others may have written it.
        """
        if not self.trusted:
            return None
        entry = self.folder / key
        try:
            reason = _foreign_entry(entry)
            if reason is not None:
                _warn(entry, f"a model in the cache is not used but made anew: {reason}")
            stated = json.loads((entry / _CHECKSUMS).read_text(encoding="ascii"))
            sound = reason is None and stated == {name: _checksum(entry / name) for name in stated}
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
        with ExitStack() as made:
            folder: Path | None = None
            with suppress(OSError):
                if self.trusted:
                    _make(self.folder)
                    self._trusted = None  # what was made meanwhile may be another's
                if self.trusted:
                    folder = made.enter_context(unfinished_folder(self.folder))
            yield folder

    def keep(self, key: str, folder: Path) -> Path | None:
        """Make the files in ``folder``, which :meth:`aside` gave, the entry ``key``; older entries may have to go.

        Returns its folder, or None where it was not kept.
        """
        with suppress(OSError):
            stated = {path.name: _checksum(path) for path in folder.iterdir()}
            (folder / _CHECKSUMS).write_text(json.dumps(stated), encoding="ascii")
            if _size(folder) > self.limit:
                return None
            for path in folder.iterdir():
                path.chmod(0o600)
            self.drop(key)
            folder.rename(self.folder / key)
            self._shrink(key)
            return self.folder / key
        return None

    def drop(self, key: str) -> None:
        """Remove an entry."""
        _remove(self.folder / key)

    def clear(self) -> int:
        """Remove all entries, and what was left aside; returns how many bytes that were."""
        before = self.size()
        for path in self._entries():
            _remove(path)
        with suppress(OSError):
            for path in unfinished(self.folder) if self.trusted else []:
                _remove(path)
        return before - self.size()

    def size(self) -> int:
        """Bytes of all entries."""
        return sum(_size(path) for path in self._entries())

    def count(self) -> int:
        """Return how many entries there are."""
        return len(self._entries())

    def _shrink(self, newest: str) -> None:
        """Remove the entries used least recently until the others fit the limit."""
        entries = sorted(self._entries(), key=_last_use, reverse=True)
        total = _size(self.folder / newest)
        for path in entries:
            if path.name != newest:
                total += _size(path)
                if total > self.limit:
                    _remove(path)

    def _entries(self) -> list[Path]:
        try:
            return [path for path in self.folder.iterdir() if _ENTRY.fullmatch(path.name)] if self.trusted else []
        except OSError:
            return []


@contextmanager
def aside() -> Iterator[Path | None]:
    """Make a folder for files that nothing keeps, removed at the end; None where it cannot be made."""
    with ExitStack() as made:
        folder: Path | None = None
        with suppress(OSError):
            temporary = tempfile.TemporaryDirectory(prefix="onnxplain-", ignore_cleanup_errors=True)
            folder = Path(made.enter_context(temporary))
        yield folder


def open_cache(cache: bool | str | os.PathLike[str] = True) -> ModelCache | None:
    """Return the cache in a folder; with True in the one that the environment names, or the usual one; with False none.

    Raises:
        InputError: neither a bool nor a path.
    """
    if isinstance(cache, (str, os.PathLike)) and "\0" not in os.fspath(cache):
        return ModelCache(Path(cache))
    if not isinstance(cache, bool):
        raise InputError(f"cache is True, False or a folder; found {cache!r}.")
    stated = os.environ.get(_VARIABLE, "").strip()
    if not cache or stated.lower() in _OFF:
        return None
    folder = Path(stated) if stated else _usual_folder()
    return None if folder is None else ModelCache(folder)


def clear_cache() -> int:
    """Remove every model that was prepared and kept on disk; returns how many bytes that were."""
    cache = open_cache()
    return 0 if cache is None else cache.clear()


def _usual_folder() -> Path | None:
    """Where the platform keeps what can be made again; None where there is no such place.

    A container may run with a user id that has neither a name nor a home: it has a folder among temporary files.
    """
    stated = Path(os.environ.get("XDG_CACHE_HOME") or "")
    if stated.is_absolute():  # others are to be ignored, the XDG specification says
        return stated / "onnxplain"
    local = os.environ.get("LOCALAPPDATA")
    if sys.platform == "win32" and local:
        return Path(local) / "onnxplain" / "Cache"
    try:
        home = Path.home()
    except RuntimeError:
        import tempfile

        with suppress(OSError):
            return Path(tempfile.gettempdir()) / f"onnxplain-{os.getuid()}"
        return None
    if sys.platform == "win32":
        return home / "AppData" / "Local" / "onnxplain" / "Cache"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "onnxplain"
    return home / ".cache" / "onnxplain"


def _make(folder: Path) -> None:
    """Make a folder, and those above it, for this user alone.

    Raises:
        OSError: that is impossible.
    """
    if not folder.exists():
        _make(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _foreign_entry(entry: Path) -> str | None:
    """Return why others may have written an entry; None: nobody can.

    Raises:
        OSError: it cannot be looked at.
    """
    if entry.is_symlink():
        return f"{entry} is a symbolic link"
    reason = foreign_folder(entry)
    return reason or next(filter(None, map(foreign_file, entry.iterdir())), None)


def _warn(place: Path, message: str) -> None:
    if place not in _WARNED:
        _WARNED.add(place)
        warnings.warn(f"{message}.", CacheWarning, frames_of_the_package())


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
    """Remove a folder, or the link in its place; other processes see it whole or not at all."""
    aside = folder.with_name(f".{secrets.token_hex(8)}.part")
    with suppress(OSError):
        folder.rename(aside)
        if aside.is_symlink() or aside.is_file():
            aside.unlink()
        shutil.rmtree(aside, ignore_errors=True)
