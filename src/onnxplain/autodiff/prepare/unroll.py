"""Loop and Scan of a fixed length: their bodies, one behind the other.

s[k+1], y[k] = body(k, s[k], x[k]) for k < T becomes T copies of the body, with s[T] for the states and the y[k] joined.
The length of a Scan is the extent of what it scans. That of a Loop is its constant trip count, or where its condition,
computed from constants and the number of the iteration alone, turns false. The gradient of copies needs no Scan.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir

from ..graph.bodies import bodies
from ..graph.copying import Copies, copy_nodes
from ..graph.editing import redirect, replace
from ..graph.emitter import Emitter, static_shape
from ..graph.inference import small_constant
from ..graph.passes import Step, Work, fired, graph_pass, left
from ..graph.schemas import is_standard
from .fold_constants import evaluate, is_foldable

#: Copies of nodes that one Loop or Scan may become.
_LARGEST = 100_000


@graph_pass(needs="inferred shapes", ensures="no Loop or Scan of a length that is known")
def unroll(work: Work) -> Iterator[Step]:
    """Unroll in place, what is inside of other nodes once nothing around it is left to unroll."""
    for graph in _by_depth(work.model):
        changed = False
        for step in _unroll(work, graph):
            changed = changed or step[1] is None
            yield step
        if changed:
            break


def _by_depth(model: ir.Model) -> list[ir.Graph]:
    """The main graph, then those inside of its nodes, each behind the one around it."""
    graphs = [model.graph]
    for graph in graphs:
        graphs += [body for node in graph for body in bodies(node)]
    return graphs


def _unroll(work: Work, graph: ir.Graph) -> Iterator[Step]:
    """Unroll the nodes of one graph."""
    imports = [onnx.helper.make_opsetid(d, v) for d, v in work.model.graph.opset_imports.items()]
    for node in [n for n in graph if n.op_type in ("Loop", "Scan") and is_standard(n.domain)]:
        length = _trips(node, imports) if node.op_type == "Loop" else _extent(node)
        if isinstance(length, int):
            size = length * sum(1 for _ in node.attributes["body"].as_graph().all_nodes())
            if size > _LARGEST:
                length = f"it would become {size} nodes, more than {_LARGEST}"
            elif length == 0 and any(static_shape(value) is None for value in node.outputs):
                length = "it never runs, and the shape of what it returns is unknown"
        if isinstance(length, str):
            yield left(node, length)
            continue
        with work.emit.scope(node.name or node.op_type):
            copies = _Copies.of(work.emit, node, length)
            results = copies.results()
        if results is None:
            copies.drop()
            yield left(node, "the rank of what it stacks is unknown")
            continue
        copies.move()
        with work.emit.before(node):
            for old, new in zip(node.outputs, results):
                if old.is_graph_output():
                    replace(work.emit, old, work.emit.Identity(new))
                else:
                    redirect(work.emit, old, new)
        graph.remove(node, safe=True)
        yield fired(node)


@dataclass(frozen=True)
class _Copies:
    """A node, how often its body runs, and a graph that holds the copies until they take its place."""

    node: ir.Node
    length: int
    graph: ir.Graph
    emit: Emitter

    @classmethod
    def of(cls, outer: Emitter, node: ir.Node, length: int) -> _Copies:
        """Begin with an empty graph."""
        graph = ir.Graph([], [], nodes=[], opset_imports=outer.graph.opset_imports, name=outer.fresh("copies"))
        return cls(node, length, graph, outer.child(graph))

    def results(self) -> list[ir.Value] | None:
        """Add the copies of the body; return what the node's outputs become, None if a rank is missing for that."""
        scans = self.node.op_type == "Scan"
        body, emit = self.node.attributes["body"].as_graph(), self.emit
        count = len(self.node.inputs) - (self.node.attributes.get_int("num_scan_inputs", 0) if scans else 2)
        states = [v for v in (self.node.inputs[:count] if scans else self.node.inputs[2:]) if v is not None]
        slices = [self._slices(count, i) for i in range(len(self.node.inputs) - count)] if scans else []
        steps: list[list[ir.Value]] = []
        for k in range(self.length):
            given = [*states, *(one[k] for one in slices)]
            if not scans:
                given = [emit.constant(np.array(k)), emit.constant(np.array(True)), *given]
            mapping: Copies = dict(zip(body.inputs, given))
            copy_nodes(emit, body, self.graph, mapping)
            made = [mapping.get(value) or value for value in body.outputs][0 if scans else 1 :]
            states = made[:count]
            steps.append(made[count:])
        rows = [self._joined(count, i, steps) for i in range(len(self.node.outputs) - count)]
        joined = [row for row in rows if row is not None]
        return [*states, *joined] if len(joined) == len(rows) else None

    def drop(self) -> None:
        """Let go of everything that the copies read."""
        self.graph.remove(list(self.graph), safe=True)

    def move(self) -> None:
        """Put the copies in the place of the node, which stays behind them."""
        nodes = list(self.graph)
        self.graph.remove(nodes)
        assert self.node.graph is not None
        self.node.graph.insert_before(self.node, nodes)

    def _slices(self, count: int, index: int) -> list[ir.Value]:
        """The slices of a scanned input, in the order in which the iterations take them."""
        value = self.node.inputs[count + index]
        assert value is not None and value.shape is not None
        axis = _listed(self.node, "scan_input_axes", index) % len(value.shape)
        parts: Sequence[ir.Value] = [value] * min(self.length, 1)
        if self.length > 1:
            parts = self.emit.op("Split", value, [1] * self.length, outputs=self.length, axis=axis)
        found = [self.emit.Squeeze(part, [axis]) for part in parts]
        return found[::-1] if _listed(self.node, "scan_input_directions", index) else found

    def _joined(self, count: int, index: int, steps: Sequence[Sequence[ir.Value]]) -> ir.Value | None:
        """What the iterations made, along a new axis; None if it counts from the end, and the rank is unknown."""
        output = self.node.outputs[count + index]
        if not steps:
            shape = static_shape(output)
            assert shape is not None
            return self.emit.zeros(shape, output.dtype)
        rows = [step[index] for step in steps]
        if _listed(self.node, "scan_output_directions", index):
            rows = rows[::-1]
        axis = _listed(self.node, "scan_output_axes", index)
        if axis < 0:
            if rows[0].shape is None:
                return None
            axis += len(rows[0].shape) + 1
        parts = [self.emit.Unsqueeze(row, [axis]) for row in rows]
        return parts[0] if len(parts) == 1 else self.emit.Concat(*parts, axis=axis)


