"""A float twin of a quantised model, whose ordinary derivative is the straight-through one.

At a given input the twin computes what the quantised model computes. It has no rounding: round(u) is u + r
with r, the error that rounding makes at that input, a constant; and saturation is a clip, half a step wider
than the type's range, so that what merely rounds to the last number is inside. Its derivative can be taken
by finite differences, or by the rules for floats.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

Arrays = dict[str, np.ndarray]
_MOVES = {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "MaxPool", "Concat", "Identity", "Slice", "Gather"}


def twin(model: onnx.ModelProto, feeds: Arrays) -> onnx.ModelProto:
    """The twin of ``model`` at ``feeds``; its outputs that were integers are those numbers as floats.

    Covers QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear, MatMulInteger, ConvInteger and what moves
    integers. It takes exactly the samples of ``feeds``.
    """
    model = onnx.shape_inference.infer_shapes(model)
    values = _every_value(model, feeds)
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    constants |= {n.output[0]: numpy_helper.to_array(n.attribute[0].t) for n in model.graph.node if _is_constant(n)}
    found = onnx.ModelProto()
    found.CopyFrom(model)
    graph = found.graph
    del graph.node[:]
    build = _Builder(graph, values, constants)
    for node in model.graph.node:
        rule = build.rules.get(node.op_type)
        if rule is not None:
            rule(node)
        else:
            graph.node.append(node)
    del graph.value_info[:]
    for taken in graph.input:  # what was rounded at the samples of ``feeds`` is a constant of their batch
        taken.type.tensor_type.shape.dim[0].dim_value = len(feeds[taken.name])
    for output in graph.output:
        if output.name in build.whole:
            output.type.tensor_type.elem_type = TensorProto.FLOAT
    return found


def _is_constant(node: onnx.NodeProto) -> bool:
    return node.op_type == "Constant" and node.attribute[0].name == "value"


def _every_value(model: onnx.ModelProto, feeds: Arrays) -> Arrays:
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    known = {v.name for v in model.graph.output}
    names = [name for node in model.graph.node for name in node.output if name and name not in known]
    exposed.graph.output.extend(helper.make_value_info(name, onnx.TypeProto()) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    runner = onnxruntime.InferenceSession(exposed.SerializeToString(), options, ["CPUExecutionProvider"])
    outputs = [v.name for v in runner.get_outputs()]
    return {**feeds, **dict(zip(outputs, runner.run(outputs, feeds)))}


class _Builder:
    def __init__(self, graph: onnx.GraphProto, values: Arrays, constants: Arrays) -> None:
        self.graph, self.values, self.constants = graph, values, constants
        self.whole: set[str] = set()  # integers that became floats
        self.rules: dict[str, Callable[[onnx.NodeProto], None]] = {
            "QuantizeLinear": self.quantize, "DequantizeLinear": self.dequantize, "Cast": self.cast,
            "DynamicQuantizeLinear": self.dynamic, "MatMulInteger": self.product, "ConvInteger": self.product,
        }  # fmt: skip

    def constant(self, name: str, array: np.ndarray) -> str:
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(array, dtype=np.float32), name))
        return name

    def add(self, op: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        name = output or f"{op}_{len(self.graph.node)}/twin"
        self.graph.node.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def parameter(self, node: onnx.NodeProto, index: int) -> np.ndarray:
        """A scale or zero point, such that it broadcasts; the tensor it belongs to is input 0."""
        if index >= len(node.input):
            return np.array(0.0)
        array = self.values.get(node.input[index], self.constants.get(node.input[index]))
        assert array is not None
        array = array.astype(np.float64)
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        rank = np.ndim(self.values.get(node.input[0], self.constants.get(node.input[0])))
        return array.reshape([-1] + [1] * (rank - axis % rank - 1)) if array.size > 1 else array.reshape([])

    def rounded(self, node: onnx.NodeProto, scale: np.ndarray, zero: np.ndarray) -> None:
        """q = clip(x / s + z) + r."""
        y, x = self.values[node.output[0]], self.values[node.input[0]].astype(np.float64)
        low, high = np.iinfo(y.dtype).min - 0.5, np.iinfo(y.dtype).max + 0.5
        error = y - np.clip(x / scale + zero, low, high)
        stem = node.output[0]
        level = self.add("Mul", node.input[0], self.constant(f"{stem}/slope", 1 / scale))
        level = self.add("Add", level, self.constant(f"{stem}/zero", zero))
        bounds = [self.constant(f"{stem}/{name}", np.array(bound)) for name, bound in (("low", low), ("high", high))]
        level = self.add("Clip", level, *bounds)
        self.add("Add", level, self.constant(f"{stem}/error", error), output=stem)
        self.whole.add(stem)

    def quantize(self, node: onnx.NodeProto) -> None:
        if node.input[0] in self.constants:
            self.graph.node.append(node)
        else:
            self.rounded(node, self.parameter(node, 1), self.parameter(node, 2))

    def dynamic(self, node: onnx.NodeProto) -> None:
        _, scale, zero = (self.values[name].astype(np.float64) for name in node.output)
        self.rounded(node, scale, zero)
        self.constant(node.output[1], scale)
        self.constant(node.output[2], zero)
        self.whole.add(node.output[2])

    def dequantize(self, node: onnx.NodeProto) -> None:
        if node.input[0] not in self.whole and not self.moved(node.input[0]):
            self.graph.node.append(node)
            return
        stem = node.output[0]
        level = self.add("Sub", node.input[0], self.constant(f"{stem}/zero", self.parameter(node, 2)))
        self.add("Mul", level, self.constant(f"{stem}/scale", self.parameter(node, 1)), output=stem)

    def moved(self, name: str) -> bool:
        """Whether an integer is one that became a float, moved."""
        node = next((n for n in self.graph.node if name in n.output), None)
        if node is None or node.op_type not in _MOVES:
            return False
        return node.input[0] in self.whole or self.moved(node.input[0])

    def cast(self, node: onnx.NodeProto) -> None:
        if node.input[0] in self.whole:
            self.add("Identity", node.input[0], output=node.output[0])
        else:
            self.graph.node.append(node)

    def product(self, node: onnx.NodeProto) -> None:
        factors = []
        for index in (0, 1):
            name = node.input[index]
            if name not in self.whole:
                name = self.add("Cast", name, to=TensorProto.FLOAT)
            if len(node.input) > index + 2 and node.input[index + 2]:
                zero = node.input[index + 2]
                zero = zero if zero in self.whole else self.add("Cast", zero, to=TensorProto.FLOAT)
                name = self.add("Sub", name, zero)
            factors.append(name)
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        self.add(node.op_type.removesuffix("Integer"), *factors, output=node.output[0], **attributes)
        self.whole.add(node.output[0])
