"""Multiply matrices by columns, not by vectors: A v = (A V)[..., 0] with the column V = v[:, None].

ONNX Runtime (1.32 among others) moves transpositions down to a MatMul and fuses the two; where the right operand
is a vector, the fused operator then reads the matrix as if it were not transposed. Whether it comes to that
depends on who else reads the values in between, so that adding a gradient would change the model's outputs.
"""

from __future__ import annotations

import onnx_ir as ir

from ..graph.editing import become
from ..graph.emitter import Emitter


def multiply_by_columns(emit: Emitter) -> bool:
    """Rewrite such products in place, in subgraphs too; returns whether there were any."""
    found = [node for node in emit.graph.all_nodes() if node.op_type == "MatMul" and _by_vector(node)]
    for node in found:
        matrix, vector = node.inputs
        with emit.before(node):
            become(node, "Squeeze", emit.MatMul(matrix, emit.Unsqueeze(vector, [1])), emit.vector([-1]))
    return bool(found)


def _by_vector(node: ir.Node) -> bool:
    shapes = [None if value is None else value.shape for value in node.inputs]
    return all(shape is not None for shape in shapes) and [len(shape or ()) == 1 for shape in shapes] == [False, True]
