"""What the C++ kernels compute, in NumPy: the oracle of their tests, and their documentation.

Arguments, results and rules are those of :mod:`onnxplain.native`, which also checks them; nothing is checked
here. No product code uses these: they take several times the time and memory of the kernels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .native import Normalization

__all__ = ["max_abs", "normalized", "overlay", "saliency"]


def max_abs(gradient: npt.NDArray[Any], channel_axis: int | None = 1) -> npt.NDArray[np.float32]:
    """Absolute value, then maximum over channels: float32 of the gradient's shape without the channel axis."""
    magnitude = np.abs(gradient.astype(np.float32))
    if channel_axis is None:
        return magnitude
    reduced: npt.NDArray[np.float32] = magnitude.max(axis=channel_axis, initial=0.0)
    return reduced


def normalized(
    maps: npt.NDArray[np.float32], normalize: Normalization = "max", percentile: float = 99.0
) -> npt.NDArray[np.float32]:
    """Each image of maps [N, positions...] divided by its maximum, range or percentile; zero where that is zero."""
    if normalize == "none" or maps.size == 0:
        return maps
    axes = tuple(range(1, maps.ndim))
    scaled = np.zeros_like(maps)
    if normalize == "percentile":
        # In double: NumPy's rank of a float32 percentile would be rounded to float32, which is off in large maps.
        span = np.percentile(maps.astype(np.float64), percentile, axis=axes, keepdims=True).astype(np.float32)
        np.divide(np.minimum(maps, span), span, out=scaled, where=span > 0)
        scaled[(span == 0) & (maps > 0)] = 1.0
        return scaled
    low = maps.min(axis=axes, keepdims=True) if normalize == "minmax" else np.float32(0)
    span = maps.max(axis=axes, keepdims=True) - low
    np.divide(maps - low, span, out=scaled, where=span > 0)
    return scaled


def saliency(
    gradient: npt.NDArray[Any],
    *,
    channel_axis: int | None = 1,
    normalize: Normalization = "max",
    percentile: float = 99.0,
) -> npt.NDArray[np.float32]:
    """See :func:`onnxplain.native.saliency`; `gradient` must be finite."""
    return normalized(max_abs(gradient, channel_axis), normalize, percentile)


def overlay(
    saliency: npt.NDArray[np.float32],
    photo: npt.NDArray[np.uint8] | None,
    colormap: npt.NDArray[np.uint8],
    *,
    alpha: float = 0.5,
    weight_by_saliency: bool = False,
) -> npt.NDArray[np.uint8]:
    """See :func:`onnxplain.native.overlay`; `saliency` must not hold NaN."""
    clipped = np.clip(saliency, 0.0, 1.0).astype(np.float32)
    color: npt.NDArray[np.uint8] = colormap[(clipped * np.float32(255) + np.float32(0.5)).astype(np.int32)]
    if photo is None:
        return color
    weight = np.float32(alpha) * (clipped if weight_by_saliency else np.ones_like(clipped))
    fixed = (weight * np.float32(65536) + np.float32(0.5)).astype(np.int32)[..., None]
    below = photo.astype(np.int32)
    blended: npt.NDArray[np.uint8] = (below + (((color - below) * fixed + 32768) >> 16)).astype(np.uint8)
    return blended
