"""The only way to add nodes: ``emit.Mul(a, b)`` appends a node and returns its output.

Every value it makes has a type and, as far as ONNX's inference and the naming of symbolic dimensions
can tell, a shape. Python numbers become constants of the type of the node's first tensor argument;
lists and integer arrays become int64 constants.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from ...errors import InputError
from .inference import Inference, small_constant
from .names import Names
from .schemas import NEWEST_OPSET, since_version

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST_NAME, _KEPT_OF_NAME = 400, 150
_LONG = 64  # bytes of a constant that is known by its digest
Argument = ir.Value | None | int | float | bool | Sequence[int] | np.ndarray


class Emitter:
    """Appends nodes to ``graph``; names them ``<under>/<scope>/<operator>_<k>``."""

    def __init__(
        self, graph: ir.Graph, inference: Inference, parent: Emitter | None = None, under: str = "grad"
    ) -> None:
        self.graph = graph
        #: What the walk in progress hands to the walks through expansions and bodies; nothing here looks at it.
        self.rules: Any = None if parent is None else parent.rules
        self.inference = inference
        self._parent = parent
        self._under: str = under if parent is None else parent._under
        self._scope: str = "" if parent is None else parent._scope
        self._names: Names = Names.of(graph) if parent is None else parent._names
        self._opset: int = graph.opset_imports.get("", NEWEST_OPSET) if parent is None else parent._opset
        self._place: ir.Node | None = None
        self._constants: dict[tuple[str, tuple[int, ...], bytes], ir.Value] = {}
        self._shapes: dict[ir.Value, ir.Value] = {}

    def child(self, graph: ir.Graph) -> Emitter:
        """An emitter for a subgraph: names stay unique, constants live in the outermost graph."""
        return Emitter(graph, self.inference, self)

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Name the nodes emitted inside after ``name`` (the forward node)."""
        before, self._scope = self._scope, name
        try:
            yield
        finally:
            self._scope = before

    @contextmanager
    def before(self, node: ir.Node) -> Iterator[None]:
        """Put the nodes emitted inside right before ``node``, in its graph, and name them after it."""
        outside, self._place = self._place, node
        try:
            with self.scope(node.name or node.op_type):
                yield
        finally:
            self._place = outside

    def __getattr__(self, op_type: str) -> Callable[..., ir.Value]:
        if not op_type[:1].isupper():
            raise AttributeError(op_type)

        def emit(*inputs: Argument, **attributes: Any) -> ir.Value:
            return self.op(op_type, *inputs, outputs=1, **attributes)[0]

        return emit

    def op(
        self, op_type: str, *inputs: Argument, outputs: int, domain: str = "", **attributes: Any
    ) -> tuple[ir.Value, ...]:
        """Append a node with several outputs, or of another domain; return its outputs.

        Attributes that are None are left out.

        Raises:
            InputError: the default domain has no such operator at the graph's opset.
        """
        if domain in ("", "ai.onnx"):
            self._check_operator(op_type)
        like = next((v for v in inputs if isinstance(v, ir.Value) and v.dtype is not None), None)
        values = [self._argument(v, None if like is None else like.dtype) for v in inputs]
        if not domain and not self.inference.takes(op_type, values):
            return self._in_float32(op_type, values, outputs, attributes)
        name = self.fresh(op_type)
        stated = [_attribute(k, v) for k, v in attributes.items() if v is not None]
        node = ir.Node(domain, op_type, values, stated, num_outputs=outputs, name=name)
        for index, output in enumerate(node.outputs):
            output.name = name if index == 0 else f"{name}:{index}"
        if self._place is None:
            self.graph.append(node)
        else:
            assert self._place.graph is not None
            self._place.graph.insert_before(self._place, node)
        self.inference.infer(node)
        return tuple(node.outputs)

    def input(self, name: str, type: ir.TypeProtocol | None, shape: ir.Shape | None) -> ir.Value:
        """Append an input of this name to the graph."""
        value = ir.Value(name=name, type=type, shape=shape)
        self.graph.inputs.append(value)
        return value

    def _check_operator(self, op_type: str) -> None:
        if since_version("", op_type, self._opset) is not None:
            return
        if since_version("", op_type, NEWEST_OPSET) is not None:
            raise InputError(
                f"emit.{op_type}: the operator {op_type!r} is newer than opset {self._opset}, which the graph has; "
                "write it in older operators, or bring the model to a newer opset first."
            )
        raise InputError(
            f"emit.{op_type}: ONNX's default domain has no operator {op_type!r} at opset {self._opset}; check the "
            f"spelling, or name its domain: emit.op({op_type!r}, ..., domain=...)."
        )

    def _in_float32(
        self, op_type: str, values: Sequence[ir.Value | None], outputs: int, attributes: dict[str, Any]
    ) -> tuple[ir.Value, ...]:
        """An operator that the standard does not define for bfloat16, between casts."""
        half, single = ir.DataType.BFLOAT16, ir.DataType.FLOAT
        wide = [self.Cast(v, to=single) if v is not None and v.dtype == half else v for v in values]
        found = self.op(op_type, *wide, outputs=outputs, **attributes)
        return tuple(self.Cast(v, to=half) if v.dtype == single else v for v in found)

    def constant(self, array: np.ndarray | Sequence[int] | float, dtype: ir.DataType | None = None) -> ir.Value:
        """An initializer with this content; equal constants are stored once."""
        if self._parent is not None:
            return self._parent.constant(array, dtype)
        array = np.asarray(array, dtype=None if dtype is None else dtype.numpy())
        content = array.tobytes()
        if len(content) > _LONG:
            content = hashlib.blake2b(content, digest_size=16).digest()
        key = (array.dtype.name, array.shape, content)
        if key not in self._constants:
            tensor = ir.tensor(np.ascontiguousarray(array).reshape(array.shape))
            value = ir.Value(
                name=self.fresh("constant"),
                shape=ir.Shape(array.shape),
                type=ir.TensorType(tensor.dtype),
                const_value=tensor,
            )
            self.graph.register_initializer(value)
            self._constants[key] = value
        found = self._constants[key]
        if found.name not in self.graph.initializers:  # a pass took it out, when nothing used it
            self.graph.register_initializer(found)
        return found

    def shape(self, value: ir.Value) -> ir.Value:
        """The shape of ``value`` as int64 [rank]: a constant where static, else one Shape node."""
        static = static_shape(value)
        if static is not None:
            return self.constant(np.array(static, dtype=np.int64))
        if self._place is not None:
            return self.Shape(value)
        if value not in self._shapes:
            self._shapes[value] = self.Shape(value)
        return self._shapes[value]

    def dim(self, value: ir.Value, axis: int) -> ir.Value:
        """The extent of one axis (negative counts from the end, if the rank is known) as int64 [1]."""
        if value.shape is not None:
            axis %= len(value.shape)
            extent = value.shape[axis]
            if isinstance(extent, int):
                return self.constant([extent], ir.DataType.INT64)
        end = None if axis == -1 else axis + 1
        return self.Shape(value, start=axis, end=end)

    def extent(self, value: ir.Value, axis: int) -> int | ir.Value:
        """The extent of one axis: a number where static, else int64 [1]."""
        known = None if value.shape is None else value.shape[axis]
        return known if isinstance(known, int) else self.dim(value, axis)

    def extents(self, value: ir.Value) -> list[int | ir.Value]:
        """The extent of every axis; the rank must be known."""
        assert value.shape is not None
        return [self.extent(value, axis) for axis in range(len(value.shape))]

    def vector(self, parts: Sequence[int | ir.Value]) -> ir.Value:
        """An int64 vector of numbers and int64 vectors in order: a constant if all are numbers."""
        numbers = [part for part in parts if isinstance(part, int)]
        if len(numbers) == len(parts):
            return self.constant(np.array(numbers, dtype=np.int64))
        return self.Concat(*(self._argument([p] if isinstance(p, int) else p, None) for p in parts), axis=0)

    def reshape(self, value: ir.Value, extents: Sequence[int | ir.Value]) -> ir.Value:
        """``value`` reshaped to these extents (numbers, or int64 [1]); a single computed one is inferred."""
        computed = [extent for extent in extents if isinstance(extent, ir.Value)]
        if len(computed) == 1 and 0 not in extents:
            extents = [extent if isinstance(extent, int) else -1 for extent in extents]
        return self.Reshape(value, self.vector(extents), allowzero=1)

    def reshape_like(self, value: ir.Value, like: ir.Value) -> ir.Value:
        """``value`` in the shape of ``like``, which has as many elements."""
        symbolic = 2 if like.shape is None else sum(not isinstance(d, int) for d in like.shape)
        if symbolic > 1:
            result = self.Reshape(value, self.shape(like), allowzero=1)
        else:
            result = self.reshape(value, self.extents(like))
        result.shape = like.shape
        return result

    def present(self, output: ir.Value) -> ir.Value:
        """An output of a forward node; one that the model left out gets a name, so that it is computed."""
        producer = output.producer()
        if not output.name and producer is not None:
            output.name = self.fresh("output")
            self.inference.infer(producer)
        return output

    def zeros(self, extents: Sequence[int | ir.Value], dtype: ir.DataType | None) -> ir.Value:
        """Zeros of these extents (numbers, or int64 [1])."""
        return self._filled_with_zeros(self.vector(extents), dtype)

    def zeros_like(self, value: ir.Value) -> ir.Value:
        """Zeros of the shape and type of ``value``."""
        return self._filled_with_zeros(self.shape(value), value.dtype)

    def _filled_with_zeros(self, shape: ir.Value, dtype: ir.DataType | None) -> ir.Value:
        assert dtype is not None
        if dtype == ir.DataType.BFLOAT16:  # ConstantOfShape makes it only from version 20 on
            return self.Cast(self._filled_with_zeros(shape, ir.DataType.FLOAT), to=dtype)
        return self.ConstantOfShape(shape, value=ir.tensor(np.zeros(1, dtype=dtype.numpy())))

    def gate(self, condition: ir.Value, dy: ir.Value) -> ir.Value:
        """``dy`` where ``condition`` (bool) holds, zero elsewhere, as a product with the cast mask.

        ``Where`` is by far the slowest elementwise operator of ONNX Runtime's CPU provider, so masks
        are products; this is the form that the provider passes recognise.
        """
        return self.Mul(dy, self.Cast(condition, to=dy.dtype))

    def _argument(self, argument: Argument, dtype: ir.DataType | None) -> ir.Value | None:
        if argument is None or isinstance(argument, ir.Value):
            return argument
        if isinstance(argument, (bool, int, float)):
            return self.constant(np.asarray(argument), dtype or ir.DataType.FLOAT)
        if isinstance(argument, np.ndarray):
            return self.constant(argument)
        return self.constant(np.asarray(argument, dtype=np.int64))

    def known(self, value: ir.Value) -> np.ndarray | None:
        """Return what a small tensor holds in every run, if that is known."""
        found = small_constant(value)
        return self.inference.numbers(value) if found is None else found

    def infer(self, node: ir.Node) -> None:
        """Infer types and shapes of a node that was not emitted but copied."""
        self.inference.infer(node)

    def fresh(self, stem: str) -> str:
        """A name in the current scope that nothing in the graph has yet."""
        name = "/".join(part for part in (self._under, self._scope, stem) if part)
        if len(name) > _LONGEST_NAME:  # bodies of bodies are named after both: their names would double at every level
            name = f"{name[:_KEPT_OF_NAME]}...{name[-_KEPT_OF_NAME:]}"
        return self._names.fresh(name)


