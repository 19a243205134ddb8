"""Cases of operators that write elements at indices."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from .base import Case, Input, among, distinct, normal

TORCH = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}
ONCE = np.array([[2, 0, 3], [1, -1, 0]])
OFTEN = np.array([[2, 2, 2], [1, -1, 3]])
PAIRS = np.array([[0, 1], [2, -1], [0, 1], [0, 0]])


def elements(indices: np.ndarray, axis: int, reduction: str) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    index = torch.tensor(indices)

    def apply(data: torch.Tensor, updates: torch.Tensor) -> torch.Tensor:
        index_ = torch.where(index < 0, index + data.shape[axis], index)
        if reduction == "none":
            return data.scatter(axis, index_, updates)
        return data.scatter_reduce(axis, index_, updates, TORCH[reduction])

    return apply


def flat(reduction: str) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """ScatterND at PAIRS."""

    def apply(data: torch.Tensor, updates: torch.Tensor) -> torch.Tensor:
        where = torch.tensor(PAIRS % np.array(data.shape)) @ torch.tensor([data.shape[1], 1])
        return data.flatten().scatter_reduce(0, where, updates, TORCH[reduction]).reshape(data.shape)

    return apply


def scatter(
    reduction: str, name: str, data: Input, updates: Input, indices: np.ndarray = OFTEN, **options: bool
) -> Case:
    return Case(
        "ScatterElements",
        (data, indices, updates),
        {"axis": 1, "reduction": reduction},
        name=f"{reduction}-{name}",
        torch=elements(indices, 1, reduction),
        **options,
    )


def rows(data: torch.Tensor, updates: torch.Tensor) -> torch.Tensor:
    return data.index_copy(0, torch.tensor([2, 0]), updates)


ZEROS = [0.0, 0.0, 1.5, -2.0]
TIES = [0.0, 1.0]

CASES = [
    scatter("none", "once", normal(2, 4), normal(2, 3), ONCE),
    Case(
        "ScatterElements",
        (normal("H4", "W3"), ONCE, normal(2, 3)),
        name="default-axis",
        torch=elements(ONCE, 0, "none"),
        runtime=(1,),
    ),
    scatter("add", "repeated", normal(3, 4), normal(2, 3)),
    scatter("mul", "repeated", normal(3, 4), normal(2, 3)),
    scatter("mul", "zeros", among(3, 4, values=ZEROS), among(2, 3, values=ZEROS)),
    scatter("max", "repeated", distinct(3, 4), distinct(2, 3)),
    scatter("min", "repeated", distinct(3, 4), distinct(2, 3)),
    scatter("max", "ties", among(3, 4, values=TIES), among(2, 3, values=TIES), tie_free=False),
    scatter("min", "ties", among(3, 4, values=TIES), among(2, 3, values=TIES), tie_free=False),
    Case("ScatterND", (normal(3, "N"), np.array([[2], [0]]), normal(2, "N")), name="rows", torch=rows),
    Case(
        "ScatterND",
        (normal(2, 3, "N"), np.array([[[0, 1], [1, -1]]]), normal(1, 2, "N")),
        name="parts",
        runtime=(1,),
        torch=lambda x, u: x.index_put((torch.tensor([[0, 1]]), torch.tensor([[1, 2]])), u),
    ),
    *(
        Case(
            "ScatterND",
            (distinct(3, 4), PAIRS, distinct(4)),
            {"reduction": reduction},
            name=reduction,
            torch=flat(reduction),
        )
        for reduction in TORCH
    ),
    Case(
        "ScatterND",
        (among(3, 4, values=ZEROS), PAIRS, among(4, values=ZEROS)),
        {"reduction": "mul"},
        name="mul-zeros",
        torch=flat("mul"),
    ),
    *(
        Case(
            "ScatterND",
            (among(3, "W4", values=TIES), PAIRS, among(4, values=TIES)),
            {"reduction": reduction},
            name=f"{reduction}-ties",
            torch=flat(reduction),
            tie_free=False,
        )
        for reduction in ("max", "min")
    ),
    Case(
        "TensorScatter",
        (normal("N", 4, 3), normal("N", 2, 3)),
        name="from-start",
        opset=24,
        torch=lambda past, update: torch.cat([update, past[:, 2:]], 1),
    ),
    Case(
        "TensorScatter",
        (normal(2, 2, 4, 3), normal(2, 2, 2, 3), np.array([0, 2])),
        name="linear",
        opset=24,
        runtime=(2,),
        torch=lambda past, update: torch.stack(
            [torch.cat([update[0], past[0, :, 2:]], 1), torch.cat([past[1, :, :2], update[1]], 1)]
        ),
    ),
    Case(
        "TensorScatter",
        (normal(2, 3, 4), normal(2, 3, 2), np.array([3, 1])),
        {"axis": 2, "mode": "circular"},
        name="circular",
        opset=24,
        torch=lambda past, update: torch.stack(
            [
                torch.cat([update[0, :, 1:], past[0, :, 1:3], update[0, :, :1]], 1),
                torch.cat([past[1, :, :1], update[1], past[1, :, 3:]], 1),
            ]
        ),
    ),
]
