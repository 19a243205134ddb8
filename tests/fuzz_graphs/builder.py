"""Nodes put together one by one, at one opset, with the extents of every value known for every size that will be run.

A dimension holds its extent in each *world*: one set of sizes of the symbolic dimensions. World 0 has batch 1, world 1
has batch 3 and another height, width and length. So a generator of operators sees at once whether a kernel fits and
whether two shapes broadcast, in all worlds, without running anything.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import AttributeProto, NodeProto, TensorProto, helper, numpy_helper

WORLDS = 2


@dataclass(frozen=True)
class Dim:
    """An extent in every world; ``name`` is empty for a number, "?" for one that was computed from a name."""

    extents: tuple[int, ...]
    name: str = ""

    def map(self, function: Callable[[int], int]) -> Dim:
        return Dim(tuple(function(e) for e in self.extents), "?" if self.name else "")

    @property
    def static(self) -> bool:
        return not self.name

    @property
    def number(self) -> int:
        assert self.static
        return self.extents[0]

    @property
    def least(self) -> int:
        return min(self.extents)


def fixed(extent: int) -> Dim:
    return Dim((extent,) * WORLDS)


ONE = fixed(1)
Shape = tuple[Dim, ...]


@dataclass(frozen=True)
class Value:
    """A float tensor of the graph."""

    name: str
    shape: Shape

    @property
    def rank(self) -> int:
        return len(self.shape)

    def static(self, *axes: int) -> bool:
        return all(self.shape[a].static for a in axes)


def same(a: Sequence[Dim], b: Sequence[Dim]) -> bool:
    """Whether two shapes are equal in every world."""
    return len(a) == len(b) and all(x.extents == y.extents for x, y in zip(a, b))


def broadcast(a: Shape, b: Shape) -> Shape | None:
    """The shape of an elementwise operator's result, or None where the two do not fit."""
    rank = max(len(a), len(b))
    result = []
    for x, y in zip((ONE,) * (rank - len(a)) + a, (ONE,) * (rank - len(b)) + b):
        if x.extents == y.extents:
            result.append(x if x.name else y)
        elif y.static and y.number == 1:
            result.append(x)
        elif x.static and x.number == 1:
            result.append(y)
        else:
            return None
    return tuple(result)


