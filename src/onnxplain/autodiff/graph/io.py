"""Read a model from a path, bytes or a proto into the graph representation; check what it points to."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import google.protobuf.message
import onnx
import onnx_ir as ir

from ...checks import check_file
from ...errors import ModelError
from .checks import complaint_of
from .collection import collection_waits
from .guard import guarded
from .schemas import NEWEST_OPSET, is_standard
from .well_formed import check_form
from .zip_maps import put_back, take_off

_ZIP_MAPS = "onnxplain.zip_maps"
_OUTSIDE = "onnxplain.outside_files"
#: Bytes of a weight that is left out where a model is serialised to be looked at.
LARGE = 1024
#: ONNX's inference does not come back from some others.
_EQUATION = re.compile(rb"[A-Za-z ,.>-]*")
_SMALL = 1 << 16  # bytes of a weight that is read at once: inference and rules may look at it
#: Types whose elements have one size.
_SIZED = set(ir.DataType) - {ir.DataType.UNDEFINED, ir.DataType.STRING}
ModelSource = str | os.PathLike[str] | bytes | onnx.ModelProto | ir.Model


@collection_waits()
@guarded()
def read_model(source: ModelSource, *, taken_in: int = 0) -> ir.Model:
    """Return the model as a fresh graph that shares nothing writable with ``source``.

    Large weights that the file keeps outside of itself stay there and are read when needed, unless they have no more
    than ``taken_in`` bytes together.

    Raises:
        ModelError: not an ONNX model, truncated, without a graph, newer than the known opsets, or
            external data that is missing, too short or outside the model's folder.
    """
    proto, where, folder = _proto(source)
    if not proto.HasField("graph") or not (proto.graph.node or proto.graph.output):
        raise ModelError(f"{where} is not an ONNX model: it holds no graph. Check that the file is complete.")
    opset = max((o.version for o in proto.opset_import if is_standard(o.domain)), default=None)
    if opset is None and not proto.opset_import:
        raise ModelError(f"{where} names no operator set, so its operators have no meaning. Export it again.")
    if opset is not None and opset > NEWEST_OPSET:
        raise ModelError(
            f"{where} uses opset {opset}; this release of onnxplain knows opsets up to {NEWEST_OPSET}. "
            "Export the model with an older opset or upgrade onnxplain."
        )
    check_form(proto, where)
    outside = _check_external_data(proto, where, folder)
    _check_names(proto.graph, where, set())
    taken = take_off(proto)
    try:
        model = ir.serde.deserialize_model(proto)
    except Exception as error:
        raise ModelError(f"{where} is malformed: {_reason(error)}.") from error
    if folder is not None:
        ir.external_data.set_base_dir(model.graph, folder)
        together = sum(tensor.nbytes for tensor in outside_weights(model))
        _load_small(model, together if together <= taken_in else _SMALL)
    model.meta[_ZIP_MAPS] = taken
    model.meta[_OUTSIDE] = outside
    return model


@collection_waits()
@guarded()
def write_model(model: ir.Model) -> onnx.ModelProto:
    """Return the proto of a model that :func:`read_model` read, with what was added, its ZipMaps and all weights."""
    proto = without_outside_weights(model)
    weights = model.graph.initializers
    for tensor in proto.graph.initializer:
        if onnx.external_data_helper.uses_external_data(tensor):
            outside = weights[tensor.name].const_value
            assert isinstance(outside, ir.ExternalTensor)
            tensor.raw_data = outside.tobytes()
            outside.release()
            tensor.ClearField("external_data")
            tensor.data_location = onnx.TensorProto.DEFAULT
    return proto


def without_outside_weights(model: ir.Model) -> onnx.ModelProto:
    """:func:`write_model`, but weights that lie outside of the model's file are only named."""
    proto = serialized(model)
    put_back(proto, model.meta.get(_ZIP_MAPS, []))
    return proto


def hand_out(model: ir.Model) -> ir.Model:
    """Return a model that :func:`read_model` read, with what was added, in onnx_ir's own form.

    Raises:
        ModelError: it returns maps (ZipMap), which onnx_ir has no form for.
    """
    if model.meta.get(_ZIP_MAPS):
        raise ModelError("the model returns maps (ZipMap), which an onnx_ir.Model cannot; use differentiate().")
    large = [v for v in model.graph.initializers.values() if v.const_value is not None and v.const_value.nbytes > LARGE]
    error = complaint_of(serialized_without(model, large))
    if error is not None:
        raise ModelError(f"the differentiated model does not pass the ONNX checker: {error}")
    return model


