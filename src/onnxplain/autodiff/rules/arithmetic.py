"""Elementwise arithmetic: the binary and variadic operators that broadcast, and unary functions."""

from __future__ import annotations

import math

import onnx_ir as ir

from ..graph.emitter import Emitter
from ..graph.operator import Operator
from ..reverse.registry import Gradients, vjp


@vjp("Add", "Sum", broadcasts=True)
def add(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = a + b + ...; every da = dy."""
    return [dy] * len(node.inputs)


@vjp("Mean", broadcasts=True)
def mean(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = (a + b + ...) / n; every da = dy / n."""
    n = len(node.inputs)
    return [emit.Mul(dy, 1 / n) if n > 1 else dy] * n


@vjp("Sub", broadcasts=True)
def sub(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = a - b; da = dy, db = -dy."""
    return [dy, emit.Neg(dy) if node.wants(1) else None]


@vjp("Mul", broadcasts=True)
def mul(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = a b; da = dy b, db = dy a."""
    a, b = node.input(0), node.input(1)
    return [emit.Mul(dy, b) if node.wants(0) else None, emit.Mul(dy, a) if node.wants(1) else None]


@vjp("Div", broadcasts=True)
def div(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = a / b; da = dy / b, db = -dy y / b."""
    b, y = node.input(1), node.outputs[0]
    da = emit.Div(dy, b)
    return [da, emit.Neg(emit.Mul(da, y)) if node.wants(1) else None]


@vjp("Mod", broadcasts=True)
def mod(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = a - k b with the integer k = (a - y) / b, rounded either way; da = dy, db = -k dy."""
    a, b, y = node.input(0), node.input(1), node.outputs[0]
    if not node.wants(1):
        return [dy, None]
    return [dy, emit.Neg(emit.Mul(dy, emit.Round(emit.Div(emit.Sub(a, y), b))))]


@vjp("Pow", broadcasts=True)
def power(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = x^p; dx = dy p x^(p-1), zero where p = 0; dp = dy y ln x, zero where x = 0 and p >= 0. As torch, so
    dp is NaN where x < 0. The exponent may be of any type, the base is a float like y."""
    x, p = node.input(0), node.input(1)
    exponent = p if p.dtype == x.dtype else emit.Cast(p, to=x.dtype)
    return [
        _base_gradient(emit, node, exponent, dy) if node.wants(0) else None,
        _exponent_gradient(emit, node, exponent, dy) if node.wants(1) else None,
    ]


def _base_gradient(emit: Emitter, node: Operator, exponent: ir.Value, dy: ir.Value) -> ir.Value | None:
    x, constant = node.input(0), node.constant(1)
    if constant is not None and constant.size == 1:
        p = float(constant.item())
        if p == 0 or p == 1:
            return dy if p else None
        if p == 0.5:
            return _square_root(emit, node, dy)
        return emit.Mul(dy, emit.Mul(x if p == 2 else emit.Pow(x, p - 1), p))
    zero = emit.Cast(emit.Equal(exponent, 0.0), to=x.dtype)
    slope = emit.Pow(x, emit.Add(emit.Sub(exponent, 1.0), zero))  # p = 0: x^0, finite, times zero
    return emit.Mul(dy, emit.Mul(slope, exponent))


def _exponent_gradient(emit: Emitter, node: Operator, exponent: ir.Value, dy: ir.Value) -> ir.Value:
    x, p, y = node.input(0), node.input(1), node.outputs[0]
    flat = emit.And(emit.Equal(x, 0.0), emit.GreaterOrEqual(exponent, 0.0))
    logarithm = emit.Log(emit.Add(x, emit.Cast(flat, to=x.dtype)))  # ln 1 = 0 where y does not depend on p
    dp = emit.Mul(dy, emit.Mul(y, logarithm))
    return dp if p.dtype == x.dtype else emit.Cast(dp, to=p.dtype)


@vjp("Max", "Min", broadcasts=True)
def extremum(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = max(a, b, ...); da = dy [a = y] / (how many equal y): ties share equally, as torch.maximum."""
    if len(node.inputs) == 1:
        return dy
    hits = [emit.Cast(emit.Equal(x, node.outputs[0]), to=dy.dtype) for x in node.inputs]
    share = emit.Div(dy, emit.Sum(*hits))
    return [emit.Mul(share, hit) if node.wants(i) else None for i, hit in enumerate(hits)]


@vjp("Clip", broadcasts=True)
def clip(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = min(max(x, low), high); dx = dy strictly inside the bounds, as torch's hardtanh and ReLU6.

    Elsewhere the bound that y equals takes dy: dhigh = dy [y >= high], dlow = dy [y <= low and y < high].
    """
    low, high, y = node.optional(1), node.optional(2), node.outputs[0]
    if low is None and high is None:
        return dy
    above = None if low is None else emit.Greater(y, low)
    below = None if high is None else emit.Less(y, high)
    inside = above if below is None else below if above is None else emit.And(above, below)
    dx = emit.gate(inside, dy) if node.wants(0) and inside is not None else None
    dlow = dhigh = None
    if node.wants(1) and above is not None:
        floor = emit.Not(above)
        dlow = emit.gate(floor if below is None else emit.And(floor, below), dy)
    if node.wants(2) and below is not None:
        dhigh = emit.gate(emit.Not(below), dy)
    return [dx, dlow, dhigh]


@vjp("Where", broadcasts=True)
def where(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = a where c, else b; da = dy where c, db = dy where not c."""
    condition = node.input(0)
    da = emit.gate(condition, dy) if node.wants(1) else None
    return [None, da, emit.gate(emit.Not(condition), dy) if node.wants(2) else None]


@vjp("Neg")
def neg(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = -x; dx = -dy."""
    return emit.Neg(dy)


@vjp("Abs")
def absolute(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = |x|; dx = dy sign(x), zero at zero."""
    return emit.Mul(dy, emit.Sign(node.input(0)))


@vjp("Reciprocal")
def reciprocal(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = 1 / x; dx = -dy y²."""
    y = node.outputs[0]
    return emit.Neg(emit.Mul(dy, emit.Mul(y, y)))


@vjp("Sqrt")
def sqrt(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = √x; dx = dy / 2y: infinite at zero, as torch."""
    return _square_root(emit, node, dy)


def _square_root(emit: Emitter, node: Operator, dy: ir.Value) -> ir.Value:
    return emit.Div(emit.Mul(dy, 0.5), node.outputs[0])


@vjp("Exp")
def exp(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = e^x; dx = dy y."""
    return emit.Mul(dy, node.outputs[0])


@vjp("Log")
def log(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = ln x; dx = dy / x."""
    return emit.Div(dy, node.input(0))


@vjp("Erf")
def erf(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = erf(x); dx = dy 2/√π e^(-x²)."""
    x = node.input(0)
    return emit.Mul(dy, emit.Exp(emit.Sub(math.log(2 / math.sqrt(math.pi)), emit.Mul(x, x))))


@vjp("Sin")
def sin(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = sin x; dx = dy cos x."""
    return emit.Mul(dy, emit.Cos(node.input(0)))


@vjp("Cos")
def cos(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = cos x; dx = -dy sin x."""
    return emit.Neg(emit.Mul(dy, emit.Sin(node.input(0))))


@vjp("Tan")
def tan(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = tan x; dx = dy (1 + y²)."""
    y = node.outputs[0]
    return emit.Mul(dy, emit.Add(emit.Mul(y, y), 1.0))


@vjp("Asin")
def asin(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = arcsin x; dx = dy / √(1 - x²)."""
    return emit.Div(dy, emit.Sqrt(_one_minus_square(emit, node.input(0))))


@vjp("Acos")
def acos(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = arccos x; dx = -dy / √(1 - x²)."""
    return emit.Neg(emit.Div(dy, emit.Sqrt(_one_minus_square(emit, node.input(0)))))


@vjp("Atan")
def atan(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = arctan x; dx = dy / (1 + x²)."""
    x = node.input(0)
    return emit.Div(dy, emit.Add(emit.Mul(x, x), 1.0))


@vjp("Sinh")
def sinh(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = sinh x; dx = dy cosh x."""
    return emit.Mul(dy, emit.Cosh(node.input(0)))


@vjp("Cosh")
def cosh(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = cosh x; dx = dy sinh x."""
    return emit.Mul(dy, emit.Sinh(node.input(0)))


@vjp("Asinh")
def asinh(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = arsinh x; dx = dy / √(x² + 1)."""
    x = node.input(0)
    return emit.Div(dy, emit.Sqrt(emit.Add(emit.Mul(x, x), 1.0)))


@vjp("Acosh")
def acosh(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = arcosh x; dx = dy / √(x² - 1), with x² - 1 = (x - 1)(x + 1) for the precision near 1."""
    x = node.input(0)
    return emit.Div(dy, emit.Sqrt(emit.Mul(emit.Sub(x, 1.0), emit.Add(x, 1.0))))


@vjp("Atanh")
def atanh(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = artanh x; dx = dy / (1 - x²)."""
    return emit.Div(dy, _one_minus_square(emit, node.input(0)))


def _one_minus_square(emit: Emitter, x: ir.Value) -> ir.Value:
    """1 - x² as (1 - x)(1 + x), which keeps its precision near ±1."""
    return emit.Mul(emit.Sub(1.0, x), emit.Add(x, 1.0))
