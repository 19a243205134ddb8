"""What is subtracted from the score so that images stay small and smooth, with its gradient.

Both take images [N,C,H,W] and return their gradients, shaped like them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

#: e, which keeps the total variation differentiable where neighbours are equal.
_EVEN = 0.01


def l2_gradient(images: Array) -> Array:
    """Of ||I||_2^2."""
    return 2 * images


def total_variation_gradient(images: Array) -> Array:
    """Of the sum over pixels of sqrt(sum over channels of (dI/dy)^2 + (dI/dx)^2 + e^2); 0 across the border."""
    down = np.diff(images, axis=2, append=images[:, :, -1:])
    right = np.diff(images, axis=3, append=images[..., -1:])
    lengths = np.sqrt((down**2 + right**2).sum(axis=1, keepdims=True) + _EVEN**2)
    down, right = down / lengths, right / lengths
    gradient: Array = -(down + right)
    gradient[:, :, 1:] += down[:, :, :-1]
    gradient[..., 1:] += right[..., :-1]
    return gradient
