"""What stands in the place of pixels that are taken away from an image."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from ..checks import check_unmasked, shown
from ..errors import InputError
from .arrays import Array, filtered, gaussian

#: A number, "zero": 0 in the input tensor, the mean colour for most preprocessings. "mean": the mean of each channel of
#: the image. "blur": the image blurred by a Gaussian of 5 pixels, cut off at 5 (Petsiuk et al. 2018), edges repeated.
#: An array that broadcasts over the images.
Baseline: TypeAlias = Literal["zero", "mean", "blur"] | float | Array

_SIGMA, _RADIUS = 5.0, 5


def baseline_images(baseline: Baseline, x: Array, channel_axis: int | None = 1) -> Array:
    """Return the baseline of images ``x``, [N,C,H,W] or [N,H,W,C], or of other samples.

    Args:
        baseline: what stands in the place of pixels.
        x: the samples [N, ...].
        channel_axis: the axis of the channels, None without them; all further ones are positions.

    Returns:
        An array of the shape and type of ``x``; rounded for whole numbers.

    Raises:
        InputError: an unknown name, not finite, or an array that does not broadcast.
    """
    channels = None if channel_axis is None else channel_axis % x.ndim
    positions = tuple(axis for axis in range(1, x.ndim) if axis != channels)
    if isinstance(baseline, str):
        if baseline not in ("zero", "mean", "blur"):
            raise InputError(f"baseline {baseline!r} is unknown; there are zero, mean, blur, a number, or an array.")
        if baseline == "zero":
            return np.zeros_like(x)
        found: Array = x.mean(axis=positions, keepdims=True) if baseline == "mean" else _blurred(x, positions)
    else:
        found = _finite(baseline)
    try:
        whole = np.broadcast_to(np.rint(found) if x.dtype.kind in "iu" else found, x.shape)
    except ValueError:
        raise InputError(f"a baseline of shape {list(found.shape)} does not fit images {list(x.shape)}.") from None
    return whole.astype(x.dtype)


def _finite(baseline: float | Array) -> Array:
    check_unmasked("a baseline", baseline)
    try:
        found = np.asarray(baseline, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        found = np.array(np.nan)
    if not np.isfinite(found).all():
        raise InputError(
            f"a baseline is zero, mean, blur, a finite number, or an array of them; found {shown(baseline)}."
        )
    return found


def _blurred(x: Array, positions: tuple[int, ...]) -> Array:
    padded = np.pad(
        x.astype(np.float64), [(_RADIUS, _RADIUS) if axis in positions else (0, 0) for axis in range(x.ndim)], "edge"
    )
    for axis in positions:
        padded = filtered(padded, gaussian(_SIGMA, _RADIUS), axis)
    return padded
