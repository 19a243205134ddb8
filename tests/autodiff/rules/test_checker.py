"""The checker itself: rules that are slightly wrong must fail in each of its ways."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import onnx_ir as ir
import pytest
import torch

from onnxplain.autodiff.graph.emitter import Emitter
from onnxplain.autodiff.graph.operator import Operator
from onnxplain.autodiff.reverse import registry
from onnxplain.autodiff.reverse.registry import Gradients, Rule

from support.cases.base import Case, normal
from support.checker import GradientMismatch, check

MULTIPLY = Case("Mul", (normal("N", 3, 4), normal(3, 1)), torch=torch.mul)
NEGATE = Case("Neg", (normal("N", 5),), torch=torch.neg)


@contextmanager
def replaced(op_type: str, rule: Rule) -> Iterator[None]:
    versions = registry._REGISTRY["", op_type]
    before = dict(versions)
    versions.update({v: replace(r, rule=rule) for v, r in before.items()})
    try:
        yield
    finally:
        versions.update(before)


def scaled(factor: float) -> Rule:
    def rule(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
        return emit.Mul(emit.Neg(dy), factor)

    return rule


@pytest.mark.parametrize("case", [NEGATE, replace(NEGATE, torch=None), replace(NEGATE, tie_free=False)])
def test_a_rule_wrong_by_a_tenth_of_a_percent_fails(case: Case) -> None:
    check(case)
    with replaced("Neg", scaled(1.001)), pytest.raises(GradientMismatch):
        check(case)


def test_a_rule_with_the_wrong_sign_fails() -> None:
    with replaced("Neg", scaled(-1.0)), pytest.raises(GradientMismatch):
        check(NEGATE)


def test_a_rule_with_swapped_operands_fails() -> None:
    def swapped(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
        return [emit.Mul(dy, node.input(0)), emit.Mul(dy, node.input(1))]

    with replaced("Mul", swapped), pytest.raises(GradientMismatch):
        check(MULTIPLY)


def test_a_missing_gradient_fails() -> None:
    def missing(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
        return [emit.Mul(dy, node.input(1)), None]

    with replaced("Mul", missing), pytest.raises(GradientMismatch):
        check(MULTIPLY)


def test_a_case_compared_with_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="compared with nothing"):
        check(replace(NEGATE, torch=None, tie_free=False))
