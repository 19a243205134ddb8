"""The operators in NumPy, on values [N,C,H,W] in plain layout: what the compiled ones are tested against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from .chain_program import STEPS

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


def chain(
    *inputs: Array, program: Sequence[int], constants: Sequence[float], count: Sequence[int], axis: Sequence[int],
    reduced: bool = False,
) -> Array:  # fmt: skip
    """Return what a Chain makes of inputs that NumPy broadcasts to one shape; with ``reduced`` a ChainSum.

    ``program`` has a step in every four integers: its number in ``STEPS``, and three values, which are numbered: the
    ``count`` inputs, the constants, and what the steps before made. Sums over the axes from ``axis`` on are in float64.
    """
    frame = np.broadcast_shapes(*(array.shape for array in inputs))
    axes = tuple(range(axis[0], len(frame)))
    assert len(inputs) == count[0]
    values: list[Array] = [np.broadcast_to(array, frame) for array in inputs]
    values += [np.broadcast_to(np.float32(constant), frame) for constant in constants]
    with np.errstate(all="ignore"):
        for at in range(0, len(program), 4):
            a, b, c = (values[number] for number in program[at + 1 : at + 4])
            values.append(_step(STEPS[program[at]], a, b, c, axes))
        if reduced:
            values.append(_summed(values[-1], axes))
    return values[-1]


def _summed(array: Array, axes: tuple[int, ...]) -> Array:
    return np.asarray(array.sum(axes, np.float64, keepdims=True), np.float32)


def _step(kind: str, a: Array, b: Array, c: Array, axes: tuple[int, ...]) -> Array:
    if kind == "ramp":
        return np.asarray(np.maximum(np.minimum(b * a + c, np.float32(1)), np.float32(0)))
    if kind == "exp":
        return np.asarray(np.exp(a.astype(np.float64)), np.float32)
    if kind == "sum":
        return np.broadcast_to(_summed(a, axes), a.shape)
    functions = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}
    result: Array = np.abs(a) if kind == "abs" else functions[kind](a, b)
    return result
