"""Write fused attention out, softmax(q kᵀ) v in operators of its own, so that the probabilities are a tensor.

Done only where the probabilities are asked for; the values agree to float32 rounding.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from ..graph.editing import replace
from ..graph.emitter import Emitter
from ..graph.operator import Operator
from ..graph.passes import Step, fired, graph_pass, left
from ..reverse import registry
from ..reverse.functions import expand_function, function_body


@graph_pass(needs="a prepared graph", ensures="no fused attention")
def write_out_attention(emit: Emitter) -> Iterator[Step]:
    """Replace every attention operator that has an expansion or a definition by it, in place."""
    graph = emit.graph
    for node in [node for node in graph if "Attention" in node.op_type]:
        with emit.scope(node.name or node.op_type):
            outputs = _expansion(emit, Operator(node, graph.opset_imports, lambda value: False))
        if outputs is None:
            yield left(node, "it has neither an expansion nor a definition")
            continue
        for old, new in zip(node.outputs, outputs):
            if new is not None:
                replace(emit, old, new)
        graph.remove(node, safe=True)
        yield fired(node)
    graph.sort()


def _expansion(emit: Emitter, node: Operator) -> list[ir.Value | None] | None:
    registration = registry.lookup(node.node.domain, node.op_type, node.opset)
    if registration is not None and registration.expands:
        return list(registration.rule(emit, node))
    function = function_body(node)
    return None if function is None else list(expand_function(emit, node, function))
