"""Pooling: the maximum picks a position per window, the average and the p-norm sum over windows.

The windows are those that ONNX Runtime and PyTorch agree on: with ``ceil_mode`` a window may end
behind the padding, its average counts (``count_include_pad``) positions up to the padding's end, and
a window that would start there is dropped.
"""

from __future__ import annotations

from math import prod

import numpy as np
import onnx_ir as ir

from ..geometry.placement import scatter_flat
from ..geometry.windows import Windows, kernel_of, scatter, spatial, spatial_shape, windows_of
from ..graph.emitter import Emitter
from ..graph.operator import Operator
from ..reverse.registry import Gradients, vjp

#: Windows, or numbers in the kernel that spreads a gradient over them, of which a constant is made.
_MOST = 1 << 25


@vjp("MaxPool")
def max_pool(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y[p] = x[i(p)], i(p) the flat index of the window's first maximum, as in PyTorch; dx[i(p)] += dy[p].

    Unless the model has the indices, a second MaxPool finds them, so that the forward keeps its fast kernel.
    """
    x = node.input(0)
    kernel = kernel_of(node, None)
    strides = node.attribute("strides", [1] * len(kernel))
    dilations = node.attribute("dilations", [1] * len(kernel))
    _refuse_dilated_same(node, kernel)
    _refuse_windows_of_padding(emit, node, kernel)
    if len(node.outputs) > 1 and not node.attribute("storage_order", 0):
        indices = emit.present(node.outputs[1])
    else:
        given = {a.name: a.value for a in node.node.attributes.values() if a.name != "storage_order"}
        indices = emit.op("MaxPool", x, outputs=2, **given)[1]
    overlap = any(m * d % s == 0 for k, s, d in zip(kernel, strides, dilations) for m in range(1, k))
    return scatter_flat(emit, dy, indices, x, "add" if overlap else "none")


@vjp("AveragePool")
def average_pool(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y[p] = 1/n(p) sum of x over the window p; dx = scatter(dy / n)."""
    x, kernel = node.input(0), kernel_of(node, None)
    windows = _sum_windows(emit, node, kernel)
    padded = bool(node.attribute("count_include_pad", 0))
    whole = padded or _no_padding(windows)
    if windows.positions is not None:
        found = _counts(node, windows, padded)
        if all(np.all(taps == extent) for taps, extent in zip(found, kernel)):
            return _spread(emit, node, windows, dy, 1 / prod(kernel))
        _refuse_many(node, "windows", prod(windows.positions))
        counts = np.ones(windows.positions)
        for axis, taps in enumerate(found):
            counts *= np.expand_dims(taps, [a for a in range(len(kernel)) if a != axis])
        np.reciprocal(np.maximum(counts, 1, out=counts), out=counts)
        weight = emit.constant(counts[None, None], dy.dtype)
    elif whole and not (node.attribute("ceil_mode", 0) and max(windows.strides) > 1):
        return _spread(emit, node, windows, dy, 1 / prod(kernel))
    else:
        weight = _weight_at_run_time(emit, node, x, padded)
    return _spread(emit, node, windows, emit.Mul(dy, weight), 1.0)


@vjp("LpPool")
def lp_pool(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = (sum of |x|^p over the window)^(1/p); dx = x |x|^(p-2) scatter(dy / y^(p-1)), zero where y = 0."""
    x = node.input(0)
    windows, order = _sum_windows(emit, node, kernel_of(node, None)), _order(node)
    return _times_power(emit, x, order, _spread(emit, node, windows, _over_power(emit, node, order, dy), 1.0))


@vjp("GlobalLpPool")
def global_lp_pool(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = (sum of |x|^p over all positions)^(1/p); dx = x |x|^(p-2) dy / y^(p-1), zero where y = 0."""
    x, order = node.input(0), _order(node)
    scaled = _over_power(emit, node, order, dy)
    return _times_power(emit, x, order, scaled)


@vjp("GlobalAveragePool")
def global_average_pool(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = mean of x over all positions; dx = dy / number of positions, everywhere."""
    x = node.input(0)
    extents = spatial(x)
    if extents is not None:
        return emit.Expand(emit.Mul(dy, 1 / prod(extents)), emit.shape(x))
    count = emit.Cast(emit.ReduceProd(spatial_shape(emit, x), keepdims=0), to=dy.dtype)
    return emit.Expand(emit.Div(dy, count), emit.shape(x))


@vjp("GlobalMaxPool")
def global_max_pool(emit: Emitter, node: Operator, dy: ir.Value) -> Gradients:
    """y = max of x over all positions; dx = dy at the first maximum, as PyTorch's adaptive_max_pool."""
    x = node.input(0)
    rows = emit.Flatten(x, axis=2)
    at = emit.ArgMax(rows, axis=1, keepdims=1)
    picked = emit.ScatterElements(emit.zeros_like(rows), at, emit.Flatten(dy, axis=2), axis=1)
    return emit.reshape_like(picked, x)


def _refuse_windows_of_padding(emit: Emitter, node: Operator, kernel: tuple[int, ...]) -> None:
    """A window that sees only padding has no maximum to credit; those of SAME never do."""
    if node.attribute("auto_pad", "NOTSET").startswith("SAME"):
        return
    windows = windows_of(emit, node, kernel)
    if windows.positions is not None and any(not taps.all() for taps in _counts(node, windows, False)):
        raise node.refuse("pads", node.attribute("pads", []), "a window lies wholly in the padding; make pads smaller")


def _sum_windows(emit: Emitter, node: Operator, kernel: tuple[int, ...]) -> Windows:
    """Return the windows that a pool sums over."""
    _refuse_dilated_same(node, kernel)
    return windows_of(emit, node, kernel)


def _refuse_dilated_same(node: Operator, kernel: tuple[int, ...]) -> None:
    """Refuse SAME with dilation: ONNX Runtime pads for the undilated kernel, and has fewer windows than inferred.

    Raises:
        UnsupportedOperatorError: as said.
    """
    dilations = node.attribute("dilations", [1] * len(kernel))
    dilated = any(k > 1 and d > 1 for k, d in zip(kernel, dilations))
    if dilated and node.attribute("auto_pad", "NOTSET").startswith("SAME"):
        raise node.refuse("auto_pad with dilations", dilations, "runtimes pad differently; replace auto_pad by pads")


def _no_padding(windows: Windows) -> bool:
    head, tail = windows.head, windows.tail
    return not isinstance(head, ir.Value) and not isinstance(tail, ir.Value) and not any(head + tail)


def _counts(node: Operator, windows: Windows, with_padding: bool) -> list[np.ndarray]:
    """:meth:`Windows.counts`, of no more windows along an axis than memory is for."""
    _refuse_many(node, "windows", max(windows.positions or (0,)))
    return windows.counts(with_padding)


def _refuse_many(node: Operator, what: str, count: int) -> None:
    """Refuse what would take a constant of gigabytes.

    Raises:
        UnsupportedOperatorError: as said.
    """
    if count > _MOST:
        raise node.refuse(f"number of {what}", count, f"at most {_MOST} are supported; check its kernel_shape and pads")


def _spread(emit: Emitter, node: Operator, windows: Windows, grid: ir.Value, weight: float) -> ir.Value:
    """Every value of the grid, times ``weight``, added to all positions of its window, channel by channel."""
    x = node.input(0)
    channels = None if x.shape is None else x.shape[1]
    _refuse_many(node, "taps", prod(windows.kernel) * (channels if isinstance(channels, int) else 1))
    assert grid.dtype is not None
    taps = np.full((1, 1, *windows.kernel), weight, dtype=grid.dtype.numpy())
    if isinstance(channels, int):
        return scatter(emit, windows, grid, emit.constant(np.repeat(taps, channels, 0), grid.dtype), channels, x)
    columns = emit.Reshape(grid, emit.vector([-1, 1, spatial_shape(emit, grid)]))
    spread = scatter(emit, windows, columns, emit.constant(taps, grid.dtype), 1, x)
    return emit.reshape_like(spread, x)


def _weight_at_run_time(emit: Emitter, node: Operator, x: ir.Value, padded: bool) -> ir.Value:
    """1/n [1, 1, positions]: of ones, the average (1 unless padding counts) over the sum."""
    ones = emit.Expand(emit.constant(1.0, x.dtype), emit.vector([1, 1, spatial_shape(emit, x)]))
    given = {a.name: a.value for a in node.node.attributes.values()}
    included = given.pop("count_include_pad", 0)
    sums = emit.LpPool(ones, p=1, **given)
    return (
        emit.Div(emit.AveragePool(ones, count_include_pad=included, **given), sums) if padded else emit.Reciprocal(sums)
    )


def _order(node: Operator) -> int:
    """The attribute p of a p-norm."""
    order = node.attribute("p", 2)
    if order < 1:
        raise node.refuse("p", order, "it must be 1 or more")
    return order


def _over_power(emit: Emitter, node: Operator, order: int, dy: ir.Value) -> ir.Value:
    """dy / y^(p-1), or dy where y = 0: there every x of the window is zero, and so is its gradient."""
    y = node.outputs[0]
    if order == 1:
        return dy
    nonzero = emit.Add(y, emit.Cast(emit.Equal(y, 0.0), to=dy.dtype))
    return emit.Div(dy, nonzero if order == 2 else emit.Pow(nonzero, float(order - 1)))


def _times_power(emit: Emitter, x: ir.Value, order: int, dy: ir.Value) -> ir.Value:
    """dy x |x|^(p-2)."""
    if order == 1:
        return emit.Mul(dy, emit.Sign(x))
    product = emit.Mul(dy, x)
    return product if order == 2 else emit.Mul(product, emit.Pow(emit.Abs(x), float(order - 2)))
