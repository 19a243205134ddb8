"""Old ONNX graphs as computations of torch, in any of its precisions: what networks that never saw torch should give.

Only the operators of the networks that the ``onnx`` package carries, at opset 9, written from the standard's text.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor
from torch.nn import functional

Attributes = dict[str, object]


def scores(model: onnx.ModelProto, x: Tensor) -> Tensor:
    """The output of a model with one input of floats, before its final softmax; [N,K,...] in the precision of ``x``."""
    fed = {v.name for v in model.graph.input} - {w.name for w in model.graph.initializer}
    assert len(fed) == 1, fed
    values = {w.name: _constant(numpy_helper.to_array(w), x.dtype) for w in model.graph.initializer}
    values[fed.pop()] = x
    for node in model.graph.node:
        if node.op_type == "Softmax":
            assert node is model.graph.node[-1]
            return values[node.input[0]]
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        values[node.output[0]] = OPERATORS[node.op_type](attributes, *(values[name] for name in node.input))
    return values[model.graph.output[0].name]


def _constant(array: np.ndarray, dtype: torch.dtype) -> Tensor:
    tensor = torch.from_numpy(array.copy())
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _padded(x: Tensor, pads: object, value: float) -> Tensor:
    top, left, bottom, right = pads or (0, 0, 0, 0)  # type: ignore[misc]
    return functional.pad(x, (left, right, top, bottom), value=value)


def _conv(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    x = _padded(x, a.get("pads"), 0.0)
    return functional.conv2d(
        x, weight, bias, stride=a.get("strides", 1), dilation=a.get("dilations", 1), groups=a.get("group", 1)
    )  # type: ignore[call-overload, no-any-return]


def _max_pool(a: Attributes, x: Tensor) -> Tensor:
    assert not a.get("ceil_mode")
    return functional.max_pool2d(_padded(x, a.get("pads"), -np.inf), a["kernel_shape"], a.get("strides", 1))


def _average_pool(a: Attributes, x: Tensor) -> Tensor:
    """Sums over windows, divided by how many of their positions are in the image, or by all of them."""

    def sums(values: Tensor) -> Tensor:
        return functional.avg_pool2d(
            _padded(values, a.get("pads"), 0.0), a["kernel_shape"], a.get("strides", 1), divisor_override=1
        )

    return (
        sums(x) / sums(torch.ones_like(x))
        if not a.get("count_include_pad")
        else functional.avg_pool2d(_padded(x, a.get("pads"), 0.0), a["kernel_shape"], a.get("strides", 1))
    )


def _normalize(a: Attributes, x: Tensor, *parameters: Tensor) -> Tensor:
    scale, bias, mean, variance = (v[:, None, None] for v in parameters)
    return (x - mean) / torch.sqrt(variance + a.get("epsilon", 1e-5)) * scale + bias


def _lrn(a: Attributes, x: Tensor) -> Tensor:
    """x / (bias + alpha / size * sum of squares of the ``size`` channels around)^beta."""
    size, channels = a["size"], x.shape[1]
    before = (size - 1) // 2
    squares = functional.pad(x.square(), (0, 0, 0, 0, before, size - 1 - before))
    total = sum(squares[:, k : k + channels] for k in range(size))
    return x / (a.get("bias", 1.0) + a.get("alpha", 1e-4) / size * total) ** a.get("beta", 0.75)


def _gemm(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    assert a.get("alpha", 1.0) == a.get("beta", 1.0) == 1.0 and not a.get("transA")
    return x @ (weight.T if a.get("transB") else weight) + bias


def _reshape(a: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    return x.reshape([x.shape[axis] if extent == 0 else extent for axis, extent in enumerate(shape.tolist())])


def _unsqueeze(a: Attributes, x: Tensor) -> Tensor:
    for axis in sorted(a["axes"]):
        x = x.unsqueeze(axis)
    return x


OPERATORS: dict[str, Callable[..., Tensor]] = {
    "Add": lambda a, x, y: x + y,
    "AveragePool": _average_pool,
    "BatchNormalization": _normalize,
    "Concat": lambda a, *parts: torch.cat(parts, a["axis"]),
    "Conv": _conv,
    "Dropout": lambda a, x: x,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda a, x: x.mean((2, 3), keepdim=True),
    "LRN": _lrn,
    "MaxPool": _max_pool,
    "Mul": lambda a, x, y: x * y,
    "Relu": lambda a, x: torch.relu(x),
    "Reshape": _reshape,
    "Sum": lambda a, *terms: sum(terms),
    "Transpose": lambda a, x: x.permute(a["perm"]),
    "Unsqueeze": _unsqueeze,
}
