"""Max pooling without overlaps: MaxUnpool equals the scatter, ties and all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from onnxplain.autodiff import differentiate
from onnxplain.autodiff.forms.order import PASSES
from onnxplain.autodiff.forms.unpool_maxima import unpool_maxima
from onnxplain.autodiff.graph.passes import Report

from support.cases.base import Case, among, normal
from support.gradient_passes import LEVELS, gradient_operators, same_gradients

NAME = "unpool_maxima"


@pytest.fixture(autouse=True)
def _only_this_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PASSES, "cpu", (unpool_maxima,))


def pool(extents: tuple[Any, ...], kernel: list[int], **rest: Any) -> Case:
    return Case("MaxPool", (normal("N", 5, *extents),), {"kernel_shape": kernel, **rest})


@pytest.mark.parametrize("extents", [(8, 6), (9, 7), ("H9", "W8")])
@pytest.mark.parametrize(
    ("kernel", "strides", "pads"),
    [([2, 2], [2, 2], None), ([2, 2], [2, 2], [1, 0, 0, 1]), ([2, 1], [3, 1], None), ([3, 2], [3, 2], [0, 1, 1, 0])],
)
@pytest.mark.parametrize("ties", [False, True])
def test_same_gradient(extents: tuple[Any, ...], kernel: list[int], strides: list[int], pads: Any, ties: bool) -> None:
    case = pool(extents, kernel, strides=strides, **({} if pads is None else {"pads": pads}))
    if ties:
        case = replace(case, inputs=(among("N", 5, *extents, values=[0.0, 1.0]),))
    model, report = same_gradients(case, LEVELS)
    assert "MaxUnpool" in gradient_operators(model) and "ScatterElements" not in gradient_operators(model)
    assert report.counts()[NAME] == (1, 0)


@pytest.mark.parametrize("case", [Case("MaxPool", (normal("N", 2, 9),), {"kernel_shape": [3], "strides": [3]})])
def test_one_axis(case: Case) -> None:
    model, _ = same_gradients(case)
    assert "MaxUnpool" in gradient_operators(model)


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (pool((8, 8), [3, 3], strides=[2, 2]), "windows overlap"),
        (pool((9, 9), [2, 2], strides=[2, 2], ceil_mode=1), "ceil_mode, auto_pad or dilations"),
        (pool((9, 9), [2, 2], strides=[2, 2], auto_pad="SAME_UPPER"), "ceil_mode, auto_pad or dilations"),
        (pool((2, 4), [2, 2], strides=[3, 3], pads=[1, 0, 1, 0]), "windows are not wider than their padding"),
    ],
)
def test_left_alone(case: Case, reason: str) -> None:
    report = Report()
    model = differentiate(case.model(np.dtype(np.float32), None), target="cotangent", form="cpu", report=report)
    assert "MaxUnpool" not in gradient_operators(model)
    assert [o.reason for o in report.of(NAME)] == [reason]


def test_a_single_window_as_wide_as_its_padding() -> None:
    case = Case("MaxPool", (normal("N", 2, 2),), {"kernel_shape": [2], "strides": [3], "pads": [1, 1]})
    same_gradients(case, LEVELS)
