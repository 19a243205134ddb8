"""Sequences and optionals whose elements are known: the elements in their place.

A value that passes through a sequence is the value itself: ``SequenceAt(SequenceConstruct(a, b), 1)`` is ``b``,
``ConcatFromSequence`` of known elements is a Concat, ``SplitToSequence`` into known parts is a Split, and
``OptionalGetElement(Optional(a))`` is ``a``.
What is left of the sequence operators has no reader and goes. A sequence of unknown length, position or parts
stays as it is, and has no gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from ..graph.editing import replace
from ..graph.emitter import Emitter
from ..graph.inference import small_constant
from ..graph.passes import Step, Work, fired, graph_pass, left

Elements = list[ir.Value]
Known = dict[ir.Value | None, Elements]


@graph_pass(needs="inferred shapes", ensures="no sequence or optional whose elements are known")
def unpack_sequences(work: Work) -> Iterator[Step]:
    """Rewrite in place, the main graph only."""
    emit, graph = work.emit, work.model.graph
    known: Known = {}
    changed = False
    for node in list(graph):
        if node.domain not in ("", "ai.onnx"):
            continue
        with emit.before(node):
            make, read = _MAKERS.get(node.op_type), _READERS.get(node.op_type)
            if make is not None and (elements := make(emit, node, known)) is not None:
                known[node.outputs[0]] = elements
            if read is None:
                continue
            source = node.inputs[0] if node.inputs else None
            replacement = read(emit, node, known[source]) if source in known else None
            if replacement is None:
                yield left(node, "the elements, or the one that is read, are only known when the model runs")
                continue
            replace(emit, node.outputs[0], emit.Identity(replacement))
        graph.remove(node, safe=True)
        changed = True
        yield fired(node)
    if changed:
        RemoveUnusedNodesPass()(work.model)


def _scalar(value: ir.Value | None) -> int | None:
    array = small_constant(value)
    return None if array is None else int(array.reshape(-1)[0])


def _construct(emit: Emitter, node: ir.Node, known: Known) -> Elements | None:
    return [v for v in node.inputs if v is not None]


def _empty(emit: Emitter, node: ir.Node, known: Known) -> Elements | None:
    return []


def _same(emit: Emitter, node: ir.Node, known: Known) -> Elements | None:
    source = node.inputs[0]
    return None if source is None else known.get(source)


def _insert(emit: Emitter, node: ir.Node, known: Known) -> Elements | None:
    elements, value = _same(emit, node, known), node.inputs[1]
    stated = node.inputs[2] if len(node.inputs) > 2 else None
    position = None if elements is None else len(elements) if stated is None else _scalar(stated)
    if elements is None or value is None or position is None:
        return None
    position += len(elements) if position < 0 else 0
    return [*elements[:position], value, *elements[position:]]


def _erase(emit: Emitter, node: ir.Node, known: Known) -> Elements | None:
    elements = _same(emit, node, known)
    stated = node.inputs[1] if len(node.inputs) > 1 else None
    position = -1 if stated is None else _scalar(stated)
    if not elements or position is None:
        return None
    position %= len(elements)
    return elements[:position] + elements[position + 1 :]


def _split(emit: Emitter, node: ir.Node, known: Known) -> Elements | None:
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
    parts = emit.op("Split", x, sizes, outputs=len(sizes), axis=axis)
    keepdims = node.attributes.get_int("keepdims", 1)
    return list(parts) if stated is not None or keepdims else [emit.Squeeze(part, [axis]) for part in parts]


def _at(emit: Emitter, node: ir.Node, elements: Elements) -> ir.Value | None:
    position = _scalar(node.inputs[1])
    return elements[position] if position is not None and -len(elements) <= position < len(elements) else None


def _concat(emit: Emitter, node: ir.Node, elements: Elements) -> ir.Value | None:
    if not elements:
        return None
    axis = node.attributes.get_int("axis", 0)
    if node.attributes.get_int("new_axis", 0):
        elements = [emit.Unsqueeze(element, [axis]) for element in elements]
    return emit.Concat(*elements, axis=axis)


def _length(emit: Emitter, node: ir.Node, elements: Elements) -> ir.Value:
    return emit.constant(np.array(len(elements)))


def _element(emit: Emitter, node: ir.Node, elements: Elements) -> ir.Value | None:
    return elements[0] if len(elements) == 1 else None


def _has_element(emit: Emitter, node: ir.Node, elements: Elements) -> ir.Value:
    return emit.constant(np.array(bool(elements)))


_MAKERS: dict[str, Callable[[Emitter, ir.Node, Known], Elements | None]] = {
    "SequenceConstruct": _construct,
    "SequenceEmpty": _empty,
    "SequenceInsert": _insert,
    "SequenceErase": _erase,
    "SplitToSequence": _split,
    "Optional": _construct,
    "Identity": _same,
}
_READERS: dict[str, Callable[[Emitter, ir.Node, Elements], ir.Value | None]] = {
    "SequenceAt": _at,
    "ConcatFromSequence": _concat,
    "SequenceLength": _length,
    "OptionalGetElement": _element,
    "OptionalHasElement": _has_element,
}
