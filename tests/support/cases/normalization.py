"""Cases of normalisations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from .base import Case, Extent, among, normal, positive

FIVE = ("N", 5, 3, 2)


def _scale(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def _batch(epsilon: float = 1e-5) -> Any:
    """Written out: torch does not differentiate with respect to the stored statistics."""

    def run(x: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        s, b, m, v = (p.view(-1, *[1] * (x.dim() - 2)) for p in parameters)
        return (x - m) * torch.rsqrt(v + epsilon) * s + b

    return run


BATCH = [
    Case(
        "BatchNormalization",
        (normal(*extents), normal(3), normal(3), normal(3), positive(3)),
        attributes,
        name,
        torch=_batch(attributes.get("epsilon", 1e-5)),
    )
    for name, extents, attributes in (
        ("images", ("N", 3, 4, 5), {}),
        ("vectors", ("N", 3), {"epsilon": 0.1}),
        ("volumes", ("N", 3, 1, "H2", "W3"), {"epsilon": 0.3, "momentum": 0.5}),
    )
] + [
    Case(
        "BatchNormalization",
        (normal("N", 2, "H3", "W4"), _scale(2, -1), _scale(0.5, 0), _scale(1, -1), _scale(0.5, 2)),
        name="constants",
        torch=lambda x: functional.batch_norm(
            x, *(torch.tensor(v, dtype=torch.float64) for v in ([1, -1], [0.5, 2], [2, -1], [0.5, 0]))
        ),
    ),
    Case(
        "BatchNormalization",
        (normal("N", 2, 3), _scale(2, -1), normal(2), _scale(1, -1), _scale(0.5, 2)),
        name="bias-wanted",
    ),
    Case(
        "BatchNormalization",
        (normal("N", 2, 3, wrt=False), normal(2, wrt=False), normal(2, wrt=False), normal(2), positive(2)),
        name="statistics-wanted",
        torch=_batch(),
    ),
]


def _in_training(epsilon: float = 1e-5) -> Any:
    return lambda x, s, b, m, v: (
        functional.batch_norm(x, None, None, s, b, training=True, eps=epsilon) + 0 * (m + v).sum()
    )


TRAINING = [
    Case(
        "BatchNormalization",
        (normal(*extents), normal(3), normal(3), normal(3), positive(3)),
        {"training_mode": 1, **attributes},
        f"training-{name}",
        outputs=3,
        torch=_in_training(attributes.get("epsilon", 1e-5)),
    )
    for name, extents, attributes in (
        ("images", ("N", 3, "H2", 5), {}),
        ("vectors", (4, 3), {"epsilon": 0.1, "momentum": 0.5}),
    )
]


def _layer(axis: int, epsilon: float = 1e-5) -> Any:
    def run(x: torch.Tensor, s: torch.Tensor, b: torch.Tensor | None = None) -> torch.Tensor:
        return functional.layer_norm(x, x.shape[axis:], eps=epsilon) * s + (0 if b is None else b)

    return run


def _moments(index: int) -> Any:
    """Mean or 1 / √(variance + ε) over the last axis."""

    def run(x: torch.Tensor) -> torch.Tensor:
        variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
        return mean if index == 1 else torch.rsqrt(variance + 1e-5)

    return run


LAYER = [
    Case("LayerNormalization", (normal("N", 4, 6), normal(6), normal(6)), name="last", torch=_layer(-1)),
    Case("LayerNormalization", (normal("N", 4, 6), normal(6)), name="no-bias", torch=_layer(-1)),
    Case(
        "LayerNormalization",
        (normal("N", 4, 6), normal(4, 6), normal(4, 6)),
        {"axis": 1, "epsilon": 0.2},
        "axis-1",
        torch=_layer(1, 0.2),
    ),
    Case("LayerNormalization", (normal("N", 2, 3, 4), normal(3, 4)), {"axis": -2}, "axis-negative", torch=_layer(-2)),
    Case("LayerNormalization", (normal(2, 5), normal(2, 5), normal(2, 5)), {"axis": 0}, "axis-0", torch=_layer(0)),
    Case(
        "LayerNormalization", (normal("N", "T3", "C4"), normal("C4"), normal("C4")), name="symbolic", torch=_layer(-1)
    ),
    Case("LayerNormalization", (normal("N", 5), np.array([1, 2, 0.5, -1, 0]), np.ones(5)), name="constants"),
    Case("LayerNormalization", (normal("N", 5, wrt=False), normal(5), normal(5)), name="parameters", torch=_layer(-1)),
    Case("LayerNormalization", (normal("N", 4, 1), normal(1), normal(1)), name="one-element", torch=_layer(-1)),
    Case("LayerNormalization", (among("N", 4, values=[2]), normal(4, wrt=False)), {"epsilon": 0.1}, "constant-input"),
    *(
        Case(
            "LayerNormalization",
            (normal("N", 4, 6), np.ones(6)),
            name=f"output-{index}",
            outputs=3,
            output=index,
            torch=_moments(index),
        )
        for index in (1, 2)
    ),
]


def _rms(axis: int, epsilon: float = 1e-5) -> Any:
    return lambda x, s: functional.rms_norm(x, x.shape[axis:], eps=epsilon) * s


RMS = [
    Case("RMSNormalization", (normal("N", 4, 6), normal(6)), name="last", opset=23, torch=_rms(-1)),
    Case(
        "RMSNormalization",
        (normal("N", 4, 6), normal(4, 6)),
        {"axis": 1, "epsilon": 0.2},
        "axis-1",
        opset=23,
        torch=_rms(1, 0.2),
    ),
    Case("RMSNormalization", (normal("N", 4, 6), normal(1)), {"axis": -2}, "scalar-scale", opset=23, torch=_rms(-2)),
    Case("RMSNormalization", (normal("N", "T3", "C4"), normal("C4")), name="symbolic", opset=23, torch=_rms(-1)),
    Case(
        "RMSNormalization",
        (among("N", 4, values=[0]), normal(4)),
        name="zero",
        opset=23,
        torch=_rms(-1),
        tie_free=False,
    ),
]


def _instance(epsilon: float = 1e-5) -> Any:
    return lambda x, s, b: functional.instance_norm(x, weight=s, bias=b, eps=epsilon)


INSTANCE = [
    Case("InstanceNormalization", (normal("N", 3, 4, 5), normal(3), normal(3)), name="images", torch=_instance()),
    Case(
        "InstanceNormalization",
        (normal("N", 3, 6), normal(3), normal(3)),
        {"epsilon": 0.2},
        "sequences",
        torch=_instance(0.2),
    ),
    Case("InstanceNormalization", (normal("N", 2, 3, 2, 2), normal(2), normal(2)), name="volumes", torch=_instance()),
    Case(
        "InstanceNormalization", (normal("N", 2, "H3", "W4"), normal(2), normal(2)), name="symbolic", torch=_instance()
    ),
    Case(
        "InstanceNormalization",
        (normal("N", 2, 3, wrt=False), normal(2), normal(2)),
        name="parameters",
        torch=_instance(),
    ),
]


def _group(groups: int, epsilon: float = 1e-5, repeat: int = 1) -> Any:
    def run(x: torch.Tensor, s: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return functional.group_norm(x, groups, s.repeat_interleave(repeat), b.repeat_interleave(repeat), epsilon)

    return run


def group_cases(opset: int) -> list[Case]:
    """Scale and bias are per channel from version 21 on, per group before."""
    forms: tuple[tuple[str, tuple[Extent, ...], int, int, dict[str, float]], ...] = (
        ("images", ("N", 6, 3, 2), 6, 3, {}),
        ("sequences", ("N", 6, 4), 6, 2, {"epsilon": 0.2}),
        ("no-space", ("N", 6), 6, 2, {}),
        ("one-group", ("N", 4, 3), 4, 1, {}),
        ("one-channel-each", ("N", 4, 3), 4, 4, {}),
        ("symbolic", ("N", 4, "H3", "W2"), 4, 2, {}),
        ("symbolic-channels", ("N", "C4", "H3"), 4, 2, {}),
    )
    cases = []
    for name, extents, channels, groups, attributes in forms:
        count = channels if opset >= 21 else groups
        scales = normal(f"S{count}" if name == "symbolic-channels" else count)
        cases.append(
            Case(
                "GroupNormalization",
                (normal(*extents), scales, scales),
                {"num_groups": groups, **attributes},
                name,
                opset=opset,
                torch=_group(groups, attributes.get("epsilon", 1e-5), channels // count),
                reference=opset < 21,
                note="by default version 21 computes in float32",
            )
        )
    return cases


GROUP = [
    *group_cases(21),
    Case(
        "GroupNormalization",
        (normal("N", 4, 3, wrt=False), normal(4), normal(4)),
        {"num_groups": 2},
        "parameters",
        opset=21,
        torch=_group(2),
        reference=False,
        note="by default computed in float32",
    ),
]


def lrn(size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> Any:
    """Written out: torch's even windows lie the other way."""

    def run(x: torch.Tensor) -> torch.Tensor:
        channels, before, after = x.shape[1], (size - 1) // 2, math.ceil((size - 1) / 2)
        sums = [(x[:, max(c - before, 0) : c + after + 1] ** 2).sum(1) for c in range(channels)]
        return x / (bias + alpha / size * torch.stack(sums, 1)) ** beta

    return run


