"""Gates: a depthwise convolution with ones where the gradient of a residual trunk enters from another layout.

    dx = dy mask  ->  dx = Conv(dy, ones [C, 1, 1, 1], group = C) mask

which is the same numbers (each is multiplied by one). ONNX Runtime's CPU provider keeps elementwise operators in its
blocked layout only if all their inputs are in it: where a residual trunk begins with what is not (the gradient of a
global pool, of a pooling or of interleaved phases), its sums stay outside to its very end, and every branch pays
for two reorderings. A convolution is what the layout begins with; behind it the sums stay inside, and fuse into the
branches' convolutions. Done where the masked gradient forks and the channels fill the layout's blocks of 16.

Measured (see :mod:`.order`), with this pass and without: ResNet-50 2.54 and 2.74, ResNet-18 2.60 and 2.66.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from ..graph.editing import set_input
from ..graph.passes import Step, Work, fired, graph_pass, left
from .rewriting import gradient_nodes, scope_of

_BLOCK = 16
#: What stays in the blocked layout, given inputs that are in it.
_BLOCKED = {"Conv", "Mul", "Add"}


@graph_pass(needs="masks as saturated ramps", ensures="residual trunks are in the blocked layout")
def gate_residuals(work: Work) -> Iterator[Step]:
    """Put a gate, in place, before every forking mask whose gradient comes from outside the blocked layout."""
    emit, forward = work.emit, work.forward
    blocked: dict[ir.Value, bool] = {}
    for node in gradient_nodes(emit, forward, "Mul"):
        factors = list(node.inputs)
        masks = [_is_mask(v) for v in factors]
        if sum(masks) != 1 or len(list(node.outputs[0].uses())) < 2:
            continue
        index = masks.index(False)
        dy = factors[index]
        if dy is None or dy.dtype != ir.DataType.FLOAT or dy.shape is None or len(dy.shape) != 4:
            continue
        channels = dy.shape[1]
        if _is_blocked(dy, blocked):
            continue
        if not isinstance(channels, int) or channels % _BLOCK:
            yield left(node, f"{channels} channels do not fill blocks of {_BLOCK}")
            continue
        with emit.scope(scope_of(node)):
            gate = emit.Conv(dy, emit.constant(np.ones((channels, 1, 1, 1)), dy.dtype), group=channels)
        gate.shape = dy.shape
        yield fired(node)
        set_input(node, index, gate)
        blocked[gate] = True


def _is_mask(value: ir.Value | None) -> bool:
    node = None if value is None else value.producer()
    if node is None:
        return False
    return node.op_type == "HardSigmoid" or (node.op_type == "Mul" and all(_is_mask(v) for v in node.inputs))


def _is_blocked(value: ir.Value, known: dict[ir.Value, bool]) -> bool:
    """Whether ONNX Runtime will have a gradient in its blocked layout."""
    if value not in known:
        node = value.producer()
        if node is None or node.op_type not in _BLOCKED:
            known[value] = False
        elif node.op_type == "Conv":
            known[value] = True
        else:
            known[value] = all(v is not None and (_is_mask(v) or _is_blocked(v, known)) for v in node.inputs)
    return known[value]
