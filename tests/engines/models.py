"""The models that engines are compared on, and inputs for them that lie on no kink.

An activation within rounding of a kink flips a mask, and one flipped mask changes a gradient by a hundredth of its
maximum. An input is taken only if ONNX Runtime with and without its optimisations agrees on every gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from onnxplain import Target
from onnxplain.autodiff import differentiate
from onnxplain.bundled import bundled_model

from support.architectures import ARCHITECTURES
from support.architectures.export import export
from support.detectors import yolov8

#: How far ONNX Runtime may be from itself on an input, of the largest element.
AGREES = 1e-5
Arrays = dict[str, np.ndarray]
Level = onnxruntime.GraphOptimizationLevel


@dataclass(frozen=True)
class Example:
    """A model before it is differentiated, how, and the shape and type of a sample of its input."""

    make: Callable[[], onnx.ModelProto]
    shape: tuple[int, ...]
    vocabulary: int = 0
    options: dict[str, Any] = field(default_factory=dict)

    def differentiated(self, form: str = "portable") -> onnx.ModelProto:
        """The model in a form, with a map where the input is an image."""
        return differentiate(self.make(), form=form, saliency=len(self.shape) == 3, **self.options)

    def draw(self, seed: int) -> np.ndarray:
        """A batch of one: smooth noise for images, token numbers for texts."""
        rng = np.random.default_rng(seed)
        if self.vocabulary:
            return rng.integers(0, self.vocabulary, (1, *self.shape))
        return rng.standard_normal((1, *self.shape)).astype(np.float32)


@dataclass(frozen=True)
class Sample:
    """A differentiated model, what to feed it, and what ONNX Runtime returns."""

    model: onnx.ModelProto
    feeds: Arrays
    expected: Arrays
    #: The outputs to compare; none: the gradients and maps.
    compared: Sequence[str] = ()
    example: Example | None = None

    def in_form(self, form: str) -> Sample:
        """The same input for the model in another form."""
        if self.example is None or form == "portable":
            return self
        return replace(self, model=self.example.differentiated(form))

    @property
    def gradients(self) -> Arrays:
        """What engines are compared by."""
        ours = ("grad_", "saliency_")
        return {k: v for k, v in self.expected.items() if (k in self.compared if self.compared else k.startswith(ours))}


def sample(example: Example) -> Sample:
    """The first of twenty inputs that lies on no kink.

    Raises:
        RuntimeError: none of them does.
    """
    model = example.differentiated()
    plain, optimised = (_session(model, level) for level in (Level.ORT_DISABLE_ALL, Level.ORT_ENABLE_ALL))
    for seed in range(20):
        feeds = _feeds(model, example, seed)
        expected, other = _run(optimised, feeds), _run(plain, feeds)
        found = Sample(model, feeds, expected, example=example)
        if max(difference(other[name], array) for name, array in found.gradients.items()) <= AGREES:
            return found
    raise RuntimeError("every input lies on a kink: ONNX Runtime disagrees with itself on all of them")


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest one, of the largest element expected; infinite for another shape, or for no number."""
    if found.shape != expected.shape or not np.all(np.isfinite(found)):
        return float("inf")
    scale = float(np.max(np.abs(expected))) or 1.0
    return float(np.max(np.abs(found.astype(np.float64) - expected))) / scale


def _session(model: onnx.ModelProto, level: Level) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level, options.log_severity_level = level, 3
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def _run(session: onnxruntime.InferenceSession, feeds: Arrays) -> Arrays:
    names = [v.name for v in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds)))


def _feeds(model: onnx.ModelProto, example: Example, seed: int) -> Arrays:
    feeds: Arrays = {}
    for value in model.graph.input:
        if not feeds:
            feeds[value.name] = example.draw(seed)
        elif value.name == "target":
            feeds[value.name] = np.array([1], dtype=np.int64)
        else:
            raise ValueError(f"no value for the input {value.name!r}")
    return feeds


def _architecture(name: str) -> onnx.ModelProto:
    architecture = next(a for a in ARCHITECTURES if a.name == name)
    return export(architecture, architecture.model(), "torchscript")


