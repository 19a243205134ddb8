"""Shapes and types of one node's outputs, with a name for every dimension that is not a number.

ONNX's own shape inference leaves a dimension without value or name wherever arithmetic on a symbolic
one is needed (the height after a strided convolution). Here such a dimension gets a name that is a
function of what it was computed from, so that two dimensions which must be equal get the same name:
``(h-1)//2+1`` on both branches of a residual block. Equal names are what tells the walk that an
addition did not broadcast, and ONNX Runtime that a product may stay in its blocked layout.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Hashable, Iterator, Sequence

import numpy as np
import onnx
import onnx_ir as ir

from .bodies import bodies
from .machine_learning_shapes import ML_LIKE_FIRST, machine_learning_shape
from .schemas import is_standard
from .shape_values import ShapeValues
from .shapes_of_bodies import if_shapes, loop_shapes

_DATA_DEPENDENT = {
    "NonZero", "Unique", "Compress", "NonMaxSuppression", "Range", "Resize", "Upsample", "StringSplit",
    "SequenceAt", "SplitToSequence", "ConcatFromSequence", "SequenceConstruct", "SequenceInsert", "MaxRoiPool",
}  # fmt: skip
#: Shaped like their first input; ONNX infers nothing for them, or not for every form.
_LIKE_FIRST = {
    "GroupNormalization", "LayerNormalization", "MeanVarianceNormalization", "SimplifiedLayerNormalization",
    *ML_LIKE_FIRST,
}  # fmt: skip
_SMALL = 1024
_FEW = 16
_MOST_REMEMBERED = 4096
#: Attributes that hold more than numbers and words: nodes are not compared by them.
_BIG_ATTRIBUTES = {
    ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS, ir.AttributeType.TENSOR, ir.AttributeType.TENSORS,
    ir.AttributeType.SPARSE_TENSOR, ir.AttributeType.SPARSE_TENSORS, ir.AttributeType.TYPE_PROTO,
    ir.AttributeType.TYPE_PROTOS,
}  # fmt: skip
#: Keys of a value's ``meta``: the shape that the file states of it, and whether single extents of that count.
STATED, EXTENTS_COUNT = "stated_shape", "stated_extents_count"
_PROVISIONAL = re.compile(r"_[0-9a-f]{12}_\d+")


def tensor_type(value: ir.Value) -> onnx.TypeProto | None:
    """Return the value's type and shape as ONNX's inference takes them; None if the type is unknown."""
    _take_type_of_constant(value)
    if value.type is None:
        return None
    proto = onnx.TypeProto()
    ir.serde.serialize_type_into(proto, value.type)
    if value.shape is not None:
        ir.serde.serialize_shape_into(proto, value.shape)
    return proto


def _take_type_of_constant(value: ir.Value) -> None:
    if value.type is None and value.const_value is not None:
        value.type, value.shape = ir.TensorType(value.const_value.dtype), ir.Shape(value.const_value.shape.numpy())


def small_constant(value: ir.Value | None) -> np.ndarray | None:
    """Return the array behind a small constant (initializer), or None."""
    if value is None or value.const_value is None or value.is_graph_input():
        return None
    return value.const_value.numpy() if value.const_value.size <= _SMALL else None


def made_by(value: ir.Value | None, op_type: str) -> ir.Node | None:
    """Return the node that makes ``value``, if it is this operator of the default domain."""
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type == op_type and is_standard(node.domain) else None


def advice_on_rank(value: ir.Value) -> str:
    """Return what to do about a value of unknown rank: the node that leaves it open is named, if there is one."""
    lost: ir.Value | None = value
    while lost is not None and (node := lost.producer()) is not None:
        lost = next((v for v in node.inputs if v is not None and v.shape is None), None)
        if lost is None:
            return f"the {node.op_type} node {node.name!r} leaves it open: let it have the same rank in every run"
    return "give the model's inputs static ranks"


#: A shape, as far as it is known.
Found = Sequence[int | ir.SymbolicDim | None] | ir.Shape | None
#: The type and shape of an output.
Inferred = tuple[ir.TypeProtocol | None, ir.Shape | None]
#: Values like the outputs of a node of another domain, given the node and the model's opset.
Foreign = Callable[[ir.Node, int], Sequence[ir.Value | None]]


class Inference:
    """Infers outputs node by node for one opset import table; names what ONNX leaves unnamed."""

    def __init__(self, opset_imports: dict[str, int], foreign: Foreign | None = None) -> None:
        """``foreign(node, opset)`` says what the outputs of a node of another domain are like."""
        self._opsets = dict(opset_imports)
        self._foreign = foreign
        self._imports = [onnx.helper.make_opsetid(d, v) for d, v in opset_imports.items()]
        self._offsets: dict[str, tuple[str, int]] = {}
        self._values = ShapeValues()
        self._found: dict[Hashable, list[Inferred | None]] = {}

    def infer(self, node: ir.Node) -> None:
        """Fill in missing types, shapes and dimensions of ``node``'s outputs, in place."""
        inferred = self._onnx(node)
        alike: Sequence[ir.Value | None] = []
        if self._foreign is not None and not is_standard(node.domain):
            alike = self._foreign(node, self._opsets.get("", 0))
        if node.op_type in _LIKE_FIRST and node.inputs[0] is not None:
            x, y = node.inputs[0], node.outputs[0]
            y.type = y.type or x.type
            y.shape = x.shape if y.shape is None or any(unknown(d) for d in y.shape) else y.shape
        for output, found, like in itertools.zip_longest(node.outputs, inferred, alike[: len(node.outputs)]):
            if found is not None:
                _take_over(output, *found)
            elif like is not None:
                output.type = output.type or like.type
                _fill(output, like.shape)
        if any(is_open(output.shape) for output in node.outputs):
            for output, shape in self._followed(node):
                _fill(output, shape)
        for index, output in enumerate(node.outputs):
            if output.shape is None:
                output.shape = output.meta.get(STATED)
            self._name_unknown(node, index)
            _take_stated_extents(output)
        self._values.visit(node)

    def _name_unknown(self, node: ir.Node, index: int) -> None:
        """Name the dimensions of an output that nothing is known of."""
        output = node.outputs[index]
        if output.shape is not None and is_open(output.shape):
            output.shape = ir.Shape(
                [self._name(node, index, axis) if unknown(d) else d for axis, d in enumerate(output.shape)]
            )

    def _followed(self, node: ir.Node) -> Iterator[tuple[ir.Value, Found]]:
        """Yield shapes of outputs that ONNX's inference of one node leaves open."""
        if node.op_type in ("If", "Loop") and is_standard(node.domain):
            follow, before = (if_shapes, 0) if node.op_type == "If" else (loop_shapes, 1)
            for output, inner in zip(node.outputs, bodies(node)[0].outputs[before:]):
                output.type = output.type or inner.type
            yield from zip(node.outputs, follow(node, Inference(self._opsets, self._foreign).infer))
        yield from zip(node.outputs, self._values.output_shapes(node))
        for index, output in enumerate(node.outputs):
            if node.domain == "ai.onnx.ml":
                yield output, machine_learning_shape(node, index)
            if (rank := _rank(node, index)) is not None:
                yield output, [None] * rank

    def numbers(self, value: ir.Value) -> np.ndarray | None:
        """Return what a small integer tensor holds where shapes say so; None if it takes running the model."""
        return self._values.numbers(value)

    def takes(self, op_type: str, values: Sequence[ir.Value | None]) -> bool:
        """Return whether the standard defines an operator of the default domain for those of ``values`` in bfloat16."""
        half = [i for i, v in enumerate(values) if v is not None and v.dtype == ir.DataType.BFLOAT16]
        if not half or not onnx.defs.has(op_type, ""):
            return True
        formal = onnx.defs.get_schema(op_type, self._opsets.get("", 0), "").inputs
        return all("tensor(bfloat16)" in formal[min(i, len(formal) - 1)].types for i in half)

    def _onnx(self, node: ir.Node) -> list[Inferred | None]:
        """What ONNX infers of each output; nodes that are alike are inferred once."""
        key = _likeness(node)
        if key is None:
            return self._ask_onnx(node)
        if key not in self._found:
            if len(self._found) >= _MOST_REMEMBERED:
                self._found.clear()
            self._found[key] = self._ask_onnx(node)
        return self._found[key]

    def _ask_onnx(self, node: ir.Node) -> list[Inferred | None]:
        version = self._opsets.get(node.domain)
        if version is None:
            return []
        try:
            schema = onnx.defs.get_schema(node.op_type, version, node.domain)
        except onnx.defs.SchemaError:
            return []
        types: dict[str, onnx.TypeProto] = {}
        data: dict[str, onnx.TensorProto] = {}
        for value in node.inputs:
            if value is None or value.name is None:
                continue
            proto = tensor_type(value)
            if proto is None:
                return []
            types[value.name] = proto
            if value.const_value is not None and _decides_shapes(value):
                data[value.name] = ir.serde.serialize_tensor(value.const_value)
        try:
            found = onnx.shape_inference.infer_node_outputs(
                schema, ir.serde.serialize_node(node), types, data, opset_imports=self._imports
            )
        except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, ValueError, RuntimeError):
            return []
        protos = [found.get(output.name or "") for output in node.outputs]
        return [
            None
            if proto is None
            else (ir.serde.deserialize_type_proto_for_type(proto), ir.serde.deserialize_type_proto_for_shape(proto))
            for proto in protos
        ]

    def _name(self, node: ir.Node, index: int, axis: int) -> ir.SymbolicDim | int:
        name = (self._window(node, axis) if index == 0 else None) or self._key(node, index, axis)
        return ir.SymbolicDim(name)

    def _key(self, node: ir.Node, index: int, axis: int) -> str:
        parts: list[object] = [node.domain, node.op_type, index, axis]
        parts += [(a.name, str(a.value)) for a in node.attributes.values() if a.type != ir.AttributeType.GRAPH]
        for value in node.inputs:
            constant = small_constant(value)
            if value is None:
                parts.append(None)
            elif constant is not None:
                parts.append((constant.shape, constant.tobytes()))
            elif value.dtype is not None and value.dtype.is_floating_point():
                parts.append(str(value.shape))
            else:
                parts.append((str(value.shape), value.name))
        vague = any(value is not None and is_open(value.shape) for value in node.inputs)
        has_graph = any(a.type == ir.AttributeType.GRAPH for a in node.attributes.values())
        if node.op_type in _DATA_DEPENDENT or vague or has_graph or not is_standard(node.domain):
            parts.append(node.outputs[0].name)
        digest = hashlib.sha256(repr(parts).encode()).hexdigest()[:12]
        return f"{node.op_type}_{digest}_{axis}"

    def _window(self, node: ir.Node, axis: int) -> str | None:
        """The closed form of a sliding window's output extent: ``(in + pads - kernel)//stride + 1``."""
        if node.op_type not in ("Conv", "MaxPool", "AveragePool", "LpPool") or axis < 2:
            return None
        x = node.inputs[0]
        kernel = _ints(node, "kernel_shape")
        if kernel is None and node.op_type == "Conv" and (w := node.inputs[1]) is not None and w.shape is not None:
            kernel = [d if isinstance(d, int) else -1 for d in w.shape[2:]]
        if x is None or x.shape is None or kernel is None or kernel[axis - 2] < 0 or _int(node, "ceil_mode"):
            return None
        extent = x.shape[axis]
        if not isinstance(extent, ir.SymbolicDim) or extent.value is None:
            return None
        i, n = axis - 2, len(kernel)
        stride = (_ints(node, "strides") or [1] * n)[i]
        dilation = (_ints(node, "dilations") or [1] * n)[i]
        auto_pad = node.attributes.get_string("auto_pad", "NOTSET")
        if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            return self._add(self._floor(self._add(extent.value, stride - 1), stride), 0)
        pads = (_ints(node, "pads") or [0] * 2 * n) if auto_pad == "NOTSET" else [0] * 2 * n
        room = pads[i] + pads[i + n] - (dilation * (kernel[i] - 1) + 1)
        if stride == 1:
            return self._add(extent.value, room + 1)
        return self._add(self._floor(self._add(extent.value, room), stride), 1)

    def _add(self, name: str, offset: int) -> str:
        base, already = self._offsets.get(name, (name, 0))
        total = already + offset
        result = f"{base}{total:+d}" if total else base
        self._offsets[result] = (base, total)
        return result

    def _floor(self, name: str, divisor: int) -> str:
        return name if divisor == 1 else f"({name})//{divisor}"


