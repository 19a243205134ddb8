"""How long this machine takes for a model, and how its samples are run: what ``onnxplain check --bench`` prints."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..explainer import Explainer
from ..runtime import Plan
from ..signature import InputTensor

BATCHES = (1, 8, 32)
#: Extents that a model leaves open: height and width of images, and the length of anything else.
_SIDE, _LENGTH = 224, 128
#: Rounds, and the seconds after which no further one begins; one round before them warms up.
_ROUNDS, _SECONDS = 9, 4.0


@dataclass(frozen=True)
class Timing:
    """Medians over rounds of a batch: seconds of a forward pass (scores), and of gradients with their maps."""

    batch: int
    forward: float
    saliency: float
    ratio: float

    @property
    def rate(self) -> float:
        """Samples explained in a second."""
        return self.batch / self.saliency


@dataclass(frozen=True)
class Bench:
    """Timings, in order of batch size; how samples are run in large batches; and the input shapes."""

    timings: list[Timing]
    plan: Plan
    shapes: dict[str, list[int]]


def measure(explainer: Explainer, batches: Sequence[int] = BATCHES) -> Bench:
    """Time random inputs, forward and saliency in turn; a model that fixes its batch is timed with that one.

    Raises:
        As :meth:`Explainer.saliency` raises; the model may not run with the extents assumed for open ones.
    """
    fixed = explainer.batch
    inputs = {batch: _inputs(explainer, batch) for batch in (batches if fixed is None else [fixed])}
    timings = [_timing(explainer, batch, x) for batch, x in inputs.items()]
    largest = inputs[max(inputs)]
    shapes = {name: list(array.shape) for name, array in inputs[min(inputs)].items()}
    return Bench(timings, explainer.plan(largest), shapes)


def _timing(explainer: Explainer, batch: int, x: dict[str, NDArray[Any]]) -> Timing:
    rounds: list[tuple[float, float]] = []
    end = time.perf_counter() + _SECONDS
    while len(rounds) <= _ROUNDS and (len(rounds) < 2 or time.perf_counter() < end):
        begin = time.perf_counter()
        explainer.scores(x)
        between = time.perf_counter()
        explainer.saliency(x)
        rounds.append((between - begin, time.perf_counter() - between))
    forward, saliency = zip(*rounds[1:])
    ratio = statistics.median(b / a for a, b in zip(forward, saliency))
    return Timing(batch, statistics.median(forward), statistics.median(saliency), ratio)


def _inputs(explainer: Explainer, batch: int) -> dict[str, NDArray[Any]]:
    generator = np.random.default_rng(0)
    return {tensor.name: _values(tensor, batch, generator) for tensor in explainer.inputs}


def _values(tensor: InputTensor, batch: int, generator: np.random.Generator) -> NDArray[Any]:
    """Normally distributed numbers, or zeros of another type; axis 0 is the batch where it is open."""
    shape = list[int]()
    for axis, extent in enumerate(tensor.shape):
        assumed = (
            batch if axis == 0 else 3 if axis == tensor.channel_axis else _SIDE if len(tensor.shape) == 4 else _LENGTH
        )
        shape.append(extent if isinstance(extent, int) else assumed)
    if np.dtype(tensor.dtype).kind != "f":
        return np.zeros(shape, tensor.dtype)
    return generator.standard_normal(shape, np.float32).astype(tensor.dtype)
