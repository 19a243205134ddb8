"""Pick the class without int64, which ONNX Runtime's WebGPU provider leaves to the CPU.

Where the differentiated model compares class indices, and takes the first of the highest scores by ArgMax, floats do:

    best = (s == max s),  first = best (sum of best before = 0),  mask = (target == classes) + (target < 0) first

with the scores s [1,K]. The mask [1,K] is where the walk starts, and sum of s mask the score. ``target`` is int32.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from ..autodiff.forms.prune import prune
from ..autodiff.graph.emitter import Emitter
from ..autodiff.graph.inference import Inference

_FLOAT, _INT32 = ir.DataType.FLOAT, ir.DataType.INT32


def pick_in_floats(model: ir.Model) -> bool:
    """Rewrite the pick of a class in a model that predicts, in place; returns whether it was of the known form."""
    graph = model.graph
    target = next(v for v in graph.inputs if v.name == model.metadata_props["onnxplain.target"])
    wheres = _reads([target], "Where")
    columns = [node.outputs[0] for node in _reads([node.outputs[0] for node in wheres], "Unsqueeze")]
    masks = [cast.outputs[0] for equal in _reads(columns, "Equal") for cast in _reads([equal.outputs[0]], "Cast")]
    picks = _reads(columns, "GatherElements")
    scores = picks[0].inputs[0] if picks else None
    if scores is None or scores.shape is None or scores.dtype != _FLOAT or not _is_fixed(scores.shape):
        return False
    emit = Emitter(graph, Inference(graph.opset_imports))
    with emit.scope("class"):
        target.dtype = _INT32
        mask = _mask(emit, target, scores)
        score = emit.ReduceSum(emit.Mul(scores, mask), [1], keepdims=1)
    for old, new in [*((value, mask) for value in masks), *((node.outputs[0], score) for node in picks)]:
        old.replace_all_uses_with(new)
    graph.sort()
    prune(model)
    return True


def _mask(emit: Emitter, target: ir.Value, scores: ir.Value) -> ir.Value:
    assert scores.shape is not None and isinstance(scores.shape[1], int)
    best = emit.Cast(emit.Equal(scores, emit.ReduceMax(scores, [1], keepdims=1)), to=_FLOAT)
    before = emit.CumSum(best, emit.constant(1, ir.DataType.INT64), exclusive=1)
    first = emit.Mul(best, emit.Cast(emit.Equal(before, 0.0), to=_FLOAT))
    index = emit.Unsqueeze(target, [1])
    classes = emit.constant(np.arange(scores.shape[1], dtype=np.int32))
    asked = emit.Cast(emit.Equal(index, classes), to=_FLOAT)
    return emit.Add(asked, emit.Mul(emit.Cast(emit.Less(index, emit.constant(0, _INT32)), to=_FLOAT), first))


def _reads(values: Sequence[ir.Value], op_type: str) -> list[ir.Node]:
    """The nodes of an operator that read one of ``values``."""
    return [use.node for value in values for use in value.uses() if use.node.op_type == op_type]


def _is_fixed(shape: ir.Shape) -> bool:
    return len(shape) == 2 and all(isinstance(extent, int) for extent in shape)
