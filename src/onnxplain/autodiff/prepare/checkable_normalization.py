"""Rewrite normalisations that runtimes take but ONNX's checker refuses.

GroupNormalization of version 18 is withdrawn. Its scale s and bias b hold one number per group, so it is
InstanceNormalization of the groups: with x reshaped to [N, groups, elements], y = s (x - mean) / √(variance
+ ε) + b over the elements, reshaped back. From version 21 on s and b are per channel; the node stays.

MeanVarianceNormalization without ``axes`` fails the checker's inference; its default [0, 2, 3] is written out.

SimplifiedLayerNormalization is an operator of ONNX Runtime in the default domain: y = x / √(mean x² + ε) s over
the axes from ``axis``. It is written out the way exporters do, which ONNX Runtime fuses into it again.
"""

from __future__ import annotations

import onnx_ir as ir

from .opset_adapters import become, constant, insert, refuse, scalar_like, source, take


def make_normalization_checkable(model: ir.Model) -> None:
    """Rewrite such nodes in place, in subgraphs too."""
    opset = model.graph.opset_imports.get("", 0)
    for node in list(model.graph.all_nodes()):
        if node.domain in ("", "ai.onnx"):
            if node.op_type == "GroupNormalization" and opset < 21:
                _normalize_instances(node)
            elif node.op_type == "MeanVarianceNormalization" and "axes" not in node.attributes:
                node.attributes.add(ir.AttrInt64s("axes", [0, 2, 3]))
            elif node.op_type == "SimplifiedLayerNormalization":
                _write_out_root_mean_square(node)


def _normalize_instances(node: ir.Node) -> None:
    x, scale, bias = node.inputs
    groups, epsilon = take(node, "num_groups"), take(node, "epsilon")
    grouped = insert(node, "Reshape", x, constant(node, [0, groups, -1]))
    epsilon = 1e-5 if epsilon is None else epsilon
    normalised = insert(node, "InstanceNormalization", grouped, scale, bias, epsilon=epsilon)
    become(node, "Reshape", normalised, insert(node, "Shape", x), allowzero=1)


def _write_out_root_mean_square(node: ir.Node) -> None:
    x, scale = source(node), node.inputs[1]
    assert scale is not None
    axis, epsilon = take(node, "axis"), take(node, "epsilon")
    axis = -1 if axis is None else axis
    if axis != -1 and x.shape is None:
        raise refuse(node, f"axis (of {x.name!r}, whose rank is unknown)", axis, "give the model's inputs static ranks")
    axes = [-1] if x.shape is None else list(range(axis % len(x.shape), len(x.shape)))
    half = x.dtype in (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
    wide = insert(node, "Cast", x, to=ir.DataType.FLOAT) if half else x
    wide.type = wide.type or ir.TensorType(ir.DataType.FLOAT)
    mean = insert(node, "ReduceMean", insert(node, "Pow", wide, scalar_like(node, 2, wide)), constant(node, axes))
    epsilon = scalar_like(node, 1e-5 if epsilon is None else epsilon, wide)
    root = insert(node, "Sqrt", insert(node, "Add", mean, epsilon))
    if len(node.outputs) > 1:
        old, new = node.outputs[1], insert(node, "Reciprocal", root)
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        old.name, new.name, new.type, new.shape = None, old.name, old.type, old.shape
        node.resize_outputs(1)
    normal = insert(node, "Div", wide, root)
    become(node, "Mul", insert(node, "CastLike", normal, scale) if half else normal, scale)
