"""Matrix and tensor products: Gemm, MatMul, Einsum."""

from __future__ import annotations

from string import ascii_letters

import onnx_ir as ir

from ..geometry.placement import counting
from ..graph.emitter import Emitter
from ..graph.operator import Operator
from ..reverse.registry import Gradients, vjp


@vjp("Gemm", broadcasts=True)
def gemm(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = α A' B' + β C; dA' = α dy B'ᵀ, dB' = α A'ᵀ dy, dC = β dy, where A' and B' may be transposed."""
    a, b = node.input(0), node.input(1)
    alpha, beta = node.attribute("alpha", 1.0), node.attribute("beta", 1.0)
    ta, tb = node.attribute("transA", 0), node.attribute("transB", 0)
    da = db = dc = None
    if node.wants(0):
        first, second, t1, t2 = (b, dy, tb, 1) if ta else (dy, b, 0, 1 - tb)
        da = _like(emit.Gemm(first, second, alpha=alpha, transA=t1, transB=t2), a)
    if node.wants(1):
        first, second, t1, t2 = (dy, a, 1, ta) if tb else (a, dy, 1 - ta, 0)
        db = _like(emit.Gemm(first, second, alpha=alpha, transA=t1, transB=t2), b)
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
            da = _like(emit.MatMul(dy, _transposed(emit, b, rank_b)), a)
        if node.wants(1) and rank_b == 2 < rank_a:
            db = emit.Gemm(emit.Flatten(a, axis=-1), emit.Flatten(dy, axis=-1), transA=1)
        elif node.wants(1):
            db = _like(emit.MatMul(_transposed(emit, a, rank_a), dy), b)
    return [da, db]


def _like(gradient: ir.Value, x: ir.Value) -> ir.Value:
    """State that the matrices in ``gradient`` have the extents of those in ``x``; batches may differ."""
    if gradient.shape is not None and x.shape is not None:
        gradient.shape = ir.Shape([*gradient.shape[:-2], *x.shape[-2:]])
    return gradient


def _transposed(emit: Emitter, x: ir.Value, rank: int) -> ir.Value:
    return emit.Transpose(x, perm=[*range(rank - 2), rank - 1, rank - 2])


Dim = int | ir.SymbolicDim | None


@vjp("Einsum", broadcasts=True)
def einsum(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = einsum("a,b,...->y"); da = einsum("y,b,...->a"), laid out again where a's labels got lost.

    A label of a alone that y lacks was summed: da repeats along it. A label that a repeats took a
    diagonal: da is zero off it.
    """
    terms, result = _labels(node)
    factors = [(result, dy), *((term, node.input(index)) for index, term in enumerate(terms))]
    gradients = []
    for index, term in enumerate(terms):
        others = [factor for position, factor in enumerate(factors) if position != index + 1]
        gradients.append(_factor(emit, term, node.input(index), others) if node.wants(index) else None)
    return gradients


def _factor(emit: Emitter, term: str, x: ir.Value, others: list[tuple[str, ir.Value]]) -> ir.Value:
    assert x.shape is not None
    found = _dimensions(others)
    kept = "".join(label for label in dict.fromkeys(term) if label in found)
    equation = ",".join(labels for labels, _ in others) + "->" + kept
    dx = emit.Einsum(*(value for _, value in others), equation=equation)
    dx.shape = ir.Shape([found[label] for label in kept])
    first = [label in kept and term.index(label) == axis for axis, label in enumerate(term)]
    if not all(first):
        dx = emit.Unsqueeze(dx, [axis for axis, here in enumerate(first) if not here])
    for axis, label in enumerate(term):
        if axis != term.index(label):
            dx = emit.Mul(dx, _diagonal(emit, x, term.index(label), axis))
    if any(found.get(label) is None or found[label] != extent for label, extent in zip(term, x.shape)):
        dx = emit.Expand(dx, emit.shape(x))
    return dx


def _dimensions(terms: list[tuple[str, ir.Value]]) -> dict[str, Dim]:
    """The extent of every label; None where it depends on what broadcasts at run time."""
    found: dict[str, Dim] = {}
    for labels, value in terms:
        shape: list[Dim] = [None] * len(labels) if value.shape is None else list(value.shape)
        for label, extent in zip(labels, shape):
            known = found.get(label, 1)
            if known == 1 or (isinstance(extent, int) and extent != 1):
                found[label] = extent
            elif extent not in (1, known) and not isinstance(known, int):
                found[label] = None
    return found


def _diagonal(emit: Emitter, x: ir.Value, row: int, column: int) -> ir.Value:
    """One where the indices along two axes of ``x`` agree, zero elsewhere; broadcasts to ``x``."""
    assert x.shape is not None
    index = counting(emit, emit.extent(x, row))
    at = [[-1 if axis == here else 1 for axis in range(len(x.shape))] for here in (row, column)]
    return emit.Cast(emit.Equal(*(emit.Reshape(index, shape) for shape in at)), to=x.dtype)


def _labels(node: Operator) -> tuple[list[str], str]:
    """The labels of every operand and of the result, with letters in place of ellipses."""
    equation = node.attribute("equation", "").replace(" ", "")
    left, arrow, result = equation.partition("->")
    terms = left.split(",")
    if not arrow:
        once = sorted(label for label in set(left) - set(".,") if left.count(label) == 1)
        result = "..." * ("..." in left) + "".join(once)
    covered = max(node.rank(index) - len(term.replace("...", "")) for index, term in enumerate(terms))
    free = [label for label in ascii_letters if label not in equation]
    if covered > len(free):
        raise node.refuse("equation", equation, "use fewer axes: the letters do not suffice")
    ellipsis = "".join(free[:covered])
    return [term.replace("...", ellipsis) for term in terms], result.replace("...", ellipsis)
