"""Operators that compute with quantised numbers, through what those stand for.

Each is an expansion: its quantised inputs as (q - z) s in float32, the operator on floats, and
QuantizeLinear where it returns quantised numbers again. Weights are constants there, which runtimes compute
when they load the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from ..geometry.scales import FLOAT, real
from ..graph.emitter import Emitter
from ..graph.operator import Operator
from ..reverse.quantized import MICROSOFT
from ..reverse.registry import expands, refuses

Outputs = Sequence[ir.Value | None]


@expands("ConvInteger", quantized=True)
def conv_integer(emit: Emitter, node: Operator) -> Outputs:
    """y = conv(x - x_zero, w - w_zero); the weight's zero point may be per output channel."""
    x, w = _difference(emit, node, 0, 2), _difference(emit, node, 1, 3, axis=0)
    return [emit.Conv(x, w, **_attributes(node))]


@expands("MatMulInteger", quantized=True)
def matmul_integer(emit: Emitter, node: Operator) -> Outputs:
    """y = (a - a_zero) (b - b_zero); the zero points may be per row of a and per column of b."""
    return [emit.MatMul(_difference(emit, node, 0, 2, axis=-2), _difference(emit, node, 1, 3, axis=-1))]


@expands("QLinearConv", quantized=True, rounds=True)
@expands("QLinearConv", domain=MICROSOFT, quantized=True, rounds=True)
def qlinear_conv(emit: Emitter, node: Operator) -> Outputs:
    """y = quantize(conv(x, w) + b), where b counts in units of x_scale w_scale, which may be per channel.

    ONNX Runtime's own has the attribute ``channels_last``.
    """
    last = node.attribute("channels_last", 0)
    x, w = _dequantized(emit, node, 0), _dequantized(emit, node, 3, axis=0)
    bias = None
    if node.optional(8) is not None:
        bias = real(emit, node.input(8), emit.Mul(node.input(1), emit.Reshape(node.input(4), [-1])), None)
    y = emit.Conv(_channels_first(emit, x) if last else x, w, bias, **_attributes(node))
    return [_quantized(emit, node, _channels_last(emit, y) if last else y, 6)]


@expands("QLinearMatMul", quantized=True, rounds=True)
def qlinear_matmul(emit: Emitter, node: Operator) -> Outputs:
    """y = quantize(a b); the scales may be per row of a and per column of b."""
    y = emit.MatMul(_dequantized(emit, node, 0, axis=-2), _dequantized(emit, node, 3, axis=-1))
    return [_quantized(emit, node, y, 6)]


@expands("QGemm", domain=MICROSOFT, quantized=True, rounds=True)
def qgemm(emit: Emitter, node: Operator) -> Outputs:
    """y = α (a' b' + c), quantised if an output scale is given; c counts in units of a_scale b_scale."""
    columns = -2 if node.attribute("transB", 0) else -1
    a, b = _dequantized(emit, node, 0), _dequantized(emit, node, 3, axis=columns)
    c = None
    if node.optional(6) is not None:
        alpha = node.attribute("alpha", 1.0)
        c = emit.Mul(real(emit, node.input(6), emit.Mul(node.input(1), node.input(4)), None), alpha)
    y = emit.Gemm(a, b, c, **_attributes(node))
    return [y if node.optional(7) is None else _quantized(emit, node, y, 7)]


@expands("MatMulIntegerToFloat", domain=MICROSOFT, quantized=True)
def matmul_integer_to_float(emit: Emitter, node: Operator) -> Outputs:
    """y = a b + bias, a float; scales and zero points may be per column of a and b."""
    a = real(emit, node.input(0), node.input(2), node.optional(4))
    b = real(emit, node.input(1), node.input(3), node.optional(5))
    return [_biased(emit, node, emit.MatMul(a, b), 6)]


@expands("DynamicQuantizeMatMul", domain=MICROSOFT, rounds=True)
def dynamic_quantize_matmul(emit: Emitter, node: Operator) -> Outputs:
    """y = a b + bias of a float a, which is quantised so that nothing saturates: the identity."""
    b = real(emit, node.input(1), node.input(2), node.optional(3))
    return [_biased(emit, node, emit.MatMul(node.input(0), b), 4)]


@expands("QLinearAdd", "QLinearMul", domain=MICROSOFT, quantized=True, rounds=True)
def qlinear_arithmetic(emit: Emitter, node: Operator) -> Outputs:
    """c = quantize(a + b) or quantize(a b), broadcasting."""
    operator = node.op_type.removeprefix("QLinear")
    (y,) = emit.op(operator, _dequantized(emit, node, 0), _dequantized(emit, node, 3), outputs=1)
    return [_quantized(emit, node, y, 6)]


@expands("QLinearWhere", domain=MICROSOFT, quantized=True, rounds=True)
def qlinear_where(emit: Emitter, node: Operator) -> Outputs:
    """z = quantize(x where the condition holds, else y)."""
    z = emit.Where(node.input(0), _dequantized(emit, node, 1), _dequantized(emit, node, 4))
    return [_quantized(emit, node, z, 7)]


