"""Shards as Parquet files: their columns, what is written into one, and what is read from it again."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..parquet import import_parquet
from ..text import utf8

#: Needs pyarrow.
WHAT = "bulk, which writes Parquet,"
#: How numbers of maps are stored: 0..1 in half precision, or 0..255.
MapType = Literal["float16", "uint8"]
#: The metadata of a shard that hold what all of its rows share, as JSON.
METADATA_KEY = b"onnxplain"
#: Bytes of maps that are compressed and written at once.
_GROUP = 8 << 20


@dataclass(frozen=True, slots=True)
class Row:
    """One explanation, or the error in its place; the fields are the columns of a shard.

    - ``index``: the number of the photo in the source, from 0; ``rank``: 1, 2, ... of several classes ("top3").
    - ``id``, ``path``, ``offset``, ``size``: the photo as the source lists it; see :class:`~.items.Item`.
    - ``photo_sha256``: of its bytes; ``height``, ``width``: its size in pixels, None where it cannot be read.
    - ``method``, ``target``, ``label``, ``versus``, ``score``, ``probability``: as in an explanation.
    - ``box``: that of the detection that is explained, [x0, y0, x1, y1] in the photo's pixels, None for others.
    - ``map``: the saliency map in the model's pixels, [h,w], None with an error.
    - ``error``: why there is no map, None where there is one.
    """

    index: int
    id: str
    path: str
    offset: int | None
    size: int | None
    method: str
    rank: int = 1
    photo_sha256: str | None = None
    height: int | None = None
    width: int | None = None
    target: int | None = None
    label: str | None = None
    versus: str | None = None
    score: float | None = None
    probability: float | None = None
    box: tuple[float, float, float, float] | None = None
    map: NDArray[np.generic] | None = None
    error: str | None = None


def schema(shape: tuple[int, int], kind: MapType, facts: Mapping[str, Any]) -> Any:
    """Return the schema of shards: the columns of :class:`Row`, and h, w and model_sha256, which all rows share."""
    arrow, _ = import_parquet(WHAT)
    text, whole = arrow.string(), arrow.int64()
    types = {
        "index": whole,
        "id": text,
        "path": text,
        "offset": whole,
        "size": whole,
        "method": text,
        "rank": arrow.int32(),
        "photo_sha256": text,
        "height": arrow.int32(),
        "width": arrow.int32(),
        "target": whole,
        "label": text,
        "versus": text,
        "score": arrow.float64(),
        "probability": arrow.float64(),
        "box": arrow.list_(arrow.float64()),
        "map": arrow.fixed_shape_tensor(arrow.from_numpy_dtype(np.dtype(kind)), shape, dim_names=["h", "w"]),
        "error": text,
        "h": arrow.int32(),
        "w": arrow.int32(),
        "model_sha256": text,
    }
    return arrow.schema(types, metadata={METADATA_KEY: json.dumps(facts, ensure_ascii=False).encode()})


def encoded(rows: Iterable[Row], schema: Any, model_sha256: str) -> Iterator[bytes]:
    """Yield the pieces of a Parquet file with ``rows``; no more than a few megabytes of them are in memory."""
    arrow, parquet = import_parquet(WHAT)
    tensors = schema.field("map").type
    shape = tuple(tensors.shape)
    kind = next(one for one in get_args(MapType) if arrow.from_numpy_dtype(np.dtype(one)) == tensors.value_type)
    most = max(1, min(256, _GROUP // (shape[0] * shape[1] * np.dtype(kind).itemsize)))
    sink = _Drained()
    plain = [name for name in schema.names if name != "map"]  # equal numbers of maps and their extremes tell nothing
    with parquet.ParquetWriter(
        arrow.PythonFile(sink, mode="w"), schema, compression="zstd", use_dictionary=plain, write_statistics=plain
    ) as writer:
        group: list[Row] = []
        for row in rows:
            group.append(row)
            if len(group) == most:
                writer.write_batch(_batch(group, schema, shape, kind, model_sha256))
                yield sink.drain()
                group = []
        if group:
            writer.write_batch(_batch(group, schema, shape, kind, model_sha256))
    yield sink.drain()


def _batch(rows: Sequence[Row], schema: Any, shape: tuple[int, ...], kind: Any, model_sha256: str) -> Any:
    """Return rows as a batch of Arrow's columns."""
    arrow, _ = import_parquet(WHAT)
    shared = {"h": shape[0], "w": shape[1], "model_sha256": model_sha256}
    arrays = []
    for field in schema:
        if field.name == "map":
            arrays.append(_maps([row.map for row in rows], field.type, shape, kind))
        elif field.name in shared:
            arrays.append(arrow.array([shared[field.name]] * len(rows), field.type))
        else:
            values = [getattr(row, field.name) for row in rows]
            texts = [utf8(one).decode() if isinstance(one, str) else one for one in values]
            arrays.append(arrow.array(texts, field.type))
    return arrow.record_batch(arrays, schema=schema)


