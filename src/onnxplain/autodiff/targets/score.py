"""What is differentiated, with respect to what, and the seed that starts the walk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ...errors import InputError, ModelError
from ..graph.channels import channel_axis
from ..graph.emitter import Emitter
from ..graph.inference import advice_on_rank
from ..graph.operator import NO_GRADIENT
from ..reverse.quantized import MICROSOFT, is_whole, output_parameters
from ..reverse.reach import depends_on, is_float, reads, stand_ins
from .classifier_scores import classifier_scores
from .written_out_softmax import written_out_softmax

#: Operators between a softmax and the output that only rename, reshape, move or retype its result.
_TAIL = {
    "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Cast", "Dropout",
    "DequantizeLinear", "QuantizeLinear",
}  # fmt: skip
_KERNELS = {"QLinearSoftmax", "QLinearSigmoid"}
_PROBABILITY = {"Softmax", "LogSoftmax", "Sigmoid"} | _KERNELS


def find_output(model: ir.Model, name: str | None, *, gradients: bool = True) -> ir.Value:
    """The tensor named ``name``, or the first float output that depends on an input.

    Without ``gradients`` it may also depend on the input through integers.

    Raises:
        InputError: no tensor of that name, or not a float one.
        ModelError: no float output depends on an input.
    """
    graph = model.graph
    reached = _reached(graph) if gradients else _computed(graph)
    if name is not None:
        values = {v.name: v for v in [*graph.inputs, *(v for node in graph for v in node.outputs)]}
        if name not in values:
            outputs = ", ".join(repr(v.name) for v in graph.outputs)
            raise InputError(f"no tensor named {name!r} in the graph; the model's outputs are {outputs}.")
        if is_float(values[name]):
            return values[name]
        if values[name] not in reached:
            raise InputError(f"tensor {name!r} holds {values[name].dtype}, which has no gradient; name a float tensor.")
        return _dequantized(graph, values[name])
    for value in graph.outputs:
        if value in reached and is_float(value):
            return value
    for value in graph.outputs:
        if value in reached:
            return _dequantized(graph, value)
    found = ", ".join(f"{v.name!r} ({v.dtype or v.type})" for v in graph.outputs)
    path = ", ".join(sorted({n.op_type for n in graph}))
    raise ModelError(
        f"no float path leads from an input to an output of the model; outputs: {found}; operators: {path}. "
        f"Such a model has no gradient: {NO_GRADIENT}, or name a float tensor with tensor=."
    )


def _reached(graph: ir.Graph) -> set[ir.Value]:
    nodes = list(graph)
    return depends_on(nodes, [value for source in graph.inputs for value in stand_ins(nodes, source)])


def _computed(graph: ir.Graph) -> set[ir.Value]:
    """Everything that is computed from an input."""
    found = set(graph.inputs)
    for node in graph:
        if not found.isdisjoint(reads(node)):
            found.update(node.outputs)
    return found


def _dequantized(graph: ir.Graph, value: ir.Value) -> ir.Value:
    """The float tensor that quantised ``value`` was made from, or, of an integer kernel, what it stands for."""
    before = value
    while (node := before.producer()) is not None and node.op_type in _TAIL and node.inputs[0] is not None:
        before = node.inputs[0]
        if node.op_type == "QuantizeLinear":
            return before
    node = before.producer()
    parameters = None if node is None else output_parameters(node)
    if parameters is None:
        raise InputError(f"tensor {value.name!r} holds {value.dtype} of an unknown scale; name a float tensor.")
    return _dequantize(graph, value, *parameters)


def _dequantize(graph: ir.Graph, value: ir.Value, scale: ir.Value, zero: ir.Value | None) -> ir.Value:
    node = ir.node("DequantizeLinear", [value, scale, zero], name=f"{value.name}/dequantized")
    result = node.outputs[0]
    result.name, result.type, result.shape = node.name, ir.TensorType(scale.dtype or ir.DataType.FLOAT), value.shape
    graph.append(node)
    return result


@dataclass(frozen=True)
class Score:
    """The tensor whose classes are scores, and its class axis (None for one score per sample).

    ``probability`` says what made probabilities of them (softmax, sigmoid), where no operator of its own did.
    """

    value: ir.Value
    class_axis: int | None
    probability: str | None = None


@dataclass(frozen=True)
class Head:
    """The tensor before a final softmax or sigmoid, the axis of the softmax, and whether its logarithm is taken."""

    before: ir.Value
    axis: int | None = None
    logarithm: bool = False


def look_through(output: ir.Value) -> Head:
    """What a model ends in; ``output`` itself if that is no softmax or sigmoid.

    Before the integer kernel of one it is a tensor of integers. A softmax may be written out in simpler operators.
    """
    value: ir.Value = output
    while (node := value.producer()) is not None and node.inputs and node.inputs[0] is not None:
        if node.op_type in _PROBABILITY and (node.domain != MICROSOFT) == (node.op_type not in _KERNELS):
            before, logarithm = node.inputs[0], node.op_type == "LogSoftmax"
            if "Sigmoid" in node.op_type or before.shape is None:
                return Head(before, None, logarithm)
            return Head(before, node.attributes.get_int("axis", -1) % len(before.shape), logarithm)
        if (written_out := written_out_softmax(value)) is not None:
            return Head(*written_out)
        if node.op_type not in _TAIL or node.domain not in ("", "ai.onnx", MICROSOFT):
            break
        value = node.inputs[0]
    return Head(output)


def find_score(
    model: ir.Model, output: ir.Value, score: str, class_axis: int | None, *, gradients: bool = True
) -> Score:
    """The score tensor and its class axis.

    Without ``gradients`` the score of a classifier of ai.onnx.ml is the probability that it returns.
    ``class_axis`` as stated; else the axis of the softmax that was looked through; else axis 1 for
    rank 2, the last axis for rank 3 ([N,T,K]), and for higher ranks axis 1, or the last for a model
    whose image input is channels last.

    Raises:
        InputError: an unknown ``score``, or a class axis that the tensor does not have.
        ModelError: the score tensor has no batch axis, or unknown rank.
    """
    if score not in ("logit", "probability"):
        raise InputError(f"score must be 'logit' or 'probability'; found {score!r}.")
    if gradients and score == "logit" and (found := classifier_scores(model.graph, output)) is not None:
        return Score(found[0], 1, found[1])
    head = look_through(output) if score == "logit" else Head(output)
    value = head.before
    if is_whole(value):
        kernel = next(use.node for use in value.uses() if use.node.op_type in _KERNELS)
        assert kernel.inputs[1] is not None
        value = _dequantize(model.graph, value, kernel.inputs[1], kernel.inputs[2])
    if value.shape is None:
        raise ModelError(
            f"the rank of the score tensor {value.name!r} is unknown; {advice_on_rank(value)}, or name another tensor "
            "with tensor=."
        )
    rank = len(value.shape)
    if rank == 0:
        raise ModelError(
            f"the score tensor {value.name!r} is a single number without a batch axis; "
            "use target='cotangent', or name another tensor with tensor=."
        )
    if class_axis is not None:
        if not -rank <= class_axis < rank or class_axis % rank == 0:
            raise InputError(f"class_axis={class_axis} is not an axis of {value.name!r}, which has rank {rank}.")
        return Score(value, class_axis % rank)
    if head.axis:
        return Score(value, head.axis)
    if rank <= 3:
        return Score(value, rank - 1 if rank > 1 else None)
    images = [v for v in model.graph.inputs if v.shape is not None and len(v.shape) == rank]
    last = bool(images) and channel_axis(images[0]) == rank - 1
    return Score(value, rank - 1 if last else 1)


def target_seed(emit: Emitter, score: Score, target: ir.Value) -> tuple[ir.Value, ir.Value]:
    """The one-hot cotangent for ``target`` [N], and the score [N]: the class summed over positions."""
    y, axis = score.value, score.class_axis
    assert y.shape is not None and y.dtype is not None
    rank = len(y.shape)
    if axis is None:
        column = emit.Unsqueeze(y, [1])
        return emit.Squeeze(_one_hot(emit, target, column, 1), [1]), _pick(emit, column, target)
    positions = [a for a in range(1, rank) if a != axis]
    summed = emit.ReduceSum(y, positions, keepdims=0) if positions else y
    one_hot = _one_hot(emit, target, y, axis)
    if positions:
        one_hot = emit.Expand(emit.Unsqueeze(one_hot, positions), emit.shape(y))
    return one_hot, _pick(emit, summed, target)


def _one_hot(emit: Emitter, target: ir.Value, y: ir.Value, axis: int) -> ir.Value:
    """[N, K]: one at the target's class, zero elsewhere, for the K classes of ``y``."""
    assert y.shape is not None
    extent = y.shape[axis]
    if isinstance(extent, int):
        classes = emit.constant(np.arange(extent, dtype=np.int64))
    else:
        classes = emit.Range(
            emit.constant(0, ir.DataType.INT64),
            emit.Squeeze(emit.dim(y, axis), [0]),
            emit.constant(1, ir.DataType.INT64),
        )
    return emit.Cast(emit.Equal(emit.Unsqueeze(target, [1]), classes), to=y.dtype)


def _pick(emit: Emitter, scores: ir.Value, target: ir.Value) -> ir.Value:
    """scores [N,K] at the target class: [N]. An index out of range fails at run time."""
    return emit.Squeeze(emit.GatherElements(scores, emit.Unsqueeze(target, [1]), axis=1), [1])
