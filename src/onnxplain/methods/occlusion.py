"""Occlusion (Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4.2)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..checks import shown
from ..errors import InputError
from .helpers.perturbation import Inputs, Perturbation

if TYPE_CHECKING:
    from ..metrics.baselines import Baseline

Array = NDArray[Any]

#: The default window is this share of every side.
_SHARE = 8
#: One for every axis that the window moves along, or a number for all.
Extents = int | Sequence[int]
Place = tuple[slice, ...]


@dataclass(frozen=True)
class Occlusion(Perturbation):
    """A window slides over the sample and hides what is below it; what the score S_c loses is credited to it:
    the mean of S_c(x) - S_c(x with the window hidden) over all windows that cover an element.

    The score is S_c before a final softmax, as for gradients; the paper looks at the probability, which
    ``Explainer(score="probability")`` takes. The attribution is signed and has no channels: [n,H,W] for images,
    [n,L] for signals, [n,F] for tables, which are feature ablation by default. The map shows its positive part.

    Captum's ``Occlusion`` gives the same numbers with ``sliding_window_shapes=(C, *window)``,
    ``strides=(C, *stride)`` and ``baselines=baseline``, and for every channel of its own with ``channels=1``.

    - ``window``: elements along each axis; None: an eighth of the side of images and signals, one feature or
      token of a table [N,F]. Windows start at 0, stride, 2 stride, ...; the last one is cut off at the border.
    - ``stride``: at most the window; None: half of it.
    - ``baseline``: what hidden elements become: a number, an array that broadcasts over a sample, "zero", "mean",
      "blur"; see :data:`~onnxplain.metrics.Baseline`.
    - ``channels``: how many neighbouring channels are hidden together; the attribution then has channels. None: all.
    """

    name = "occlusion"

    window: Extents | None = None
    stride: Extents | None = None
    baseline: Baseline = 0.0
    channels: int | None = None

    @property
    def has_channels(self) -> bool:
        return self.channels is not None

    def perturb(self, inputs: Inputs) -> Array:
        x, axes = inputs.x, self._axes(inputs)
        baseline = inputs.baseline(self.baseline)
        extents = [x.shape[axis] for axis in axes]
        lost, covered = np.zeros((*extents, len(inputs.targets))), np.zeros((*extents, 1))
        before = inputs.picked(inputs.class_scores).astype(np.float64)
        windows = self._windows(inputs, axes)
        while places := list(islice(windows, inputs.copies)):
            hidden = np.broadcast_to(x, (len(places), *x.shape)).copy()
            for copy, place in zip(hidden, places):
                below = _index(x.ndim, axes, place)
                copy[below] = baseline[below]
            drops = before - inputs.picked(inputs.scores(hidden))
            for drop, place in zip(drops, places):
                lost[place] += drop
                covered[place] += 1
        return np.moveaxis(lost / covered, -1, 0).astype(inputs.class_scores.dtype)

    def _axes(self, inputs: Inputs) -> list[int]:
        """Return the axes that the window moves along."""
        if self.channels is None:
            return inputs.positions
        if inputs.channel_axis is None:
            raise InputError(f"channels={self.channels} is for inputs with channels; {inputs.name!r} has none.")
        return list(range(1, inputs.x.ndim))

    def _windows(self, inputs: Inputs, axes: Sequence[int]) -> Iterator[Place]:
        """Every place of the window along ``axes``."""
        shape, positions = inputs.x.shape, inputs.positions
        usual = [1 if len(shape) == 2 else ceil(shape[axis] / _SHARE) for axis in positions]
        sizes = _numbers("window", self.window, usual)
        steps = _numbers("stride", self.stride, [ceil(size / 2) for size in sizes])
        moves = dict(zip(positions, zip(sizes, steps)))
        if self.channels is not None and inputs.channel_axis is not None:
            (count,) = _numbers("channels", self.channels, [1])
            moves[inputs.channel_axis] = count, count
        return product(*(_parts(shape[axis], *moves[axis]) for axis in axes))


def _numbers(name: str, stated: Extents | None, usual: Sequence[int]) -> list[int]:
    """Return one positive number for each axis; ``usual`` if none is stated."""
    if stated is None:
        return list(usual)
    listed = list(stated) if isinstance(stated, Sequence) and not isinstance(stated, str) else [stated] * len(usual)
    if len(listed) != len(usual) or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in listed):
        raise InputError(f"{name} is a positive whole number, or {len(usual)} of them; found {shown(stated)}.")
    return listed


def _parts(extent: int, size: int, step: int) -> list[slice]:
    """Return the places of a window along one axis."""
    if size > extent:
        raise InputError(f"a window of {shown(size)} does not fit an axis of {extent}.")
    if step > size:
        raise InputError(f"a stride of {shown(step)} leaves gaps between windows of {size}; it is at most the window.")
    count = -(-(extent - size) // step) + 1
    return [slice(start, min(start + size, extent)) for start in range(0, count * step, step)]


def _index(rank: int, axes: Sequence[int], place: Place) -> tuple[slice, ...]:
    """Return ``place`` along ``axes``, everything along the others."""
    along = dict(zip(axes, place))
    return tuple(along.get(axis, slice(None)) for axis in range(rank))
