"""Convolutions with strides: the three forms of their input gradients equal those as transposed convolutions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from onnxplain.autodiff import differentiate
from onnxplain.autodiff.forms.depthwise_strides import depthwise_strides
from onnxplain.autodiff.forms.order import PASSES
from onnxplain.autodiff.forms.phase_convolutions import phase_convolutions
from onnxplain.autodiff.forms.subpixel_images import subpixel_images
from onnxplain.autodiff.graph.passes import Report

from support.cases.base import Case, normal
from support.convolution_grid import GRID, fixed_weight
from support.gradient_passes import LEVELS, form_counts, gradient_operators, same_gradients

FORMS = {f.name: f for f in (depthwise_strides, phase_convolutions, subpixel_images)}


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Leave one pass for the CPU provider."""
    return lambda name: monkeypatch.setitem(PASSES, "cpu", (FORMS[name],))


def depthwise(case: Case) -> Case:
    """The case with a depthwise kernel of as many channels as its image."""
    x, w = case.inputs
    assert x is not None and w is not None and not isinstance(x, np.ndarray) and not isinstance(w, np.ndarray)
    channels = x.shape[1]
    assert isinstance(channels, int)
    attributes = {**case.attributes, "group": channels}
    return replace(case, inputs=(x, normal(channels, 1, *w.shape[2:])), attributes=attributes)


def square(case: Case) -> Case:
    """The case with one stride for both axes, and no dilation."""
    strides = [case.attributes["strides"][0]] * 2
    return replace(case, attributes={**case.attributes, "strides": strides, "dilations": [1, 1]})


STRIDED = [case for case in GRID if case.op == "Conv" and max(case.attributes["strides"]) > 1]
DENSE = [case for case in STRIDED if case.attributes["group"] == 1]
TWICE = [case for case in DENSE if max(case.attributes["strides"]) == 2]
IMAGES = [square(case) for case in DENSE if len(case.attributes["strides"]) == 2]
CASES = [
    *(("depthwise_strides", depthwise(case)) for case in STRIDED[::3]),
    *(("phase_convolutions", case) for case in TWICE[::2]),
    *(("subpixel_images", case) for case in IMAGES),
]


@pytest.mark.parametrize(("form", "case"), CASES, ids=[f"{form}-{case.id}" for form, case in CASES])
def test_same_gradient(only: Callable[[str], None], form: str, case: Case) -> None:
    only(form)
    same_gradients(fixed_weight(case))


def test_the_cases_are_many_and_mostly_rewritten(only: Callable[[str], None]) -> None:
    """A form that never fired would equal itself."""
    for form in FORMS:
        only(form)
        cases = [case for name, case in CASES if name == form]
        report = Report()
        for case in cases[::3]:
            model = fixed_weight(case).model(np.dtype(np.float32), None)
            differentiate(model, target="cotangent", form="cpu", report=report)
        fired, left = report.counts()[form]
        assert len(cases) >= 25 and fired >= 8 and fired >= left, (form, len(cases), fired, left)


