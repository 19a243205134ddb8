"""The table of what goes wrong in engines: each fact is found in the smallest model that shows it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxplain.autodiff import differentiate
from onnxplain.autodiff.engines import ENGINES, FACTS, issues
from onnxplain.errors import InputError

from support.graphs import FLOAT, build

INT8 = np.arange(-8, 8, dtype=np.int8).reshape(4, 4)
SQUARE = np.arange(16, dtype=np.float32).reshape(4, 4) / 10
SCALES = np.array([0.1, 0.2, 0.3, 0.4], dtype=np.float32)


def rows(nodes: list[onnx.NodeProto], **constants: np.ndarray) -> onnx.ModelProto:
    return build(nodes, [("x", FLOAT, ["N", 4])], [("y", FLOAT, ["N", 4])], constants)


STEP = rows([helper.make_node("HardSigmoid", ["x"], ["y"], alpha=2.0, beta=0.0)])
TIED = rows(
    [helper.make_node("Gemm", ["x", "W"], ["h"]), helper.make_node("Gemm", ["h", "W"], ["y"], transB=1)],
    W=SQUARE,
)


def integers(axis: int, transposed: int) -> onnx.ModelProto:
    dequantized = helper.make_node("DequantizeLinear", ["Q", "S"], ["W"], axis=axis)
    product = helper.make_node("Gemm", ["x", "W"], ["y"], transB=transposed)
    return rows([dequantized, product], Q=INT8, S=SCALES)


def padded(height: int | str) -> onnx.ModelProto:
    convolution = helper.make_node("Conv", ["x", "W"], ["c"], auto_pad="SAME_UPPER", strides=[2, 2])
    mean = helper.make_node("GlobalAveragePool", ["c"], ["g"])
    nodes = [convolution, mean, helper.make_node("Flatten", ["g"], ["y"])]
    weight = np.ones((2, 1, 3, 3), dtype=np.float32)
    return build(nodes, [("x", FLOAT, ["N", 1, height, 6])], [("y", FLOAT, ["N", 2])], {"W": weight})


def recurrent() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        helper.make_node("RNN", ["t", "W", "R"], ["", "h"], hidden_size=4),
        helper.make_node("Squeeze", ["h", "first"], ["y"]),
    ]
    constants = {
        "W": SQUARE[None, :, :3].copy(), "R": SQUARE[None], "first": np.array([0], dtype=np.int64),
    }  # fmt: skip
    return build(nodes, [("x", FLOAT, ["N", 5, 3])], [("y", FLOAT, ["N", 4])], constants)


@pytest.mark.parametrize(
    ("engine", "model", "wrong"),
    [
        ("openvino", STEP, True),
        ("openvino", TIED, True),
        ("openvino", integers(0, 0), True),
        ("openvino", integers(1, 1), True),
        ("opencv", padded("H"), True),
        ("opencv", recurrent(), False),
        ("tract", recurrent(), False),
    ],
)
def test_found(engine: str, model: onnx.ModelProto, wrong: bool) -> None:
    (issue,) = issues(differentiate(model), engine)
    assert issue.fact.wrong == wrong and issue.fact in FACTS
    assert str(issue).startswith(f"{engine} ") and str(issue).endswith(".") and issue.nodes[0] in str(issue)


@pytest.mark.parametrize(
    ("engine", "model"),
    [
        ("openvino", integers(0, 1)),
        ("openvino", rows([helper.make_node("MatMul", ["x", "W"], ["y"])], W=SQUARE)),
        ("openvino", rows([helper.make_node("HardSigmoid", ["x"], ["y"])])),
        ("openvino", recurrent()),
        ("opencv", padded(6)),
        ("onnxruntime", recurrent()),
    ],
)
def test_not_found(engine: str, model: onnx.ModelProto) -> None:
    assert issues(differentiate(model), engine) == []


def test_indices_of_the_model_itself() -> None:
    pool = helper.make_node("MaxPool", ["x"], ["y", "i"], kernel_shape=[2])
    outputs = [("y", FLOAT, ["N", 2, 3]), ("i", onnx.TensorProto.INT64, ["N", 2, 3])]
    model = build([pool], [("x", FLOAT, ["N", 2, 4])], outputs)
    assert [i.fact.engine for i in issues(model, "webgpu")] == ["webgpu"]


def test_unknown_engine() -> None:
    with pytest.raises(InputError, match=r"engine must be one of 'onnxruntime'.*found 'tvm'"):
        issues(STEP, "tvm")


def test_facts_are_of_known_engines() -> None:
    assert {fact.engine for fact in FACTS} <= set(ENGINES)
