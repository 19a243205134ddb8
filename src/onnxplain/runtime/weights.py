"""Large weights in a file beside a model, from where ONNX Runtime maps them: nothing parses or copies them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

#: Weights of so many bytes and more lie beside.
LARGE = 1 << 16
#: They begin at a page of memory.
_PAGE = 4096


def weights_beside(file: Path) -> Path:
    """Return the file of a model's large weights."""
    return file.with_name(f"{file.name}.data")


def write_apart(model: onnx.ModelProto, file: Path) -> None:
    """Write a model with its large weights beside it. ``model`` gives them away, so that none is in memory twice.

    Raises:
        OSError: it cannot be written; ``model`` may have given some away.
    """
    from onnx import TensorProto

    beside = weights_beside(file)
    with beside.open("wb") as data:
        for tensor in model.graph.initializer:
            length = len(tensor.raw_data)
            if length >= LARGE:
                start = data.seek(-(-data.tell() // _PAGE) * _PAGE)
                data.write(tensor.raw_data)
                tensor.ClearField("raw_data")
                tensor.data_location = TensorProto.EXTERNAL
                for key, value in (("location", beside.name), ("offset", start), ("length", length)):
                    tensor.external_data.add(key=key, value=str(value))
    file.write_bytes(model.SerializeToString())
