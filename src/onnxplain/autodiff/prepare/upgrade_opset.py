"""Bring models of opset 7 to 17 of the default domain to opset 18, exactly preserving values.

Every operator goes through its versions one by one: ``opset_adapters.ADAPTERS`` rewrites a node where
a version changed meaning or form, ``UNCHANGED`` lists the versions that only widened what is allowed.
Where the standard leaves a meaning open, ONNX Runtime's is kept. ``onnx.version_converter`` is not
used: it copies all weights, stops at two gigabytes, leaves subgraphs alone and lacks adapters.

A model of opset 18 or newer is left as it is: a model is never raised more than needed.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from ...errors import ModelError
from ..graph.emitter import Emitter
from ..graph.inference import Inference
from ..graph.passes import Step, fired, graph_pass
from ..graph.schemas import since_version
from ..reverse.foreign import outputs_of
from . import opset_adapters_resize as upgrade_rules_resize
from . import opset_adapters_scan as upgrade_rules_scan
from .infer_shapes import infer_shapes
from .opset_adapters import ADAPTERS, WORKING_OPSET

__all__ = ["UNCHANGED", "upgrade_opset"]

assert upgrade_rules_resize and upgrade_rules_scan  # imported for their adapters

OLDEST_OPSET = 7
_IR_VERSION = 8  # the first that may hold opset 18

#: Operator versions in 8..18 at which every older node of this operator means the same as before: more
#: types, negative axes or indices, broadcasting, new attributes, inputs or outputs whose default is the
#: old behaviour, or wording. OneHot 11 wraps negative indices; ONNX Runtime did so from version 9 on.
UNCHANGED: dict[str, tuple[int, ...]] = {
    "Abs": (13,), "Add": (13, 14), "ArgMax": (11, 12, 13), "ArgMin": (11, 12, 13), "AveragePool": (10, 11),
    "BatchNormalization": (15,), "Cast": (9, 13), "Ceil": (13,), "Clip": (12, 13), "Compress": (11,),
    "Concat": (11, 13), "Constant": (9, 11, 12, 13), "Conv": (11,), "ConvTranspose": (11,), "CumSum": (14,),
    "DepthToSpace": (11, 13), "DequantizeLinear": (13,), "Div": (13, 14), "Dropout": (10, 13), "Equal": (11, 13),
    "Erf": (13,), "Exp": (13,), "Expand": (13,), "Flatten": (9, 11, 13), "Floor": (13,), "GRU": (14,),
    "Gather": (11, 13), "GatherElements": (13,), "GatherND": (12, 13), "Gemm": (9, 11, 13), "Greater": (9, 13),
    "GreaterOrEqual": (16,), "Hardmax": (11,), "Identity": (13, 14, 16), "If": (11, 13, 16), "IsNaN": (13,),
    "LRN": (13,), "LSTM": (14,), "LeakyRelu": (16,), "Less": (9, 13), "LessOrEqual": (16,), "Log": (13,),
    "LogSoftmax": (11,), "Loop": (11, 13, 16), "LpPool": (11, 18), "MatMul": (9, 13), "Max": (8, 12, 13),
    "MaxPool": (8, 10, 11, 12), "MaxUnpool": (11,), "Mean": (8, 13),
    "Min": (8, 12, 13), "Mod": (13,), "Mul": (13, 14), "Neg": (13,), "NegativeLogLikelihoodLoss": (13,),
    "NonMaxSuppression": (11,), "NonZero": (13,), "OneHot": (11,), "OptionalGetElement": (18,),
    "OptionalHasElement": (18,), "PRelu": (9, 16), "Pad": (13, 18), "Pow": (12, 13, 15), "QuantizeLinear": (13,),
    "RNN": (14,), "Reciprocal": (13,), "ReduceL1": (11, 13), "ReduceL2": (11, 13), "ReduceLogSum": (11, 13),
    "ReduceLogSumExp": (11, 13), "ReduceMax": (11, 12, 13), "ReduceMean": (11, 13), "ReduceMin": (11, 12, 13),
    "ReduceProd": (11, 13), "ReduceSum": (11,), "ReduceSumSquare": (11, 13), "Relu": (13, 14), "Reshape": (13, 14),
    "Resize": (18,), "Scan": (11, 16), "ScatterElements": (13, 16, 18), "ScatterND": (13, 16, 18), "Shape": (13, 15),
    "Sigmoid": (13,), "Sign": (13,), "Size": (13,), "Slice": (11, 13), "Softmax": (11,),
    "SoftmaxCrossEntropyLoss": (13,), "SpaceToDepth": (13,), "Split": (11,), "Sqrt": (13,), "Squeeze": (11,),
    "Sub": (13, 14), "Sum": (8, 13), "Tanh": (13,), "Tile": (13,), "TopK": (11,), "Transpose": (13,),
    "Unsqueeze": (11,), "Where": (16,),
}  # fmt: skip

#: Operators that ONNX Runtime's optimiser puts into the default domain of any opset, where LayerNormalization
#: means what it does from version 17 on.
_OF_RUNTIMES = {"LayerNormalization", "SimplifiedLayerNormalization"}


@graph_pass(needs="names; no local function", ensures="opset 18 or newer")
def upgrade_opset(model: ir.Model) -> Iterator[Step]:
    """Raise ``model`` to opset 18 in place, subgraphs included; other domains stay untouched.

    A model that does not use the default domain at all imports it afterwards.

    Raises:
        ModelError: the opset is below 7, or the model uses an operator that its opset does not define.
        UnsupportedOperatorError: a configuration that opset 18 cannot express.
    """
    imports = model.graph.opset_imports
    if "ai.onnx" in imports:  # the default domain's other name, which nodes have already dropped
        imports[""] = imports.pop("ai.onnx")
    opset = imports.setdefault("", WORKING_OPSET)  # gradients need it, even if the model is all of ai.onnx.ml
    if opset >= WORKING_OPSET:
        return
    nodes = [node for node in model.graph.all_nodes() if node.domain == ""]
    if opset < OLDEST_OPSET and nodes:
        raise ModelError(
            f"the model uses opset {opset}, whose operators broadcast and pad by older rules; the oldest supported "
            f"opset is {OLDEST_OPSET}. Export it again with a newer opset, or convert it first with "
            "onnx.version_converter.convert_version."
        )
    stated = {value: value.shape for node in model.graph.all_nodes() for value in node.outputs}
    inference = Inference(imports, outputs_of)
    infer_shapes(model, inference)
    imports[""] = WORKING_OPSET
    emit = Emitter(model.graph, Inference(imports, outputs_of), under="prepare")
    for node in nodes:
        if node.graph is not model.graph:
            inference.infer(node)
        with emit.before(node):
            if _upgrade(emit, node, opset):
                yield fired(node)
    for value in (value for node in model.graph.all_nodes() for value in node.outputs):
        if value in stated or not value.is_graph_output():
            value.shape = stated.get(value)  # inference below opset 11 keeps a symbolic extent that is sliced
    model.ir_version = max(model.ir_version, _IR_VERSION)


def _upgrade(emit: Emitter, node: ir.Node, opset: int) -> bool:
    """Rewrite one node for every version that it passes; return whether any of them asks for that."""
    if node.op_type in _OF_RUNTIMES:
        return False
    if since_version("", node.op_type, opset) is None:
        raise ModelError(
            f"node {node.name!r} uses the operator {node.op_type!r}, which opset {opset} does not define (it may have "
            "been experimental or withdrawn). Export the model again with standard operators."
        )
    adapted = False
    for version in range(opset + 1, WORKING_OPSET + 1):
        adapter = ADAPTERS.get((node.op_type, version))
        if adapter is not None:
            adapter(emit, node)
            adapted = True
    return adapted
