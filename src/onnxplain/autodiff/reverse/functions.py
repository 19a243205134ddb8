"""Operators that the ONNX standard defines by other operators: the definition, and the nodes it stands for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
import onnx_ir as ir

from ..graph.copying import Copies, copy_nodes
from ..graph.emitter import Emitter
from ..graph.inference import tensor_type
from ..graph.operator import Operator


def function_body(node: Operator) -> onnx.FunctionProto | None:
    """Return the standard's own definition of the node's operator in other operators, or None if it has none.

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


def expand_function(emit: Emitter, node: Operator, proto: onnx.FunctionProto) -> Sequence[ir.Value | None]:
    """Emit the definition's nodes for this node's inputs and attributes; returns its outputs."""
    named = list(proto.output)
    made = {name for n in proto.node for name in n.output}
    del proto.output[:]
    proto.output.extend(name for name in named if name in made)  # a definition may leave out unused ones
    function = ir.serde.deserialize_function(proto)
    defaults = {name: a for name, a in function.attributes.items() if a.value is not None}
    attributes = {**defaults, **node.node.attributes}
    mapping: Copies = dict(zip(function.inputs, [*node.inputs, *[None] * len(function.inputs)]))
    copy_nodes(emit, function, emit.graph, mapping, attributes)
    results = {value.name: mapping.get(value) for value in function.outputs}
    return [results.get(name) for name in named][: len(node.outputs)]
