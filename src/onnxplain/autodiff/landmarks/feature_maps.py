"""Inner tensors that hold features at positions: what class activation maps are made of.

The last feature map is the last *bottleneck* (every path from the input to the score leads through it) that has
positions left, and from which the score is computed with weights. Branches of a block, the inside of a residual block
and attention heads are no bottlenecks; a map of class scores, which only pooling separates from the score, holds no
features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from ...errors import InputError
from ..graph.inference import small_constant
from ..reverse.quantized import output_parameters
from ..reverse.reach import Path, is_float, reads
from .attention_maps import picks_tokens

#: Operators that move, pool, resize or retype features: the features before them are finer or the same.
_CARRIERS = {
    "MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "Resize", "Upsample", "Pad", "Cast",
    "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout", "QuantizeLinear",
    "DequantizeLinear",
}  # fmt: skip
#: What operators with weights have in their names, quantised and fused ones too.
_WEIGHTED = ("Conv", "MatMul", "Gemm", "Einsum")
_CHANNELS_FIRST = {
    "Conv", "ConvTranspose", "BatchNormalization", "InstanceNormalization", "GroupNormalization", "MaxPool",
    "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "LRN", "PRelu", "Resize",
}  # fmt: skip
_CHANNELS_LAST = {"LayerNormalization", "SkipLayerNormalization", "RMSNormalization", "MatMul", "Attention"}


@dataclass(frozen=True)
class FeatureMap:
    """A tensor [N, ...] of features: its name, and which axis counts channels.

    ``zero_point`` is what stands for zero in it: 0 for floats. The scale of quantised features cancels in every product
    with the gradient with respect to them.
    """

    name: str
    channel_axis: int
    zero_point: int


def find_feature_map(graph: ir.Graph, source: ir.Value, score: ir.Value, layer: str | None) -> FeatureMap:
    """Return the tensor ``layer``, or the last feature map between ``source`` and ``score``.

    Raises:
        InputError: the tensor does not exist, is not on the way, or holds no features at positions; or no feature map
            is found.
    """
    between = Path(list(graph), [source], score)
    path, steps = between.values, between.steps
    if layer is not None:
        return _described(_named(graph, path, score, layer))
    for value, index in reversed(_bottlenecks(steps, source, path)):
        if _holds_features(value, source) and _is_read(value, steps[index + 1 :], path):
            return _described(value)
    raise InputError(
        f"no feature map [N,C,h,w] lies on the way from {source.name!r} to the score {score.name!r}; name the tensor "
        "whose features are wanted with layer=."
    )


def _bottlenecks(steps: Sequence[ir.Node], source: ir.Value, path: set[ir.Value]) -> list[tuple[ir.Value, int]]:
    """The values that cut ``steps`` in two, in order, each with the index of its node: nothing that was made before
    one of them is read after it."""
    last_read = {value: index for index, node in enumerate(steps) for value in reads(node)}
    farthest, found = last_read.get(source, 0), []
    for index, node in enumerate(steps):
        made = [value for value in node.outputs if value in path]
        if farthest <= index and len(made) == 1:
            found.append((made[0], index))
        farthest = max([farthest, *(last_read.get(value, index) for value in made)])
    return found


def _holds_features(value: ir.Value, source: ir.Value) -> bool:
    """Whether ``value`` is a tensor [N, ...] with more than one position, made and not only moved."""
    node = value.producer()
    if node is None or node.op_type in _CARRIERS or value.dtype is None or _zero_point(value) is None:
        return False
    if value.shape is None or source.shape is None or len(value.shape) < 3:
        return False
    batch, axis = value.shape[0], channel_axis(value)
    positions = [extent for at, extent in enumerate(value.shape) if at not in (0, axis)]
    return (not isinstance(batch, int) or batch == source.shape[0]) and any(extent != 1 for extent in positions)


def _is_read(value: ir.Value, after: Sequence[ir.Node], path: set[ir.Value]) -> bool:
    """Whether the score is computed with weights from all positions of ``value``: not from a picked token alone."""
    if not any(part in node.op_type for node in after for part in _WEIGHTED):
        return False
    return any(_mixes(node, path) for node in after) or not any(picks_tokens(node, path) for node in after)


def _mixes(node: ir.Node, path: set[ir.Value]) -> bool:
    """Whether a node is an attention, or the product in one."""
    product = node.op_type == "MatMul" and all(value in path for value in node.inputs)
    return product or "Attention" in node.op_type


def _named(graph: ir.Graph, path: set[ir.Value], score: ir.Value, name: str) -> ir.Value:
    values = {v.name: v for v in graph.inputs} | {v.name: v for node in graph for v in node.outputs}
    if name not in values:
        raise InputError(f"layer names {name!r}, which is not a tensor of the graph; a layer is called by its output.")
    value = values[name]
    if value not in path:
        raise InputError(f"the score {score.name!r} does not depend on layer {name!r}, so it has no gradient.")
    if _zero_point(value) is None:
        raise InputError(f"layer {name!r} holds {value.dtype} of an unknown zero point; name a float tensor.")
    if value.shape is None or len(value.shape) < 3:
        shape = "an unknown shape" if value.shape is None else f"the shape {value.shape}"
        raise InputError(
            f"layer {name!r} has {shape}, and so no positions; name a tensor [N,C,h,w], [N,C,l] or [N,T,D]."
        )
    return value


def _described(value: ir.Value) -> FeatureMap:
    return FeatureMap(value.name or "", channel_axis(value), _zero_point(value) or 0)


def _zero_point(value: ir.Value) -> int | None:
    """What stands for zero in a tensor; None for integers that no kernel or quantisation made with a known one."""
    if is_float(value):
        return 0
    node = value.producer()
    if node is None:
        return None
    if node.op_type == "QuantizeLinear":
        parameters: Sequence[ir.Value | None] | None = node.inputs[1:]
    else:
        parameters = output_parameters(node)
    if not parameters:
        return None
    if len(parameters) == 1 or parameters[1] is None:
        return 0
    zero = small_constant(parameters[1])
    return int(zero.item()) if zero is not None and zero.size == 1 else None


def channel_axis(value: ir.Value) -> int:
    """Return the channel axis of an inner tensor of rank 3 or more, by what computes it and what reads it.

    Convolutions and their like say axis 1, layer normalisations and products with matrices the last one; operators that
    keep the shape, concatenations and transpositions are looked through. Where nothing tells, it is axis 1, and the
    last for rank 3 (sequences).
    """
    assert value.shape is not None
    rank = len(value.shape)
    pending, seen = [(value, tuple(range(rank)))], {value}
    for current, axes in pending:
        if len(seen) > 64:
            break
        node = current.producer()
        neighbours = [node for node, index in current.uses() if index == 0] + ([] if node is None else [node])
        for neighbour in neighbours:
            if neighbour.op_type in _CHANNELS_FIRST:
                return axes[1]
            if neighbour.op_type in _CHANNELS_LAST:
                return axes[-1]
        for other, moved in _same_layout(current, axes):
            if other not in seen:
                seen.add(other)
                pending.append((other, moved))
    return 1 if rank > 3 else 2


def _same_layout(value: ir.Value, axes: tuple[int, ...]) -> list[tuple[ir.Value, tuple[int, ...]]]:
    """The neighbours of ``value`` with the same axes, and which axis of the first tensor each of theirs is."""
    found: list[tuple[ir.Value, tuple[int, ...]]] = []
    producer = value.producer()
    for node, forwards in [*((node, True) for node, _ in value.uses()), *([(producer, False)] if producer else [])]:
        others = node.outputs if forwards else node.inputs
        for other in others:
            if other is None or other.shape is None or len(other.shape) != len(axes):
                continue
            if node.op_type == "Transpose":
                order = list(node.attributes.get_ints("perm", list(reversed(range(len(axes))))))
                moved = [axes[a] for a in order] if forwards else [axes[order.index(a)] for a in range(len(axes))]
                found.append((other, tuple(moved)))
            elif node.op_type == "Concat" or other.shape == value.shape:
                found.append((other, axes))
    return found
