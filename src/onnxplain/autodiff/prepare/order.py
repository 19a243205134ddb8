"""Bring any model into the one form that the walk reads: passes before the walk, in order."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import (
    CheckerPass,
    LiftConstantsToInitializersPass,
    LiftSubgraphInitializersToMainGraphPass,
    RemoveInitializersFromInputsPass,
)

from ...errors import ModelError
from ..graph.emitter import Emitter
from ..graph.inference import Inference
from ..reverse.foreign import outputs_of
from .checkable_convolution import state_pads_of_transposed_convolutions
from .checkable_normalization import make_normalization_checkable
from .fold_constants import fold_constants
from .infer_shapes import infer_shapes
from .inline_constant_if import inline_constant_if
from .inline_functions import inline_functions
from .name_everything import name_everything
from .unpack_sequences import unpack_sequences
from .upgrade_opset import upgrade_opset
from .vector_operands import multiply_by_columns


def prepare(model: ir.Model) -> Inference:
    """Rewrite ``model`` in place; returns the inference that names its dimensions.

    Afterwards: every node and value has a name, no initialiser is listed among the inputs, no local
    function is left, the opset is 18 or newer, constants are initialisers, shapes and types are
    inferred as far as they can be. The values of the model's outputs are unchanged.

    Raises:
        ModelError: the model cannot be brought to the working opset.
    """
    name_everything(model)
    RemoveInitializersFromInputsPass()(model)
    inline_functions(model)
    for domain in sorted({node.domain for node in model.graph.all_nodes()} - {"", "ai.onnx"}):
        model.graph.opset_imports.setdefault(domain, 1)  # ONNX Runtime takes models without
    upgrade_opset(model)
    make_normalization_checkable(model)
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    state_pads_of_transposed_convolutions(model)
    if any(node.graph is not model.graph for node in model.graph.all_nodes()):
        LiftSubgraphInitializersToMainGraphPass()(model)
    inference = Inference(model.graph.opset_imports, outputs_of)
    infer_shapes(model, inference)
    emit = Emitter(model.graph, inference, under="prepare")
    if multiply_by_columns(emit):
        infer_shapes(model, inference)
    while fold_constants(model, inference) or inline_constant_if(emit) or unpack_sequences(model, emit):
        infer_shapes(model, inference)
    return inference


def check(model: ir.Model, what: str) -> None:
    """Run ONNX's full checker on the graph; weights are not copied.

    Raises:
        ModelError: with the checker's first complaint.
    """
    try:
        CheckerPass(full_check=True)(model)
    except Exception as error:  # the checker raises several unrelated types
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise ModelError(f"{what} does not pass the ONNX checker: {reason}") from error
