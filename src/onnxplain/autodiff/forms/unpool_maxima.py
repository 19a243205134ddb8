"""Gradients of max pooling without overlaps: a scatter of the flat tensors becomes MaxUnpool.

    Reshape(ScatterElements(zeros [size], flat indices, flat dy), shape of x) = MaxUnpool(dy, indices, shape of x)

where the indices are those of MaxPool, flat positions in x, and no two windows share one: both put dy at its index
and zeros elsewhere. MaxUnpool checks the extents against what the windows need, so pooling with ceil_mode (whose
last window may end behind the image), dilations or auto_pad is left alone; so are windows that are not wider than
their padding, of which a single one would need no extent at all.

Measured (see :mod:`.order`), with this pass and without: VGG-16 2.26 and 2.29.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from ..graph.passes import Step, Work, fired, graph_pass, left
from .rewriting import gradient_nodes, scope_of, substitute


@graph_pass(needs="max pooling's gradient as a scatter", ensures="max pooling without overlaps is undone by MaxUnpool")
def unpool_maxima(work: Work) -> Iterator[Step]:
    """Rewrite, in place, every such scatter that is not in ``forward``."""
    emit, forward = work.emit, work.forward
    for node in gradient_nodes(emit, forward, "ScatterElements"):
        indices, dy = (_before_reshape(value) for value in node.inputs[1:3])
        pool = None if indices is None else indices.producer()
        uses = list(node.outputs[0].uses())
        if pool is None or pool.op_type != "MaxPool" or indices is not pool.outputs[1] or dy is None or len(uses) != 1:
            continue
        result, x = uses[0].node, pool.inputs[0]
        if x is None or result.op_type != "Reshape" or result.outputs[0].shape != x.shape:
            continue
        given = pool.attributes
        plain = given.get_string("auto_pad", "NOTSET") == "NOTSET" and not given.get_int("ceil_mode", 0)
        if node.attributes.get_string("reduction", "none") != "none":
            yield left(node, "windows overlap")
        elif not plain or max(given.get_ints("dilations", [1])) > 1:
            yield left(node, "ceil_mode, auto_pad or dilations")
        elif not _wider_than_padding(pool):
            yield left(node, "windows are not wider than their padding")
        elif dy.dtype != ir.DataType.FLOAT:
            yield left(node, f"{dy.dtype} is pooled, not FLOAT")
        else:
            windows = {n: given.get_ints(n) for n in ("kernel_shape", "pads", "strides") if n in given}
            with emit.scope(scope_of(node)):
                new = emit.MaxUnpool(dy, indices, emit.shape(x), **windows)
            yield fired(node)
            substitute(emit, result, new)


def _wider_than_padding(pool: ir.Node) -> bool:
    kernel = pool.attributes.get_ints("kernel_shape", [])
    pads = pool.attributes.get_ints("pads", [0] * 2 * len(kernel))
    return all(extent > low + high for extent, low, high in zip(kernel, pads, pads[len(kernel) :]))


def _before_reshape(value: ir.Value | None) -> ir.Value | None:
    node = None if value is None else value.producer()
    return node.inputs[0] if node is not None and node.op_type == "Reshape" else None
