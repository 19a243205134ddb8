"""Logged explanations as Parquet: the columns of a shard, from lines of JSON."""

from __future__ import annotations

import base64
import itertools
import json
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import OutputError
from ..files import unfinished_file
from ..parquet import import_parquet

#: Needs pyarrow.
WHAT = "--log-format parquet"
#: Lines that are in memory at once.
_GROUP = 64
#: Columns that hold what they have in JSON, as a text.
_JSON = ("asked", "options", "preprocessing", "versions")


def packed(array: NDArray[Any]) -> dict[str, Any]:
    """An array as values for JSON: float16, compressed by zlib, in base64."""
    content = zlib.compress(np.ascontiguousarray(array, np.float16).tobytes(), 1)
    return {"shape": list(array.shape), "dtype": "float16", "zlib": base64.b64encode(content).decode()}


def unpacked(packed: Mapping[str, Any]) -> NDArray[Any]:
    """Return the array that :func:`packed` made values of."""
    content = zlib.decompress(base64.b64decode(packed["zlib"]))
    array: NDArray[Any] = np.frombuffer(content, packed["dtype"]).reshape(packed["shape"])
    return array


def schema() -> Any:
    """Return the columns. Maps, one for each input that has one, keep their shape beside their values."""
    arrow, _ = import_parquet(WHAT)
    text, whole, number = arrow.string(), arrow.int64(), arrow.float64()
    one_map = arrow.struct({"input": text, "shape": arrow.list_(arrow.int32()), "values": arrow.list_(arrow.float16())})
    texts = dict.fromkeys(
        ("request", "model", "model_sha256", "input_sha256", *_JSON, "method", "provider", "label", "versus"), text
    )
    return arrow.schema(
        {
            "time": arrow.timestamp("us", tz="UTC"),
            **texts,
            "sample": arrow.int32(),
            "target": whole,
            "step": whole,
            "score": number,
            "probability": number,
            "box": arrow.list_(number),
            "maps": arrow.list_(one_map),
            "photo": arrow.binary(),
        }
    )


def write_shard(path: Path, lines: Iterable[bytes]) -> None:
    """Write the lines of a log as a shard that appears whole, and is on the disk by then.

    Raises:
        OSError, OutputError: it cannot be written.
        ValueError, KeyError: the lines are none of a log.
    """
    arrow, parquet = import_parquet(WHAT)
    columns, rest = schema(), iter(lines)
    try:
        with unfinished_file(path.parent) as temporary:
            with parquet.ParquetWriter(temporary, columns, compression="zstd") as writer:
                while group := [json.loads(line) for line in itertools.islice(rest, _GROUP)]:
                    writer.write_batch(_batch(group, columns))
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
    except arrow.ArrowException as error:
        raise OutputError(f"{path} cannot be written: {error}.") from error


def _batch(group: Sequence[Mapping[str, Any]], columns: Any) -> Any:
    arrow, _ = import_parquet(WHAT)
    arrays = []
    for field in columns:
        values: list[Any] = [line.get(field.name) for line in group]
        if field.name == "time":
            values = [datetime.fromisoformat(line["time"]) for line in group]
        elif field.name in _JSON:
            values = [json.dumps(one, ensure_ascii=False) for one in values]
        elif field.name == "maps":
            values = [[_map(name, one) for name, one in line["maps"].items()] for line in group]
        elif field.name == "photo":
            values = [None if one is None else base64.b64decode(one) for one in values]
        arrays.append(arrow.array(values, field.type))
    return arrow.record_batch(arrays, schema=columns)


def _map(name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    array = unpacked(found)
    return {"input": name, "shape": array.shape, "values": array.reshape(-1)}
