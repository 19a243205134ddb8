"""What a rule sees of a forward node."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import onnx_ir as ir

from ...errors import UnsupportedOperatorError
from .inference import advice_on_rank
from .schemas import since_version

#: What to do with a model that has no gradient.
NO_GRADIENT = "use a perturbation method: Explainer(model, gradients=False) with method='occlusion' or 'rise'"

T = TypeVar("T")


class Operator:
    """A forward node, read only: inputs, outputs, attributes, constants, and what is wanted of it."""

    def __init__(self, node: ir.Node, opsets: Mapping[str, int], wanted: Callable[[ir.Value], bool]) -> None:
        self.node = node
        self.opsets = dict(opsets)
        self.opset = self.opsets.get(node.domain, 0)
        self._wanted = wanted

    @property
    def op_type(self) -> str:
        return self.node.op_type

    @property
    def inputs(self) -> Sequence[ir.Value | None]:
        return self.node.inputs

    @property
    def outputs(self) -> Sequence[ir.Value]:
        return self.node.outputs

    def input(self, index: int) -> ir.Value:
        """Return the input at ``index``; refuse a node that lacks it."""
        value = self.optional(index)
        if value is None:
            raise self.refuse(f"input {index}", "missing", "this input is required by the rule")
        return value

    def optional(self, index: int) -> ir.Value | None:
        """Return the input at ``index``, or None if it was left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def wants(self, index: int) -> bool:
        """Return whether the gradient of input ``index`` is needed."""
        value = self.optional(index)
        return value is not None and self._wanted(value)

    def wants_value(self, value: ir.Value) -> bool:
        """Return whether the gradient of a captured value is needed."""
        return self._wanted(value)

    def graph(self, name: str) -> ir.Graph:
        """Return the subgraph in an attribute."""
        return self.node.attributes[name].as_graph()

    def attribute(self, name: str, default: T) -> T:
        """Return the attribute's value (int, float, str, list of them) or ``default`` when absent."""
        attribute = self.node.attributes.get(name)
        if attribute is None or attribute.value is None:
            return default
        value: Any = attribute.value
        return list(value) if isinstance(value, (tuple, list)) else value  # type: ignore[return-value]

    def constant(self, index: int) -> np.ndarray | None:
        """Return the array of input ``index`` if it is a constant of the model, else None."""
        value = self.optional(index)
        if value is None or value.const_value is None or value.is_graph_input():
            return None
        return value.const_value.numpy()

    def rank(self, index: int = 0) -> int:
        """Return the rank of input ``index``; refuse if shape inference could not find it."""
        value = self.input(index)
        if value.shape is None:
            raise self.refuse(f"rank of input {index} ({value.name})", "unknown", advice_on_rank(value))
        return len(value.shape)

    def refuse(self, what: str, found: object, advice: str) -> UnsupportedOperatorError:
        """Return the error to raise for a configuration that the rule does not cover."""
        version = since_version(self.node.domain, self.op_type, self.opset)
        return UnsupportedOperatorError(
            f"{self.node.domain or 'ai.onnx'}::{self.op_type} (version {version}, node "
            f"{self.node.name!r}): {what} = {found!r} has no gradient rule; {advice}."
        )