def _listed(node: ir.Node, name: str, index: int) -> int:
    """An entry of a list among the attributes of a Scan: 0 where it is left out."""
    values = node.attributes.get_ints(name, [])
    return int(values[index]) if index < len(values) else 0


def _extent(scan: ir.Node) -> int | str:
    """How many slices a Scan takes, or why that is not known."""
    count = len(scan.inputs) - scan.attributes.get_int("num_scan_inputs", 0)
    for index, value in enumerate(scan.inputs[count:]):
        if value is not None and value.shape is not None:
            extent = value.shape[_listed(scan, "scan_input_axes", index)]
            if isinstance(extent, int):
                return extent
    return "its length is only known when the model runs"


def _trips(loop: ir.Node, imports: Sequence[onnx.OperatorSetIdProto]) -> int | str:
    """How often a Loop runs, or why that is not known."""
    computed = "how often it runs is only known when the model runs"
    limit, going = (None if value is None else small_constant(value) for value in loop.inputs[:2])
    if (limit is None and loop.inputs[0] is not None) or (going is None and loop.inputs[1] is not None):
        return computed
    most = _LARGEST if limit is None else max(int(limit.reshape(-1)[0]), 0)
    if going is not None and not going.all():
        return 0
    body = loop.attributes["body"].as_graph()
    nodes, states = _deciding(body)
    known = {one: small_constant(start) for one, start in zip(body.inputs[2:], loop.inputs[2:]) if one in states}
    for k in range(most):
        arrays = {**known, body.inputs[0]: np.array(k, dtype=np.int64), body.inputs[1]: np.array(True)}
        for node in nodes:
            arrays.update(_results(node, arrays, imports))
        condition = _array(body.outputs[0], arrays)
        if condition is None:
            return computed
        if not condition.all():
            return k + 1
        if limit is not None and not states and body.inputs[0] not in {v for node in nodes for v in node.inputs}:
            return most
        known = {one: _array(body.outputs[1 + i], arrays) for i, one in enumerate(body.inputs[2:]) if one in states}
    return most if limit is not None else f"it does not end within {_LARGEST} iterations"


def _deciding(body: ir.Graph) -> tuple[list[ir.Node], set[ir.Value]]:
    """The nodes of a Loop's body that its condition is computed by, in order, and the states that they read."""
    needed = {body.outputs[0]}
    while True:
        for node in reversed(body):
            if not needed.isdisjoint(node.outputs):
                needed.update(value for value in node.inputs if value is not None)
        ends = {end for state, end in zip(body.inputs[2:], body.outputs[1:]) if state in needed}
        if ends <= needed:
            break
        needed |= ends
    return [n for n in body if not needed.isdisjoint(n.outputs)], needed.intersection(body.inputs[2:])


Arrays = dict[ir.Value, "np.ndarray | None"]


def _array(value: ir.Value | None, arrays: Arrays) -> np.ndarray | None:
    return None if value is None else arrays[value] if value in arrays else small_constant(value)


def _results(node: ir.Node, arrays: Arrays, imports: Sequence[onnx.OperatorSetIdProto]) -> Arrays:
    """What the outputs of a node hold; None where that is not known."""
    feeds = {value: _array(value, arrays) for value in node.inputs if value is not None}
    known = {value: array for value, array in feeds.items() if array is not None}
    found = evaluate(node, known, imports) if is_foldable(node) and len(known) == len(feeds) else None
    return dict(zip(node.outputs, found)) if found is not None else dict.fromkeys(node.outputs)