def _channels_last() -> onnx.ModelProto:
    """As tf2onnx writes MobileNets: Transpose, convolutions of SAME padding with ReLU6, square pointwise ones."""
    rng, nodes, weights = np.random.default_rng(0), [], {}

    def add(op: str, *inputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, inputs, [f"v{len(nodes)}"], **attributes))
        return f"v{len(nodes) - 1}"

    def weight(*shape: int) -> str:
        name = f"w{len(weights)}"
        weights[name] = (rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)
        return name

    def convolve(x: str, outputs: int, inputs: int, side: int, **attributes: Any) -> str:
        x = add("Conv", x, weight(outputs, inputs, side, side), auto_pad="SAME_UPPER", **attributes)
        return add("Clip", x, "zero", "six")

    x = add("Transpose", "image", perm=[0, 3, 1, 2])
    x = convolve(x, 16, 3, 3, strides=[2, 2])
    for stride in (1, 2):
        x = convolve(x, 16, 1, 3, group=16, strides=[stride, stride])
        x = convolve(x, 16, 16, 1)
    x = add("Transpose", x, perm=[0, 2, 3, 1])
    x = add("Reshape", add("ReduceMean", x, axes=[1, 2], keepdims=1), "rows")
    nodes.append(helper.make_node("Softmax", [add("MatMul", x, weight(16, 10))], ["probabilities"], axis=-1))
    weights |= {
        "zero": np.float32(0), "six": np.float32(6), "rows": np.array([-1, 16], dtype=np.int64),
    }  # fmt: skip
    return _graph(nodes, ("image", ["batch", 32, 32, 3]), ("probabilities", ["batch", 10]), weights)


def _recurrent() -> onnx.ModelProto:
    """A bidirectional LSTM over eight steps, and a linear layer on its last hidden state."""
    rng, hidden, inputs = np.random.default_rng(0), 8, 6
    shapes = {"W": (2, 4 * hidden, inputs), "R": (2, 4 * hidden, hidden), "B": (2, 8 * hidden), "V": (2 * hidden, 4)}
    weights = {name: (rng.standard_normal(shape) * 0.4).astype(np.float32) for name, shape in shapes.items()}
    weights["rows"] = np.array([-1, 2 * hidden], dtype=np.int64)
    nodes = [
        helper.make_node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["steps", "W", "R", "B"], ["", "h"], hidden_size=hidden, direction="bidirectional"),
        helper.make_node("Transpose", ["h"], ["t"], perm=[1, 0, 2]),
        helper.make_node("Reshape", ["t", "rows"], ["r"]),
        helper.make_node("MatMul", ["r", "V"], ["logits"]),
    ]
    return _graph(nodes, ("x", ["batch", 8, inputs]), ("logits", ["batch", 4]), weights)


def _graph(
    nodes: list[onnx.NodeProto],
    x: tuple[str, list[Any]],
    y: tuple[str, list[Any]],
    weights: Arrays,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(x[0], TensorProto.FLOAT, x[1])],
        [helper.make_tensor_value_info(y[0], TensorProto.FLOAT, y[1])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


MODELS: dict[str, Example] = {
    "bundled (int8 weights)": Example(lambda: onnx.load(bundled_model()), (3, 224, 224)),
    "residual net": Example(partial(_architecture, "resnet18"), (3, 64, 64)),
    "ViT": Example(partial(_architecture, "vit"), (3, 32, 32)),
    "TensorFlow, NHWC": Example(_channels_last, (32, 32, 3)),
    "Inception": Example(partial(_architecture, "inception"), (3, 49, 49)),
    "text": Example(partial(_architecture, "text"), (12,), vocabulary=20, options={"target": Target(at="all")}),
    "bi-LSTM": Example(_recurrent, (8, 6)),
    "bi-LSTM, static": Example(_recurrent, (8, 6), options={"static": {"batch": 1}}),
    "detector": Example(yolov8, (3, 16, 16), options={"target": Target(0, at="best"), "layout": "yolov8"}),
}
