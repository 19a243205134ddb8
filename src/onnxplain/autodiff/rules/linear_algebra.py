"""Operators on square matrices."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ..graph.emitter import Emitter
from ..graph.operator import Operator
from ..reverse.registry import Gradients, vjp


@vjp("Det")
def det(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = det X; dX = dy cof X, with the cofactors as determinants of minors: right for singular X as well."""
    x = node.input(0)
    n = x.shape[-1] if x.shape is not None else None
    if not isinstance(n, int):
        raise node.refuse("size of the matrix", n, "give the model a static matrix size")
    scale = emit.Unsqueeze(dy, [-2, -1])
    if n == 1:
        return emit.Expand(scale, emit.shape(x))
    others = np.array([[j for j in range(n) if j != i] for i in range(n)], dtype=np.int64)
    rank = node.rank(0)
    rows = emit.Gather(x, others, axis=rank - 2)
    minors = emit.Gather(rows, others, axis=rank)
    lead = list(range(rank - 2))
    minors = emit.Transpose(minors, perm=[*lead, rank - 2, rank, rank - 1, rank + 1])
    signs = (-1.0) ** np.add.outer(np.arange(n), np.arange(n))
    assert x.dtype is not None
    return emit.Mul(emit.Mul(emit.Det(minors), signs.astype(x.dtype.numpy())), scale)
