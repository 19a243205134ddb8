"""Let ONNX Runtime's CPU provider round as a GPU would: every tensor of float16 to float16.

The provider computes most operators in float32, between casts; where two follow each other it leaves out the casts, and
with them the rounding. An axis that is put in and taken out again, which changes nothing, keeps them apart. Sums inside
of an operator are float32, as they are on GPUs.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def rounding_session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """A session in which every node's float16 outputs are rounded, as they would be in memory."""
    kinds = {v.name: v.type.tensor_type.elem_type for v in onnx.shape_inference.infer_shapes(model).graph.value_info}
    apart = onnx.ModelProto()
    apart.CopyFrom(model)
    graph = apart.graph
    graph.initializer.append(numpy_helper.from_array(np.array([0]), "first_axis"))
    del graph.node[:]
    for node in model.graph.node:
        graph.node.append(node)
        added = graph.node[-1]
        for index, name in enumerate(node.output):
            if kinds.get(name) == TensorProto.FLOAT16:
                added.output[index] = f"{name}/exact"
                graph.node.append(helper.make_node("Unsqueeze", [f"{name}/exact", "first_axis"], [f"{name}/apart"]))
                graph.node.append(helper.make_node("Squeeze", [f"{name}/apart", "first_axis"], [name]))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(apart.SerializeToString(), options, ["CPUExecutionProvider"])
