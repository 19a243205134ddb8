"""Names of what is added to a model: as the contract says, with a suffix where one is taken."""

from __future__ import annotations

import onnx_ir as ir

from .graph.emitter import Emitter


class PublicNames:
    """Adds inputs and outputs to a model; the metadata ``onnxplain.<key>`` record the names that they got."""

    def __init__(self, model: ir.Model, emit: Emitter) -> None:
        self._model, self._emit = model, emit
        self._taken = {v.name for v in [*model.graph.inputs, *model.graph.outputs]}

    def input(self, name: str, dtype: ir.DataType, shape: ir.Shape | None) -> ir.Value:
        """A new input, called ``name`` if that is free."""
        value = ir.Value(name=self._fresh(name), shape=shape, type=ir.TensorType(dtype))
        self._model.graph.inputs.append(value)
        self.record(name, value.name or "")
        return value

    def output(self, value: ir.Value, name: str, key: str) -> ir.Value:
        """Make ``value`` an output called ``name`` if that is free, recorded under ``key``; returns the output."""
        chosen = self._fresh(name)
        if value.producer() is None or value.is_graph_output():
            shape, kind = value.shape, value.type
            value = self._emit.Identity(value)
            value.shape, value.type = shape, kind
        value.name = chosen
        self._model.graph.outputs.append(value)
        self.record(key, chosen)
        return value

    def record(self, key: str, value: str) -> None:
        """Write the metadata ``onnxplain.<key>``."""
        self._model.metadata_props[f"onnxplain.{key}"] = value

    def _fresh(self, name: str) -> str:
        chosen, count = name, 2
        while chosen in self._taken:
            chosen, count = f"{name}_{count}", count + 1
        self._taken.add(chosen)
        for value in _values(self._model.graph):
            if value.name == chosen:
                value.name = f"{chosen}/inner"
        return chosen


def _values(graph: ir.Graph) -> list[ir.Value]:
    return [*graph.initializers.values(), *(v for node in graph for v in node.outputs)]
