"""Differentiate from file to file, with weights that stay on the disk."""

from __future__ import annotations

import filecmp
import os
import re
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import onnx_ir as ir

from ..errors import OutputError
from ..files import one_at_a_time, unfinished_folder
from .differentiate import add_gradients
from .graph.io import ModelSource, outside_weights, read_model, without_outside_weights, write_model
from .request import Request

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..target import Target
    from .request import Options

#: A message of protobuf ends at 2 GiB; a model with more bytes of weights than this keeps them outside.
LARGEST_FILE = 2_000_000_000
_SMALL = 1 << 10  # bytes of a weight that stays inside all the same


def differentiate_file(
    model: ModelSource,
    path: str | os.PathLike[str],
    target: Target | str | None = None,
    **options: Unpack[Options],
) -> onnx.ModelProto:
    """Write the model with the gradient of a class score as ordinary outputs to ``path``.

    A model that keeps weights in files beside it, or has more than 2 GB of them, is written with its weights in
    ``<path>.data``, copied one after the other: they are never all in memory. Any other becomes one file.
    Existing files are replaced. Whatever ends the process, there is the old model or the new one, with its weights.

    Args:
        model: as for :func:`~.differentiate.differentiate`; give the path of a large model.
        path: the file to write. Whoever moves it moves ``<path>.data`` along.
        target, options: those of :func:`~.differentiate.differentiate`.

    Returns:
        What was written; weights outside of the file are named, not loaded.

    Raises:
        ModelError, UnsupportedOperatorError, InputError: as for :func:`~.differentiate.differentiate`.
        OutputError: ``path`` cannot be written, or would replace a file that the model is read from.
    """
    graph_model = read_model(model)
    place = Path(path)
    if place.is_dir():
        raise OutputError(f"{place} is a folder; name a file in it.")
    data = _beside(place)
    sources = [Path(tensor.path) for tensor in outside_weights(graph_model)]
    if isinstance(model, (str, os.PathLike)):
        sources.append(Path(model))
    for written in (place, data):
        if written.exists() and any(source.exists() and written.samefile(source) for source in sources):
            raise OutputError(f"{written} is a file that the model is read from; name another output.")
    report = options.pop("report", None)
    add_gradients(graph_model, Request.of(target, **options), report)
    try:
        with unfinished_folder(place.parent) as folder:
            proto = write_files(graph_model, folder / place.name)
            publish(proto, folder, place)
    except OSError as error:
        raise OutputError(f"{place} cannot be written: {error.strerror or error}.") from error
    return proto


def write_files(model: ir.Model, path: Path) -> onnx.ModelProto:
    """Write a model to a new file, and its weights to a second one where they have to; returns what was written."""
    if outside_weights(model) or _weight(model) > LARGEST_FILE:
        ir.external_data.unload_from_model(model, path.parent, _beside(path).name, size_threshold_bytes=_SMALL)
        proto = without_outside_weights(model)
    else:
        proto = write_model(model)
    path.write_bytes(proto.SerializeToString())
    return proto


def files_of(proto: onnx.ModelProto, path: Path) -> list[Path]:
    """Return the file of a model that :func:`write_files` wrote, and that of its weights if they are outside."""
    outside = any(onnx.external_data_helper.uses_external_data(tensor) for tensor in proto.graph.initializer)
    return [path, _beside(path)] if outside else [path]


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.data")


def _weight(model: ir.Model) -> int:
    tensors = [value.const_value for value in model.graph.initializers.values()]
    return sum(tensor.nbytes for tensor in tensors if tensor is not None)


def publish(proto: onnx.ModelProto, folder: Path, place: Path) -> None:
    """Move what :func:`write_files` wrote into ``folder`` to ``place``; whatever fails, the old files are whole.

    Raises:
        OSError: they cannot be moved; the old files are there.
    """
    data, old = _beside(place), re.compile(rf"{re.escape(place.name)}\.[0-9a-f]{{16}}\.data")
    weights = folder / data.name
    with one_at_a_time(place.parent):
        if weights.exists() and data.exists() and not filecmp.cmp(weights, data, shallow=False):
            _exchange(proto, folder, place)
        else:
            fresh = weights.exists() and not data.exists()
            if weights.exists():
                os.replace(weights, data)
            try:
                os.replace(folder / place.name, place)
            except OSError:
                if fresh:
                    data.unlink()
                raise
        for path in place.parent.iterdir():  # of this exchange, and of those that were killed
            if old.fullmatch(path.name):
                path.unlink(missing_ok=True)


def _exchange(proto: onnx.ModelProto, folder: Path, place: Path) -> None:
    """Replace a model and its weights, which no single rename can.

    The old model reads the old weights until a model that reads the new ones, under another name, takes its place;
    then the old weights can go, and last that other name.
    """
    data = _beside(place)
    aside = place.with_name(f"{place.name}.{secrets.token_hex(8)}.data")
    before, between = folder / f"{place.name}.before", folder / f"{place.name}.between"
    if place.exists():
        shutil.copyfile(place, before)
    shutil.copyfile(folder / data.name, folder / aside.name)
    between.write_bytes(_reading(proto, aside.name).SerializeToString())
    os.replace(folder / aside.name, aside)
    try:
        os.replace(between, place)
        os.replace(folder / data.name, data)
    except OSError:
        if before.exists():
            os.replace(before, place)
        else:
            place.unlink(missing_ok=True)
        aside.unlink()
        raise
    os.replace(folder / place.name, place)


def _reading(proto: onnx.ModelProto, data: str) -> onnx.ModelProto:
    """Return the model with its weights in the file ``data``."""
    copied = onnx.ModelProto()
    copied.CopyFrom(proto)
    for tensor in copied.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = data
    return copied
