"""What one operator needs to pass one version of the standard.

An adapter is registered under (operator, version) and changes a node of the version before, in place,
into one that means the same from that version on. The nodes that it emits, which lie before that node, have their
opset 18 form. The node itself always computes the same outputs as before: readers of them see no difference.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from ...errors import UnsupportedOperatorError
from ..graph.editing import become, replace, set_input, take
from ..graph.emitter import Emitter

WORKING_OPSET = 18

Adapter = Callable[[Emitter, ir.Node], None]
ADAPTERS: dict[tuple[str, int], Adapter] = {}


def adapter(version: int, *op_types: str) -> Callable[[Adapter], Adapter]:
    """Register the decorated function for ``op_types`` when they pass ``version``."""

    def register(function: Adapter) -> Adapter:
        for op_type in op_types:
            ADAPTERS[op_type, version] = function
        return function

    return register


def scalar_like(emit: Emitter, number: float, like: ir.Value) -> ir.Value:
    """A scalar constant of the type of ``like``, which may be known only at run time."""
    if like.dtype is None:
        return emit.CastLike(emit.constant(np.float32(number)[...]), like)
    return emit.constant(np.array(np.float32(number)).astype(like.dtype.numpy()))


def source(node: ir.Node) -> ir.Value:
    """The first input, which every operator with an adapter has."""
    value = node.inputs[0]
    assert value is not None
    return value


def refuse(node: ir.Node, what: str, found: object, advice: str) -> UnsupportedOperatorError:
    """The error for a configuration that opset 18 cannot express."""
    return UnsupportedOperatorError(
        f"{node.op_type} (node {node.name!r}): {what} = {found!r} has no counterpart in opset {WORKING_OPSET}; "
        f"{advice}."
    )


@adapter(18, "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax")
@adapter(18, "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSumSquare")
@adapter(13, "ReduceSum", "Squeeze", "Unsqueeze")
def axes_to_input(emit: Emitter, node: ir.Node) -> None:
    """The attribute ``axes`` became an input. None and an empty list both mean all axes, but for Unsqueeze."""
    axes = take(node, "axes")
    if axes or node.op_type == "Unsqueeze":
        set_input(node, 1, emit.vector(axes))


@adapter(13, "Split")
def split_to_input(emit: Emitter, node: ir.Node) -> None:
    """The attribute ``split`` became an input."""
    split = take(node, "split")
    if split is not None:
        set_input(node, 1, emit.vector(split))


@adapter(18, "Split")
def split_num_outputs(emit: Emitter, node: ir.Node) -> None:
    """A split into equal parts must say how many."""
    if len(node.inputs) < 2 or node.inputs[1] is None:
        node.resize_inputs(1)
        node.attributes.add(ir.AttrInt64("num_outputs", len(node.outputs)))


@adapter(10, "Slice")
def slice_to_inputs(emit: Emitter, node: ir.Node) -> None:
    """The attributes ``starts``, ``ends`` and ``axes`` became inputs."""
    for index, name in enumerate(("starts", "ends", "axes"), start=1):
        values = take(node, name)
        if values is not None:
            set_input(node, index, emit.vector(values))


@adapter(10, "TopK")
def top_k_to_input(emit: Emitter, node: ir.Node) -> None:
    """The attribute ``k`` became an input."""
    set_input(node, 1, emit.vector([take(node, "k")]))


@adapter(11, "Pad")
def pad_to_inputs(emit: Emitter, node: ir.Node) -> None:
    """The attributes ``pads`` and ``value`` became inputs."""
    set_input(node, 1, emit.vector(take(node, "pads")))
    value = take(node, "value")
    if value:
        set_input(node, 2, scalar_like(emit, value, source(node)))


@adapter(11, "Clip")
def clip_to_inputs(emit: Emitter, node: ir.Node) -> None:
    """The attributes ``min`` and ``max`` became inputs; left out, they were the limits of float32.

    Those are stated, for infinity was clipped to them; float16 cannot hold them and was not.
    """
    x, largest = source(node), float(np.finfo(np.float32).max)
    for index, (name, limit) in enumerate((("min", -largest), ("max", largest)), start=1):
        bound = take(node, name)
        if bound is not None or x.dtype != ir.DataType.FLOAT16:
            set_input(node, index, scalar_like(emit, limit if bound is None else bound, x))


@adapter(12, "Dropout")
def dropout_without_ratio(emit: Emitter, node: ir.Node) -> None:
    """Inference is the identity. The mask, all true since version 12, was all zero before."""
    take(node, "ratio")
    if len(node.outputs) == 1:
        return
    mask = node.outputs[1]
    if mask.uses() or mask.is_graph_output():
        x = source(node)
        zeros = emit.ConstantOfShape(emit.Shape(x))
        typed = emit.Cast(zeros, to=mask.dtype) if mask.dtype else emit.CastLike(zeros, x)
        replace(emit, mask, typed)
    node.resize_outputs(1)


@adapter(9, "BatchNormalization")
def batch_normalization_spatial(emit: Emitter, node: ir.Node) -> None:
    """``spatial = 0`` had one scale, bias, mean and variance per element: flatten, so that they are channels."""
    if take(node, "spatial") in (None, 1):
        return
    if len(node.outputs) > 1:
        raise refuse(node, "spatial", 0, "with training outputs; export the model for inference")
    x = source(node)
    flat = [emit.Reshape(value, [-1]) for value in node.inputs[1:]]
    rows = emit.Flatten(x, axis=1)
    y = emit.BatchNormalization(rows, *flat, epsilon=take(node, "epsilon"))
    become(node, "Reshape", y, emit.Shape(x), allowzero=1)


@adapter(14, "BatchNormalization")
def batch_normalization_training(emit: Emitter, node: ir.Node) -> None:
    """Optional outputs meant training mode; ``saved_mean`` and ``saved_var`` are gone."""
    if not any(value.name for value in node.outputs[1:]):
        node.resize_outputs(1)
        return
    for value in node.outputs[3:]:
        if value.uses() or value.is_graph_output():
            raise refuse(node, "output", value.name, "export the model for inference")
    node.resize_outputs(min(3, len(node.outputs)))
    node.attributes.add(ir.AttrInt64("training_mode", 1))


@adapter(13, "Softmax", "LogSoftmax", "Hardmax")
def softmax_of_one_axis(emit: Emitter, node: ir.Node) -> None:
    """It was taken over all axes from ``axis`` (default 1) on together; it is taken over one.

    They agree where the later extents are 1. Otherwise: flatten to two axes, take it, restore the shape.
    """
    axis = take(node, "axis")
    axis = 1 if axis is None else axis
    x = source(node)
    if x.shape is not None and all(extent == 1 for extent in list(x.shape)[axis % len(x.shape) + 1 :]):
        node.attributes.add(ir.AttrInt64("axis", axis))
        return
    y = emit.op(node.op_type, emit.Flatten(x, axis=axis), outputs=1, axis=1)[0]
    become(node, "Reshape", y, emit.Shape(x), allowzero=1)


@adapter(11, "Scatter")
def scatter_elements(emit: Emitter, node: ir.Node) -> None:
    """Scatter was renamed."""
    node.op_type = "ScatterElements"


@adapter(13, "MeanVarianceNormalization")
def mean_variance_axes(emit: Emitter, node: ir.Node) -> None:
    """Became a function whose inference fails in ONNX's checker unless the default ``axes`` are stated."""
    if "axes" not in node.attributes:
        node.attributes.add(ir.AttrInt64s("axes", [0, 2, 3]))


@adapter(16, "RoiAlign")
def roi_align_corners(emit: Emitter, node: ir.Node) -> None:
    """The old coordinates are not the new default."""
    node.attributes.add(ir.AttrString("coordinate_transformation_mode", "output_half_pixel"))
