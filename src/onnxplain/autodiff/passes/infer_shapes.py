"""Shapes and types for every value, with named dimensions.

ONNX's whole-graph inference (which follows shapes computed in the graph) and the naming of dimensions
it leaves open feed each other: a named height lets a Reshape by ``Shape -> Concat`` resolve. They
alternate until nothing changes, at most three times.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir

from ..inference import Inference, unknown

_LARGE = 1024


def infer_shapes(model: ir.Model, inference: Inference) -> None:
    """Infer in place; what cannot be inferred stays unknown."""
    for node in model.graph:
        if node.op_type == "STFT" and "onesided" not in node.attributes:
            node.attributes["onesided"] = ir.AttrInt64("onesided", 1)  # the default, which ONNX's inference misses
    for _ in range(3):
        before = _open_dimensions(model)
        _infer_whole_graph(model)
        for node in model.graph:
            inference.infer(node)
        if before == _open_dimensions(model) or not _open_dimensions(model):
            break


def _open_dimensions(model: ir.Model) -> int:
    count = 0
    for node in model.graph:
        for value in node.outputs:
            count += 1 if value.shape is None else sum(unknown(d) for d in value.shape)
    return count


def _infer_whole_graph(model: ir.Model) -> None:
    """ONNX's inference on a copy in which large weights are inputs, so that no weight is serialised."""
    graph = model.graph
    large = [v for v in graph.initializers.values() if v.const_value is not None and v.const_value.nbytes > _LARGE]
    proto = _serialize_without(model, large)
    try:
        inferred = onnx.shape_inference.infer_shapes(proto, check_type=False, strict_mode=False, data_prop=True)
    except Exception:  # the C++ inference raises several types; unknown shapes are then handled at run time
        return
    found = {v.name: v.type for v in [*inferred.graph.value_info, *inferred.graph.output]}
    for node in graph:
        for value in node.outputs:
            if value.name in found:
                _merge(value, found[value.name])


def _serialize_without(model: ir.Model, weights: list[ir.Value]) -> onnx.ModelProto:
    graph = model.graph
    inputs = list(graph.inputs)
    for value in weights:
        assert value.name is not None and value.const_value is not None
        value.type = value.type or ir.TensorType(value.const_value.dtype)
        value.shape = value.shape or ir.Shape(value.const_value.shape.numpy())
        graph.initializers.pop(value.name)
        graph.inputs.append(value)
    try:
        return ir.serde.serialize_model(model)
    finally:
        graph.inputs.clear()
        graph.inputs.extend(inputs)
        for value in weights:
            graph.register_initializer(value)


def _merge(value: ir.Value, proto: onnx.TypeProto) -> None:
    if value.type is None:
        value.type = ir.serde.deserialize_type_proto_for_type(proto)
    shape = ir.serde.deserialize_type_proto_for_shape(proto)
    if shape is None:
        return
    if value.shape is None or len(value.shape) != len(shape):
        value.shape = shape
    else:
        value.shape = ir.Shape([new if not isinstance(old, int) else old for old, new in zip(value.shape, shape)])
