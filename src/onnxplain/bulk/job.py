"""What is to be done: a job, its shards, and which of them a folder holds already."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .._version import __version__
from ..autodiff.graph.io import outside_files, read_model
from ..errors import InputError, OutputError
from ..files import make_folder, write_bytes
from ..methods import Method
from ..results.record import options_of, plain
from ..runtime.fingerprint import file_digest
from ..target import Target
from .items import Item
from .shards import MapType, read_end

#: The file of a run's facts, in the folder of its shards.
RUN_FILE = "run.json"
_VERSION = 1
#: Facts that may differ when a run is continued.
_FREE = ("onnxplain", "model", "root")


@dataclass(frozen=True)
class Shard:
    """Photos that become one file: ``items`` of the source from number ``start`` on."""

    number: int
    start: int
    items: Sequence[Item]

    @property
    def name(self) -> str:
        """The name of its file."""
        return f"maps-{self.number:05}.parquet"


@dataclass(frozen=True)
class Job:
    """All that a process needs in order to write shards; plain values, so that it travels to other machines.

    - ``model``: the path of the model, None for the bundled one; ``options``: the other arguments of its Explainer.
    - ``method``, ``target``: what is asked of every photo; a photo's own target counts before ``target``.
    - ``root``: the folder that the items' paths are counted from; ``folder``: that of the shards.
    - ``shape``: (h, w) of every map; ``kind``: the type of its numbers.
    - ``facts``: what all rows share, for the metadata of the shards.
    """

    model: Path | None
    options: Mapping[str, Any]
    method: Method
    target: Target | int | str | None
    root: Path
    folder: Path
    shape: tuple[int, int]
    kind: MapType
    facts: Mapping[str, Any]

    @cached_property
    def described(self) -> str:
        """:attr:`facts` as they are kept beside the shards."""
        return json.dumps(self.facts, indent=2, ensure_ascii=False) + "\n"


def model_digest(path: Path) -> str:
    """SHA-256 of a model, with the files that hold its weights.

    Raises:
        ModelError: it cannot be read.
    """
    outside = outside_files(read_model(path))
    digests = [file_digest(one) for one in (path, *outside)]
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def facts_of(
    *,
    model: Path,
    options: Mapping[str, Any],
    labels: Sequence[str] | None,
    preprocessing: Mapping[str, Any],
    method: Method,
    target: Target | int | str | None,
    shape: tuple[int, int],
    kind: MapType,
    shard_size: int,
    root: Path,
    photos: int,
    source: str,
) -> dict[str, Any]:
    """Return the facts of a run: what its maps are of, and how they were made."""
    kept = ("tensor", "score", "layout", "class_axis", "channel_axis", "precision")
    return {
        "version": _VERSION,
        "onnxplain": __version__,
        "model": model.name,
        "model_sha256": model_digest(model),
        "model_options": plain({name: options.get(name) for name in kept}),
        "labels_sha256": None if labels is None else hashlib.sha256("\n".join(labels).encode()).hexdigest(),
        "preprocessing": plain(preprocessing),
        "method": method.name,
        "method_options": options_of(method),
        "target": plain(target),
        "map": {"height": shape[0], "width": shape[1], "type": kind},
        "shard_size": shard_size,
        "photos": photos,
        "source_sha256": source,
        "root": str(root),
    }


def planned(items: Sequence[Item], size: int) -> list[Shard]:
    """Return the shards of a source: always the same ones for the same items."""
    starts = range(0, len(items), size)
    return [Shard(number, start, items[start : start + size]) for number, start in enumerate(starts)]


def prepare_folder(folder: Path, resume: bool) -> dict[str, Any] | None:
    """Make the folder of a run; the facts of the run that it holds already, None if it holds none.

    Raises:
        OutputError: it cannot be made, or holds a run (or Parquet files) that is not to be continued.
    """
    make_folder(folder)
    file = folder / RUN_FILE
    if not file.exists():
        if any(folder.glob("*.parquet")):
            raise OutputError(f"{folder} holds Parquet files and no {RUN_FILE}; name another folder.")
        return None
    if not resume:
        raise OutputError(f"{folder} holds a run already; continue it with --resume, or name another folder.")
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise OutputError(f"{file} cannot be read: {error}. Name another folder.") from None
    if not isinstance(found, dict):
        raise OutputError(f"{file} is no JSON object. Name another folder.")
    return found


def check_same(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to continue a run with other facts.

    Raises:
        InputError: with the facts that differ.
    """
    names = [name for name in {**before, **now} if name not in _FREE and before.get(name) != now.get(name)]
    if names:
        listed = "; ".join(f"{name} is {_short(now.get(name))} and was {_short(before.get(name))}" for name in names)
        raise InputError(f"--resume: {folder} holds another run: {listed}. Repeat its options, or name another folder.")


def write_facts(job: Job) -> None:
    """Write the facts of a run beside its shards.

    Raises:
        OutputError: that is impossible.
    """
    write_bytes(job.folder / RUN_FILE, job.described.encode())


@dataclass(frozen=True)
class Standing:
    """What a folder holds of a run: the numbers of its whole shards, and of their photos, rows and errors."""

    shards: frozenset[int] = frozenset()
    photos: int = 0
    rows: int = 0
    errors: int = 0


def standing(job: Job, shards: Sequence[Shard]) -> Standing:
    """Return which shards are there; files that are damaged, or of another run, count as missing and are replaced."""
    found: set[int] = set()
    photos = rows = errors = 0
    for shard in shards:
        end = read_end(job.folder / shard.name) if (job.folder / shard.name).is_file() else None
        if end is not None and {**end.facts, **_free(job)} == dict(job.facts):
            found.add(shard.number)
            photos, rows, errors = photos + len(shard.items), rows + end.rows, errors + end.errors
    return Standing(frozenset(found), photos, rows, errors)


def _free(job: Job) -> dict[str, Any]:
    return {name: job.facts[name] for name in _FREE}


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
