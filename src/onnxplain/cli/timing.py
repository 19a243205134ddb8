"""How long this machine takes for a model, and how its samples are run: what ``onnxplain check --bench`` prints."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
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
#: A runtime other than the usual one is taken if its time is below this share of the usual one's.
_CLEARLY = 0.95


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
    return compare({"": explainer}, batches)[""]


def compare(explainers: Mapping[str, Explainer], batches: Sequence[int] = BATCHES) -> dict[str, Bench]:
    """Time one model in several runtimes, in turn, as :meth:`measure` does in one.

    Raises:
        As :meth:`measure`.
    """
    first = next(iter(explainers.values()))
    inputs = {batch: _inputs(first, batch) for batch in (batches if first.batch is None else [first.batch])}
    timings = [_timings(explainers, batch, x) for batch, x in inputs.items()]
    largest = inputs[max(inputs)]
    shapes = {name: list(array.shape) for name, array in inputs[min(inputs)].items()}
    return {
        name: Bench([one[name] for one in timings], explainer.plan(largest), shapes)
        for name, explainer in explainers.items()
    }


def fastest(found: Mapping[str, Bench]) -> str:
    """Return the name that took the least time for saliency, in the geometric mean over batches.

    The first one is the usual one: another has to be faster by a twentieth.
    """
    usual = next(iter(found))
    means = {
        name: statistics.geometric_mean(a.saliency / b.saliency for a, b in zip(one.timings, found[usual].timings))
        for name, one in found.items()
    }
    best = min(means, key=lambda name: means[name])
    return best if means[best] < _CLEARLY else usual


def _timings(explainers: Mapping[str, Explainer], batch: int, x: dict[str, NDArray[Any]]) -> dict[str, Timing]:
    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in explainers}
    end, done = time.perf_counter() + _SECONDS * len(explainers), 0
    while done <= _ROUNDS and (done < 2 or time.perf_counter() < end):
        for name, explainer in explainers.items():
            begin = time.perf_counter()
            explainer.scores(x)
            between = time.perf_counter()
            explainer.saliency(x)
            rounds[name].append((between - begin, time.perf_counter() - between))
        done += 1
    return {name: _median(batch, measured[1:]) for name, measured in rounds.items()}


def _median(batch: int, rounds: Sequence[tuple[float, float]]) -> Timing:
    forward, saliency = zip(*rounds)
    ratio = statistics.median(b / a for a, b in rounds)
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
