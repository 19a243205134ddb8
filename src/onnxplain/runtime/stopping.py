"""Runs that can be ended from another thread, as a service does when nobody waits for them any more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any

from ..errors import StoppedError
from .providers import import_runtime


class Stop:
    """Ends what a runtime runs under it, see :func:`stoppable`; safe to use from several threads."""

    def __init__(self) -> None:
        self.stopped = False
        self._lock = Lock()
        self._running: dict[object, Callable[[], None]] = {}

    def stop(self) -> None:
        """End the runs that go on, each at its next operator, and refuse those that would follow."""
        with self._lock:
            self.stopped = True
            for end in self._running.values():
                end()

    @contextmanager
    def one_run(self, end: Callable[[], None]) -> Iterator[None]:
        """One run, which ``end`` ends from another thread.

        Raises:
            StoppedError: it was stopped, before the run or during it.
        """
        run = object()
        with self._lock:
            if self.stopped:
                raise StoppedError("stopped before it was done.")
            self._running[run] = end
        try:
            yield
        except Exception as error:
            if self.stopped:
                raise StoppedError("stopped while it ran.") from error
            raise
        finally:
            with self._lock:
                del self._running[run]


_CURRENT: ContextVar[Stop | None] = ContextVar("onnxplain_stop", default=None)


@contextmanager
def stoppable(stop: Stop) -> Iterator[None]:
    """Let ``stop`` end all runs that start in here, in this thread and in those that work for it."""
    token = _CURRENT.set(stop)
    try:
        yield
    finally:
        _CURRENT.reset(token)


@contextmanager
def ended_by(end: Callable[[], None]) -> Iterator[None]:
    """One run, which a :class:`Stop` ends by ``end``, where there is one.

    Raises:
        StoppedError: it was stopped, before the run or during it.
    """
    stop = _CURRENT.get()
    if stop is None:
        yield
        return
    with stop.one_run(end):
        yield


@contextmanager
def run_options() -> Iterator[Any]:
    """The options of one run of ONNX Runtime: those by which a :class:`Stop` ends it, None where there is none."""
    if _CURRENT.get() is None:
        yield None
        return
    options = import_runtime().RunOptions()

    def end() -> None:
        options.terminate = True

    with ended_by(end):
        yield options
