"""Convolutions for the parts of a Concat, and masks behind a pooling: same gradients, ties and all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxplain.autodiff import differentiate
from onnxplain.autodiff.forms import order as for_provider
from onnxplain.autodiff.forms.blocked_masks import blocked_masks
from onnxplain.autodiff.forms.flip_convolutions import flip_convolutions
from onnxplain.autodiff.forms.mask_pools import mask_pools
from onnxplain.autodiff.forms.split_convolutions import split_convolutions
from onnxplain.autodiff.graph.passes import Report

from support.gradient_passes import LEVELS, gradient_operators, same_outputs
from support.small_models import FLOAT, build

Only = Callable[..., None]


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Only:
    return lambda *passes: monkeypatch.setitem(for_provider.PASSES, "cpu", passes)


class Net:
    """Builds x [N,3,9,8] -> ... -> GlobalAveragePool -> logits, with weights of -1, 0 and 1, so that ties abound."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.random = np.random.default_rng(3)

    def op(self, kind: str, *inputs: str, **attributes: object) -> str:
        name = f"{kind}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def number(self, value: float) -> str:
        name = f"number{len(self.constants)}"
        self.constants[name] = np.array(value, np.float32)
        return name

    def conv(self, x: str, inputs: int, outputs: int, size: int, **attributes: object) -> str:
        name = f"w{len(self.constants)}"
        self.constants[name] = self.random.integers(-1, 2, (outputs, inputs, size, size)).astype(np.float32)
        return self.op("Conv", x, name, pads=[size // 2] * 4, **attributes)

    def model(self, last: str, channels: int) -> onnx.ModelProto:
        logits = self.op("Flatten", self.op("GlobalAveragePool", last))
        inputs = [("x", FLOAT, ["N", 3, 9, 8])]
        return build(self.nodes, inputs, [(logits, FLOAT, ["N", channels])], self.constants)


def feeds(samples: int) -> dict[str, np.ndarray]:
    x = np.random.default_rng(samples).integers(-2, 3, (samples, 3, 9, 8)).astype(np.float32)
    return {"x": x, "target": np.arange(samples, dtype=np.int64)}


def fire(widths: Sequence[int], *, readers: int = 1, pooled: bool = False, act: str = "Relu") -> onnx.ModelProto:
    """A Concat of activated convolutions, pooled or not, that ``readers`` convolutions read."""
    net = Net()
    x = net.conv("x", 3, 16, 3)
    bounds = (net.number(0), net.number(6)) if act == "Clip" else ()
    parts = [net.op(act, net.conv(x, 16, width, size), *bounds) for width, size in zip(widths, (1, 3, 1))]
    joined = parts[0] if len(parts) == 1 else net.op("Concat", *parts, axis=1)
    if pooled:
        joined = net.op("MaxPool", joined, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    read = [net.conv(joined, sum(widths), 16, 1) for _ in range(readers)]
    return net.model(read[0] if readers == 1 else net.op("Add", *read), 16)


@pytest.mark.parametrize("readers", [1, 2])
@pytest.mark.parametrize("widths", [(16, 32), (32, 16, 16)])
def test_one_convolution_for_each_part(only: Only, widths: Sequence[int], readers: int) -> None:
    only(flip_convolutions, split_convolutions)
    for samples in (1, 3):
        model, report = same_outputs(fire(widths, readers=readers), feeds(samples), LEVELS)
    assert report.counts()["split_convolutions"] == (1, 0) and "Split" not in gradient_operators(model)


def test_splits_that_are_left_alone(only: Only) -> None:
    only(flip_convolutions, split_convolutions)
    for model, reason in (
        (fire((16, 20)), "parts of [16, 20] channels"),
        (fire((16, 32), pooled=True), "what is split is no convolution"),
    ):
        report = Report()
        assert "Split" in gradient_operators(differentiate(model, form="cpu", report=report))
        assert [o.reason for o in report.of("split_convolutions")] == [reason]


@pytest.mark.parametrize("act", ["Relu", "Clip"])
@pytest.mark.parametrize("widths", [(16,), (16, 32)])
def test_masks_behind_the_pooling(only: Only, widths: Sequence[int], act: str) -> None:
    only(mask_pools, blocked_masks)
    for samples in (1, 3):
        model, report = same_outputs(fire(widths, pooled=True, act=act), feeds(samples), LEVELS)
    assert report.counts()["mask_pools"] == (len(widths), 0)
    masks = [n for n in model.graph.node if n.op_type == "HardSigmoid"]
    assert len(masks) == (2 if act == "Clip" else 1) and all(n.input[0].startswith("MaxPool") for n in masks)


def test_masks_that_stay_where_they_are(only: Only) -> None:
    only(mask_pools)
    net = Net()
    activated = net.op("Relu", net.conv("x", 3, 16, 3))
    pooled = net.op("MaxPool", activated, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
    both = net.model(net.op("Add", activated, pooled), 16)  # the mask holds for the other path too
    _, report = same_outputs(both, feeds(2))
    assert report.counts()["mask_pools"] == (0, 1)
    net = Net()
    bare, activated = net.conv("x", 3, 16, 1), net.op("Relu", net.conv("x", 3, 16, 1))
    joined = net.op("Concat", bare, activated, axis=1)
    half = net.model(net.op("MaxPool", joined, kernel_shape=[2, 2], strides=[2, 2]), 32)
    _, report = same_outputs(half, feeds(2))
    assert report.counts()["mask_pools"] == (0, 1)
