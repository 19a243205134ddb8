"""If, Loop and Scan: gradients of bodies, nested ones and captured values included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ..graph.emitter import Emitter
from ..graph.operator import Operator
from ..reverse.reach import captured
from ..reverse.registry import Gradients, vjp
from ..reverse.subgraph import Body, active_states

Dys = Sequence[ir.Value | None]


@vjp("If", every_output=True)
def if_(emit: Emitter, node: Operator, dys: Dys) -> Gradients:
    """y = then() if c else other(); the gradient is an If over the two branches' gradients."""
    outer = captured(node.node)
    wanted = [v for v in outer if node.wants_value(v)]
    branches = {}
    for name in ("then_branch", "else_branch"):
        source: ir.Graph = node.graph(name)
        body = Body(emit, name, node.opsets)
        mapping = body.copy(source, [])
        nodes = list(body.graph)
        seeds = _seeds(body.emit, [mapping.get(v, v) for v in source.outputs], dys)
        for gradient in body.gradients(nodes, seeds, wanted):
            body.output(gradient)
        branches[name] = body.graph
    then, other = branches["then_branch"], branches["else_branch"]
    outputs = emit.op("If", node.input(0), outputs=len(wanted), then_branch=then, else_branch=other)
    found = dict(zip(wanted, _typed_like(outputs, wanted)))
    return [None, *(found.get(v) for v in outer)]


@dataclass(frozen=True)
class _Carried:
    """What a Loop or Scan carries: s[k+1], y[k] = body(s[k], c), for states s and captured values c.

    Backwards, ds[k] and dc = sum over k of dc[k] are carried: ds[k], dc[k] = (ds[k+1], dy[k]) J[k], with the Jacobian
    J[k] of the body at s[k]. Only states that a gradient reaches (``active``, their indices) and captured values
    that are ``wanted`` take part, in this order.
    """

    starts: Sequence[ir.Value]
    ends: Sequence[ir.Value]
    captured: Sequence[ir.Value]
    wanted: Sequence[ir.Value]
    active: Sequence[int]

    @classmethod
    def of(
        cls, node: Operator, inputs: range, states: Sequence[tuple[ir.Value, ir.Value]], rows: Sequence[ir.Value] = ()
    ) -> _Carried:
        """Return the states that start at ``inputs`` of the node and are an (input, output) of its body each.

        ``rows`` are other inputs of the body with a wanted gradient.
        """
        outer = captured(node.node)
        wanted = [v for v in outer if node.wants_value(v)]
        active = active_states(node.graph("body"), states, [*wanted, *rows], [node.wants(i) for i in inputs])
        indices = [i for i in range(len(states)) if active[i]]
        return cls([node.input(i) for i in inputs], node.outputs[: len(states)], outer, wanted, indices)

    def targets(self) -> list[ir.Value]:
        """Return what is like the gradients that are carried backwards: active states, then wanted values."""
        return [*self.pick(self.starts), *self.wanted]

    def starts_of_gradients(self, emit: Emitter, dys: Dys) -> list[ir.Value]:
        """Return the gradients before the last iteration: of the states as they end, and zeros."""
        ends = [dy if (dy := dys[i]) is not None else emit.zeros_like(self.ends[i]) for i in self.active]
        return [*ends, *(emit.zeros_like(v) for v in self.wanted)]

    def pick(self, states: Sequence[ir.Value]) -> list[ir.Value]:
        """Return those of the active ones."""
        return [states[i] for i in self.active]

    def body_inputs(self, back: Body) -> tuple[list[ir.Value], list[ir.Value]]:
        """Append the inputs ds[k+1], and the sums of dc so far."""
        d_states = [back.input_like("d_state", start) for start in self.pick(self.starts)]
        return d_states, [back.input_like("d_captured", v) for v in self.wanted]

    def body_outputs(self, back: Body, totals: Sequence[ir.Value], gradients: Sequence[ir.Value]) -> None:
        """Append the outputs ds[k], the ``totals`` of dc with this iteration's, and whatever gradients follow them."""
        count = len(self.active)
        for gradient in gradients[:count]:
            back.output(gradient)
        for total, gradient in zip(totals, gradients[count:]):
            back.output(back.emit.Add(total, gradient))
        for gradient in gradients[count + len(totals) :]:
            back.output(gradient)

    def by_state(self, outputs: Sequence[ir.Value]) -> list[ir.Value | None]:
        """Return the gradient of every start, given the outputs of the node that runs backwards."""
        found = dict(zip(self.active, outputs))
        return [found.get(i) for i in range(len(self.starts))]

    def by_capture(self, outputs: Sequence[ir.Value]) -> list[ir.Value | None]:
        """Return the gradient of every captured value, likewise."""
        found = dict(zip(self.wanted, outputs[len(self.active) :]))
        return [found.get(v) for v in self.captured]