def serialized(model: ir.Model) -> onnx.ModelProto:
    """Return the proto of a model; ONNX's full checker looks at it before the weights are put in.

    Raises:
        ModelError: with the checker's first complaint.
    """
    graph = model.graph
    large = [v for v in graph.initializers.values() if v.const_value is not None and v.const_value.nbytes > LARGE]
    proto = serialized_without(model, large)
    error = complaint_of(proto)
    if error is not None:
        raise ModelError(f"the differentiated model does not pass the ONNX checker: {error}")
    del proto.graph.input[len(graph.inputs) :]
    for value in large:
        assert value.const_value is not None and value.name is not None
        tensor = proto.graph.initializer.add()
        ir.serde.serialize_tensor_into(tensor, value.const_value)
        tensor.MergeFrom(onnx.TensorProto(name=value.name))  # the file's tensor may have had another name
    return proto


def serialized_without(model: ir.Model, weights: Sequence[ir.Value]) -> onnx.ModelProto:
    """Return the proto of a model in which ``weights`` are inputs, the last ones, so that they are not serialised."""
    graph = model.graph
    inputs = list(graph.inputs)
    for value in weights:
        assert value.name is not None and value.const_value is not None
        value.type = value.type or ir.TensorType(value.const_value.dtype)
        value.shape = value.shape or ir.Shape(value.const_value.shape.numpy())
        graph.initializers.pop(value.name)
        graph.inputs.append(value)
    try:
        return ir.serde.serialize_model(model)
    finally:
        graph.inputs.clear()
        graph.inputs.extend(inputs)
        for value in weights:
            graph.register_initializer(value)


def outside_weights(model: ir.Model) -> list[ir.ExternalTensor]:
    """Return the weights that lie outside of the model's file."""
    values = [value.const_value for value in model.graph.initializers.values()]
    return [tensor for tensor in values if isinstance(tensor, ir.ExternalTensor)]


def outside_files(model: ir.Model) -> tuple[Path, ...]:
    """Return the files besides its own that a model was read from by :func:`read_model`."""
    files: tuple[Path, ...] = model.meta[_OUTSIDE]
    return files


def _reason(error: BaseException) -> str:
    """Say in one line what a reader stumbled over: each of its functions wraps what the one inside of it raised."""
    while isinstance(error, ir.serde.SerdeError) and error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200].rstrip('.')}"


def _load_small(model: ir.Model, small: int) -> None:
    """Read weights of up to ``small`` bytes, and everything that is not a plain weight, into memory."""
    for graph in model.graphs():
        for value in graph.initializers.values():
            tensor = value.const_value
            if isinstance(tensor, ir.ExternalTensor) and (graph is not model.graph or tensor.nbytes <= small):
                value.const_value = _loaded(tensor)
        for node in graph:
            for attribute in list(node.attributes.values()):
                if isinstance(attribute.value, ir.ExternalTensor):
                    node.attributes.add(ir.AttrTensor(attribute.name, _loaded(attribute.value)))


def _loaded(tensor: ir.ExternalTensor) -> ir.TensorProtocol:
    array = tensor.numpy().copy()
    tensor.release()
    return ir.Tensor(array, name=tensor.name, dtype=tensor.dtype)


