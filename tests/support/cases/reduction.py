"""Cases of reductions and cumulative operators."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from .base import Case, Input, among, distinct, normal, positive, uniform

Axes = tuple[int, ...]
X = ("N", 3, 4, 2)


@dataclass(frozen=True)
class Form:
    """One way of naming axes; ``result`` is the output's shape where axes at run time leave it open."""

    axes: Axes | None = None  # None: left out
    attributes: dict[str, int] = field(default_factory=dict)
    extents: tuple[int | str, ...] = ("N", 3, 4, 2)
    result: tuple[str, ...] | None = None


DROPPED, NOOP = {"keepdims": 0}, {"noop_with_empty_axes": 1}
FORMS = {
    "all": Form(),
    "all-dropped": Form(None, DROPPED),
    "empty-axes": Form((), DROPPED),
    "one": Form((2,)),
    "dropped": Form((1, -1), DROPPED),
    "batch": Form((0, 2), DROPPED),
    "negative": Form((-1, -3)),
    "unsorted": Form((3, 1), DROPPED),
    "noop": Form(None, NOOP),
    "noop-empty-axes": Form((), NOOP | DROPPED),
    "noop-but-axes": Form((1,), NOOP | DROPPED),
    "run-time": Form((1, 3), result=("A", "B", "C", "D")),
    "run-time-dropped": Form((-1, 1), DROPPED, result=("A", "B")),
    "run-time-empty": Form((), DROPPED, result=()),
    "run-time-noop": Form((), NOOP | DROPPED, result=("A", "B", "C", "D")),
    "symbolic": Form((1, 2), DROPPED, ("N", "C3", "H4")),
    "symbolic-all": Form(None, {}, ("N", "C3")),
    "extent-1": Form((1,), DROPPED, ("N", 1, 3)),
    "vector": Form((0,), DROPPED, (4,)),
}


def _reduced(function: Any, form: str) -> Any:
    """``function(x, axes)``, which keeps the axes, in this form."""
    attributes, rank = FORMS[form].attributes, len(FORMS[form].extents)
    every = () if attributes.get("noop_with_empty_axes", 0) else tuple(range(rank))
    reduced = tuple(a % rank for a in FORMS[form].axes or ()) or every

    def run(x: torch.Tensor) -> torch.Tensor:
        y = function(x, reduced) if reduced else function(x[..., None], (rank,))[..., 0]
        for axis in sorted(reduced, reverse=True) if not attributes.get("keepdims", 1) else ():
            y = y.squeeze(axis)
        return y

    return run


def _forms(op: str, draw: Any, function: Any, **options: Any) -> list[Case]:
    return [
        Case(
            op,
            (draw(*form.extents), *([] if form.axes is None else [np.array(form.axes, dtype=np.int64)])),
            form.attributes,
            name,
            runtime=() if form.result is None else (1,),
            result=form.result,
            torch=_reduced(function, name),
            **options,
        )
        for name, form in FORMS.items()
    ]


def _product(x: torch.Tensor, axes: Axes) -> torch.Tensor:
    for axis in axes:
        x = x.prod(axis, keepdim=True)
    return x


def _norm(p: int) -> Any:
    return lambda x, axes: torch.linalg.vector_norm(x, p, axes, keepdim=True)


REDUCTIONS = [
    *_forms("ReduceSum", normal, lambda x, axes: x.sum(axes, keepdim=True)),
    *_forms("ReduceMean", normal, lambda x, axes: x.mean(axes, keepdim=True)),
    *_forms("ReduceMax", distinct, lambda x, axes: x.amax(axes, keepdim=True), opset=20),
    *_forms("ReduceMin", distinct, lambda x, axes: x.amin(axes, keepdim=True), opset=20),
    *_forms("ReduceProd", normal, _product),
    *_forms("ReduceL1", normal, _norm(1)),
    *_forms("ReduceL2", normal, _norm(2)),
    *_forms("ReduceSumSquare", normal, lambda x, axes: (x * x).sum(axes, keepdim=True)),
    *_forms("ReduceLogSum", positive, lambda x, axes: x.sum(axes, keepdim=True).log()),
    *_forms("ReduceLogSumExp", normal, lambda x, axes: x.logsumexp(axes, keepdim=True)),
]


