"""The file of a model, read and written without its large weights.

The weights of a large model take longer to parse and to write again than everything else that is done to it. Here they
are never parsed: what is read has tensors without numbers in their place, and what is written takes their bytes from
the file. Both rest on Protocol Buffers' encoding: a message is a row of fields, each of which says how long it is, and
a message whose parts stand one after the other is all of them merged.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import onnx

#: Weights of so many bytes and more stay in the file.
LARGE = 1 << 18
#: A piece that the processor keeps: larger ones take longer to copy.
_CHUNK = 1 << 20
#: How a field is encoded.
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_GRAPH = onnx.ModelProto.GRAPH_FIELD_NUMBER
_INITIALIZER = onnx.GraphProto.INITIALIZER_FIELD_NUMBER
_NUMBERS = frozenset(
    descriptor.number
    for descriptor in onnx.TensorProto.DESCRIPTOR.fields
    if descriptor.name == "raw_data" or (descriptor.name.endswith("_data") and descriptor.name != "external_data")
)


@dataclass(frozen=True)
class _Field:
    """A field that begins at ``start`` of the file; its content lies between ``content`` and ``end``."""

    number: int
    start: int
    content: int
    end: int


@dataclass
class ModelFile:
    """``model`` has no numbers in its large weights, and says of them that they are elsewhere."""

    file: Path
    model: onnx.ModelProto
    _weights: dict[str, _Field] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> ModelFile:
        """Read a model.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is no model.
        """
        made, rest = cls(file, onnx.ModelProto()), bytearray()
        with file.open("rb") as source:
            for part in _fields(source, 0, os.fstat(source.fileno()).st_size):
                if part.number == _GRAPH:
                    made._read_graph(source, part)
                else:
                    rest += _bytes(source, part.start, part.end)
        made.model.MergeFromString(bytes(rest))
        return made

    def write(self) -> None:
        """Write the model into its file, with the weights that it still has.

        Raises:
            OSError: the file cannot be written.
        """
        initializers, written = self.model.graph.initializer, self.file.with_name(f"{self.file.name}.new")
        kept = [self._weights[tensor.name] for tensor in initializers if tensor.name in self._weights]
        small = onnx.ModelProto()
        small.CopyFrom(self.model)
        del small.graph.initializer[:]
        small.graph.initializer.extend(tensor for tensor in initializers if tensor.name not in self._weights)
        with self.file.open("rb") as source, written.open("wb") as target:
            target.write(small.SerializeToString())
            target.write(_varint(_GRAPH << 3 | _LENGTH) + _varint(sum(part.end - part.start for part in kept)))
            for part in kept:
                source.seek(part.start)
                for at in range(part.start, part.end, _CHUNK):
                    target.write(source.read(min(_CHUNK, part.end - at)))
        written.replace(self.file)

    def _read_graph(self, source: BinaryIO, graph: _Field) -> None:
        rest = bytearray()
        for part in _fields(source, graph.content, graph.end):
            if part.number == _INITIALIZER and part.end - part.content >= LARGE:
                tensor = _without_numbers(source, part)
                self.model.graph.initializer.append(tensor)
                self._weights[tensor.name] = part
            else:
                rest += _bytes(source, part.start, part.end)
        self.model.graph.MergeFromString(bytes(rest))


def _without_numbers(source: BinaryIO, tensor: _Field) -> onnx.TensorProto:
    parts = [part for part in _fields(source, tensor.content, tensor.end) if part.number not in _NUMBERS]
    made: onnx.TensorProto = onnx.TensorProto.FromString(
        b"".join(_bytes(source, part.start, part.end) for part in parts)
    )
    made.data_location = onnx.TensorProto.EXTERNAL
    return made


def _fields(source: BinaryIO, start: int, end: int) -> Iterator[_Field]:
    """Yield the fields of a message."""
    while start < end:
        source.seek(start)
        key = _read_varint(source)
        number, encoding = key >> 3, key & 7
        if encoding == _LENGTH:
            length = _read_varint(source)
            content = source.tell()
        else:
            content = source.tell()
            if encoding == _VARINT:
                _read_varint(source)
            length = {_VARINT: source.tell() - content, _EIGHT_BYTES: 8, _FOUR_BYTES: 4}.get(encoding, end)
        if number == 0 or content + length > end:
            raise ValueError("the file is no model, or has been cut off.")
        yield _Field(number, start, content, content + length)
        start = content + length


def _bytes(source: BinaryIO, start: int, end: int) -> bytes:
    source.seek(start)
    return source.read(end - start)


def _read_varint(source: BinaryIO) -> int:
    value = shift = 0
    while True:
        byte = source.read(1)
        if not byte or shift > 63:
            raise ValueError("the file is no model, or has been cut off.")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
        shift += 7


def _varint(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
