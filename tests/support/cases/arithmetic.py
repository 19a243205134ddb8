"""Cases of elementwise arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .base import Case, Input, among, distinct, normal, positive, uniform

WIDE = uniform("N", 40, low=-100.0, high=100.0)
BINARY_MIN_MAX: dict[str, Any] = {"Max": torch.maximum, "Min": torch.minimum}


def _unary(op: str, function: Any, *inputs: Input, **options: Any) -> list[Case]:
    """One case per input; the first of them unnamed."""
    return [Case(op, (x,), name=f"domain-{i}" if i else "", torch=function, **options) for i, x in enumerate(inputs)]


def _fraction(base: float) -> Any:
    return lambda x: torch.pow(torch.tensor(base, dtype=torch.float64), x)


ADD = [
    Case("Add", (normal("N", 3, 4), normal("N", 3, 4)), name="same", torch=torch.add),
    Case("Add", (normal("N", 3, 4), normal(3, 1)), name="broadcast-right", torch=torch.add),
    Case("Add", (normal(4), normal("N", 3, 4)), name="broadcast-left", torch=torch.add),
    Case("Add", (normal("N", 1, 4), normal(1, 3, 1)), name="broadcast-both", torch=torch.add),
    Case("Add", (normal("N", 3), normal()), name="scalar", torch=torch.add),
    Case("Add", (normal("N", 0, 4), normal(4)), name="empty", torch=torch.add),
    Case("Add", (normal(1, 3), normal("N", 3)), name="one-against-batch", torch=torch.add),
    Case("Add", (normal("N", "C3", "W5"), normal("C3", 1)), name="symbolic", torch=torch.add),
    Case("Sum", (normal("N", 3), normal(3), normal(1, 1)), name="three", torch=lambda a, b, c: a + b + c),
    Case("Sum", (normal("N", 3),), name="one", torch=lambda a: a.clone()),
    Case("Mean", (normal("N", 3), normal(3), normal(1, 1)), name="three", torch=lambda a, b, c: (a + b + c) / 3),
    Case("Mean", (normal("N", 3),), name="one", torch=lambda a: a.clone()),
    Case("Sub", (normal("N", 3, 4), normal(3, 1)), name="broadcast", torch=torch.sub),
    Case("Mul", (normal("N", 3, 4), normal("N", 1, 4)), name="broadcast", torch=torch.mul),
    Case("Mul", (normal("N", 3), np.array(2.5)), name="constant", torch=lambda a: a * 2.5),
    Case("Div", (normal("N", 3, 4), positive(3, 1)), name="broadcast", torch=torch.div),
    Case("Div", (normal(1), positive("N", 3)), name="broadcast-numerator", torch=torch.div),
]

MOD = [
    Case("Mod", (normal("N", 3, 4), uniform(3, 1, low=0.3, high=0.6)), {"fmod": 1}, "broadcast", torch=torch.fmod),
    Case("Mod", (normal("N", 5), np.array([-0.7])), {"fmod": 1}, "constant", torch=lambda a: torch.fmod(a, -0.7)),
    Case(
        "Mod",
        (uniform("N", 5, low=-900.0, high=900.0), uniform("N", 5, low=-7.0, high=-3.0)),
        {"fmod": 1},
        "large-quotient",
        torch=torch.fmod,
    ),
    Case("Mod", (normal("N", 3, 4), uniform(3, 1, low=0.3, high=0.6)), {}, "floor", opset=28, torch=torch.remainder),
]

POW = [
    *(
        Case("Pow", (normal("N", 7), np.array(p)), name=f"exponent-{p:g}", torch=lambda x, p=p: torch.pow(x, p))
        for p in (0.0, 1.0, 2.0, 3.0, -1.0, -2.0)
    ),
    *(
        Case("Pow", (positive("N", 7), np.array([p])), name=f"root{p:g}", torch=lambda x, p=p: torch.pow(x, p))
        for p in (0.5, -0.5, 2.3)
    ),
    Case("Pow", (normal("N", 7), np.array([[[1.0]]])), name="exponent-adds-an-axis", torch=lambda x: x[None]),
    Case("Pow", (normal("N", 7), np.array(3, np.int64)), name="int64-exponent", torch=lambda x: x**3),
    Case("Pow", (normal("N", 7), np.array(2, np.int32)), name="int32-exponent", torch=lambda x: x**2),
    Case(
        "Pow",
        (normal("N", 4), np.array([0, 1, 2, 3], np.int64)),
        name="run-time-integers",
        runtime=(1,),
        torch=lambda x: x ** torch.tensor([0, 1, 2, 3]),
    ),
    Case(
        "Pow",
        (normal("N", 5), np.array([0.0, 1.0, 2.0, -1.0, -3.0])),
        name="several-exponents",
        torch=lambda x: x ** torch.tensor([0.0, 1.0, 2.0, -1.0, -3.0], dtype=torch.float64),
    ),
    Case("Pow", (positive("N", 3, 4), normal(3, 1)), name="both", torch=torch.pow),
    Case("Pow", (np.array(2.0), normal("N", 5)), name="constant-base", torch=_fraction(2.0)),
    Case("Pow", (positive("N", 3), among("N", 3, values=[0, 1, 2])), name="both-integral", torch=torch.pow),
    Case(
        "Pow",
        (among("N", 6, values=[0, 1]), among("N", 6, values=[0, 1, 2, 3])),
        name="zero-base",
        torch=torch.pow,
        tie_free=False,
    ),
    Case(
        "Pow",
        (among("N", 6, values=[-2, 0, 3]), np.array([0.0, 1.0, 2.0, 3.0, 2.0, 1.0])),
        name="zero-and-negative-base",
        torch=lambda x: x ** torch.tensor([0.0, 1.0, 2.0, 3.0, 2.0, 1.0], dtype=torch.float64),
        tie_free=False,
    ),
]

EXTREMA = [
    case
    for op, function in BINARY_MIN_MAX.items()
    for case in (
        Case(op, (distinct("N", 3, 4), normal(3, 1)), name="broadcast", torch=function),
        Case(op, (normal("N", 5), np.array(0.0)), name="constant", torch=lambda x, f=function: f(x, x.new_zeros(()))),
        Case(
            op,
            (among("N", 3, 4, values=[0, 1]), among("N", 1, 4, values=[0, 1])),
            name="ties",
            torch=function,
            tie_free=False,
        ),
        Case(op, (normal("N", 3), normal(3), normal(1, 1), normal()), name="four"),
        Case(
            op,
            (among("N", 6, values=[0, 1]), among("N", 6, values=[0, 1]), among("N", 6, values=[0, 1])),
            name="three-with-ties",
            torch=lambda *v, op=op: getattr(torch.stack(v), f"a{op.lower()}")(0),
            tie_free=False,
        ),
        Case(op, (normal("N", 3),), name="one", torch=lambda a: a.clone()),
    )
]

CLIP = [
    Case("Clip", (normal("N", 9), np.array(-0.5), np.array(0.7)), name="constants", torch=lambda x: x.clamp(-0.5, 0.7)),
    Case("Clip", (normal("N", 9), np.array(-0.5)), name="low-only", torch=lambda x: x.clamp(min=-0.5)),
    Case("Clip", (normal("N", 9), None, np.array(0.7)), name="high-only", torch=lambda x: x.clamp(max=0.7)),
    Case("Clip", (normal("N", 9),), name="no-bound", torch=lambda x: x.clone()),
    Case(
        "Clip",
        (normal("N", 9), uniform(low=-0.6, high=-0.5), uniform(low=0.5, high=0.6)),
        name="bounds-differentiated",
        torch=torch.clamp,
    ),
    Case("Clip", (normal("N", 9), uniform(low=-0.6, high=-0.5)), name="low-differentiated", torch=torch.clamp),
    Case(
        "Clip",
        (normal("N", 9), None, uniform(low=0.5, high=0.6)),
        name="high-differentiated",
        torch=lambda x, high: x.clamp(max=high),
    ),
    Case(
        "Clip",
        (normal("N", 9), np.array(-0.5), np.array(0.7)),
        name="bounds-at-run-time",
        runtime=(1, 2),
        torch=lambda x: x.clamp(-0.5, 0.7),
    ),
    Case(
        "Clip",
        (normal("N", 9), uniform(low=0.5, high=0.6), uniform(low=-0.6, high=-0.5)),
        name="bounds-crossed",
        torch=torch.clamp,
    ),
    Case(
        "Clip",
        (among("N", 30, values=[-1, 0, 3, 6, 7]), np.array(0.0), np.array(6.0)),
        name="at-the-bounds",
        torch=torch.nn.functional.relu6,
        tie_free=False,
    ),
    Case(
        "Clip",
        (uniform("N", 9, low=7.0, high=8.0), among(values=[2]), among(values=[2])),
        name="bounds-equal",
        torch=lambda x, low, high: 0 * x + high,
        tie_free=False,
        note="the high bound takes the whole gradient",
    ),
]


def _where(condition: np.ndarray) -> Any:
    return lambda a, b: torch.where(torch.tensor(condition), a, b)


MASK = np.array([[True], [False], [True]])
WHERE = [
    Case("Where", (MASK, normal("N", 3, 4), normal("N", 3, 4)), name="same", torch=_where(MASK)),
    Case("Where", (MASK, normal(4), normal("N", 1, 1)), name="broadcast", torch=_where(MASK)),
    Case("Where", (MASK, normal("N", 3, 4), normal()), name="scalar", runtime=(0,), torch=_where(MASK)),
    Case(
        "Where",
        (MASK, normal("N", 3, 4), np.array(-1.0)),
        name="constant",
        torch=lambda a: torch.where(torch.tensor(MASK), a, -1.0),
    ),
]

UNARY = [
    *_unary("Neg", torch.neg, normal("N", 3)),
    *_unary("Abs", torch.abs, normal("N", 9)),
    Case("Abs", (among("N", 9, values=[-1, 0, 1]),), name="zero", torch=torch.abs, tie_free=False),
    *_unary("Reciprocal", torch.reciprocal, positive("N", 9), uniform("N", 9, low=-2.0, high=-0.5)),
    *_unary("Sqrt", torch.sqrt, positive("N", 9), uniform("N", 9, low=1e-3, high=1e-2)),
    *_unary("Exp", torch.exp, normal("N", 9), uniform("N", 9, low=-80.0, high=-5.0)),
    *_unary("Log", torch.log, positive("N", 9), uniform("N", 9, low=50.0, high=1e5)),
    *_unary("Erf", torch.erf, normal("N", 9), WIDE, reference=False, note="the reference evaluator returns float32"),
    *_unary("Sin", torch.sin, normal("N", 9)),
    *_unary("Cos", torch.cos, normal("N", 9)),
    *_unary("Tan", torch.tan, uniform("N", 9, low=-1.3, high=1.3)),
    *_unary("Asin", torch.asin, uniform("N", 9, low=-0.95, high=0.95)),
    *_unary("Acos", torch.acos, uniform("N", 9, low=-0.95, high=0.95)),
    *_unary("Atan", torch.atan, normal("N", 9), WIDE),
    *_unary("Sinh", torch.sinh, normal("N", 9)),
    *_unary("Cosh", torch.cosh, normal("N", 9)),
    *_unary("Asinh", torch.asinh, normal("N", 9), WIDE),
    *_unary("Acosh", torch.acosh, uniform("N", 9, low=1.05, high=4.0), uniform("N", 9, low=10.0, high=100.0)),
    *_unary("Atanh", torch.atanh, uniform("N", 9, low=-0.95, high=0.95)),
]

CASES = [*ADD, *MOD, *POW, *EXTREMA, *CLIP, *WHERE, *UNARY]
