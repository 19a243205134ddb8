"""Output files that appear whole or not at all, whatever ends the process.

Everything is written under a name of its own, ``.<16 digits>.part``, beside the place where it belongs, and then
renamed. Its writer holds a lock on it, which ends with the process: what is found without one was left by a process
that was killed, and the next that writes into the folder removes it.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import OutputError

try:
    import fcntl
except ImportError:  # Windows, where an open file cannot be removed
    fcntl = None  # type: ignore[assignment]

#: Whether files can be locked here.
LOCKS = fcntl is not None
#: Largest picture that is decoded unless a caller says otherwise: Pillow's own limit.
MAX_PIXELS = 89_478_485

_UNFINISHED = re.compile(r"\.[0-9a-f]{16}\.part")
#: Seconds after which something unfinished was left behind, where there are no locks.
_ABANDONED = 3600.0
#: Folders that this process has looked through.
_SWEPT: set[str] = set()


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
    try:
        with unfinished_file(place.parent) as temporary:
            with temporary.open("wb") as file:
                file.writelines(chunks)
            os.replace(temporary, place)
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


@contextmanager
def unfinished_file(folder: Path) -> Iterator[Path]:
    """Make an empty file in ``folder``, to be written and moved; removed at the end where it was not.

    Raises:
        OSError: it cannot be made.
    """
    _sweep(folder)
    made = _Unfinished(folder)
    try:
        yield made.make(lambda path: os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)))
    finally:
        made.clear()


@contextmanager
def unfinished_folder(folder: Path) -> Iterator[Path]:
    """Make a folder in ``folder`` that only this user may enter; removed at the end where it was not moved.

    Raises:
        OSError: it cannot be made.
    """
    _sweep(folder)
    made = _Unfinished(folder)
    try:
        yield made.make(lambda path: path.mkdir(mode=0o700))
    finally:
        made.clear()


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Wait for other processes that are in here for the same folder, where the disk has locks."""
    lock = _lock(folder, wait=True)
    try:
        yield
    finally:
        _close(lock)


def unfinished(folder: Path) -> list[Path]:
    """Return what is being written into ``folder``, or was left there.

    Raises:
        OSError: it cannot be listed.
    """
    return [path for path in folder.iterdir() if _UNFINISHED.fullmatch(path.name)]


def _sweep(folder: Path) -> None:
    """Remove what killed processes left in ``folder``; once in a process."""
    name = os.path.abspath(folder)
    if name in _SWEPT:
        return
    _SWEPT.add(name)
    with suppress(OSError):
        for path in unfinished(folder):
            _remove_abandoned(path)


def _remove_abandoned(path: Path) -> None:
    """Remove something unfinished, unless a process still writes it."""
    with suppress(OSError):
        if path.is_symlink():  # not ours
            return
        lock = _lock(path)
        old = time.time() - path.stat().st_mtime > _ABANDONED
        if lock is not None or (not LOCKS and old):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
        _close(lock)


class _Unfinished:
    """A name of its own in a folder, and the lock on what is made there: known before either is, to be cleared away."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = self._name()
        self.lock: int | None = None

    def make(self, make: Callable[[Path], object]) -> Path:
        """Make it, and lock it; again if another process took it for abandoned in between.

        Raises:
            OSError: it cannot be made.
        """
        while True:
            make(self.path)
            self.lock = _lock(self.path)
            with suppress(FileNotFoundError):
                if self.lock is None or os.path.samestat(os.fstat(self.lock), self.path.stat()):
                    return self.path
            _close(self.lock)
            self.path, self.lock = self._name(), None

    def clear(self) -> None:
        """Remove what was not moved, also where Ctrl-C comes in between."""
        try:
            self._remove()
        except BaseException:
            self._remove()
            raise
        finally:
            _close(self.lock)

    def _remove(self) -> None:
        if self.path.is_dir():
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            self.path.unlink(missing_ok=True)

    def _name(self) -> Path:
        return self._folder / f".{secrets.token_hex(8)}.part"


def locked(descriptor: int, *, wait: bool = False) -> bool:
    """Return whether this process has the lock of an open file or folder now, until that is closed."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _lock(path: Path, *, wait: bool = False) -> int | None:
    """Return a descriptor that holds the lock of a file or folder; None where another has it, or there are none."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    if locked(descriptor, wait=wait):
        return descriptor
    os.close(descriptor)
    return None


def _close(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)
