"""Scans of the gradient that read nothing but their inputs, and go forwards: for engines that know no others.

    captured numbers become constants of the body,
    other captured values become states that every step hands on as they are,
    inputs and outputs that are scanned from their end are reversed before and after.

The standard lets a body read values of the graph around it; OpenVINO, tract and others take bodies for functions of
their inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx_ir as ir

from ..geometry.placement import flip
from ..graph.editing import set_input
from ..graph.emitter import Emitter
from ..graph.inference import small_constant
from ..graph.passes import Step, Work, fired, graph_pass
from ..reverse.reach import captured
from .rewriting import gradient_nodes, scope_of, substitute_outputs


@graph_pass(needs="Scans as the rules write them", ensures="Scans of the gradient capture nothing and go forwards")
def closed_scans(work: Work) -> Iterator[Step]:
    """Rewrite, in place, every Scan that is not in ``forward``."""
    emit, forward = work.emit, work.forward
    for node in gradient_nodes(emit, forward, "Scan"):
        outer = captured(node)
        if not outer and not any(_directions(node)):
            continue
        yield fired(node)
        with emit.scope(scope_of(node)):
            substitute_outputs(emit, node, _rewritten(emit, node, outer))


def _directions(node: ir.Node) -> list[int]:
    given = node.attributes
    return [*given.get_ints("scan_input_directions", []), *given.get_ints("scan_output_directions", [])]


def _rewritten(emit: Emitter, node: ir.Node, outer: Sequence[ir.Value]) -> list[ir.Value]:
    """The outputs of a Scan that computes the same."""
    given, body = node.attributes, node.attributes["body"].as_graph()
    rows = given.get_int("num_scan_inputs", 0)
    states = len(node.inputs) - rows
    inner = emit.child(body)
    carried = [value for value in outer if small_constant(value) is None]
    for value in outer:
        number = small_constant(value)
        if number is None:
            own = inner.input(emit.fresh("captured"), value.type, value.shape)
            body.inputs.remove(own)
            body.inputs.insert(states + carried.index(value), own)
        else:
            own = _first(inner, body, number)
        _reread(body, value, own)
    for index, own in enumerate(list(body.inputs)[states : states + len(carried)]):
        body.outputs.insert(states + index, inner.Identity(own))
    taken = list(node.inputs[states:])
    stacked = node.outputs[states:]
    axes_in = given.get_ints("scan_input_axes", [0] * rows) or [0] * rows
    axes_out = given.get_ints("scan_output_axes", [0] * len(stacked)) or [0] * len(stacked)
    back_in = given.get_ints("scan_input_directions", [0] * rows) or [0] * rows
    back_out = given.get_ints("scan_output_directions", [0] * len(stacked)) or [0] * len(stacked)
    taken = [flip(emit, v, [a]) if back and v is not None else v for v, a, back in zip(taken, axes_in, back_in)]
    found = emit.op(
        "Scan",
        *node.inputs[:states],
        *carried,
        *taken,
        outputs=len(node.outputs) + len(carried),
        body=body,
        num_scan_inputs=rows,
        scan_input_axes=axes_in if any(axes_in) else None,
        scan_output_axes=axes_out if any(axes_out) else None,
    )
    for new, old in zip([*found[:states], *found[states + len(carried) :]], node.outputs):
        new.type, new.shape = old.type, old.shape
    ends = [flip(emit, v, [a]) if b else v for v, a, b in zip(found[states + len(carried) :], axes_out, back_out)]
    return [*found[:states], *ends]


def _first(inner: Emitter, body: ir.Graph, number: np.ndarray) -> ir.Value:
    """A constant as the first node of the body."""
    value = inner.op("Constant", outputs=1, value=ir.tensor(number))[0]
    node = value.producer()
    assert node is not None
    body.remove(node)
    body.insert_before(body[0], node)
    return value


def _reread(body: ir.Graph, old: ir.Value, new: ir.Value) -> None:
    """Let everything in the body read ``new`` instead of ``old``."""
    for node in body.all_nodes():
        for index, value in enumerate(node.inputs):
            if value is old:
                set_input(node, index, new)
    for index, value in enumerate(body.outputs):
        if value is old:
            body.outputs[index] = new
