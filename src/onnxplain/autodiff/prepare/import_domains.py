"""State a version of every domain that nodes are of: ONNX Runtime takes models without, the checker does not."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from ..graph.passes import Step, fired, graph_pass


@graph_pass(needs="no local function", ensures="a version of every domain of a node")
def import_domains(model: ir.Model) -> Iterator[Step]:
    """Import version 1 of every domain that lacks one, in place; the default domain is the upgrade's."""
    for domain in sorted({node.domain for node in model.graph.all_nodes()} - {"", "ai.onnx"}):
        if domain not in model.graph.opset_imports:
            model.graph.opset_imports[domain] = 1
            yield fired(domain)
