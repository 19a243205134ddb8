"""Types and shapes of operators that ONNX does not know but the registry does: from what they stand for."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import onnx_ir as ir

from ...errors import UnsupportedOperatorError
from ..graph.copying import loose_node, loose_value
from ..graph.emitter import Emitter
from ..graph.inference import Inference
from ..graph.operator import Operator
from ..graph.schemas import NEWEST_OPSET, since_version
from . import registry

#: The first opset that has every operator that expansions are written in.
_OPSET = 18


def outputs_of(node: ir.Node, opset: int) -> Sequence[ir.Value | None]:
    """Return one value per output with the type and shape it has, as far as the node's inputs tell.

    An operator with an expansion is expanded into a graph of its own; one that the default domain has too,
    under the same name, is inferred as that; any other is like its first input. A rule that a user registered
    says nothing about types and shapes.
    """
    registration = registry.newest(node.domain, node.op_type)
    if registration is None or onnx.defs.has(node.op_type, node.domain):
        return []
    if not registration.expands and registration.rule.__module__.partition(".")[0] != __name__.partition(".")[0]:
        return []
    opset = max(opset, _OPSET)
    inference = Inference({"": opset})
    inputs = [None if v is None else loose_value(v) for v in node.inputs]
    if registration.expands:
        probe = loose_node(node, node.domain, inputs)
        emit = Emitter(ir.Graph([], [], nodes=[], opset_imports={"": opset}), inference)
        try:
            found: Sequence[ir.Value | None] = registration.rule(emit, Operator(probe, {"": opset}, lambda _: False))
        except UnsupportedOperatorError:  # said when the walk gets there
            return []
        return found
    probe = loose_node(node, "", inputs, named=True)
    if since_version("", node.op_type, NEWEST_OPSET) is None:
        return inputs[:1]
    Inference({"": NEWEST_OPSET}).infer(probe)
    return probe.outputs