@dataclass
class Builder:
    """A graph in the making."""

    opset: int
    random: random.Random
    numbers: np.random.Generator
    constants: str = "mixed"  # "initializers", "nodes" or "mixed"
    nodes: list[NodeProto] = field(default_factory=list)
    initializers: list[TensorProto] = field(default_factory=list)
    pool: list[Value] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    count: int = 0

    def has(self, op_type: str) -> bool:
        """Whether the opset defines an operator."""
        try:
            return not onnx.defs.get_schema(op_type, self.opset, "").deprecated
        except onnx.defs.SchemaError:
            return False

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def fresh(self, stem: str) -> str:
        self.count += 1
        return f"{stem.lower()}_{self.count}"

    def raw(self, op_type: str, inputs: Sequence[str], outputs: int = 1, **attributes: object) -> list[str]:
        """A node; returns the names of its outputs. Attributes that are None are left out."""
        names = [self.fresh(op_type) for _ in range(outputs)]
        kept = {k: v for k, v in attributes.items() if v is not None}
        named = {"name": self.fresh("node")} if self.chance(0.5) else {}
        self.nodes.append(helper.make_node(op_type, list(inputs), names, **named, **kept))
        return names

    def op(self, op_type: str, inputs: Sequence[Value | str], shape: Shape, **attributes: object) -> Value:
        """A node with one float output of ``shape``, which joins the pool."""
        names = [x.name if isinstance(x, Value) else x for x in inputs]
        return self.add(self.raw(op_type, names, **attributes)[0], shape, inputs)

    def add(self, name: str, shape: Shape, inputs: Sequence[Value | str] = ()) -> Value:
        self.used.update(x.name for x in inputs if isinstance(x, Value))
        value = Value(name, shape)
        self.pool.append(value)
        return value

    def constant(self, array: np.ndarray) -> str:
        """An initialiser or the output of a Constant node."""
        name = self.fresh("const")
        tensor = numpy_helper.from_array(np.asarray(array), name)
        if self.constants == "nodes" or (self.constants == "mixed" and self.chance(0.4)):
            if self.opset >= 12 and tensor.data_type == TensorProto.INT64 and array.ndim == 1 and self.chance(0.5):
                attribute = {"value_ints": [int(v) for v in array]} if array.size else {"value": tensor}
            else:
                attribute = {"value": tensor}
            self.nodes.append(helper.make_node("Constant", [], [name], **attribute))
        else:
            self.initializers.append(tensor)
        return name

    def ints(self, *values: int) -> str:
        return self.constant(np.array(values, dtype=np.int64))

    def integer(self, value: int) -> str:
        return self.constant(np.array(value, dtype=np.int64))

    def number(self, value: float) -> str:
        return self.constant(np.array(value, dtype=np.float32))

    def weights(self, *shape: int, scale: float = 1.0) -> str:
        """Random numbers, about as large as keeps the size of what they are multiplied with."""
        return self.constant((self.numbers.standard_normal(shape) * scale).astype(np.float32))

    def positive_weights(self, *shape: int) -> str:
        return self.constant(self.numbers.uniform(0.5, 1.5, shape).astype(np.float32))

    def axis(self, axis: int, rank: int) -> int:
        """The same axis, sometimes counted from the end, where the opset lets every operator do so."""
        return axis - rank if self.opset >= 13 and self.chance(0.4) else axis

    def pick(self, *, rank: int | None = None, shape: Shape | None = None, fits: Shape | None = None) -> Value | None:
        """A value of the pool of that rank, or that shape, or one that broadcasts with ``fits``."""
        found = [
            v
            for v in self.pool
            if (rank is None or v.rank == rank)
            and (shape is None or same(v.shape, shape))
            and (fits is None or broadcast(v.shape, fits) is not None)
        ]
        return self.random.choice(found) if found else None

    def reduce(self, op_type: str, x: Value, axes: Sequence[int] | None, keepdims: bool) -> Value:
        """A reduction, with axes as attribute or input, as the opset has it."""
        over = set(range(x.rank) if axes is None else (a % x.rank for a in axes))
        shape = tuple(ONE if a in over else d for a, d in enumerate(x.shape) if keepdims or a not in over)
        keep = None if keepdims and self.chance(0.5) else int(keepdims)
        if self.opset >= (13 if op_type == "ReduceSum" else 18):
            more = [] if axes is None else [self.ints(*axes)]
            return self.op(op_type, [x, *more], shape, keepdims=keep)
        return self.op(op_type, [x], shape, keepdims=keep, axes=axes)

    def unsqueeze(self, name: str, *axes: int) -> str:
        """Unsqueeze of any tensor, as the opset has it."""
        if self.opset >= 13:
            return self.raw("Unsqueeze", [name, self.ints(*axes)])[0]
        return self.raw("Unsqueeze", [name], axes=list(axes))[0]

    def squeeze(self, name: str, *axes: int) -> str:
        if self.opset >= 13:
            return self.raw("Squeeze", [name, self.ints(*axes)])[0]
        return self.raw("Squeeze", [name], axes=list(axes))[0]

    def slice_name(self, name: str, axis: int, start: int, stop: int, step: int = 1) -> str:
        """Slice of any tensor along one axis, as the opset has it."""
        if self.opset < 10:
            return self.raw("Slice", [name], axes=[axis], starts=[start], ends=[stop])[0]
        more = [self.ints(start), self.ints(stop), self.ints(axis)]
        return self.raw("Slice", [name, *more, *([self.ints(step)] if step != 1 or self.chance(0.3) else [])])[0]

    def dim(self, x: Value, axis: int) -> str:
        """An extent of ``x`` read at run time, [1] int64, in one of the ways of exporters."""
        if self.opset >= 15 and self.chance(0.3):
            return self.raw("Shape", [x.name], start=axis, end=axis + 1)[0]
        shape = self.raw("Shape", [x.name])[0]
        way = self.random.choice(["scalar", "gather", "slice"])
        if way == "slice":
            return self.slice_name(shape, 0, axis, axis + 1)
        if way == "gather":
            return self.raw("Gather", [shape, self.ints(axis)], axis=0)[0]
        return self.unsqueeze(self.raw("Gather", [shape, self.integer(axis)], axis=0)[0], 0)

    def shape_of(self, x: Value, dims: Sequence[int | str]) -> str:
        """A shape put together from numbers and extents computed in the graph ([1] each)."""
        parts = [self.ints(d) if isinstance(d, int) else d for d in dims]
        return parts[0] if len(parts) == 1 else self.raw("Concat", parts, axis=0)[0]


def attribute_graphs(node: NodeProto) -> list[onnx.GraphProto]:
    """The subgraphs of a node."""
    return [a.g for a in node.attribute if a.type == AttributeProto.GRAPH]
