"""Operators that the ONNX standard defines by other operators: the definition, and the nodes it stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from .emitter import Emitter
from .inference import tensor_type
from .operator import Operator


def function_body(node: Operator) -> onnx.FunctionProto | None:
    """The standard's own definition of the node's operator in other operators, or None if it has none.

    A definition written for an opset below 18 is taken only if its nodes have the form they have from 18 on.
    """
    try:
        schema: Any = onnx.defs.get_schema(node.op_type, node.opset, node.node.domain)
    except onnx.defs.SchemaError:
        return None
    for version in reversed(schema.all_function_opset_versions):
        if version > node.opset:
            continue
        if schema.has_function and version in schema.function_opset_versions:
            data: bytes = schema.get_function_with_opset_version(version)
        else:
            types = [b"" if v is None or (t := tensor_type(v)) is None else t.SerializeToString() for v in node.inputs]
            proto = ir.serde.serialize_node(node.node).SerializeToString()
            data = schema.get_context_dependent_function_with_opset_version(version, proto, types)
        function = onnx.FunctionProto()
        if data and function.ParseFromString(data) and (version >= 18 or all(_is_modern(n) for n in function.node)):
            return function
    return None


def _is_modern(node: onnx.NodeProto) -> bool:
    """Whether a node of an opset from 13 to 17 has the same form and meaning at 18."""
    if node.op_type.startswith("Reduce") and node.op_type != "ReduceSum":
        return all(a.name != "axes" for a in node.attribute)
    return node.op_type != "Resize" and (node.op_type != "Split" or len(node.input) == 2)


def expand_function(emit: Emitter, node: Operator, function: onnx.FunctionProto) -> Sequence[ir.Value | None]:
    """Emit the definition's nodes for this node's inputs and attributes; returns its outputs."""
    values: dict[str, ir.Value | None] = dict(zip(function.input, [*node.inputs, *[None] * len(function.input)]))
    attributes = {a.name: a for a in function.attribute_proto}
    attributes |= {name: ir.serde.serialize_attribute(a) for name, a in node.node.attributes.items()}
    for proto in function.node:
        given = [_resolved(a, attributes) for a in proto.attribute]
        if proto.op_type == "Constant":
            values[proto.output[0]] = emit.constant(_constant(given[0]))
            continue
        inputs = [values.get(name) if name else None for name in proto.input]
        while inputs and inputs[-1] is None:
            inputs.pop()
        made = emit.op(
            proto.op_type,
            *inputs,
            outputs=len(proto.output),
            domain=proto.domain,
            **{a.name: ir.serde.deserialize_attribute(a) for a in given if a is not None},
        )
        values.update(zip(proto.output, made))
    return [values.get(name) for name in function.output][: len(node.outputs)]


def _resolved(attribute: onnx.AttributeProto, given: Mapping[str, onnx.AttributeProto]) -> onnx.AttributeProto | None:
    """The attribute itself, or what it refers to under its own name; None if nobody gave that."""
    if not attribute.ref_attr_name:
        return attribute
    found = given.get(attribute.ref_attr_name)
    if found is None:
        return None
    copy = onnx.AttributeProto()
    copy.CopyFrom(found)
    copy.name = attribute.name
    return copy


def _constant(attribute: onnx.AttributeProto | None) -> np.ndarray:
    value = None if attribute is None else onnx.helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    dtype = np.float32 if attribute is not None and attribute.name.startswith("value_float") else np.int64
    return np.asarray(value, dtype=dtype)
