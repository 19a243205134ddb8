"""Cases of activation functions. ``WIDE`` reaches ±100, where e^x leaves float32: nothing may overflow."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional

from .base import Case, Input, among, normal

WIDE = among("N", 40, values=[-100, -30, -10, -3.3, -1, -0.3, 0.25, 0.7, 2, 8, 30, 100])


def _elementwise(op: str, function: Any, name: str = "", **options: Any) -> list[Case]:
    """Ordinary values, large ones, and a shape with symbolic and empty extents."""
    inputs: dict[str, Input] = {"": normal("N", 3, "W5"), "wide": WIDE, "empty": normal("N", 0, 2)}
    return [
        Case(op, (x,), name="-".join(part for part in (name, kind) if part), torch=function, **options)
        for kind, x in inputs.items()
    ]


def _kinks(op: str, function: Any, values: list[float], **options: Any) -> Case:
    return Case(op, (among("N", 30, values=values),), name="kinks", torch=function, tie_free=False, **options)


def _selu(alpha: float, gamma: float) -> Any:
    return lambda x: gamma * torch.where(x > 0, x, alpha * (torch.exp(torch.clamp(x, max=0)) - 1))


def _shrink(bias: float, lambd: float) -> Any:
    return lambda x: torch.where(x < -lambd, x + bias, torch.where(x > lambd, x - bias, 0 * x))


PIECEWISE = [
    *_elementwise("Relu", torch.relu),
    _kinks("Relu", torch.relu, [-1, 0, 1]),
    *_elementwise("LeakyRelu", lambda x: functional.leaky_relu(x, 0.01)),
    *_elementwise("LeakyRelu", lambda x: functional.leaky_relu(x, 0.3), "slope", attributes={"alpha": 0.3}),
    *_elementwise("LeakyRelu", lambda x: functional.leaky_relu(x, -0.5), "negative", attributes={"alpha": -0.5}),
    *_elementwise("LeakyRelu", lambda x: functional.leaky_relu(x, 2.0), "steep", attributes={"alpha": 2.0}),
    _kinks("LeakyRelu", lambda x: functional.leaky_relu(x, 0.01), [-1, 0, 1]),
    Case(
        "PRelu",
        (normal("N", 3, 4, 4), normal(3, 1, 1)),
        name="channels",
        torch=lambda x, s: functional.prelu(x, s.view(3)),
    ),
    Case("PRelu", (normal("N", 3), normal(1)), name="one", torch=functional.prelu),
    Case("PRelu", (normal("N", 3, 4), normal("N", 3, 4)), name="full", torch=lambda x, s: torch.where(x > 0, x, s * x)),
    Case(
        "PRelu", (normal("N", 3, 4), np.full((4,), 0.2)), name="constant", torch=lambda x: functional.leaky_relu(x, 0.2)
    ),
    Case(
        "PRelu",
        (among("N", 3, 8, values=[-1, 0, 1]), normal(3, 1)),
        name="kinks",
        torch=lambda x, s: functional.prelu(x, s.view(3)),
        tie_free=False,
    ),
    *_elementwise("ThresholdedRelu", lambda x: functional.threshold(x, 0.5, 0.0), attributes={"alpha": 0.5}),
    Case("ThresholdedRelu", (normal("N", 9),), name="default", torch=lambda x: functional.threshold(x, 1.0, 0.0)),
    _kinks("ThresholdedRelu", lambda x: functional.threshold(x, 1.0, 0.0), [0, 1, 2]),
    *_elementwise("Shrink", functional.hardshrink),
    *_elementwise("Shrink", functional.softshrink, "soft", attributes={"lambd": 0.5, "bias": 0.5}),
    *_elementwise("Shrink", _shrink(0.3, -0.2), "negative", attributes={"lambd": -0.2, "bias": 0.3}),
    _kinks("Shrink", functional.hardshrink, [-1, -0.5, 0, 0.5, 1]),
    *_elementwise("HardSigmoid", lambda x: torch.clamp(0.2 * x + 0.5, 0, 1)),
    *_elementwise("HardSigmoid", functional.hardsigmoid, "torch", attributes={"alpha": 1 / 6, "beta": 0.5}),
    _kinks("HardSigmoid", functional.hardsigmoid, [-4, -3, 0, 3, 4], attributes={"alpha": 1 / 6, "beta": 0.5}),
    *_elementwise("HardSwish", functional.hardswish),
    _kinks("HardSwish", functional.hardswish, [-4, -3, 0, 3, 4]),
]

SMOOTH = [
    *_elementwise("Elu", functional.elu),
    *_elementwise("Elu", lambda x: functional.elu(x, 1.7), "alpha", attributes={"alpha": 1.7}),
    *_elementwise("Elu", lambda x: functional.elu(x, -0.4), "negative", attributes={"alpha": -0.4}),
    _kinks("Elu", lambda x: functional.elu(x, 1.7), [-1, 0, 1], attributes={"alpha": 1.7}),
    *_elementwise("Selu", functional.selu),
    *_elementwise("Selu", _selu(0.7, 1.3), "attributes", attributes={"alpha": 0.7, "gamma": 1.3}),
    _kinks("Selu", functional.selu, [-1, 0, 1]),
    *_elementwise("Celu", functional.celu),
    *_elementwise("Celu", lambda x: functional.celu(x, 0.6), "alpha", attributes={"alpha": 0.6}),
    *_elementwise("Tanh", torch.tanh),
    *_elementwise("Sigmoid", torch.sigmoid),
    *_elementwise("Softplus", functional.softplus),
    *_elementwise("Softsign", functional.softsign),
    *_elementwise("Swish", functional.silu, opset=24),
    *_elementwise("Swish", lambda x: x * torch.sigmoid(1.702 * x), "alpha", opset=24, attributes={"alpha": 1.702}),
    *_elementwise("Mish", functional.mish),
    *_elementwise(
        "Gelu", functional.gelu, opset=20, reference=False, note="the reference evaluator's Erf returns float32"
    ),
    *_elementwise(
        "Gelu",
        lambda x: functional.gelu(x, approximate="tanh"),
        "tanh",
        opset=20,
        attributes={"approximate": "tanh"},
    ),
]

SOFTMAX = [
    case
    for op, function in (("Softmax", functional.softmax), ("LogSoftmax", functional.log_softmax))
    for case in (
        Case(op, (normal("N", 5),), torch=lambda x, f=function: f(x, -1)),
        Case(op, (normal("N", 5, "W3"),), {"axis": 1}, "axis-1", torch=lambda x, f=function: f(x, 1)),
        Case(op, (normal("N", 5, 3),), {"axis": -2}, "axis-negative", torch=lambda x, f=function: f(x, -2)),
        Case(op, (normal(5, "N"),), {"axis": 0}, "axis-0", torch=lambda x, f=function: f(x, 0)),
        Case(op, (normal("N", 4, "W1"),), name="one-element", torch=lambda x, f=function: f(x, -1)),
        Case(op, (WIDE,), name="wide", torch=lambda x, f=function: f(x, -1)),
        Case(op, (among("N", 6, values=[0]),), name="uniform", torch=lambda x, f=function: f(x, -1)),
    )
]

CASES = [*PIECEWISE, *SMOOTH, *SOFTMAX]
