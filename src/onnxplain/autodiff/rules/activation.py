"""Activation functions: elementwise ones, and the softmax family.

Where a slope is piecewise it is built from masks cast to numbers, never with Where (see ``Emitter.gate``).
Every formula stays finite for large magnitudes, in float16 too.
"""

from __future__ import annotations

import math

import onnx_ir as ir

from ..graph.emitter import Emitter
from ..graph.operator import Operator
from ..reverse.registry import Gradients, vjp


@vjp("Relu")
def relu(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = max(x, 0); dx = dy [y > 0]."""
    return emit.gate(emit.Greater(node.outputs[0], 0.0), dy)


@vjp("LeakyRelu")
def leaky_relu(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = x for x > 0, else αx; dx = dy (1 or α), α at zero."""
    alpha = node.attribute("alpha", 0.01)
    positive = _is_positive(emit, node.input(0))
    return emit.Mul(dy, emit.Max(positive, alpha) if 0 <= alpha <= 1 else _one_or(emit, positive, alpha))


@vjp("PRelu", broadcasts=True)
def prelu(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = x for x > 0, else sx; dx = dy (1 or s), s at zero; ds = dy min(x, 0)."""
    x, slope = node.input(0), node.input(1)
    dx = emit.Mul(dy, _one_or(emit, _is_positive(emit, x), slope)) if node.wants(0) else None
    return [dx, emit.Mul(dy, emit.Min(x, 0.0)) if node.wants(1) else None]


@vjp("Elu")
def elu(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = x for x > 0, else α(e^x - 1); dx = dy (1 or αe^x), α at zero."""
    return emit.Mul(dy, _exponential_or(emit, node.input(0), node.attribute("alpha", 1.0), 1.0))


@vjp("Selu")
def selu(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = γ (x for x > 0, else α(e^x - 1)); dx = dy γ (1 or αe^x), γα at zero."""
    alpha = node.attribute("alpha", 1.67326319217681884765625)
    gamma = node.attribute("gamma", 1.05070102214813232421875)
    return emit.Mul(dy, _exponential_or(emit, node.input(0), gamma * alpha, gamma))


@vjp("Celu")
def celu(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = max(x, 0) + min(0, α(e^(x/α) - 1)); dx = dy e^(min(x, 0) / α)."""
    negative = emit.Min(node.input(0), 0.0)
    alpha = node.attribute("alpha", 1.0)
    return emit.Mul(dy, emit.Exp(negative if alpha == 1 else emit.Mul(negative, 1 / alpha)))


@vjp("ThresholdedRelu")
def thresholded_relu(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = x for x > α, else 0; dx = dy [x > α]."""
    return emit.gate(emit.Greater(node.input(0), node.attribute("alpha", 1.0)), dy)


@vjp("Shrink")
def shrink(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = x + b for x < -λ, x - b for x > λ, else 0; dx = dy [|x| > λ]."""
    return emit.gate(emit.Greater(emit.Abs(node.input(0)), node.attribute("lambd", 0.5)), dy)


@vjp("Tanh")
def tanh(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = tanh x; dx = dy (1 - y²)."""
    y = node.outputs[0]
    return emit.Mul(dy, emit.Sub(1.0, emit.Mul(y, y)))


@vjp("Sigmoid")
def sigmoid(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = 1 / (1 + e^-x); dx = dy y (1 - y)."""
    y = node.outputs[0]
    return emit.Mul(dy, emit.Mul(y, emit.Sub(1.0, y)))


@vjp("Softplus")
def softplus(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = ln(1 + e^x); dx = dy sigmoid(x)."""
    return emit.Mul(dy, emit.Sigmoid(node.input(0)))


@vjp("Softsign")
def softsign(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = x / (1 + |x|); dx = dy / (1 + |x|)²."""
    denominator = emit.Add(emit.Abs(node.input(0)), 1.0)
    return emit.Div(emit.Div(dy, denominator), denominator)


@vjp("HardSigmoid")
def hard_sigmoid(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = min(max(αx + β, 0), 1); dx = αdy [0 < y < 1]."""
    y = node.outputs[0]
    inside = emit.And(emit.Greater(y, 0.0), emit.Less(y, 1.0))
    return emit.gate(inside, emit.Mul(dy, node.attribute("alpha", 0.2)))


@vjp("HardSwish")
def hard_swish(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = x h with h = min(max(x/6 + 1/2, 0), 1); dx = dy (h + x/6 [|x| < 3])."""
    x = node.input(0)
    h = emit.HardSigmoid(x, alpha=1 / 6, beta=0.5)
    band = emit.gate(emit.Less(emit.Abs(x), 3.0), emit.Mul(x, 1 / 6))
    return emit.Mul(dy, emit.Add(h, band))


@vjp("Swish")
def swish(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = x s with s = sigmoid(αx); dx = dy (s + αy (1 - s))."""
    x, y, alpha = node.input(0), node.outputs[0], node.attribute("alpha", 1.0)
    s = emit.Sigmoid(x if alpha == 1 else emit.Mul(x, alpha))
    rest = emit.Mul(y, emit.Sub(1.0, s))
    return emit.Mul(dy, emit.Add(s, rest if alpha == 1 else emit.Mul(rest, alpha)))


@vjp("Mish")
def mish(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = x t with t = tanh(ln(1 + e^x)); dx = dy (t + x sigmoid(x) (1 - t²))."""
    x = node.input(0)
    t = emit.Tanh(emit.Softplus(x))
    rest = emit.Mul(emit.Mul(x, emit.Sigmoid(x)), emit.Sub(1.0, emit.Mul(t, t)))
    return emit.Mul(dy, emit.Add(t, rest))


@vjp("Gelu")
def gelu(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = x (1 + erf u) / 2 with u = x/√2; dx = dy (1 + erf u + 2/√π u e^(-u²)) / 2.

    For approximate="tanh" y = x (1 + t) / 2 with t = tanh(√(2/π) (x + c x³)), c = 0.044715;
    dx = dy (1 + t + x (1 - t²) √(2/π) (1 + 3c x²)) / 2, where |x| is cut at 10: t is ±1 there.
    """
    return emit.Mul(dy, gelu_slope(emit, node.input(0), node.attribute("approximate", "none") == "tanh"))


def gelu_slope(emit: Emitter, x: ir.Value, tanh: bool) -> ir.Value:
    """The derivative of Gelu, exact or in its tanh approximation."""
    if tanh:
        twice = _tanh_gelu_slope(emit, x)
    else:
        u = emit.Mul(x, math.sqrt(0.5))
        density = emit.Exp(emit.Sub(math.log(2 / math.sqrt(math.pi)), emit.Mul(u, u)))
        twice = emit.Add(emit.Erf(u), emit.Mul(u, density))
    return emit.Mul(emit.Add(twice, 1.0), 0.5)


def _tanh_gelu_slope(emit: Emitter, x: ir.Value) -> ir.Value:
    """t + x (1 - t²) √(2/π) (1 + 3c x²)."""
    k, c = math.sqrt(2 / math.pi), 0.044715
    x = emit.Clip(x, -10.0, 10.0)
    square = emit.Mul(x, x)
    t = emit.Tanh(emit.Mul(x, emit.Add(emit.Mul(square, k * c), k)))
    inner = emit.Mul(x, emit.Add(emit.Mul(square, 3 * k * c), k))
    return emit.Add(t, emit.Mul(inner, emit.Sub(1.0, emit.Mul(t, t))))


@vjp("Softmax")
def softmax(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = softmax(x); dx = y (dy - Σ dy y)."""
    y = node.outputs[0]
    total = emit.ReduceSum(emit.Mul(dy, y), [node.attribute("axis", -1)], keepdims=1)
    return emit.Mul(y, emit.Sub(dy, total))


@vjp("LogSoftmax")
def log_softmax(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = ln softmax(x); dx = dy - e^y Σ dy."""
    total = emit.ReduceSum(dy, [node.attribute("axis", -1)], keepdims=1)
    return emit.Sub(dy, emit.Mul(emit.Exp(node.outputs[0]), total))


def _is_positive(emit: Emitter, x: ir.Value) -> ir.Value:
    """1 where x > 0, else 0."""
    return emit.Cast(emit.Greater(x, 0.0), to=x.dtype)


def _one_or(emit: Emitter, mask: ir.Value, other: ir.Value | float) -> ir.Value:
    """1 where ``mask`` is 1, ``other`` where it is 0."""
    rest = emit.Sub(1.0, other) if isinstance(other, ir.Value) else 1.0 - other
    return emit.Add(emit.Mul(mask, rest), other)


def _exponential_or(emit: Emitter, x: ir.Value, below: float, above: float) -> ir.Value:
    """``above`` where x > 0, else ``below`` e^x."""
    slope = emit.Exp(emit.Min(x, 0.0))
    if below != 1:
        slope = emit.Mul(slope, below)
    return slope if below == above else emit.Add(slope, emit.Mul(_is_positive(emit, x), above - below))
