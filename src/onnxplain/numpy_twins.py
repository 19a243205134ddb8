"""What the C++ kernels compute, in NumPy: the oracle of their tests, and their documentation.

Arguments, results and rules are those of :mod:`onnxplain.native`, which also checks them; nothing is checked
here. No product code uses these: they take several times the time and memory of the kernels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .native import Normalization, Reduction

__all__ = ["accumulate", "normalized", "overlay", "reduced", "saliency"]


def reduced(
    gradient: npt.NDArray[Any], channel_axis: int | None = 1, reduction: Reduction = "max_abs"
) -> npt.NDArray[np.float32]:
    """Each position's channels as one number: float32 of the gradient's shape without the channel axis."""
    single = gradient.astype(np.float32)
    channels = single[..., None] if channel_axis is None else np.moveaxis(single, channel_axis, -1)
    result = np.zeros(channels.shape[:-1], np.float32)
    for channel in np.moveaxis(channels, -1, 0):  # one by one: NumPy's own sum takes them in another order
        result = np.maximum(result, np.abs(channel)) if reduction == "max_abs" else result + channel
    if reduction == "positive":
        return np.maximum(result, 0) + np.abs(result * 0)  # negative infinity is not a zero
    return np.abs(result) if reduction == "abs_sum" else result


def normalized(
    maps: npt.NDArray[np.float32], normalize: Normalization = "max", percentile: float = 99.0
) -> npt.NDArray[np.float32]:
    """Each image of maps [N, positions...] divided by its largest magnitude, range or percentile of magnitudes;
    zero where that is zero."""
    if normalize == "none" or maps.size == 0:
        return maps
    axes = tuple(range(1, maps.ndim))
    scaled = np.zeros_like(maps)
    magnitudes = np.abs(maps)
    if normalize == "percentile":
        # In double: NumPy's rank of a float32 percentile would be rounded to float32, which is off in large maps.
        span = np.percentile(magnitudes.astype(np.float64), percentile, axis=axes, keepdims=True).astype(np.float32)
        np.divide(np.clip(maps, -span, span), span, out=scaled, where=span > 0)
        return np.where(span > 0, scaled, np.sign(maps))
    low = maps.min(axis=axes, keepdims=True) if normalize == "minmax" else np.float32(0)
    span = (maps - low if normalize == "minmax" else magnitudes).max(axis=axes, keepdims=True)
    np.divide(maps - low, span, out=scaled, where=span > 0)
    return scaled


def saliency(
    gradient: npt.NDArray[Any],
    *,
    channel_axis: int | None = 1,
    reduction: Reduction = "max_abs",
    normalize: Normalization = "max",
    percentile: float = 99.0,
) -> npt.NDArray[np.float32]:
    """See :func:`onnxplain.native.saliency`; `gradient` must be finite."""
    return normalized(reduced(gradient, channel_axis, reduction), normalize, percentile)


def accumulate(
    gradients: npt.NDArray[Any], total: npt.NDArray[np.float64], squares: npt.NDArray[np.float64] | None = None
) -> None:
    """See :func:`onnxplain.native.accumulate`."""
    for gradient in gradients.astype(np.float64):
        total += gradient
        if squares is not None:
            squares += gradient**2


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
