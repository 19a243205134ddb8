"""Attributions at many points for each sample, in runs of the best size, handed out as they come.

A method that averages over points p_s(x), s = 0 ... steps - 1, says what they are; here they are made for a run at a
time, so that memory does not grow with the number of points, and in the thread that does the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...model.attributor import Attributor
from ..base import Method

Array = NDArray[Any]
Indices: TypeAlias = NDArray[np.int64]

#: (step [m], sample [m]) -> the values [m, ...] that take the place of each differentiated input, by its name.
Points = Callable[[Indices, Indices], Mapping[str, Array]]


def attributions_at(
    points: Points,
    steps: int,
    attributor: Attributor,
    feeds: Mapping[str, Array],
    targets: Indices,
    method: Method | None = None,
) -> Iterator[tuple[Indices, Indices, list[Array]]]:
    """Return the attributions of ``method`` (None: the gradients) at ``steps`` points for each of n samples.

    Args:
        points: makes the points of a run, in several threads; steps and samples come in order, samples first.
        steps: points for each sample.
        attributor, feeds, targets: as for :meth:`Method.attribute`, with ``targets`` chosen.
        method: what is computed at each point.

    Returns:
        The step [m] and the sample [m] of each point of a run, and one attribution [m, ...] for each gradient.
    """
    attribute = attributor.attribute if method is None else partial(method.attribute, attributor)
    count = len(targets)

    def run(start: int, end: int) -> tuple[Indices, Indices, list[Array]]:
        step, sample = np.divmod(np.arange(start, end), count)
        rows = {name: values.astype(feeds[name].dtype, copy=False) for name, values in points(step, sample).items()}
        for name, array in feeds.items():
            if name not in rows:
                rows[name] = array[sample] if name in attributor.batched else array
        return step, sample, attribute(rows, targets[sample]).attributions

    return attributor.spread(run, feeds, targets, steps * count)


def per_sample(values: Array, like: Array) -> Array:
    """Return one number for each sample [n], as [n, 1, ...], to be broadcast over ``like`` [n, ...]."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


def working_type(x: Array) -> np.dtype[Any]:
    """Return the type in which points near ``x`` are made and attributions are returned: at least float32."""
    return np.result_type(x, np.float32)
