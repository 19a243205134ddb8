"""Matrix products: Gemm and MatMul."""

from __future__ import annotations

import onnx_ir as ir

from ..emitter import Emitter
from ..operator import Operator
from ..registry import Gradients, vjp


@vjp("Gemm", broadcasts=True)
def gemm(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = α A' B' + β C; dA' = α dy B'ᵀ, dB' = α A'ᵀ dy, dC = β dy, where A' and B' may be transposed."""
    a, b = node.input(0), node.input(1)
    alpha, beta = node.attribute("alpha", 1.0), node.attribute("beta", 1.0)
    ta, tb = node.attribute("transA", 0), node.attribute("transB", 0)
    da = db = dc = None
    if node.wants(0):
        first, second, t1, t2 = (b, dy, tb, 1) if ta else (dy, b, 0, 1 - tb)
        da = emit.Gemm(first, second, alpha=alpha, transA=t1, transB=t2)
    if node.wants(1):
        first, second, t1, t2 = (dy, a, 1, ta) if tb else (a, dy, 1 - ta, 0)
        db = emit.Gemm(first, second, alpha=alpha, transA=t1, transB=t2)
    if node.wants(2):
        dc = dy if beta == 1.0 else emit.Mul(dy, beta)
    return [da, db, dc]


@vjp("MatMul", broadcasts=True)
def matmul(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = A B over the last two axes; dA = dy Bᵀ, dB = Aᵀ dy.

    A vector on the left is a row, on the right a column; its axis is missing in y. A product with a
    vector has the outer product as its gradient.
    """
    a, b = node.input(0), node.input(1)
    rank_a, rank_b = node.rank(0), node.rank(1)
    da = db = None
    if rank_b == 1:
        column = emit.Unsqueeze(dy, [-1]) if rank_a > 1 else dy
        da = emit.Mul(column, b) if node.wants(0) else None
        db = emit.Mul(column, a) if node.wants(1) else None
    elif rank_a == 1:
        row = emit.Unsqueeze(dy, [-2])
        da = emit.ReduceSum(emit.Mul(b, row), [-1], keepdims=0) if node.wants(0) else None
        db = emit.Mul(emit.Unsqueeze(a, [-1]), row) if node.wants(1) else None
    else:
        if node.wants(0):
            da = emit.MatMul(dy, _transposed(emit, b, rank_b))
        if node.wants(1) and rank_b == 2 < rank_a:
            db = emit.Gemm(emit.Flatten(a, axis=-1), emit.Flatten(dy, axis=-1), transA=1)
        elif node.wants(1):
            db = emit.MatMul(_transposed(emit, a, rank_a), dy)
    return [da, db]


def _transposed(emit: Emitter, x: ir.Value, rank: int) -> ir.Value:
    return emit.Transpose(x, perm=[*range(rank - 2), rank - 1, rank - 2])
