"""Drop nodes, initialisers and opset imports that nothing needs."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass, RemoveUnusedOpsetsPass

from ..graph.passes import Step, fired, graph_pass


@graph_pass(needs="the outputs of the model", ensures="nothing that no output of the model depends on")
def prune(model: ir.Model) -> Iterator[Step]:
    """Remove everything that no output of the model depends on, in place."""
    before = list(model.graph)
    RemoveUnusedNodesPass()(model)
    RemoveUnusedOpsetsPass()(model)
    yield from (fired(node) for node in before if node.graph is None)
