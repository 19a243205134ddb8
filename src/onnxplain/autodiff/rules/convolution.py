"""Conv and ConvTranspose: bilinear in image and weight, so each gradient is one more convolution."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from ..geometry.windows import Windows, gather, kernel_of, scatter, spatial, spatial_shape, tap_gradient, windows_of
from ..graph.emitter import Emitter
from ..graph.operator import Operator
from ..reverse.registry import Gradients, vjp


@vjp("Conv")
def conv(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = gather(x, w) + b; dx = scatter(dy, w), dw = tap_gradient(x, dy), db = sum of dy but over channels."""
    x, w = node.input(0), node.input(1)
    group, windows = node.attribute("group", 1), windows_of(emit, node, kernel_of(node, w))
    return [
        scatter(emit, windows, dy, w, group, x) if node.wants(0) else None,
        tap_gradient(emit, windows, x, dy, group, w) if node.wants(1) else None,
        _bias_gradient(emit, windows, dy) if node.wants(2) else None,
    ]


@vjp("ConvTranspose")
def conv_transpose(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = scatter(x, w) + b; dx = gather(dy, w), dw = tap_gradient(dy, x), db = sum of dy but over channels."""
    x, w = node.input(0), node.input(1)
    group, windows = node.attribute("group", 1), _transposed_windows(emit, node, kernel_of(node, w))
    return [
        gather(emit, windows, dy, w, group) if node.wants(0) else None,
        tap_gradient(emit, windows, dy, x, group, w) if node.wants(1) else None,
        _bias_gradient(emit, windows, dy) if node.wants(2) else None,
    ]


def _bias_gradient(emit: Emitter, windows: Windows, dy: ir.Value) -> ir.Value:
    return emit.ReduceSum(dy, [0, *range(2, len(windows.kernel) + 2)], keepdims=0)


def _transposed_windows(emit: Emitter, node: Operator, kernel: tuple[int, ...]) -> Windows:
    """Return the windows over the output (image) whose grid is the input.

    Natural extent: (in - 1) s + reach + output_padding. With ``output_shape`` (an extent as stated) or
    ``auto_pad`` SAME (extent in s) the pads are what the natural extent has too much, and ``pads`` does
    not count; what it has too little are zeros behind the end, as in ONNX Runtime.
    """
    rank = len(kernel)
    strides = tuple(node.attribute("strides", [1] * rank))
    dilations = tuple(node.attribute("dilations", [1] * rank))
    extra = tuple(node.attribute("output_padding", [0] * rank))
    stated = node.attribute("output_shape", [0] * 0)
    auto_pad = node.attribute("auto_pad", "NOTSET")
    pads = node.attribute("pads", [0] * 2 * rank) if auto_pad == "NOTSET" else [0] * 2 * rank
    windows = Windows(kernel, strides, dilations, tuple(pads[:rank]), tuple(pads[rank:]), surplus=extra)
    if any(e >= s for e, s in zip(extra, strides)):
        raise node.refuse("output_padding", list(extra), f"it must be smaller than the strides {list(strides)}")
    if not stated and auto_pad not in ("SAME_UPPER", "SAME_LOWER"):
        return windows
    beyond = [r + e - s for r, e, s in zip(windows.reach, extra, strides)]  # natural extent less in s
    if not stated:
        return _with_total_pads(node, windows, extra, beyond, stated, auto_pad)
    extents = spatial(node.input(0))
    if extents is None:
        return _with_total_pads_at_run_time(emit, node, windows, beyond, stated, auto_pad)
    totals = [i * s + b - out for i, s, b, out in zip(extents, strides, beyond, stated)]
    return _with_total_pads(node, windows, extra, totals, stated, auto_pad)


def _with_total_pads(
    node: Operator, windows: Windows, extra: tuple[int, ...], totals: list[int], stated: list[int], auto_pad: str
) -> Windows:
    """Return the windows with ``totals`` for the sum of both pads; SAME_UPPER puts the larger half behind.

    Raises:
        UnsupportedOperatorError: a total is negative, so that the output is longer than windows reach.
    """
    surplus = tuple(e + max(0, -total) for e, total in zip(extra, totals))
    if min(totals) < 0 and (auto_pad != "NOTSET" or any(over >= s for over, s in zip(surplus, windows.strides))):
        raise node.refuse(
            f"output_shape {stated} with auto_pad" if stated else "auto_pad of a kernel shorter than the strides",
            auto_pad,
            "the output is longer than what the input produces; state pads and output_padding instead",
        )
    totals = [max(0, total) for total in totals]
    heads = tuple((total + _larger_head(auto_pad)) // 2 for total in totals)
    tails = tuple(total - head for total, head in zip(totals, heads))
    return replace(windows, head=heads, tail=tails, surplus=surplus)


def _with_total_pads_at_run_time(
    emit: Emitter, node: Operator, windows: Windows, beyond: list[int], stated: list[int], auto_pad: str
) -> Windows:
    """Return the windows with pads that a run computes from the extents of the input."""
    natural = emit.Add(emit.Mul(spatial_shape(emit, node.input(0)), np.array(windows.strides)), np.array(beyond))
    total = emit.Max(emit.Sub(natural, np.array(stated)), 0)
    head = emit.Div(emit.Add(total, _larger_head(auto_pad)), 2)
    return replace(windows, head=head, tail=emit.Sub(total, head), surplus=None)


def _larger_head(auto_pad: str) -> int:
    """Return 1 where the larger half of an odd pad lies before the image."""
    return int(auto_pad != "SAME_UPPER")