def _kinks(op: str, values: list[float], function: Any, *shape: int | str, name: str = "kinks") -> Case:
    return Case(
        op,
        (among(*shape, values=values), np.array([1])),
        {"keepdims": 0},
        name,
        torch=lambda x: function(x, 1),
        tie_free=False,
    )


EDGES = [
    _kinks("ReduceMax", [0, 1], torch.amax, "N", 6, 3, name="ties"),
    _kinks("ReduceMin", [0, 1], torch.amin, "N", 6, 3, name="ties"),
    _kinks("ReduceMax", [2], torch.amax, "N", 6, name="all-equal"),
    _kinks("ReduceL1", [-1, 0, 1], lambda x, axis: torch.linalg.vector_norm(x, 1, axis), "N", 6),
    Case(
        "ReduceL2",
        (among("N", 5, 2, values=[0, 0, 0, 1]), np.array([2])),
        {"keepdims": 0},
        "zero-vectors",
        torch=lambda x: torch.linalg.vector_norm(x, 2, 2),
        tie_free=False,
    ),
    *(
        Case(
            "ReduceProd",
            (Input(("N", 4, 3), lambda rng, extents, zeros=zeros: _with_zeros(rng, extents, zeros)), np.array([2])),
            {"keepdims": 0},
            f"zeros-{zeros}",
            torch=lambda x: x.prod(2),
        )
        for zeros in (1, 2, 3)
    ),
    *(
        Case(
            "ReduceLogSumExp",
            (uniform("N", 8, low=low, high=100.0), np.array([1])),
            name=name,
            torch=lambda x: x.logsumexp(1, keepdim=True),
        )
        for name, low in (("wide", -100.0), ("large", 95.0))
    ),
    Case("ReduceSum", (normal("N", 0, 3), np.array([2])), name="empty", torch=lambda x: x.sum(2, keepdim=True)),
    Case("ReduceMean", (normal("N", 0, 3), np.array([2])), name="empty", torch=lambda x: x.mean(2, keepdim=True)),
    Case("ReduceSum", (normal("N", 0, 3), np.array([1])), name="over-nothing", torch=lambda x: x.sum(1, keepdim=True)),
    Case(
        "ReduceProd", (normal("N", 0, 3), np.array([1])), name="over-nothing", torch=lambda x: x.prod(1, keepdim=True)
    ),
]


def _with_zeros(rng: np.random.Generator, extents: tuple[int, ...], zeros: int) -> np.ndarray:
    """Normal values; in every second row the last ``zeros`` values of a random order are zero."""
    x = rng.standard_normal(extents)
    x[..., ::2, :zeros] = 0
    return rng.permuted(x, axis=-1)


def _cumulated(op: str, axis: int, attributes: dict[str, int]) -> Any:
    function, neutral = (torch.cumsum, 0.0) if op == "CumSum" else (torch.cumprod, 1.0)

    def run(x: torch.Tensor) -> torch.Tensor:
        x = x.flip(axis) if attributes.get("reverse") else x
        y = function(x, axis)
        if attributes.get("exclusive"):
            first = torch.full_like(y.narrow(axis, 0, 1), neutral)
            y = torch.cat([first, y.narrow(axis, 0, y.shape[axis] - 1)], axis)
        return y.flip(axis) if attributes.get("reverse") else y

    return run


CUMULATIVE = [
    Case(
        op,
        (draw, np.array(axis, dtype=np.int64)),
        attributes,
        "-".join([name, *attributes, "run-time"[: 8 * at_run_time]]).strip("-"),
        opset=18 if op == "CumSum" else 26,
        runtime=(1,) if at_run_time else (),
        torch=_cumulated(op, axis, attributes),
    )
    for op in ("CumSum", "CumProd")
    for attributes in ({}, {"exclusive": 1}, {"reverse": 1}, {"exclusive": 1, "reverse": 1})
    for name, draw, axis, at_run_time in (
        ("last", normal("N", 4), -1, False),
        ("middle", normal("N", 4, "W2"), 1, True),
        ("zeros", Input(("N", 4, 6), lambda rng, extents: _with_zeros(rng, extents, 2)), 2, False),
        ("batch", normal("N", 2), 0, False),
    )
]

CASES = [*REDUCTIONS, *EDGES, *CUMULATIVE]
