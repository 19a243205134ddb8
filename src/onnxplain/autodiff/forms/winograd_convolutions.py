"""Input gradients of 3 x 3 convolutions with 16 multiplications for 2 x 2 positions, instead of 36: Winograd's form.

Along one axis two positions y[0], y[1] of the correlation of d[0] ... d[3] with a kernel g[0], g[1], g[2] are

    y[0] = m0 + m1 + m2                  m0 = (d[0] - d[2]) g[0]
    y[1] = m1 - m2 + m3                  m1 = (d[1] + d[2]) (g[0] + g[1] + g[2]) / 2
                                         m2 = (d[2] - d[1]) (g[0] - g[1] + g[2]) / 2
                                         m3 = (d[3] - d[1]) g[2]

the F(2, 3) of Winograd 1980, "Arithmetic Complexity of Computations"; F(2 x 2, 3 x 3) applies it to both axes (Lavin
and Gray 2016, "Fast Algorithms for Convolutional Neural Networks"). Everything is in operators that ONNX Runtime's CPU
provider has in its blocked layout: the 16 differences of the tiles are depthwise convolutions with 2 x 2 taps of ±1 and
stride 2; each is multiplied with its part of the kernel by a convolution with one tap; m1 - m2 is (m1 + m2) - 2 m2, a
depthwise convolution that the addition fuses into. The four positions of all tiles are interleaved by Concat and
Reshape, and what an odd extent has too much is cut off. The parts of the kernel are a product of a constant matrix with
the same initialiser, folded at load.

The gradient is linear in what it comes from, so only rounding differs, and no more than by another order of the sums:
against float64 both forms are equally far off (``tests/autodiff/forms/test_winograd.py``). Forward convolutions stay as
they are: equal patches of an image have equal values there, and the first maximum of a pooling, or the sign of an exact
zero, must not depend on where in a tile a position lies.

Measured on another processor than the other passes (``benchmarks/passes.py --ablation --threads 1 --batches 2``, a Zen
4 with AVX-512), with this pass and without: VGG-16 1.84 and 2.17, ResNet-18 2.01 and 2.30, ResNet-50 2.09 and 2.22,
SqueezeNet 3.14 and 3.20. Where all cores share each operator of a single image, products have to be large: small ones
gain nothing (ResNet-50 on two threads 2.23 and 2.23), and lose where other processes use the caches and the memory
(2.65 and 2.32), since there are more of them and their weights are larger.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx_ir as ir

from ..geometry.placement import Extent, minus
from ..graph.emitter import Emitter, static_shape
from ..graph.passes import Step, Work, fired, graph_pass, left
from .rewriting import gradient_nodes, is_constant, scope_of, substitute
from .transposed import interleave

#: Channels of a block of ONNX Runtime's layout with AVX-512.
_BLOCK = 16
#: Per position the multiplications saved go with in * out channels, the sums of the tiles with in + out: the least
#: ratio that pays, while the tiles stay in the processor's cache and where they do not.
_WORTH, _WORTH_IF_LARGE, _LARGE = 32, 40, 80 * 80
#: Multiplications of one of the 16 products below which cores do not gain from sharing it.
_SHARED = 8e6
#: Positions below which reading the weights, of which there are 16/9 as many, is what takes the time.
_FEW = 25

#: The kernel's part in m0 ... m3, times g.
_KERNEL = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])


@dataclass(frozen=True)
class _Difference:
    """One of the four d[first] w0 + d[last] w1 of a tile."""

    first: int
    last: int
    weights: tuple[int, int]

    @property
    def step(self) -> int:
        return self.last - self.first


_DIFFERENCES = (_Difference(0, 2, (1, -1)), _Difference(1, 2, (1, 1)), _Difference(1, 2, (-1, 1)),
                _Difference(1, 3, (-1, 1)))  # fmt: skip


@graph_pass(needs="convolutions in the place of transposed ones", ensures="wide 3 x 3 convolutions are in tiles")
def winograd_convolutions(work: Work) -> Iterator[Step]:
    """Rewrite, in place, every dense 3 x 3 convolution with stride 1 that is not in ``forward``."""
    yield from _rewrite(work, shared=False)


@graph_pass(needs="convolutions in the place of transposed ones", ensures="large 3 x 3 convolutions are in tiles")
def winograd_large_convolutions(work: Work) -> Iterator[Step]:
    """:func:`winograd_convolutions` for a single sample whose operators are shared by all cores."""
    yield from _rewrite(work, shared=True)


def _rewrite(work: Work, *, shared: bool) -> Iterator[Step]:
    emit = work.emit
    for node in gradient_nodes(emit, work.forward, "Conv"):
        if not _is_candidate(node):
            continue
        reason = _reason(node, shared)
        if reason is not None:
            yield left(node, reason)
            continue
        with emit.scope(scope_of(node)):
            new = _Tiles(emit, node).result()
        yield fired(node)
        substitute(emit, node, new)


def _is_candidate(node: ir.Node) -> bool:
    """3 x 3 taps side by side, one group, stride 1, no bias."""
    weight, given = node.inputs[1], node.attributes
    shape = None if weight is None else static_shape(weight)
    return (
        shape is not None
        and shape[2:] == (3, 3)
        and len(node.inputs) == 2
        and given.get_int("group", 1) == 1
        and set(given.get_ints("strides", [1])) == set(given.get_ints("dilations", [1])) == {1}
    )


def _reason(node: ir.Node, shared: bool) -> str | None:
    grid, weight = node.inputs
    assert grid is not None and weight is not None
    out_channels, in_channels = (static_shape(weight) or ())[:2]
    extents = [] if grid.shape is None else [extent for extent in grid.shape[2:] if isinstance(extent, int)]
    positions = prod(extents) if len(extents) == 2 else None
    worth = _WORTH if positions is not None and positions <= _LARGE else _WORTH_IF_LARGE
    if not is_constant(weight):
        return "the weight is computed while the model runs"
    if grid.dtype != ir.DataType.FLOAT:
        return f"it is of {grid.dtype}, not FLOAT"
    if in_channels % _BLOCK or out_channels % _BLOCK:
        return f"{in_channels} to {out_channels} channels do not fill blocks of {_BLOCK}"
    if in_channels * out_channels < worth * (in_channels + out_channels):
        return f"{in_channels} to {out_channels} channels are too few"
    if not all(1 <= pad <= 2 for pad in _pads(node)):
        return f"pads {_pads(node)}"
    if positions is not None and positions < _FEW:
        return f"extents {extents} are too small"
    if shared and (positions is None or positions / 4 * in_channels * out_channels < _SHARED):
        return (
            f"extents {extents or 'that are open'}, {in_channels} to {out_channels} channels: too little to be shared"
        )
    return None


def _pads(node: ir.Node) -> list[int]:
    return list(node.attributes.get_ints("pads", [0] * 4) or [0] * 4)


class _Tiles:
    """One convolution in tiles of 2 x 2 positions."""

    def __init__(self, emit: Emitter, node: ir.Node) -> None:
        grid, weight = node.inputs
        assert grid is not None and weight is not None
        self._emit, self._grid, self._weight, self._pads = emit, grid, weight, _pads(node)
        self._out, self._in = (static_shape(weight) or ())[:2]
        self._parts = self._kernel_parts()

    def result(self) -> ir.Value:
        """Return the convolution."""
        columns = [self._positions([self._product(row, column) for row in range(4)]) for column in range(4)]
        rows = [self._positions([column[row] for column in columns]) for row in range(2)]
        whole = interleave(self._emit, [interleave(self._emit, row, 3) for row in rows], 2)
        return self._without_excess(whole)

    def _kernel_parts(self) -> ir.Value:
        """The kernel's part in each of the 16 products, one behind the other: [16 out, in, 1, 1]."""
        emit = self._emit
        taps = emit.Reshape(emit.Transpose(self._weight, perm=[2, 3, 0, 1]), [9, self._out * self._in])
        matrix = emit.constant(np.kron(_KERNEL, _KERNEL), self._weight.dtype)
        return emit.Reshape(emit.MatMul(matrix, taps), [16 * self._out, self._in, 1, 1])

    def _product(self, row: int, column: int) -> ir.Value:
        """One of the 16 products, for every tile: [N, out, tiles, tiles]."""
        emit, differences = self._emit, (_DIFFERENCES[row], _DIFFERENCES[column])
        taps = np.outer(differences[0].weights, differences[1].weights)
        weight = emit.constant(np.broadcast_to(taps, (self._in, 1, 2, 2)), self._weight.dtype)
        heads = [pad - d.first for pad, d in zip(self._pads[:2], differences)]
        tails = [pad + d.last - 2 for pad, d in zip(self._pads[2:], differences)]
        tiles = emit.Conv(
            self._grid, weight, group=self._in, strides=[2, 2], dilations=[d.step for d in differences],
            pads=[*heads, *tails],
        )  # fmt: skip
        start = (4 * row + column) * self._out
        return emit.Conv(tiles, emit.Slice(self._parts, [start], [start + self._out], [0]))

    def _positions(self, m: Sequence[ir.Value]) -> list[ir.Value]:
        """The two positions along one axis: m0 + m1 + m2 and m1 - m2 + m3."""
        emit = self._emit
        both = emit.Add(m[1], m[2])
        twice = emit.constant(np.full((self._out, 1, 1, 1), -2), self._weight.dtype)
        difference = emit.Add(emit.Conv(m[2], twice, group=self._out), both)
        return [emit.Add(m[0], both), emit.Add(difference, m[3])]

    def _without_excess(self, whole: ir.Value) -> ir.Value:
        """``whole`` cut to the convolution's extents: those of the grid with its pads, less 2."""
        emit, ends, axes = self._emit, list[Extent](), list[int]()
        for axis, head, tail in zip((2, 3), self._pads[:2], self._pads[2:]):
            extent = minus(emit, emit.extent(self._grid, axis), 2 - head - tail)
            if not isinstance(extent, int) or extent % 2:
                ends.append(extent)
                axes.append(axis)
        return emit.Slice(whole, [0] * len(axes), emit.vector(ends), axes) if axes else whole
