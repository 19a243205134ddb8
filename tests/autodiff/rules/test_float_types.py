"""Whole networks in float16, bfloat16 and float64: gradients in the network's own type, and how exact they are."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from PIL import Image

from onnxplain.autodiff import differentiate

from support.checker import session

BFLOAT16 = ml_dtypes.bfloat16
TARGET = np.array([1, 3])


def converted(model: onnx.ModelProto, dtype: Any) -> onnx.ModelProto:
    """``model`` with every tensor of floats in ``dtype``."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    result = onnx.ModelProto()
    result.CopyFrom(model)
    floats = {TensorProto.FLOAT, TensorProto.FLOAT16}
    for tensor in result.graph.initializer:
        if tensor.data_type in floats:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(dtype), tensor.name))
    for value in [*result.graph.input, *result.graph.output, *result.graph.value_info]:
        if value.type.tensor_type.elem_type in floats:
            value.type.tensor_type.elem_type = kind
    return result


def build(
    nodes: list[onnx.NodeProto], shape: list[int], weights: dict[str, tuple[int, ...]], opset: int
) -> onnx.ModelProto:
    rng = np.random.default_rng(3)
    arrays = {
        k: rng.standard_normal(s) / np.sqrt(np.prod(s[:-1]) if len(s) == 2 else np.prod(s[1:] or [4]))
        for k, s in weights.items()
    }
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def convolutions(opset: int = 18) -> onnx.ModelProto:
    """[N,3,9,9] -> [N,4]: convolutions, sigmoid, pooling, swish, a dense layer."""
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1] * 4, strides=[2, 2]),
        node("Sigmoid", ["c1"], ["s1"]),
        node("AveragePool", ["s1"], ["p1"], kernel_shape=[2, 2]),
        node("Conv", ["p1", "w2"], ["c2"], pads=[1] * 4),
        node("Sigmoid", ["c2"], ["s2"]),
        node("Mul", ["c2", "s2"], ["m2"]),
        node("Concat", ["m2", "p1"], ["all"], axis=1),
        node("GlobalAveragePool", ["all"], ["g"]),
        node("Flatten", ["g"], ["f"]),
        node("Gemm", ["f", "w3", "b3"], ["y"]),
    ]
    weights = {"w1": (5, 3, 3, 3), "b1": (5,), "w2": (6, 5, 3, 3), "w3": (11, 4), "b3": (4,)}
    return build(nodes, [3, 9, 9], weights, opset)


def transformer(opset: int = 18) -> onnx.ModelProto:
    """[N,5,8] -> [N,4]: normalisation, attention of one head, a residual, a dense layer with tanh, the first token."""
    node = helper.make_node
    nodes = [
        node("LayerNormalization", ["x", "scale", "bias"], ["n"]),
        *(node("MatMul", ["n", f"w{name}"], [name]) for name in "qkv"),
        node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        node("MatMul", ["q", "kt"], ["logits"]),
        node("Softmax", ["logits"], ["p"]),
        node("MatMul", ["p", "v"], ["a"]),
        node("Add", ["a", "x"], ["r"]),
        node("MatMul", ["r", "w1"], ["h"]),
        node("Tanh", ["h"], ["t"]),
        node("MatMul", ["t", "w2"], ["all"]),
        node("Gather", ["all", "first"], ["y"], axis=1),
    ]
    weights = {"scale": (8,), "bias": (8,), "wq": (8, 8), "wk": (8, 8), "wv": (8, 8), "w1": (8, 12), "w2": (12, 4)}
    model = build(nodes, [5, 8], weights, opset)
    model.graph.initializer.append(numpy_helper.from_array(np.array(0, np.int64), "first"))
    return model


NETWORKS: dict[str, tuple[Callable[[int], onnx.ModelProto], tuple[int, ...]]] = {
    "convolutions": (convolutions, (2, 3, 9, 9)), "transformer": (transformer, (2, 5, 8)),
}  # fmt: skip


def gradient(model: onnx.ModelProto, x: np.ndarray, *, reference: bool = False) -> np.ndarray:
    runner: Any = ReferenceEvaluator(model) if reference else session(model)
    return np.asarray(runner.run(["grad_x"], {"x": x, "target": TARGET})[0])


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    ("dtype", "reference", "opset", "tolerance"),
    [
        pytest.param(np.float16, False, 18, 4e-3, id="float16"),
        pytest.param(np.float64, True, 18, 1e-5, id="float64"),
        pytest.param(BFLOAT16, True, 25, 5e-2, id="bfloat16"),
    ],
)
def test_gradient_in_the_type_of_the_network(
    name: str, dtype: Any, reference: bool, opset: int, tolerance: float
) -> None:
    """Against float32. ONNX Runtime's CPU provider has no bfloat16 and no float64 convolutions: ONNX's evaluator."""
    make, shape = NETWORKS[name]
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float16).astype(np.float32)
    model = differentiate(converted(make(opset), dtype))
    found = gradient(model, x.astype(dtype), reference=reference)
    assert found.dtype == dtype
    expected = gradient(differentiate(make(18)), x)
    np.testing.assert_allclose(
        found.astype(np.float64), expected, rtol=0, atol=tolerance * float(np.abs(expected).max())
    )