def _decides_shapes(value: ir.Value) -> bool:
    """Whether what a constant holds may say which shape an output has: whole numbers, or a few scales."""
    tensor = value.const_value
    if tensor is None or tensor.dtype is ir.DataType.STRING or value.is_graph_input():
        return False
    return bool(tensor.size <= (_FEW if tensor.dtype.is_floating_point() else _SMALL))


def _likeness(node: ir.Node) -> Hashable | None:
    """What ONNX's inference goes by: equal for nodes that it infers the same of; None for one with a subgraph."""
    parts: list[Hashable] = [node.domain, node.op_type, tuple(bool(output.name) for output in node.outputs)]
    for attribute in node.attributes.values():
        if attribute.type in _BIG_ATTRIBUTES or attribute.is_ref():
            return None
        value = attribute.value
        parts.append((attribute.name, attribute.type, tuple(value) if isinstance(value, list) else value))
    for read in node.inputs:
        if read is None:
            parts.append(None)
            continue
        _take_type_of_constant(read)
        kind = read.dtype if isinstance(read.type, ir.TensorType) else repr(read.type)
        shape = None if read.shape is None else read.shape.dims
        tensor = read.const_value if _decides_shapes(read) else None
        parts.append((kind, shape, None if tensor is None else tensor.tobytes()))
    return tuple(parts)


