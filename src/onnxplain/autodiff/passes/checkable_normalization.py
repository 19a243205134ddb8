"""Rewrite normalisations that runtimes take but ONNX's checker refuses.

GroupNormalization of version 18 is withdrawn. Its scale s and bias b hold one number per group, so it is
InstanceNormalization of the groups: with x reshaped to [N, groups, elements], y = s (x - mean) / √(variance
+ ε) + b over the elements, reshaped back. From version 21 on s and b are per channel; the node stays.

MeanVarianceNormalization without ``axes`` fails the checker's inference; its default [0, 2, 3] is written out.
"""

from __future__ import annotations

import onnx_ir as ir

from .upgrade_rules import become, constant, insert, take


def make_normalization_checkable(model: ir.Model) -> None:
    """Rewrite such nodes in place, in subgraphs too."""
    opset = model.graph.opset_imports.get("", 0)
    for node in list(model.graph.all_nodes()):
        if node.domain in ("", "ai.onnx"):
            if node.op_type == "GroupNormalization" and opset < 21:
                _normalize_instances(node)
            elif node.op_type == "MeanVarianceNormalization" and "axes" not in node.attributes:
                node.attributes.add(ir.AttrInt64s("axes", [0, 2, 3]))


def _normalize_instances(node: ir.Node) -> None:
    x, scale, bias = node.inputs
    groups, epsilon = take(node, "num_groups"), take(node, "epsilon")
    grouped = insert(node, "Reshape", x, constant(node, [0, groups, -1]))
    epsilon = 1e-5 if epsilon is None else epsilon
    normalised = insert(node, "InstanceNormalization", grouped, scale, bias, epsilon=epsilon)
    become(node, "Reshape", normalised, insert(node, "Shape", x), allowzero=1)
