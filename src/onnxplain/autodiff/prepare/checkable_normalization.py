"""Rewrite normalisations that runtimes take but ONNX's checker refuses.

GroupNormalization of version 18 is withdrawn. Its scale s and bias b hold one number per group, so it is
InstanceNormalization of the groups: with x reshaped to [N, groups, elements], y = s (x - mean) / √(variance
+ ε) + b over the elements, reshaped back. From version 21 on s and b are per channel; the node stays.

MeanVarianceNormalization without ``axes`` fails the checker's inference; its default [0, 2, 3] is written out.

SimplifiedLayerNormalization is an operator of ONNX Runtime in the default domain: y = x / √(mean x² + ε) s over
the axes from ``axis``. It is written out the way exporters do, which ONNX Runtime fuses into it again.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from ..graph.editing import become, replace, take
from ..graph.emitter import Emitter
from ..graph.inference import Inference
from ..graph.passes import Step, fired, graph_pass
from ..reverse.foreign import outputs_of
from .opset_adapters import refuse, scalar_like, source


@graph_pass(needs="opset 18 or newer", ensures="every normalisation passes ONNX's checker")
def make_normalization_checkable(model: ir.Model) -> Iterator[Step]:
    """Rewrite such nodes in place, in subgraphs too."""
    opset = model.graph.opset_imports.get("", 0)
    emit = Emitter(model.graph, Inference(model.graph.opset_imports, outputs_of), under="prepare")
    for node in list(model.graph.all_nodes()):
        if node.domain in ("", "ai.onnx"):
            if node.op_type == "GroupNormalization" and opset < 21:
                yield fired(node)
                with emit.before(node):
                    _normalize_instances(emit, node)
            elif node.op_type == "MeanVarianceNormalization" and "axes" not in node.attributes:
                yield fired(node)
                node.attributes.add(ir.AttrInt64s("axes", [0, 2, 3]))
            elif node.op_type == "SimplifiedLayerNormalization":
                yield fired(node)
                with emit.before(node):
                    _write_out_root_mean_square(emit, node)


def _normalize_instances(emit: Emitter, node: ir.Node) -> None:
    x, scale, bias = node.inputs
    groups, epsilon = take(node, "num_groups"), take(node, "epsilon")
    grouped = emit.Reshape(x, [0, groups, -1])
    epsilon = 1e-5 if epsilon is None else epsilon
    normalised = emit.InstanceNormalization(grouped, scale, bias, epsilon=epsilon)
    become(node, "Reshape", normalised, emit.Shape(x), allowzero=1)


def _write_out_root_mean_square(emit: Emitter, node: ir.Node) -> None:
    x, scale = source(node), node.inputs[1]
    assert scale is not None
    axis, epsilon = take(node, "axis"), take(node, "epsilon")
    axis = -1 if axis is None else axis
    if axis != -1 and x.shape is None:
        raise refuse(node, f"axis (of {x.name!r}, whose rank is unknown)", axis, "give the model's inputs static ranks")
    axes = [-1] if x.shape is None else list(range(axis % len(x.shape), len(x.shape)))
    half = x.dtype in (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
    wide = emit.Cast(x, to=ir.DataType.FLOAT) if half else x
    mean = emit.ReduceMean(emit.Pow(wide, scalar_like(emit, 2, wide)), axes)
    epsilon = scalar_like(emit, 1e-5 if epsilon is None else epsilon, wide)
    root = emit.Sqrt(emit.Add(mean, epsilon))
    if len(node.outputs) > 1:
        replace(emit, node.outputs[1], emit.Reciprocal(root))
        node.resize_outputs(1)
    normal = emit.Div(wide, root)
    become(node, "Mul", emit.CastLike(normal, scale) if half else normal, scale)
