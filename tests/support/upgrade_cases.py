"""Single nodes at old opsets, for the tests of the upgrade."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

RNG = np.random.default_rng(0)


def x(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return RNG.standard_normal(shape).astype(dtype)


def f32(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


@dataclass(frozen=True)
class Old:
    """One node at an old opset. Positions in ``constants`` are initialisers, the others graph inputs."""

    op: str
    opset: int
    inputs: Sequence[np.ndarray | None]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    constants: tuple[int, ...] = ()
    outputs: int = 1

    @property
    def id(self) -> str:
        shapes = "_".join("x".join(map(str, v.shape)) for v in self.inputs if v is not None)
        given = "_".join(f"{k}={v}" for k, v in self.attributes.items())
        return f"{self.op}-{self.opset}-{shapes}-{given}".replace(" ", "").replace("/", "")

    def feeds(self) -> dict[str, np.ndarray]:
        return {f"x{i}": v for i, v in enumerate(self.inputs) if v is not None and i not in self.constants}

    def model(self, how: str) -> onnx.ModelProto:
        """``how`` says whether the inputs' dimensions are "static" or "symbolic" (lists of integers are static)."""
        names = ["" if v is None else f"x{i}" for i, v in enumerate(self.inputs)]
        declared, initializers = [], []
        for index, (name, array) in enumerate(zip(names, self.inputs)):
            if array is None:
                continue
            if index in self.constants:
                initializers.append(numpy_helper.from_array(array, name))
                continue
            symbolic = how == "symbolic" and array.dtype.kind == "f"
            shape = [f"{name}_{axis}" if symbolic else extent for axis, extent in enumerate(array.shape)]
            declared.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), shape))
        outputs = [f"y{i}" for i in range(self.outputs)]
        node = helper.make_node(self.op, names, outputs, name="node", **self.attributes)
        results = [helper.make_empty_tensor_value_info(name) for name in outputs]
        graph = helper.make_graph([node], "graph", declared, results, initializers)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=4)


REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare", "Sum")
BATCH = [x(3, 2, 4, 2), x(2), x(2), x(2), np.abs(x(2)) + 1]
BATCH_ELEMENT = [x(3, 2, 4, 2), x(2, 4, 2), x(2, 4, 2), x(2, 4, 2), np.abs(x(2, 4, 2)) + 1]
SPECIAL = f32(np.inf, -np.inf, np.nan, -7, -0.5, 0, 0.5, 7)
BOXES = f32(1, 1, 7, 6, 0, 2, 5, 8).reshape(2, 4)

