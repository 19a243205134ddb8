"""Small models with gradients that can be written down, for tests of everything above autodiff."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Spec = tuple[str, int, Sequence[int | str | None]]
FLOAT, UINT8 = TensorProto.FLOAT, TensorProto.UINT8

CLASSES, CHANNELS, SIDE = 5, 3, 4
FEATURES = CHANNELS * SIDE * SIDE
WEIGHT = np.random.default_rng(1).standard_normal((FEATURES, CLASSES)).astype(np.float32)
BIAS = np.linspace(-1, 1, CLASSES, dtype=np.float32)


def build(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[Spec],
    outputs: Sequence[Spec],
    constants: Mapping[str, np.ndarray] | None = None,
    metadata: Mapping[str, str] | None = None,
    domains: Mapping[str, int] | None = None,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "small",
        [helper.make_tensor_value_info(*spec) for spec in inputs],
        [helper.make_tensor_value_info(*spec) for spec in outputs],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    imports = [helper.make_opsetid(domain, version) for domain, version in {"": 18, **(domains or {})}.items()]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    helper.set_model_props(model, dict(metadata or {}))
    return model


def quadratic(
    batch: int | str = "N", *, ending: str | None = None, metadata: Mapping[str, str] | None = None
) -> onnx.ModelProto:
    """x [N,3,4,4] -> (x * x) @ W + b, [N,5], then ``ending`` ("Softmax", "Sigmoid") if any.

    Its gradient is :func:`quadratic_gradient`.
    """
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["squares"]),
        helper.make_node("Flatten", ["squares"], ["flat"], axis=1),
        helper.make_node("Gemm", ["flat", "W", "b"], ["logits"]),
    ]
    last = "logits"
    if ending is not None:
        attributes = {"axis": 1} if ending != "Sigmoid" else {}
        nodes.append(helper.make_node(ending, ["logits"], ["ended"], **attributes))
        last = "ended"
    shape = [batch, CHANNELS, SIDE, SIDE]
    constants = {"W": WEIGHT, "b": BIAS}
    return build(nodes, [("x", FLOAT, shape)], [(last, FLOAT, [batch, CLASSES])], constants, metadata)


def quadratic_scores(x: np.ndarray) -> np.ndarray:
    return (x * x).reshape(len(x), -1).astype(np.float64) @ WEIGHT + BIAS


def quadratic_gradient(x: np.ndarray, targets: Sequence[int] | np.ndarray) -> np.ndarray:
    return 2 * x * WEIGHT[:, np.asarray(targets)].T.reshape(x.shape)


def quadratic_nhwc() -> onnx.ModelProto:
    """:func:`quadratic` behind a transposition: x [N,4,4,3]. A convolution tells the axis of the channels."""
    identity = np.eye(CHANNELS, dtype=np.float32).reshape(CHANNELS, CHANNELS, 1, 1)
    nodes = [
        helper.make_node("Transpose", ["x"], ["nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["nchw", "I"], ["same"]),
        helper.make_node("Mul", ["same", "same"], ["squares"]),
        helper.make_node("Flatten", ["squares"], ["flat"], axis=1),
        helper.make_node("Gemm", ["flat", "W", "b"], ["logits"]),
    ]
    constants = {"W": WEIGHT, "b": BIAS, "I": identity}
    return build(nodes, [("x", FLOAT, ["N", SIDE, SIDE, CHANNELS])], [("logits", FLOAT, ["N", CLASSES])], constants)


def quadratic_uint8() -> onnx.ModelProto:
    """x uint8 [N,3,4,4], cast to float and divided by 255, then as :func:`quadratic`."""
    nodes = [
        helper.make_node("Cast", ["x"], ["pixels"], to=FLOAT),
        helper.make_node("Div", ["pixels", "white"], ["scaled"]),
        helper.make_node("Mul", ["scaled", "scaled"], ["squares"]),
        helper.make_node("Flatten", ["squares"], ["flat"], axis=1),
        helper.make_node("Gemm", ["flat", "W", "b"], ["logits"]),
    ]
    constants = {"W": WEIGHT, "b": BIAS, "white": np.array(255, np.float32)}
    shape = ["N", CHANNELS, SIDE, SIDE]
    return build(nodes, [("x", UINT8, shape)], [("logits", FLOAT, ["N", CLASSES])], constants)


def product() -> onnx.ModelProto:
    """Two inputs: logits [N,4] = a * b."""
    return build(
        [helper.make_node("Mul", ["a", "b"], ["logits"])],
        [("a", FLOAT, ["N", 4]), ("b", FLOAT, ["N", 4])],
        [("logits", FLOAT, ["N", 4])],
    )


def square_root() -> onnx.ModelProto:
    """logits [N,3,4,4] = sqrt(x): infinite gradient at zero; five classes are not to be had, three are."""
    return build(
        [helper.make_node("Sqrt", ["x"], ["logits"])],
        [("x", FLOAT, ["N", 3, 4, 4])],
        [("logits", FLOAT, ["N", 3, 4, 4])],
    )


def signal(channels_last: bool = False) -> onnx.ModelProto:
    """x [N,2,6] (or [N,6,2]) -> a convolution of width 3 to 4 classes, summed over positions."""
    weight = np.random.default_rng(2).standard_normal((4, 2, 3)).astype(np.float32)
    nodes = [helper.make_node("Transpose", ["x"], ["ncl"], perm=[0, 2, 1])] if channels_last else []
    nodes += [
        helper.make_node("Conv", ["ncl" if channels_last else "x", "W"], ["maps"]),
        helper.make_node("ReduceSum", ["maps", "axes"], ["logits"], keepdims=0),
    ]
    shape = ["N", 6, 2] if channels_last else ["N", 2, 6]
    constants = {"W": weight, "axes": np.array([2])}
    return build(nodes, [("x", FLOAT, shape)], [("logits", FLOAT, ["N", 4])], constants)


def open_classes() -> onnx.ModelProto:
    """A model whose number of classes follows from its data: logits [N,?] = x without its zero columns."""
    nodes = [
        helper.make_node("ReduceMax", ["x", "first"], ["peak"], keepdims=0),
        helper.make_node("NonZero", ["peak"], ["kept"]),
        helper.make_node("Squeeze", ["kept", "first"], ["columns"]),
        helper.make_node("Gather", ["x", "columns"], ["logits"], axis=1),
    ]
    shape: list[int | str | None] = ["N", 6]
    return build(
        nodes,
        [("x", FLOAT, shape)],
        [("logits", FLOAT, ["N", None])],
        {"first": np.array([0], np.int64)},
    )


def any_size() -> onnx.ModelProto:
    """x [N,3,H,W] -> 1x1 convolution to 4 channels, averaged over positions."""
    weight = np.random.default_rng(3).standard_normal((4, 3, 1, 1)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "W"], ["maps"]),
        helper.make_node("Mul", ["maps", "maps"], ["squares"]),
        helper.make_node("GlobalAveragePool", ["squares"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["logits"], axis=1),
    ]
    return build(nodes, [("x", FLOAT, ["N", 3, "H", "W"])], [("logits", FLOAT, ["N", 4])], {"W": weight})


def unsupported() -> onnx.ModelProto:
    """An operator of nobody's domain lies on the path, twice, beside one that has a rule."""
    nodes = [
        helper.make_node("Magic", ["x"], ["y"], name="first_magic", domain="nobody.knows"),
        helper.make_node("Mul", ["y", "y"], ["z"], name="square"),
        helper.make_node("Sorcery", ["z"], ["logits"], name="second_magic", domain="nobody.knows"),
    ]
    return build(nodes, [("x", FLOAT, ["N", 4])], [("logits", FLOAT, ["N", 4])], domains={"nobody.knows": 1})


