"""Cases of losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from .base import Case, Extent, normal, positive

TARGETS = {
    "vectors": np.array([2, 0, 3]),
    "images": np.array([[[2, 0], [1, 3]], [[0, 0], [1, 1]], [[3, 2], [-5, 2]]]),
}
Twin = Callable[..., torch.Tensor]


def _twin(loss: Any, form: str, reduction: str, ignored: int | None, second: bool = False) -> Twin:
    target = torch.tensor(TARGETS[form])

    def run(x: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
        ignore_index = -100 if ignored is None else ignored
        if second:
            return functional.log_softmax(x, 1)
        losses: torch.Tensor = loss(x, target, ignore_index=ignore_index, reduction="none")
        if weights is not None:  # torch has no derivative with respect to them
            used = (target != ignore_index) * weights[target.clamp(min=0)]
            losses = losses * used
            return losses.sum() / used.sum() if reduction == "mean" else losses if reduction == "none" else losses.sum()
        result: torch.Tensor = loss(x, target, ignore_index=ignore_index, reduction=reduction)
        return result

    return run


def _cases(op: str, loss: Any) -> list[Case]:
    configurations: tuple[tuple[str, str, str, int | None, bool, dict[str, int]], ...] = (
        ("mean", "vectors", "mean", None, False, {}),
        ("sum", "vectors", "sum", None, False, {}),
        ("none", "vectors", "none", None, False, {}),
        ("weights", "vectors", "mean", None, True, {}),
        ("weights-sum", "vectors", "sum", 3, True, {}),
        ("weights-none", "vectors", "none", 0, True, {}),
        ("ignored-class", "vectors", "mean", 0, False, {}),
        ("images", "images", "mean", -5, False, {}),
        ("images-weights", "images", "mean", -5, True, {}),
        ("images-none", "images", "none", -5, True, {}),
    )
    if op == "SoftmaxCrossEntropyLoss":
        configurations += (
            ("log-probability", "vectors", "mean", None, False, {"outputs": 2, "output": 1}),
            ("two-outputs", "images", "sum", -5, True, {"outputs": 2}),
        )
    cases = []
    for name, form, reduction, ignored, weighted, outputs in configurations:
        target = TARGETS[form]
        extents: tuple[Extent, ...] = (target.shape[0], "C4", *target.shape[1:])
        attributes = {"reduction": reduction} | ({} if ignored is None else {"ignore_index": ignored})
        cases.append(
            Case(
                op,
                (normal(*extents), target, *([positive("C4")] if weighted else [])),
                attributes,
                name,
                opset=22,
                torch=_twin(loss, form, reduction, ignored, bool(outputs.get("output"))),
                **outputs,
            )
        )
    return cases


CASES = [
    *_cases("NegativeLogLikelihoodLoss", functional.nll_loss),
    *_cases("SoftmaxCrossEntropyLoss", functional.cross_entropy),
]
