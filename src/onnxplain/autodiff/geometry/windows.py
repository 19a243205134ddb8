"""Sliding windows, which convolution and pooling share: their geometry and their three linear maps.

A window at grid position p with taps t looks at position p * stride + t * dilation - head of an
image (all per spatial axis). For a kernel W [O, C / group, taps] this gives three maps, each the
adjoint of the others in one argument:

* gather: image [N, C, extents] -> grid [N, O, positions] (a convolution),
* scatter: grid -> image (a transposed convolution),
* tap_gradient: image and grid -> [O, C / group, taps] (the gradient of the kernel).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from ..graph.emitter import Emitter
from ..graph.operator import Operator


@dataclass(frozen=True)
class Windows:
    """The geometry. Every tuple has one entry per spatial axis.

    ``head`` and ``tail`` are the paddings: numbers, or int64 vectors computed in the graph where they
    depend on extents that only the run knows. ``surplus`` counts the padded positions behind the last
    window (negative: that window ends behind the padding); None where only the run knows, and then it
    is less than the stride. ``extents`` (of the image) and ``positions`` (of the grid) are None unless
    all of them are static.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    head: tuple[int, ...] | ir.Value
    tail: tuple[int, ...] | ir.Value
    surplus: tuple[int, ...] | None = None
    extents: tuple[int, ...] | None = None
    positions: tuple[int, ...] | None = None

    @property
    def reach(self) -> tuple[int, ...]:
        """How many image positions a window spans."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations))

    def counts(self, with_padding: bool) -> list[np.ndarray]:
        """Return how many taps of each window lie inside the image (or its padding), axis by axis.

        Tap t of window p lies before position b where t < ceil((b + head - p stride) / dilation).
        """
        assert self.extents is not None and self.positions is not None
        assert isinstance(self.head, tuple) and isinstance(self.tail, tuple)
        counts = []
        for axis, extent in enumerate(self.extents):
            starts = np.arange(self.positions[axis]) * self.strides[axis] - self.head[axis]
            ends = (-self.head[axis], extent + self.tail[axis]) if with_padding else (0, extent)
            low, high = (np.clip(-((starts - end) // self.dilations[axis]), 0, self.kernel[axis]) for end in ends)
            counts.append(high - low)
        return counts


def spatial(value: ir.Value) -> tuple[int, ...] | None:
    """Return the extents behind batch and channels, if all of them are static."""
    if value.shape is None or not all(isinstance(d, int) for d in value.shape[2:]):
        return None
    return tuple(int(d) for d in value.shape[2:])  # type: ignore[arg-type]


def spatial_shape(emit: Emitter, value: ir.Value) -> ir.Value:
    """Return the extents behind batch and channels as an int64 vector."""
    static = spatial(value)
    return emit.Shape(value, start=2) if static is None else emit.constant(static)


def kernel_of(node: Operator, weight: ir.Value | None) -> tuple[int, ...]:
    """Return the taps per axis: the attribute ``kernel_shape``, else the weight's extents."""
    kernel = node.attribute("kernel_shape", [0] * 0)
    if kernel:
        return tuple(kernel)
    taps = None if weight is None else spatial(weight)
    if not taps:
        raise node.refuse("kernel_shape", "unknown", "give the weight static spatial extents")
    return taps


def windows_of(emit: Emitter, node: Operator, kernel: tuple[int, ...]) -> Windows:
    """Return the windows of a Conv or a pooling operator over its first input."""
    x, rank = node.input(0), len(kernel)
    strides = tuple(node.attribute("strides", [1] * rank))
    dilations = tuple(node.attribute("dilations", [1] * rank))
    auto_pad = node.attribute("auto_pad", "NOTSET")
    pads = node.attribute("pads", [0] * 2 * rank) if auto_pad == "NOTSET" else [0] * 2 * rank
    windows = Windows(kernel, strides, dilations, tuple(pads[:rank]), tuple(pads[rank:]), extents=spatial(x))
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        windows = _same(emit, node, windows, auto_pad)
    windows = _with_positions(windows, bool(node.attribute("ceil_mode", 0)))
    _refuse_another_count(node, windows)
    return windows


