"""A run: what is there already, the shards that are missing, and an engine that writes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..bundled import bundled_model
from ..methods import Method
from ..parquet import import_parquet
from .job import (
    Job,
    Shard,
    check_same,
    facts_of,
    planned,
    prepare_folder,
    standing,
    write_facts,
)
from .meter import Meter
from .shards import WHAT, MapType, Row
from .sources import Source
from .worker import BulkExplainer, Worker, Written, map_shape


class Engine(Protocol):
    """What has shards written, in this process or in others."""

    def __call__(self, job: Job, shards: Sequence[Shard], explainer: BulkExplainer, meter: Meter) -> Iterator[Written]:
        """Yield each shard when it is written, and tell ``meter`` of what is done."""


def in_this_process(job: Job, shards: Sequence[Shard], explainer: BulkExplainer, meter: Meter) -> Iterator[Written]:
    """Write shards here: photos are read, run, reduced and written side by side."""

    def told(row: Row) -> None:
        failed = row.error is not None
        meter.add(1 if row.rank == 1 else 0, [row.error] if row.error is not None else [], int(failed))

    yield from Worker(job, explainer).write(shards, told)


@dataclass(frozen=True)
class Done:
    """What a run came to: of all shards of the folder, those that were there before among them."""

    folder: Path
    photos: int
    rows: int
    errors: int
    shards: int
    skipped: int
    photos_a_second: float


@dataclass(frozen=True)
class Wanted:
    """What is asked of every photo of a source, and how its maps are kept."""

    model: Path | None
    options: dict[str, Any]
    method: Method
    target: Any
    kind: MapType = "float16"
    shard_size: int = 1000


def run(
    wanted: Wanted,
    source: Source,
    folder: Path,
    explainer: BulkExplainer,
    *,
    engine: Engine = in_this_process,
    resume: bool = False,
    max_errors: int | None = None,
    quiet: bool = False,
) -> Done:
    """Explain the photos of ``source`` and write them into ``folder``.

    Raises:
        OutputError: the folder holds another run, or something cannot be written.
        InputError: ``resume`` with another model, method, target, preprocessing or source; more errors than
            ``max_errors``; or maps that have no common shape.
        RuntimeMissingError: pyarrow is not installed.
        OnnxplainError: nothing can be explained.
    """
    import_parquet(WHAT)
    before = prepare_folder(folder, resume)
    job = _job(wanted, source, folder, explainer)
    if before is not None:
        check_same(folder, before, job.facts)
    write_facts(job)
    shards = planned(source.items, wanted.shard_size)
    there = standing(job, shards)
    missing = [shard for shard in shards if shard.number not in there.shards]
    total = len(source.items)
    meter = Meter(total, done=there.photos, errors=there.errors, max_errors=max_errors, quiet=quiet)
    rows = there.rows
    with meter.shown():
        for written in engine(job, missing, explainer, meter) if missing else ():
            rows += written.rows
    return Done(folder, total, rows, meter.errors, len(shards), len(there.shards), meter.rate)


def _job(wanted: Wanted, source: Source, folder: Path, explainer: BulkExplainer) -> Job:
    shape = map_shape(explainer, wanted.method, wanted.target, source.items, source.root)
    model = bundled_model() if wanted.model is None else wanted.model
    facts = facts_of(
        model=model,
        options=wanted.options,
        labels=explainer.labels,
        preprocessing=explainer.preprocessing.preprocessing.to_dict(),
        method=wanted.method,
        target=wanted.target,
        shape=shape,
        kind=wanted.kind,
        shard_size=wanted.shard_size,
        root=source.root,
        photos=len(source.items),
        source=source.digest(),
    )
    stated = {"preprocessing": explainer.preprocessing.preprocessing, "labels": explainer.labels}  # no paths from here
    return Job(
        None if wanted.model is None else wanted.model.resolve(),
        {**wanted.options, **stated},
        wanted.method,
        wanted.target,
        source.root,
        folder.resolve(),
        shape,
        wanted.kind,
        facts,
    )
