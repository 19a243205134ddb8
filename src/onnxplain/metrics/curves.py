"""Deletion and insertion: how the score moves as pixels vanish or appear in the order of a map.

Petsiuk, Das, Saenko 2018, "RISE: Randomized Input Sampling for Explanation of Black-box Models", section 4.2. With
pixels in descending order of the map and M_k the first n_k of H W of them::

    deletion:   f_k = f(x outside of M_k, baseline inside)     insertion:   f_k = f(baseline outside of M_k, x inside)
    AUC = integral of f over the share n_k / (H W), by trapezoids, 0..1 for probabilities

A map that found what the model uses makes the deletion curve fall early (low AUC), the insertion curve rise early (high
AUC). The paper deletes to zero and inserts into the blurred image, and measures the probability.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import check_count
from ..errors import InputError
from .arrays import Array, ScoreFunction, as_maps, as_targets, over_positions, plain, score_all
from .baselines import Baseline, baseline_images


@dataclass(frozen=True)
class Curves:
    """``scores`` [N,steps+1] of N images at the ``fractions`` [steps+1] of deleted or inserted pixels, 0 ... 1."""

    fractions: NDArray[np.float64]
    scores: NDArray[np.float64]

    @property
    def auc(self) -> NDArray[np.float64]:
        """The area under each curve, [N]."""
        middles = (self.scores[:, 1:] + self.scores[:, :-1]) / 2
        areas: NDArray[np.float64] = middles @ np.diff(self.fractions)
        return areas

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"fractions": plain(self.fractions), "scores": plain(self.scores), "auc": plain(self.auc)}


def deletion(
    score: ScoreFunction,
    x: Array,
    maps: Array,
    targets: Any,
    *,
    baseline: Baseline = "zero",
    steps: int = 50,
    batch_size: int = 32,
    channel_axis: int = 1,
) -> Curves:
    """Return the deletion curves of N images; lower AUC is better.

    Args:
        score: f(x [B,...], targets [B]) -> [B], probabilities for an AUC in 0..1.
        x: the input tensors, [N,C,H,W], or [N,H,W,C] with ``channel_axis=-1``.
        maps: [N,H,W] or [N,1,H,W], greatest where it matters most; of equal pixels the upper left goes first.
        targets: the class, or one for each image.
        baseline: what deleted pixels become: "zero", "mean", "blur", or an array.
        steps: how many times as many pixels are deleted.
        batch_size: images scored at once, over images and steps; it bounds the memory.

    Raises:
        InputError: shapes that do not fit, more steps than pixels.
    """
    return _curves(score, x, maps, targets, baseline, steps, batch_size, channel_axis, inserting=False)


def insertion(
    score: ScoreFunction,
    x: Array,
    maps: Array,
    targets: Any,
    *,
    baseline: Baseline = "blur",
    steps: int = 50,
    batch_size: int = 32,
    channel_axis: int = 1,
) -> Curves:
    """Return the insertion curves of N images; higher AUC is better. Arguments and errors as for :func:`deletion`."""
    return _curves(score, x, maps, targets, baseline, steps, batch_size, channel_axis, inserting=True)


def _curves(
    score: ScoreFunction,
    x: Array,
    maps: Array,
    targets: Any,
    baseline: Baseline,
    steps: int,
    batch_size: int,
    channel_axis: int,
    *,
    inserting: bool,
) -> Curves:
    x, values = np.asarray(x), as_maps(maps)
    over_positions(values, x, channel_axis)
    pixels = values[0].size
    if check_count("steps", steps) > pixels:
        raise InputError(f"{steps} steps are more than the {pixels} pixels of the maps.")
    counts = np.rint(np.linspace(0, pixels, steps + 1)).astype(np.intp)
    places, removed = _places(values), baseline_images(baseline, x, channel_axis)

    def make(samples: NDArray[np.intp], numbers: NDArray[np.intp]) -> Array:
        first = places[samples] < counts[numbers][:, None, None]
        kept = over_positions(first if inserting else ~first, x, channel_axis)
        return np.where(kept, x[samples], removed[samples])

    scores = score_all(score, make, as_targets(targets, len(x)), steps + 1, batch_size)
    return Curves(counts / pixels, scores)


def _places(maps: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the place of every pixel in the descending order of its map, 0 first."""
    flat = maps.reshape(len(maps), -1)
    order = np.argsort(-flat, axis=1, kind="stable")
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.arange(flat.shape[1], dtype=np.intp)[None], axis=1)
    return places.reshape(maps.shape)
