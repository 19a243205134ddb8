"""Cases of operators on quantised numbers: floats quantised on the way in, dequantised on the way out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from support.cases.base import Case

#: A scale and a zero point; the zero point's type is that of the quantised numbers.
Parameters = tuple[Any, np.ndarray]


@dataclass(frozen=True)
class QuantizedCase(Case):
    """A case whose drawn inputs at the positions in ``quantizes`` go through QuantizeLinear, and whose output
    goes through DequantizeLinear with ``dequantizes``, if that is given; per tensor.

    Rounding has no derivative, so only torch is compared, with the straight-through twin :func:`fake`.
    """

    quantizes: Mapping[int, Parameters] = field(default_factory=dict)
    dequantizes: Parameters | None = None
    tie_free: bool = False
    opset: int = 19  # the first whose DequantizeLinear the reference evaluator has

    def model(self, dtype: np.dtype[Any], batch: int | None) -> onnx.ModelProto:
        model = super().model(dtype, batch)
        graph = model.graph
        node = graph.node[-1]
        for index, (scale, zero) in self.quantizes.items():
            names = [node.input[index], *self._parameters(graph, f"in{index}", scale, zero)]
            node.input[index] = f"quantized{index}"
            graph.node.insert(0, helper.make_node("QuantizeLinear", names, [node.input[index]]))
        if self.dequantizes is not None:
            output, node.output[self.output] = node.output[self.output], "quantized"
            names = ["quantized", *self._parameters(graph, "out", *self.dequantizes)]
            graph.node.append(
                helper.make_node("DequantizeLinear", names, [output], axis=self.attributes.get("axis", 1))
            )
        return model

    @staticmethod
    def _parameters(graph: onnx.GraphProto, name: str, scale: Any, zero: np.ndarray) -> list[str]:
        graph.initializer.append(numpy_helper.from_array(np.asarray(scale, dtype=np.float32), f"{name}_scale"))
        graph.initializer.append(numpy_helper.from_array(zero, f"{name}_zero"))
        return [f"{name}_scale", f"{name}_zero"]


def fake(x: torch.Tensor, scale: Any, zero: np.ndarray, axis: int | None = None) -> torch.Tensor:
    """Quantised and dequantised; the derivative is 1 where nothing was saturated, 0 elsewhere."""
    info = np.iinfo(zero.dtype)
    low, high = int(info.min), int(info.max)
    if axis is None:
        return torch.fake_quantize_per_tensor_affine(x.float(), float(scale), int(zero), low, high).double()
    scales, zeros = torch.tensor(scale, dtype=torch.float32), torch.tensor(zero.astype(np.int32))
    return torch.fake_quantize_per_channel_affine(x.float(), scales, zeros, axis, low, high).double()


def real(q: np.ndarray, scale: Any, zero: Any) -> torch.Tensor:
    """What quantised numbers stand for."""
    return torch.tensor((q.astype(np.float64) - np.asarray(zero, dtype=np.float64)) * scale)
