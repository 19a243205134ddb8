"""Automatic padding of known extents is stated, in the model's own nodes too, and nothing changes in value."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxplain.autodiff import differentiate
from onnxplain.autodiff.forms.order import PASSES
from onnxplain.autodiff.forms.stated_pads import stated_pads
from onnxplain.autodiff.graph.passes import Report

from support.gradient_passes import same_outputs
from support.graphs import FLOAT, build

NAME = "stated_pads"


@pytest.fixture(autouse=True)
def _only_this_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PASSES, "cpu", (stated_pads,))


def model(auto_pad: str, height: int | str, stride: int) -> onnx.ModelProto:
    weight = np.random.default_rng(0).standard_normal((5, 3, 3, 2)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "W"], ["c"], auto_pad=auto_pad, strides=[stride, stride]),
        helper.make_node("MaxPool", ["c"], ["p"], auto_pad=auto_pad, kernel_shape=[2, 3], strides=[stride, 1]),
        helper.make_node("ReduceMean", ["p", "axes"], ["y"], keepdims=0),
    ]
    constants = {"W": weight, "axes": np.array([2, 3], dtype=np.int64)}
    return build(nodes, [("x", FLOAT, ["N", 3, height, 10])], [("y", FLOAT, ["N", 5])], constants)


def automatic(made: onnx.ModelProto) -> list[str]:
    return [n.op_type for n in made.graph.node if any(a.name == "auto_pad" for a in n.attribute)]


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize(("height", "stride"), [(8, 2), (9, 2), (9, 1), ("H", 1)])
def test_same_outputs(auto_pad: str, height: int | str, stride: int) -> None:
    x = np.random.default_rng(1).standard_normal((2, 3, height if isinstance(height, int) else 7, 10))
    after, _ = same_outputs(
        model(auto_pad, height, stride), {"x": x.astype(np.float32), "target": np.array([1, 0])}, ("ORT_ENABLE_ALL",)
    )
    assert automatic(after) == []


def test_left_alone() -> None:
    report = Report()
    made = differentiate(model("SAME_UPPER", "H", 2), form="cpu", report=report)
    assert {o.reason for o in report.of(NAME)} == {"its extents are known to the run alone"}
    assert "Conv" in automatic(made)
