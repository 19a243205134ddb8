"""If with a constant condition: the branch that is taken, in its place.

Exporters leave such nodes where a shape decided at export time (a squeeze that depends on an extent). Both
branches may differ in rank; then the rank of the result is unknown as long as the If stands.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..graph.editing import inline, replace, value_names
from ..graph.inference import small_constant
from ..graph.passes import Step, Work, fired, graph_pass, left


@graph_pass(needs="folded constants", ensures="no If whose condition is constant")
def inline_constant_if(work: Work) -> Iterator[Step]:
    """Inline in place, the main graph only. Graph outputs keep their names."""
    emit, graph, taken = work.emit, work.emit.graph, set[str | None]()
    for node in list(graph):
        if node.op_type != "If" or node.domain not in ("", "ai.onnx"):
            continue
        condition = small_constant(node.inputs[0])
        if condition is None:
            yield left(node, "its condition is computed while the model runs")
            continue
        branch = node.attributes["then_branch" if bool(condition.all()) else "else_branch"].as_graph()
        if branch.initializers:
            yield left(node, "its branch has initialisers of its own")
            continue
        taken = taken or value_names(graph)
        with emit.before(node):
            for old, new in zip(node.outputs, inline(emit, node, branch, taken)):
                replace(emit, old, emit.Identity(new))
        graph.remove(node, safe=True)
        yield fired(node)
