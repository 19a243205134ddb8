"""Operators that write elements at indices: ScatterElements, ScatterND, TensorScatter."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from ..geometry.placement import counting, positions, scatter
from ..graph.emitter import Emitter
from ..graph.operator import Operator
from ..reverse.registry import Gradients, vjp

#: Reads an operator's view of a tensor like ``data`` at its indices: shaped like ``updates``.
Read = Callable[[ir.Value], ir.Value]
#: Writes updates into a tensor like ``data`` at the indices, with a reduction.
Write = Callable[[ir.Value, ir.Value, str], ir.Value]


@vjp("ScatterElements")
def scatter_elements(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y[index[i, j], j] = updates[i, j] in a copy of data, possibly reduced with what is there."""
    indices, axis = node.input(1), node.attribute("axis", 0)

    def read(v: ir.Value) -> ir.Value:
        return emit.GatherElements(v, indices, axis=axis)

    def write(base: ir.Value, updates: ir.Value, reduction: str) -> ir.Value:
        return scatter(emit, base, indices, updates, axis, reduction)

    return _written(emit, node, dy, read, write)


@vjp("ScatterND")
def scatter_nd(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = a copy of data with the parts that the last axis of the indices names updated."""
    indices = node.input(1)

    def read(v: ir.Value) -> ir.Value:
        return emit.GatherND(v, indices)

    def write(base: ir.Value, updates: ir.Value, reduction: str) -> ir.Value:
        if reduction == "none":
            return emit.ScatterND(base, indices, updates)
        where = emit.Reshape(read(positions(emit, base)), [-1])
        flat = scatter(emit, emit.Reshape(base, [-1]), where, emit.Reshape(updates, [-1]), 0, reduction)
        return emit.reshape_like(flat, base)

    return _written(emit, node, dy, read, write)


def _written(emit: Emitter, node: Operator, dy: ir.Value, read: Read, write: Write) -> Gradients:
    """The gradients of data and updates for every reduction.

    none: data gets dy where nothing was written (repeated indices are undefined in ONNX). add: both
    get dy. mul: each factor gets dy times the product of the others. max, min: dy goes to whatever
    equals the result; ties share equally, as in torch.
    """
    data, updates, y = node.input(0), node.input(2), node.outputs[0]
    reduction = node.attribute("reduction", "none")
    if reduction == "none":
        ddata = write(dy, emit.zeros_like(updates), "none") if node.wants(0) else None
        return [ddata, None, read(dy) if node.wants(2) else None]
    if reduction == "add":
        return [dy, None, read(dy) if node.wants(2) else None]
    if reduction == "mul":
        ddata = write(dy, updates, "mul") if node.wants(0) else None
        return [ddata, None, _factor(emit, data, updates, dy, read, write) if node.wants(2) else None]
    kept = emit.Cast(emit.Equal(data, y), to=dy.dtype)
    won = emit.Cast(emit.Equal(updates, read(y)), to=dy.dtype)
    share = emit.Div(dy, write(kept, won, "add"))
    return [emit.Mul(share, kept), None, emit.Mul(read(share), won) if node.wants(2) else None]


def _factor(emit: Emitter, data: ir.Value, updates: ir.Value, dy: ir.Value, read: Read, write: Write) -> ir.Value:
    """dy times the product of the other factors, exact where factors are zero.

    With z = [u = 0] and P = data Π (u + z), the product without zeros: du = dy P / (u + z) where
    no other update at the same place is zero, else 0.
    """
    zero = emit.Cast(emit.Equal(updates, 0.0), to=dy.dtype)
    filled = emit.Add(updates, zero)
    product = write(data, filled, "mul")
    zeros = read(write(emit.zeros_like(data), zero, "add"))
    return emit.gate(emit.Equal(zeros, zero), emit.Div(read(emit.Mul(dy, product)), filled))


@vjp("TensorScatter")
def tensor_scatter(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """present = past with ``update`` written into the sequence axis from each sample's write index on."""
    update, offsets = node.input(1), node.optional(2)
    rank = node.rank(0)
    axis = node.attribute("axis", -2) % rank
    column = [1] * rank
    column[axis] = -1
    indices = emit.Reshape(counting(emit, emit.extent(update, axis)), column)
    if offsets is not None:
        indices = emit.Add(indices, emit.Reshape(offsets, [-1] + [1] * (rank - 1)))
    if node.attribute("mode", "linear") == "circular":
        indices = emit.Mod(indices, emit.vector([emit.extent(node.input(0), axis)]))
    indices = emit.Expand(indices, emit.shape(update))
    dpast = emit.ScatterElements(dy, indices, emit.zeros_like(update), axis=axis) if node.wants(0) else None
    return [dpast, emit.GatherElements(dy, indices, axis=axis) if node.wants(1) else None, None]
