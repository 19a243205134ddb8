"""Square weights and integer ones get a way of their own to the gradient, and the file does not grow."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxplain.autodiff import differentiate
from onnxplain.autodiff.forms.order import PASSES
from onnxplain.autodiff.forms.separate_weights import separate_weights
from onnxplain.autodiff.graph.passes import Report

from support.gradient_passes import LEVELS, gradient_operators, same_outputs
from support.graphs import FLOAT, INT64, build

NAME = "separate_weights"


@pytest.fixture(autouse=True)
def _only_this_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PASSES, "cpu", (separate_weights,))


def dense(nodes: list[onnx.NodeProto], *shape: int, dtype: type = np.float32) -> onnx.ModelProto:
    """x [N,4] -> y [N,k] by a weight W."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal(shape).astype(np.float32)
    constants = {"W": weight}
    if dtype is np.int8:
        constants = {
            "Q": np.round(weight * 40).astype(np.int8),
            "S": np.linspace(0.01, 0.03, shape[0], dtype=np.float32),
        }
    return build(nodes, [("x", FLOAT, ["N", 4])], [("y", FLOAT, ["N", None])], constants)


def convolution(outputs: int, inputs: int, group: int = 1) -> onnx.ModelProto:
    weight = np.random.default_rng(0).standard_normal((outputs, inputs // group, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "W"], ["z"], pads=[1] * 4, group=group),
        helper.make_node("ReduceMean", ["z", "axes"], ["y"], keepdims=0),
    ]
    constants = {"W": weight, "axes": np.array([2, 3], dtype=np.int64)}
    return build(nodes, [("x", FLOAT, ["N", inputs, 6, 5])], [("y", FLOAT, ["N", outputs])], constants)


def test_products_with_one_weight_share_its_way() -> None:
    """A recurrent net that is written out reads the same weight at every step."""
    steps = [helper.make_node("MatMul", [f"h{i}" if i else "x", "W"], [f"h{i + 1}"]) for i in range(5)]
    model = dense([*steps, helper.make_node("Identity", ["h5"], ["y"])], 4, 4)
    feeds = {"x": np.random.default_rng(1).standard_normal((2, 4)).astype(np.float32), "target": np.array([1, 0])}
    after, report = same_outputs(model, feeds, LEVELS)
    assert report.counts()[NAME][0] == 5
    assert gradient_operators(after).count("Slice") == 2


MATMUL = [helper.make_node("MatMul", ["x", "W"], ["y"])]
DEQUANTIZED = [
    helper.make_node("DequantizeLinear", ["Q", "S"], ["W"], axis=0),
    helper.make_node("Gemm", ["x", "W"], ["y"], transB=1),
]
TRANSPOSED = [
    helper.make_node("Transpose", ["W"], ["V"], perm=[1, 0]),
    helper.make_node("MatMul", ["x", "V"], ["y"]),
]


@pytest.mark.parametrize(
    "model",
    [
        dense(MATMUL, 4, 4),
        dense(TRANSPOSED, 4, 4),
        dense([helper.make_node("Gemm", ["x", "W"], ["y"], transB=1)], 4, 4),
        dense(DEQUANTIZED, 4, 4, dtype=np.int8),
        dense(DEQUANTIZED, 6, 4, dtype=np.int8),
        convolution(4, 4),
    ],
    ids=["MatMul", "Transpose", "Gemm", "square integers", "integers", "Conv"],
)
def test_same_gradient(model: onnx.ModelProto) -> None:
    shape = [d.dim_value or 2 for d in model.graph.input[0].type.tensor_type.shape.dim]
    feeds = {"x": np.random.default_rng(1).standard_normal(shape).astype(np.float32), "target": np.array([1, 0])}
    after, report = same_outputs(model, feeds, LEVELS)
    assert report.counts()[NAME][0] == 1
    assert gradient_operators(after).count("Slice") == 2
    plain = differentiate(model, form="cuda")
    assert sum(i.ByteSize() for i in after.graph.initializer) < sum(i.ByteSize() for i in plain.graph.initializer) + 250


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (dense(MATMUL, 4, 5), "its weight is not square, and no integers"),
        (convolution(4, 3), "its weight is not square, and no integers"),
        (convolution(4, 4, group=4), "its weight is not square, and no integers"),
    ],
    ids=["MatMul", "Conv", "depthwise"],
)
def test_left_alone(model: onnx.ModelProto, reason: str) -> None:
    report = Report()
    differentiate(model, form="cpu", report=report)
    assert [o.reason for o in report.of(NAME)] == [reason]


def test_a_table_that_no_product_reads_stays() -> None:
    nodes = [
        helper.make_node("Gather", ["T", "ids"], ["e"]),
        helper.make_node("Mul", ["e", "e"], ["f"]),
        helper.make_node("ReduceSum", ["f", "axes"], ["y"], keepdims=0),
    ]
    constants = {"T": np.eye(4, dtype=np.float32), "axes": np.array([1], dtype=np.int64)}
    model = build(nodes, [("ids", INT64, ["N", 3])], [("y", FLOAT, ["N", 4])], constants)
    report = Report()
    differentiate(model, wrt="e", form="cpu", report=report)
    assert report.of(NAME) == []


def test_the_portable_form_has_it() -> None:
    assert separate_weights in PASSES["portable"]
    assert not any(separate_weights in PASSES[name] for name in ("cpu_shared", "cuda"))
