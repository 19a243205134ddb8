"""Cases of pooling; the grid of its geometry is in ``test_pooling_grid.py``."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .base import Case, among, distinct, normal
from support.windows import Geometry

_CEIL = "the reference evaluator places windows of ceil_mode as if the pads were those of SAME"
_NO_REFERENCE = "the reference evaluator lacks GlobalLpPool"
_GLOBAL_RANK = "the reference evaluator returns the wrong rank unless there are two spatial axes"
_AUTO_PAD = "the reference evaluator has no ceil_mode with auto_pad"

G_1D = Geometry([3], [2], [1, 0], [1])
G_2D = Geometry([3, 2], [2, 1], [1, 0, 0, 1], [1, 2])
G_3D = Geometry([2, 1, 3], [1, 2, 2], [1, 0, 1, 0, 0, 2], [2, 1, 1])
G_CEIL = Geometry([3, 2], [2, 3], [1, 0, 1, 1], [1, 1], ceil=True)
G_CEIL_DILATED = Geometry([2, 3], [3, 2], [0, 1, 1, 0], [2, 2], ceil=True)  # the last row of windows is dropped
SAME_UPPER = Geometry([3, 2], [2, 3], [0, 0, 1, 1], [1, 1])  # of 6 x 7
SAME_LOWER = Geometry([3, 2], [2, 3], [1, 1, 0, 0], [1, 1])
_SAME = {"kernel_shape": [3, 2], "strides": [2, 3]}


def _dims(kind: str, *extents: int) -> tuple[int | str, ...]:
    return (
        extents
        if kind == "static"
        else tuple(f"{name}{extent}" for name, extent in zip("DHW"[-len(extents) :], extents))
    )


def _norm(order: int) -> Any:
    return lambda x: (x.abs() ** order).sum(tuple(range(2, x.dim())), keepdim=True) ** (1 / order)


def _first_global_maximum(x: Tensor) -> Tensor:
    return functional.adaptive_max_pool2d(x, 1)


def _max_pool() -> list[Case]:
    options: dict[str, Any] = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    ties = among("N", 2, 6, 7, values=[0.0, 1.0])
    cases = [
        Case(
            "MaxPool",
            (distinct("N", 2, 6, 7),),
            {"kernel_shape": [2, 2]},
            "defaults",
            lambda x: functional.max_pool2d(x, 2, 1),
        ),
        Case(
            "MaxPool",
            (distinct("N", 2, 6, 7),),
            {"kernel_shape": [2, 2], "strides": [2, 2]},
            "apart",
            lambda x: functional.max_pool2d(x, 2),
        ),
        Case(
            "MaxPool",
            (distinct("N", 2, 7, 7),),
            {"kernel_shape": [2, 2], "strides": [3, 2], "dilations": [2, 3]},
            "apart-dilated",
            lambda x: functional.max_pool2d(x, 2, (3, 2), 0, (2, 3)),
        ),
        Case("MaxPool", (ties,), options, "ties", lambda x: functional.max_pool2d(x, 3, 2, 1), tie_free=False),
        Case(
            "MaxPool",
            (ties,),
            options,
            "ties-indices",
            lambda x: functional.max_pool2d(x, 3, 2, 1),
            tie_free=False,
            outputs=2,
        ),
        Case(
            "MaxPool",
            (among("N", 1, 6, 6, values=[-np.inf, 1.0]),),
            {"kernel_shape": [2, 2], "strides": [2, 2]},
            "minus-infinity",
            lambda x: functional.max_pool2d(x, 2),
            tie_free=False,
        ),
        Case(
            "MaxPool",
            (distinct("N", 2, 6, 7),),
            options,
            "indices",
            lambda x: functional.max_pool2d(x, 3, 2, 1),
            outputs=2,
        ),
        Case(
            "MaxPool",
            (distinct("N", 2, 6, 7),),
            {**options, "storage_order": 1},
            "column-major",
            lambda x: functional.max_pool2d(x, 3, 2, 1),
            outputs=2,
        ),
        Case(
            "MaxPool",
            (distinct("N", 2, 6, 7),),
            {**options, "storage_order": 1},
            "column-major-no-indices",
            lambda x: functional.max_pool2d(x, 3, 2, 1),
        ),
        Case("MaxPool", (distinct("N", 1, 1, 1),), {"kernel_shape": [1, 1]}, "one-pixel", lambda x: x.clone()),
        Case(
            "MaxPool",
            (distinct(0, 2, 4, 4),),
            {"kernel_shape": [2, 2]},
            "empty-batch",
            lambda x: functional.max_pool2d(x, 2, 1),
        ),
        Case(
            "MaxPool",
            (distinct("N", "C2", "H6", "W7"),),
            options,
            "symbolic-channels",
            lambda x: functional.max_pool2d(x, 3, 2, 1),
        ),
        Case(
            "MaxPool",
            (distinct("N", 2, 6, 7),),
            options,
            "opset-22",
            lambda x: functional.max_pool2d(x, 3, 2, 1),
            opset=22,
        ),
    ]
    for kind in ("static", "symbolic"):
        cases += [
            Case("MaxPool", (distinct("N", 2, *_dims(kind, 8)),), G_1D.attributes(), f"1d-{kind}", G_1D.maximum()),
            Case("MaxPool", (distinct("N", 2, *_dims(kind, 7, 6)),), G_2D.attributes(), f"2d-{kind}", G_2D.maximum()),
            Case(
                "MaxPool", (distinct("N", 2, *_dims(kind, 4, 3, 5)),), G_3D.attributes(), f"3d-{kind}", G_3D.maximum()
            ),
            Case(
                "MaxPool",
                (distinct("N", 2, *_dims(kind, 6, 7)),),
                G_CEIL.attributes(),
                f"ceil-{kind}",
                G_CEIL.maximum(),
            ),
            Case(
                "MaxPool",
                (distinct("N", 2, *_dims(kind, 6, 7)),),
                G_CEIL_DILATED.attributes(),
                f"ceil-dilated-{kind}",
                G_CEIL_DILATED.maximum(),
                opset=22,
            ),
            Case(
                "MaxPool",
                (distinct("N", 2, *_dims(kind, 6, 7)),),
                {**_SAME, "auto_pad": "SAME_UPPER"},
                f"same-upper-{kind}",
                SAME_UPPER.maximum(),
            ),
            Case(
                "MaxPool",
                (distinct("N", 2, *_dims(kind, 6, 7)),),
                {**_SAME, "auto_pad": "SAME_LOWER"},
                f"same-lower-{kind}",
                SAME_LOWER.maximum(),
                reference=False,
                note="the reference evaluator takes SAME_LOWER for SAME_UPPER",
            ),
            Case(
                "MaxPool",
                (distinct("N", 2, *_dims(kind, 6, 7)),),
                {**_SAME, "auto_pad": "VALID"},
                f"valid-{kind}",
                lambda x: functional.max_pool2d(x, (3, 2), (2, 3)),
            ),
        ]
    return cases


def _average_pool() -> list[Case]:
    x = normal("N", 2, 6, 7)
    cases = [
        Case("AveragePool", (x,), {"kernel_shape": [2, 3]}, "defaults", lambda x: functional.avg_pool2d(x, (2, 3), 1)),
        Case(
            "AveragePool",
            (x,),
            {"kernel_shape": [2, 3], "strides": [2, 3]},
            "apart",
            lambda x: functional.avg_pool2d(x, (2, 3)),
        ),
        Case(
            "AveragePool",
            (x,),
            {"kernel_shape": [1, 2], "strides": [2, 3]},
            "unreached-tail",
            lambda x: functional.avg_pool2d(x, (1, 2), (2, 3)),
        ),
        Case("AveragePool", (x,), {"kernel_shape": [6, 7]}, "whole", lambda x: x.mean((2, 3), keepdim=True)),
        Case(
            "AveragePool",
            (normal("N", "C2", "H6", "W7"),),
            {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
            "symbolic-channels",
            lambda x: functional.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
        ),
        Case(
            "AveragePool",
            (normal("N", 2, "H6", 7),),
            {"kernel_shape": [2, 3], "strides": [3, 2]},
            "symbolic-unpadded",
            lambda x: functional.avg_pool2d(x, (2, 3), (3, 2)),
        ),
        Case(
            "AveragePool",
            (normal(0, 2, 4, 4),),
            {"kernel_shape": [2, 2]},
            "empty-batch",
            lambda x: functional.avg_pool2d(x, 2, 1),
        ),
        Case(
            "AveragePool",
            (x,),
            {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]},
            "opset-22",
            lambda x: functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False),
            opset=22,
        ),
        Case(
            "AveragePool",
            (x,),
            {**_SAME, "auto_pad": "VALID", "ceil_mode": 1},
            "valid-ceil",
            lambda x: functional.avg_pool2d(x, (3, 2), (2, 3), ceil_mode=True),
            reference=False,
            note=_AUTO_PAD,
        ),
    ]
    for kind in ("static", "symbolic"):
        for padded in (False, True):
            tail = f"{'padded-' if padded else ''}{kind}"
            include = {"count_include_pad": 1} if padded else {}
            cases += [
                Case(
                    "AveragePool",
                    (normal("N", 2, *_dims(kind, *extents)),),
                    {**g.attributes(), **include},
                    f"{name}-{tail}",
                    g.average(padded),
                    opset=22 if g is G_CEIL_DILATED else 19,
                    reference=not g.ceil,
                    note=_CEIL if g.ceil else "",
                )
                for name, g, extents in [
                    ("1d", G_1D, (8,)),
                    ("2d", G_2D, (7, 6)),
                    ("3d", G_3D, (4, 3, 5)),
                    ("ceil", G_CEIL, (6, 7)),
                    ("ceil-dilated", G_CEIL_DILATED, (6, 7)),
                ]
            ]
            cases += [
                Case(
                    "AveragePool",
                    (normal("N", 2, *_dims(kind, 6, 7)),),
                    {**_SAME, **include, "auto_pad": auto_pad},
                    f"{auto_pad.lower()}-{tail}",
                    g.average(padded),
                )
                for auto_pad, g in [("SAME_UPPER", SAME_UPPER), ("SAME_LOWER", SAME_LOWER)]
            ]
    return cases


def _lp_pool() -> list[Case]:
    cases = [
        Case(
            "LpPool",
            (normal("N", 2, 6, 7),),
            {"kernel_shape": [2, 3]},
            "defaults",
            Geometry([2, 3], [1, 1], [0] * 4, [1, 1]).norm(2),
        ),
        Case(
            "LpPool",
            (among("N", 2, 6, 7, values=[0.0, 0.0, 0.0, 1.0, -2.0]),),
            {"kernel_shape": [2, 2], "strides": [2, 2]},
            "zero-windows",
            _norm_with_zeros,
            tie_free=False,
        ),
        Case(
            "LpPool",
            (normal("N", 2, 6, 7),),
            {**_SAME, "auto_pad": "VALID"},
            "valid",
            Geometry([3, 2], [2, 3], [0] * 4, [1, 1]).norm(2),
        ),
        Case(
            "LpPool",
            (normal("N", 2, 6, 7),),
            {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]},
            "opset-22",
            Geometry([3, 3], [1, 1], [1] * 4, [1, 1]).norm(2),
            opset=22,
        ),
    ]
    for order in (1, 2, 3, 4):
        cases += [
            Case(
                "LpPool", (normal("N", 2, 7, 6),), {**G_2D.attributes(), "p": order}, f"2d-p{order}", G_2D.norm(order)
            ),
            Case(
                "GlobalLpPool",
                (normal("N", 2, 3, 4),),
                {"p": order},
                f"p{order}",
                _norm(order),
                reference=False,
                note=_NO_REFERENCE,
            ),
        ]
    for kind in ("static", "symbolic"):
        cases += [
            Case(
                "LpPool",
                (normal("N", 2, *_dims(kind, *extents)),),
                g.attributes(),
                f"{name}-{kind}",
                g.norm(2),
                opset=22 if g is G_CEIL_DILATED else 18,
                reference=not g.ceil,
                note=_CEIL if g.ceil else "",
            )
            for name, g, extents in [
                ("1d", G_1D, (8,)),
                ("3d", G_3D, (4, 3, 5)),
                ("ceil", G_CEIL, (6, 7)),
                ("ceil-dilated", G_CEIL_DILATED, (6, 7)),
            ]
        ]
        cases += [
            Case(
                "LpPool",
                (normal("N", 2, *_dims(kind, 6, 7)),),
                {**_SAME, "auto_pad": auto_pad},
                f"{auto_pad.lower()}-{kind}",
                g.norm(2),
            )
            for auto_pad, g in [("SAME_UPPER", SAME_UPPER), ("SAME_LOWER", SAME_LOWER)]
        ]
    return cases


def _norm_with_zeros(x: Tensor) -> Tensor:
    """The 2-norm of every window, with torch's zero subgradient where all of it is zero."""
    windows = Geometry([2, 2], [2, 2], [0] * 4, [1, 1]).windows(x, 0.0, 0.0)
    return torch.linalg.vector_norm(windows, dim=-1)


