"""Parts of the gradient of a Concat by one convolution each, instead of cutting the result of a single one.

    Split(Conv(g, W'), axis 1)[i] = Conv(g, the rows of W' that belong to part i)

and the same for sums of such convolutions, where several convolutions read the Concat. The numbers of multiplications
are equal, and the rows are slices of the same initialiser, which runtimes fold when they load the model.

ONNX Runtime has no Split in its blocked layout: the gradient of every part would be reordered twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from itertools import accumulate

import onnx_ir as ir

from ..graph.emitter import Emitter
from ..graph.inference import small_constant
from ..graph.passes import Step, Work, fired, graph_pass, left
from .rewriting import gradient_nodes, scope_of, substitute_outputs, terms

#: Channels of a block of ONNX Runtime's layout with AVX-512; fewer would be filled up.
_BLOCK = 16


@graph_pass(needs="convolutions in the place of transposed ones", ensures="no split of a convolution's channels")
def split_convolutions(work: Work) -> Iterator[Step]:
    """Rewrite, in place, every Split along the channels of convolutions that is not in ``forward``."""
    emit, forward = work.emit, work.forward
    own = set(forward)
    for node in gradient_nodes(emit, forward, "Split"):
        dy, sizes = node.inputs[0], small_constant(node.inputs[1]) if len(node.inputs) > 1 else None
        if dy is None or sizes is None or node.attributes.get_int("axis", 0) != 1:
            continue
        reason = _reason(dy, own) or (None if not (sizes % _BLOCK).any() else f"parts of {sizes.tolist()} channels")
        if reason is not None:
            yield left(node, reason)
            continue
        ends = list(accumulate(int(size) for size in sizes))
        with emit.scope(scope_of(node)):
            parts = [_part(emit, dy, own, end - int(size), end) for size, end in zip(sizes, ends)]
        yield fired(node)
        substitute_outputs(emit, node, parts)


def _reason(dy: ir.Value, forward: set[ir.Node]) -> str | None:
    """Why a gradient cannot be computed part by part."""
    return next((reason for term in _terms(dy, forward) if (reason := _reason_of(term, forward)) is not None), None)


def _terms(dy: ir.Value, forward: set[ir.Node]) -> list[ir.Value]:
    def is_sum(value: ir.Value) -> bool:
        node = value.producer()
        return node is not None and node not in forward and node.op_type == "Add" and not _is_read_as_whole(value)

    return terms(dy, is_sum)


def _is_read_as_whole(dy: ir.Value) -> bool:
    return len(list(dy.uses())) > 1 or dy.is_graph_output()


def _reason_of(dy: ir.Value, forward: set[ir.Node]) -> str | None:
    node = dy.producer()
    if node is None or node in forward or node.op_type not in ("Conv", "Add"):
        return "what is split is no convolution"
    if _is_read_as_whole(dy):
        return "what is split is read as a whole too"
    return "what is split is a convolution in groups" if node.attributes.get_int("group", 1) > 1 else None


def _part(emit: Emitter, dy: ir.Value, forward: set[ir.Node], start: int, end: int) -> ir.Value:
    return reduce(emit.Add, [_part_of_convolution(emit, term, start, end) for term in _terms(dy, forward)])


def _part_of_convolution(emit: Emitter, dy: ir.Value, start: int, end: int) -> ir.Value:
    node = dy.producer()
    assert node is not None
    rows = [emit.Slice(v, [start], [end], [0]) for v in node.inputs[1:] if v is not None]
    attributes = {attribute.name: attribute.value for attribute in node.attributes.values()}
    return emit.Conv(node.inputs[0], *rows, **attributes)
