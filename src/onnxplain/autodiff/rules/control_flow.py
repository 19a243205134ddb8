"""If, Loop and Scan: gradients of bodies, nested ones and captured values included."""

from __future__ import annotations

from collections.abc import Sequence

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


@vjp("Scan", every_output=True, since=9)
def scan(emit: Emitter, node: Operator, dys: Dys) -> Gradients:
    """The gradient is a Scan in the other direction, over the states that the forward body started from.

    Its states are the gradients of the active states and of what the body captures; it scans the
    forward's states and inputs and the gradients of its outputs, and returns those of its inputs.
    """
    body: ir.Graph = node.graph("body")
    scanned = node.attribute("num_scan_inputs", 0)
    states = len(node.inputs) - scanned
    outs = len(node.outputs) - states
    in_axes = [a % node.rank(states + i) for i, a in enumerate(node.attribute("scan_input_axes", [0] * scanned))]
    in_reverse = node.attribute("scan_input_directions", [0] * scanned)
    out_reverse = node.attribute("scan_output_directions", [0] * outs)
    out_axes = [
        a % (len(v.shape) if v.shape is not None else 1)
        for v, a in zip(node.outputs[states:], node.attribute("scan_output_axes", [0] * outs))
    ]
    outer = captured(node.node)
    wanted = [v for v in outer if node.wants_value(v)]
    inputs_wanted = [i for i in range(scanned) if node.wants(states + i)]
    pairs = list(zip(body.inputs[:states], body.outputs[:states]))
    sources = [*wanted, *(body.inputs[states + i] for i in inputs_wanted)]
    active = active_states(body, pairs, sources, [node.wants(i) for i in range(states)])
    active_indices = [i for i in range(states) if active[i]]
    dy_indices = [i for i in range(outs) if dys[states + i] is not None]

    stacks = _scan_states(emit, node, body, states)
    back = Body(emit, "backward", node.opsets)
    d_states = [back.input("d_state", *_like(node.input(i))) for i in active_indices]
    d_captured = [back.input("d_captured", *_like(v)) for v in wanted]
    state_args = [back.input("state", *_like(node.input(i))) for i in range(states)]
    scan_args = [back.input("x", *_slice_of(node.input(states + i), in_axes[i])) for i in range(scanned)]
    dy_args = [back.input("dy", *_slice_of(node.outputs[states + i], out_axes[i])) for i in dy_indices]
    mapping = back.copy(body, [*state_args, *scan_args])
    nodes = list(back.graph)
    results = [mapping.get(v, v) for v in body.outputs]
    at = [*(results[i] for i in active_indices), *(results[states + i] for i in dy_indices)]
    variables = [*(state_args[i] for i in active_indices), *(scan_args[i] for i in inputs_wanted), *wanted]
    gradients = back.gradients(nodes, _seeds(back.emit, at, [*d_states, *dy_args]), variables)
    split = len(active_indices)
    split_inputs = split + len(inputs_wanted)
    for gradient in gradients[:split]:
        back.output(gradient)
    for before, gradient in zip(d_captured, gradients[split_inputs:]):
        back.output(back.emit.Add(before, gradient))
    for gradient in gradients[split:split_inputs]:
        back.output(gradient)

    starts = [_or_zeros(emit, dys[i], node.outputs[i]) for i in active_indices]
    dy_outer = [dys[states + i] for i in dy_indices]
    outputs = emit.op(
        "Scan",
        *starts,
        *(emit.zeros_like(v) for v in wanted),
        *stacks,
        *node.inputs[states:],
        *dy_outer,
        outputs=len(gradients),
        body=back.graph,
        num_scan_inputs=states + scanned + len(dy_indices),
        scan_input_axes=[0] * states + in_axes + [out_axes[i] for i in dy_indices],
        scan_input_directions=[1] * states + [1 - d for d in in_reverse] + [1 - out_reverse[i] for i in dy_indices],
        scan_output_axes=[in_axes[i] for i in inputs_wanted] or None,
        scan_output_directions=[1 - in_reverse[i] for i in inputs_wanted] or None,
    )
    targets = [*(node.input(i) for i in active_indices), *wanted, *(node.input(states + i) for i in inputs_wanted)]
    found = _typed_like(outputs, targets)
    by_input: dict[int, ir.Value] = dict(zip(active_indices, found))
    by_input.update(zip((states + i for i in inputs_wanted), found[split + len(wanted) :]))
    by_capture = dict(zip(wanted, found[split:]))
    return [*(by_input.get(i) for i in range(len(node.inputs))), *(by_capture.get(v) for v in outer)]


def _scan_states(emit: Emitter, node: Operator, body: ir.Graph, states: int) -> list[ir.Value]:
    """The states that every iteration of a Scan started from, stacked along axis 0: the Scan once more."""
    if not states:
        return []
    again = Body(emit, "states", node.opsets)
    arguments = [again.input(v.name or "input", *_like(outer)) for v, outer in zip(body.inputs, node.inputs[:states])]
    scanned = len(node.inputs) - states
    axes = [a % node.rank(states + i) for i, a in enumerate(node.attribute("scan_input_axes", [0] * scanned))]
    arguments += [again.input("x", *_slice_of(node.input(states + i), axes[i])) for i in range(scanned)]
    mapping = again.copy(body, arguments)
    for value in body.outputs[:states]:
        again.output(mapping.get(value, value))
    for value in arguments[:states]:
        again.output(value)
    outputs = emit.op(
        "Scan",
        *node.inputs,
        outputs=2 * states,
        body=again.graph,
        num_scan_inputs=scanned,
        scan_input_axes=axes,
        scan_input_directions=node.attribute("scan_input_directions", [0] * scanned),
    )
    for stack, start in zip(outputs[states:], node.inputs[:states]):
        assert start is not None
        stack.type, stack.shape = start.type, None if start.shape is None else ir.Shape([None, *start.shape])
    return list(outputs[states:])


