"""Constants as initialisers of the main graph, which are none of its inputs: the same numbers in one place."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir
from onnx_ir.passes.common import (
    LiftConstantsToInitializersPass,
    LiftSubgraphInitializersToMainGraphPass,
    RemoveInitializersFromInputsPass,
)

from ..graph.passes import Step, fired, graph_pass

#: The first in which initialisers need not be inputs.
_OLDEST_IR_VERSION = 4


@graph_pass(needs="nothing", ensures="no initialiser is listed among the inputs")
def take_initializers_off_inputs(model: ir.Model) -> Iterator[Step]:
    """Let the values that old files offer as defaults of inputs be constants."""
    before = list(model.graph.inputs)
    RemoveInitializersFromInputsPass()(model)
    model.ir_version = max(model.ir_version, _OLDEST_IR_VERSION)
    now = set(model.graph.inputs)
    yield from (fired(value.name or "") for value in before if value not in now)


@graph_pass(needs="names", ensures="no node Constant, but where it makes an output")
def lift_constants(model: ir.Model) -> Iterator[Step]:
    """Make an initialiser of every node Constant."""
    constants = [node for node in model.graph.all_nodes() if node.op_type == "Constant"]
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    yield from (fired(node) for node in constants if node.graph is None)


@graph_pass(needs="names", ensures="no initialiser in a subgraph")
def lift_subgraph_initializers(model: ir.Model) -> Iterator[Step]:
    """Move the initialisers of subgraphs to the main graph, under another name where theirs is taken."""
    inner = [value for graph in model.graph.subgraphs() for value in graph.initializers.values()]
    if inner:
        LiftSubgraphInitializersToMainGraphPass()(model)
    yield from (fired(value.name or "") for value in inner)
