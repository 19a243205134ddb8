"""Max pooling without indices: comparing with the maximum equals the scatter, with ties and open extents too."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from onnxplain.autodiff import differentiate
from onnxplain.autodiff.forms.compare_maxima import compare_maxima
from onnxplain.autodiff.forms.order import PASSES
from onnxplain.autodiff.graph.passes import Report

from support.cases.base import Case, among, normal
from support.gradient_passes import LEVELS, gradient_operators, same_gradients

NAME = "compare_maxima"


@pytest.fixture(autouse=True)
def _only_this_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PASSES, "cpu", (compare_maxima,))


def pool(extents: tuple[Any, ...], kernel: list[int], **rest: Any) -> Case:
    return Case("MaxPool", (normal("N", 3, *extents),), {"kernel_shape": kernel, **rest})


def tied(case: Case) -> Case:
    return replace(case, inputs=(among(*case.inputs[0].shape, values=[0.0, 1.0]),))


CASES = [
    pool((8, 6), [2, 2], strides=[2, 2]),
    pool((9, 7), [2, 2], strides=[2, 2]),
    pool((9, 8), [3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    pool((7, 9), [3, 2], strides=[2, 1], pads=[1, 0, 0, 1]),
    pool((8, 7), [5, 3], strides=[1, 1], pads=[2, 1, 2, 1]),
    pool((9, 9), [3, 3], strides=[2, 2], ceil_mode=1),
    pool((10, 8), [3, 3], strides=[2, 2], ceil_mode=1),
    pool((5, 4), [5, 5], strides=[1, 1], pads=[4, 4, 4, 4]),
    pool((2, 3), [7, 5], strides=[2, 3], ceil_mode=1, pads=[3, 2, 3, 2]),
    pool((10, 8), [3, 3], strides=[3, 2], ceil_mode=1, pads=[1, 1, 1, 1]),
    pool((9, 9), [2, 2], strides=[3, 3]),
    pool((9, 9), [1, 1], strides=[2, 2]),
    pool((11, 9), [3, 2], strides=[2, 2], dilations=[2, 3]),
    pool((9, 8), [3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    pool((8, 7), [3, 2], strides=[2, 1], auto_pad="SAME_LOWER"),
    pool(("H9", "W8"), [3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    pool(("H9", "W10"), [3, 2], strides=[2, 2], ceil_mode=1),
    pool(("H9", "W8"), [3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    pool(("H9", "W8"), [5, 5], strides=[1, 1], pads=[2, 2, 2, 2]),
    pool((9,), [3], strides=[2], pads=[1, 1]),
    pool((5, 6, 4), [2, 3, 2], strides=[1, 2, 2], pads=[0, 1, 0, 0, 1, 0]),
    pool((6, 6), [2, 2], strides=[2, 2], storage_order=1),
]


def name_of(case: Case) -> str:
    """The extents and attributes, which every process writes alike."""
    return f"{case.inputs[0].shape}-{case.attributes}"


@pytest.mark.parametrize("case", CASES, ids=name_of)
@pytest.mark.parametrize("ties", [False, True])
def test_same_gradient(case: Case, ties: bool) -> None:
    model, report = same_gradients(tied(case) if ties else case)
    assert report.counts()[NAME] == (1, 0)
    assert "ScatterElements" not in gradient_operators(model)
    assert all(len(node.output) == 1 for node in model.graph.node)


@pytest.mark.parametrize("case", CASES[:3], ids=name_of)
def test_at_every_level_of_optimisation(case: Case) -> None:
    same_gradients(tied(case), LEVELS)


@pytest.mark.parametrize("case", [CASES[2], CASES[4]], ids=name_of)
def test_half_precision_is_left_alone(case: Case) -> None:
    report = Report()
    model = case.model(np.dtype(np.float16), None)
    assert "ScatterElements" in gradient_operators(
        differentiate(model, target="cotangent", form="portable", report=report)
    )
    assert [outcome.reason for outcome in report.of("compare_maxima")] == [
        "the roundings of half precision may be dropped before the comparison"
    ]


def test_comparisons_grow_with_the_sides_of_a_window() -> None:
    model = differentiate(
        pool((20, 20), [13, 13], pads=[6] * 4).model(np.dtype(np.float32), None), target="cotangent", form="cpu"
    )
    assert gradient_operators(model).count("Equal") == 2 * 12


def test_all_of_the_gradient_arrives() -> None:
    """Each window hands its whole gradient on, to one position."""
    case = tied(pool((8, 8), [3, 3], strides=[2, 2], pads=[1, 1, 1, 1]))
    model, _ = same_gradients(case)
    operators = gradient_operators(model)
    assert operators.count("MaxPool") == 1 + 2 * 2  # of the rows, and of one and two taps along each axis
    assert operators.count("ScatterElements") == 0


def test_windows_that_end_behind_the_image_need_no_more_room() -> None:
    """The last tap of the last window lies in the padding of ceil_mode: nothing is padded there, nor cut off again."""
    model, _ = same_gradients(tied(pool((8, 6), [3, 3], strides=[2, 2], ceil_mode=1)))
    operators = gradient_operators(model)
    assert operators.count("Pad") == 2  # what the third taps got, a block later
    assert operators.count("Slice") == 2  # of that, what lies in the image


def test_the_portable_form_has_it() -> None:
    assert compare_maxima in PASSES["portable"]
    assert not any(compare_maxima in PASSES[name] for name in ("cpu_shared", "cuda"))
