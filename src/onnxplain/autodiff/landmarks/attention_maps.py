"""Where the attention probabilities of a transformer are, and which of its tokens the score is computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from ...errors import InputError
from ..graph.inference import small_constant
from ..reverse.reach import Path

#: What may stand between the probabilities and their product with the values.
_BETWEEN = {"Dropout", "Identity", "Cast", "Where"}


@dataclass(frozen=True)
class AttentionMaps:
    """The probabilities of every self-attention on the way, first block first, and the tokens read after the last.

    ``names`` are tensors [N,heads,T,T] or [N*heads,T,T]; ``tokens`` says which of the T rows the score is computed
    from: all of them if they are pooled, one if it is a class token; None if they are picked in some other way.
    """

    names: tuple[str, ...]
    tokens: slice | None


def find_attention(graph: ir.Graph, source: ir.Value, score: ir.Value) -> AttentionMaps:
    """Return the attention between ``source`` and ``score``.

    Raises:
        InputError: there is none with its probabilities among the tensors.
    """
    between = Path(list(graph), [source], score)
    path, steps = between.values, between.steps
    found = [index for index, node in enumerate(steps) if _is_attention(node, path)]
    if not found:
        fused = sorted({node.op_type for node in steps if "Attention" in node.op_type})
        inside = f"they stay inside of the operator {fused[0]}" if fused else "no softmax is multiplied by values"
        raise InputError(f"no attention probabilities lie between {source.name!r} and the score: {inside}.")
    names = tuple(steps[index].outputs[0].name or "" for index in found)
    return AttentionMaps(names, _tokens(steps[found[-1] :], path))


def _is_attention(node: ir.Node, path: set[ir.Value]) -> bool:
    """Whether a node is a softmax over the last axis whose result is multiplied by values."""
    value = node.outputs[0]
    if node.op_type != "Softmax" or value not in path or value.shape is None:
        return False
    rank = len(value.shape)
    if rank not in (3, 4) or node.attributes.get_int("axis", -1) % rank != rank - 1:
        return False
    pending = [value]
    for current in pending:
        for use, index in current.uses():
            if use.op_type == "MatMul" and index == 0 and use.inputs[1] in path:
                return True
            if use.op_type in _BETWEEN:
                pending.append(use.outputs[0])
    return False


def _tokens(after: Sequence[ir.Node], path: set[ir.Value]) -> slice | None:
    """The tokens that are read of [N,T,D] on the way to the score; None if that cannot be told."""
    picks = [node for node in after if picks_tokens(node, path)]
    if not picks:
        return slice(None)
    node, bounds = picks[0], [small_constant(value) for value in picks[0].inputs[1:]]
    if len(picks) > 1 or any(bound is None or bound.size != 1 for bound in bounds):
        return None
    numbers = [int(bound.item()) for bound in bounds if bound is not None]
    if node.op_type == "Gather":
        return slice(numbers[0], numbers[0] + 1 or None)
    steps = numbers[3:]
    return slice(*numbers[:2]) if node.op_type == "Slice" and steps in ([], [1]) else None


def picks_tokens(node: ir.Node, path: set[ir.Value]) -> bool:
    """Return whether a node keeps some of the tokens of an input [N,T,D] on ``path``, or may do so."""
    value = node.inputs[0] if node.inputs else None
    if value is None or value not in path or value.shape is None or len(value.shape) != 3:
        return False
    if node.op_type in ("Gather", "Split"):
        return node.attributes.get_int("axis", 0) % 3 == 1
    if node.op_type == "Slice":
        axes = small_constant(node.inputs[3]) if len(node.inputs) > 3 else None
        return axes is None or 1 in [int(axis) % 3 for axis in axes.flat]
    return node.op_type in ("GatherND", "GatherElements")
