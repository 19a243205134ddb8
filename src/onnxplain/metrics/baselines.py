"""What stands in the place of pixels that are taken away from an image."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from ..errors import InputError
from .arrays import Array, filtered, gaussian

#: "zero": 0 in the input tensor, the mean colour for most preprocessings. "mean": the mean of each channel of the
#: image. "blur": the image blurred by a Gaussian of 5 pixels, cut off at 5 (Petsiuk et al. 2018), edges repeated.
#: An array that broadcasts over the images.
Baseline: TypeAlias = Literal["zero", "mean", "blur"] | Array

_SIGMA, _RADIUS = 5.0, 5


def baseline_images(baseline: Baseline, x: Array, channel_axis: int = 1) -> Array:
    """The baseline of images ``x``, [N,C,H,W] or [N,H,W,C]; an array of their shape and type.

    Raises:
        InputError: an unknown name, or an array that does not broadcast.
    """
    positions = tuple(axis for axis in range(1, x.ndim) if axis != channel_axis % x.ndim)
    if isinstance(baseline, str):
        if baseline == "zero":
            return np.zeros_like(x)
        if baseline == "mean":
            found: Array = x.mean(axis=positions, keepdims=True)
        elif baseline == "blur":
            found = _blurred(x, positions)
        else:
            raise InputError(f"baseline {baseline!r} is unknown; there are zero, mean, blur, or an array.")
    else:
        found = np.asarray(baseline)
    try:
        return np.broadcast_to(found, x.shape).astype(x.dtype)
    except ValueError:
        raise InputError(f"a baseline of shape {list(found.shape)} does not fit images {list(x.shape)}.") from None


def _blurred(x: Array, positions: tuple[int, ...]) -> Array:
    padded = np.pad(
        x.astype(np.float64), [(_RADIUS, _RADIUS) if axis in positions else (0, 0) for axis in range(x.ndim)], "edge"
    )
    for axis in positions:
        padded = filtered(padded, gaussian(_SIGMA, _RADIUS), axis)
    return padded