def _attribute(name: str, value: Any) -> ir.Attr:
    """Return an attribute of the type of ``value``; onnx_ir knows lists and tensors by protocols, which is slow."""
    if isinstance(value, list) and value and all(isinstance(item, int) for item in value):
        return ir.AttrInt64s(name, value)
    return ir.AttrTensor(name, value) if isinstance(value, ir.Tensor) else ir.convenience.convert_attribute(name, value)


def static_shape(value: ir.Value) -> tuple[int, ...] | None:
    """The shape as numbers, or None if any dimension is symbolic or the rank is unknown."""
    if value.shape is None or not all(isinstance(d, int) for d in value.shape):
        return None
    return tuple(int(d) for d in value.shape)  # type: ignore[arg-type]


def unbroadcast(emit: Emitter, dy: ir.Value, x: ir.Value) -> ir.Value:
    """Sum ``dy`` over the axes along which ``x`` was broadcast (numpy rules) to ``dy``'s shape.

    Axes are decided from static extents and equal dimension names; only what those leave open is
    decided in the graph.
    """
    if dy.shape is None or x.shape is None:
        return _unbroadcast_at_run_time(emit, dy, x)
    lead = len(dy.shape) - len(x.shape)
    axes = list(range(lead))
    for axis, extent in enumerate(x.shape):
        broadcast = dy.shape[lead + axis]
        if extent == broadcast or (isinstance(extent, int) and extent != 1):
            continue
        if extent != 1:
            return _unbroadcast_at_run_time(emit, dy, x)
        axes.append(lead + axis)
    if not axes:
        return dy
    if not lead:
        return emit.ReduceSum(dy, axes, keepdims=1)
    kept = [a for a in axes if a >= lead]
    summed = emit.ReduceSum(dy, axes, keepdims=0)
    return emit.Unsqueeze(summed, [a - lead for a in kept]) if kept else summed


def _unbroadcast_at_run_time(emit: Emitter, dy: ir.Value, x: ir.Value) -> ir.Value:
    shape, full = emit.shape(x), emit.shape(dy)
    missing = emit.Sub(emit.Shape(full), emit.Shape(shape))
    ones = emit.Expand(emit.constant([1], ir.DataType.INT64), missing)
    padded = emit.Concat(ones, shape, axis=0)
    axes = emit.Reshape(emit.NonZero(emit.Equal(padded, 1)), [-1])
    summed = emit.ReduceSum(dy, axes, keepdims=1, noop_with_empty_axes=1)
    return emit.Reshape(summed, shape, allowzero=1)
