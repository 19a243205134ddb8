"""The standard's operator Gradient (ai.onnx.preview.training), written out in standard operators.

Gradient(a, b; xs, zs, y) is dy/dx at x = a, z = b for every x in ``xs``: y is a function of xs and zs, which are
independent of each other, and what lies in front of them is not looked at. A y that is no scalar stands for the sum of
its elements. Where a and b are the very tensors that xs and zs name, the nodes in between are walked backwards as
they are; else copies of them, which read a and b.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import onnx_ir as ir

from ...errors import ModelError
from ..graph.copying import Copies, copy_nodes
from ..graph.editing import redirect, replace
from ..graph.emitter import Emitter
from ..graph.passes import Step, Work, fired, graph_pass
from ..reverse.reach import is_float, reads
from ..reverse.walk import walk
from .bind_gradients import is_gradient


@graph_pass(needs="inferred shapes, Gradients that are bound", ensures="one Gradient less")
def lower_gradients(work: Work) -> Iterator[Step]:
    """Write out the first Gradient of the main graph in place; the next one may differentiate what it returns."""
    graph, emit = work.model.graph, work.emit
    node = next((node for node in graph if is_gradient(node)), None)
    if node is None:
        inside = next((node for node in graph.all_nodes() if is_gradient(node)), None)
        if inside is not None:
            raise ModelError(
                f"the Gradient node {inside.name!r} stands in the body of another node, where it is not supported; "
                "move it to the main graph."
            )
        return
    with emit.scope(node.name or node.op_type):
        found = _written_out(emit, node)
        for old, new in zip(node.outputs, found):
            if old.is_graph_output():
                replace(emit, old, emit.Identity(new))
            else:
                redirect(emit, old, new)
    graph.remove(node, safe=True)
    graph.sort()
    yield fired(node)


def _written_out(emit: Emitter, node: ir.Node) -> list[ir.Value]:
    """The gradients that a bound Gradient returns, as nodes at the end of the graph."""
    wanted = len(node.attributes.get_strings("xs", []))
    values = [value for value in node.inputs if value is not None]
    count = (len(values) - 1) // 2
    given, bound, y = values[:count], values[count:-1], values[-1]
    for value in (y, *given[:wanted]):
        if not is_float(value):
            raise ModelError(f"the Gradient node {node.name!r} asks {value.name!r}, of type {value.dtype}, for floats.")
    nodes = _between(list(emit.graph), bound, y)
    if given != bound or any(value in bound for one in nodes for value in one.outputs):
        given = [emit.Identity(value) for value in given]
        nodes, y = _copies(emit, nodes, dict(zip(bound, given)), y)
    ones = emit.Add(emit.zeros_like(y), 1.0)
    gradients = walk(emit, nodes, {y: ones}, given, emit.graph.opset_imports)
    return [gradients[x] if x in gradients else emit.zeros_like(x) for x in given[:wanted]]


def _between(nodes: Sequence[ir.Node], starts: Sequence[ir.Value], y: ir.Value) -> list[ir.Node]:
    """The nodes that ``y`` is computed by from ``starts``, and from whatever else there is, in order."""
    needed, found = {y}, list[ir.Node]()
    for node in reversed(nodes):
        if any(value in needed and value not in starts for value in node.outputs):
            needed.update(reads(node))
            found.append(node)
    return found[::-1]


def _copies(emit: Emitter, nodes: Sequence[ir.Node], given: Copies, y: ir.Value) -> tuple[list[ir.Node], ir.Value]:
    """Copies of nodes that read the values of ``given`` in the place of its keys, and of ``y``."""
    before, mapping = len(emit.graph), dict(given)
    for node in nodes:
        copy_nodes(emit, [node], emit.graph, mapping)
        mapping.update(given)  # a node that makes what is given, and something else besides
    return list(emit.graph)[before:], mapping.get(y) or y
