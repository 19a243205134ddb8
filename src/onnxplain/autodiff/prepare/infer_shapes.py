"""Shapes and types for every value, with named dimensions.

Most models are understood node by node. In the others ONNX's whole-graph inference (which follows shapes computed in
the graph) and the naming of dimensions it leaves open feed each other: a named height lets a Reshape by
``Shape -> Concat`` resolve. They alternate until nothing changes, at most three times. Names that ONNX makes up for
what it cannot find are dropped for ours, which are equal where the dimensions are, and ours that stand for something
not understood are given anew in every turn, since more may be understood by then.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
import onnx_ir as ir

from ..graph.inference import Inference, is_provisional, unknown
from ..graph.io import LARGE, serialized_without
from ..graph.passes import Step, Work, graph_pass, left

_UNKNOWN = "its shape is only known when the model runs"


@graph_pass(needs="opset 18 or newer", ensures="shapes and types as far as they can be told")
def know_shapes(work: Work) -> Iterator[Step]:
    """:func:`infer_shapes`, which says what it could not infer; there is nothing to rewrite."""
    infer_shapes(work.model, work.emit.inference)
    for node in work.model.graph:
        if any(value.name and value.shape is None for value in node.outputs):
            yield left(node, _UNKNOWN)


def infer_shapes(model: ir.Model, inference: Inference) -> None:
    """Infer in place; what cannot be inferred stays unknown."""
    for node in model.graph:
        if node.op_type == "STFT" and "onesided" not in node.attributes:
            node.attributes["onesided"] = ir.AttrInt64("onesided", 1)  # the default, which ONNX's inference misses
    for node in model.graph:
        inference.infer(node)
    for _ in range(3):
        if not _is_open(model):
            break
        before = _shapes(model)
        _withdraw_provisional_names(model)
        _infer_whole_graph(model)
        for node in model.graph:
            inference.infer(node)
        if before == _shapes(model):
            break


def _is_open(model: ir.Model) -> bool:
    """Whether anything is left to find out about a value of the main graph."""
    values = [value for node in model.graph for value in node.outputs if value.name]
    return any(
        v.type is None or v.shape is None or any(unknown(extent) or is_provisional(extent) for extent in v.shape)
        for v in values
    )


def _shapes(model: ir.Model) -> list[ir.Shape | None]:
    return [value.shape for node in model.graph for value in node.outputs]


def _withdraw_provisional_names(model: ir.Model) -> None:
    for node in model.graph:
        for value in node.outputs:
            if value.shape is not None and any(is_provisional(dim) for dim in value.shape):
                value.shape = ir.Shape([None if is_provisional(dim) else dim for dim in value.shape])


def _infer_whole_graph(model: ir.Model) -> None:
    """ONNX's inference on a copy in which large weights are inputs, so that no weight is serialised."""
    graph = model.graph
    large = [v for v in graph.initializers.values() if v.const_value is not None and v.const_value.nbytes > LARGE]
    proto = serialized_without(model, large)
    try:
        inferred = onnx.shape_inference.infer_shapes(proto, check_type=False, strict_mode=False, data_prop=True)
    except Exception:  # the C++ inference raises several types; unknown shapes are then handled at run time
        return
    known = {name for value in _typed(proto.graph) for name in _names(value.type)}
    found = {value.name: value.type for value in _typed(inferred.graph)}
    for node in graph:
        for value in node.outputs:
            if value.name in found:
                _merge(value, found[value.name], known)


def _typed(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    return [*graph.input, *graph.value_info, *graph.output]


def _names(proto: onnx.TypeProto) -> list[str]:
    return [dim.dim_param for dim in proto.tensor_type.shape.dim]


def _merge(value: ir.Value, proto: onnx.TypeProto, known: set[str]) -> None:
    """Take over what ONNX found, except names of dimensions that the model did not have."""
    if value.type is None:
        value.type = ir.serde.deserialize_type_proto_for_type(proto)
    shape = ir.serde.deserialize_type_proto_for_shape(proto)
    if shape is None:
        return
    found = [dim if isinstance(dim, int) or dim.value in known else ir.SymbolicDim(None) for dim in shape]
    if value.shape is not None and len(value.shape) == len(found):
        found = [old if isinstance(old, int) or unknown(new) else new for old, new in zip(value.shape, found)]
    value.shape = ir.Shape(found)
