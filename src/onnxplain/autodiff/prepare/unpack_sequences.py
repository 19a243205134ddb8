"""Sequences and optionals whose elements are known: the elements in their place.

A value that passes through a sequence is the value itself: ``SequenceAt(SequenceConstruct(a, b), 1)`` is ``b``,
``ConcatFromSequence`` of known elements is a Concat, ``SplitToSequence`` into known parts is a Split, and
``OptionalGetElement(Optional(a))`` is ``a``.
What is left of the sequence operators has no reader and goes. A sequence of unknown length, position or parts
stays as it is, and has no gradient.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from ..graph.inference import small_constant

Elements = list[ir.Value]
Known = dict[ir.Value | None, Elements]


def unpack_sequences(model: ir.Model) -> bool:
    """Rewrite in place, the main graph only; returns whether anything changed."""
    graph = model.graph
    known: Known = {}
    changed = False
    for node in list(graph):
        if node.domain not in ("", "ai.onnx"):
            continue
        make = _MAKERS.get(node.op_type)
        if make is not None and (elements := make(graph, node, known)) is not None:
            known[node.outputs[0]] = elements
        read = _READERS.get(node.op_type)
        source = node.inputs[0] if node.inputs else None
        if read is None or source not in known:
            continue
        replacement = read(graph, node, known[source])
        if replacement is not None:
            copy = ir.node("Identity", [replacement], name=f"{node.name}/element")
            ir.convenience.replace_nodes_and_values(graph, node, [node], [copy], node.outputs, copy.outputs)
            changed = True
    if changed:
        RemoveUnusedNodesPass()(model)
    return changed


def _scalar(value: ir.Value | None) -> int | None:
    array = small_constant(value)
    return None if array is None else int(array.reshape(-1)[0])


def _construct(graph: ir.Graph, node: ir.Node, known: Known) -> Elements | None:
    return [v for v in node.inputs if v is not None]


def _empty(graph: ir.Graph, node: ir.Node, known: Known) -> Elements | None:
    return []


def _same(graph: ir.Graph, node: ir.Node, known: Known) -> Elements | None:
    source = node.inputs[0]
    return None if source is None else known.get(source)


def _insert(graph: ir.Graph, node: ir.Node, known: Known) -> Elements | None:
    elements, value = _same(graph, node, known), node.inputs[1]
    stated = node.inputs[2] if len(node.inputs) > 2 else None
    position = None if elements is None else len(elements) if stated is None else _scalar(stated)
    if elements is None or value is None or position is None:
        return None
    position += len(elements) if position < 0 else 0
    return [*elements[:position], value, *elements[position:]]


def _erase(graph: ir.Graph, node: ir.Node, known: Known) -> Elements | None:
    elements = _same(graph, node, known)
    stated = node.inputs[1] if len(node.inputs) > 1 else None
    position = -1 if stated is None else _scalar(stated)
    if not elements or position is None:
        return None
    position %= len(elements)
    return elements[:position] + elements[position + 1 :]


def _split(graph: ir.Graph, node: ir.Node, known: Known) -> Elements | None:
    x = node.inputs[0]
    if x is None or x.shape is None:
        return None
    axis = node.attributes.get_int("axis", 0) % len(x.shape)
    extent, stated = x.shape[axis], node.inputs[1] if len(node.inputs) > 1 else None
    split = small_constant(stated)
    if split is not None and split.ndim == 1:
        sizes = [int(size) for size in split]
    elif isinstance(extent, int) and (stated is None or split is not None):
        step = 1 if split is None else int(split)
        sizes = [min(step, extent - start) for start in range(0, extent, step)]
    else:
        return None
    if not sizes:
        return None
    parts = _add(graph, node, "Split", [x, _constant(graph, node, sizes)], len(sizes), axis=axis)
    for part, size in zip(parts, sizes):
        part.type, part.shape = x.type, ir.Shape([size if a == axis else d for a, d in enumerate(x.shape)])
    keepdims = node.attributes.get_int("keepdims", 1)
    if stated is not None or keepdims:
        return parts
    return [_add(graph, node, "Squeeze", [part, _constant(graph, node, [axis])], 1)[0] for part in parts]


def _at(graph: ir.Graph, node: ir.Node, elements: Elements) -> ir.Value | None:
    position = _scalar(node.inputs[1])
    return elements[position] if position is not None and -len(elements) <= position < len(elements) else None


def _concat(graph: ir.Graph, node: ir.Node, elements: Elements) -> ir.Value | None:
    if not elements:
        return None
    axis = node.attributes.get_int("axis", 0)
    if node.attributes.get_int("new_axis", 0):
        axes = _constant(graph, node, [axis])
        elements = [_add(graph, node, "Unsqueeze", [e, axes], 1)[0] for e in elements]
    return _add(graph, node, "Concat", elements, 1, axis=axis)[0]


def _length(graph: ir.Graph, node: ir.Node, elements: Elements) -> ir.Value:
    return _constant(graph, node, np.array(len(elements)))


def _element(graph: ir.Graph, node: ir.Node, elements: Elements) -> ir.Value | None:
    return elements[0] if len(elements) == 1 else None


def _has_element(graph: ir.Graph, node: ir.Node, elements: Elements) -> ir.Value:
    return _constant(graph, node, np.array(bool(elements)))


def _add(graph: ir.Graph, node: ir.Node, op: str, inputs: Elements, outputs: int, **attributes: int) -> Elements:
    stem = f"{node.name}/{op}"
    taken = sum(1 for n in graph if (n.name or "").startswith(stem))
    name = f"{stem}_{taken}" if taken else stem
    added = ir.node(op, inputs, attributes, num_outputs=outputs, name=name)
    for index, value in enumerate(added.outputs):
        value.name = f"{name}:{index}"
    graph.insert_before(node, added)
    return list(added.outputs)


def _constant(graph: ir.Graph, node: ir.Node, content: list[int] | np.ndarray) -> ir.Value:
    tensor = ir.tensor(np.asarray(content))
    name = f"{node.name}/constant_{len(graph.initializers)}"
    shape = ir.Shape(np.shape(content))
    value = ir.Value(name=name, shape=shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value


_MAKERS: dict[str, Callable[[ir.Graph, ir.Node, Known], Elements | None]] = {
    "SequenceConstruct": _construct,
    "SequenceEmpty": _empty,
    "SequenceInsert": _insert,
    "SequenceErase": _erase,
    "SplitToSequence": _split,
    "Optional": _construct,
    "Identity": _same,
}
_READERS: dict[str, Callable[[ir.Graph, ir.Node, Elements], ir.Value | None]] = {
    "SequenceAt": _at,
    "ConcatFromSequence": _concat,
    "SequenceLength": _length,
    "OptionalGetElement": _element,
    "OptionalHasElement": _has_element,
}
