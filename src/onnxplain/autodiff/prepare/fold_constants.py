"""Evaluate small constant arithmetic: what shapes, axes, pads and sizes are computed from.

A node folds if all its inputs are small constants, or if shape inference knows what it returns: it asks
a static shape, or a static extent of a shape that is symbolic elsewhere. Evaluation is ONNX's reference
evaluator. Weights are never folded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from ..graph.editing import put_constant
from ..graph.emitter import static_shape
from ..graph.inference import small_constant
from ..graph.passes import Step, Work, fired, graph_pass, left
from ..graph.schemas import is_standard

_FOLDABLE = {
    "Shape", "Size", "Gather", "Concat", "Unsqueeze", "Squeeze", "Slice", "Cast", "Add", "Sub", "Mul", "Div", "Mod",
    "Min", "Max", "Neg", "Abs", "Floor", "Ceil", "Round", "Equal", "Greater", "Less", "GreaterOrEqual",
    "LessOrEqual", "Not", "And", "Or", "Where",
    "ConstantOfShape", "Range", "Reshape", "Identity", "ReduceProd", "ReduceSum", "ReduceMax", "ReduceMin", "Expand",
    "Transpose", "Split", "Sqrt", "Pow", "Flatten", "ScatterND", "Tile", "CumSum", "NonZero", "Constant",
}  # fmt: skip
#: Their results in floats depend on who computes them, in the last place: only integers fold.
_ROUNDED = {"Pow", "ReduceSum", "ReduceProd", "CumSum"}
#: Their results can be much larger than what they read.
_GROWS = {"ConstantOfShape", "Expand", "Range", "Tile", "ScatterND", "Gather"}
_LIMIT = 1024


@graph_pass(needs="inferred shapes", ensures="no arithmetic on small constants, nor on extents that are known")
def fold_constants(work: Work) -> Iterator[Step]:
    """Fold in place what the inference has visited; graph outputs keep their nodes."""
    graph = work.model.graph
    imports = [onnx.helper.make_opsetid(d, v) for d, v in graph.opset_imports.items()]
    for node in list(graph):
        if not is_foldable(node):
            continue
        reason = _reason(node)
        if reason is not None:
            if all(v is None or small_constant(v) is not None for v in node.inputs):
                yield left(node, reason)
            continue
        if node.op_type in _GROWS and not all(_is_small(value) for value in node.outputs):
            yield left(node, f"its result may have more than {_LIMIT} elements")
            continue
        numbers = work.emit.inference.numbers(node.outputs[0])
        arrays = _evaluate(node, imports) if numbers is None or len(node.outputs) > 1 else [numbers]
        if arrays is None:
            continue
        if any(array.size > _LIMIT for array in arrays):
            yield left(node, f"its result has more than {_LIMIT} elements")
            continue
        for value, array in zip(node.outputs, arrays):
            put_constant(graph, value, array)
        graph.remove(node, safe=True)
        yield fired(node)


def _reason(node: ir.Node) -> str | None:
    """Why a node stays whatever it reads."""
    if any(value.is_graph_output() for value in node.outputs):
        return "it makes an output of the model"
    dtype = node.outputs[0].dtype
    if node.op_type in _ROUNDED and (dtype is None or dtype.is_floating_point()):
        return "in floats its last place depends on who computes it"
    return None


def _is_small(value: ir.Value) -> bool:
    shape = static_shape(value)
    return shape is not None and math.prod(shape) <= _LIMIT


def is_foldable(node: ir.Node) -> bool:
    """Return whether a node is arithmetic of the kind that shapes are computed by."""
    return is_standard(node.domain) and node.op_type in _FOLDABLE


def _evaluate(node: ir.Node, imports: Sequence[onnx.OperatorSetIdProto]) -> list[np.ndarray] | None:
    if node.op_type in ("Shape", "Size"):
        value = node.inputs[0]
        shape = None if value is None else static_shape(value)
        if shape is None:
            return None
        if node.op_type == "Size":
            return [np.array(int(np.prod(shape)), dtype=np.int64)]
        start = node.attributes.get_int("start", 0)
        end = node.attributes.get_int("end", None)
        return [np.array(shape[slice(start, end)], dtype=np.int64)]
    arrays = {value: small_constant(value) for value in node.inputs if value is not None}
    known = {value: array for value, array in arrays.items() if array is not None}
    return evaluate(node, known, imports) if len(known) == len(arrays) else None


def evaluate(
    node: ir.Node, arrays: Mapping[ir.Value, np.ndarray], imports: Sequence[onnx.OperatorSetIdProto]
) -> list[np.ndarray] | None:
    """Return what a node returns, given what its inputs hold; None if ONNX's evaluator cannot say."""
    feeds = {value.name: array for value, array in arrays.items() if value.name is not None}
    if node.op_type == "ConstantOfShape" and np.prod(next(iter(feeds.values()))) > _LIMIT:
        return None
    graph = onnx.helper.make_graph(
        [ir.serde.serialize_node(node)],
        "constant",
        [onnx.helper.make_value_info(name, onnx.TypeProto()) for name in feeds],
        [onnx.helper.make_value_info(v.name or "", onnx.TypeProto()) for v in node.outputs],
    )
    try:
        results = ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=list(imports))).run(None, feeds)
    except Exception:  # whatever the evaluator cannot do stays in the graph
        return None
    return [np.asarray(result) for result in results]
