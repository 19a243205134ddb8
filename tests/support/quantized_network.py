"""A small network, quantised by ONNX Runtime in all its ways."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static


def network() -> onnx.ModelProto:
    """[N,3,12,12] -> five probabilities: convolutions, a residual, swish, pooling, a dense layer."""
    rng = np.random.default_rng(0)
    shapes = {"w1": (6, 3, 3, 3), "w2": (8, 6, 3, 3), "w3": (8, 8, 1, 1), "w4": (5, 8)}
    weights = {k: rng.standard_normal(s) * np.sqrt(4 / np.prod(s[1:])) for k, s in shapes.items()}
    weights |= {f"b{i}": rng.standard_normal(n) * 0.3 for i, n in ((1, 6), (2, 8), (3, 8), (4, 5))}
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1] * 4, strides=[2, 2]),
        node("Relu", ["c1"], ["r1"]),
        node("Conv", ["r1", "w2", "b2"], ["c2"], pads=[1] * 4),
        node("Relu", ["c2"], ["r2"]),
        node("Conv", ["r2", "w3", "b3"], ["c3"]),
        node("Add", ["c3", "r2"], ["sum"]),
        node("Sigmoid", ["sum"], ["gate"]),
        node("Mul", ["sum", "gate"], ["swish"]),
        node("GlobalAveragePool", ["swish"], ["pooled"]),
        node("Flatten", ["pooled"], ["features"]),
        node("Gemm", ["features", "w4", "b4"], ["logits"], transB=1),
        node("Softmax", ["logits"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 12, 12])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 5])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


X = np.random.default_rng(99).standard_normal((2, 3, 12, 12)).astype(np.float32) * 1.3


class Calibration(CalibrationDataReader):  # type: ignore[misc]
    """Four batches of noise, smaller than ``X``, so that some of what ``X`` leads to is saturated."""

    def __init__(self) -> None:
        self.batches: Iterator[np.ndarray] = iter(np.random.default_rng(1).standard_normal((4, 4, 3, 12, 12)))

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self.batches, None)
        return None if batch is None else {"x": batch.astype(np.float32)}


U8, I8, U16, I16 = QuantType.QUInt8, QuantType.QInt8, QuantType.QUInt16, QuantType.QInt16


STATIC = {
    "uint8": (QuantFormat.QDQ, U8, I8, False), "int8": (QuantFormat.QDQ, I8, I8, False),
    "channels": (QuantFormat.QDQ, U8, I8, True), "int8-channels": (QuantFormat.QDQ, I8, I8, True),
    "uint16": (QuantFormat.QDQ, U16, U8, False), "int16": (QuantFormat.QDQ, I16, I8, False),
    "kernels-uint8": (QuantFormat.QOperator, U8, U8, False), "kernels-int8": (QuantFormat.QOperator, I8, I8, False),
    "kernels-channels": (QuantFormat.QOperator, U8, I8, True),
}  # fmt: skip


def quantize(folder: Path, kind: str, form: QuantFormat | None = None) -> onnx.ModelProto:
    """Signed weights have seven bits: with eight, sums of two products saturate in ONNX Runtime's kernels for AVX2
    without VNNI."""
    source, result = folder / "float.onnx", folder / "quantised.onnx"
    onnx.save(network(), source)
    if kind.startswith("dynamic"):
        quantize_dynamic(source, result, weight_type=I8 if kind == "dynamic-int8" else U8)
    else:
        given, activations, weights, channels = STATIC[kind]
        quantize_static(
            source, result, Calibration(), quant_format=form or given, activation_type=activations,
            weight_type=weights, per_channel=channels, reduce_range=weights == I8,
        )  # fmt: skip
    return onnx.load(result)