@expands("QLinearConcat", domain=MICROSOFT, quantized=True, rounds=True)
def qlinear_concat(emit: Emitter, node: Operator) -> Outputs:
    """y = quantize(concat(x0, x1, ...)), each with a scale and zero point of its own."""
    parts = [_dequantized(emit, node, index) for index in range(2, len(node.inputs), 3)]
    return [_quantized(emit, node, emit.Concat(*parts, axis=node.attribute("axis", 0)), 0)]


@expands("QLinearAveragePool", "QLinearGlobalAveragePool", domain=MICROSOFT, quantized=True, rounds=True)
def qlinear_pool(emit: Emitter, node: Operator) -> Outputs:
    """y = quantize(pool(x)), the channels in the last axis if ``channels_last``."""
    last, x = node.attribute("channels_last", 0), _dequantized(emit, node, 0)
    operator = node.op_type.removeprefix("QLinear")
    (y,) = emit.op(operator, _channels_first(emit, x) if last else x, outputs=1, **_attributes(node))
    return [_quantized(emit, node, _channels_last(emit, y) if last else y, 3)]


@expands("QLinearLeakyRelu", "QLinearSigmoid", domain=MICROSOFT, quantized=True, rounds=True)
def qlinear_activation(emit: Emitter, node: Operator) -> Outputs:
    """y = quantize(f(x))."""
    (y,) = emit.op(node.op_type.removeprefix("QLinear"), _dequantized(emit, node, 0), outputs=1, **_attributes(node))
    return [_quantized(emit, node, y, 3)]


@expands("QLinearSoftmax", domain=MICROSOFT, quantized=True, rounds=True)
def qlinear_softmax(emit: Emitter, node: Operator) -> Outputs:
    """y = quantize(softmax(x)): along an axis, or for ``opset`` below 13 over all axes from it on."""
    x = _dequantized(emit, node, 0)
    if node.attribute("opset", 13) >= 13:
        y = emit.Softmax(x, axis=node.attribute("axis", -1))
    else:
        y = emit.reshape_like(emit.Softmax(emit.Flatten(x, axis=node.attribute("axis", 1)), axis=-1), x)
    return [_quantized(emit, node, y, 3)]


@expands("NhwcMaxPool", domain=MICROSOFT, quantized=True)
def nhwc_max_pool(emit: Emitter, node: Operator) -> Outputs:
    """The largest numbers of windows, the channels in the last axis."""
    x = _channels_first(emit, node.input(0))
    return [_channels_last(emit, emit.MaxPool(x, **_attributes(node)))]


refuses(
    "DynamicQuantizeLSTM", domain=MICROSOFT,
    advice="its states are rounded again in every step; differentiate the model before it was quantised",
)  # fmt: skip


#: Attributes of the kernels that the operators on floats do not have.
_OWN = {"channels_last", "opset"}


def _attributes(node: Operator) -> dict[str, Any]:
    return {name: attribute for name, attribute in node.node.attributes.items() if name not in _OWN}


def _dequantized(emit: Emitter, node: Operator, index: int, axis: int | None = None) -> ir.Value:
    """The quantised input at ``index``, followed by its scale and zero point, along ``axis`` if they are vectors."""
    x, s, z = (node.input(index + offset) for offset in range(3))
    return real(emit, x, _along(emit, s, x, axis), _along(emit, z, x, axis))


def _difference(emit: Emitter, node: Operator, index: int, zero: int, axis: int | None = None) -> ir.Value:
    """The integers of an input less their zero point, in float32."""
    x, z = node.input(index), node.optional(zero)
    level = emit.Cast(x, to=FLOAT)
    return level if z is None else emit.Sub(level, emit.Cast(_along(emit, z, x, axis), to=FLOAT))


def _along(emit: Emitter, v: ir.Value, x: ir.Value, axis: int | None) -> ir.Value:
    """A scale or zero point, such that it broadcasts against ``x``; a vector of several lies along ``axis``."""
    if v.shape is None or len(v.shape) != 1 or v.shape[0] == 1 or axis is None or axis == -1:
        return v
    assert x.shape is not None
    trailing = len(x.shape) - axis % len(x.shape) - 1
    return emit.Unsqueeze(v, list(range(1, trailing + 1)))


def _quantized(emit: Emitter, node: Operator, y: ir.Value, index: int) -> ir.Value:
    """``y`` quantised with the scale at input ``index`` and the zero point after it."""
    scale = node.input(index)
    if scale.shape is not None and len(scale.shape) > 0 and scale.shape[0] != 1:
        raise node.refuse("shape of the output scale", scale.shape, "quantise the output per tensor")
    return emit.QuantizeLinear(y, scale, node.input(index + 1))


def _biased(emit: Emitter, node: Operator, y: ir.Value, index: int) -> ir.Value:
    return y if node.optional(index) is None else emit.Add(y, node.input(index))


def _channels_first(emit: Emitter, x: ir.Value) -> ir.Value:
    assert x.shape is not None
    rank = len(x.shape)
    return emit.Transpose(x, perm=[0, rank - 1, *range(1, rank - 1)])


def _channels_last(emit: Emitter, x: ir.Value) -> ir.Value:
    assert x.shape is not None
    rank = len(x.shape)
    return emit.Transpose(x, perm=[0, *range(2, rank), 1])
