"""Whether the nodes and tensors of a file have the form that their operators and types ask for.

ONNX's checker says the same, but takes a copy of the whole model. Only what the standard's schemas state is looked at:
how many inputs an operator reads, and which kinds of attributes it has.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import onnx

from ...errors import ModelError
from .schemas import is_standard

_NEWEST_VERSION = 1 << 30
_TYPES = frozenset(onnx.TensorProto.DataType.values()) - {onnx.TensorProto.UNDEFINED}
#: Where a type keeps its numbers, one for each element, if not as raw bytes.
_FIELDS: dict[int, str] = {
    onnx.TensorProto.FLOAT: "float_data", onnx.TensorProto.DOUBLE: "double_data", onnx.TensorProto.INT64: "int64_data",
    onnx.TensorProto.UINT64: "uint64_data", onnx.TensorProto.UINT32: "uint64_data", **dict.fromkeys(
        (
            onnx.TensorProto.INT32, onnx.TensorProto.INT16, onnx.TensorProto.INT8, onnx.TensorProto.UINT16,
            onnx.TensorProto.UINT8, onnx.TensorProto.BOOL, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16,
        ),
        "int32_data",
    ),
}  # fmt: skip
_KINDS = onnx.AttributeProto.AttributeType


@dataclass(frozen=True)
class _Form:
    """How many inputs an operator needs and takes, which of them by name, and its attributes."""

    least: int
    most: int
    kinds: Mapping[str, int]
    required: frozenset[str]


def check_form(proto: onnx.ModelProto, where: str) -> None:
    """Refuse a model of which a node or a tensor cannot be what it says.

    Raises:
        ModelError: it names the node and the attribute.
    """
    versions: dict[str, int] = {}
    for imported in proto.opset_import:
        domain = "" if is_standard(imported.domain) else imported.domain
        versions[domain] = imported.version
        if not 1 <= imported.version <= _NEWEST_VERSION:
            raise ModelError(
                f"{where} imports version {imported.version} of the domain {imported.domain!r}, which there cannot be. "
                "Export the model again."
            )
    for graph in _graphs(proto.graph):
        for tensor in graph.initializer:
            _check_tensor(tensor, where)
        for node in graph.node:
            label = f"{where}: node {node.name!r} ({node.op_type})"
            texts: list[object] = [node.op_type, node.domain, node.name, *node.input, *node.output]
            if not all(isinstance(text, str) for text in texts):
                raise ModelError(f"{label} has a name that is no UTF-8. Export the model again.")
            for attribute in node.attribute:
                if attribute.type not in _KINDS.values() or attribute.type == onnx.AttributeProto.UNDEFINED:
                    raise ModelError(
                        f"{label}: the attribute {attribute.name!r} has no kind that there is. Export the model again."
                    )
                if attribute.HasField("t"):
                    _check_tensor(attribute.t, f"{label}, attribute {attribute.name!r}")
            domain = "" if is_standard(node.domain) else node.domain
            form = _form(domain, node.op_type, versions.get(domain, 0))
            if form is not None:
                _check_node(node, form, label)


def _check_tensor(tensor: onnx.TensorProto, where: str) -> None:
    if tensor.data_type not in _TYPES or any(extent < 0 for extent in tensor.dims):
        raise ModelError(
            f"{where}: the tensor {tensor.name!r} has the type {tensor.data_type} and the shape {list(tensor.dims)}, "
            "which there cannot be. Export the model again."
        )
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.data_type not in _FIELDS:
        return
    count, field = math.prod(tensor.dims), _FIELDS[tensor.data_type]
    size = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    found = len(tensor.raw_data) / size if tensor.HasField("raw_data") else len(getattr(tensor, field))
    if found != count:
        raise ModelError(
            f"{where}: the tensor {tensor.name!r} of the shape {list(tensor.dims)} holds {found:g} numbers. "
            "Export the model again."
        )


def _check_node(node: onnx.NodeProto, form: _Form, label: str) -> None:
    if not form.least <= len(node.input) <= form.most:
        raise ModelError(f"{label} reads {len(node.input)} inputs; it takes {form.least} to {form.most}.")
    for attribute in node.attribute:
        kind = form.kinds.get(attribute.name)
        if kind is None and not attribute.name.startswith("__"):  # the standard leaves such names to tools
            raise ModelError(
                f"{label} has the attribute {attribute.name!r}, which {node.op_type} of its opset has not; it has "
                f"{', '.join(sorted(form.kinds)) or 'none'}. Export the model again."
            )
        if kind is not None and kind != attribute.type:
            raise ModelError(
                f"{label}: the attribute {attribute.name!r} is of the kind {_name(attribute.type)}; it has to be "
                f"{_name(kind)}. Export the model again."
            )
    missing = form.required - {attribute.name for attribute in node.attribute}
    if missing:
        raise ModelError(f"{label} lacks the attribute {min(missing)!r}. Export the model again.")


def _name(kind: int) -> str:
    return _KINDS.Name(kind) if kind in _KINDS.values() else str(kind)


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    pending = [graph]
    while pending:
        one = pending.pop()
        yield one
        for node in one.node:
            for attribute in node.attribute:
                pending += [attribute.g] if attribute.HasField("g") else []
                pending += attribute.graphs


@cache
def _form(domain: str, op_type: str, version: int) -> _Form | None:
    try:
        schema = onnx.defs.get_schema(op_type, version, domain)
    except onnx.defs.SchemaError:
        return None
    attributes = schema.attributes.values()
    return _Form(
        schema.min_input,
        schema.max_input,
        {one.name: _KINDS.Value(str(one.type).rpartition(".")[2]) for one in attributes},
        frozenset(one.name for one in attributes if one.required),
    )
