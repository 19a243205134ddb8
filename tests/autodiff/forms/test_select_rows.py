"""Rows of a classifier's last weight equal its product with a one-hot seed."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxplain.autodiff import differentiate
from onnxplain.autodiff.graph.passes import Report

from support.gradient_passes import gradient_operators, same_outputs

CLASSES, FEATURES = 7, 5


def classifier(last: str, batch: str | int = "N", **attributes: object) -> onnx.ModelProto:
    """x [N,5] -> Tanh -> the last layer -> scores [N,7]."""
    shape = (CLASSES, FEATURES) if attributes.get("transB") else (FEATURES, CLASSES)
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), "w"),
        numpy_helper.from_array(rng.standard_normal(CLASSES).astype(np.float32), "b"),
    ]
    layer = (
        [helper.make_node("Gemm", ["h", "w", "b"], ["y"], **attributes)]
        if last == "Gemm"
        else [helper.make_node("MatMul", ["h", "w"], ["s"]), helper.make_node("Add", ["s", "b"], ["y"])]
    )
    graph = helper.make_graph(
        [helper.make_node("Tanh", ["x"], ["h"]), *layer],
        "classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, FEATURES])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, CLASSES])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def feeds(batch: int) -> dict[str, np.ndarray]:
    x = np.random.default_rng(1).standard_normal((batch, FEATURES)).astype(np.float32)
    return {"x": x, "target": np.arange(batch, dtype=np.int64) * 3 % CLASSES}


MODELS = {
    "Gemm": classifier("Gemm"),
    "Gemm, transposed": classifier("Gemm", transB=1),
    "MatMul": classifier("MatMul"),
    "batch 3": classifier("Gemm", 3, transB=1),
    "batch 1": classifier("MatMul", 1),
}


@pytest.mark.parametrize("name", MODELS)
def test_same_gradient(name: str) -> None:
    model = MODELS[name]
    fixed = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    for batch in (fixed,) if fixed else (1, 3):
        after, report = same_outputs(model, feeds(batch))
        assert report.counts()["select_rows"] == (1, 0)
        assert not {"Gemm", "MatMul"} & set(gradient_operators(after))


def test_the_weight_is_not_copied_to_be_transposed() -> None:
    after = differentiate(MODELS["MatMul"], form="cpu")
    (gather,) = (node for node in after.graph.node if node.op_type == "Gather")
    assert gather.input[0] == "w", "the index is the target with negative ones made out of range"


def test_a_scaled_product_is_left_alone() -> None:
    report = Report()
    model = classifier("Gemm", alpha=0.5)
    same_outputs(model, feeds(3))
    differentiate(model, form="cpu", report=report)
    assert report.counts()["select_rows"] == (0, 1)


def test_other_cotangents_are_left_alone() -> None:
    report = Report()
    differentiate(MODELS["Gemm"], target="cotangent", form="cpu", report=report)
    assert "select_rows" not in report.counts()
