"""If with a constant condition: the branch that is taken, in its place.

Exporters leave such nodes where a shape decided at export time (a squeeze that depends on an extent). Both
branches may differ in rank, and then nobody knows the rank of the result as long as the If stands.
"""

from __future__ import annotations

from ..graph.editing import inline, replace, value_names
from ..graph.emitter import Emitter
from ..graph.inference import small_constant


def inline_constant_if(emit: Emitter) -> bool:
    """Inline in place, the main graph only; returns whether anything changed. Graph outputs keep their names."""
    graph, taken = emit.graph, set[str | None]()
    for node in list(graph):
        condition = small_constant(node.inputs[0]) if node.op_type == "If" and node.domain in ("", "ai.onnx") else None
        if condition is None:
            continue
        branch = node.attributes["then_branch" if bool(condition.all()) else "else_branch"].as_graph()
        if branch.initializers:
            continue
        taken = taken or value_names(graph)
        with emit.before(node):
            for old, new in zip(node.outputs, inline(emit, node, branch, taken)):
                replace(emit, old, emit.Identity(new))
        graph.remove(node, safe=True)
    return bool(taken)
