"""Cases of matrix products."""

from __future__ import annotations

import torch

from .base import Case, Input, normal


def einsum(name: str, equation: str, *inputs: Input, twin: str = "") -> Case:
    return Case(
        "Einsum",
        inputs,
        {"equation": equation},
        name=name,
        torch=lambda *x: torch.einsum(twin or equation, *x),
    )


EINSUMS = [
    einsum("matrix-product", "ij,jk->ik", normal("N", 3), normal(3, 4)),
    einsum("implicit", "ij,jk", normal("N", 3), normal(3, 4)),
    einsum("implicit-transpose", "ba", normal("N", 3)),
    einsum("implicit-ellipsis", "...j,jk", normal("N", 2, 3), normal(3, 4)),
    einsum("capitals", "Ab,bA->", normal("N", 3), normal(3, "N")),
    einsum("spaces", " i j , j k -> i k ", normal("N", 3), normal(3, 4), twin="ij,jk->ik"),
    einsum("attention-scores", "bhid,bhjd->bhij", normal("N", 2, "T3", 4), normal("N", 2, "T3", 4)),
    einsum("attention-symbolic", "bhid,bhjd->bhij", normal("N", 2, "T3", 4), normal("N", 2, "S5", "D4")),
    einsum("ellipsis", "...ij,...jk->...ik", normal("N", 2, 3, 4), normal("N", 2, 4, 5)),
    einsum("ellipsis-broadcast", "...ij,...jk->...ik", normal("N", 1, 3, 4), normal(1, 2, 4, 5)),
    einsum("ellipsis-inside", "i...,j->j...i", normal("N", 2, 3), normal(4)),
    einsum("ellipsis-of-nothing", "...i->i...", normal("N")),
    einsum("trace", "ii", normal(3, 3)),
    einsum("trace-symbolic", "ii->", normal("H3", "H3")),
    einsum("diagonal", "...ii->...i", normal("N", 3, 3)),
    einsum("triple-diagonal", "iii->i", normal(3, 3, 3)),
    einsum("two-diagonals", "aabb->ba", normal(2, 2, 3, 3)),
    einsum("diagonal-summed", "iij->j", normal(2, 2, 3)),
    einsum("diagonals-of-two", "iij,jkk->ik", normal(2, 2, "N"), normal("N", 3, 3)),
    einsum("sum", "ij->", normal("N", 3)),
    einsum("row-sums", "ij->i", normal("N", "W3")),
    einsum("summed-out-label", "ij,ik->k", normal("N", 3), normal("N", 4)),
    einsum("outer", "i,j,k->ikj", normal("N"), normal(2), normal(3)),
    einsum("three", "ij,jk,kl->il", normal("N", 2), normal(2, 3), normal(3, 4)),
    einsum("four-hadamard", "ij,ij,j,->i", normal("N", 3), normal("N", 3), normal(3), normal()),
    einsum("scalar", ",i->i", normal(), normal("N")),
    einsum("one-against-many", "ij,ij->i", normal("N", 5), normal("N", 1)),
    einsum("one-of-two-summed", "ij,ij->", normal(3, 5), normal(1, 5)),
    einsum("symbolic-against-one", "ij,ij->ij", normal("A3", 5), normal("B3", 1)),
    einsum("empty", "ij,jk->ik", normal("N", 0), normal(0, 4)),
]

CASES = [
    Case("Gemm", (normal("N", 4), normal(4, 5), normal(5)), name="bias", torch=lambda a, b, c: a @ b + c),
    Case("Gemm", (normal("N", 4), normal(4, 5)), name="no-bias", torch=torch.matmul),
    Case(
        "Gemm",
        (normal("N", 4), normal(5, 4), normal("N", 1)),
        {"transB": 1, "alpha": 0.5, "beta": -2.0},
        name="transB-alpha-beta-column",
        torch=lambda a, b, c: 0.5 * a @ b.T - 2 * c,
    ),
    Case(
        "Gemm",
        (normal(4, "N"), normal(4, 5), normal(1, 5)),
        {"transA": 1, "alpha": 3.0},
        name="transA-row",
        torch=lambda a, b, c: 3 * a.T @ b + c,
    ),
    Case(
        "Gemm",
        (normal(4, "N"), normal(5, 4), normal()),
        {"transA": 1, "transB": 1, "beta": 0.25},
        name="transA-transB-scalar",
        torch=lambda a, b, c: a.T @ b.T + 0.25 * c,
    ),
    Case("Gemm", (normal("N", 4), normal(4, 1), normal("N", 1)), name="one-column", torch=lambda a, b, c: a @ b + c),
    Case("Gemm", (normal("N", 0), normal(0, 3), normal(3)), name="empty", torch=lambda a, b, c: a @ b + c),
    Case("Gemm", (normal("N", "K4"), normal("L4", 3)), name="symbolic-inner", torch=torch.matmul),
    Case("MatMul", (normal("N", 4), normal(4, 5)), name="matrix", torch=torch.matmul),
    Case("MatMul", (normal("N", 2, 3, 4), normal(4, 5)), name="shared-right", torch=torch.matmul),
    Case("MatMul", (normal("N", "T3", 4), normal(4, 5)), name="shared-right-tokens", torch=torch.matmul),
    Case("MatMul", (normal(3, 4), normal("N", 2, 4, 5)), name="shared-left", torch=torch.matmul),
    Case("MatMul", (normal("N", 2, 3, 4), normal("N", 2, 4, 5)), name="batched", torch=torch.matmul),
    Case(
        "MatMul", (normal("N", "H2", "T3", 4), normal("N", "H2", 4, "T3")), name="batched-symbolic", torch=torch.matmul
    ),
    Case("MatMul", (normal("N", 1, 3, 4), normal(2, 4, 5)), name="batch-broadcast", torch=torch.matmul),
    Case("MatMul", (normal(1, 1, 3, 4), normal("N", 4, 5)), name="batch-broadcast-one", torch=torch.matmul),
    Case("MatMul", (normal(4), normal(4)), name="vector-vector", torch=torch.matmul),
    Case("MatMul", (normal("N", 3, 4), normal(4)), name="tensor-vector", torch=torch.matmul),
    Case("MatMul", (normal(4), normal("N", 4, 5)), name="vector-tensor", torch=torch.matmul),
    Case("MatMul", (normal(4), normal(4, 5)), name="vector-matrix", torch=torch.matmul),
    Case("MatMul", (normal("N", 1, 1), normal(1, 1)), name="ones", torch=torch.matmul),
    Case("MatMul", (normal("N", 0, 4), normal(4, 5)), name="empty", torch=torch.matmul),
    *EINSUMS,
]
