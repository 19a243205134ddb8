"""Drop nodes, initialisers and opset imports that nothing needs."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass, RemoveUnusedOpsetsPass


def prune(model: ir.Model) -> None:
    """Remove everything that no output of the model depends on, in place."""
    RemoveUnusedNodesPass()(model)
    RemoveUnusedOpsetsPass()(model)
