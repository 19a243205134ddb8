"""Input gradients of the first convolution, which have few channels: b x b positions as channels of one Conv.

The result in blocks of b positions a side, with offset r = 0 ... b - 1 in block m:

    y[b m + r] = sum over t of V[r, t] g[(b / s) m - P + t]

* stride s > 1, b = s: V[r, t] = W[r + h + s P - s t]; with P = ceil((K - s - h) / s) and
  T = 1 + ceil((h + s P) / s) taps t every k is met once, so that V is W padded to s T taps and reshaped.
* stride 1, b = 2: V[r, t] = W[r + K - 1 - t], P = K - 1 - h, T = K + 1: the flipped W at two offsets.

V is 0 outside of W's taps. The convolution returns a channel for every r (per axis) and channel of y, which are
interleaved by Concat and Reshape, axis by axis, or by DepthToSpace where b is large. V is written as Pad, Reshape,
Transpose, Slice and Concat of the same initialiser, which runtimes fold when they load the model.

ONNX Runtime's blocked layout counts channels in blocks of 8 or 16: a convolution to 3 channels wastes most of one.

Measured (see :mod:`.order`), with this pass and without: SqueezeNet 4.73 and 5.63, ResNet-18 2.66 and 3.00,
ResNet-50 2.54 and 2.66, VGG-16 2.26 and 2.28; EfficientNet-Lite0 3.48 and 3.45, which is no difference.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from ..geometry.placement import flip
from ..graph.emitter import Emitter
from ..graph.passes import Step, Work, fired, graph_pass, left
from .rewriting import gradient_nodes, scope_of, substitute
from .transposed import Transposed, convolve, cut_off, flipped, interleave, swapped

#: Channels of an image: grey, colour, colour with opacity.
FEW = 4
_BLOCK = 2
#: Up to this many positions a side Concat takes half the time of DepthToSpace in ONNX Runtime's CPU provider.
_SMALL_BLOCK = 4


@graph_pass(needs="transposed convolutions", ensures="no transposed convolution to a few channels")
def subpixel_images(work: Work) -> Iterator[Step]:
    """Rewrite, in place, every dense ConvTranspose over two axes to at most four channels not in ``forward``."""
    emit, forward = work.emit, work.forward
    for node in gradient_nodes(emit, forward, "ConvTranspose"):
        t = Transposed.read(node)
        if isinstance(t, str) or t.group > 1 or t.out_channels > FEW or len(t.kernel) != 2:
            continue
        reason = _reason(t, node.outputs[0])
        if reason is not None:
            yield left(node, reason)
            continue
        with emit.scope(scope_of(node)):
            new = _unit_stride(emit, t, node.outputs[0]) if t.strides[0] == 1 else _strided(emit, t)
        yield fired(node)
        substitute(emit, node, new)


def _reason(t: Transposed, result: ir.Value) -> str | None:
    if max(t.dilations) > 1:
        return f"dilations {list(t.dilations)}"
    if t.strides[0] != t.strides[1]:
        return f"strides {list(t.strides)}"
    if t.bias is not None:
        return "it has a bias"
    if max(t.strides) == 1 and max(t.kernel) == 1:
        return "a kernel of one tap"
    if max(t.strides) == 1 and (result.shape is None or not all(isinstance(d, int) for d in result.shape[2:])):
        return "the extents are only known when the model runs"
    return None


def _strided(emit: Emitter, t: Transposed) -> ir.Value:
    s, o, c = t.strides[0], t.channels, t.out_channels
    heads = [-(-(k - s - h) // s) for k, h in zip(t.kernel, t.head)]
    taps = [1 - (-(h + s * p) // s) for h, p in zip(t.head, heads)]
    lead = [s * (n - 1) - h - s * p for n, h, p in zip(taps, t.head, heads)]
    trail = [s * n - k - a for n, k, a in zip(taps, t.kernel, lead)]
    weight = t.weight
    if any(lead + trail):
        weight = emit.Pad(weight, [0, 0, *lead, 0, 0, *trail])
    weight = emit.Reshape(weight, [o, c, taps[0], s, taps[1], s])
    weight = emit.Transpose(weight, perm=[3, 5, 1, 0, 2, 4])
    weight = emit.Reshape(weight, [s * s * c, o, *taps])
    weight = flip(emit, weight, [axis for axis, n in zip(t.spatial_axes, taps) if n > 1])
    tails = [blocks - p + n - 1 for blocks, p, n in zip(t.blocks, heads, taps)]
    blocks = convolve(emit, t.grid, weight, heads, tails)
    return cut_off(emit, _positions(emit, blocks, s), t.excess)


def _unit_stride(emit: Emitter, t: Transposed, result: ir.Value) -> ir.Value:
    weight = flipped(emit, t, swapped(emit, t))
    offsets = [(row, column) for row in range(_BLOCK) for column in range(_BLOCK)]
    parts = [emit.Pad(weight, [0, 0, row, column, 0, 0, 1 - row, 1 - column]) for row, column in offsets]
    heads = [k - 1 - h for k, h in zip(t.kernel, t.head)]
    tails = [k - a + e for k, a, e in zip(t.kernel, t.tail, t.extra)]
    blocks = convolve(emit, t.grid, emit.Concat(*parts, axis=0), heads, tails, strides=[_BLOCK] * 2)
    assert result.shape is not None
    odd = [d % _BLOCK for d in result.shape[2:] if isinstance(d, int)]
    return cut_off(emit, _positions(emit, blocks, _BLOCK), odd)


def _positions(emit: Emitter, blocks: ir.Value, size: int) -> ir.Value:
    """DepthToSpace: [N, size² C, h, w], with the row and the column before the channel, as [N, C, size h, size w]."""
    assert blocks.shape is not None and isinstance(blocks.shape[1], int)
    if size > _SMALL_BLOCK:
        return emit.DepthToSpace(blocks, blocksize=size, mode="DCR")
    channels = blocks.shape[1] // size**2
    parts = emit.op("Split", blocks, emit.vector([channels] * size**2), outputs=size**2, axis=1)
    rows = [interleave(emit, parts[row * size : (row + 1) * size], 3) for row in range(size)]
    return interleave(emit, rows, 2)
