"""Gates change nothing but where ONNX Runtime's blocked layout begins."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxplain.autodiff import differentiate
from onnxplain.autodiff.forms.order import PASSES
from onnxplain.autodiff.graph.passes import Report

from support.gradient_passes import same_outputs
from support.small_models import FLOAT, build

NAME = "gate_residuals"


def residual(channels: int, batch: int | str, extents: tuple[int | str, int | str], blocks: int = 2) -> onnx.ModelProto:
    """x -> blocks of Relu(x + Conv(Relu(Conv(x)))) -> GlobalAveragePool -> Flatten."""
    rng = np.random.default_rng(0)
    nodes, constants, x = [], {}, "x"
    for block in range(blocks):
        a, b = (f"w{block}{name}" for name in "ab")
        constants[a] = rng.standard_normal((channels, channels, 3, 3)).astype(np.float32) * 0.1
        constants[b] = rng.standard_normal((channels, channels, 3, 3)).astype(np.float32) * 0.1
        nodes += [
            helper.make_node("Conv", [x, a], [f"c{block}"], name=f"conv{a}", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"c{block}"], [f"r{block}"], name=f"relu{block}"),
            helper.make_node("Conv", [f"r{block}", b], [f"d{block}"], name=f"conv{b}", pads=[1, 1, 1, 1]),
            helper.make_node("Add", [f"d{block}", x], [f"s{block}"], name=f"add{block}"),
            helper.make_node("Relu", [f"s{block}"], [f"x{block}"], name=f"last{block}"),
        ]
        x = f"x{block}"
    nodes += [
        helper.make_node("GlobalAveragePool", [x], ["pooled"], name="pool"),
        helper.make_node("Flatten", ["pooled"], ["logits"], name="flat"),
    ]
    shape = [batch, channels, *extents]
    return build(nodes, [("x", FLOAT, shape)], [("logits", FLOAT, [batch, channels])], constants)


def gates(model: onnx.ModelProto) -> list[str]:
    ones = {t.name for t in model.graph.initializer if np.all(onnx.numpy_helper.to_array(t) == 1) and len(t.dims) == 4}
    return [n.name for n in model.graph.node if n.op_type == "Conv" and n.input[1] in ones]


@pytest.mark.parametrize("extents", [(7, 6), ("H", "W")])
@pytest.mark.parametrize("batch", [1, 3, "N"])
def test_same_gradient(batch: int | str, extents: tuple[int | str, int | str]) -> None:
    for samples in (1, 3) if batch == "N" else (batch,):
        assert isinstance(samples, int)
        x = np.random.default_rng(1).standard_normal((samples, 16, 7, 6)).astype(np.float32)
        feeds = {"x": x, "target": np.arange(samples, dtype=np.int64)}
        model, report = same_outputs(residual(16, batch, extents), feeds)
    assert report.counts()[NAME] == (1, 0)
    assert gates(model) == ["grad/last1/Conv"]  # where the pool's gradient enters, and nowhere later


def test_left_alone() -> None:
    report = Report()
    assert gates(differentiate(residual(12, "N", (7, 6)), form="cpu", report=report)) == []
    assert [o.reason for o in report.of(NAME)] == ["12 channels do not fill blocks of 16"] * 2


def test_only_where_the_gradient_forks() -> None:
    """A plain network has no trunk: masks have one reader each."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["pooled"], name="pool"),
        helper.make_node("Flatten", ["pooled"], ["logits"], name="flat"),
    ]
    w = np.ones((16, 16, 1, 1), np.float32) * 2
    plain = build(nodes, [("x", FLOAT, ["N", 16, 5, 5])], [("logits", FLOAT, ["N", 16])], {"w": w})
    assert gates(differentiate(plain, form="cpu")) == []


def test_the_last_pass() -> None:
    """It must see what the others have written."""
    assert PASSES["cpu"][-1].name == NAME
