"""Gradients of max pooling by comparing what is pooled with the maximum, for engines without the indices of MaxPool.

Pooling goes axis by axis, the last one first: z = the maximum over a row of each window, y = the maximum of z over the
rows. The first maximum of a window in row-major order, which gets its gradient dy, is the first one of the first row
that has y. So the gradient goes back axis by axis, the first one first: with the taps x[0], x[1], ... of the windows
along an axis and m[k], the maximum of x[0] to x[k] (pooled by shorter windows),

    g[k] = [m[k] = y] e[k],  e[0] = dy,  e[k + 1] = e[k] - g[k],  the last tap gets what is left,

where all of e[k] stays or goes, so that nothing is rounded. A position then adds up what it got as a tap of each
window: tap k of window p with stride s and dilation d lies in block p + kd // s, at place kd % s of that block; blocks
are shifted by Pad, and places interleaved by Concat and Reshape.

Needs k1 + k2 comparisons for a kernel of k1 k2 taps. Padding is the smallest number, which no maximum is.

Half precision keeps the indices: ONNX Runtime's CPU provider computes such pools in float32 and drops the roundings in
between, so that what is compared may not be what the maximum was taken of.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ..geometry.placement import Extent, minus, times
from ..geometry.windows import Windows, windows_of
from ..graph.emitter import Emitter
from ..graph.operator import Operator
from ..graph.passes import Step, Work, fired, graph_pass, left
from .rewriting import gradient_nodes, scope_of, substitute

_PER_AXIS = ("dilations", "kernel_shape", "strides")


@graph_pass(
    needs="max pooling's gradient as a scatter",
    ensures="no max pooling of the gradient returns indices, nor any scatter goes by them",
)
def compare_maxima(work: Work) -> Iterator[Step]:
    """Rewrite, in place, every scatter by the indices of a MaxPool that is not in ``forward``."""
    emit, forward = work.emit, set(work.forward)
    for scatter in gradient_nodes(emit, work.forward, "ScatterElements"):
        indices, dy = (_before_reshape(value) for value in scatter.inputs[1:3])
        pool, result = None if indices is None else indices.producer(), _reshaped(scatter.outputs[0])
        if pool is None or pool.op_type != "MaxPool" or indices is not pool.outputs[1] or dy is None:
            continue
        x = pool.inputs[0]
        if x is None or x.shape is None or result is None or dy.dtype != x.dtype:
            yield left(scatter, "what is pooled has no known rank, or another type than the gradient")
            continue
        if x.dtype in (ir.DataType.FLOAT16, ir.DataType.BFLOAT16):
            yield left(scatter, "the roundings of half precision may be dropped before the comparison")
            continue
        operator = Operator(pool, work.model.opset_imports, lambda value: False)
        with emit.scope(scope_of(scatter)):
            windows = windows_of(emit, operator, tuple(pool.attributes.get_ints("kernel_shape")))
            dx = _gradient(emit, pool, windows, x, _maxima(emit, pool, x, forward), dy)
        yield fired(scatter)
        substitute(emit, result, dx)


def _gradient(emit: Emitter, pool: ir.Node, windows: Windows, x: ir.Value, y: ir.Value, dy: ir.Value) -> ir.Value:
    """Pool again, axis by axis, and go back."""
    axes = [a for a, (k, s) in enumerate(zip(windows.kernel, windows.strides)) if k > 1 or s > 1]
    shape = x.shape
    levels = [x]
    for axis in axes[:0:-1]:
        levels.append(_pooled(emit, pool, levels[-1], y, axis))
    for axis, source, pooled in zip(axes, levels[::-1], [y, *levels[:0:-1]]):
        dy = _along(emit, _Axis.of(emit, windows, axis, source, pooled), source, pooled, dy)
        dy.shape = source.shape
    dy = emit.Identity(dy)
    dy.shape = shape
    return dy


def _pooled(emit: Emitter, pool: ir.Node, x: ir.Value, y: ir.Value, axis: int) -> ir.Value:
    """The maxima along one spatial axis of the windows of a pooling."""
    given = {a.name: a.value for a in pool.attributes.values() if a.name != "storage_order"}
    rank = len(pool.attributes.get_ints("kernel_shape"))
    for name in _PER_AXIS:
        if name in given:
            given[name] = [n if a == axis else 1 for a, n in enumerate(given[name])]
    if given.get("pads"):
        given["pads"] = [n if a % rank == axis else 0 for a, n in enumerate(given["pads"])]
    pooled = emit.MaxPool(x, **given)
    if x.shape is not None and y.shape is not None:
        pooled.shape = ir.Shape([*x.shape[: axis + 2], *y.shape[axis + 2 :]])
    return pooled


@dataclass(frozen=True)
class _Axis:
    """Windows along one axis of a tensor: taps at ``offsets`` from p times ``stride``, of an image that is padded."""

    axis: int
    stride: int
    offsets: tuple[int, ...]
    head: Extent
    extent: Extent
    positions: Extent

    @classmethod
    def of(cls, emit: Emitter, windows: Windows, axis: int, x: ir.Value, y: ir.Value) -> _Axis:
        """Those along a spatial axis, from x to y."""
        head: Extent
        if isinstance(windows.head, ir.Value):
            head = emit.Slice(windows.head, [axis], [axis + 1], [0])
        else:
            head = windows.head[axis]
        kernel, dilation = windows.kernel[axis], windows.dilations[axis]
        offsets = tuple(k * dilation for k in range(kernel))
        extent, positions = emit.extent(x, axis + 2), emit.extent(y, axis + 2)
        return cls(axis + 2, windows.strides[axis], offsets, head, extent, positions)

    @property
    def blocks(self) -> int:
        """How many blocks of ``stride`` positions hold the image, less ``positions``; or as many as taps may need."""
        if not all(isinstance(n, int) for n in (self.head, self.extent, self.positions)):
            return self.offsets[-1] // self.stride + 1  # behind the last window there may be less than a block
        return -(-(self.head + self.extent) // self.stride) - self.positions


def _along(emit: Emitter, a: _Axis, x: ir.Value, y: ir.Value, dy: ir.Value) -> ir.Value:
    """The gradient of x, whose maxima along an axis are y."""
    left_over, parts = dy, []
    for highest in _highest(emit, a, x):
        part = emit.gate(emit.Equal(highest, y), left_over)
        left_over = emit.Sub(left_over, part)
        part.shape = left_over.shape = dy.shape
        parts.append(part)
    return _interleaved(emit, a, [*parts, left_over])


def _highest(emit: Emitter, a: _Axis, x: ir.Value) -> Iterator[ir.Value]:
    """The maximum of the first tap of each window, then of the first two, and so on, but for that of all taps.

    MaxPool pads by less than its windows are long; where that is too little, or only the run knows, Pad does it once.
    """
    padded = None
    for taps, offset in enumerate(a.offsets[:-1], 1):
        head, tail = a.head, _behind(emit, a, offset)
        if isinstance(head, int) and isinstance(tail, int) and max(head, tail) < taps:
            pooled = _pooled_by(emit, a, x, taps, head, tail)
        else:
            if padded is None:
                padded = _padded(emit, a, x)
            pooled = _pooled_by(emit, a, padded, taps, 0, 0)
        assert pooled.shape is not None
        if pooled.shape[a.axis] != a.positions:
            pooled = emit.Slice(pooled, [0], emit.vector([a.positions]), [a.axis])
        yield pooled


def _pooled_by(emit: Emitter, a: _Axis, x: ir.Value, taps: int, head: int, tail: int) -> ir.Value:
    """The maxima of the first taps of every window."""
    assert x.shape is not None
    before, behind, dilation = a.axis - 2, len(x.shape) - a.axis - 1, a.offsets[1]

    def along(number: int, others: int) -> list[int]:
        return [others] * before + [number] + [others] * behind

    return emit.MaxPool(
        x, kernel_shape=along(taps, 1), strides=along(a.stride, 1), pads=along(head, 0) + along(tail, 0),
        dilations=along(dilation, 1) if dilation > 1 and taps > 1 else None,
    )  # fmt: skip


def _padded(emit: Emitter, a: _Axis, x: ir.Value) -> ir.Value:
    """x with the smallest number before it and behind it, as far as taps but for the last one look."""
    assert x.dtype is not None
    smallest = emit.constant(np.finfo(x.dtype.numpy()).min, x.dtype)
    return emit.Pad(x, _pads(emit, a, x, a.head, _behind(emit, a, a.offsets[-2])), smallest)


def _behind(emit: Emitter, a: _Axis, offset: int) -> Extent:
    """How far behind the image the last window looks with its tap at ``offset``."""
    end = minus(emit, times(emit, a.positions, a.stride), a.stride - offset - 1)
    tail = minus(emit, minus(emit, end, a.head), a.extent)
    return max(0, tail) if isinstance(tail, int) else emit.Max(tail, 0)


def _interleaved(emit: Emitter, a: _Axis, parts: Sequence[ir.Value]) -> ir.Value:
    """What every position of the image got as tap k of a window, added up."""
    places = dict[int, ir.Value]()
    for offset, part in zip(a.offsets, parts):
        shift, place = divmod(offset, a.stride)
        shifted = _shifted(emit, a, part, shift)
        if shifted is not None:
            places[place] = emit.Add(places[place], shifted) if place in places else shifted
    nothing = None if len(places) == a.stride else emit.Mul(places[0], 0.0)
    in_order = [places.get(place, nothing) for place in range(a.stride)]
    full = places[0]
    if a.stride > 1:
        extents = emit.extents(places[0])
        stacked = emit.Concat(*(emit.Unsqueeze(v, [a.axis + 1]) for v in in_order), axis=a.axis + 1)
        extents[a.axis] = times(emit, extents[a.axis], a.stride)
        full = emit.reshape(stacked, extents)
    known = isinstance(a.head, int) and isinstance(a.extent, int)
    end = a.head + a.extent if known else emit.Add(emit.vector([a.extent]), emit.vector([a.head]))
    if a.head == 0 and full.shape is not None and full.shape[a.axis] == end:
        return full
    return emit.Slice(full, emit.vector([a.head]), emit.vector([end]), [a.axis])


def _shifted(emit: Emitter, a: _Axis, part: ir.Value, shift: int) -> ir.Value | None:
    """What windows got, ``shift`` blocks later, without those behind the image (which got nothing); None: all are."""
    behind = a.blocks - shift
    if behind < 0:
        assert isinstance(a.positions, int)
        if a.positions + behind <= 0:
            return None
        part = emit.Slice(part, [0], [a.positions + behind], [a.axis])
    return emit.Pad(part, _pads(emit, a, part, shift, max(0, behind))) if a.blocks or shift else part


def _pads(emit: Emitter, a: _Axis, x: ir.Value, head: Extent, tail: Extent) -> ir.Value:
    """Pads along the axis, and none along the others."""
    assert x.shape is not None
    pads: list[Extent] = [0 for _ in range(2 * len(x.shape))]
    pads[a.axis], pads[len(x.shape) + a.axis] = head, tail
    return emit.vector(pads)


def _maxima(emit: Emitter, pool: ir.Node, x: ir.Value, forward: set[ir.Node]) -> ir.Value:
    """What the model's own pooling returns, if it is the same one; else the pooling's first output alone."""
    ignored = ("storage_order",)
    own = {n: a.value for n, a in pool.attributes.items() if n not in ignored}
    for use in x.uses():
        other = {n: a.value for n, a in use.node.attributes.items() if n not in ignored}
        if use.node.op_type == "MaxPool" and use.node in forward and other == own:
            return use.node.outputs[0]
    return emit.MaxPool(x, **own)


def _before_reshape(value: ir.Value | None) -> ir.Value | None:
    """What a scatter reads, before it was made flat, and wide where it is narrow."""
    node = None if value is None else value.producer()
    if node is not None and node.op_type == "Cast":
        return _before_reshape(node.inputs[0])
    return node.inputs[0] if node is not None and node.op_type == "Reshape" else None


def _reshaped(value: ir.Value) -> ir.Node | None:
    """The only reader of what a scatter returns, which gives it its shape, and before that its type."""
    uses = list(value.uses())
    node = uses[0].node if len(uses) == 1 else None
    if node is not None and node.op_type == "Cast":
        return _reshaped(node.outputs[0])
    return node if node is not None and node.op_type == "Reshape" else None
