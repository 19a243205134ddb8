"""Scan 8, which ran over a batch of sequences, as a Scan over the batch whose body is a Scan."""

from __future__ import annotations

import onnx_ir as ir

from ..graph.editing import become, take
from ..graph.emitter import Emitter
from .opset_adapters import adapter, refuse


@adapter(9, "Scan")
def scan_over_batch(emit: Emitter, node: ir.Node) -> None:
    """The batch axis 0 and the input ``sequence_lens`` are gone; the sequence axis was 1."""
    if node.inputs[0] is not None:
        raise refuse(node, "sequence_lens", node.inputs[0].name, "export the model with a newer opset")
    count, body, directions = take(node, "num_scan_inputs"), take(node, "body"), take(node, "directions")
    batched = list(node.inputs[1:])
    graph = ir.Graph([], [], nodes=[], opset_imports=emit.graph.opset_imports, name=emit.fresh("sample"))
    inner = emit.child(graph)
    for value in batched:
        assert value is not None
        shape = None if value.shape is None else ir.Shape(list(value.shape)[1:])
        inner.input(inner.fresh("in"), value.type, shape)
    results = inner.op(
        "Scan",
        *graph.inputs,
        outputs=len(node.outputs),
        body=body,
        num_scan_inputs=count,
        scan_input_directions=directions,
    )
    for value, outer in zip(results, node.outputs):
        value.type, value.shape = outer.type, None  # the body is of an older opset still: what it infers is not true
    graph.outputs.extend(results)
    become(node, "Scan", *batched, body=graph, num_scan_inputs=len(batched))
