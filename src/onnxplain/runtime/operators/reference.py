"""The operators in NumPy, on values [N,C,H,W] in plain layout: what the compiled ones are tested against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


def gate(*inputs: Array, alpha: Sequence[float], beta: Sequence[float]) -> Array:
    """Return dy times the product of min(max(alpha y + beta, 0), 1) over the pairs of alpha and beta; any one shape.

    ``inputs`` are dy and y, or the two values whose sum dy is, and y.
    """
    *dys, y = inputs
    with np.errstate(over="ignore"):
        lines = [np.float32(a) * y + np.float32(b) for a, b in zip(alpha, beta)]
    ramps = [np.maximum(np.minimum(line, np.float32(1)), np.float32(0)) for line in lines]
    mask: Array = ramps[0] if len(ramps) == 1 else ramps[0] * ramps[1]
    with np.errstate(invalid="ignore", over="ignore"):
        return np.multiply(dys[0] if len(dys) == 1 else dys[0] + dys[1], mask)


def pool_gradient(
    x: Array,
    dy: Array,
    *,
    kernel_shape: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    top_left: Sequence[int],
    add: bool,
) -> Array:
    """Return the gradient [N,C,H,W] of max pooling of ``x``, from that of its output, ``dy`` [N,C,h,w].

    Each element of ``dy`` goes to the first maximum of its window, in the order of ``dy``; where windows overlap it is
    added, or takes the place of what was there before.
    """
    dx = np.zeros_like(x)
    for n, c, i, j in np.ndindex(*dy.shape):
        inside = [
            (row, column)
            for row in range(i * strides[0] - top_left[0], x.shape[2], dilations[0])[: kernel_shape[0]]
            for column in range(j * strides[1] - top_left[1], x.shape[3], dilations[1])[: kernel_shape[1]]
            if row >= 0 and column >= 0
        ]
        row, column = max(inside, key=lambda place: x[n, c, place[0], place[1]])
        dx[n, c, row, column] = dx[n, c, row, column] + dy[n, c, i, j] if add else dy[n, c, i, j]
    return dx


def interleave(phases: Mapping[int, Array], stride: Sequence[int], size: Sequence[int]) -> Array:
    """Return [N,C,*size]: element (y, x) is (y / s, x / t) of phase (y % s) t + x % t, or zero without that phase."""
    first = next(iter(phases.values()))
    out = np.zeros((*first.shape[:2], *size), np.float32)
    for number, phase in phases.items():
        row, column = divmod(number, stride[1])
        view = out[:, :, row :: stride[0], column :: stride[1]]
        part = phase[:, :, : view.shape[2], : view.shape[3]]
        view[:, :, : part.shape[2], : part.shape[3]] = part
    return out