def test_bfloat16_of_an_opset_that_has_it_in_few_operators() -> None:
    """ConstantOfShape of opset 18 makes no bfloat16: zeros are made in float32."""
    x = np.random.default_rng(0).standard_normal((2, 5, 8)).astype(BFLOAT16)
    found = gradient(differentiate(converted(transformer(18), BFLOAT16)), x, reference=True)
    expected = gradient(differentiate(converted(transformer(25), BFLOAT16)), x, reference=True)
    assert found.dtype == BFLOAT16
    np.testing.assert_array_equal(found, expected)


def test_transformer_in_float64_runs() -> None:
    x = np.random.default_rng(0).standard_normal((2, 5, 8))
    found = gradient(differentiate(converted(transformer(), np.float64)), x)
    expected = gradient(differentiate(converted(transformer(), np.float64)), x, reference=True)
    assert found.dtype == np.float64
    # LayerNormalization computes its statistics in float32 (stash_type)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_float64_agrees_with_finite_differences() -> None:
    """All of float64's precision, where no statistics in float32 are on the way."""
    model, rng = converted(convolutions(), np.float64), np.random.default_rng(1)
    x, direction = rng.standard_normal((2, 3, 9, 9)), rng.standard_normal((2, 3, 9, 9))
    evaluator = ReferenceEvaluator(model)

    def score(x: np.ndarray) -> float:
        return float(evaluator.run(["y"], {"x": x})[0][[0, 1], TARGET].sum())

    slope = (score(x + 1e-5 * direction) - score(x - 1e-5 * direction)) / 2e-5
    found = gradient(differentiate(model), x, reference=True)
    assert float(np.sum(found * direction)) == pytest.approx(slope, rel=1e-8)


def test_mixed_types() -> None:
    """A float32 input, cast to float16 inside: the gradient comes back in float32."""
    model = converted(convolutions(), np.float16)
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name == "x":
                node.input[index] = "half"
    model.graph.node.insert(0, helper.make_node("Cast", ["x"], ["half"], to=TensorProto.FLOAT16))
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT
    x = np.random.default_rng(0).standard_normal((2, 3, 9, 9)).astype(np.float32)
    found, expected = gradient(differentiate(model), x), gradient(differentiate(convolutions()), x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=4e-3 * np.abs(expected).max())


ZOO = os.environ.get("ONNXPLAIN_ZOO")


@pytest.mark.skipif(ZOO is None, reason="ONNXPLAIN_ZOO names no folder")
def test_squeezenet_in_float16() -> None:
    """Against the same weights in float32. Rounded to float16, some activations move across the kinks of ReLU and
    some maxima of max pooling change place: 5 % of the gradient's norm, and 0.1 % of its direction."""
    assert ZOO is not None
    half = onnx.load(Path(ZOO, "models", "squeezenet10_winml_fp16.onnx"))
    photo = Image.open(Path(ZOO, "photos", "skimage_chelsea.jpg")).convert("RGB").resize((224, 224))
    pixels = np.asarray(photo, np.float32)[:, :, ::-1] - np.array([104, 117, 123], np.float32)
    x, target = pixels.transpose(2, 0, 1)[None], np.array([285])
    found = session(differentiate(half)).run(["grad_data_0"], {"data_0": x.astype(np.float16), "target": target})[0]
    assert found.dtype == np.float16
    single = differentiate(converted(half, np.float32))
    expected = session(single).run(["grad_data_0"], {"data_0": x, "target": target})[0].astype(np.float64)
    found = found.astype(np.float64)
    assert np.linalg.norm(found - expected) < 0.05 * np.linalg.norm(expected)
    assert np.sum(found * expected) > 0.999 * np.linalg.norm(found) * np.linalg.norm(expected)
    plain = session(half).run(None, {"data_0": x.astype(np.float16)})[0]
    kept = session(differentiate(half)).run(["softmaxout_1"], {"data_0": x.astype(np.float16), "target": target})[0]
    np.testing.assert_allclose(kept.astype(np.float64), plain.astype(np.float64), rtol=0, atol=1e-3)
