"""Reverse-mode differentiation: one walk through the nodes, backwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from . import registry
from .emitter import Emitter, unbroadcast
from .operator import Operator
from .reach import captured, depends_on


def walk(
    emit: Emitter,
    nodes: Sequence[ir.Node],
    seeds: dict[ir.Value, ir.Value],
    variables: Sequence[ir.Value],
    opsets: Mapping[str, int],
) -> dict[ir.Value, ir.Value]:
    """Go through ``nodes`` in reverse once and return the gradient of every value that has one.

    ``seeds`` holds the gradients to start from; only values with a float path from ``variables`` are
    visited. Gradients of one value add up; broadcasting is undone here and nowhere else.
    """
    gradients = dict(seeds)
    active = depends_on(nodes, variables)
    for node in reversed(nodes):
        dys = [gradients.get(value) for value in node.outputs]
        reads = [*node.inputs, *captured(node)]
        if not any(dy is not None for dy in dys) or not any(value in active for value in reads):
            continue
        operator = Operator(node, opsets, active.__contains__)
        registration = registry.lookup(node.domain, node.op_type, operator.opset)
        if registration is None:
            raise operator.refuse("operator", node.op_type, "register a rule for it, or name a tensor before it")
        with emit.scope(node.name or node.op_type):
            if registration.every_output:
                found = registration.rule(emit, operator, dys)
            elif any(dy is not None for dy in dys[1:]):
                raise operator.refuse("gradient of a secondary output", node.op_type, "use its first output only")
            else:
                found = registration.rule(emit, operator, dys[0])
            for x, dx in zip(reads, [found] if found is None or isinstance(found, ir.Value) else found):
                if x is None or dx is None or x not in active:
                    continue
                if registration.broadcasts:
                    dx = unbroadcast(emit, dx, x)
                before = gradients.get(x)
                total = dx if before is None else emit.Add(before, dx)
                if x.shape is not None and total.producer() is not None and not total.is_graph_output():
                    total.shape = x.shape
                gradients[x] = total
    return gradients
