"""Runs that can be ended from another thread, as a service does when nobody waits for them any more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any

from ..errors import StoppedError
from .providers import import_runtime


class Stop:
    """Ends what ONNX Runtime runs under it, see :func:`stoppable`; safe to use from several threads."""

    def __init__(self) -> None:
        self.stopped = False
        self._lock = Lock()
        self._running: set[Any] = set()

    def stop(self) -> None:
        """End the runs that go on, each at its next operator, and refuse those that would follow."""
        with self._lock:
            self.stopped = True
            for options in self._running:
                options.terminate = True

    @contextmanager
    def one_run(self) -> Iterator[Any]:
        """The options of one run of ONNX Runtime.

        Raises:
            StoppedError: it was stopped, before the run or during it.
        """
        options = import_runtime().RunOptions()
        with self._lock:
            if self.stopped:
                raise StoppedError("stopped before it was done.")
            self._running.add(options)
        try:
            yield options
        except Exception as error:
            if self.stopped:
                raise StoppedError("stopped while it ran.") from error
            raise
        finally:
            with self._lock:
                self._running.discard(options)


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
def run_options() -> Iterator[Any]:
    """The options of one run: those by which a :class:`Stop` ends it, None where there is none."""
    stop = _CURRENT.get()
    if stop is None:
        yield None
        return
    with stop.one_run() as options:
        yield options