def no_path() -> onnx.ModelProto:
    """The only output is an integer."""
    return build(
        [helper.make_node("ArgMax", ["x"], ["best"], axis=1, keepdims=0)],
        [("x", FLOAT, ["N", 4])],
        [("best", TensorProto.INT64, ["N"])],
    )


def image_metadata(side: int = SIDE, labels: Sequence[str] = ("red", "green", "blue", "cat", "dog")) -> dict[str, str]:
    """Preprocessing and labels as they stand in a model's metadata: shorter side to 6 pixels, crop 4."""
    preprocessing: dict[str, Any] = {"version": 1, "resize": "shortest", "size": side + 2, "crop": side}
    return {"onnxplain.preprocessing": json.dumps(preprocessing), "onnxplain.labels": json.dumps(list(labels))}


def inputs(count: int, seed: int = 0) -> np.ndarray:
    """float32 [count,3,4,4]."""
    return np.random.default_rng(seed).standard_normal((count, CHANNELS, SIDE, SIDE)).astype(np.float32)


def picture(height: int = 12, width: int = 16, seed: int = 0) -> np.ndarray:
    """A photo of noise, uint8 [H,W,3]."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


EMBEDDING = np.random.default_rng(4).standard_normal((6, 5)).astype(np.float32)
READOUT = np.random.default_rng(5).standard_normal((5, 3)).astype(np.float32)


def tokens() -> onnx.ModelProto:
    """ids int64 [N,T] -> squares of embeddings [N,T,5], summed over the tokens that are not 0, @ READOUT [5,3]."""
    nodes = [
        helper.make_node("Gather", ["E", "ids"], ["embedded"]),
        helper.make_node("Mul", ["embedded", "embedded"], ["squares"]),
        helper.make_node("Equal", ["ids", "padding"], ["padded"]),
        helper.make_node("Unsqueeze", ["padded", "last"], ["mask"]),
        helper.make_node("Where", ["mask", "nothing", "squares"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "axes"], ["pooled"], keepdims=0),
        helper.make_node("MatMul", ["pooled", "R"], ["logits"]),
    ]
    constants = {"E": EMBEDDING, "R": READOUT, "axes": np.array([1])}
    constants |= {"padding": np.array(0), "last": np.array([2]), "nothing": np.array(0, np.float32)}
    return build(nodes, [("ids", TensorProto.INT64, ["N", "T"])], [("logits", FLOAT, ["N", 3])], constants)
