"""Edits of nodes and values that exist: who reads what, under which name. New nodes come from the emitter alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from .emitter import Emitter
from .names import Names


def redirect(emit: Emitter, old: ir.Value, new: ir.Value) -> None:
    """Let everything that reads ``old`` read ``new``, the graph's outputs too: an output keeps its public name."""
    if old.is_graph_output():
        _take_name(emit, old, new)
    old.replace_all_uses_with(new, replace_graph_outputs=True)


def replace(emit: Emitter, old: ir.Value, new: ir.Value) -> None:
    """:func:`redirect` to a new value, which takes over the name too, and what is known of the type and the shape."""
    new.type = new.type if old.type is None else old.type
    new.shape = new.shape if old.shape is None else old.shape
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    _take_name(emit, old, new)


def put_out(emit: Emitter, index: int, new: ir.Value) -> None:
    """Let ``new`` be output number ``index`` of the graph, under its name; other readers of the old one stay."""
    old = emit.graph.outputs[index]
    new.shape = new.shape if old.shape is None else old.shape
    emit.graph.outputs[index] = new
    _take_name(emit, old, new)


def put_constant(graph: ir.Graph, old: ir.Value, array: np.ndarray) -> None:
    """Let an initializer with this content take the place of ``old``, which is no output, and its name."""
    tensor = ir.tensor(array, name=old.name)
    constant = ir.Value(
        name=old.name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
    )
    old.replace_all_uses_with(constant)
    old.name = None
    graph.register_initializer(constant)


def reread(nodes: Iterable[ir.Node], copies: Mapping[ir.Value, ir.Value]) -> None:
    """Let ``nodes`` read the copy of every value that has one."""
    for node in nodes:
        for index, value in enumerate(node.inputs):
            if value is not None and value in copies:
                node.replace_input_with(index, copies[value])


def set_input(node: ir.Node, index: int, value: ir.Value | None) -> None:
    """Set an input, which the node may not have yet."""
    if index >= len(node.inputs):
        node.resize_inputs(index + 1)
    node.replace_input_with(index, value)


def become(node: ir.Node, op_type: str, *inputs: ir.Value | None, **attributes: Any) -> None:
    """Turn ``node`` into another operator with the same outputs."""
    node.op_type = op_type
    node.resize_inputs(len(inputs))
    for index, value in enumerate(inputs):
        node.replace_input_with(index, value)
    node.attributes.clear()
    for attribute in ir.convenience.convert_attributes(attributes):
        node.attributes.add(attribute)


def take(node: ir.Node, name: str) -> Any:
    """Remove an attribute and return its value; None if there is none."""
    attribute = node.attributes.pop(name, None)
    return None if attribute is None else attribute.value


def let_go(node: ir.Node) -> None:
    """Let the bodies of a node that left its graph read nothing any more."""
    for attribute in node.attributes.values():
        if isinstance(attribute.value, ir.Graph):
            for inner in attribute.value.all_nodes():
                for index in range(len(inner.inputs)):
                    inner.replace_input_with(index, None)


def inline(emit: Emitter, node: ir.Node, body: ir.Graph, taken: set[str | None]) -> list[ir.Value]:
    """Move the nodes of one of ``node``'s subgraphs in front of it, and return what were the subgraph's outputs.

    Values keep their names, unless a value of the outer graph has it: ``taken`` holds those names, and grows.
    """
    assert node.graph is not None
    results, inner = list(body.outputs), list(body)
    body.outputs.clear()
    for one in inner:
        body.remove(one)
        one.name = emit.fresh(one.name or one.op_type)
        for value in one.outputs:
            if value.name in taken:
                value.name = emit.fresh(value.name or "value")
            taken.add(value.name)
    node.graph.insert_before(node, inner)
    return results


def free_name(emit: Emitter, name: str) -> None:
    """Rename the inner value of this name, so that something public can have it."""
    graph = emit.graph
    for value in [*graph.initializers.values(), *(v for node in graph for v in node.outputs)]:
        if value.name == name:
            value.name = emit.fresh(f"{name}/inner")


def publish(emit: Emitter, value: ir.Value, name: str) -> ir.Value:
    """Append an output of this name, which is free: ``value`` itself, or a copy of what has to keep its name."""
    if value.producer() is None or value.is_graph_output():
        shape, kind = value.shape, value.type
        value = emit.Identity(value)
        value.shape, value.type = shape, kind
    value.name = name
    emit.graph.outputs.append(value)
    return value


def begin_at(emit: Emitter, value: ir.Value) -> None:
    """Let an input of the same name take the place of an inner value everywhere but in the outputs."""
    if value.is_graph_input():
        return
    public = value.name or ""
    value.name = emit.fresh(f"{public}/computed")
    given = emit.input(public, value.type, value.shape)
    reread([use.node for use in value.uses()], {value: given})


def move_input_inside(emit: Emitter, old: ir.Value, made: ir.Value, new: ir.Value) -> None:
    """Let ``made`` take the place and the name of the input ``old``, and the input ``new`` its place in the order.

    ``made`` is computed from ``new`` by nodes at the end of the graph, which is sorted then.
    """
    graph = emit.graph
    made.type, made.shape = old.type, old.shape
    old.replace_all_uses_with(made, replace_graph_outputs=True)
    graph.inputs.remove(new)
    graph.inputs[list(graph.inputs).index(old)] = new
    _take_name(emit, old, made)
    graph.sort()


def value_names(graph: ir.Graph) -> set[str | None]:
    """Return the names of the graph's own values."""
    values = [*graph.inputs, *graph.initializers.values(), *(v for node in graph for v in node.outputs)]
    return {value.name for value in values}


def name(names: Names, thing: ir.Node | ir.Value, stem: str) -> None:
    """Name a node or value that has none."""
    thing.name = names.fresh(stem)


def _take_name(emit: Emitter, old: ir.Value, new: ir.Value) -> None:
    public = old.name
    old.name = emit.fresh(f"{public}/replaced")
    new.name = public