def _contradict(stated: ir.Shape | None, found: ir.Shape | None) -> bool:
    """Whether two shapes of one value have different numbers somewhere, or different ranks."""
    if stated is None or found is None:
        return False
    pairs = zip(stated, found)
    return len(stated) != len(found) or any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in pairs)


def _take_over(value: ir.Value, kind: ir.TypeProtocol | None, found: ir.Shape | None) -> None:
    """Take over a type, and a shape where none is known yet or the known one contradicts it."""
    value.type = value.type or kind
    if _contradict(value.shape, found):
        value.shape = None  # an exporter's mistake: jax2onnx states extents of before a transposition
    _fill(value, found)


def _fill(value: ir.Value, found: Found) -> None:
    """Take over what is found of a shape where nothing is known yet."""
    if found is None or (value.shape is not None and len(value.shape) != len(found)):
        return
    if value.shape is None:
        value.shape = ir.Shape(found)
    elif is_open(value.shape):
        value.shape = ir.Shape([new if unknown(old) else old for old, new in zip(value.shape, found)])


def _take_stated_extents(value: ir.Value) -> None:
    """Take over what the file states for what is not understood, where it counts: numbers, and names of outputs."""
    shape, stated = value.shape, value.meta.get(STATED)
    if shape is None or stated is None or len(stated) != len(shape) or not value.meta.get(EXTENTS_COUNT):
        return
    counts = [isinstance(dim, int) or (value.is_graph_output() and not unknown(dim)) for dim in stated]
    value.shape = ir.Shape(
        [new if is_provisional(old) and count else old for old, new, count in zip(shape, stated, counts)]
    )


