"""Convolutions in Winograd's form return the same gradient, as exactly, where they are worth it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from onnxplain.autodiff import differentiate
from onnxplain.autodiff.forms import winograd_convolutions as winograd
from onnxplain.autodiff.graph.passes import Report

from support.gradient_passes import LEVELS, gradient_operators, run, same_outputs
from support.small_models import FLOAT, build

NAME = "winograd_convolutions"
Extents = tuple[int | str, int | str]


def convolution(
    channels: tuple[int, int], extents: Extents, batch: int | str = "N", dtype: int = FLOAT, **attributes: Any
) -> onnx.ModelProto:
    """x -> Conv -> ReLU -> GlobalAveragePool -> Flatten: ``channels`` in and out."""
    attributes = {"pads": [1, 1, 1, 1], "kernel_shape": [3, 3]} | attributes
    kernel = attributes["kernel_shape"]
    group = attributes.get("group", 1)
    w = np.random.default_rng(0).standard_normal((channels[1], channels[0] // group, *kernel)) / 30
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", **attributes),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["pooled"], name="pool"),
        helper.make_node("Flatten", ["pooled"], ["logits"], name="flat"),
    ]
    constants = {"w": w.astype(helper.tensor_dtype_to_np_dtype(dtype))}
    shapes = [batch, channels[0], *extents], [batch, channels[1]]
    return build(nodes, [("x", dtype, shapes[0])], [("logits", dtype, shapes[1])], constants)


def feeds(samples: int, channels: int, height: int, width: int, dtype: Any = np.float32) -> dict[str, np.ndarray]:
    x = np.random.default_rng(1).standard_normal((samples, channels, height, width)).astype(dtype)
    return {"x": x, "target": np.arange(samples, dtype=np.int64)}


PADS = [[1, 1, 1, 1], [0, 0, 0, 0], [0, 1, 1, 0], [1, 0, 0, 1]]


@pytest.mark.parametrize("pads", PADS, ids=str)
@pytest.mark.parametrize("extents", [(8, 8), (7, 10), (9, 7), ("H", 8), (7, "W"), ("H", "W")], ids=str)
@pytest.mark.parametrize("batch", [1, 3, "N"])
def test_same_gradient(batch: int | str, extents: Extents, pads: list[int]) -> None:
    sizes = [(9, 7), (8, 8)] if extents == ("H", "W") else [(9, 8)] if extents[0] == "H" else [(7, 11)]
    if all(isinstance(extent, int) for extent in extents):
        sizes = [(int(extents[0]), int(extents[1]))]
    for samples in (1, 3) if batch == "N" else (int(batch),):
        for size in sizes:
            model, report = same_outputs(
                convolution((128, 64), extents, batch, pads=pads), feeds(samples, 128, *size), LEVELS[::3]
            )
    assert report.counts()[NAME] == (1, 0)
    gate = 1
    assert gradient_operators(model).count("Conv") == gate + 16 + 16 + 4 + 2


def test_as_exact_as_the_direct_form() -> None:
    """Both against float64, over inputs of very different sizes."""
    model, values = convolution((192, 128), (14, 14)), feeds(2, 192, 14, 14)
    values["x"] *= np.float32(10.0) ** np.random.default_rng(2).uniform(-3, 3, values["x"].shape).astype(np.float32)
    double = convolution((192, 128), (14, 14), dtype=TensorProto.DOUBLE)
    for tensor in double.graph.initializer:
        same = next(t for t in model.graph.initializer if t.name == tensor.name)
        array = onnx.numpy_helper.to_array(same).astype(np.float64)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    exact = ReferenceEvaluator(differentiate(double)).run(
        ["grad_x"], {"x": values["x"].astype(np.float64), "target": values["target"]}
    )[0]
    errors = {}
    for provider in ("portable", "cpu"):
        found = run(differentiate(model, form=provider), values, "ORT_ENABLE_ALL")["grad_x"]
        errors[provider] = np.sqrt(np.square(found - exact).mean() / np.square(exact).mean())
    assert errors["cpu"] < 3e-7
    assert errors["cpu"] < 3 * errors["portable"]


def test_zero_stays_zero() -> None:
    """A gradient of nothing is nothing: no tile invents one."""
    model = differentiate(convolution((128, 128), (8, 8)), form="cpu")
    values = feeds(1, 128, 8, 8)
    values["x"][:] = 0
    assert not run(model, values, "ORT_ENABLE_ALL")["grad_x"].any()


CASES = [
    pytest.param((64, 64), (8, 8), {}, None, id="as few channels as pay"),
    pytest.param((64, 64), ("H", "W"), {}, "64 to 64 channels are too few", id="a map that may be large"),
    pytest.param((64, 64), (112, 112), {}, "64 to 64 channels are too few", id="a large map"),
    pytest.param((48, 64), (8, 8), {}, "64 to 48 channels are too few", id="too few channels"),
    pytest.param((136, 128), (8, 8), {}, "128 to 136 channels do not fill blocks of 16", id="no whole blocks"),
    pytest.param((128, 128), (4, 5), {}, "extents [4, 5] are too small", id="a small map"),
    pytest.param((128, 128), (8, 8), {"pads": [2, 2, 2, 2]}, "pads [0, 0, 0, 0]", id="pads beyond"),
    pytest.param((128, 128), (8, 8), {"strides": [2, 2]}, "not a candidate", id="stride 2"),
    pytest.param((128, 128), (8, 8), {"dilations": [2, 2], "pads": [2] * 4}, "not a candidate", id="dilated"),
    pytest.param((128, 128), (8, 8), {"group": 2}, "not a candidate", id="groups"),
    pytest.param((128, 128), (8, 8), {"kernel_shape": [3, 5]}, "not a candidate", id="another kernel"),
]


@pytest.mark.parametrize(("channels", "extents", "attributes", "reason"), CASES)
def test_where(channels: tuple[int, int], extents: Extents, attributes: dict[str, Any], reason: str | None) -> None:
    report = Report()
    differentiate(convolution(channels, extents, **attributes), form="cpu", report=report)
    found = [outcome.reason for outcome in report.of(NAME)]
    assert found == ([] if reason == "not a candidate" else [reason])


SHARED = [
    ((128, 128), (64, 64), None),
    ((256, 512), (16, 16), None),
    ((128, 128), (16, 16), "extents [16, 16], 128 to 128 channels: too little to be shared"),
    ((512, 512), ("H", 64), "extents [64], 512 to 512 channels: too little to be shared"),
    ((512, 512), ("H", "W"), "extents that are open, 512 to 512 channels: too little to be shared"),
]


@pytest.mark.parametrize(("channels", "extents", "reason"), SHARED)
def test_only_large_products_are_shared_by_cores(
    channels: tuple[int, int], extents: Extents, reason: str | None
) -> None:
    report, everywhere = Report(), Report()
    model = convolution(channels, extents)
    found = differentiate(model, form="cpu_shared", report=report)
    assert [o.reason for o in report.of("winograd_large_convolutions")] == [reason]
    differentiate(model, form="cpu", report=everywhere)
    assert everywhere.counts()[NAME] == (1, 0)
    if reason is None and isinstance(extents[0], int) and isinstance(extents[1], int):
        values = feeds(1, channels[0], *extents)
        exact = run(differentiate(model), values, "ORT_ENABLE_ALL")["grad_x"]
        np.testing.assert_allclose(
            run(found, values, "ORT_ENABLE_ALL")["grad_x"], exact, rtol=0, atol=1e-5 * np.abs(exact).max()
        )


def test_other_types_are_left_alone() -> None:
    report = Report()
    model = convolution((128, 128), (8, 8), dtype=TensorProto.DOUBLE)
    differentiate(model, form="cpu", report=report)
    assert [o.reason for o in report.of(NAME)] == ["it is of DOUBLE, not FLOAT"]


def transposed(fed: bool) -> onnx.ModelProto:
    """x -> ConvTranspose -> GlobalAveragePool -> Flatten, whose gradient is a Conv; the weight fed, or stored."""
    nodes = [
        helper.make_node("ConvTranspose", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["pooled"], name="pool"),
        helper.make_node("Flatten", ["pooled"], ["logits"], name="flat"),
    ]
    w = np.random.default_rng(0).standard_normal((128, 64, 3, 3)).astype(np.float32) / 30
    inputs = [("x", FLOAT, ["N", 128, 8, 9]), *([("w", FLOAT, list(w.shape))] if fed else [])]
    return build(nodes, inputs, [("logits", FLOAT, ["N", 64])], {} if fed else {"w": w})


def test_the_gradient_of_a_transposed_convolution() -> None:
    report = same_outputs(transposed(fed=False), feeds(2, 128, 8, 9))[1]
    assert report.counts()[NAME] == (1, 0)


def test_a_weight_that_is_fed_is_left_alone() -> None:
    report = Report()
    differentiate(transposed(fed=True), form="cpu", report=report, wrt=["x"])
    reasons = [o.reason for o in report.of(NAME)]
    assert reasons == ["the weight is computed while the model runs"]


def test_a_wrong_kernel_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison above can fail."""
    wrong = winograd._KERNEL.copy()
    wrong[1, 1] = -wrong[1, 1]
    monkeypatch.setattr(winograd, "_KERNEL", wrong)
    with pytest.raises(AssertionError):
        same_outputs(convolution((128, 128), (8, 8)), feeds(1, 128, 8, 8), LEVELS[3:])
