"""Multiply matrices by columns, not by vectors: A v = (A V)[..., 0] with the column V = v[:, None].

ONNX Runtime (1.32 among others) moves transpositions down to a MatMul and fuses the two; where the right operand
is a vector, the fused operator then reads the matrix as if it were not transposed. Whether it comes to that
depends on who else reads the values in between, so that adding a gradient would change the model's outputs.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from ..graph.editing import become
from ..graph.passes import Step, Work, fired, graph_pass


@graph_pass(needs="inferred shapes", ensures="no product of a matrix with a vector")
def multiply_by_columns(work: Work) -> Iterator[Step]:
    """Rewrite such products in place, in subgraphs too."""
    emit = work.emit
    found = [node for node in emit.graph.all_nodes() if node.op_type == "MatMul" and _by_vector(node)]
    for node in found:
        matrix, vector = node.inputs
        yield fired(node)
        with emit.before(node):
            become(node, "Squeeze", emit.MatMul(matrix, emit.Unsqueeze(vector, [1])), emit.vector([-1]))


def _by_vector(node: ir.Node) -> bool:
    shapes = [None if value is None else value.shape for value in node.inputs]
    return all(shape is not None for shape in shapes) and [len(shape or ()) == 1 for shape in shapes] == [False, True]