@dataclass(frozen=True)
class _Rows:
    """Tensors of which every iteration of a Scan takes, or makes, one slice across an axis: in order, or in reverse."""

    values: list[ir.Value]
    axes: list[int]
    reverse: list[int]

    @classmethod
    def inputs(cls, node: Operator) -> _Rows:
        """Return the inputs of a Scan that it takes slices of."""
        count = node.attribute("num_scan_inputs", 0)
        states = len(node.inputs) - count
        axes = [a % node.rank(states + i) for i, a in enumerate(node.attribute("scan_input_axes", [0] * count))]
        values = [node.input(states + i) for i in range(count)]
        return cls(values, axes, node.attribute("scan_input_directions", [0] * count))

    @classmethod
    def outputs(cls, node: Operator, states: int) -> _Rows:
        """Return the outputs of a Scan that it stacks."""
        values = list(node.outputs[states:])
        axes = node.attribute("scan_output_axes", [0] * len(values))
        axes = [a % (1 if v.shape is None else len(v.shape)) for v, a in zip(values, axes)]
        return cls(values, axes, node.attribute("scan_output_directions", [0] * len(values)))

    def backwards(self, indices: Sequence[int], values: Sequence[ir.Value | None] | None = None) -> _Rows:
        """Return some of the tensors, or others in their place, from the other end on."""
        chosen = self.values if values is None else values
        found = [v for i in indices if (v := chosen[i]) is not None]
        return _Rows(found, [self.axes[i] for i in indices], [1 - self.reverse[i] for i in indices])

    def __add__(self, other: _Rows) -> _Rows:
        return _Rows(self.values + other.values, self.axes + other.axes, self.reverse + other.reverse)

    def body_inputs(self, body: Body, name: str) -> list[ir.Value]:
        """Append one slice of each to the inputs of a body."""
        return [body.input_like(name, value, axis) for value, axis in zip(self.values, self.axes)]


@vjp("Scan", every_output=True, since=9)
def scan(emit: Emitter, node: Operator, dys: Dys) -> Gradients:
    """s[k+1], y[k] = body(s[k], x[k]); ds[k], dx[k], dc[k] = (ds[k+1], dy[k]) J[k]: a Scan from the last k on.

    It scans s (by the forward Scan once more), x and dy, and stacks dx.
    """
    body: ir.Graph = node.graph("body")
    xs = _Rows.inputs(node)
    count = len(node.inputs) - len(xs.values)
    ys, d_ys = _Rows.outputs(node, count), dys[count:]
    xs_wanted = [i for i in range(len(xs.values)) if node.wants(count + i)]
    ys_used = [i for i in range(len(ys.values)) if d_ys[i] is not None]
    pairs = list(zip(body.inputs[:count], body.outputs[:count]))
    carried = _Carried.of(node, range(count), pairs, [body.inputs[count + i] for i in xs_wanted])

    states = _Rows(_scan_states(emit, node, xs, count), [0] * count, [1] * count)
    xs_back, ys_back = xs.backwards(range(len(xs.values))), ys.backwards(ys_used)
    back = Body(emit, "backward", node.opsets)
    d_states, d_captured = carried.body_inputs(back)
    s, x, dy = (rows.body_inputs(back, name) for rows, name in ((states, "state"), (xs_back, "x"), (ys_back, "dy")))
    mapping = back.copy(body, [*s, *x])
    nodes = list(back.graph)
    results = [mapping.get(v, v) for v in body.outputs]
    seeds = _seeds(back.emit, [*carried.pick(results), *(results[count + i] for i in ys_used)], [*d_states, *dy])
    variables = [*carried.pick(s), *carried.wanted, *(x[i] for i in xs_wanted)]
    carried.body_outputs(back, d_captured, back.gradients(nodes, seeds, variables))

    taken, given = states + xs_back + ys.backwards(ys_used, d_ys), xs.backwards(xs_wanted)
    outputs = emit.op(
        "Scan",
        *carried.starts_of_gradients(emit, dys),
        *taken.values,
        outputs=len(back.graph.outputs),
        body=back.graph,
        num_scan_inputs=len(taken.values),
        scan_input_axes=taken.axes,
        scan_input_directions=taken.reverse,
        scan_output_axes=given.axes or None,
        scan_output_directions=given.reverse or None,
    )
    found = _typed_like(outputs, [*carried.targets(), *given.values])
    d_xs = dict(zip(xs_wanted, found[len(d_states) + len(d_captured) :]))
    return [*carried.by_state(found), *(d_xs.get(i) for i in range(len(xs.values))), *carried.by_capture(found)]


def _scan_states(emit: Emitter, node: Operator, xs: _Rows, count: int) -> list[ir.Value]:
    """Return the states that every iteration of a Scan started from, stacked along axis 0: the Scan once more."""
    if not count:
        return []
    body, starts = node.graph("body"), node.inputs[:count]
    again = Body(emit, "states", node.opsets)
    states = [again.input_like(inner.name or "input", start) for inner, start in zip(body.inputs, starts)]
    mapping = again.copy(body, [*states, *xs.body_inputs(again, "x")])
    for value in [*(mapping.get(v, v) for v in body.outputs[:count]), *states]:
        again.output(value)
    outputs = emit.op(
        "Scan",
        *node.inputs,
        outputs=2 * count,
        body=again.graph,
        num_scan_inputs=len(xs.values),
        scan_input_axes=xs.axes,
        scan_input_directions=xs.reverse,
    )
    return _stacked_like(outputs[count:], starts)


