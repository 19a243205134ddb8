"""Operators of ONNX Runtime that its optimiser makes of several: products and convolutions with an activation.

Each is the expansion into what it was fused from. Formulas: ONNX Runtime's documentation of its contrib
operators, checked against its kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from ..graph.emitter import Emitter
from ..graph.operator import Operator
from ..reverse.quantized import MICROSOFT
from ..reverse.registry import expands, refuses

Outputs = Sequence[ir.Value | None]


refuses(
    "AveragePool", "Conv", "GlobalAveragePool", "GlobalMaxPool", "MaxPool", "ReorderInput", "ReorderOutput", "Upsample",
    domain="com.microsoft.nchwc",
    advice="the file was optimised for the layout of one processor; optimise it with ORT_ENABLE_EXTENDED instead",
)  # fmt: skip


@expands("FusedConv", domain=MICROSOFT)
def fused_conv(emit: Emitter, node: Operator) -> Outputs:
    """y = activation(conv(x, w) + b + z)."""
    y = emit.Conv(node.input(0), node.input(1), node.optional(2), **_attributes(node))
    if node.optional(3) is not None:
        y = emit.Add(y, node.input(3))
    return [_activated(emit, node, y, node.attribute("activation_params", list[float]()))]


@expands("FusedGemm", domain=MICROSOFT)
def fused_gemm(emit: Emitter, node: Operator) -> Outputs:
    """y = activation(α a' b' + β c)."""
    y = emit.Gemm(node.input(0), node.input(1), node.optional(2), **_attributes(node))
    names = ("activation_alpha", "activation_beta", "activation_gamma")
    given = [node.attribute(name, 0.0) for name in names if name in node.node.attributes]
    return [_activated(emit, node, y, given)]


@expands("FusedMatMul", "TransposeMatMul", domain=MICROSOFT)
def fused_matmul(emit: Emitter, node: Operator) -> Outputs:
    """y = α a' b'. With ``trans`` the last two axes are swapped, with ``transBatch`` the first axis of what
    is multiplied comes before the batch axes."""
    factors = []
    for index, name in enumerate("AB"):
        rank = node.rank(index)
        order = list(range(rank))
        if node.attribute(f"transBatch{name}", 0) and rank > 2:
            order = [*order[1:-1], 0, order[-1]]
        if node.attribute(f"trans{name}", 0) and rank > 1:
            order[-2:] = order[:-3:-1]
        factor = node.input(index)
        factors.append(factor if order == sorted(order) else emit.Transpose(factor, perm=order))
    alpha = node.attribute("alpha", 1.0)
    y = emit.MatMul(*factors)
    return [y if alpha == 1 else emit.Mul(y, alpha)]


#: The attributes of activations, in the order of their parameters.
_PARAMETERS: dict[str, tuple[str, ...]] = {
    "Relu": (), "Tanh": (), "Sigmoid": (), "Softplus": (), "Softsign": (), "LeakyRelu": ("alpha",), "Elu": ("alpha",),
    "ThresholdedRelu": ("alpha",), "HardSigmoid": ("alpha", "beta"), "Selu": ("alpha", "gamma"),
}  # fmt: skip


def _activated(emit: Emitter, node: Operator, y: ir.Value, parameters: Sequence[float]) -> ir.Value:
    name = node.attribute("activation", "")
    if not name:
        return y
    if name == "Clip" and len(parameters) == 2:
        return emit.Clip(y, *parameters)
    if name not in _PARAMETERS:
        raise node.refuse("activation", name, "optimise the model without fusing activations")
    given: dict[str, Any] = dict(zip(_PARAMETERS[name], parameters))
    return emit.op(name, y, outputs=1, **given)[0]


def _attributes(node: Operator) -> dict[str, Any]:
    return {k: v for k, v in node.node.attributes.items() if not k.startswith("activation")}
