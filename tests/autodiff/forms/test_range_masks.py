"""Masks of a range as one ramp equal comparisons, at every float that could tell them apart."""

from __future__ import annotations

import numpy as np
import pytest

from onnxplain.autodiff import differentiate
from onnxplain.autodiff.forms.order import PASSES
from onnxplain.autodiff.forms.range_masks import range_masks
from onnxplain.autodiff.graph.passes import Report

from support.cases.base import Case, among, normal
from support.gradient_passes import LEVELS, gradient_operators, run, same_gradients

NAME = "range_masks"
#: Below, a factor of the ramp is too small for 0 < v.
TINY = 2.0**-116
LARGE = float(np.finfo(np.float32).max)
RANGES = [(0.0, 6.0), (-1.0, 1.0), (0.5, 2.25), (-3.0, -1.0), (-6.0, 0.0), (0.0, 2.0**27)]


@pytest.fixture(autouse=True)
def _only_this_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PASSES, "cpu", (range_masks,))


def clip(low: float, high: float) -> Case:
    return Case("Clip", (normal("N", 7), np.array(low, np.float32), np.array(high, np.float32)))


@pytest.mark.parametrize("bounds", RANGES)
def test_same_gradient(bounds: tuple[float, float]) -> None:
    model, report = same_gradients(clip(*bounds), LEVELS)
    assert not {"Greater", "Less", "And", "Cast", "Where"} & set(gradient_operators(model))
    assert [o.reason for o in report.of(NAME)] == [None]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("bounds", RANGES)
def test_exact_beside_both_bounds(bounds: tuple[float, float], level: str) -> None:
    values = [0.0, -0.0, TINY, -TINY, 1e-30, -1e-30, LARGE, -LARGE, np.inf, -np.inf, 1.5, -1.5]
    for bound in bounds:
        at = np.float32(bound)
        values += [at, np.nextafter(at, np.float32(-np.inf)), np.nextafter(at, np.float32(np.inf))]
    points = np.array([v for v in values if v == 0 or abs(v) >= TINY], np.float32)
    case = clip(*bounds)
    model = Case(case.op, (among("N", wrt=True, values=points), *case.inputs[1:])).model(np.dtype(np.float32), None)
    feeds = {"x0": points, "cotangent": np.arange(1, len(points) + 1, dtype=np.float32)}
    before, after = (run(differentiate(model, target="cotangent", form=p), feeds, level) for p in ("portable", "cpu"))
    np.testing.assert_array_equal(after["grad_x0"], before["grad_x0"])
    inside = (points > np.float32(bounds[0])) & (points < np.float32(bounds[1]))
    np.testing.assert_array_equal(after["grad_x0"] != 0, inside)


@pytest.mark.parametrize("bounds", [(1e-3, 6.0), (0.0, 2.0**28), (-1.0, 1e-20)])
def test_other_bounds_are_left_alone(bounds: tuple[float, float]) -> None:
    report = Report()
    model = clip(*bounds).model(np.dtype(np.float32), None)
    after = differentiate(model, target="cotangent", wrt="x0", form="cpu", report=report)
    assert {"Greater", "Less"} <= set(gradient_operators(after))
    assert "out of range" in (report.of(NAME)[0].reason or "")


def test_only_the_form_for_openvino_has_it() -> None:
    assert [name for name, passes in PASSES.items() if range_masks in passes] == ["cpu", "openvino"]
