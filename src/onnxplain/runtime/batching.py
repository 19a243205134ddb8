"""Run any number of samples through sessions, in runs that fit into memory and keep all cores busy."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import pairwise
from typing import Protocol, TypeVar

import numpy as np

from ..checks import check_count
from ..errors import InputError, ProviderError
from .halves import Halves, Kept
from .operators.report import Report
from .session import Array
from .workers import cores, in_worker, side_by_side

T = TypeVar("T")

#: What passes forwards left of some samples, by the first and last sample of each run.
Forwards = dict[tuple[int, int], Kept]

#: Bytes of values that a run should at least work on: smaller ones are dominated by what a run costs anyway.
_WORKING_SET = 16 << 20
#: Samples of a run: on a core of its own, on all cores, and on other providers; and what no run exceeds by default.
_ON_ONE_CORE, _ON_ALL_CORES, _ELSEWHERE, _MOST = 2, 8, 32, 256
#: Share of the available memory that may be taken.
_SHARE = 0.5
#: What ONNX Runtime takes for a byte in use: its arena grows by doubling, and keeps what it has. Measured: 1.1 to 2.0
#: times the estimate (benchmarks/smoothgrad.py).
_ARENA = 2
#: Threads that read photos for a provider which runs one batch after the other.
_READERS = 4


class Runner(Protocol):
    """What runs a model: a :class:`~.session.Session`, or an :class:`~.openvino.OpenVinoSession`."""

    operators: Report

    @property
    def provider(self) -> str:
        """What runs it, by name."""

    @property
    def on_cpu(self) -> bool:
        """Whether it runs on the processor's cores."""

    @property
    def compiles(self) -> bool:
        """Whether shapes that were not run before have to be compiled first, which takes as long as many runs."""

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """Return the named outputs, in order."""


@dataclass(frozen=True)
class Plan:
    """How samples are run: ``runs`` at once, each of so many ``samples``, each on so many ``threads``.

    ``bytes_per_sample`` is an estimate of what ONNX Runtime takes for the values of one sample, apart from weights.
    """

    runs: int
    samples: int
    threads: int = field(default=1, compare=False)
    bytes_per_sample: int = field(default=0, compare=False)


