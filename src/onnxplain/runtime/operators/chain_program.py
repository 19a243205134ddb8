"""The program of a Chain: steps of four integers, the last three of which are values."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import onnx

from .editing import Graph, attributes

#: What a step does, by its number in ``cpp/operators/kernels.hpp``.
STEPS = ("add", "sub", "mul", "div", "ramp", "exp", "abs", "sum")
_DIRECT = {
    "Add": "add", "Sum": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Exp": "exp", "Abs": "abs",
}  # fmt: skip
#: Operators that become steps.
ELEMENTWISE = (*_DIRECT, "Neg", "HardSigmoid", "Gate", "Expand")
#: Operators that add up the last axes.
REDUCTIONS = ("ReduceSum", "ReduceMean")
#: What HardSigmoid's attributes are if a node does not state them.
_ALPHA, _BETA = 0.2, 0.5


def columns_of(graph: Graph, node: onnx.NodeProto) -> list[int] | None:
    """Return the extents that a reduction adds up, if those are the last axes, are known, and stay as ones."""
    given, shape = attributes(node), graph.shape(node.input[0])
    if shape is None or not given.get("keepdims", 1):
        return None
    axes = given.get("axes")
    if len(node.input) > 1:
        constant = graph.constant(node.input[1])
        axes = None if constant is None else constant.tolist()
    if not axes:
        return None
    count = len(axes)
    extents = shape[len(shape) - count :]
    last = sorted(axis % len(shape) for axis in axes) == list(range(len(shape) - count, len(shape)))
    return [e for e in extents if isinstance(e, int)] if last and all(isinstance(e, int) for e in extents) else None


#: A value of a program: "input", "constant" or "step", and its number among those.
Value = tuple[str, int]


class Program:
    """What a Chain does: ``inputs`` are the names that it reads."""

    def __init__(self, graph: Graph, inputs: Sequence[str]) -> None:
        """Begin with these inputs; those that are constants of one element become constants of the program."""
        self._graph = graph
        self._constants: list[float] = []
        self._steps: list[tuple[str, list[Value]]] = []
        self._values: dict[str, Value] = {}
        self.inputs: list[str] = []
        for name in inputs:
            constant = graph.constant(name)
            if constant is not None and constant.size == 1:
                self._values[name] = self._constant(float(constant.item()))
            else:
                self._values[name] = "input", len(self.inputs)
                self.inputs.append(name)

    def add(self, node: onnx.NodeProto, operands: Sequence[str]) -> None:
        """Let the program do what a node does with values that are known by now."""
        given, values = attributes(node), [self._values[name] for name in operands]
        result, kind = values[0], node.op_type
        if kind in _DIRECT:
            result = self._step(_DIRECT[kind], *values[:2])
            for value in values[2:]:
                result = self._step(_DIRECT[kind], result, value)
        elif kind == "Neg":
            result = self._step("mul", result, self._constant(-1.0))
        elif kind == "HardSigmoid":
            result = self._ramp(result, given.get("alpha", _ALPHA), given.get("beta", _BETA))
        elif kind == "Gate":
            dy = values[0] if len(values) == 2 else self._step("add", *values[:2])
            ramps = [self._ramp(values[-1], *line) for line in zip(given["alpha"], given["beta"])]
            result = self._step("mul", dy, ramps[0] if len(ramps) == 1 else self._step("mul", *ramps))
        elif kind in REDUCTIONS:
            result = self._step("sum", result)
            if kind == "ReduceMean":
                count = prod(columns_of(self._graph, node) or [])
                result = self._step("div", result, self._constant(float(count)))
        self._values[node.output[0]] = result

    def end(self, name: str) -> None:
        """Let the program make the value ``name``, and nothing behind it."""
        if not self._steps or self._values[name] != ("step", len(self._steps) - 1):
            self._steps.append(("mul", [self._values[name], self._constant(1.0)]))

    def settings(self) -> dict[str, list[int] | list[float]]:
        """Return the attributes of the operator."""
        constants = self._constants or [0.0]  # ONNX Runtime reads no empty list
        offsets = {"input": 0, "constant": len(self.inputs), "step": len(self.inputs) + len(constants)}
        flat: list[int] = []
        for kind, values in self._steps:
            numbers = [offsets[where] + number for where, number in values]
            flat += [STEPS.index(kind), *numbers, *[numbers[0]] * (3 - len(numbers))]
        return {"program": flat, "constants": constants, "count": [len(self.inputs)]}

    def _ramp(self, value: Value, alpha: float, beta: float) -> Value:
        return self._step("ramp", value, self._constant(alpha), self._constant(beta))

    def _constant(self, value: float) -> Value:
        if value not in self._constants:
            self._constants.append(value)
        return "constant", self._constants.index(value)

    def _step(self, kind: str, *values: Value) -> Value:
        if (kind, [*values]) not in self._steps:
            self._steps.append((kind, [*values]))
        return "step", self._steps.index((kind, [*values]))
