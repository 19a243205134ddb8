"""Run any number of samples through a session in micro-batches that fit into memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from ..errors import InputError, ProviderError
from .providers import CPU
from .session import Array, Session

#: Samples a run. More of them bring nothing on a CPU: activations of 4 stay in its caches (benchmarks/saliency.py).
_CHUNK_ON_CPU = 4
_CHUNK_ELSEWHERE = 32
#: Share of the available memory that one run may take.
_SHARE = 0.5


class BatchedSession:
    """A session that splits its input along the batch axis.

    ``fixed`` is the batch that the model fixes, None if it is open: such a model runs exactly that many
    samples at a time, and the last run is filled up with copies of the last sample, whose results are cut off.
    """

    def __init__(
        self,
        session: Session,
        graph: bytes,
        *,
        batched: Collection[str],
        fixed: int | None,
        batch_size: int | None = None,
        memory_limit: int | None = None,
    ) -> None:
        """Split what ``session`` is given.

        Args:
            graph: the session's model without its weights, by :func:`~.memory.without_weights`.
            batched: the inputs whose axis 0 is the batch; others are handed whole to every run.
            fixed: the batch that the model fixes.
            batch_size: samples a run; None: as many as fit, at most 4 on the CPU and 32 elsewhere.
            memory_limit: bytes that one run may take; None: half of what is available.

        Raises:
            InputError: ``batch_size`` or ``memory_limit`` is not positive, or ``batch_size`` is not ``fixed``.
        """
        for name, value in (("batch_size", batch_size), ("memory_limit", memory_limit)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise InputError(f"{name} is a positive whole number or None; found {value!r}.")
        if fixed is not None and batch_size not in (None, fixed):
            raise InputError(f"the model fixes the batch at {fixed}, so batch_size={batch_size} is impossible.")
        self.session = session
        self.fixed = fixed
        self._batched = frozenset(batched)
        self._batch_size = batch_size
        self._memory_limit = memory_limit
        self._graph = graph
        self._per_sample: dict[tuple[tuple[str, tuple[int, ...]], ...], int] = {}

    def size(self, feeds: Mapping[str, Array]) -> int:
        """Samples a run for inputs shaped like ``feeds``, whatever their batch."""
        if self.fixed is not None:
            return self.fixed
        if self._batch_size is not None:
            return self._batch_size
        from .memory import available_memory, bytes_per_sample  # imports onnx, which one photo never needs

        key = tuple((name, array.shape[1:]) for name, array in sorted(feeds.items()))
        if key not in self._per_sample:
            shapes = {name: array.shape for name, array in feeds.items()}
            self._per_sample[key] = max(bytes_per_sample(self._graph, shapes, self._batched), 1)
        limit = self._memory_limit or int(available_memory() * _SHARE)
        chunk = _CHUNK_ON_CPU if self.session.provider == CPU else _CHUNK_ELSEWHERE
        return max(1, min(chunk, limit // self._per_sample[key]))

    def split(self, feeds: Mapping[str, Array]) -> Iterator[tuple[int, dict[str, Array]]]:
        """The micro-batches of ``feeds``, each with the number of its first sample."""
        count = next(len(array) for name, array in feeds.items() if name in self._batched)
        size = 1 if count == 1 else self.size(feeds)
        for start in range(0, count, size):
            yield start, {n: a[start : start + size] if n in self._batched else a for n, a in feeds.items()}

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """The named outputs of one micro-batch, in order; all have the batch, or a multiple of it, as axis 0.

        Raises:
            ProviderError: ONNX Runtime failed.
        """
        count = next(len(array) for name, array in feeds.items() if name in self._batched)
        if self.fixed is None or count == self.fixed:
            return self._run_whole(feeds, outputs, count)
        filled = {n: _filled(a, self.fixed) if n in self._batched else a for n, a in feeds.items()}
        return [array[: len(array) * count // self.fixed] for array in self.session.run(filled, outputs)]

    def _run_whole(self, feeds: Mapping[str, Array], outputs: Sequence[str], count: int) -> list[Array]:
        try:
            return self.session.run(feeds, outputs)
        except ProviderError as error:
            if self.fixed is not None or count == 1:
                raise
            raise ProviderError(f"{error} If the model takes one sample at a time, pass batch_size=1.") from error


def _filled(array: Array, size: int) -> Array:
    """``array`` with copies of its last sample up to ``size`` samples."""
    return np.concatenate([array, np.repeat(array[-1:], size - len(array), axis=0)])
