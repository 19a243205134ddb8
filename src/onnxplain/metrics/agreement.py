"""Agreement of maps: rank correlation and structural similarity.

- Spearman's rank correlation: Pearson's correlation of the ranks, equal values sharing the mean of theirs. It is what
  Adebayo et al. 2018, "Sanity Checks for Saliency Maps", compare maps by, beside the similarity below.
- SSIM (Wang, Bovik, Sheikh, Simoncelli 2004, "Image Quality Assessment"): over windows with Gaussian weights, of means
  m, variances v and covariance c, the mean of (2 m_a m_b + C1) (2 c + C2) / ((m_a^2 + m_b^2 + C1) (v_a + v_b + C2)),
  with C1 = (0.01 L)^2, C2 = (0.03 L)^2 for maps of range L.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .arrays import Array, as_maps, filtered, gaussian


def rank_correlation(a: Array, b: Array) -> NDArray[np.float64]:
    """Spearman's correlation of N pairs of maps, [N], -1..1; NaN where a map is constant, which ranks nothing.

    ``a`` and ``b`` are [N,H,W] or [N,1,H,W]; take magnitudes first if signs are not to count.

    Raises:
        InputError: shapes that do not fit, NaN or infinity.
    """
    first, second = _pair(a, b)
    found = np.full(len(first), np.nan)
    for row, (one, other) in enumerate(zip(first, second)):
        x, y = (_ranks(values) - (values.size - 1) / 2 for values in (one.ravel(), other.ravel()))
        scale = np.sqrt((x @ x) * (y @ y))
        if scale > 0:
            found[row] = (x @ y) / scale
    return found


def ssim(a: Array, b: Array, *, value_range: float = 1.0, window: int = 11, sigma: float = 1.5) -> NDArray[np.float64]:
    """Return the mean structural similarity of N pairs of maps, [N], at most 1, which equal maps have.

    Args:
        a, b: [N,H,W] or [N,1,H,W].
        value_range: L, from the least to the greatest possible value; 1 for normalised maps.
        window: side of the window in pixels, odd; only windows inside the map count.
        sigma: standard deviation of its weights in pixels.

    Raises:
        InputError: shapes that do not fit, maps smaller than the window, NaN or infinity.
    """
    first, second = _pair(a, b)
    if window < 1 or window % 2 == 0 or window > min(first.shape[1:]):
        raise InputError(f"the window is odd and fits into the maps {list(first.shape[1:])}; found {window!r}.")
    weights = gaussian(sigma, window // 2)

    def means(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return filtered(filtered(values, weights, 1), weights, 2)

    mean_a, mean_b = means(first), means(second)
    variances = means(first * first) - mean_a**2 + means(second * second) - mean_b**2
    covariance = means(first * second) - mean_a * mean_b
    c1, c2 = (0.01 * value_range) ** 2, (0.03 * value_range) ** 2
    similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    similarity /= (mean_a**2 + mean_b**2 + c1) * (variances + c2)
    mean: NDArray[np.float64] = similarity.mean(axis=(1, 2))
    return mean


def _pair(a: Array, b: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    first, second = as_maps(a), as_maps(b)
    if first.shape != second.shape:
        raise InputError(f"the maps to compare have shapes {list(first.shape)} and {list(second.shape)}.")
    return first, second


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank of each value, 0 the least; equal values share the mean of their ranks."""
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(sizes) - 1
    shared: NDArray[np.float64] = (last - (sizes - 1) / 2)[group.ravel()]
    return shared