@vjp("Loop", every_output=True)
def loop(emit: Emitter, node: Operator, dys: Dys) -> Gradients:
    """s[k+1], y[k] = body(k, s[k]); ds[k], dc[k] = (ds[k+1], dy[k]) J[k]: a Loop from the last k on.

    The forward Loop once more says how often it ran, and stacks s.
    """
    body: ir.Graph = node.graph("body")
    count = len(node.inputs) - 2
    carried = _Carried.of(node, range(2, 2 + count), list(zip(body.inputs[2:], body.outputs[1 : 1 + count])))
    for value in carried.starts:
        if not isinstance(value.type, ir.TensorType):
            raise node.refuse("type of a carried value", str(value.type), "only tensors can be carried")
    trips, stacks = _loop_states(emit, node, carried.starts)

    back = Body(emit, "backward", node.opsets)
    inner, (iteration, _) = back.emit, _loop_inputs(back)
    d_states, d_captured = carried.body_inputs(back)
    k, true = inner.Sub(inner.Sub(trips, 1), iteration), inner.constant(np.array(True))
    s = _typed_like([inner.Gather(stack, k, axis=0) for stack in stacks], carried.starts)
    before = len(back.graph)
    mapping = back.copy(body, [k, true, *s])
    nodes = list(back.graph)[before:]
    results = [mapping.get(v, v) for v in body.outputs[1:]]
    ys_used = [i for i in range(count, len(node.outputs)) if dys[i] is not None]
    dy = [inner.Gather(dys[i], k, axis=0) for i in ys_used]
    seeds = _seeds(inner, [*carried.pick(results), *(results[i] for i in ys_used)], [*d_states, *dy])
    back.output(true)
    carried.body_outputs(back, d_captured, back.gradients(nodes, seeds, [*carried.pick(s), *carried.wanted]))

    starts = carried.starts_of_gradients(emit, dys)
    outputs = emit.op("Loop", trips, None, *starts, outputs=len(starts), body=back.graph)
    found = _typed_like(outputs, carried.targets())
    return [None, None, *carried.by_state(found), *carried.by_capture(found)]


def _loop_states(emit: Emitter, node: Operator, starts: Sequence[ir.Value]) -> tuple[ir.Value, list[ir.Value]]:
    """Return how often the Loop ran (scalar), and the states it carried, stacked: the Loop once more."""
    body, count = node.graph("body"), len(starts)
    again = Body(emit, "states", node.opsets)
    iteration, condition = _loop_inputs(again)
    states = [again.input_like("state", start) for start in starts]
    mapping = again.copy(body, [iteration, condition, *states])
    for value in [*(mapping.get(v, v) for v in body.outputs[: 1 + count]), iteration, *states]:
        again.output(value)
    outputs = emit.op("Loop", *node.inputs, outputs=2 * count + 1, body=again.graph)
    iterations = outputs[count]
    iterations.type, iterations.shape = ir.TensorType(ir.DataType.INT64), ir.Shape([None])
    for end, start in zip(outputs, starts):
        end.type = start.type
    return emit.Squeeze(emit.Shape(iterations), [0]), _stacked_like(outputs[count + 1 :], starts)


def _loop_inputs(body: Body) -> tuple[ir.Value, ir.Value]:
    """Append the inputs that every body of a Loop has: the number of the iteration, and whether to go on."""
    iteration = body.input("iteration", ir.DataType.INT64, ir.Shape([]))
    return iteration, body.input("condition", ir.DataType.BOOL, ir.Shape([]))


def _seeds(emit: Emitter, values: Sequence[ir.Value], dys: Dys) -> dict[ir.Value, ir.Value]:
    """Return gradients by value; those of a value that is an output twice add up."""
    seeds: dict[ir.Value, ir.Value] = {}
    for value, dy in zip(values, dys):
        if dy is not None:
            seeds[value] = emit.Add(seeds[value], dy) if value in seeds else dy
    return seeds


def _typed_like(outputs: Sequence[ir.Value], values: Sequence[ir.Value]) -> list[ir.Value]:
    for output, value in zip(outputs, values):
        output.type, output.shape = value.type, value.shape
    return list(outputs)


def _stacked_like(outputs: Sequence[ir.Value], values: Sequence[ir.Value | None]) -> list[ir.Value]:
    """Give every output the type of a value, and its shape behind one more axis."""
    for output, value in zip(outputs, values):
        assert value is not None
        output.type, output.shape = value.type, None if value.shape is None else ir.Shape([None, *value.shape])
    return list(outputs)