@vjp("Loop", every_output=True)
def loop(emit: Emitter, node: Operator, dys: Dys) -> Gradients:
    """The gradient is a Loop over the same iterations, last to first, from the states each started with."""
    body: ir.Graph = node.graph("body")
    carried = [node.input(i) for i in range(2, len(node.inputs))]
    count = len(carried)
    for value in carried:
        if not isinstance(value.type, ir.TensorType):
            raise node.refuse("type of a carried value", str(value.type), "only tensors can be carried")
    outer = captured(node.node)
    wanted = [v for v in outer if node.wants_value(v)]
    pairs = list(zip(body.inputs[2:], body.outputs[1 : 1 + count]))
    active = active_states(body, pairs, wanted, [node.wants(2 + i) for i in range(count)])
    active_indices = [i for i in range(count) if active[i]]
    dy_indices = [i for i in range(count, len(node.outputs)) if dys[i] is not None]

    trips, stacks = _loop_states(emit, node, body, carried)
    back = Body(emit, "backward", node.opsets)
    iteration = back.input("iteration", ir.DataType.INT64, ir.Shape([]))
    back.input("condition", ir.DataType.BOOL, ir.Shape([]))
    d_states = [back.input("d_state", *_like(carried[i])) for i in active_indices]
    d_captured = [back.input("d_captured", *_like(v)) for v in wanted]
    inner = back.emit
    index = inner.Sub(inner.Sub(trips, 1), iteration)
    states = [inner.Gather(stack, index, axis=0) for stack in stacks]
    for state, start in zip(states, carried):
        state.type, state.shape = start.type, start.shape
    true = inner.constant(np.array(True))
    before = len(back.graph)
    mapping = back.copy(body, [index, true, *states])
    nodes = list(back.graph)[before:]
    results = [mapping.get(v, v) for v in body.outputs[1:]]
    d_rows = [inner.Gather(dys[i], index, axis=0) for i in dy_indices]
    at = [*(results[i] for i in active_indices), *(results[i] for i in dy_indices)]
    variables = [*(states[i] for i in active_indices), *wanted]
    gradients = back.gradients(nodes, _seeds(inner, at, [*d_states, *d_rows]), variables)
    back.output(true)
    for gradient in gradients[: len(active_indices)]:
        back.output(gradient)
    for total, gradient in zip(d_captured, gradients[len(active_indices) :]):
        back.output(inner.Add(total, gradient))

    starts = [_or_zeros(emit, dys[i], node.outputs[i]) for i in active_indices]
    zeros = [emit.zeros_like(v) for v in wanted]
    outputs = emit.op("Loop", trips, None, *starts, *zeros, outputs=len(gradients), body=back.graph)
    found = _typed_like(outputs, [*(carried[i] for i in active_indices), *wanted])
    by_state = dict(zip(active_indices, found))
    by_capture = dict(zip(wanted, found[len(active_indices) :]))
    return [None, None, *(by_state.get(i) for i in range(count)), *(by_capture.get(v) for v in outer)]


def _loop_states(
    emit: Emitter, node: Operator, body: ir.Graph, carried: Sequence[ir.Value]
) -> tuple[ir.Value, list[ir.Value]]:
    """The Loop once more: its number of iterations (scalar), and the states each started from, stacked."""
    again = Body(emit, "states", node.opsets)
    iteration = again.input("iteration", ir.DataType.INT64, ir.Shape([]))
    condition = again.input("condition", ir.DataType.BOOL, ir.Shape([]))
    states = [again.input("state", *_like(v)) for v in carried]
    mapping = again.copy(body, [iteration, condition, *states])
    for value in body.outputs[: 1 + len(carried)]:
        again.output(mapping.get(value, value))
    for value in (iteration, *states):
        again.output(value)
    outputs = emit.op("Loop", *node.inputs, outputs=2 * len(carried) + 1, body=again.graph)
    iterations, stacks = outputs[len(carried)], list(outputs[len(carried) + 1 :])
    iterations.type, iterations.shape = ir.TensorType(ir.DataType.INT64), ir.Shape([None])
    for final, stack, start in zip(outputs, stacks, carried):
        final.type = stack.type = start.type
        stack.shape = None if start.shape is None else ir.Shape([None, *start.shape])
    return emit.Squeeze(emit.Shape(iterations), [0]), stacks


def _like(value: ir.Value | None) -> tuple[ir.DataType, ir.Shape | None]:
    assert value is not None
    assert value.dtype is not None
    return value.dtype, value.shape


def _slice_of(value: ir.Value, axis: int) -> tuple[ir.DataType, ir.Shape | None]:
    dtype, shape = _like(value)
    return dtype, None if shape is None else ir.Shape([d for a, d in enumerate(shape) if a != axis])


def _or_zeros(emit: Emitter, dy: ir.Value | None, like: ir.Value) -> ir.Value:
    return emit.zeros_like(like) if dy is None else dy


def _seeds(emit: Emitter, values: Sequence[ir.Value], dys: Dys) -> dict[ir.Value, ir.Value]:
    """Gradients by value; those of a value that is an output twice add up."""
    seeds: dict[ir.Value, ir.Value] = {}
    for value, dy in zip(values, dys):
        if dy is not None:
            seeds[value] = emit.Add(seeds[value], dy) if value in seeds else dy
    return seeds


def _typed_like(outputs: Sequence[ir.Value], values: Sequence[ir.Value]) -> list[ir.Value]:
    for output, value in zip(outputs, values):
        output.type, output.shape = value.type, value.shape
    return list(outputs)
