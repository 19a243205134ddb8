"""How many channels stand side by side in ONNX Runtime's blocked layout on this processor."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from onnx import TensorProto, helper

from ..providers import CPU
from ..session import Session
from .editing import BLOCKED

_MOST = 16


@lru_cache(maxsize=1)
def lanes() -> int:
    """Return 8 or 16, found by reordering an array; 1 where the layout is another, or there is none."""
    shape = [1, _MOST, 1, 2]
    node = helper.make_node("ReorderInput", ["x"], ["y"], domain=BLOCKED)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
    graph = helper.make_graph([node], "lanes", values[:1], values[1:])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(BLOCKED, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    x = np.arange(2 * _MOST, dtype=np.float32).reshape(shape)
    (y,) = Session(model, providers=CPU, threads=1).run({"x": x}, ["y"])
    for width in (8, _MOST):
        if np.array_equal(y.ravel(), x.reshape(_MOST // width, width, 2).transpose(0, 2, 1).ravel()):
            return width
    return 1
