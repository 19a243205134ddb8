"""What the C++ kernels compute, in NumPy: the oracle of their tests, and their documentation.

Arguments, results and rules are those of :mod:`onnxplain.native`, which also checks them; nothing is checked
here. No product code uses these: they take several times the time and memory of the kernels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .native import Normalization, Reduction

__all__ = ["accumulate", "add_noise", "normalized", "overlay", "philox", "reduced", "saliency"]


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


def philox(counter: npt.NDArray[np.uint32], key: tuple[int, int]) -> npt.NDArray[np.uint32]:
    """Philox4x32-10 of counters [4, n]: random words [4, n]."""
    (a, b, c, d), (low, high) = counter, key
    for _ in range(10):
        p, q = np.uint64(0xD2511F53) * a, np.uint64(0xCD9E8D57) * c
        a, b = (q >> 32).astype(np.uint32) ^ b ^ np.uint32(low), q.astype(np.uint32)
        c, d = (p >> 32).astype(np.uint32) ^ d ^ np.uint32(high), p.astype(np.uint32)
        low, high = (low + 0x9E3779B9) % 2**32, (high + 0xBB67AE85) % 2**32
    return np.stack([a, b, c, d])


def add_noise(x: npt.NDArray[np.float32], deviation: float, key: int) -> npt.NDArray[np.float32]:
    """See :func:`onnxplain.native.add_noise`.

    16 blocks of Philox make 64 numbers, word k of block 16 g + j becoming number 64 g + 16 k + j; words 0 and 1, and
    words 2 and 3, give two numbers each. The float32 operations are those of the kernel one by one.
    """
    blocks = np.arange(-(-x.size // 64) * 16, dtype=np.uint64)
    zero = np.zeros(len(blocks), np.uint32)
    counter = np.stack([blocks.astype(np.uint32), (blocks >> 32).astype(np.uint32), zero, zero])
    u, v, w, z = philox(counter, (key % 2**32, key >> 32))
    numbers = np.stack([*_box_muller(u, v), *_box_muller(w, z)]).reshape(4, -1, 16).swapaxes(0, 1)
    result: npt.NDArray[np.float32] = x + np.float32(deviation) * numbers.reshape(-1)[: x.size].reshape(x.shape)
    return result


def _box_muller(a: npt.NDArray[np.uint32], b: npt.NDArray[np.uint32]) -> tuple[npt.NDArray[np.float32], ...]:
    """sqrt(-2 ln u) (cos 2πv, sin 2πv) with u = (a + 1/2) / 2^32 and v = b / 2^32."""
    high, low = (a >> 8).astype(np.float32), (a & 255).astype(np.float32)
    u = (high * np.float32(256) + (low + np.float32(0.5))) * np.float32(2**-32)
    radius = np.sqrt(np.float32(-2) * _logarithm(u))
    turned = b + np.uint32(1 << 29)  # by an eighth of a turn: its two highest bits count quarters
    rest = (turned & np.uint32((1 << 30) - 1)).astype(np.int32) - np.int32(1 << 29)
    x = rest.astype(np.float32) * np.float32(1.46291808e-9)  # 2π / 2^32
    z = x * x
    sine = x + (x * z) * _polynomial(z, -0.166666552, 0.0083321603, -0.000195152825)
    cosine = (np.float32(1) - np.float32(0.5) * z) + (z * z) * _polynomial(
        z, 0.0416666456, -0.00138873165, 2.44331568e-05
    )
    quarter = turned >> 30
    first, second = np.where(quarter % 2, sine, cosine), np.where(quarter % 2, cosine, sine)
    negative_first, negative_second = (quarter + 1) & 2, quarter & 2
    return radius * np.where(negative_first, -first, first), radius * np.where(negative_second, -second, second)


def _logarithm(u: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """ln u of u = 2^e m, m in [sqrt(1/2), sqrt(2)): e ln 2 + f + f² P(f), f = m - 1."""
    root_half = np.int32(0x3F3504F3)
    scaled = u.view(np.int32) - root_half
    exponent = (scaled >> 23).astype(np.float32)
    f = ((scaled & np.int32(0x7FFFFF)) + root_half).view(np.float32) - np.float32(1)
    series = (
        -0.499999911,
        0.333339512,
        -0.250017554,
        0.199620724,
        -0.16570507,
        0.149179757,
        -0.143075287,
        0.0873484612,
    )
    result: npt.NDArray[np.float32] = exponent * np.float32(0.693147182) + (f + (f * f) * _polynomial(f, *series))
    return result


def _polynomial(x: npt.NDArray[np.float32], *coefficients: float) -> npt.NDArray[np.float32]:
    """first + second x + third x² + ..."""
    value = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = value * x + np.float32(coefficient)
    return value


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
