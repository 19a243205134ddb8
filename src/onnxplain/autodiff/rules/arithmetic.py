"""Elementwise arithmetic: the binary and variadic operators that broadcast, and unary functions."""

from __future__ import annotations

import onnx_ir as ir

from ..emitter import Emitter
from ..operator import Operator
from ..registry import Gradients, vjp


@vjp("Add", "Sum", broadcasts=True)
def add(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = a + b + ...; every da = dy."""
    return [dy] * len(node.inputs)


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


@vjp("Neg")
def neg(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = -x; dx = -dy."""
    return emit.Neg(dy)
