"""Write a model's gradients where servers look for models."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import onnx
import onnx_ir as ir

from ..autodiff.graph.io import ModelSource, read_model
from ..autodiff.to_file import differentiate_file, write_files
from ..errors import InputError, OutputError
from ..files import make_folder, unfinished_folder, write_bytes
from . import triton
from .tensors import Tensors

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_FILE = "model.onnx"
#: The models of a repository, for OpenVINO Model Server.
_LIST = "config.json"


def write_package(
    model: ModelSource, folder: str | os.PathLike[str], server: str = "triton", *, name: str, max_batch: int = 32
) -> list[Path]:
    """Write ``model`` with its gradients as a model that ``server`` loads.

    Args:
        model: a path, bytes or a ModelProto, differentiated by :func:`~onnxplain.differentiate` with any options; a
            plain one is differentiated for a class of each sample, with normalised saliency maps as outputs.
        folder: the repository of the server, which may hold other models.
        server: "triton", "openvino" (Model Server) or "onnxruntime" (a model package of 1.29 and newer).
        name: the name under which the server offers the model, that of its folder.
        max_batch: the largest batch that Triton fills, where the batch is open.

    Returns:
        The files written. ``folder/name`` appears whole or not at all.

    Raises:
        InputError: an unknown server, a name that is no name of a folder, or a batch below 1.
        ModelError, UnsupportedOperatorError: as for :func:`~onnxplain.differentiate`, or the server has no such type.
        OutputError: ``folder`` cannot be written, or holds a model of that name.
    """
    if server not in _WRITERS:
        raise InputError(f"server {server!r} is unknown; there are {', '.join(_WRITERS)}.")
    if not _NAME.fullmatch(name):
        raise InputError(f"the model's name {name!r} has other characters than letters, digits, '_', '-' and '.'.")
    if max_batch < 1:
        raise InputError(f"max_batch is the largest batch of Triton, at least 1; found {max_batch}.")
    place = make_folder(folder) / name
    try:
        with unfinished_folder(place.parent) as part:  # what a killed process left goes, also where nothing is written
            if place.exists():
                raise OutputError(f"{place} exists; remove it, or choose another name.")
            if server == "openvino":  # refused before anything is written
                _others(place.parent / _LIST, name)
            _WRITERS[server](model, part / name, max_batch)
            os.rename(part / name, place)
    except OSError as error:
        raise OutputError(f"{place} cannot be written: {error.strerror or error}.") from error
    files = [path for path in sorted(place.rglob("*")) if path.is_file()]
    return [*files, _listed(place.parent, name)] if server == "openvino" else files


def _triton(model: ModelSource, folder: Path, max_batch: int) -> None:
    proto = _differentiated(model, folder / "1")
    fill = not any(one.key == "onnxplain.influence" for one in proto.metadata_props)
    text = triton.config(folder.name, Tensors.of(proto), max_batch, fill=fill)
    (folder / "config.pbtxt").write_text(text)


def _openvino(model: ModelSource, folder: Path, max_batch: int) -> None:
    _differentiated(model, folder / "1")


def _onnxruntime(model: ModelSource, folder: Path, max_batch: int) -> None:
    _differentiated(model, folder / "gradients" / "model")
    manifest = {"schema_version": "1.0", "package_name": folder.name, "components": {"gradients": "gradients"}}
    variants = {
        provider: {
            "ep": f"{provider}ExecutionProvider",
            "variant_directory": "model",
            "executor_info": {"ort": {"model_file": _FILE}},
        }
        for provider in ("CPU", "CUDA")
    }
    (folder / "manifest.json").write_text(_json(manifest))
    (folder / "gradients" / "component.json").write_text(_json({"variants": variants}))


_WRITERS: dict[str, Callable[[ModelSource, Path, int], None]] = {
    "triton": _triton,
    "openvino": _openvino,
    "onnxruntime": _onnxruntime,
}
#: What a package can be for.
SERVERS = tuple(_WRITERS)


def _differentiated(model: ModelSource, folder: Path) -> onnx.ModelProto:
    """Write the differentiated model into a new folder, and return it, weights outside of the file only named."""
    folder.mkdir(parents=True)
    read: ir.Model = read_model(model)
    if "onnxplain.score" in read.metadata_props:
        return write_files(read, folder / _FILE)
    return differentiate_file(model, folder / _FILE, saliency=True)


def _listed(folder: Path, name: str) -> Path:
    """Add the model to the list in ``config.json``, which OpenVINO Model Server reads; others stay.

    Raises:
        OutputError: there is such a file, which has no such list.
    """
    place = folder / _LIST
    listed = [*_others(place, name), {"config": {"name": name, "base_path": name}}]
    return write_bytes(place, _json({"model_config_list": listed}).encode())


def _others(place: Path, name: str) -> list[object]:
    """The models of other names in a list.

    Raises:
        OutputError: as for :func:`_listed`.
    """
    if not place.exists():
        return []
    try:
        known = json.loads(place.read_text(encoding="utf-8"))["model_config_list"]
        return [one for one in known if one["config"]["name"] != name]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise OutputError(f"{place} has no model_config_list that a model can be added to; remove it.") from error


def _json(document: object) -> str:
    return json.dumps(document, indent=2) + "\n"
