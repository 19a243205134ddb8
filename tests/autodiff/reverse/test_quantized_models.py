"""Whole quantised models: the gradient is the straight-through one, and the outputs stay what they were."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantFormat
from PIL import Image

from onnxplain import UnsupportedOperatorError
from onnxplain.autodiff import differentiate

from support.quantized_network import STATIC, X, network, quantize
from support.straight_through import twin

_LEVELS = onnxruntime.GraphOptimizationLevel
TARGET = np.array([1, 3])


def session(model: onnx.ModelProto, level: Any = _LEVELS.ORT_ENABLE_ALL) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = level
    return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def metadata(model: onnx.ModelProto) -> dict[str, str]:
    return {p.key: p.value for p in model.metadata_props}


def gradient(model: onnx.ModelProto, level: Any = _LEVELS.ORT_ENABLE_ALL) -> np.ndarray:
    return np.asarray(session(model, level).run(["grad_x"], {"x": X, "target": TARGET})[0])


@pytest.fixture(scope="module", params=[*STATIC, "dynamic-int8", "dynamic-uint8"])
def quantized(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, onnx.ModelProto]:
    return request.param, quantize(tmp_path_factory.mktemp("models"), request.param)


def test_outputs_are_unchanged_at_every_optimisation_level(quantized: tuple[str, onnx.ModelProto]) -> None:
    """Bit for bit: runtimes must fuse the same integer kernels as before."""
    models = [differentiate(quantized[1], form=provider) for provider in ("portable", "cpu")]
    for level in (_LEVELS.ORT_DISABLE_ALL, _LEVELS.ORT_ENABLE_BASIC, _LEVELS.ORT_ENABLE_ALL):
        expected = session(quantized[1], level).run(None, {"x": X})[0]
        for model in models:
            found = session(model, level).run(["probabilities"], {"x": X, "target": TARGET})[0]
            np.testing.assert_array_equal(found, expected)


def test_gradient_is_that_of_the_float_twin(quantized: tuple[str, onnx.ModelProto], tmp_path: Path) -> None:
    """Of the model in operators, where it consists of kernels: same numbers, so the same gradient."""
    kind, model = quantized
    written_out = quantize(tmp_path, kind, QuantFormat.QDQ) if kind.startswith("kernels") else model
    differentiated = differentiate(model)
    score = metadata(differentiate(written_out))["onnxplain.score_tensor"]
    expected = gradient(differentiate(twin(written_out, {"x": X}), tensor=score, score="probability"))
    for level in (_LEVELS.ORT_DISABLE_ALL, _LEVELS.ORT_ENABLE_ALL):
        found = gradient(differentiated, level)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert np.abs(expected).max() > 0.01


def test_twin_has_that_derivative_by_finite_differences(tmp_path: Path) -> None:
    """The reference of the test above against nothing but the twin's own outputs."""
    model = quantize(tmp_path, "int16")
    found = gradient(differentiate(model)).astype(np.float64)
    score = metadata(differentiate(model))["onnxplain.score_tensor"]
    reference = twin(model, {"x": X})
    reference.graph.output.append(helper.make_tensor_value_info(score, TensorProto.FLOAT, ["N", 5]))
    runner = session(reference, _LEVELS.ORT_DISABLE_ALL)

    def at(x: np.ndarray) -> float:
        logits = runner.run([score], {"x": x.astype(np.float32)})[0]
        return float(logits[[0, 1], TARGET].astype(np.float64).sum())

    direction = found / np.linalg.norm(found)
    step = 2e-3
    slope = (at(X + step * direction) - at(X - step * direction)) / (2 * step)
    assert slope == pytest.approx(np.linalg.norm(found), rel=0.01)


