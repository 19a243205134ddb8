"""Convolutions with stride 1: their input gradients as convolutions equal those as transposed convolutions."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from onnxplain.autodiff import differentiate
from onnxplain.autodiff.forms.flip_convolutions import flip_convolutions
from onnxplain.autodiff.forms.order import PASSES
from onnxplain.autodiff.graph.passes import Report

from support.cases.base import Case, normal
from support.convolution_grid import GRID, fixed_weight
from support.gradient_passes import LEVELS, gradient_operators, same_gradients, same_outputs
from support.small_models import FLOAT, build

NAME = "flip_convolutions"


@pytest.fixture(autouse=True)
def _only_this_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PASSES, "cpu", (flip_convolutions,))


def unit_stride(case: Case) -> bool:
    return case.op == "Conv" and set(case.attributes["strides"]) == {1}


CASES = [fixed_weight(case) for case in GRID if unit_stride(case)]


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_same_gradient(case: Case) -> None:
    model, report = same_gradients(case)
    assert "ConvTranspose" not in gradient_operators(model)
    assert [o.reason for o in report.of(NAME)] == [None]


def test_the_cases_are_many() -> None:
    assert len(CASES) >= 80
    assert {case.attributes["group"] for case in CASES} == {1, 2, 3}


SHAPES = [
    pytest.param(6, 6, 6, [3, 3], [1, 2, 0, 1], [1, 2], id="depthwise"),
    pytest.param(3, 6, 3, [3, 2], [0, 1, 2, 1], [2, 1], id="depthwise with two outputs a channel"),
    pytest.param(4, 6, 2, [1, 1], [1, 1, 1, 1], [1, 1], id="pads beyond the kernel"),
    pytest.param(4, 4, 1, [2, 1], [3, 0, 0, 2], [1, 1], id="pads beyond the kernel on one side"),
    pytest.param(3, 5, 1, [5, 5], [2, 2, 2, 2], [1, 1], id="dense"),
]


@pytest.mark.parametrize("extents", [(9, 7), ("H9", "W7")], ids=["static", "symbolic"])
@pytest.mark.parametrize(("before", "after", "group", "kernel", "pads", "dilations"), SHAPES)
def test_every_optimisation_level(
    before: int, after: int, group: int, kernel: list[int], pads: list[int], dilations: list[int], extents: tuple[int]
) -> None:
    w = np.random.default_rng(0).standard_normal((after, before // group, *kernel)).astype(np.float32)
    attributes = {"pads": pads, "dilations": dilations, "group": group}
    case = Case("Conv", (normal("N", before, *extents), w), attributes, name="levels")
    model, _ = same_gradients(case, LEVELS)
    assert "ConvTranspose" not in gradient_operators(model)


def test_the_file_does_not_grow() -> None:
    w = np.random.default_rng(0).standard_normal((64, 64, 3, 3)).astype(np.float32)
    plain = Case("Conv", (normal("N", 64, 8, 8), w), {"pads": [1, 1, 1, 1]}).model(np.dtype(np.float32), None)
    assert differentiate(plain, target="cotangent", form="cpu").ByteSize() < plain.ByteSize() + 4096


def test_a_weight_that_is_an_input_is_left_alone() -> None:
    case = Case("Conv", (normal("N", 3, 5, 5), normal(2, 3, 3, 3)))
    report = Report()
    differentiate(case.model(np.dtype(np.float32), None), target="cotangent", wrt="x0", form="cpu", report=report)
    assert [o.reason for o in report.of(NAME)] == ["the weight is computed while the model runs"]
    assert str(report.of(NAME)[0]).startswith("flip_convolutions: grad/node/ConvTranspose: left alone: the weight")
    assert report.counts()[NAME] == (0, 1)


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
def test_quantised_weights(kind: type) -> None:
    """A weight of 8 bits behind DequantizeLinear, one scale a channel: nothing else is stored."""
    rng = np.random.default_rng(4)
    limits = np.iinfo(kind)
    constants = {
        "q": rng.integers(limits.min, limits.max, (64, 64, 3, 3)).astype(kind),
        "s": rng.uniform(0.01, 0.02, 64).astype(np.float32),
        "z": np.zeros(64, kind),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0, name="weight"),
        helper.make_node("Conv", ["x", "w"], ["y"], name="conv", pads=[1, 0, 1, 2]),
    ]
    plain = build(nodes, [("x", FLOAT, ["N", 64, 6, 5])], [("y", FLOAT, ["N", 64, 6, 5])], constants)
    feeds = {"x": rng.standard_normal((2, 64, 6, 5)), "cotangent": rng.standard_normal((2, 64, 6, 5))}
    model, _ = same_outputs(plain, {k: v.astype(np.float32) for k, v in feeds.items()}, target="cotangent")
    assert "ConvTranspose" not in gradient_operators(model)
    assert model.ByteSize() < plain.ByteSize() + 8192
