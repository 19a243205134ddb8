"""The graphs inside of a node: the branches of an If, the body of a Loop or a Scan."""

from __future__ import annotations

import onnx_ir as ir


def bodies(node: ir.Node) -> list[ir.Graph]:
    """Return the graphs that are attributes of the node."""
    return [a.as_graph() for a in node.attributes.values() if not a.is_ref() and a.type == ir.AttributeType.GRAPH]
