"""Sparseness: the Gini index of an explanation's magnitudes.

Chalasani, Chen, Chowdhury, Wu, Jha 2020, "Concise Explanations of Neural Networks using Adversarial Training", section
4 (after Hurley and Rickard 2009). With the d magnitudes in ascending order a_(1) <= ... <= a_(d)::

    G = 1 - 2 sum_k a_(k) / ||a||_1 * (d - k + 0.5) / d

0 if all are equal, 1 - 1/d if one alone is not zero.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..checks import check_unmasked
from ..errors import InputError
from .arrays import Array


def sparseness(attributions: Array) -> NDArray[np.float64]:
    """Return the Gini index of the magnitudes of N attributions or maps [N,...], [N], 0..1; 0 for one of zeros.

    Raises:
        InputError: nothing beside the batch axis, NaN or infinity.
    """
    check_unmasked("attributions", attributions)
    values = np.asarray(attributions, dtype=np.float64)
    if values.ndim < 2 or values.size == 0 or not np.isfinite(values).all():
        raise InputError(f"attributions are finite numbers [N,...]; found {list(values.shape)} or NaN or infinity.")
    magnitudes = np.sort(np.abs(values).reshape(len(values), -1), axis=1)
    count, total = magnitudes.shape[1], magnitudes.sum(axis=1)
    weights = (count - np.arange(1, count + 1) + 0.5) / count
    share = np.divide(magnitudes @ weights, total, out=np.full_like(total, 0.5), where=total > 0)
    gini: NDArray[np.float64] = 1 - 2 * share
    return gini
