"""If with a constant condition: the branch that is taken, in its place.

Exporters leave such nodes where a shape decided at export time (a squeeze that depends on an extent). Both
branches may differ in rank, and then nobody knows the rank of the result as long as the If stands.
"""

from __future__ import annotations

import onnx_ir as ir

from ..graph.inference import small_constant


def inline_constant_if(model: ir.Model) -> bool:
    """Inline in place, the main graph only; returns whether anything changed. Graph outputs keep their names."""
    changed = False
    for node in list(model.graph):
        condition = small_constant(node.inputs[0]) if node.op_type == "If" and node.domain in ("", "ai.onnx") else None
        if condition is None:
            continue
        branch = node.attributes["then_branch" if bool(condition.all()) else "else_branch"].as_graph()
        if branch.initializers:
            continue
        inner = list(branch)
        results = list(branch.outputs)
        branch.outputs.clear()
        for one in inner:
            branch.remove(one)
            one.name = f"{node.name}/{one.name}"
        model.graph.insert_before(node, inner)
        copies = [ir.node("Identity", [value], name=f"{node.name}/{value.name}") for value in results]
        replaced = [copy.outputs[0] for copy in copies]
        ir.convenience.replace_nodes_and_values(model.graph, node, [node], copies, node.outputs, replaced)
        changed = True
    return changed