def _maps(maps: Sequence[NDArray[np.generic] | None], type_: Any, shape: tuple[int, ...], kind: Any) -> Any:
    """Return maps as a column, zeros where there is none: pyarrow up to 23 cannot read fixed lists that are null."""
    arrow, _ = import_parquet(WHAT)
    values = np.zeros((len(maps), *shape), kind)
    for place, one in zip(values, maps):
        if one is not None:
            place[...] = one
    storage = arrow.FixedSizeListArray.from_arrays(values.reshape(-1), type=type_.storage_type)
    return arrow.ExtensionArray.from_storage(type_, storage)


class _Drained(io.RawIOBase):
    """A file that is written into, and emptied in between."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._written = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        self._written += len(self._parts[-1])
        return len(self._parts[-1])

    def tell(self) -> int:
        return self._written

    def drain(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


@dataclass(frozen=True)
class ShardFile:
    """What the end of a shard says: ``facts`` that all rows share, and its numbers of rows and of errors."""

    facts: dict[str, Any]
    rows: int
    errors: int


def read_end(path: Path) -> ShardFile | None:
    """Return what the end of a shard says; None if it is no whole Parquet file with our facts."""
    arrow, parquet = import_parquet(WHAT)
    try:
        with parquet.ParquetFile(path) as file:
            facts = _facts(file)
            errors = file.read(columns=["error"]).column("error")
            return ShardFile(facts, len(errors), len(errors) - errors.null_count)
    except (OSError, KeyError, ValueError, arrow.ArrowException):
        return None


def read_rows(path: Path) -> Iterator[tuple[dict[str, Any], Row]]:
    """Yield the rows of a shard with the facts that they share; maps are float32, 0..1.

    Raises:
        InputError: it is no shard of ours.
    """
    arrow, parquet = import_parquet(WHAT)
    names = [one.name for one in fields(Row)]
    try:
        with parquet.ParquetFile(path) as file:
            facts = _facts(file)
            for batch in file.iter_batches(batch_size=64):
                maps = _numpy(batch.column("map"))
                plain = batch.select([name for name in names if name != "map"]).to_pylist()
                for values, one in zip(plain, maps):
                    values["box"] = None if values["box"] is None else tuple(values["box"])
                    yield facts, Row(**values, map=None if values["error"] is not None else one)
    except (OSError, KeyError, ValueError, arrow.ArrowException) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise InputError(f"{path} is no shard of onnxplain bulk: {reason}.") from None


def _facts(file: Any) -> dict[str, Any]:
    """Return the facts of a Parquet file.

    Raises:
        KeyError, ValueError: it has none.
    """
    try:
        found = json.loads((file.schema_arrow.metadata or {})[METADATA_KEY])
    except RecursionError:
        found = None
    if not isinstance(found, dict):
        raise ValueError("its facts are no JSON object.")
    return found


def _numpy(column: Any) -> NDArray[np.float32]:
    """Return maps [n,h,w] as float32, 0..1; anything where there is none."""
    height, width = column.type.shape
    storage, size = column.storage, height * width
    flat = storage.values.slice(storage.offset * size, len(storage) * size)
    found = flat.to_numpy(zero_copy_only=False).reshape(-1, height, width)
    scale = 255 if found.dtype == np.uint8 else 1
    scaled: NDArray[np.float32] = found.astype(np.float32) / np.float32(scale)
    return scaled
