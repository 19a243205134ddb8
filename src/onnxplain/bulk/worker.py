"""What explains the photos of shards and writes them. It knows nothing of the engine that calls it."""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, OnnxplainError, TargetError
from ..explainer import Explainer, Explanation
from ..files import write_chunks
from ..methods import Method
from ..model.question import Asked, targets_of
from ..photos import load_image
from ..pipeline.photos import PhotoExplainer
from ..pipeline.stream import Photo
from ..runtime import side_by_side
from ..target import Target
from .items import Item, read_item
from .job import Job, Shard
from .shards import MapType, Row, encoded, schema

#: Called with each row as it is written.
Told = Callable[[Row], None]


@dataclass(frozen=True)
class Written:
    """A shard that is written: its number, those of its photos, rows and errors, and some of the latter."""

    number: int
    photos: int
    rows: int
    errors: int
    failures: tuple[str, ...]


class BulkExplainer(Explainer):
    """An Explainer of groups of photos, each with an outcome of its own."""

    @property
    def workers(self) -> int:
        """Threads that should explain groups side by side."""
        return self._attributor.session.workers

    @property
    def share(self) -> int:
        """Photos of a group.

        Raises:
            InputError: samples influence each other, so that maps would depend on how photos are grouped.
        """
        if self._attributor.session.share == sys.maxsize:
            raise InputError("the samples of a batch influence each other in this model; bulk needs them apart.")
        return self._attributor.session.share

    def asked(self, target: Target | int | str | None) -> Asked:
        """Return what is asked of every photo.

        Raises:
            TargetError: ``target`` is out of range, an unknown label, or no target.
        """
        asked = targets_of(target, 1, self._attributor.signature.places)
        for one in asked.targets:
            if one.output is None and one.column is None:
                self._attributor.classes.index(one.of)
        return asked

    def outcomes(self, photos: Sequence[Photo], asked: Asked, method: Method) -> list[Any]:
        """Return an explanation for each photo (a list of them for "top3"), or the error in its place.

        Raises:
            ProviderError: ONNX Runtime failed.
        """
        explained = PhotoExplainer(self._attributor, self.preprocessing.preprocessing, method, asked)
        try:
            return [outcome for _, outcome in explained([*enumerate(photos)])]
        except TargetError as error:
            if len(photos) == 1:
                return [error]
        return [
            outcome
            for number, photo in enumerate(photos)
            for outcome in self.outcomes([photo], Asked([asked.of([number])[0][0]], asked.top), method)
        ]


