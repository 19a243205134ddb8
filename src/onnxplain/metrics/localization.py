"""Localisation: does a map fall on the object?

- Pointing game (Zhang, Lin, Brandt, Shen, Sclaroff 2016, "Top-down Neural Attention by Excitation Backprop", section
  4.2): a hit if the map's maximum lies on the object, within a tolerance; the accuracy is hits / images.
- Energy (Wang et al. 2020, "Score-CAM", section 4.3, the energy-based pointing game): sum of the map on the object /
  sum of the map.

Objects are masks, or boxes made into masks by :func:`box_masks`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .arrays import Array, as_magnitudes, as_maps, as_masks


def pointing_game(maps: Array, masks: Array, *, tolerance: float = 15.0) -> NDArray[np.bool_]:
    """Return whether each map's maximum lies on the object or at most ``tolerance`` pixels (Euclidean) from it; [N].

    Args:
        maps: [N,H,W] or [N,1,H,W]. Of several equal maxima the upper left one counts; a constant map points nowhere
            and misses.
        masks: shaped like the maps, true on the object.
        tolerance: in pixels of the map; 15 in the paper.

    Raises:
        InputError: shapes that do not fit, an empty mask, a negative tolerance.
    """
    if not tolerance >= 0:
        raise InputError(f"the tolerance is 0 pixels or more; found {tolerance!r}.")
    values = as_maps(maps)
    return np.array([_hits(one, mask, tolerance) for one, mask in zip(values, as_masks(masks, values))])


def energy_in_mask(maps: Array, masks: Array) -> NDArray[np.float64]:
    """Return the share of each map's sum that lies on the object, [N], 0..1; 0 for a map of zeros.

    ``maps`` are [N,H,W] or [N,1,H,W], 0 or more; ``masks`` shaped like them.

    Raises:
        InputError: shapes that do not fit, an empty mask, negative values.
    """
    values = as_magnitudes(maps)
    inside = np.where(as_masks(masks, values), values, 0).sum(axis=(1, 2))
    total = values.sum(axis=(1, 2))
    share: NDArray[np.float64] = np.divide(inside, total, out=np.zeros_like(total), where=total > 0)
    return share


def box_masks(boxes: Any, height: int, width: int) -> NDArray[np.bool_]:
    """Return masks [N,height,width] of boxes [N,4]: (left, top, right, bottom), right and bottom excluded.

    Raises:
        InputError: another shape.
    """
    corners = np.asarray(boxes)
    if corners.ndim != 2 or corners.shape[1] != 4:
        raise InputError(f"boxes are [N,4]: left, top, right, bottom; found {list(corners.shape)}.")
    left, top, right, bottom = (corners[:, [corner]] for corner in range(4))
    y, x = np.arange(height)[None], np.arange(width)[None]
    rows, columns = (top <= y) & (y < bottom), (left <= x) & (x < right)
    return rows[:, :, None] & columns[:, None, :]


def _hits(one: NDArray[np.float64], mask: NDArray[np.bool_], tolerance: float) -> bool:
    if one.max() == one.min():
        return False
    y, x = np.unravel_index(int(np.argmax(one)), one.shape)
    rows, columns = np.nonzero(mask)
    return bool(np.hypot(rows - y, columns - x).min() <= tolerance)
