"""What is subtracted from the score so that images stay small and smooth, with its gradient.

All take images [N,C,H,W]; values are one number for each image [N], gradients are shaped like the images.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

#: e, which keeps the total variation differentiable where neighbours are equal.
_EVEN = 0.01


def l2(images: Array) -> Array:
    """Return ||I||_2^2."""
    return np.asarray((images**2).sum(axis=(1, 2, 3)))


def l2_gradient(images: Array) -> Array:
    """Return the gradient of :func:`l2`."""
    return 2 * images


def total_variation(images: Array) -> Array:
    """Return the sum over pixels of sqrt(sum over channels of (dI/dy)^2 + (dI/dx)^2 + e^2); 0 across the border."""
    _, _, lengths = _differences(images)
    return np.asarray(lengths.sum(axis=(1, 2, 3)))


def total_variation_gradient(images: Array) -> Array:
    """Return the gradient of :func:`total_variation`."""
    down, right, lengths = _differences(images)
    down, right = down / lengths, right / lengths
    gradient: Array = -(down + right)
    gradient[:, :, 1:] += down[:, :, :-1]
    gradient[..., 1:] += right[..., :-1]
    return gradient


def _differences(images: Array) -> tuple[Array, Array, Array]:
    """Return dI/dy and dI/dx [N,C,H,W], and their lengths over channels [N,1,H,W]."""
    down = np.diff(images, axis=2, append=images[:, :, -1:])
    right = np.diff(images, axis=3, append=images[..., -1:])
    return down, right, np.sqrt((down**2 + right**2).sum(axis=1, keepdims=True) + _EVEN**2)