LRN = [
    Case(
        "LRN",
        (normal(*extents),),
        {"size": size, **attributes},
        f"size-{size}{suffix}",
        torch=lrn(size, **attributes),
        reference=False,
        note="the reference evaluator misses channels",
    )
    for extents, size, attributes, suffix in (
        (FIVE, 1, {"alpha": 0.5}, ""),
        (FIVE, 3, {"alpha": 0.7, "beta": 0.8, "bias": 2.0}, ""),
        (FIVE, 5, {}, "-defaults"),
        (FIVE, 9, {"alpha": 2.0}, "-beyond-the-channels"),
        (("N", "C4", "H3", 1), 3, {"alpha": 0.5, "beta": 1.0}, "-symbolic"),
    )
]


def _lp(p: int, axis: int) -> Any:
    return lambda x: x / torch.linalg.vector_norm(x, p, axis, keepdim=True)


def _lp_zero(p: int) -> Any:
    """Zero vectors stay zero, without a gradient."""

    def run(x: torch.Tensor) -> torch.Tensor:
        vanishes = (x == 0).all(-1, keepdim=True)
        return _lp(p, -1)(torch.where(vanishes, torch.ones_like(x), x)) * ~vanishes

    return run


LP = [
    Case(
        "LpNormalization",
        (x,),
        {"p": p, "axis": axis},
        f"p-{p}-{name}",
        torch=twin or _lp(p, axis),
        tie_free=twin is None,
        reference=p == 2 and twin is None,
        note="the reference evaluator forgets the absolute value for p = 1 and divides by zero",
    )
    for p in (1, 2)
    for name, x, axis, twin in (
        ("last", normal("N", 3, 4), -1, None),
        ("axis-1", normal("N", 3, "W4"), 1, None),
        ("axis-negative", normal(3, "N", 4), -3, None),
        ("zero-vectors", among("N", 4, 2, values=[0, 0, 1, 2]), 2, _lp_zero(p)),
    )
] + [Case("LpNormalization", (normal("N", 4),), name="defaults", torch=_lp(2, -1))]


def _mean_variance(axes: tuple[int, ...]) -> Any:
    def run(x: torch.Tensor) -> torch.Tensor:
        variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
        return (x - mean) / (variance.sqrt() + 1e-9)

    return run


MEAN_VARIANCE = [
    Case(
        "MeanVarianceNormalization",
        (normal(*extents),),
        {} if name == "default-axes" else {"axes": axes},
        name,
        torch=_mean_variance(axes),
        reference=False,
        note="the reference evaluator refuses float64",
    )
    for name, extents, axes in (
        ("default-axes", ("N", 2, 3, 4), (0, 2, 3)),
        ("instance", ("N", 2, "H3", 4), (2, 3)),
        ("layer", ("N", 2, 3, 4), (1, -2, 3)),
        ("matrix", ("N", 5), (1,)),
    )
]

CASES = [*BATCH, *TRAINING, *LAYER, *RMS, *INSTANCE, *GROUP, *LRN, *LP, *MEAN_VARIANCE]
