"""Copies of nodes: bodies of subgraphs and of functions under fresh names, and single nodes that no graph holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from .emitter import Emitter
from .schemas import is_standard

Copies = dict[ir.Value, ir.Value | None]


def copy_nodes(
    emit: Emitter,
    source: ir.Graph | ir.Function | Sequence[ir.Node],
    into: ir.Graph,
    mapping: Copies,
    attributes: Mapping[str, ir.Attr] | None = None,
) -> None:
    """Append copies of ``source``'s nodes to ``into``; ``mapping`` (old value -> new) grows by what they make.

    Constants become initialisers, and of an If whose condition is known the branch that is taken is copied.
    ``attributes`` are those of the call of a function: references to them are resolved, and left out where the call
    does not give them.
    """
    if isinstance(source, ir.Graph):
        for value in source.initializers.values():
            assert value.const_value is not None
            mapping[value] = emit.constant(value.const_value.numpy())
    for node in source:
        given = [_copy_attribute(emit, a, mapping, attributes or {}) for a in node.attributes.values()]
        if node.op_type == "Constant" and is_standard(node.domain):
            mapping[node.outputs[0]] = emit.constant(_constant(given[0]))
            continue
        taken = _decided(emit, node, mapping)
        if taken is not None:
            copy_nodes(emit, taken, into, mapping, attributes)
            mapping.update((old, mapping.get(new, new)) for old, new in zip(node.outputs, taken.outputs))
            continue
        copy = ir.Node(
            node.domain,
            node.op_type,
            [None if v is None else mapping.get(v, v) for v in node.inputs],
            [a for a in given if a is not None],
            num_outputs=len(node.outputs),
            name=emit.fresh(node.name or node.op_type),
        )
        for old, new in zip(node.outputs, copy.outputs):
            new.name = "" if old.name == "" else emit.fresh(old.name or "value")
            new.type = old.type
            mapping[old] = new
        into.append(copy)
        emit.infer(copy)


def _decided(emit: Emitter, node: ir.Node, mapping: Copies) -> ir.Graph | None:
    """Return the branch that an If takes in every run; None for other nodes, and where a run decides."""
    if node.op_type != "If" or not is_standard(node.domain) or (condition := node.inputs[0]) is None:
        return None
    known = emit.known(mapping.get(condition) or condition)
    return None if known is None else node.attributes["then_branch" if known.all() else "else_branch"].as_graph()


def _copy_attribute(
    emit: Emitter, attribute: ir.Attr, mapping: Copies, attributes: Mapping[str, ir.Attr]
) -> ir.Attr | None:
    if attribute.is_ref():
        found = attributes.get(attribute.ref_attr_name or "")
        return None if found is None else ir.Attr(attribute.name, found.type, found.value)
    if attribute.type != ir.AttributeType.GRAPH:
        return attribute
    source = attribute.as_graph()
    graph = ir.Graph([], [], nodes=[], opset_imports=source.opset_imports, name=emit.fresh(source.name or "graph"))
    inner = dict(mapping)
    child = emit.child(graph)
    for value in source.inputs:
        copied = ir.Value(name=emit.fresh(value.name or "input"), type=value.type, shape=value.shape)
        graph.inputs.append(copied)
        inner[value] = copied
    copy_nodes(child, source, graph, inner, attributes)
    for value in source.outputs:
        made = inner.get(value) or value
        graph.outputs.append(child.Identity(made) if made.graph is not graph or made in graph.outputs else made)
    return ir.Attr(attribute.name, ir.AttributeType.GRAPH, graph)


def _constant(attribute: ir.Attr | None) -> np.ndarray:
    assert attribute is not None
    if attribute.type == ir.AttributeType.TENSOR:
        return attribute.as_tensor().numpy()
    dtype = np.float32 if attribute.name.startswith("value_float") else np.int64
    return np.asarray(attribute.value, dtype=dtype)


def loose_value(value: ir.Value) -> ir.Value:
    """Return a value of the same name, type, shape and content that no graph knows."""
    return ir.Value(name=value.name, type=value.type, shape=value.shape, const_value=value.const_value)


def loose_node(node: ir.Node, domain: str, inputs: Sequence[ir.Value | None], named: bool = False) -> ir.Node:
    """Return the node with other inputs, as an operator of ``domain``, in no graph.

    Its outputs have no names, or those of their numbers.
    """
    copy = ir.Node(domain, node.op_type, inputs, node.attributes.values(), num_outputs=len(node.outputs))
    for index, output in enumerate(copy.outputs if named else ()):
        output.name = f"output{index}"
    return copy
