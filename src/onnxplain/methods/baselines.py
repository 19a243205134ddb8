"""What stands in the place of values that are taken away from a sample."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

Array = NDArray[Any]

#: A number, or an array that broadcasts over one sample: [F] for a table, [C,1,1] for a colour. "mean": the mean of
#: each channel of the sample. "blur": the sample blurred by a Gaussian of 5 elements, cut off at 5 (Petsiuk et al.
#: 2018, whose code blurs with 11 x 11 elements), edges repeated.
Baseline: TypeAlias = float | Array | str

_SIGMA, _RADIUS = 5.0, 5


def baseline_of(baseline: Baseline, x: Array, channel_axis: int | None) -> Array:
    """The baseline of samples ``x`` [n, ...]: an array of their shape and type, rounded for whole numbers.

    Raises:
        InputError: an unknown name, an array that does not broadcast over a sample, or a sample without positions
            that could be averaged or blurred.
    """
    positions = tuple(axis for axis in range(1, x.ndim) if axis != channel_axis)
    if isinstance(baseline, str) and baseline in ("mean", "blur"):
        if x.ndim == 2:
            raise InputError(
                f"baseline {baseline!r} would mix the features of a row; pass the mean of each feature over other rows "
                "as an array [F]."
            )
        found = x.mean(axis=positions, keepdims=True) if baseline == "mean" else _blurred(x, positions)
    else:
        found = _numbers(baseline)
    try:
        # No array of one sample has a batch, so that nothing depends on how many samples run at once.
        found = np.broadcast_to(found, x.shape if isinstance(baseline, str) else (1, *x.shape[1:]))
    except ValueError:
        raise InputError(
            f"a baseline of shape {list(found.shape)} does not fit a sample of shape {list(x.shape[1:])}."
        ) from None
    return np.broadcast_to((np.rint(found) if x.dtype.kind in "iu" else found).astype(x.dtype), x.shape)


def _numbers(baseline: Baseline) -> Array:
    try:
        found = np.asarray(baseline, dtype=np.float64)
    except (TypeError, ValueError):
        found = np.array(np.nan)
    if not np.isfinite(found).all():
        raise InputError(f"a baseline is a finite number, an array of them, 'mean' or 'blur'; found {baseline!r}.")
    return found


def _blurred(x: Array, positions: tuple[int, ...]) -> Array:
    distance = np.arange(-_RADIUS, _RADIUS + 1)
    weights = np.exp(-0.5 * (distance / _SIGMA) ** 2)
    weights /= weights.sum()
    blurred = x.astype(np.float64)
    for axis in positions:
        padding = [(_RADIUS, _RADIUS) if a == axis else (0, 0) for a in range(x.ndim)]
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(blurred, padding, "edge"), len(weights), axis=axis)
        blurred = windows @ weights
    return blurred
