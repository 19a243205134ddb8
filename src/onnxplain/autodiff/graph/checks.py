"""Whether a model is sound: quickly, by its structure, or fully, by ONNX's own checker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import CheckerPass

from .bodies import bodies


def find_flaw(model: ir.Model, ordered: bool = True) -> str | None:
    """Return what is wrong with the structure of a model's graphs, None if nothing is.

    Every value that is read is made in its graph or an outer one, before it is read if ``ordered``, else not out of
    itself; no two values that a node can see have one name; no node that was removed reads a value.
    """
    return next(_flaws(model.graph, (), ordered), None)


def find_any_flaw(model: ir.Model, ordered: bool = True) -> str | None:
    """:func:`find_flaw`, then ONNX's full checker, for which the graph is sorted if it is not ``ordered``."""
    flaw = find_flaw(model, ordered)
    if flaw is not None:
        return flaw
    if not ordered:
        model.graph.sort()
    return complaint(model)


def complaint(model: ir.Model) -> str | None:
    """Return the first complaint of ONNX's full checker, None if it has none; weights are not copied."""
    try:
        CheckerPass(full_check=True)(model)
    except Exception as error:  # the checker raises several unrelated types
        return str(error.__cause__ or error).strip().splitlines()[0]
    return None


def complaint_of(proto: onnx.ModelProto) -> str | None:
    """:func:`complaint` about a proto, which is copied."""
    try:
        onnx.checker.check_model(proto, full_check=True)
    except Exception as error:  # the checker raises several unrelated types
        return str(error).strip().splitlines()[0]
    return None


@dataclass
class _Visible:
    """The values of a graph that a node in it can see, and their names."""

    values: set[ir.Value] = field(default_factory=set)
    names: set[str] = field(default_factory=set)


def _flaws(graph: ir.Graph, outer: Sequence[_Visible], ordered: bool) -> Iterator[str]:
    inside = _Visible()
    seen = (*outer, inside)
    made = [*graph.inputs, *(v for v in graph.initializers.values() if not v.is_graph_input())]
    if not ordered:
        made += [value for node in graph for value in node.outputs]
    for value in made:
        yield from _appear(value, seen)
    for node in graph:
        for read in node.inputs:
            if read is not None and not any(read in visible.values for visible in seen):
                yield f"{_label(node)} reads {read.name!r}, which nothing {'before it ' if ordered else ''}makes"
        for inner in bodies(node):
            yield from _flaws(inner, seen, ordered)
        if ordered:
            for value in node.outputs:
                yield from _appear(value, seen)
    for value in graph.outputs:
        if not any(value in visible.values for visible in seen):
            yield f"nothing makes the output {value.name!r}"
    if not ordered:
        yield from _circles(graph)


def _appear(value: ir.Value, seen: Sequence[_Visible]) -> Iterator[str]:
    if value.name and any(value.name in visible.names for visible in seen):
        yield f"two values have the name {value.name!r}"
    seen[-1].values.add(value)
    seen[-1].names.add(value.name or "")
    for use in value.uses():
        if use.node.graph is None:
            yield f"{_label(use.node)} was removed and reads {value.name!r} still"


def _circles(graph: ir.Graph) -> Iterator[str]:
    """A node that needs its own result; the nodes are put in order one by one, as long as there are any."""
    waiting: dict[ir.Node, int] = {}
    readers: dict[ir.Node, list[ir.Node]] = {node: [] for node in graph}
    for node in graph:
        producers = {p for value in _reads(node) if (p := value.producer()) is not None and p in readers}
        waiting[node] = len(producers)
        for producer in producers:
            readers[producer].append(node)
    ready = [node for node, count in waiting.items() if not count]
    for node in ready:
        for reader in readers[node]:
            waiting[reader] -= 1
            if not waiting[reader]:
                ready.append(reader)
    if len(ready) < len(waiting):
        stuck = next(node for node, count in waiting.items() if count)
        yield f"{_label(stuck)} reads what is made of its own result"


def _reads(node: ir.Node) -> Iterator[ir.Value]:
    yield from (value for value in node.inputs if value is not None)
    for inner in bodies(node):
        for one in inner:
            yield from _reads(one)


def _label(node: ir.Node) -> str:
    return f"node {node.name!r} ({node.op_type})"