@pytest.mark.parametrize("kind", ["uint8", "int8", "kernels-int8", "dynamic-int8"])
def test_second_order(kind: str, tmp_path: Path) -> None:
    """The gradient of a gradient is straight-through as well."""
    cotangent = np.random.default_rng(5).standard_normal(X.shape).astype(np.float32)

    def twice(model: onnx.ModelProto, **options: Any) -> np.ndarray:
        model = differentiate(differentiate(model, **options), tensor="grad_x", wrt="x", target="cotangent")
        feeds = {"x": X, "target": TARGET, "cotangent": cotangent}
        return np.asarray(session(model, _LEVELS.ORT_DISABLE_ALL).run(["grad_x_2"], feeds)[0])

    model = quantize(tmp_path, kind)
    written_out = quantize(tmp_path, kind, QuantFormat.QDQ) if kind.startswith("kernels") else model
    score = metadata(differentiate(written_out))["onnxplain.score_tensor"]
    expected = twice(twin(written_out, {"x": X}), tensor=score, score="probability")
    np.testing.assert_allclose(twice(model), expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    assert np.abs(expected).max() > 0.01


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("runtime", [False, True])
def test_parameters_at_run_time(dtype: Any, runtime: bool) -> None:
    """Scale and zero point fed to a quantised product between QuantizeLinear and DequantizeLinear."""
    node = helper.make_node
    parameters = {"s": np.array(0.02, np.float32), "z": np.array(5, dtype)}
    w = np.random.default_rng(0).integers(-50, 50, (3, 2)).astype(np.int8)
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        node("DequantizeLinear", ["w", "sw"], ["dw"]),
        node("MatMul", ["d", "dw"], ["m"]),
        node("QuantizeLinear", ["m", "s", "z"], ["qm"]),
        node("DequantizeLinear", ["qm", "s", "z"], ["y"]),
    ]
    constants = {"w": w, "sw": np.array(0.02, np.float32), **({} if runtime else parameters)}
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])]
    for name, array in parameters.items() if runtime else []:
        inputs.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), []))
    graph = helper.make_graph(
        nodes, "graph", inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    x = np.random.default_rng(1).standard_normal((20, 3)).astype(np.float32) * 2
    feeds = {"x": x, **(parameters if runtime else {})}
    found = session(differentiate(model, wrt="x")).run(["grad_x"], {**feeds, "target": np.arange(20) % 2})[0]
    info = np.iinfo(dtype)
    low, high = ((bound - 5) * 0.02 for bound in (info.min - 0.5, info.max + 0.5))
    real = (np.clip(np.round(x / np.float32(0.02)) + 5, info.min, info.max) - 5) * 0.02
    m = real @ (w * 0.02)
    seed = np.eye(2)[np.arange(20) % 2] * ((m >= low) & (m < high))
    expected = (seed @ (w * 0.02).T) * ((x >= low) & (x < high))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    assert 0 < (expected != 0).sum() < expected.size


def test_weights_of_four_bits_in_blocks() -> None:
    """ONNX Runtime multiplies by them with kernels that round; nothing else may read the dequantised weights."""
    rng, node = np.random.default_rng(0), helper.make_node
    numbers = {"w": rng.integers(-8, 8, (64, 32)), "v": rng.integers(-8, 8, (32, 4))}
    scales = {"sw": rng.uniform(0.01, 0.05, (2, 32)), "sv": rng.uniform(0.01, 0.05, (1, 4))}
    nodes = [
        node("DequantizeLinear", ["w", "sw"], ["dw"], axis=0, block_size=32),
        node("MatMul", ["x", "dw"], ["m"]),
        node("Tanh", ["m"], ["t"]),
        node("DequantizeLinear", ["v", "sv"], ["dv"], axis=0, block_size=32),
        node("MatMul", ["t", "dv"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(v.astype(ml_dtypes.int4), k) for k, v in numbers.items()]
        + [numpy_helper.from_array(v.astype(np.float32), k) for k, v in scales.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    differentiated, x = differentiate(model), rng.standard_normal((2, 64)).astype(np.float32)
    for level in (_LEVELS.ORT_DISABLE_ALL, _LEVELS.ORT_ENABLE_ALL):
        expected = session(model, level).run(None, {"x": x})[0]
        found = session(differentiated, level).run(["y", "grad_x"], {"x": x, "target": TARGET})
        np.testing.assert_array_equal(found[0], expected)
    w, v = (numbers[k] * np.repeat(scales[f"s{k}"], 32, axis=0) for k in "wv")
    slope = (1 - np.tanh(x @ w) ** 2) * v[:, TARGET].T @ w.T
    np.testing.assert_allclose(found[1], slope, rtol=0, atol=2e-2 * np.abs(slope).max())
    assert "onnxplain.straight_through" not in metadata(differentiated)


def test_straight_through_is_stated_and_counted(tmp_path: Path) -> None:
    assert metadata(differentiate(quantize(tmp_path, "uint8")))["onnxplain.straight_through"] == "10"
    assert metadata(differentiate(quantize(tmp_path, "dynamic-int8")))["onnxplain.straight_through"] == "4"
    assert "onnxplain.straight_through" not in metadata(differentiate(network()))


@pytest.mark.parametrize("kind", ["int8", "kernels-int8", "dynamic-int8"])
def test_straight_through_can_be_switched_off(kind: str, tmp_path: Path) -> None:
    model = quantize(tmp_path, kind)
    first = "DynamicQuantizeLinear" if kind.startswith("dynamic") else "QuantizeLinear"
    with pytest.raises(UnsupportedOperatorError, match=f"{first} .*straight_through = False"):
        differentiate(model, straight_through=False)
    differentiate(network(), straight_through=False)


def test_batch_stays_symbolic(tmp_path: Path) -> None:
    model = differentiate(quantize(tmp_path, "kernels-int8"))
    assert [d.dim_param or d.dim_value for d in model.graph.output[-1].type.tensor_type.shape.dim] == ["N", 3, 12, 12]
    one, two = (session(model).run(["grad_x"], {"x": X[:n], "target": TARGET[:n]})[0] for n in (1, 2))
    np.testing.assert_allclose(one, two[:1], rtol=0, atol=1e-6 * np.abs(two).max())


def test_integer_inputs_and_outputs(tmp_path: Path) -> None:
    """uint8 pixels that an integer kernel reads have a gradient of their own, scale times that of the floats."""
    model = quantize(tmp_path, "kernels-uint8")
    plain = differentiate(model)
    first, last = model.graph.node[0], model.graph.node[-1]
    assert first.op_type == "QuantizeLinear" and last.op_type == "DequantizeLinear"
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    scale, zero = (constants[name] for name in first.input[1:])
    pixels = np.clip(np.round(X / scale) + zero, 0, 255).astype(np.uint8)
    inner = onnx.ModelProto()
    inner.CopyFrom(model)
    del inner.graph.node[-1], inner.graph.node[0]
    inner.graph.input[0].CopyFrom(helper.make_tensor_value_info(first.output[0], TensorProto.UINT8, ["N", 3, 12, 12]))
    inner.graph.output[0].CopyFrom(helper.make_tensor_value_info(last.input[0], TensorProto.UINT8, ["N", 5]))
    found = differentiate(inner)
    name = first.output[0]
    feeds = {name: pixels, "target": TARGET}
    outputs = session(found).run([last.input[0], "score", f"grad_{name}"], feeds)
    np.testing.assert_array_equal(outputs[0], session(inner).run(None, {name: pixels})[0])
    expected = session(plain).run(
        ["score", "grad_x"], {"x": (pixels - zero.astype(np.float32)) * scale, "target": TARGET}
    )
    np.testing.assert_allclose(outputs[1], expected[0], rtol=1e-6)
    np.testing.assert_allclose(outputs[2], expected[1] * scale, rtol=0, atol=1e-6 * np.abs(outputs[2]).max())
    named = differentiate(inner, tensor=last.input[0])
    np.testing.assert_allclose(session(named).run([f"grad_{name}"], feeds)[0], outputs[2])


def test_pixels_that_are_dequantised_have_their_gradient_there() -> None:
    graph = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["pixels", "scale"], ["floats"]),
            helper.make_node("MatMul", ["floats", "w"], ["y"]),
        ],
        "pixels",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
        [
            numpy_helper.from_array(np.array(0.5, np.float32), "scale"),
            numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(3, 2), "w"),
        ],
    )
    model = differentiate(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8))
    feeds = {"pixels": np.array([[1, 2, 3]], np.uint8), "target": np.array([1])}
    np.testing.assert_array_equal(session(model).run(["grad_floats"], feeds)[0], [[1, 3, 5]])
    assert "onnxplain.straight_through" not in metadata(model)


