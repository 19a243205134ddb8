"""A log that is only appended to: files of JSON lines, of which those that are full may become shards of Parquet.

Lines reach the operating system before their writer goes on. A file that becomes a shard is removed once the shard is
whole, under its name; what a process that was killed left behind becomes a shard when the next one starts. So all lines
are in a shard or in a file of lines, whatever ends the process.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import BinaryIO

from ..errors import OnnxplainError
from ..files import LOCKS, locked
from ..parquet import import_parquet
from .log_shards import WHAT, write_shard

_LOG = logging.getLogger("onnxplain.serve")

#: In the names of this process's files: a container gives every process the same number.
_OWN = f"{os.getpid()}-{secrets.token_hex(4)}"


class Journal:
    """The files of one process in a folder; a day, or ``most`` bytes, fill one. Safe to use from several threads."""

    def __init__(self, folder: Path, *, parquet: bool = False, most: int | None = None) -> None:
        """Begin; with ``parquet`` what other processes left becomes shards in a thread.

        Raises:
            RuntimeMissingError: ``parquet`` without pyarrow.
        """
        self._folder, self._most = folder, most or (64_000_000 if parquet else 256_000_000)
        self._part, self._lock = 0, threading.Lock()
        self._file: BinaryIO | None = None
        self._day = ""
        self._sealer: ThreadPoolExecutor | None = None
        if parquet:
            import_parquet(WHAT)
            self._sealer = ThreadPoolExecutor(1, "onnxplain-log")
            for path in sorted(folder.glob("explanations-*.jsonl")):
                self._sealer.submit(_sealed, path)

    def append(self, content: bytes) -> None:
        """Append lines: all of them, or none.

        Raises:
            OSError: that is impossible.
        """
        with self._lock:
            file = self._open()
            before = file.tell()
            try:
                written = file.write(content)
                if written != len(content):
                    raise OSError(f"{written} of {len(content)} bytes were written.")
            except OSError:
                file.truncate(before)
                file.seek(before)
                raise
            if before + len(content) >= self._most:
                self._end()

    def close(self) -> None:
        """End; what was written becomes a shard before this returns."""
        with self._lock:
            self._end()
            sealer, self._sealer = self._sealer, None
        if sealer is not None:
            sealer.shutdown()

    def _open(self) -> BinaryIO:
        """The file of today; this process holds its lock as long as it is open."""
        day = datetime.now(timezone.utc).strftime("%Y-%m-%d")
        if self._file is not None and self._day != day:
            self._end()
        while self._file is None:
            path = self._folder / f"explanations-{day}-{_OWN}-{self._part}.jsonl"
            file = path.open("ab", buffering=0)
            if _locked(file, path):
                self._file, self._day = file, day
            else:  # another process, which starts, took it for one that was left behind
                file.close()
                self._part += 1
        return self._file

    def _end(self) -> None:
        if self._file is None:
            return
        path = Path(self._file.name)
        self._file.close()
        self._file, self._part = None, self._part + 1
        if self._sealer is not None:
            self._sealer.submit(_sealed, path)


def _sealed(path: Path) -> None:
    """Make a shard of a file of lines that no process writes to; where that fails, the log says so and it stays."""
    try:
        seal(path)
    except (OSError, OnnxplainError, ValueError, KeyError) as error:
        _LOG.error("%s stays as JSON lines: %s", path.name, error)


def seal(path: Path) -> None:
    """Make a shard of a file of lines, and remove it; leave it where another process writes to it.

    Raises:
        OSError, OutputError: the file cannot be read, or the shard not be written.
        ValueError, KeyError: the lines are none of a log.
    """
    with suppress(FileNotFoundError), path.open("rb") as file:
        if not LOCKS and _OWN not in path.name:  # what other processes left stays JSON lines
            return
        if not _locked(file, path):
            return
        shard = path.with_suffix(".parquet")
        if path.stat().st_size and not shard.exists():
            write_shard(shard, _whole(file))
        path.unlink()


def _whole(file: BinaryIO) -> Iterator[bytes]:
    """The lines that were written to their end: one that was cut off by a kill belongs to no answer."""
    return (line for line in file if line.endswith(b"\n"))


def _locked(file: BinaryIO, path: Path) -> bool:
    """Whether this process has the lock of a file that is still there; it ends with the file's closing."""
    return (locked(file.fileno()) or not LOCKS) and path.exists()
