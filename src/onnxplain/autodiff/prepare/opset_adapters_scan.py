"""Scan 8, which ran over a batch of sequences, as a Scan over the batch whose body is a Scan."""

from __future__ import annotations

import onnx_ir as ir

from .opset_adapters import adapter, become, fresh, refuse, take


@adapter(9, "Scan")
def scan_over_batch(node: ir.Node) -> None:
    """The batch axis 0 and the input ``sequence_lens`` are gone; the sequence axis was 1."""
    if node.inputs[0] is not None:
        raise refuse(node, "sequence_lens", node.inputs[0].name, "export the model with a newer opset")
    count, body, directions = take(node, "num_scan_inputs"), take(node, "body"), take(node, "directions")
    batched = list(node.inputs[1:])
    singles = [_single(value, fresh(node, "in")) for value in batched]
    inner = ir.node(
        "Scan",
        singles,
        {"body": body, "num_scan_inputs": count, "scan_input_directions": directions},
        num_outputs=len(node.outputs),
        name=fresh(node, "Scan"),
    )
    for value, outer in zip(inner.outputs, node.outputs):
        value.name, value.type = fresh(node, "out"), outer.type
    graph = ir.Graph(singles, inner.outputs, nodes=[inner], name=fresh(node, "sample"))
    become(node, "Scan", *batched, body=graph, num_scan_inputs=len(batched))


def _single(batched: ir.Value | None, name: str) -> ir.Value:
    """The value of one sample."""
    assert batched is not None
    shape = None if batched.shape is None else ir.Shape(list(batched.shape)[1:])
    return ir.Value(name=name, type=batched.type, shape=shape)