def _refuse_another_count(node: Operator, windows: Windows) -> None:
    """Refuse a node whose shape inference counts other windows than a run, along any axis of known extent.

    Raises:
        UnsupportedOperatorError: as said.
    """
    x, y, ceil = node.input(0).shape, node.outputs[0].shape, bool(node.attribute("ceil_mode", 0))
    if isinstance(windows.head, ir.Value) or x is None or y is None:
        return
    for axis, (extent, inferred) in enumerate(zip(x[2:], y[2:])):
        if not isinstance(extent, int) or not isinstance(inferred, int):
            continue
        count, _ = _count(windows, axis, extent, ceil)
        if count != inferred:
            raise node.refuse(
                f"output extent {count} of axis {axis + 2} where shape inference says {inferred}; ceil_mode",
                int(ceil),
                "ONNX infers a window too many below opset 22: raise the model's opset, or set ceil_mode to 0",
            )


def _same(emit: Emitter, node: Operator, windows: Windows, auto_pad: str) -> Windows:
    """Total padding max(0, (ceil(extent / s) - 1) s + reach - extent) = max(0, reach - 1 - (extent - 1) mod s)."""
    extents, reach, strides = windows.extents, windows.reach, windows.strides
    rests = [s - 1 for s in strides] if extents is None else [(e - 1) % s for e, s in zip(extents, strides)]
    if any(r - 1 - rest < -1 for r, rest in zip(reach, rests)):
        raise node.refuse(
            f"auto_pad of windows shorter than the strides {list(strides)} by two or more",
            auto_pad,
            "runtimes place such windows differently; replace auto_pad by pads",
        )
    larger_head = int(auto_pad == "SAME_LOWER")
    if extents is None and any(s > 1 for s in strides):
        last = emit.Sub(spatial_shape(emit, node.input(0)), 1)
        total = emit.Sub(np.array(reach) - 1, emit.Mod(last, np.array(strides)))
        if any(r < s for r, s in zip(reach, strides)):
            total = emit.Max(total, 0)
        head = emit.Div(emit.Add(total, 1) if larger_head else total, 2)
        return replace(windows, head=head, tail=emit.Sub(total, head))
    totals = [max(0, r - 1 - rest) for r, rest in zip(reach, rests)]
    heads = tuple((total + larger_head) // 2 for total in totals)
    return replace(windows, head=heads, tail=tuple(total - head for total, head in zip(totals, heads)))


def _with_positions(windows: Windows, ceil: bool) -> Windows:
    """The windows with the positions and surplus that follow from their extents, where these are known."""
    if isinstance(windows.head, ir.Value) or isinstance(windows.tail, ir.Value):
        return windows
    if windows.extents is None:
        return replace(windows, surplus=(0,) * len(windows.kernel)) if max(windows.strides) == 1 else windows
    counts, surplus = zip(*(_count(windows, axis, extent, ceil) for axis, extent in enumerate(windows.extents)))
    return replace(windows, positions=counts, surplus=surplus)


def _count(windows: Windows, axis: int, extent: int, ceil: bool) -> tuple[int, int]:
    """Return how many windows there are along an axis, and how many padded positions are left behind the last one.

    (extent + pads - reach) / s + 1, rounded down or up; a window that starts in the tail is dropped.
    """
    assert isinstance(windows.head, tuple) and isinstance(windows.tail, tuple)
    s = windows.strides[axis]
    room = extent + windows.head[axis] + windows.tail[axis] - windows.reach[axis]
    count = (-(-room // s) if ceil else room // s) + 1
    count -= ceil and (count - 1) * s >= extent + windows.head[axis]
    return count, room - s * (count - 1)


def gather(emit: Emitter, windows: Windows, image: ir.Value, weight: ir.Value, group: int) -> ir.Value:
    """Return the convolution of the image: its value at every grid position, [N, O, positions]."""
    image, pads = _padded(emit, windows, image)
    return emit.Conv(
        image, weight, kernel_shape=windows.kernel, strides=windows.strides, dilations=windows.dilations, pads=pads,
        group=group,
    )  # fmt: skip


def scatter(emit: Emitter, windows: Windows, grid: ir.Value, weight: ir.Value, group: int, image: ir.Value) -> ir.Value:
    """Return the transposed convolution of the grid, with exactly the extents of ``image``.

    With static extents ``output_padding`` restores what the last window left over, so nothing is cut.
    Else the result is made as long as any image with this grid can be, and cut at run time; pads that
    only the run knows are cut off as well.
    """
    n = len(windows.kernel)
    head, tail, extra = [0] * n, [0] * n, [s - 1 for s in windows.strides]
    if isinstance(windows.head, tuple) and isinstance(windows.tail, tuple):
        head, tail = list(windows.head), list(windows.tail)
    if windows.surplus is not None:
        tail = [t + max(0, -over) for t, over in zip(tail, windows.surplus)]
        extra = [max(0, over) for over in windows.surplus]
    full = emit.ConvTranspose(
        grid, weight, kernel_shape=windows.kernel, strides=windows.strides, dilations=windows.dilations,
        pads=head + tail, output_padding=extra if any(extra) else None, group=group,
    )  # fmt: skip
    if windows.surplus is not None:
        return full
    extents, axes = spatial_shape(emit, image), list(range(2, n + 2))
    if isinstance(windows.head, ir.Value):
        return emit.Slice(full, windows.head, emit.Add(windows.head, extents), axes)
    return emit.Slice(full, [0] * n, extents, axes)


def tap_gradient(
    emit: Emitter, windows: Windows, image: ir.Value, grid: ir.Value, group: int, weight: ir.Value
) -> ir.Value:
    """dW[o, c, t] = sum over n, p of grid[n, o, p] image[n, c, p stride + t dilation - head].

    A convolution again: batch and channels swap places, strides and dilations swap roles. With groups,
    the image's group index moves into its (now channel) batch axis.
    """
    n = len(windows.kernel)
    swap = [1, 0, *range(2, n + 2)]
    image, pads = _padded(emit, windows, image)
    columns = emit.Transpose(image, perm=swap)
    if group > 1:
        per_group, extents = emit.extent(weight, 1), spatial(image) or [spatial_shape(emit, image)]
        columns = emit.Reshape(columns, emit.vector([group, per_group, -1]))
        columns = emit.Transpose(columns, perm=[1, 0, 2])
        columns = emit.Reshape(columns, emit.vector([per_group, -1, *extents]))
    taps = emit.Conv(
        columns, emit.Transpose(grid, perm=swap), strides=windows.dilations, dilations=windows.strides, pads=pads,
        group=group,
    )  # fmt: skip
    surplus = [s - 1 for s in windows.strides] if windows.surplus is None else windows.surplus
    if any(over >= d for over, d in zip(surplus, windows.dilations)):
        taps = emit.Slice(taps, [0] * n, list(windows.kernel), list(range(2, n + 2)))
    return emit.Transpose(taps, perm=swap)


def _padded(emit: Emitter, windows: Windows, image: ir.Value) -> tuple[ir.Value, list[int]]:
    """The image and its pads: pads that only the run knows are applied, and then none are left."""
    head, tail = windows.head, windows.tail
    if isinstance(head, ir.Value) or isinstance(tail, ir.Value):
        pads = [part if isinstance(part, ir.Value) else emit.constant(part) for part in (head, tail)]
        return emit.Pad(image, emit.vector([0, 0, pads[0], 0, 0, pads[1]])), [0] * 2 * len(windows.kernel)
    return image, [*head, *tail]
