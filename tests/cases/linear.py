"""Cases of matrix products."""

from __future__ import annotations

import torch

from .base import Case, normal

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
]
