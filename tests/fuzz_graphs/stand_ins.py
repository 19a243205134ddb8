"""Operators for ONNX's reference evaluator. Its own Erf computes in float32 whatever it is given.

Its own pools take milliseconds each, and differ from runtimes with ``ceil_mode``; its own BatchNormalization of opset 9
mixes the moments of its input into those that are given.
The windows are those of ONNX Runtime and PyTorch: with ``ceil_mode`` one may end behind the padding, and an average
counts (``count_include_pad``) positions up to the padding's end.
"""

from __future__ import annotations

import math

import numpy as np
from onnx.reference.op_run import OpRun


def _windows(
    x: np.ndarray,
    fill: float,
    kernel: list[int],
    strides: list[int] | None,
    dilations: list[int] | None,
    pads: list[int] | None,
    auto_pad: str | None,
    ceil: bool,
) -> np.ndarray:
    """All windows, [N, C, positions, taps]; what lies in the padding is ``fill``, what lies behind it NaN."""
    n = len(kernel)
    strides, dilations = strides or [1] * n, dilations or [1] * n
    for i in range(n):
        extent, reach = x.shape[2 + i], (kernel[i] - 1) * dilations[i] + 1
        head, tail = (0, 0) if pads is None else (pads[i], pads[n + i])
        if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            total = max(0, (-(-extent // strides[i]) - 1) * strides[i] + reach - extent)
            head = total // 2 if auto_pad == "SAME_UPPER" else total - total // 2
            tail = total - head
        elif auto_pad == "VALID":
            head = tail = 0
        room = extent + head + tail - reach
        count = (-(-room // strides[i]) if ceil else room // strides[i]) + 1
        beyond = max(0, (count - 1) * strides[i] + reach - extent - head - tail)
        widths = [(0, 0)] * x.ndim
        widths[2 + i] = (head, tail)
        x = np.pad(x, widths, constant_values=fill)
        widths[2 + i] = (0, beyond)
        x = np.pad(x, widths, constant_values=np.nan)
        taps = np.arange(count)[:, None] * strides[i] + np.arange(kernel[i]) * dilations[i]
        taken = np.take(x, taps.reshape(-1), 2 + i).reshape(*x.shape[: 2 + i], *taps.shape, *x.shape[3 + i :])
        x = np.moveaxis(taken, 3 + i, -1)
    return x.reshape(*x.shape[: 2 + n], -1)


class MaxPool(OpRun):
    op_domain = ""

    def _run(
        self, x, auto_pad=None, ceil_mode=0, dilations=None, kernel_shape=None, pads=None, storage_order=0, strides=None
    ):
        windows = _windows(x, -np.inf, kernel_shape, strides, dilations, pads, auto_pad, bool(ceil_mode))
        return (np.nanmax(windows, axis=-1),)


class AveragePool(OpRun):
    op_domain = ""

    def _run(
        self,
        x,
        auto_pad=None,
        ceil_mode=0,
        count_include_pad=0,
        dilations=None,
        kernel_shape=None,
        pads=None,
        strides=None,
    ):
        fill = 0.0 if count_include_pad else np.nan
        windows = _windows(x, fill, kernel_shape, strides, dilations, pads, auto_pad, bool(ceil_mode))
        return (np.nanmean(windows, axis=-1),)


class LpPool(OpRun):
    op_domain = ""

    def _run(self, x, auto_pad=None, ceil_mode=0, dilations=None, kernel_shape=None, p=2, pads=None, strides=None):
        windows = _windows(x, 0.0, kernel_shape, strides, dilations, pads, auto_pad, bool(ceil_mode))
        return (np.nansum(np.abs(windows) ** p, axis=-1) ** (1.0 / p),)


class Erf(OpRun):
    op_domain = ""

    def _run(self, x):
        return (np.vectorize(math.erf, otypes=[x.dtype])(x),)


class BatchNormalization(OpRun):
    """The one of inference, which is all that the generator makes."""

    op_domain = ""

    def _run(self, x, scale, bias, mean, var, epsilon=1e-5, momentum=0.9, training_mode=0):
        scale, bias, mean, var = (v.reshape(-1, *[1] * (x.ndim - 2)) for v in (scale, bias, mean, var))
        return (scale * (x - mean) / np.sqrt(var + epsilon) + bias,)


STAND_INS = [MaxPool, AveragePool, LpPool, Erf, BatchNormalization]
