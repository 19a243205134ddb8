"""Explanations from shards: what is drawn, saved or put into a report later, without the model."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..errors import ImageError, InputError, OnnxplainError, PreprocessingError
from ..model.ranking import ClassScore
from ..photos import Preprocessing, load_image
from ..results.explanation import Explanation
from ..target import Box
from .items import Item, read_item
from .shards import Row, read_rows

#: Called with what a photo is called and what was wrong with it.
OnError = Callable[[str, OnnxplainError], None]


def explanations(
    folder: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    on_error: OnError | None = None,
) -> Iterator[Explanation]:
    """Yield the explanations that ``onnxplain bulk`` wrote into ``folder``, in the order of the source.

    The photos are read again; rows with an error are left out. The shards hold maps and not the raw attributions, so
    that ``attribution`` is the map, ``signed`` is None, and ``top`` holds the explained class alone.

    Args:
        folder: that of the shards.
        root: where the photos are now, if they were moved; None is where they were.
        on_error: called with the name of a photo that cannot be read or has changed, which is then left out; without it
            such a photo raises.

    Raises:
        ImageError: a photo cannot be read, or has changed since.
        InputError: there are no shards, or a file is none.
        RuntimeMissingError: pyarrow is not installed.

    Example:
        >>> onnxplain.report(onnxplain.bulk.explanations("maps/"), "maps.html")  # doctest: +SKIP
    """
    for facts, row in shard_rows(folder):
        if row.map is None:
            continue
        try:
            preprocessing = Preprocessing.from_dict(facts["preprocessing"])
            yield _explanation(row, preprocessing, Path(facts["root"] if root is None else root).resolve())
        except (ImageError, PreprocessingError) as error:
            if on_error is None:
                raise
            on_error(row.id, error)


def shard_rows(folder: str | os.PathLike[str]) -> Iterator[tuple[dict[str, Any], Row]]:
    """Yield the rows of all shards in order, with the facts that those of a run share.

    Raises:
        InputError: there are no shards, or a file is none.
        RuntimeMissingError: pyarrow is not installed.
    """
    files = sorted(Path(folder).glob("maps-*.parquet"))
    if not files:
        raise InputError(f"{folder} holds no shards of onnxplain bulk (maps-00000.parquet ...).")
    for file in files:
        yield from read_rows(file)


def _explanation(row: Row, preprocessing: Preprocessing, root: Path) -> Explanation:
    content = read_item(Item(row.id, row.path, row.offset, row.size), root)
    if hashlib.sha256(content).hexdigest() != row.photo_sha256:
        raise ImageError(f"{row.id}: the photo has changed since its map was made.")
    image = load_image(content)
    assert row.map is not None and row.target is not None and row.score is not None
    values = row.map.astype("float32")
    return Explanation(
        image=image,
        source=row.id,
        attribution=values,
        saliency_input=values,
        signed_input=None,
        geometry=preprocessing.geometry(*image.shape[:2]),
        target=row.target,
        label=row.label,
        score=row.score,
        probability=row.probability,
        top=[ClassScore(row.target, row.label, row.score, row.probability)],
        provider="",
        method=row.method,
        versus=row.versus,
        box=None if row.box is None else Box(*row.box),
    )