def _global() -> list[Case]:
    ties = among("N", 2, 3, 4, values=[0.0, 1.0])
    return [
        Case("GlobalAveragePool", (normal("N", 2, 3, 4),), name="2d", torch=lambda x: x.mean((2, 3), keepdim=True)),
        Case("GlobalAveragePool", (normal("N", 2, 5),), name="1d", torch=lambda x: x.mean(2, keepdim=True)),
        Case("GlobalAveragePool", (normal("N", 2, 2, 3, 2),), name="3d",
             torch=lambda x: x.mean((2, 3, 4), keepdim=True)),
        Case("GlobalAveragePool", (normal("N", 2, "H3", "W4"),), name="symbolic", opset=22,
             torch=lambda x: x.mean((2, 3), keepdim=True)),
        Case("GlobalMaxPool", (distinct("N", 2, 3, 4),), name="2d", torch=_first_global_maximum),
        Case("GlobalMaxPool", (ties,), name="ties", torch=_first_global_maximum, tie_free=False),
        Case("GlobalMaxPool", (distinct("N", 2, 5),), name="1d", reference=False, note=_GLOBAL_RANK,
             torch=lambda x: functional.adaptive_max_pool1d(x, 1)),
        Case("GlobalMaxPool", (distinct("N", "C2", "D2", "H3", "W2"),), name="3d-symbolic", opset=22, reference=False,
             note=_GLOBAL_RANK, torch=lambda x: functional.adaptive_max_pool3d(x, 1)),
        Case("GlobalMaxPool", (distinct(0, 2, 3, 4),), name="empty-batch", torch=_first_global_maximum),
        Case("GlobalLpPool", (normal("N", 2, "H3", "W4"),), name="symbolic", torch=_norm(2),
             reference=False, note=_NO_REFERENCE),
        Case("GlobalLpPool", (among("N", 2, 3, values=[0.0]),), name="zeros", tie_free=False,
             torch=lambda x: torch.linalg.vector_norm(x, dim=2, keepdim=True), reference=False, note=_NO_REFERENCE),
    ]  # fmt: skip


CASES = [*_max_pool(), *_average_pool(), *_lp_pool(), *_global()]