def _proto(source: ModelSource) -> tuple[onnx.ModelProto, str, Path | None]:
    if isinstance(source, onnx.ModelProto):
        proto = onnx.ModelProto()
        proto.CopyFrom(source)  # passes that name tensors write through to the proto they were read from
        return proto, "the model", None
    if isinstance(source, ir.Model):
        return _serialized(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        where, folder, data = "the model", None, bytes(source)
    elif isinstance(source, (str, os.PathLike)):
        path = Path(source)
        check_file(path, ModelError)
        where, folder = str(path), path.resolve().parent
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ModelError(f"cannot read the model {path}: {error.strerror or error}.") from error
    else:
        raise ModelError(
            "a model is a path, bytes, an onnx.ModelProto or an onnx_ir.Model; "
            f"found {type(source).__name__}. Pass one of these."
        )
    if not data:
        raise ModelError(f"{where} is empty. Check that the file was written completely.")
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except google.protobuf.message.DecodeError as error:
        raise ModelError(f"{where} is not an ONNX model, or is truncated: {error}.") from error
    return proto, where, folder


def _serialized(model: ir.Model) -> tuple[onnx.ModelProto, str, Path | None]:
    """The proto of a model in onnx_ir's form, and the folder of what it keeps outside."""
    weights = [value.const_value for graph in model.graphs() for value in graph.initializers.values()]
    weights += [a.value for node in model.graph.all_nodes() for a in node.attributes.values()]
    folders = {Path(tensor.base_dir).resolve() for tensor in weights if isinstance(tensor, ir.ExternalTensor)}
    if len(folders) > 1:
        listed = ", ".join(sorted(map(str, folders)))
        raise ModelError(f"the model keeps its data in several folders: {listed}. Load the data, or save the model.")
    try:
        return ir.serde.serialize_model(model), "the model", next(iter(folders), None)
    except Exception as error:
        raise ModelError(f"the onnx_ir.Model cannot be serialised: {error}. Check that it is complete.") from error


def _check_external_data(proto: onnx.ModelProto, where: str, folder: Path | None) -> tuple[Path, ...]:
    """Refuse external data that cannot or should not be read; returns the files that hold it."""
    files: dict[Path, None] = {}
    for tensor in onnx.external_data_helper._get_all_tensors(proto):
        if not onnx.external_data_helper.uses_external_data(tensor):
            continue
        entries = {e.key: e.value for e in tensor.external_data}
        location = entries.get("location", "")
        if folder is None:
            raise ModelError(
                f"tensor {tensor.name!r} keeps its data in {location!r}, beside a file that is not known. "
                "Pass the model's path instead of its bytes, or load it with its external data."
            )
        path = (folder / location).resolve()
        if not location or os.path.isabs(location) or not path.is_relative_to(folder):
            raise ModelError(
                f"{where}: tensor {tensor.name!r} points outside the model's folder ({location!r}). "
                "Only files beside the model are read; do not trust this file."
            )
        if not path.is_file():
            raise ModelError(
                f"{where}: the data of tensor {tensor.name!r} is missing: no file {location!r} beside the model. "
                "Copy it there."
            )
        if path.stat().st_nlink > 1:
            raise ModelError(
                f"{where}: {location!r}, the data of tensor {tensor.name!r}, has several hard links, which ONNX's "
                "tools refuse as a possible attack. Replace it by a copy."
            )
        end = _end_of_data(tensor, entries, where)
        if end > path.stat().st_size:
            raise ModelError(
                f"{where}: {location!r} is truncated: tensor {tensor.name!r} ends at byte {end}, "
                f"the file has {path.stat().st_size}. Copy it again."
            )
        files[path] = None
    return tuple(files)


def _end_of_data(tensor: onnx.TensorProto, entries: Mapping[str, str], where: str) -> int:
    """Return where in its file a tensor ends, whose length has to be that of its shape."""
    label = f"{where}: the data of tensor {tensor.name!r}"
    stated = {key: entries.get(key, "0") for key in ("offset", "length")}
    for key, text in stated.items():
        if not re.fullmatch("[0-9]{1,18}", text):
            raise ModelError(
                f"{label} has the {key} {text[:40]!r}, which is no number of bytes. Export the model again."
            )
    if tensor.data_type not in _SIZED or any(extent < 0 for extent in tensor.dims):
        raise ModelError(f"{label} has type {tensor.data_type} and shape {list(tensor.dims)}. Export the model again.")
    needed: int = -(-math.prod(tensor.dims) * ir.DataType(tensor.data_type).bitwidth // 8)
    length = int(stated["length"])
    if "length" in entries and length != needed:
        raise ModelError(
            f"{label} has {length} bytes, but its type and shape {list(tensor.dims)} need {needed}. "
            "Export the model again."
        )
    return int(stated["offset"]) + needed


def _check_names(graph: onnx.GraphProto, where: str, outer: set[str]) -> None:
    """Every value is made once, before it is read."""
    known = outer | {v.name for v in graph.input} | {t.name for t in graph.initializer}
    known |= {t.values.name for t in graph.sparse_initializer}
    for node in graph.node:
        label = f"{where}: node {node.name!r} ({node.op_type})"
        for name in node.input:
            if name and name not in known:
                raise ModelError(f"{label} reads {name!r}, which nothing before it makes. Export the model again.")
        for attribute in node.attribute:
            for subgraph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                _check_names(subgraph, where, known)
        equations = [a.s for a in node.attribute if a.name == "equation"] if node.op_type == "Einsum" else []
        if not all(map(_EQUATION.fullmatch, equations)):
            raise ModelError(f"{label}: the equation holds more than letters, commas, dots and an arrow.")
        for name in node.output:
            if name and name in known:
                raise ModelError(f"{label} makes {name!r}, which exists already. Export the model again.")
            known.add(name)
    for value in graph.output:
        if value.name not in known:
            raise ModelError(f"{where}: nothing makes the output {value.name!r}. Export the model again.")
