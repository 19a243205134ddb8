"""Which tensor holds the numbers that are asked for. Nothing here changes the graph."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from ...errors import InputError, ModelError
from ..graph.emitter import Emitter
from ..graph.operator import NO_GRADIENT
from ..reverse.quantized import output_parameters
from ..reverse.reach import depends_on, is_float, reads, stand_ins

#: Operators that only rename, reshape, move or retype: quantised values keep their meaning through them.
_CARRIERS = {
    "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Cast", "Dropout",
    "DequantizeLinear", "QuantizeLinear",
}  # fmt: skip


@dataclass(frozen=True)
class Output:
    """A tensor; quantised numbers have a ``scale``, and perhaps the zero point ``zero``."""

    value: ir.Value
    scale: ir.Value | None = None
    zero: ir.Value | None = None

    def in_floats(self, emit: Emitter) -> ir.Value:
        """The tensor, dequantised if its numbers are quantised."""
        if self.scale is None:
            return self.value
        return emit.DequantizeLinear(self.value, self.scale, self.zero)


def find_output(graph: ir.Graph, name: str | None, *, gradients: bool = True) -> Output:
    """The tensor named ``name``, or the first float output that depends on an input.

    Without ``gradients`` it may also depend on the input through integers.

    Raises:
        InputError: no tensor of that name, or not a float one.
        ModelError: no float output depends on an input.
    """
    reached = _reached(graph) if gradients else _computed(graph)
    if name is not None:
        values = {v.name: v for v in [*graph.inputs, *(v for node in graph for v in node.outputs)]}
        if name not in values:
            if any(v.name == name for v in graph.outputs):
                raise InputError(f"the output {name!r} is constant, so that nothing explains it; name another tensor.")
            outputs = ", ".join(repr(v.name) for v in graph.outputs)
            raise InputError(f"no tensor named {name!r} in the graph; the model's outputs are {outputs}.")
        if is_float(values[name]):
            return Output(values[name])
        if values[name] not in reached:
            raise InputError(f"tensor {name!r} holds {values[name].dtype}, which has no gradient; name a float tensor.")
        return _dequantized(values[name])
    for value in graph.outputs:
        if value in reached and is_float(value):
            return Output(value)
    for value in graph.outputs:
        if value in reached:
            return _dequantized(value)
    found = ", ".join(f"{v.name!r} ({v.dtype or v.type})" for v in graph.outputs)
    path = ", ".join(sorted({n.op_type for n in graph}))
    raise ModelError(
        f"no float path leads from an input to an output of the model; outputs: {found}; operators: {path}. "
        f"Such a model has no gradient: {NO_GRADIENT}, or name a float tensor with tensor=."
    )


def _reached(graph: ir.Graph) -> set[ir.Value]:
    nodes = list(graph)
    return depends_on(nodes, [value for source in graph.inputs for value in stand_ins(nodes, source)])


def _computed(graph: ir.Graph) -> set[ir.Value]:
    """Everything that is computed from an input."""
    found = set(graph.inputs)
    for node in graph:
        if not found.isdisjoint(reads(node)):
            found.update(node.outputs)
    return found


def _dequantized(value: ir.Value) -> Output:
    """The float tensor that quantised ``value`` was made from, or, of an integer kernel, what it stands for."""
    before = value
    while (node := before.producer()) is not None and node.op_type in _CARRIERS and node.inputs[0] is not None:
        before = node.inputs[0]
        if node.op_type == "QuantizeLinear":
            return Output(before)
    node = before.producer()
    parameters = None if node is None else output_parameters(node)
    if parameters is None:
        raise InputError(f"tensor {value.name!r} holds {value.dtype} of an unknown scale; name a float tensor.")
    return Output(value, *parameters)