ZOO = os.environ.get("ONNXPLAIN_ZOO")


@pytest.mark.skipif(ZOO is None, reason="ONNXPLAIN_ZOO names no folder")
def test_mobilenet_of_the_zoo() -> None:
    """uint8 pixels in, uint8 probabilities out."""
    assert ZOO is not None
    name = "mobilenetv1_025_128_tflite_qdq_nhwc_uint8.onnx"
    model = onnx.load(Path(ZOO, "models", name))
    photo = Image.open(Path(ZOO, "photos", "oxpet_beagle_111.jpg")).convert("RGB").resize((128, 128))
    pixels, target = np.asarray(photo)[None], np.array([167])
    source = model.graph.input[0].name
    differentiated = differentiate(model)
    output = model.graph.output[0].name
    for level in (_LEVELS.ORT_DISABLE_ALL, _LEVELS.ORT_ENABLE_ALL):
        expected = session(model, level).run(None, {source: pixels})[0]
        found = session(differentiated, level).run([output], {source: pixels, "target": target})[0]
        np.testing.assert_array_equal(found, expected)
        assert expected.argmax() == target
    assert metadata(differentiated)["onnxplain.straight_through"] == "29"

    _move_biases(model)
    differentiated = differentiate(model)
    reference = differentiate(
        twin(model, {source: pixels}), tensor=metadata(differentiated)["onnxplain.score_tensor"], score="probability"
    )
    names = [next(v.name for v in m.graph.output if v.name.startswith("grad_")) for m in (differentiated, reference)]
    feeds = {source: pixels, "target": target}
    found, expected = (
        session(m, _LEVELS.ORT_DISABLE_ALL).run([n], feeds)[0] for m, n in zip((differentiated, reference), names)
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def _move_biases(model: onnx.ModelProto) -> None:
    """Make the biases of convolutions floats, a little larger: sums of integers are exactly zero here and there,
    at the kink of ReLU6, where the noise of floats decides."""
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    makers = {n.output[0]: n for n in model.graph.node}
    for node in [n for n in model.graph.node if n.op_type == "Conv"]:
        numbers, scale = (constants[name] for name in makers[node.input[2]].input[:2])
        bias = (numbers * scale + 1e-4).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(bias, f"{node.input[2]}/moved"))
        node.input[2] = f"{node.input[2]}/moved"
