"""Explanations that were given, as lines of JSON: what a person needs who must account for a decision later.

A line is written, whole, before its answer is sent: once a caller has an answer that was chosen for the log, the line
has reached the operating system, and outlives the death of this process. Files of lines may become shards of Parquet.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import random
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from ..files import make_folder
from .journal import Journal
from .log_shards import packed
from .metrics import LOGGED
from .models import Loaded
from .work import Answer, Entry, Order

_LOG = logging.getLogger("onnxplain.serve")


class ExplanationLog:
    """Writes a share of all answers into a folder; safe to use from several threads."""

    def __init__(self, folder: Path, share: float, *, photos: bool, parquet: bool) -> None:
        """Make the folder.

        Raises:
            OutputError: that is impossible, or it cannot be written to.
            RuntimeMissingError: ``parquet`` without pyarrow.
        """
        self._journal, self._share, self._photos = Journal(make_folder(folder), parquet=parquet), share, photos
        self._random = random.Random()

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
            self._journal.append(b"".join(lines))
        except OSError as error:
            LOGGED.labels("failed").inc(len(lines))
            _LOG.error("%d explanations were not logged: %s", len(lines), error.strerror or error)
        else:
            LOGGED.labels("done").inc(len(lines))

    def close(self) -> None:
        """End: what was written becomes a shard, where shards are wanted."""
        self._journal.close()

    def _line(
        self, request: str, loaded: Loaded, order: Order, entry: Entry, number: int, answer: Answer
    ) -> dict[str, Any]:
        facts, box = answer.found.facts, answer.found.place.get("box")
        line = {
            "time": datetime.now(timezone.utc).isoformat(),
            "request": request,
            "sample": number,
            "model": loaded.name,
            "model_sha256": loaded.digest,
            "input_sha256": _digest(entry),
            "asked": entry.target if self._photos else _without_files(entry.target),
            "method": order.method,
            "options": dict(order.options),
            "versions": loaded.worker.explainer.versions,
            "provider": facts["provider"],
            **{name: facts[name] for name in ("target", "label", "score", "probability", "versus", "step")},
            "box": None if box is None else [box.x0, box.y0, box.x1, box.y1],
            "preprocessing": _preprocessing(loaded) if entry.photo is not None else None,
            "maps": {name: packed(array) for name, array in answer.found.maps.items()},
        }
        if self._photos and entry.photo is not None:
            line["photo"] = base64.b64encode(entry.photo).decode()
        return line


def _digest(entry: Entry) -> str:
    """SHA-256 of the photo's file, or of the arrays with their names, types and shapes."""
    if entry.photo is not None:
        return hashlib.sha256(entry.photo).hexdigest()
    digest = hashlib.sha256()
    for name, array in sorted((entry.inputs or {}).items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _without_files(asked: object) -> object:
    """A target with the SHA-256 of files in it, masks and photos, in their place."""
    if isinstance(asked, Mapping):
        if list(asked) == ["b64"]:
            return {"sha256": hashlib.sha256(base64.b64decode(asked["b64"])).hexdigest()}
        return {name: _without_files(value) for name, value in asked.items()}
    return [_without_files(one) for one in asked] if isinstance(asked, list) else asked


def _preprocessing(loaded: Loaded) -> object:
    found: object = orjson.loads(loaded.worker.explainer.preprocessing.preprocessing.to_json())
    return found
