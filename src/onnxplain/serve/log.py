"""Explanations that were given, as lines of JSON: what a person needs who must account for a decision later.

A line is written, whole, before its answer is sent: once a caller has an answer that was chosen for the log, the line
has reached the operating system, and outlives the death of this process.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import random
import threading
import zlib
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from .. import __version__
from ..files import make_folder
from .metrics import LOGGED
from .models import Loaded
from .work import Answer, Entry, Order

_LOG = logging.getLogger("onnxplain.serve")

#: Bytes after which a new file is begun.
_MOST = 256_000_000


class ExplanationLog:
    """Writes a share of all answers into a folder, one file a day and process; safe to use from several threads."""

    def __init__(self, folder: Path, share: float, *, photos: bool) -> None:
        """Make the folder.

        Raises:
            OutputError: that is impossible, or it cannot be written to.
        """
        self._folder, self._share, self._photos = make_folder(folder), share, photos
        self._random, self._lock, self._part = random.Random(), threading.Lock(), 0
        self._versions = {"onnxplain": __version__, "onnx": version("onnx"), "onnxruntime": _runtime_version()}

    def chosen(self) -> bool:
        """Whether the next request belongs to the share."""
        return self._random.random() < self._share

    def write(self, request: str, loaded: Loaded, order: Order, answers: list[list[Answer]]) -> None:
        """Append one line for each answer; where that fails, the server's log says so and the answer is given."""
        lines = [
            orjson.dumps(self._line(request, loaded, order, entry, number, one), option=orjson.OPT_APPEND_NEWLINE)
            for number, (entry, several) in enumerate(zip(order.entries, answers))
            for one in several
        ]
        try:
            with self._lock:
                self._append(b"".join(lines))
        except OSError as error:
            LOGGED.labels("failed").inc(len(lines))
            _LOG.error("%d explanations were not logged: %s", len(lines), error.strerror or error)
        else:
            LOGGED.labels("done").inc(len(lines))

    def _append(self, content: bytes) -> None:
        """Append to the file of today: all of it, or nothing."""
        day = datetime.now(timezone.utc).strftime("%Y-%m-%d")
        path = self._folder / f"explanations-{day}-{os.getpid()}-{self._part}.jsonl"
        with path.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                written = file.write(content)
                if written != len(content):
                    raise OSError(f"{written} of {len(content)} bytes were written")
            except OSError:
                file.truncate(before)
                raise
            if before + len(content) > _MOST:
                self._part += 1

    def _line(
        self, request: str, loaded: Loaded, order: Order, entry: Entry, number: int, answer: Answer
    ) -> dict[str, Any]:
        facts = answer.found.facts
        line = {
            "time": datetime.now(timezone.utc).isoformat(),
            "request": request,
            "sample": number,
            "model": loaded.name,
            "model_sha256": loaded.digest,
            "input_sha256": _digest(entry),
            "asked": entry.target,
            "method": order.method,
            "options": dict(order.options),
            "versions": self._versions,
            "provider": facts["provider"],
            **{name: facts[name] for name in ("target", "label", "score", "probability", "versus", "step")},
            "maps": {name: packed(array) for name, array in answer.found.maps.items()},
        }
        if self._photos and entry.photo is not None:
            line["photo"] = base64.b64encode(entry.photo).decode()
        return line


def packed(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    """An array as values for JSON: float16, compressed by zlib, in base64."""
    content = zlib.compress(np.ascontiguousarray(array, np.float16).tobytes(), 1)
    return {"shape": list(array.shape), "dtype": "float16", "zlib": base64.b64encode(content).decode()}


def unpacked(packed: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """Return the array that :func:`packed` made values of."""
    content = zlib.decompress(base64.b64decode(packed["zlib"]))
    array: np.ndarray[Any, Any] = np.frombuffer(content, packed["dtype"]).reshape(packed["shape"])
    return array


def _digest(entry: Entry) -> str:
    """SHA-256 of the photo's file, or of the arrays with their names, types and shapes."""
    if entry.photo is not None:
        return hashlib.sha256(entry.photo).hexdigest()
    digest = hashlib.sha256()
    for name, array in sorted((entry.inputs or {}).items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _runtime_version() -> str:
    from ..runtime.providers import import_runtime

    found: str = import_runtime().__version__
    return found
