"""Transposed convolutions of the gradient graph, read from their nodes, and written as convolutions.

y = ConvTranspose(g, W) with W [C, O / group, taps], strides s, dilations d and pads h (head), t (tail) is

    y[p] = sum over k of W[k] g[(p + h - k d) / s],

where only whole, existing positions of g count. Output extents are (n - 1) s + (K - 1) d + 1 - h - t + e for
n positions and the output padding e, whatever n is: no form below asks for an extent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from ..geometry.placement import END, flip, times
from ..graph.emitter import Emitter, static_shape
from .rewriting import is_constant


@dataclass(frozen=True)
class Transposed:
    """A ConvTranspose node; every tuple has one entry per spatial axis."""

    grid: ir.Value
    weight: ir.Value
    bias: ir.Value | None
    group: int
    channels: int
    out_channels: int
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    head: tuple[int, ...]
    tail: tuple[int, ...]
    extra: tuple[int, ...]

    @property
    def spatial_axes(self) -> list[int]:
        return list(range(2, 2 + len(self.kernel)))

    @property
    def depthwise(self) -> bool:
        """One channel a group, in and out."""
        return self.group == self.channels == self.out_channels

    @property
    def blocks(self) -> list[int]:
        """How many blocks of s positions hold the result, less n: ceil((reach - h - t + e) / s) - 1 per axis."""
        return [-(-room // s) - 1 for room, s in zip(self._room, self.strides)]

    @property
    def excess(self) -> list[int]:
        """How many positions those blocks have too many, per axis."""
        return [-room % s for room, s in zip(self._room, self.strides)]

    @property
    def _room(self) -> list[int]:
        reach = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations)]
        return [r - h - t + e for r, h, t, e in zip(reach, self.head, self.tail, self.extra)]

    @classmethod
    def read(cls, node: ir.Node) -> Transposed | str:
        """Return the node's geometry, or why its weight cannot be rearranged."""
        grid, weight = node.inputs[0], node.inputs[1]
        assert grid is not None and weight is not None
        extents = static_shape(weight)
        if extents is None or not is_constant(weight):
            return "the weight is computed while the model runs"
        given = node.attributes
        if given.get_string("auto_pad", "NOTSET") != "NOTSET" or "output_shape" in given:
            return "its pads are not stated"
        kernel = extents[2:]
        n, group = len(kernel), given.get_int("group", 1)

        def numbers(name: str, default: list[int]) -> tuple[int, ...]:
            return tuple(given.get_ints(name, default) or default)

        pads = numbers("pads", [0] * 2 * n)
        return cls(
            grid, weight, node.inputs[2] if len(node.inputs) > 2 else None, group, extents[0], extents[1] * group,
            kernel, numbers("strides", [1] * n), numbers("dilations", [1] * n), pads[:n], pads[n:],
            numbers("output_padding", [0] * n),
        )  # fmt: skip


def swapped(emit: Emitter, t: Transposed) -> ir.Value:
    """Return the weight with in and out exchanged within each group: [O, C / group, taps], what a Conv takes.

    Nothing is stored: runtimes fold these nodes when they load the model.
    """
    if t.depthwise:
        return t.weight
    swap = [1, 0, *t.spatial_axes]
    if t.group == 1:
        return emit.Transpose(t.weight, perm=swap)
    narrow, wide = t.channels // t.group, t.out_channels // t.group
    parts = emit.Reshape(t.weight, [t.group, narrow, wide, *t.kernel])
    parts = emit.Transpose(parts, perm=[0, 2, 1, *(axis + 1 for axis in t.spatial_axes)])
    return emit.Reshape(parts, [t.out_channels, narrow, *t.kernel])


def flipped(emit: Emitter, t: Transposed, weight: ir.Value) -> ir.Value:
    """``weight`` with its taps in reverse."""
    return flip(emit, weight, [axis for axis, k in zip(t.spatial_axes, t.kernel) if k > 1])


def convolve(
    emit: Emitter,
    grid: ir.Value,
    weight: ir.Value,
    head: Sequence[int],
    tail: Sequence[int],
    *,
    bias: ir.Value | None = None,
    strides: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    group: int = 1,
) -> ir.Value:
    """Return the convolution with these pads; where one is negative, so many positions are cut off first."""
    n = len(head)
    cut = [axis for axis in range(n) if head[axis] < 0 or tail[axis] < 0]
    if cut:
        starts = [max(0, -head[axis]) for axis in cut]
        ends = [tail[axis] if tail[axis] < 0 else END for axis in cut]
        grid = emit.Slice(grid, starts, ends, [axis + 2 for axis in cut])
    pads = [max(0, pad) for pad in [*head, *tail]]
    weights = [weight] if bias is None else [weight, bias]
    return emit.Conv(grid, *weights, pads=pads, strides=strides, dilations=dilations, group=group)


def cut_off(emit: Emitter, value: ir.Value, excess: Sequence[int]) -> ir.Value:
    """``value`` without so many positions at the end of each spatial axis."""
    axes = [axis for axis, count in enumerate(excess) if count]
    if not axes:
        return value
    return emit.Slice(value, [0] * len(axes), [-excess[axis] for axis in axes], [axis + 2 for axis in axes])


def interleave(emit: Emitter, parts: Sequence[ir.Value], axis: int) -> ir.Value:
    """Tensors of one shape, whose positions take turns along an axis: side by side along the next one, if there is any,
    or along a new one."""
    extents = emit.extents(parts[0])
    if axis == len(extents) - 1:
        parts = [emit.Unsqueeze(part, [axis + 1]) for part in parts]
    extents[axis] = times(emit, extents[axis], len(parts))
    return emit.reshape(emit.Concat(*parts, axis=axis + 1), extents)


def with_unit_stride(emit: Emitter, t: Transposed, grid: ir.Value, beyond: Sequence[int] | None = None) -> ir.Value:
    """Return the transposed convolution of a grid with s = 1, which may be one that zeros were put into.

    y[p] = sum over k of W[K - 1 - k] g[p - ((K - 1) d - h) + k d]: pads (K - 1) d - h and (K - 1) d - t + e,
    less ``beyond``, the zeros behind the grid's last position.
    """
    reach = [(k - 1) * d for k, d in zip(t.kernel, t.dilations)]
    head = [r - h for r, h in zip(reach, t.head)]
    tail = [r - a + e - b for r, a, e, b in zip(reach, t.tail, t.extra, beyond or [0] * len(reach))]
    weight = flipped(emit, t, swapped(emit, t))
    return convolve(emit, grid, weight, head, tail, bias=t.bias, dilations=t.dilations, group=t.group)
