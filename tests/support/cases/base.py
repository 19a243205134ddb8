"""What a case of an operator is: a single-node model and the inputs to check it at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper

#: "N" is the batch: the checker runs it as 1, 3 and symbolic. "H5" is a symbolic dimension of extent 5.
Extent = int | str


@dataclass(frozen=True)
class Input:
    """A drawn input. ``draw(rng, shape)`` returns float64; ``wrt`` says whether it is differentiated."""

    shape: tuple[Extent, ...]
    draw: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
    wrt: bool = True

    def array(self, rng: np.random.Generator, batch: int) -> np.ndarray:
        extents = tuple(d if isinstance(d, int) else batch if d == "N" else int(d[1:]) for d in self.shape)
        return np.asarray(self.draw(rng, extents))


def normal(*shape: Extent, wrt: bool = True) -> Input:
    """Standard normal values, none within 0.05 of zero: away from every kink at zero."""

    def draw(rng: np.random.Generator, extents: tuple[int, ...]) -> np.ndarray:
        x = rng.standard_normal(extents)
        return x + 0.05 * np.where(x < 0, -1, 1)

    return Input(shape, draw, wrt)


def uniform(*shape: Extent, low: float = 0.0, high: float = 1.0, wrt: bool = True) -> Input:
    """Uniform values between two bounds."""
    return Input(shape, lambda rng, extents: rng.uniform(low, high, extents), wrt)


def positive(*shape: Extent, wrt: bool = True) -> Input:
    """Values between 0.5 and 2."""
    return uniform(*shape, low=0.5, high=2.0, wrt=wrt)


def among(*shape: Extent, values: Sequence[float], wrt: bool = True) -> Input:
    """Values drawn from a few: ties and kinks."""
    return Input(shape, lambda rng, extents: rng.choice(np.asarray(values, dtype=np.float64), extents), wrt)


def distinct(*shape: Extent, wrt: bool = True) -> Input:
    """A random permutation of well separated values: no two within 0.05 of each other, none near zero."""

    def draw(rng: np.random.Generator, extents: tuple[int, ...]) -> np.ndarray:
        size = int(np.prod(extents))
        return (rng.permutation(size).reshape(extents) - size / 2 + 0.25) * 0.1

    return Input(shape, draw, wrt)


@dataclass(frozen=True)
class Case:
    """One configuration of one operator.

    ``inputs`` in the operator's order: an :class:`Input` (a graph input), an array (an initialiser;
    float arrays are converted to the float type in use), or None (left out). ``runtime`` names the
    positions of arrays that are to be fed as graph inputs instead (shapes, axes, pads at run time).
    ``captures`` are further graph inputs, which the operator's subgraphs read by name. ``result`` is the
    shape of the output where ONNX's inference cannot tell it.
    ``torch`` is the same function in torch: it takes the drawn tensors in order and returns the first
    output. ``reference`` False means that ONNX's reference evaluator cannot run or gets wrong this
    configuration, so finite differences go through ONNX Runtime in float32 with a larger step
    (say why in ``note``). ``tie_free`` False means the case is about a kink, where finite differences
    do not exist, and only torch is compared. ``exposed`` makes the node's other outputs, of the same
    type, graph outputs too, for operators that ONNX Runtime runs no other way.
    """

    op: str
    inputs: tuple[Input | np.ndarray | None, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    torch: Callable[..., Any] | None = None
    opset: int = 18
    domain: str = ""
    outputs: int = 1
    output: int = 0
    exposed: bool = False
    runtime: tuple[int, ...] = ()
    reference: bool = True
    tie_free: bool = True
    captures: Mapping[str, Input] = field(default_factory=dict)
    result: tuple[Extent, ...] | None = None
    note: str = ""

    @property
    def id(self) -> str:
        operator = f"{self.domain}.{self.op}" if self.domain else self.op
        return f"{operator}-{self.name}" if self.name else operator

    def names(self) -> list[str]:
        return ["" if v is None else f"x{i}" for i, v in enumerate(self.inputs)]

    def drawn(self) -> list[tuple[str, Input]]:
        inputs = [(n, v) for n, v in zip(self.names(), self.inputs) if isinstance(v, Input)]
        return [*inputs, *self.captures.items()]

    def wrt(self) -> list[str]:
        return [n for n, v in self.drawn() if v.wrt]

    def model(self, dtype: np.dtype[Any], batch: int | None) -> onnx.ModelProto:
        """The single-node model in ``dtype``; ``batch`` None leaves "N" symbolic."""
        element = helper.np_dtype_to_tensor_dtype(dtype)
        inputs, initializers = [], []
        for index, (name, value) in enumerate(zip(self.names(), self.inputs)):
            if isinstance(value, Input):
                shape = [batch if d == "N" and batch is not None else d for d in value.shape]
                inputs.append(helper.make_tensor_value_info(name, element, shape))
            elif value is not None:
                array = value.astype(dtype) if value.dtype.kind == "f" else value
                if index in self.runtime:
                    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
                    inputs.append(helper.make_tensor_value_info(name, kind, array.shape))
                else:
                    initializers.append(onnx.numpy_helper.from_array(array, name))
        for name, value in self.captures.items():
            shape = [batch if d == "N" and batch is not None else d for d in value.shape]
            inputs.append(helper.make_tensor_value_info(name, element, shape))
        outputs = [f"y{i}" for i in range(self.outputs)]
        node = helper.make_node(
            self.op, self.names(), outputs, name="node", domain=self.domain, **dict(self.attributes)
        )
        order = [self.output, *(i for i in range(self.outputs) if i != self.output and self.exposed)]
        results = [helper.make_value_info(outputs[index], onnx.TypeProto()) for index in order]
        for result in results:
            result.type.tensor_type.elem_type = element
        if self.result is not None:
            shape = [batch if d == "N" and batch is not None else d for d in self.result]
            results[0] = helper.make_tensor_value_info(outputs[self.output], element, shape)
        graph = helper.make_graph([node], self.id, inputs, results, initializers)
        imports = [helper.make_opsetid("", self.opset)]
        if self.domain:
            imports.append(helper.make_opsetid(self.domain, 1))
        ir_version = helper.find_min_ir_version_for(imports, ignore_unknown=True)
        return helper.make_model(graph, opset_imports=imports, ir_version=ir_version)

    def feeds(self, seed: int, batch: int) -> dict[str, np.ndarray]:
        """Inputs in float64, drawn from ``seed``."""
        rng = np.random.default_rng(seed)
        feeds = {}
        for index, (name, value) in enumerate(zip(self.names(), self.inputs)):
            if isinstance(value, Input):
                feeds[name] = value.array(rng, batch)
            elif value is not None and index in self.runtime:
                feeds[name] = value
        feeds.update((name, value.array(rng, batch)) for name, value in self.captures.items())
        return feeds
