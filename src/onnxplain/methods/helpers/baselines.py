"""What stands in the place of the values of samples, whatever else is in their batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError

if TYPE_CHECKING:
    from ...metrics.baselines import Baseline

Array = NDArray[Any]


def baseline_of(baseline: Baseline, x: Array, channel_axis: int | None) -> Array:
    """Return the baseline of samples ``x`` [n, ...], in their shape and type.

    Raises:
        InputError: an array for more than one sample (it would depend on how many run at once), or a row of
            features, which have no mean and no blur in common.
    """
    from ...metrics.baselines import baseline_images  # metrics are ten modules that one photo never needs

    if isinstance(baseline, str) and baseline != "zero":
        if x.ndim == 2:
            raise InputError(
                f"baseline {baseline!r} would mix the features of a row; pass the mean of each feature over other "
                "rows as an array [F]."
            )
        return baseline_images(baseline, x, channel_axis)
    one = baseline_images(baseline, x[:1], channel_axis)
    return np.broadcast_to(one, x.shape)


def by_input(option: Any, inputs: Mapping[str, Array], called: str) -> dict[str, Any]:
    """Return an option for each input: the same for all, or those of a dict.

    Raises:
        InputError: the dict names other inputs.
    """
    if not isinstance(option, Mapping):
        return dict.fromkeys(inputs, option)
    if set(option) != set(inputs):
        there = ", ".join(repr(name) for name in inputs)
        raise InputError(f"{called} is a dict for {', '.join(map(repr, option))}, but gradients belong to {there}.")
    return dict(option)
