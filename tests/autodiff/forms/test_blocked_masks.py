"""Masks as saturated ramps equal comparisons, at every float that could tell them apart."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from onnxplain.autodiff import differentiate
from onnxplain.autodiff.forms.blocked_masks import blocked_masks
from onnxplain.autodiff.forms.order import PASSES
from onnxplain.autodiff.graph.passes import Report

from support.cases.base import Case, among, normal
from support.gradient_passes import LEVELS, gradient_operators, run, same_gradients
from support.small_models import FLOAT, build

NAME = "blocked_masks"


@pytest.fixture(autouse=True)
def _only_this_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PASSES, "cpu", (blocked_masks,))


TINY = float(np.finfo(np.float32).tiny)
LARGE = float(np.finfo(np.float32).max)


def clip(low: float | None, high: float | None) -> tuple[np.ndarray | None, ...]:
    return tuple(None if bound is None else np.array(bound, np.float32) for bound in (low, high))


KINKS = {
    "Relu": (Case("Relu", (normal("N", 5, 3, 4),)), 0.0, None),
    "ThresholdedRelu": (Case("ThresholdedRelu", (normal("N", 5),), {"alpha": 0.75}), 0.75, None),
    "Clip-0-6": (Case("Clip", (normal("N", 16, 5, 7), *clip(0, 6))), 0.0, 6.0),
    "Clip-3": (Case("Clip", (normal("N", 5), *clip(None, 3))), None, 3.0),
    "Clip--1-1": (Case("Clip", (normal("N", 5), *clip(-1, 1))), -1.0, 1.0),
    "Clip--0.1-0.1": (Case("Clip", (normal("N", 5), *clip(-0.1, 0.1))), -0.1, 0.1),
    "Clip--2.5e7-1e-20": (Case("Clip", (normal("N", 5), *clip(-2.5e7, 1e-20))), -2.5e7, 1e-20),
    "HardSigmoid": (Case("HardSigmoid", (normal("N", 5),), {"alpha": 1.0, "beta": 0.0}), 0.0, 1.0),
}


@pytest.mark.parametrize("name", KINKS)
def test_same_gradient(name: str) -> None:
    case = KINKS[name][0]
    model, report = same_gradients(case, LEVELS)
    assert not {"Greater", "Less", "And", "Cast", "Where"} & set(gradient_operators(model))
    assert [o.reason for o in report.of(NAME)] == [None]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", KINKS)
def test_exact_beside_every_kink(name: str, level: str) -> None:
    """The bounds, their neighbours, zeros of both signs, the smallest and largest normal numbers, infinities."""
    case, low, high = KINKS[name]
    values = [0.0, -0.0, TINY, -TINY, 1e-30, -1e-30, LARGE, -LARGE, np.inf, -np.inf, 1.5, -1.5]
    for bound in (low, high):
        if bound is not None:
            at = np.float32(bound)
            values += [at, np.nextafter(at, np.float32(-np.inf)), np.nextafter(at, np.float32(np.inf))]
    points = np.array([v for v in values if v == 0 or abs(v) >= TINY], np.float32)
    plain = Case(case.op, (among("N", wrt=True, values=points), *case.inputs[1:]), case.attributes)
    feeds = {"x0": points, "cotangent": np.arange(1, len(points) + 1, dtype=np.float32)}
    model = plain.model(np.dtype(np.float32), None)
    before, after = (run(differentiate(model, target="cotangent", form=p), feeds, level) for p in ("portable", "cpu"))
    np.testing.assert_array_equal(after["grad_x0"], before["grad_x0"])
    inside = np.ones(len(points), bool)
    if low is not None:
        inside &= points > np.float32(low)
    if high is not None:
        inside &= points < np.float32(high)
    np.testing.assert_array_equal(after["grad_x0"] != 0, inside)


@pytest.mark.parametrize(
    ("case", "dtype", "reason"),
    [
        (Case("Clip", (normal("N", 5), *clip(-1e9, 1e9))), np.float32, "the bound -1000000000.0 is out of range"),
        (Case("Clip", (normal("N", 5), *clip(None, 1e-30))), np.float32, "the bound 1.0000000031710769e-30 is out"),
        (
            Case("Clip", (normal("N", 5), np.array(0.0), None), runtime=(1,)),
            np.float32,
            "the condition is not a comparison",
        ),
        (Case("Relu", (normal("N", 5),)), np.float64, "the mask is DOUBLE, not FLOAT"),
        (Case("Relu", (normal("N", 5),)), np.float16, "the mask is FLOAT16, not FLOAT"),
    ],
)
def test_left_alone(case: Case, dtype: type, reason: str) -> None:
    report = Report()
    model = case.model(np.dtype(dtype), None)
    after = differentiate(model, target="cotangent", wrt="x0", form="cpu", report=report)
    assert "HardSigmoid" not in gradient_operators(after)
    (outcome,) = report.of(NAME)
    assert outcome.rewrite == NAME and outcome.reason is not None and outcome.reason.startswith(reason)


def test_gradients_carry_the_dimension_names_of_the_forward_tensors() -> None:
    """Without a value_info that proves equal shapes ONNX Runtime leaves its blocked layout for the product."""
    rng = np.random.default_rng(0)
    constants = {f"w{i}": rng.standard_normal((16, 16, 3, 3)).astype(np.float32) for i in range(3)}
    nodes = []
    for i, stride in enumerate((1, 2, 1)):
        conv = helper.make_node(
            "Conv",
            [f"r{i}" if i else "x", f"w{i}"],
            [f"c{i}"],
            name=f"conv{i}",
            pads=[1, 1, 1, 1],
            strides=[stride] * 2,
        )
        nodes += [conv, helper.make_node("Relu", [f"c{i}"], [f"r{i + 1}"], name=f"relu{i}")]
    plain = build(nodes, [("x", FLOAT, ["N", 16, "H", "W"])], [("r3", FLOAT, ["N", 16, None, None])], constants)
    after = differentiate(plain, target="cotangent", form="cpu")
    infos = {v.name: v for v in [*after.graph.value_info, *after.graph.output]}
    shapes = {n: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for n, v in infos.items()}
    for i in range(3):
        (mask,) = (n for n in after.graph.node if n.op_type == "HardSigmoid" and n.input[0] == f"r{i + 1}")
        (product,) = (n for n in after.graph.node if mask.output[0] in n.input)
        assert product.op_type == "Mul"
        for name in (*product.input, *product.output):
            if name != "cotangent":
                assert shapes[name] == shapes[f"r{i + 1}"], name
    assert shapes["grad_x"] == ["N", 16, "H", "W"]
