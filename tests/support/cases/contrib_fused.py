"""Cases of products and convolutions that ONNX Runtime fuses with what surrounds them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from support.cases.base import Case, normal

MS: dict[str, Any] = {"domain": "com.microsoft", "reference": False, "note": "an operator of ONNX Runtime"}

ACTIVATIONS: dict[str, tuple[dict[str, float], Callable[[torch.Tensor], torch.Tensor]]] = {
    "Relu": ({}, torch.relu),
    "Tanh": ({}, torch.tanh),
    "Sigmoid": ({}, torch.sigmoid),
    "LeakyRelu": ({"alpha": 0.3}, lambda y: F.leaky_relu(y, 0.3)),
    "HardSigmoid": ({"alpha": 0.3, "beta": 0.4}, lambda y: torch.clamp(0.3 * y + 0.4, 0, 1)),
}
OF_GEMM = {
    "Softplus": ({}, F.softplus),
    "Softsign": ({}, F.softsign),
    "Elu": ({"alpha": 0.7}, lambda y: F.elu(y, 0.7)),
    "ThresholdedRelu": ({"alpha": 0.4}, lambda y: torch.where(y > 0.4, y, 0.0)),
    "Selu": ({"alpha": 1.2, "gamma": 0.8}, lambda y: 0.8 * torch.where(y > 0, y, 1.2 * torch.expm1(y))),
}


def conv_case(name: str, parameters: list[float], function: Callable[[torch.Tensor], torch.Tensor]) -> Case:
    attributes: dict[str, Any] = {"activation": name, "pads": [1, 0, 1, 1], "strides": [2, 1]}
    if parameters:
        attributes["activation_params"] = parameters
    return Case(
        "FusedConv", (normal("N", 2, 5, 4), normal(3, 2, 3, 3), normal(3)), attributes, name=name, tie_free=False,
        torch=lambda x, w, b: function(F.conv2d(F.pad(x, (0, 1, 1, 1)), w, b, (2, 1))), **MS,
    )  # fmt: skip


def gemm_case(name: str, given: dict[str, float], function: Callable[[torch.Tensor], torch.Tensor]) -> Case:
    attributes = {f"activation_{k}": v for k, v in given.items()}
    return Case(
        "FusedGemm", (normal(4, "N"), normal(3, 4), normal(3)),
        {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0, "activation": name, **attributes}, name=name,
        torch=lambda a, b, c: function(0.5 * a.T @ b.T + 2 * c), tie_free=False, **MS,
    )  # fmt: skip


CASES = [
    *(conv_case(name, list(given.values()), function) for name, (given, function) in ACTIVATIONS.items()),
    conv_case("Clip", [-0.5, 1.0], lambda y: F.hardtanh(y, -0.5, 1.0)),
    Case("FusedConv", (normal("N", 2, 5), normal(3, 2, 2)), name="plain", torch=F.conv1d, **MS),
    Case(
        "FusedConv", (normal("N", 2, 5, 4), normal(3, 2, 3, 3), normal(3), normal("N", 3, 3, 2)),
        {"activation": "Relu"},
        name="residual", torch=lambda x, w, b, z: torch.relu(F.conv2d(x, w, b) + z), tie_free=False, **MS,
    ),
    *(gemm_case(name, *rest) for name, rest in {**ACTIVATIONS, **OF_GEMM}.items()),
    Case("FusedGemm", (normal("N", 4), normal(4, 3)), {"activation": "Relu"}, name="no-bias", tie_free=False,
         torch=lambda a, b: torch.relu(a @ b), **MS),
    Case("FusedMatMul", (normal("N", 3, 4), normal(4, 5)), {"alpha": 0.7}, name="alpha",
         torch=lambda a, b: 0.7 * a @ b, **MS),
    Case("FusedMatMul", (normal("N", 4, 3), normal("N", 5, 4)), {"transA": 1, "transB": 1}, name="transposed",
         torch=lambda a, b: a.mT @ b.mT, **MS),
    Case("FusedMatMul", (normal(3, "N", 2, 4), normal("N", 2, 4, 5)), {"transBatchA": 1}, name="batch-of-a",
         torch=lambda a, b: a.permute(1, 2, 0, 3) @ b, **MS),
    Case("FusedMatMul", (normal(4, "N", 3), normal(5, "N", 4)), {"transBatchA": 1, "transA": 1, "transBatchB": 1,
         "transB": 1, "alpha": -2.0}, name="everything",
         torch=lambda a, b: -2 * a.permute(1, 2, 0) @ b.permute(1, 2, 0), **MS),
    Case("FusedMatMul", (normal(4), normal("N", 4, 5)), {"transA": 1}, name="vector", torch=lambda a, b: a @ b, **MS),
    Case("TransposeMatMul", (normal("N", 4, 3), normal("N", 4, 5)), {"transA": 1, "alpha": 2.0},
         torch=lambda a, b: 2 * a.mT @ b, **MS),
]  # fmt: skip