def _rank(node: ir.Node, index: int) -> int | None:
    """The rank of an output that ONNX leaves open, mostly because axes are only known at run time."""
    x = node.inputs[0] if node.inputs else None
    if x is None or x.shape is None:
        return None
    rank = len(x.shape)
    if node.op_type in ("Pad", "CenterCropPad", "MaxUnpool"):
        return rank
    if node.op_type == "Attention" and index > 0:
        return 4
    if node.op_type == "ArrayFeatureExtractor":
        return max(rank, 2)
    axes = node.inputs[1] if node.op_type in ("Squeeze", "Unsqueeze") and len(node.inputs) > 1 else None
    if axes is None or axes.shape is None:
        return None
    count = axes.shape[0] if len(axes.shape) else 1
    if not isinstance(count, int):
        return None
    return rank + count if node.op_type == "Unsqueeze" else rank - count


def is_provisional(dim: int | ir.SymbolicDim) -> bool:
    """Return whether a dimension has a name from here that stands for something not understood (yet)."""
    return isinstance(dim, ir.SymbolicDim) and dim.value is not None and _PROVISIONAL.search(dim.value) is not None


def unknown(dim: int | ir.SymbolicDim) -> bool:
    """Return whether a dimension has neither a value nor a name."""
    return isinstance(dim, ir.SymbolicDim) and dim.value is None


def is_open(shape: ir.Shape | None) -> bool:
    """Return whether a rank is unknown, or an extent has neither a value nor a name."""
    return shape is None or any(not isinstance(extent, int) and extent.value is None for extent in shape)


def _ints(node: ir.Node, name: str) -> list[int] | None:
    attribute = node.attributes.get(name)
    return None if attribute is None else [int(v) for v in attribute.as_ints()]


def _int(node: ir.Node, name: str) -> int:
    attribute = node.attributes.get(name)
    return 0 if attribute is None else int(attribute.as_int())
