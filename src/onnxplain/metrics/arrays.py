"""What all metrics share: types, shapes of maps and masks, plain values, filters.

Maps are [N,H,W], or [N,1,H,W] as Quantus has them; masks likewise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..checks import check_count, check_unmasked
from ..errors import InputError

Array: TypeAlias = NDArray[Any]

#: f(x [B,...], targets [B]) -> [B]: the score, or the probability, of one class for each sample.
ScoreFunction: TypeAlias = Callable[[Array, NDArray[np.int64]], Array]
#: a(x [B,...], targets [B]) -> [B,...]: the attributions of one class for each sample.
ExplainFunction: TypeAlias = Callable[[Array, NDArray[np.int64]], Array]


def as_maps(array: Array, name: str = "maps") -> NDArray[np.float64]:
    """Return maps [N,H,W] of [N,H,W] or [N,1,H,W].

    Raises:
        InputError: another shape, no elements, NaN or infinity.
    """
    check_unmasked(name, array)
    values = np.asarray(array, dtype=np.float64)
    if values.ndim == 4 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 3 or values.size == 0:
        raise InputError(f"{name} are [N,H,W] or [N,1,H,W]; found {list(np.shape(array))}.")
    if not np.isfinite(values).all():
        raise InputError(f"{name} hold NaN or infinity; nothing can be measured of them.")
    return values


def as_magnitudes(array: Array) -> NDArray[np.float64]:
    """Return maps [N,H,W] of numbers >= 0.

    Raises:
        InputError: as for :func:`as_maps`, or a negative value.
    """
    maps = as_maps(array)
    if maps.min() < 0:
        raise InputError(f"the maps hold negative values (down to {maps.min():g}); take magnitudes first.")
    return maps


def as_masks(array: Array, maps: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return masks [N,H,W] for ``maps``, true on the object.

    Raises:
        InputError: another shape than the maps', or a mask without a single pixel.
    """
    check_unmasked("masks", array)
    masks = np.asarray(array)
    if masks.ndim == 4 and masks.shape[1] == 1:
        masks = masks[:, 0]
    if masks.shape != maps.shape:
        raise InputError(f"masks are shaped like the maps {list(maps.shape)}; found {list(np.shape(array))}.")
    found: NDArray[np.bool_] = masks.astype(bool)
    empty = ~found.any(axis=(1, 2))
    if empty.any():
        raise InputError(f"mask {int(np.argmax(empty))} is empty: there is no object to find.")
    return found


def as_targets(targets: object, samples: int) -> NDArray[np.int64]:
    """Return class indices [N]; one index stands for all samples.

    Raises:
        InputError: another number of them.
    """
    found = np.asarray(targets, dtype=np.int64)
    if found.ndim == 0:
        return np.full(samples, found)
    if found.shape != (samples,):
        raise InputError(f"targets are one class, or one for each of {samples} samples; found {list(found.shape)}.")
    return found


def like(values: Array, x: Array) -> Array:
    """Return ``values`` in the type of ``x``: rounded and kept in its range where that is one of integers."""
    if x.dtype.kind not in "iu":
        return values.astype(x.dtype)
    limits = np.iinfo(x.dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(x.dtype)


def over_positions(maps: Array, x: Array, channel_axis: int) -> Array:
    """Return maps [B,H,W] with a channel axis of one, so that they broadcast over ``x``, [B,C,H,W] or [B,H,W,C].

    Raises:
        InputError: ``x`` has another rank or other positions.
    """
    axis = channel_axis % x.ndim if x.ndim else 0
    if x.ndim != 4 or axis == 0 or (*x.shape[:axis], *x.shape[axis + 1 :])[1:] != maps.shape[1:]:
        raise InputError(
            f"images {list(x.shape)} with channel axis {channel_axis} do not fit maps {list(maps.shape)}; "
            "images are [N,C,H,W], or [N,H,W,C] with channel_axis=-1."
        )
    return np.expand_dims(maps, axis)


def score_all(
    score: ScoreFunction,
    make: Callable[[NDArray[np.intp], NDArray[np.intp]], Array],
    targets: NDArray[np.int64],
    variations: int,
    batch_size: int,
) -> NDArray[np.float64]:
    """Return scores [N,V] of V variations of N samples, ``batch_size`` at a time, in row-major order.

    ``make(samples, variations)`` has the inputs [B,...] of B pairs of them: no more exist at any time.

    Raises:
        InputError: ``score`` gives something else than [B].
    """
    found = np.empty((len(targets), variations))
    for samples, numbers in _pairs(len(targets), variations, check_count("batch_size", batch_size)):
        values = np.asarray(score(make(samples, numbers), targets[samples]))
        if values.shape != samples.shape:
            raise InputError(f"the score function gives one number a sample [{len(samples)}]; found {values.shape}.")
        found[samples, numbers] = values
    return found


def _pairs(rows: int, columns: int, size: int) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    for start in range(0, rows * columns, size):
        pair = np.arange(start, min(start + size, rows * columns), dtype=np.intp)
        yield pair // columns, pair % columns


def filtered(values: NDArray[np.float64], weights: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Return the weighted sums of neighbours along ``axis``, where the whole window of weights fits."""
    length = values.shape[axis] - len(weights) + 1
    along = np.moveaxis(values, axis, 0)
    total = sum(weight * along[tap : tap + length] for tap, weight in enumerate(weights))
    return np.moveaxis(np.asarray(total), 0, axis)


def gaussian(sigma: float, radius: int) -> NDArray[np.float64]:
    """Weights exp(-d^2 / 2 sigma^2) at the distances d = -radius ... radius, with sum 1."""
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    normalized: NDArray[np.float64] = weights / weights.sum()
    return normalized


def plain(array: Array) -> list[Any]:
    """Return an array as nested lists for JSON, None in the place of NaN and infinity."""
    known = np.asarray(array, dtype=object)
    known[~np.isfinite(array)] = None
    listed: list[Any] = known.tolist()
    return listed
