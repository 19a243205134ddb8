"""Names of what is added to a model: as the contract says, with a suffix where one is taken."""

from __future__ import annotations

import onnx_ir as ir

from .graph.editing import free_name, publish
from .graph.emitter import Emitter


class PublicNames:
    """Adds inputs and outputs to a model; the metadata ``onnxplain.<key>`` record the names that they got."""

    def __init__(self, model: ir.Model, emit: Emitter) -> None:
        self._model, self._emit = model, emit
        self._taken = {v.name for v in [*model.graph.inputs, *model.graph.outputs]}

    def input(self, name: str, dtype: ir.DataType, shape: ir.Shape | None) -> ir.Value:
        """Return a new input, called ``name`` if that is free."""
        chosen = self._fresh(name)
        self.record(name, chosen)
        return self._emit.input(chosen, ir.TensorType(dtype), shape)

    def output(self, value: ir.Value, name: str, key: str) -> ir.Value:
        """Make ``value`` an output called ``name`` if that is free, recorded under ``key``; return the output."""
        chosen = self._fresh(name)
        self.record(key, chosen)
        return publish(self._emit, value, chosen)

    def record(self, key: str, value: str) -> None:
        """Write the metadata ``onnxplain.<key>``."""
        self._model.metadata_props[f"onnxplain.{key}"] = value

    def named(self, key: str) -> str | None:
        """Return the name that was recorded under ``key``, None if there is none."""
        return self._model.metadata_props.get(f"onnxplain.{key}")

    def _fresh(self, name: str) -> str:
        chosen, count = name, 2
        while chosen in self._taken:
            chosen, count = f"{name}_{count}", count + 1
        self._taken.add(chosen)
        free_name(self._emit, chosen)
        return chosen