def strided(
    before: int, after: int, group: int, extents: Any, kernel: Any, stride: Any, pads: Any, **rest: Any
) -> Case:
    w = np.random.default_rng(0).standard_normal((after, before // group, *kernel)).astype(np.float32)
    attributes = {"strides": stride, "pads": pads, "group": group, **rest}
    return Case("Conv", (normal("N", before, *extents), w), attributes)


STEM = product(
    [((16, 16), [2, 2]), ((17, 15), [2, 2]), (("H13", "W12"), [2, 2]), ((23, 22), [4, 4]), ((9, 12), [3, 3])],
    [[7, 7], [3, 3], [5, 2]],
    [[0, 0, 0, 0], [0, 0, 1, 1], [3, 1, 2, 4]],
)
SHAPES = [
    *(("subpixel_images", strided(3, 16, 1, e, k, s, p)) for (e, s), k, p in STEM),
    *(
        ("subpixel_images", strided(3, 16, 1, e, [16, 16], [16, 16], [0] * 4))
        for e in ((32, 32), (35, 47), ("H48", 32))
    ),
    *(
        ("subpixel_images", strided(3, 8, 1, e, k, [1, 1], p))
        for e, k, p in product(
            ((8, 8), (9, 7), (8, 5)), ([3, 3], [5, 2], [1, 3]), ([1, 1, 1, 1], [0, 0, 0, 0], [4, 0, 1, 3])
        )
    ),
    *(
        ("phase_convolutions", strided(16, 8, 1, e, k, [2, 2], p))
        for e, k, p in product(
            ((8, 8), (9, 7), ("H9", "W8")), ([3, 3], [1, 1], [5, 2], [7, 7]), ([1, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0])
        )
        if (max(k) > 1 or not any(p)) and (k, p, e[0]) != ([5, 2], [1, 1, 1, 1], "H9")
    ),
    *(
        ("phase_convolutions", strided(8, 8, 1, (9, 10), [3, 3], [2, 2], [2] * 4, dilations=d))
        for d in ([2, 2], [3, 2])
    ),
    ("phase_convolutions", strided(8, 8, 1, (9, 10), [3, 3], [2, 1], [1] * 4)),
    *(
        ("depthwise_strides", strided(16, 16, 16, e, k, s, p))
        for e, k, s, p in product(
            ((9, 8), ("H9", "W8"), (61, 57)), ([3, 3], [5, 5], [1, 1]), ([2, 2], [3, 1]), ([1, 1, 1, 1], [0, 0, 1, 1])
        )
    ),
]


@pytest.mark.parametrize(("form", "case"), SHAPES, ids=[f"{form}-{i}" for i, (form, _) in enumerate(SHAPES)])
def test_every_optimisation_level(only: Callable[[str], None], form: str, case: Case) -> None:
    only(form)
    model, report = same_gradients(case, LEVELS)
    assert form_counts(report) == {form: (1, 0)}
    assert form != "phase_convolutions" or "ConvTranspose" not in gradient_operators(model)


def test_the_file_does_not_grow() -> None:
    for case in (
        strided(64, 64, 1, (9, 9), [3, 3], [2, 2], [1] * 4),
        strided(3, 256, 1, (9, 9), [7, 7], [2, 2], [3] * 4),
        strided(512, 512, 512, (9, 9), [5, 5], [2, 2], [2] * 4),
    ):
        plain = case.model(np.dtype(np.float32), None)
        assert differentiate(plain, target="cotangent", form="cpu").ByteSize() < plain.ByteSize() + 8192


@pytest.mark.parametrize(
    ("case", "rewrite", "reason"),
    [
        (strided(3, 8, 1, ("H8", 8), [3, 3], [1, 1], [1] * 4), "subpixel_images", "the extents are only known when"),
        (strided(3, 8, 1, (8, 8), [3, 3], [2, 1], [1] * 4), "subpixel_images", "strides [2, 1]"),
        (strided(3, 8, 1, (8, 8), [3, 3], [2, 2], [1] * 4, dilations=[2, 1]), "subpixel_images", "dilations [2, 1]"),
        (strided(8, 8, 1, (9, 9), [3, 3], [3, 3], [1] * 4), "phase_convolutions", "strides [3, 3]"),
        (strided(8, 8, 1, (9, "W8"), [5, 2], [2, 2], [1] * 4), "phase_convolutions", "a phase may lie wholly in the"),
        (strided(8, 8, 1, ("H9", 9), [1, 1], [2, 2], [2] * 4), "phase_convolutions", "a phase may lie wholly in the"),
        (strided(8, 8, 2, (9, 9), [3, 3], [2, 2], [1] * 4), "flip_convolutions", "strides [2, 2] and no form for them"),
    ],
)
def test_left_alone(case: Case, rewrite: str, reason: str) -> None:
    report = Report()
    differentiate(case.model(np.dtype(np.float32), None), target="cotangent", form="cpu", report=report)
    reasons = {o.rewrite: o.reason for o in report.outcomes}
    assert (reasons[rewrite] or "").startswith(reason)
