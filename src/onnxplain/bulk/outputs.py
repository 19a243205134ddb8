"""What is made of shards later: pictures, the HTML report, heat maps and a dataset for FiftyOne."""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import InputError
from ..files import make_folder, write_bytes, write_chunks
from ..photos import Preprocessing
from ..results.report import report
from .reading import OnError, explanations, shard_rows
from .shards import Row

#: The longer side of a heat map in pixels: FiftyOne stretches it over the photo.
_SIDE = 512
_FIELD = "fiftyone.core.fields.{}"
_LABEL = _FIELD.format("EmbeddedDocumentField(fiftyone.core.labels.{})")


def write_pictures(folder: Path, root: Path | None, on_error: OnError | None) -> Path:
    """Draw each map over its photo, into the folder ``pictures``; returns that.

    Raises:
        OutputError: a picture cannot be written.
        As :func:`~.reading.explanations` raises.
    """
    place = make_folder(folder / "pictures")
    for number, one in enumerate(explanations(folder, root=root, on_error=on_error)):
        one.save(place / f"{number:06}_{one.stem[:80]}_{one.method}.png", "png")
    return place


def write_report(folder: Path, root: Path | None, on_error: OnError | None) -> Path:
    """Write the HTML report ``report.html``; returns the file.

    Raises:
        As :func:`~..results.report.report` and :func:`~.reading.explanations` raise.
    """
    return report(explanations(folder, root=root, on_error=on_error), folder / "report.html")


def write_fiftyone(folder: Path, root: Path | None, on_error: OnError | None) -> Path:
    """Write heat maps named by their content, and ``dataset.json`` for ``fiftyone.Dataset.from_json``; returns that.

    Paths in it are absolute, as FiftyOne has them.

    Raises:
        InputError: the photos are in tars, where FiftyOne cannot show them; or there are no shards.
        OutputError: a file cannot be written.
    """
    place = make_folder(folder / "fiftyone")
    make_folder(place / "heatmaps")
    return write_chunks(place / "dataset.json", _dataset(folder, place.resolve() / "heatmaps", root))


def _dataset(folder: Path, heatmaps: Path, root: Path | None) -> Iterator[bytes]:
    """Yield the pieces of the dataset's JSON, a sample for each photo that has a map."""
    head: dict[str, Any] = {}
    for _, same in groupby(shard_rows(folder), lambda pair: pair[1].index):
        pairs = [(facts, row) for facts, row in same if row.map is not None]
        if not pairs:
            continue
        facts, first = pairs[0]
        if first.offset is not None:
            raise InputError(f"--format fiftyone: {first.id} lies in a tar; FiftyOne shows photos that are files.")
        if not head:
            head = _head(folder.resolve().name, pairs)
            yield json.dumps(head)[:-1].encode() + b', "samples": [\n'
        else:
            yield b",\n"
        sample: dict[str, Any] = {
            "filepath": str((facts["root"] if root is None else root) / Path(first.path)),
            "tags": [],
            "metadata": None,
        }
        for facts, row in pairs:
            for name, value in zip(_names(row), _values(facts, row, heatmaps)):
                sample[name] = value
        yield json.dumps(sample, ensure_ascii=False).encode()
    if not head:
        raise InputError(f"{folder} holds no maps; every photo is an error.")
    yield b"\n]}\n"


def _head(name: str, pairs: list[tuple[dict[str, Any], Row]]) -> dict[str, Any]:
    """Return what precedes the samples: names and types of their fields."""
    kinds = (_LABEL.format("Heatmap"), _LABEL.format("Classification"), _FIELD.format("FloatField"))
    types = {field: kind for _, row in pairs for field, kind in zip(_names(row), kinds)}
    usual = {"filepath": _FIELD.format("StringField")}
    return {"name": name, "media_type": "image", "sample_fields": {**usual, **types}}


def _names(row: Row) -> tuple[str, str, str]:
    """Return the fields of a sample that a row fills: its heat map, its class and its score."""
    number = "" if row.rank == 1 else f"_{row.rank}"
    return f"{row.method}{number}", f"explained{number}", f"score{number}"


def _values(facts: dict[str, Any], row: Row, heatmaps: Path) -> tuple[dict[str, Any], dict[str, Any], float | None]:
    encoded = io.BytesIO()
    Image.fromarray(_over_photo(facts, row)).save(encoded, "PNG")
    file = heatmaps / f"{hashlib.sha256(encoded.getvalue()).hexdigest()[:32]}.png"
    if not file.exists():
        write_bytes(file, encoded.getvalue())
    label = row.label or f"class {row.target}"
    return (
        {"_cls": "Heatmap", "tags": [], "map_path": str(file), "range": [0, 255]},
        {"_cls": "Classification", "tags": [], "label": label, "confidence": row.probability},
        row.score,
    )


def _over_photo(facts: dict[str, Any], row: Row) -> Any:
    """Return the map over the whole photo, uint8 [H,W], its longer side ``_SIDE`` at most."""
    assert row.height is not None and row.width is not None and row.map is not None
    geometry = Preprocessing.from_dict(facts["preprocessing"]).geometry(row.height, row.width)
    scale = min(1.0, _SIDE / max(row.height, row.width))
    size = (max(1, math.floor(row.height * scale)), max(1, math.floor(row.width * scale)))
    smaller = type(geometry)(size, geometry.resized, geometry.offset, geometry.canvas)
    return np.rint(smaller.to_photo(row.map) * 255).astype(np.uint8)


#: What can be written of shards: names of ``--format``, and what writes them.
FORMATS: dict[str, Callable[[Path, Path | None, OnError | None], Path]] = {
    "png": write_pictures,
    "html": write_report,
    "fiftyone": write_fiftyone,
}
