"""Operators of floats whose derivative is zero almost everywhere, or that return no float."""

from __future__ import annotations

from ..reverse.registry import zero

zero(
    "And", "ArgMax", "ArgMin", "Ceil", "ConstantOfShape", "Equal", "EyeLike", "Floor", "Greater", "GreaterOrEqual",
    "Hardmax", "IsInf", "IsNaN", "Less", "LessOrEqual", "NonZero", "Not", "Or", "RandomNormalLike",
    "RandomUniformLike", "Round", "Shape", "Sign", "Size", "Xor",
)  # fmt: skip
