"""The inputs and outputs of a differentiated model, as servers describe them."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from ..errors import ModelError


@dataclass(frozen=True)
class Tensor:
    """An input or output: its type by ONNX's number, and its shape; None for an open extent."""

    name: str
    dtype: int
    shape: tuple[int | None, ...]
    batch: str | None

    @classmethod
    def of(cls, value: onnx.ValueInfoProto) -> Tensor:
        """Read one.

        Raises:
            ModelError: it is no tensor of a known rank.
        """
        tensor = value.type.tensor_type
        if not value.type.HasField("tensor_type") or not tensor.HasField("shape"):
            raise ModelError(
                f"{value.name!r} is no tensor with a stated rank, which servers ask for; state its shape in the model."
            )
        dims = tensor.shape.dim
        shape = tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in dims)
        return cls(value.name, tensor.elem_type, shape, (dims[0].dim_param or None) if dims else None)


@dataclass(frozen=True)
class Tensors:
    """All inputs and outputs of a model."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    @classmethod
    def of(cls, model: onnx.ModelProto) -> Tensors:
        """Read those of a model; initializers listed among the inputs are none.

        Raises:
            ModelError: one is no tensor of a known rank.
        """
        constants = {tensor.name for tensor in model.graph.initializer}
        inputs = [Tensor.of(value) for value in model.graph.input if value.name not in constants]
        return cls(tuple(inputs), tuple(Tensor.of(value) for value in model.graph.output))

    @property
    def batched(self) -> bool:
        """Whether every input and output has the same open batch as its first axis."""
        names = {one.batch for one in (*self.inputs, *self.outputs)}
        return len(names) == 1 and None not in names
