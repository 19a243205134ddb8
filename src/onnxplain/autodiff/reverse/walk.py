"""Reverse-mode differentiation: one walk through the nodes, backwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

import onnx_ir as ir

from ..graph.editing import redirect
from ..graph.emitter import Emitter, unbroadcast
from ..graph.operator import Operator
from . import registry
from .functions import expand_function, function_body
from .overrides import Rules
from .quantized import in_floats, is_whole
from .reach import captured, depends_on


def walk(
    emit: Emitter,
    nodes: Sequence[ir.Node],
    seeds: dict[ir.Value, ir.Value],
    variables: Sequence[ir.Value],
    opsets: Mapping[str, int],
    rules: Rules | None = None,
) -> dict[ir.Value, ir.Value]:
    """Go through ``nodes`` in reverse once and return the gradient of every value that has one.

    ``seeds`` holds the gradients to start from; only values with a float path from ``variables`` are
    visited. Gradients of one value add up; broadcasting is undone here and nowhere else. ``rules`` are handed to the
    walks inside of this one; without them it takes those of the walk that it is part of, or the registered ones.
    """
    if rules is not None or emit.rules is None:
        emit.rules = Rules() if rules is None else rules
    gradients = dict(seeds)
    active = depends_on(nodes, variables)
    for node in reversed(nodes):
        dys = [gradients.get(value) for value in node.outputs]
        reads = [*node.inputs, *captured(node)]
        if not any(dy is not None for dy in dys) or not any(value in active for value in reads):
            continue
        operator = Operator(node, opsets, active.__contains__)
        registration = emit.rules.lookup(node.domain, node.op_type, operator.opset)
        with emit.scope(node.name or node.op_type):
            found = _gradients(emit, operator, registration, dys)
            for x, dx in zip(reads, [found] if found is None or isinstance(found, ir.Value) else found):
                if x is None or dx is None or x not in active:
                    continue
                if registration is not None and registration.broadcasts:
                    dx = unbroadcast(emit, dx, x)
                before = gradients.get(x)
                total = dx if before is None else emit.Add(before, dx)
                if x.shape is not None and total.producer() is not None and not total.is_graph_output():
                    total.shape = x.shape
                gradients[x] = total
    return gradients


def _gradients(
    emit: Emitter,
    node: Operator,
    registration: registry.Registration | None,
    dys: Sequence[ir.Value | None],
) -> registry.Gradients:
    quantized = registration is not None and registration.quantized
    if not quantized and any(is_whole(v) and node.wants(i) for i, v in enumerate(node.inputs)):
        return by_expansion(emit, node, dys, in_floats)
    if registration is None:
        function = function_body(node)
        if function is None:
            raise node.refuse("operator", node.op_type, registry.advice(node.node.domain, node.op_type))
        return by_expansion(emit, node, dys, lambda emit, node: expand_function(emit, node, function))
    if registration.expands:
        return by_expansion(emit, node, dys, registration.rule)
    if not registration.every_output and any(dy is not None for dy in dys[1:]):
        raise node.refuse("gradient of a secondary output", node.op_type, "use its first output only")
    found = registration.rule(emit, node, dys if registration.every_output else dys[0])
    if found is NotImplemented and registration.replaces:
        return _gradients(emit, node, registry.lookup(node.node.domain, node.op_type, node.opset), dys)
    emit.rules.applied += registration.replaces
    gradients: registry.Gradients = found
    return gradients


def by_expansion(
    emit: Emitter, node: Operator, dys: Sequence[ir.Value | None], expand: registry.Expansion
) -> registry.Gradients:
    """Gradients of a node by an expansion: the operator written out in operators with rules, and those walked.

    The forward node stays in the model, its outputs are read in place of the expansion's, and only what
    the gradient needs of the expansion survives pruning. Used where an operator is a small program rather
    than a function with a short derivative.
    """
    before = len(emit.graph)
    outputs = expand(emit, node)
    nodes = list(islice(reversed(emit.graph), len(emit.graph) - before))[::-1]
    seeds: dict[ir.Value, ir.Value] = {}
    for index, (output, dy) in enumerate(zip(outputs, dys)):
        if output is None and dy is not None:
            raise node.refuse("gradient of output", index, "use another output of the operator")
        if output is not None and dy is not None:
            seeds[output] = emit.Add(seeds[output], dy) if output in seeds else dy
    variables = [v for i, v in enumerate(node.inputs) if v is not None and node.wants(i)]
    gradients = walk(emit, nodes, seeds, variables, node.opsets)
    made = set(nodes)
    for output, forward in zip(outputs, node.outputs):
        if output is not None and output.producer() in made and forward.name and output.dtype == forward.dtype:
            redirect(emit, output, forward)
    return [gradients.get(v) if v is not None else None for v in node.inputs]
