"""Drop nodes, initialisers and opset imports that nothing needs."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass, RemoveUnusedOpsetsPass

from ..graph.editing import let_go
from ..graph.passes import Step, fired, graph_pass


@graph_pass(needs="the outputs of the model", ensures="nothing that no output of the model depends on")
def prune(model: ir.Model) -> Iterator[Step]:
    """Remove everything that no output of the model depends on, in place."""
    before = list(model.graph)
    branching = [node for node in before if any(isinstance(a.value, ir.Graph) for a in node.attributes.values())]
    while True:
        RemoveUnusedNodesPass()(model)
        gone = [node for node in branching if node.graph is None]
        if not gone:
            break
        for node in gone:  # what its branches read of the outer graph is still taken for used
            let_go(node)
            branching.remove(node)
    RemoveUnusedOpsetsPass()(model)
    yield from (fired(node) for node in before if node.graph is None)