class BatchedSession:
    """A model that takes any number of samples.

    On the CPU several runs go on at once, each on one core, where there are samples enough for all cores; otherwise one
    run has all of them. ``fixed`` is the batch that the model fixes, None if it is open: such a model runs exactly that
    many samples at a time, and the last run is filled up with copies of the last sample, whose results are cut off.
    A model that takes samples as a ``whole`` runs as many as are fed at once, and none is filled up.
    """

    def __init__(
        self,
        session: Runner,
        graph: bytes,
        *,
        batched: Collection[str],
        fixed: int | None,
        whole: bool = False,
        single: Callable[[], Runner] | None = None,
        halves: Callable[[bool], Halves | None] = lambda alone: None,
        threads: int = 0,
        batch_size: int | None = None,
        memory_limit: int | None = None,
    ) -> None:
        """Split what ``session`` is given.

        Args:
            session: runs on ``threads`` threads; 0 is all cores.
            graph: the session's model without its weights, by :func:`~.memory.without_weights`.
            batched: the inputs whose axis 0 is the batch; others are handed whole to every run.
            fixed: the batch that the model fixes.
            whole: whether samples that are fed together must run together; ``batch_size`` then has no effect.
            single: loads the same model with one thread; None: there is only ever one run at once.
            halves: loads the same model cut in two, with one thread or with ``threads``; None: it cannot be cut.
            batch_size: samples that run at once; None: chosen by memory and cores.
            memory_limit: bytes that all runs may take at once; None: half of what is available.

        Raises:
            InputError: ``batch_size`` or ``memory_limit`` is not positive, or ``batch_size`` is not ``fixed``.
        """
        for name, value in (("batch_size", batch_size), ("memory_limit", memory_limit)):
            if value is not None:
                check_count(name, value)
        if fixed is not None and batch_size not in (None, fixed):
            raise InputError(f"the model fixes the batch at {fixed}, so batch_size={batch_size} is impossible.")
        self.session = session
        self.fixed = fixed
        self._batched = frozenset(batched)
        self._graph = graph
        self._threads = threads or cores()
        self._whole = whole
        self._single = single if session.on_cpu and self._threads > 1 and not whole else None
        self._batch_size = None if whole else batch_size
        self._memory_limit = memory_limit
        self._plans: dict[tuple[tuple[str, tuple[int, ...]], ...], Plan] = {}
        self._lock = threading.Lock()
        self._halves = halves
        self._loaded_halves: dict[bool, Halves | None] = {}
        self._asked = False

    @cached_property
    def _on_one_core(self) -> Runner:
        assert self._single is not None
        return self._single()

    @property
    def provider(self) -> str:
        """The execution provider that runs the model, by its name in ONNX Runtime; "OpenVINO"."""
        return self.session.provider

    @property
    def operators(self) -> Report:
        """Which operators of ours the session on all threads has."""
        return self.session.operators

    @property
    def workers(self) -> int:
        """Threads that should bring samples side by side."""
        if self._whole:
            return 1
        if self._batch_size is not None:
            return min(self._threads, self._batch_size)
        return self._threads if self._single is not None else min(self._threads, _READERS)

    @property
    def share(self) -> int:
        """Samples that each of them should bring at a time."""
        if self._whole:
            return sys.maxsize
        if self.fixed is not None:
            return self.fixed
        if self._batch_size is not None:
            return self._batch_size // self.workers
        if not self.session.on_cpu:
            return _ELSEWHERE
        return _ON_ONE_CORE if self._single is not None or self._threads == 1 else _ON_ALL_CORES

    def plan(self, feeds: Mapping[str, Array]) -> Plan:
        """Return how inputs shaped like ``feeds`` are run, whatever their batch."""
        if self._whole:
            return Plan(1, self.fixed or self._count(feeds), self._threads)
        key = tuple((name, array.shape[1:]) for name, array in sorted(feeds.items()))
        if key not in self._plans:
            self._plans[key] = self._planned(feeds)
        return self._plans[key]

    def _planned(self, feeds: Mapping[str, Array]) -> Plan:
        from .memory import bytes_per_sample  # imports onnx, which one photo never needs

        shapes = {name: array.shape for name, array in feeds.items()}
        need = _ARENA * max(bytes_per_sample(self._graph, shapes, self._batched), 1)
        runs, samples = self._runs_and_samples(need, self._limit())
        return Plan(runs, samples, self._threads if runs == 1 else 1, need)

    def _limit(self) -> int:
        """Bytes that all runs may take at once."""
        from .memory import available_memory

        return int(self._memory_limit or available_memory() * _SHARE)

    def _runs_and_samples(self, need: int, limit: int) -> tuple[int, int]:
        """Return how many runs at once, and samples of each, if one sample needs ``need`` bytes of ``limit``."""
        runs, most = self._threads if self._single is not None else 1, max(limit // need, 1)
        if self.fixed is not None:
            return (runs if runs * self.fixed <= most else 1), self.fixed
        if self._batch_size is not None:
            runs = min(runs, self._batch_size)
            return runs, self._batch_size // runs
        if not self.session.on_cpu:
            return 1, min(_ELSEWHERE, most)
        if runs > most:
            return 1, most
        least = _ON_ONE_CORE if runs > 1 else _ON_ALL_CORES
        return runs, min(max(_ARENA * _WORKING_SET // need, least), _MOST, most // runs)

    def size(self, feeds: Mapping[str, Array]) -> int:
        """Samples that :meth:`run` takes at best, for inputs shaped like ``feeds``, whatever their batch."""
        plan = self.plan(feeds)
        at_once = plan.runs * plan.samples
        return at_once if plan.runs == 1 or self._batch_size is not None else max(at_once, _ON_ALL_CORES)

    def shares(self) -> bool:
        """Whether a pass forwards should be kept for several questions about the same samples.

        To load the model cut in two takes as long as some passes forwards. A worker has to load a model for its core
        anyway; all cores together have the whole model, so that only the second one who asks is told to keep.
        """
        before, self._asked = self._asked, True
        return before or in_worker()

    def split(self, feeds: Mapping[str, Array], *, at_once: bool = False) -> Iterator[tuple[int, dict[str, Array]]]:
        """Return the micro-batches of ``feeds``, each with the number of its first sample.

        ``at_once``: only as many samples as fit into memory together, because what their passes forwards left is kept.
        """
        count = self._count(feeds)
        size = 1 if count == 1 else self.size(feeds)
        if at_once and size > 1 and not self._whole:
            plan = self.plan(feeds)
            size = max(min(size, self._limit() // max(plan.bytes_per_sample, 1)), plan.runs * plan.samples)
        for start in range(0, count, size):
            yield start, self._rows(feeds, start, start + size)

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str], forwards: Forwards | None = None) -> list[Array]:
        """Return the named outputs for all samples, in order; all have the batch, or a multiple of it, as axis 0.

        Args:
            feeds: all inputs.
            outputs: names of outputs.
            forwards: an empty dict, or what it became in a run with the same inputs but for those of the question:
                their pass forwards is kept there, and not done again. None: nothing is kept.

        Raises:
            ProviderError: ONNX Runtime failed.
        """
        count = self._count(feeds)
        plan = self._plan_for(feeds, count)

        def run_part(start: int, end: int) -> list[Array]:
            kept = None if forwards is None else forwards.setdefault((start, end), {})
            return self._run_part(self._rows(feeds, start, end), outputs, plan, kept)

        found = list(self.spread(run_part, feeds, count))
        if len(found) == 1:
            return found[0]
        return [np.concatenate(arrays) for arrays in zip(*found)]

    def spread(self, function: Callable[[int, int], T], feeds: Mapping[str, Array], count: int) -> Iterator[T]:
        """Return ``function(start, end)`` of the runs that make up ``count`` samples, in order, side by side.

        Args:
            function: does one run, by :meth:`run`, with whatever comes before and after it; in several threads.
            feeds: inputs shaped like those of the runs, whatever their batch; of a model that takes samples as a
                whole, those of one run.
        """
        plan = self._plan_for(feeds, count)
        bounds = self._bounds(count, plan)
        together = 1 if len(bounds) == 1 or in_worker() else plan.runs
        return side_by_side(lambda part: function(*part), bounds, together)

    def _plan_for(self, feeds: Mapping[str, Array], count: int) -> Plan:
        """Return :meth:`plan`, but all cores for one run where there is not one for each core."""
        smallest = self.fixed or 1
        if in_worker() or self._whole:
            return self.plan(feeds)
        if count <= smallest or count < smallest * self.plan(feeds).runs:
            return Plan(1, max(count, smallest))
        return self.plan(feeds)

    def _bounds(self, count: int, plan: Plan) -> list[tuple[int, int]]:
        """First and last sample of runs of like sizes, their number one that keeps all cores busy.

        Of sizes that the model fixes, or for which it was compiled, the last one alone is smaller.
        """
        size = plan.samples if self._whole or self.session.compiles else self.fixed
        if size is not None:
            return [(start, min(start + size, count)) for start in range(0, count, size)]
        pieces = -(-count // plan.samples)
        if pieces > 1 and not in_worker():
            pieces = min(-(-pieces // plan.runs) * plan.runs, count)
        edges = [count * piece // pieces for piece in range(pieces + 1)]
        return list(pairwise(edges))

    def _run_part(
        self, feeds: Mapping[str, Array], outputs: Sequence[str], plan: Plan, kept: Kept | None
    ) -> list[Array]:
        """Run one part: side by side with others on a core, or on all cores."""
        alone = in_worker() and plan.runs > 1
        if kept is not None and (alone or not in_worker()) and (halves := self._halves_for(alone)) is not None:
            return self._run_filled(partial(halves.run, kept=kept), feeds, outputs)
        if not in_worker():
            return self._run_filled(self.session.run, feeds, outputs)
        with self._lock:
            if not alone:
                return self._run_filled(self.session.run, feeds, outputs)
            session = self._on_one_core
        return self._run_filled(session.run, feeds, outputs)

    def _halves_for(self, alone: bool) -> Halves | None:
        """The model cut in two, on one core or on all; loaded once."""
        with self._lock:
            if alone not in self._loaded_halves:
                self._loaded_halves[alone] = self._halves(alone)
            return self._loaded_halves[alone]

    def _run_filled(
        self,
        run: Callable[[Mapping[str, Array], Sequence[str]], list[Array]],
        feeds: Mapping[str, Array],
        outputs: Sequence[str],
    ) -> list[Array]:
        count = self._count(feeds)
        if self.fixed is not None and count < self.fixed:
            if self._whole:
                raise InputError(
                    f"the samples influence each other, and the model takes exactly {self.fixed} at a time: found "
                    f"{count}, which are not filled up; pass a multiple of {self.fixed}."
                )
            filled = {n: _filled(a, self.fixed) if n in self._batched else a for n, a in feeds.items()}
            return [array[: len(array) * count // self.fixed] for array in run(filled, outputs)]
        try:
            return run(feeds, outputs)
        except ProviderError as error:
            if self.fixed is not None or self._whole or count == 1:
                raise
            raise ProviderError(f"{error} If the model takes one sample at a time, pass batch_size=1.") from error

    def _count(self, feeds: Mapping[str, Array]) -> int:
        return next(len(array) for name, array in feeds.items() if name in self._batched)

    def _rows(self, feeds: Mapping[str, Array], start: int, end: int) -> dict[str, Array]:
        return {n: a[start:end] if n in self._batched else a for n, a in feeds.items()}


def _filled(array: Array, size: int) -> Array:
    """Return ``array`` with copies of its last sample up to ``size`` samples."""
    return np.concatenate([array, np.repeat(array[-1:], size - len(array), axis=0)])
