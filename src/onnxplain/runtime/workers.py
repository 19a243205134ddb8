"""Threads that work on samples side by side, each with a core to itself.

ONNX Runtime can spread one run over all cores, or leave each core a run of its own. The latter wastes nothing at the
end of every operator, so it is faster as soon as there are enough samples; see decision 0009.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_HERE = threading.local()


def cores() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_worker() -> bool:
    """Return whether this thread is one of several that work side by side."""
    return getattr(_HERE, "working", False)


def side_by_side(function: Callable[[T], R], items: Iterable[T], workers: int) -> Generator[R, None, None]:
    """Return ``function`` of each item, in order, by ``workers`` threads; a single one is the caller's own thread.

    Items are taken from their iterator in the caller's thread, and no more than ``workers + 1`` are taken before their
    results are. An exception arrives in the place of its result. Closing the iterator ends the threads.
    """
    if workers == 1:
        yield from map(function, items)
        return
    pending: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers, "onnxplain", _start_working) as pool:
        try:
            for item in items:
                pending.append(pool.submit(copy_context().run, function, item))
                if len(pending) > workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _start_working() -> None:
    _HERE.working = True
