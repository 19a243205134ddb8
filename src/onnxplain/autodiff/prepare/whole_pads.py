"""Pad all axes, not those of a list: Pad(x, [1, 0], axes=[1]) = Pad(x, [0, 1, 0, 0]) of a matrix.

ONNX Runtime (1.32 among others) moves transpositions over a Pad with fewer axes as if it had all, and fails in the
run. Whether it comes to that depends on what follows, so that adding a gradient would break a model that runs.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..graph.editing import become
from ..graph.inference import small_constant
from ..graph.passes import Step, Work, fired, graph_pass


@graph_pass(needs="inferred shapes", ensures="no Pad of a known rank has a list of axes")
def pad_all_axes(work: Work) -> Iterator[Step]:
    """Rewrite such pads in place, in subgraphs too."""
    emit = work.emit
    for node in [node for node in emit.graph.all_nodes() if node.op_type == "Pad" and len(node.inputs) > 3]:
        x, pads, value, axes = node.inputs
        margins, listed = (None if one is None else small_constant(one) for one in (pads, axes))
        if x is None or x.shape is None or margins is None or listed is None:
            continue
        rank = len(x.shape)
        whole = [0] * (2 * rank)
        for axis, low, high in zip(listed.tolist(), *margins.reshape(2, -1).tolist()):
            whole[axis % rank], whole[axis % rank + rank] = low, high
        yield fired(node)
        with emit.before(node):
            become(node, "Pad", x, emit.vector(whole), value, mode=node.attributes.get_string("mode", "constant"))
