"""RISE (Petsiuk, Das and Saenko 2018, "RISE: Randomized Input Sampling for Explanation of Black-box Models")."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..checks import check_count
from ..errors import InputError
from .helpers.perturbation import Inputs, Perturbation

if TYPE_CHECKING:
    from ..metrics.baselines import Baseline

Array = NDArray[Any]

_CELLS = 7


@dataclass(frozen=True)
class Rise(Perturbation):
    """Random masks M_i hide parts of the sample; an element matters as much as the scores are high where it is seen:

        S(u) = sum_i f(x * M_i) M_i(u) / sum_i M_i(u),

    equation 6 with the share of masks in which u is seen counted instead of expected, so that a constant f gives an
    even map. The mean of f(x * M_i) is taken away: the sign then says whether seeing an element speaks for the class.

    f is the probability of the class where the model says how scores become probabilities, else the score. The
    attribution has no channels: [n,H,W] for images, [n,L] for signals, [n,F] for tables; the map is its positive part.

    A mask is a grid of cells, each seen with a probability, enlarged bilinearly by a cell more than the sample and
    shifted at random by less than a cell. Every feature or token of a table [N,F] is seen or hidden by itself. Masks
    are made as they are needed, the same for all samples.

    - ``masks``: how many; the paper takes 4000 for VGG-16 and 8000 for ResNet-50, each one run of the model.
    - ``cells``: along each axis; None: 7, as in the paper (its code has 8).
    - ``probability``: with which a cell is seen.
    - ``baseline``: what hidden elements become: a number, an array that broadcasts over a sample, "zero", "mean",
      "blur"; see :data:`~onnxplain.metrics.Baseline`.
    - ``centered``: whether the mean is taken away; False gives the map of the paper.
    - ``seed``: of the random numbers.
    """

    name = "rise"

    masks: int = 2000
    cells: int | None = None
    probability: float = 0.5
    baseline: Baseline = 0.0
    centered: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (("masks", self.masks), ("cells", 1 if self.cells is None else self.cells)):
            check_count(name, value, 1)
        check_count("seed", self.seed, 0)
        if not 0 < self.probability < 1:
            raise InputError(f"probability is between 0 and 1; found {self.probability!r}.")

    def perturb(self, inputs: Inputs) -> Array:
        x, baseline = inputs.x, inputs.baseline(self.baseline)
        extents = [x.shape[axis] for axis in inputs.positions]
        explained = len(inputs.targets)
        total, seen, overall = np.zeros((explained, *extents)), np.zeros(extents), np.zeros(explained)
        for masks in self._masks(inputs, extents):
            hidden = _blend(x, baseline, masks.reshape(len(masks), *inputs.broadcastable))
            scores = inputs.scores(hidden)
            known = inputs.attributor.probabilities(scores)
            chosen = inputs.picked(scores.astype(np.float64) if known is None else known)
            total += np.tensordot(chosen.T, masks, axes=1)
            seen += masks.sum(axis=0)
            overall += chosen.sum(axis=0)
        mean = (overall / self.masks).reshape(-1, *[1] * len(extents))
        found = np.where(seen > 0, total / np.where(seen > 0, seen, 1), mean)
        return (found - mean if self.centered else found).astype(inputs.class_scores.dtype)

    def _masks(self, inputs: Inputs, extents: Sequence[int]) -> Iterator[NDArray[np.float32]]:
        """Return all masks [m, *extents], as many at once as make a run of the best size."""
        if inputs.x.ndim == 2 and self.cells is not None:
            raise InputError(f"cells={self.cells} is for images and signals; features of a row are not neighbours.")
        grids, shifts = np.random.default_rng([self.seed, 0]), np.random.default_rng([self.seed, 1])
        cells = list(extents) if inputs.x.ndim == 2 else [self.cells or _CELLS] * len(extents)
        for start in range(0, self.masks, inputs.copies):
            count = min(inputs.copies, self.masks - start)
            grid = (grids.random((count, *cells)) < self.probability).astype(np.float32)
            yield grid if inputs.x.ndim == 2 else _enlarged(grid, extents, shifts.random((count, len(extents))))


def _enlarged(grids: NDArray[np.float32], extents: Sequence[int], shifts: Array) -> NDArray[np.float32]:
    """Grids [m, c, c, ...] with an interpolated value for every element: [m, *extents].

    A cell is ceil(extent / c) elements wide, and the grid is enlarged to c + 1 of them; ``shifts`` [m, axes] in 0..1
    say which part of a cell is cut off in front.
    """
    for axis, extent in enumerate(extents):
        cells = grids.shape[1]
        width = -(-extent // cells)
        places = np.arange(extent) + np.floor(shifts[:, axis, None] * width) + 0.5
        places = np.clip(places * cells / ((cells + 1) * width) - 0.5, 0, cells - 1)
        weights = np.maximum(1 - np.abs(places[..., None] - np.arange(cells)), 0).astype(np.float32)
        flat = weights @ grids.reshape(len(grids), cells, -1)
        # The next axis comes first; after the last one they are in order again.
        grids = np.moveaxis(flat.reshape(len(grids), extent, *grids.shape[2:]), 1, -1)
    return np.ascontiguousarray(grids)


def _blend(x: Array, baseline: Array, masks: NDArray[np.float32]) -> Array:
    """Return the samples [n, ...] behind each of the masks [m, 1, ...]: [m, n, ...] of their type."""
    exact = np.float64 if x.dtype.kind in "iu" else x.dtype
    blended: Array = baseline.astype(exact) + (x.astype(exact) - baseline.astype(exact)) * masks.astype(exact)
    return np.rint(blended).astype(x.dtype) if x.dtype.kind in "iu" else blended
