"""Reductions over axes that are found at run time, over axes that are known: where a rule undoes broadcasting of a
tensor of known rank to extents that only the run knows.

    ReduceSum(dy, where x has extent 1)  =  ReduceSum(Reshape(dy, [.., d / e, e, ..]), the axis of every d / e)

for the extents d of dy and e of x: where e = d the sum is over one element, and where e = 1 over all. Numbers of
elements become constants where they are known, and products of extents elsewhere. OpenVINO, tract and TensorRT take
axes for constants; others have no Size.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np
import onnx_ir as ir

from ..graph.emitter import Emitter, static_shape
from ..graph.inference import made_by
from ..graph.passes import Step, Work, fired, graph_pass, left
from .rewriting import gradient_nodes, scope_of, substitute


@graph_pass(
    needs="broadcasting undone as the walk does it", ensures="axes of reductions are constants, and there is no Size"
)
def constant_axes(work: Work) -> Iterator[Step]:
    """Rewrite, in place, every ReduceSum over axes from NonZero, and every Size, that is not in ``forward``."""
    emit, forward = work.emit, work.forward
    for node in gradient_nodes(emit, forward, "ReduceSum"):
        axes = made_by(node.inputs[1], "Reshape") if len(node.inputs) > 1 else None
        if axes is None or made_by(axes.inputs[0], "NonZero") is None:
            continue
        uses, dy = list(node.outputs[0].uses()), node.inputs[0]
        result = uses[0].node if len(uses) == 1 else None
        rank = None if result is None or result.op_type != "Reshape" else _rank_of(result.inputs[1])
        if result is None or rank is None or dy is None or dy.shape is None:
            yield left(node, "a rank is unknown")
            continue
        assert result.inputs[1] is not None
        with emit.scope(scope_of(node)):
            new = _summed(emit, dy, result.inputs[1], len(dy.shape) - rank, rank)
        yield fired(node)
        substitute(emit, result, new)
    for node in gradient_nodes(emit, forward, "Size"):
        x = node.inputs[0]
        assert x is not None
        known = static_shape(x)
        with emit.scope(scope_of(node)):
            size = emit.ReduceProd(emit.Shape(x), keepdims=0) if known is None else emit.constant(np.array(prod(known)))
        yield fired(node)
        substitute(emit, node, size if known is None else emit.Identity(size))


def _rank_of(shape: ir.Value | None) -> int | None:
    """How many extents a shape has."""
    extents = None if shape is None else static_shape(shape)
    return None if extents is None or len(extents) != 1 else extents[0]


def _summed(emit: Emitter, dy: ir.Value, shape: ir.Value, lead: int, rank: int) -> ir.Value:
    """``dy`` summed to a shape of this rank, which was broadcast, with ``lead`` axes in front."""
    full = emit.Shape(dy)
    own = emit.Slice(full, [lead], [lead + rank], [0])
    repeats = emit.Div(own, emit.Max(shape, emit.constant(np.array([1]))))
    pairs = emit.Concat(emit.Unsqueeze(repeats, [1]), emit.Unsqueeze(shape, [1]), axis=1)
    extents = emit.Concat(emit.Slice(full, [0], [lead], [0]), emit.Reshape(pairs, [-1]), axis=0)
    axes = [*range(lead), *(lead + 2 * axis for axis in range(rank))]
    return emit.ReduceSum(emit.Reshape(dy, extents, allowzero=1), axes, keepdims=0)