CASES = [
    *(Old(f"Reduce{r}", opset, [np.abs(x(2, 3, 4)) + 1], {"axes": axes, "keepdims": keep})
      for r in REDUCTIONS for opset in (8, 11, 12, 13) if not (r == "Sum" and opset == 13)
      for axes, keep in (([1], 0), ([0, 2], 1), ([2, 0], 0))),
    *(Old(f"Reduce{r}", opset, [np.abs(x(2, 3)) + 1], {"axes": [-1]}) for r in REDUCTIONS for opset in (11,)),
    *(Old(f"Reduce{r}", 9, [np.abs(x(2, 3)) + 1], {"keepdims": 0}) for r in REDUCTIONS),
    *(Old("Squeeze", opset, [x(1, 3, 1, 2)], attributes)
      for opset in (7, 11) for attributes in ({"axes": [0]}, {"axes": [0, 2]}, {})),
    Old("Squeeze", 12, [x(1, 3, 1, 2)], {"axes": [-2]}),
    *(Old("Unsqueeze", opset, [x(3, 2)], {"axes": axes}) for opset in (7, 12) for axes in ([0], [0, 3], [1, 2])),
    Old("Unsqueeze", 11, [x(3, 2)], {"axes": [-1]}),
    *(Old("Split", opset, [x(4, 6)], attributes, outputs=2)
      for opset in (7, 11) for attributes in ({}, {"axis": 1}, {"axis": 1, "split": [1, 5]}, {"split": [4, 0]})),
    Old("Split", 13, [x(4, 6)], {"axis": -1}, outputs=3),
    Old("Split", 13, [x(4, 6), None], {"axis": -1}, outputs=3),
    Old("Split", 13, [x(4, 6), np.array([1, 3])], outputs=2),
    Old("Slice", 7, [x(5, 6)], {"starts": [1, -4], "ends": [9, -1]}),
    Old("Slice", 9, [x(5, 6)], {"starts": [2], "ends": [2**31 - 1], "axes": [1]}),
    Old("TopK", 9, [x(3, 5)], {"k": 2}, outputs=2),
    Old("TopK", 7, [x(3, 5)], {"k": 2, "axis": 0}, outputs=2),
    Old("TopK", 10, [x(3, 5), np.array([2])], {"axis": -1}, outputs=2),
    *(Old("Pad", opset, [x(3, 4, dtype=dtype)], {"pads": [1, 0, 2, 1], "value": value})
      for opset in (7, 10) for dtype in (np.float32, np.float64, np.float16) for value in (0.0, 0.1)),
    Old("Pad", 9, [x(3, 4)], {"pads": [1, -1, 0, -1]}),
    *(Old("Pad", 9, [x(3, 4)], {"pads": [1, 0, 2, 1], "mode": mode}) for mode in ("reflect", "edge")),
    *(Old("Clip", opset, [SPECIAL], attributes)
      for opset in (7, 10) for attributes in ({}, {"min": -0.1}, {"max": 0.1}, {"min": 0.0, "max": 6.0})),
    *(Old("Clip", 10, [SPECIAL[2:].astype(np.float16)], attributes) for attributes in ({}, {"min": -0.1, "max": 0.1})),
    *(Old("Dropout", opset, [x(3, 4)], {"ratio": 0.7}, outputs=outputs)
      for opset in (7, 9, 10, 11) for outputs in (1, 2)),
    Old("Dropout", 10, [x(3, 4)]),
    *(Old("BatchNormalization", opset, BATCH, attributes, constants=(1, 2, 3, 4))
      for opset in (7, 9, 13) for attributes in ({}, {"epsilon": 0.1, "momentum": 0.5})),
    *(Old("BatchNormalization", 7, BATCH_ELEMENT, attributes, constants=(1, 2, 3, 4))
      for attributes in ({"spatial": 0}, {"spatial": 0, "epsilon": 0.1})),
    Old("BatchNormalization", 8, BATCH, {"spatial": 1}),
    *(Old(op, opset, [x(*shape)], attributes)
      for op in ("Softmax", "LogSoftmax", "Hardmax") for opset in (7, 11, 12)
      for shape, attributes in (((3, 4), {}), ((2, 3, 4), {}), ((2, 3, 4), {"axis": 2}), ((2, 3, 4), {"axis": 0}),
                                ((2, 5, 1, 1), {}), ((2, 3, 1, 2), {"axis": 1}), ((2, 3, 0), {"axis": 2}))),
    *(Old(op, 11, [x(2, 3, 4)], {"axis": axis}) for op in ("Softmax", "LogSoftmax", "Hardmax") for axis in (-1, -2)),
    *(Old("MeanVarianceNormalization", 9, [x(2, 3, 4, 4)], attributes) for attributes in ({}, {"axes": [1, 3]})),
    *(Old("Scatter", 9, [x(3, 4), np.array([[0, 2], [1, 0]]), x(2, 2)], attributes)
      for attributes in ({}, {"axis": 1})),
    Old("RoiAlign", 10, [x(1, 2, 8, 8), BOXES, np.array([0, 0])], {"output_height": 3, "output_width": 2}),
    Old("RoiAlign", 12, [x(1, 2, 8, 8), BOXES, np.array([0, 0])], {"spatial_scale": 0.5, "sampling_ratio": 2}),
    *(Old("Upsample", 7, [x(2, 3, 4, 5)], {"mode": mode, "scales": scales})
      for mode in ("nearest", "linear") for scales in ([1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 1.7, 1.3])),
    *(Old("Upsample", 9, [x(2, 3, 4, 5), f32(1, 1, a, b)], {"mode": mode}, constants=constants)
      for mode in ("nearest", "linear") for a, b in ((2, 2), (1.7, 3)) for constants in ((), (1,))),
    Old("Upsample", 8, [x(2, 3)], {"scales": [1.0, 3.0]}),
    *(Old("Resize", 10, [x(2, 3, 5, 7), f32(1, 1, a, b)], {"mode": mode}, constants=constants)
      for mode in ("nearest", "linear") for a, b in ((2, 2), (0.6, 0.4), (2.3, 0.6), (0.5, 1.5), (1, 1))
      for constants in ((), (1,))),
    Old("Resize", 10, [x(5), f32(0.6)]),
    *(Old("Resize", opset, [x(1, 2, 5, 7), f32(), f32(1, 1, a, b)], attributes, constants=(1, 2))
      for opset in (11, 12) for a, b in ((2, 2), (0.6, 1.7))
      for attributes in ({}, {"mode": "linear"}, {"mode": "cubic"}, {"nearest_mode": "ceil"},
                         {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
                         {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"},
                         {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"})),
    *(Old("Resize", 11, [x(1, 2, 5, 7), f32(), f32(), np.array([1, 2, a, b])], attributes, constants=constants)
      for a, b in ((10, 14), (3, 8)) for constants in ((1, 2), (1, 2, 3))
      for attributes in ({}, {"mode": "linear"})),
    *(Old("Resize", 11, [x(1, 2, 5, 7), f32(), f32(1, 1, a, b)],
          {"coordinate_transformation_mode": "tf_half_pixel_for_nn", "nearest_mode": "floor"}, constants=(1, 2))
      for a, b in ((2, 2), (0.6, 1.7), (0.31, 4.3), (3, 0.5), (7, 1.1))),
    Old("Resize", 12, [x(1, 2, 5, 7), f32(0, 0, 0.2, 0.1, 1, 1, 0.7, 1.2), f32(1, 1, 2, 2)],
        {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 3.0}),
    Old("Resize", 13, [x(1, 2, 5, 7), None, None, np.array([1, 2, 8, 4])], {"mode": "linear"}, constants=(3,)),
]  # fmt: skip

#: Nothing is done to these; that nothing need be done is seen here.
CASES_UNCHANGED = [
    *(Old("LpPool", 11, [x(1, 2, 6, 6)], {"kernel_shape": [3, 2], "p": p, "pads": [1, 0, 1, 1], "strides": [2, 1]})
      for p in (1, 2, 3)),
    *(Old("LpPool", 11, [x(1, 2, 6, 5)], {"kernel_shape": [3, 2], "auto_pad": pad, "strides": [2, 2]})
      for pad in ("SAME_UPPER", "SAME_LOWER", "VALID")),
    *(Old(op, 7, [x(1, 2, 6, 5)], {"kernel_shape": [3, 2], "auto_pad": pad, "strides": [2, 2]})
      for op in ("MaxPool", "AveragePool") for pad in ("SAME_UPPER", "SAME_LOWER", "VALID")),
    *(Old("OneHot", opset, [np.array([0, 2, -1, -3, 5, -4]), np.array(3), f32(0, 1)]) for opset in (9, 10)),
    Old("LSTM", 7, [x(4, 2, 3), x(1, 20, 3), x(1, 20, 5), x(1, 40)], {"hidden_size": 5}, outputs=3),
    Old("GRU", 7, [x(4, 2, 3), x(2, 15, 3), x(2, 15, 5), x(2, 30)],
        {"hidden_size": 5, "direction": "bidirectional", "linear_before_reset": 1}, outputs=2),
    Old("RNN", 7, [x(4, 2, 3), x(1, 5, 3), x(1, 5, 5)], {"hidden_size": 5}, outputs=2),
    Old("Gemm", 7, [x(2, 3), x(3, 4), x(4)], {"alpha": 0.5, "beta": 2.0}),
    Old("Pow", 7, [np.abs(x(2, 3)), x(3)]),
    Old("PRelu", 7, [x(2, 3, 4), x(3, 1)]),
    Old("Add", 7, [x(2, 3, 4), x(3, 1)]),
    Old("Reshape", 7, [x(2, 0, 4), np.array([0, 0, 2, 2])]),
    Old("MaxPool", 8, [x(1, 2, 6, 5)], {"kernel_shape": [3, 2], "storage_order": 1}, outputs=2),
    Old("DepthToSpace", 10, [x(1, 8, 2, 3)], {"blocksize": 2}),
    Old("QuantizeLinear", 10, [x(2, 3), np.float32(0.1)[...], np.uint8(128)[...]]),
    Old("DequantizeLinear", 10, [RNG.integers(0, 255, (2, 3)).astype(np.uint8), np.float32(0.1)[...]]),
    Old("GatherND", 11, [x(2, 3, 4), np.array([[0, 1], [1, -1]])]),
    Old("ArgMax", 11, [f32(1, 3, 3, 2)]),
    Old("Erf", 9, [x(2, 3)]),
    Old("LRN", 7, [x(1, 5, 2, 2)], {"size": 3}),
    Old("Identity", 7, [x(2, 3)]),
    Old("CumSum", 11, [x(2, 3), np.array(1)], {"reverse": 1, "exclusive": 1}),
    Old("NonMaxSuppression", 10, [np.abs(x(1, 5, 4)), x(1, 2, 5), np.array(3)]),
]  # fmt: skip