class Worker:
    """Writes shards of a job."""

    def __init__(self, job: Job, explainer: BulkExplainer | None = None) -> None:
        """Load the model, unless ``explainer`` has it.

        Raises:
            OnnxplainError: as for :class:`~onnxplain.Explainer`.
        """
        self.job = job
        self.explainer = explainer or BulkExplainer(job.model, **job.options)
        self._asked = self.explainer.asked(job.target)

    def write(self, shards: Iterable[Shard], told: Told = lambda row: None) -> Iterator[Written]:
        """Write shards one after the other, and say so of each; the next photos are explained meanwhile.

        Raises:
            OutputError: one cannot be written; nothing of it is left.
            ProviderError: ONNX Runtime failed.
        """
        waiting, share = list(shards), self.explainer.share
        groups = (group for shard in waiting for group in _groups(shard, share))
        columns = schema(self.job.shape, self.job.kind, self.job.facts)
        digest = str(self.job.facts["model_sha256"])
        with closing(side_by_side(self._explained, groups, self.explainer.workers)) as found:
            for shard in waiting:
                count = -(-len(shard.items) // share)
                tally = _Tally(chain.from_iterable(islice(found, count)), told)
                write_chunks(self.job.folder / shard.name, encoded(tally, columns, digest))
                yield Written(shard.number, len(shard.items), tally.rows, tally.errors, tuple(tally.failures))

    def _explained(self, group: Sequence[tuple[int, Item]]) -> list[Row]:
        """Return the rows of photos, in order."""
        rows: dict[int, list[Row]] = {}
        photos: list[Photo] = []
        targets: list[Target] = []
        known: dict[int, dict[str, Any]] = {}
        for index, item in group:
            known[index] = facts = self._facts(index, item)
            try:
                if item.target is not None:
                    targets.append(self._own_target(item))
                content = read_item(item, self.job.root)
                facts["photo_sha256"] = hashlib.sha256(content).hexdigest()
                photos.append(self._photo(index, item, content, facts))
            except OnnxplainError as error:
                rows[index] = [Row(**facts, error=str(error))]
                del targets[len(photos) :]
        asked = Asked(targets) if targets else self._asked
        outcomes = self.explainer.outcomes(photos, asked, self.job.method) if photos else []
        for photo, outcome in zip(photos, outcomes):
            listed = outcome if isinstance(outcome, list) else [outcome]
            rows[photo.index] = [self._row(known[photo.index], rank, one) for rank, one in enumerate(listed, 1)]
        return [row for index, _ in group for row in rows[index]]

    def _own_target(self, item: Item) -> Target:
        """Return the question about a photo whose source states its class.

        Raises:
            TargetError: the model has no such class.
        """
        question = self.job.target if isinstance(self.job.target, Target) else Target()
        asked = self.explainer.asked(replace(question, of=item.target))
        if asked.lists:
            raise TargetError(f"{item.id}: its target {item.target!r} stands for several classes; state one.")
        return asked.targets[0]

    def _facts(self, index: int, item: Item) -> dict[str, Any]:
        return {
            "index": index,
            "id": item.id,
            "path": item.path,
            "offset": item.offset,
            "size": item.size,
            "method": self.job.method.name,
        }

    def _photo(self, index: int, item: Item, content: bytes, facts: dict[str, Any]) -> Photo:
        file = io.BytesIO(content)
        file.name = item.id  # what errors call it
        image = load_image(file)
        facts["height"], facts["width"] = image.shape[:2]
        try:
            tensor, geometry = self.explainer.preprocessing.preprocessing.apply(image)
        except OnnxplainError as error:
            raise type(error)(f"{item.id}: {error}") from None
        return Photo(index, item.id, item.id, image, tensor, geometry)

    def _row(self, facts: dict[str, Any], rank: int, outcome: Explanation | OnnxplainError) -> Row:
        if isinstance(outcome, OnnxplainError):
            return Row(**facts, rank=rank, error=str(outcome))
        found = outcome.saliency_input
        if found.shape != self.job.shape:
            texts = [f"{one[0]}x{one[1]}" for one in (found.shape, self.job.shape)]
            return Row(**facts, rank=rank, error=f"{facts['id']}: its map is {texts[0]}, those of the run {texts[1]}.")
        box = outcome.box
        return Row(
            **facts,
            rank=rank,
            target=outcome.target,
            label=outcome.label,
            versus=outcome.versus,
            score=outcome.score,
            probability=outcome.probability,
            box=None if box is None else (box.x0, box.y0, box.x1, box.y1),
            map=stored(found, self.job.kind),
        )


class _Tally:
    """Rows on their way into a shard, counted."""

    def __init__(self, rows: Iterable[Row], told: Told) -> None:
        self._source, self._told = rows, told
        self.rows = self.errors = 0
        self.failures: list[str] = []

    def __iter__(self) -> Iterator[Row]:
        for row in self._source:
            self.rows += 1
            if row.error is not None:
                self.errors += 1
                if len(self.failures) < 10:
                    self.failures.append(row.error)
            self._told(row)
            yield row


def _groups(shard: Shard, size: int) -> Iterator[list[tuple[int, Item]]]:
    """Yield the photos of a shard with their numbers, ``size`` at a time: the same groups however a run is cut."""
    numbered = enumerate(shard.items, shard.start)
    while group := list(islice(numbered, size)):
        yield group


def stored(found: NDArray[np.float32], kind: MapType) -> NDArray[np.float16] | NDArray[np.uint8]:
    """Return a map, float32 0..1, as shards hold it: half precision, or whole numbers 0..255."""
    return found.astype(np.float16) if kind == "float16" else np.rint(found * 255).astype(np.uint8)


def map_shape(
    explainer: BulkExplainer, method: Method, target: Any, items: Iterable[Item], root: Path
) -> tuple[int, int]:
    """Return (h, w) of the maps: of a grey photo's, or where the question has no answer there of the first that has.

    Raises:
        InputError: the size of inputs depends on the photo, so that maps have no common shape.
        OnnxplainError: the first reason why there is no map.
    """
    preprocessing = explainer.preprocessing.preprocessing
    if preprocessing.output_size is None:
        raise InputError(
            "maps of one run have one shape, and this preprocessing makes inputs as large as the photos; state a "
            'preprocessing with a size: resize "exact" or "letterbox", or a crop.'
        )
    asked = explainer.asked(target)
    grey = np.full((*preprocessing.output_size, 3), 128, np.uint8)
    first: OnnxplainError | None = None
    for image in chain([grey], _first_photos(items, root)):
        try:
            tensor, geometry = preprocessing.apply(image)
        except OnnxplainError:  # of another size than the model takes
            continue
        [outcome] = explainer.outcomes([Photo(0, "a grey photo", None, image, tensor, geometry)], asked, method)
        found = outcome[0] if isinstance(outcome, list) else outcome
        if isinstance(found, Explanation):
            height, width = found.saliency_input.shape
            return height, width
        first = first or found
    assert first is not None
    raise first


def _first_photos(items: Iterable[Item], root: Path) -> Iterator[Any]:
    for item in islice(items, 20):
        try:
            yield load_image(read_item(item, root))
        except OnnxplainError:
            continue
