"""The description of a model for Triton Inference Server: config.pbtxt, in protobuf's text format.

Where every tensor has the open batch as its first axis, Triton fills batches up to ``max_batch_size`` and the axis is
left out of ``dims``. A tensor without any other axis, such as ``target`` and ``score`` [N], is then ``dims: [ 1 ]`` to
the client and reshaped to ``[ ]``, since ``dims`` may not be empty. Source: Triton's documentation of the model
configuration ("Maximum Batch Size", "Reshape").
"""

from __future__ import annotations

from collections.abc import Iterator

from onnx import TensorProto

from ..errors import ModelError
from .tensors import Tensor, Tensors

_TYPES = {
    TensorProto.BOOL: "TYPE_BOOL",
    TensorProto.UINT8: "TYPE_UINT8",
    TensorProto.UINT16: "TYPE_UINT16",
    TensorProto.UINT32: "TYPE_UINT32",
    TensorProto.UINT64: "TYPE_UINT64",
    TensorProto.INT8: "TYPE_INT8",
    TensorProto.INT16: "TYPE_INT16",
    TensorProto.INT32: "TYPE_INT32",
    TensorProto.INT64: "TYPE_INT64",
    TensorProto.FLOAT16: "TYPE_FP16",
    TensorProto.FLOAT: "TYPE_FP32",
    TensorProto.DOUBLE: "TYPE_FP64",
    TensorProto.BFLOAT16: "TYPE_BF16",
    TensorProto.STRING: "TYPE_STRING",
}


def config(name: str, tensors: Tensors, max_batch: int, *, fill: bool) -> str:
    """Return the text of config.pbtxt.

    Args:
        name: the model's name, which is that of its folder.
        tensors: its inputs and outputs.
        max_batch: the largest batch, where the batch is open.
        fill: whether Triton may put the samples of several requests into one batch.

    Raises:
        ModelError: Triton has no such type.
    """
    batched = tensors.batched
    lines = [f'name: "{name}"', 'backend: "onnxruntime"', 'default_model_filename: "model.onnx"']
    lines.append(f"max_batch_size: {max_batch if batched else 0}")
    for field, listed in (("input", tensors.inputs), ("output", tensors.outputs)):
        described = ",\n".join("\n".join(_described(one, batched)) for one in listed)
        lines.append(f"{field} [\n{described}\n]")
    if batched and fill:
        lines.append("dynamic_batching { }")
    return "\n".join(lines) + "\n"


def _described(tensor: Tensor, batched: bool) -> Iterator[str]:
    if tensor.dtype not in _TYPES:
        kind = TensorProto.DataType.Name(tensor.dtype)
        raise ModelError(f"{tensor.name!r} has the type {kind}, which Triton does not know; cast it to another.")
    dims = [-1 if extent is None else extent for extent in (tensor.shape[1:] if batched else tensor.shape)]
    yield "  {"
    yield f'    name: "{_escaped(tensor.name)}"'
    yield f"    data_type: {_TYPES[TensorProto.DataType.ValueType(tensor.dtype)]}"
    yield f"    dims: [ {', '.join(map(str, dims or [1]))} ]"
    if not dims:
        yield "    reshape { shape: [ ] }"
    yield "  }"


def _escaped(name: str) -> str:
    """A name in a string of protobuf's text format: its bytes, those that are not plain ASCII as octal numbers."""
    plain = (chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:03o}" for byte in name.encode())
    return "".join(plain)
