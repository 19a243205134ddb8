"""Samples of many requests, run together: as many of one kind as wait, and none waits long for others."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ..errors import OnnxplainError, StoppedError
from ..runtime import Stop, stoppable

S = TypeVar("S")
R = TypeVar("R")


class Audience:
    """Those who wait for a batch that runs; the run ends once the last of them has left."""

    def __init__(self, count: int) -> None:
        self.stop = Stop()
        self._count, self._lock = count, threading.Lock()

    def leave(self) -> None:
        """Wait no longer."""
        with self._lock:
            self._count -= 1
            left = self._count
        if left == 0:
            self.stop.stop()


@dataclass(eq=False)
class Task(Generic[S, R]):
    """One sample that waits.

    - ``key``: samples of one key may run together; ``most``: so many of them at once.
    - ``run``: answers samples, one outcome each.
    - ``started``: called once it no longer waits.
    """

    key: Hashable
    sample: S
    run: Callable[[Sequence[S]], Sequence[R | OnnxplainError]]
    most: int
    started: Callable[[], None]
    future: Future[R] = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)
    audience: Audience | None = None

    def leave(self) -> None:
        """Wait no longer for the answer: it never begins, or its run ends unless others wait for it, too."""
        if not self.future.cancel() and self.audience is not None:
            self.audience.leave()


class Lane(Generic[S, R]):
    """A thread that runs what waits, oldest first.

    Those that came later run along if they are of the same kind. A batch that is not full waits for ``expecting()``
    requests that are being read, and no longer than ``patience`` seconds after its oldest sample came. Once nobody
    waits for any answer of a batch, its run is ended.
    """

    def __init__(
        self, name: str, *, patience: float, expecting: Callable[[], int], observe: Callable[[float], None]
    ) -> None:
        self._patience, self._expecting, self._observe = patience, expecting, observe
        self._waiting: deque[Task[S, R]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, tasks: Sequence[Task[S, R]]) -> None:
        """Let samples wait for their turn."""
        with self._changed:
            self._waiting.extend(tasks)
            self._changed.notify_all()

    def nudge(self) -> None:
        """Say that a request that was expected does not come."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """End the thread, after the batch that it runs."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _work(self) -> None:
        while (batch := self._next()) is not None:
            if batch:
                self._run(batch)

    def _next(self) -> list[Task[S, R]] | None:
        """The samples that run next; None: there will be none."""
        with self._changed:
            while True:
                while self._waiting and self._waiting[0].future.cancelled():
                    self._waiting.popleft().started()
                if self._closed:
                    return None
                if not self._waiting:
                    self._changed.wait()
                    continue
                first = self._waiting[0]
                same = [one for one in self._waiting if one.key == first.key and not one.future.cancelled()]
                left = first.since + self._patience - time.monotonic()
                if len(same) >= first.most or left <= 0 or self._expecting() == 0:
                    return self._taken(same[: first.most])
                self._changed.wait(left)

    def _taken(self, chosen: list[Task[S, R]]) -> list[Task[S, R]]:
        taken = set(map(id, chosen))
        self._waiting = deque(one for one in self._waiting if id(one) not in taken)
        for one in chosen:
            one.started()
        audience, present = Audience(len(chosen)), []
        for one in chosen:
            one.audience = audience
            if one.future.set_running_or_notify_cancel():
                present.append(one)
            else:
                audience.leave()
        return present

    def _run(self, batch: list[Task[S, R]]) -> None:
        assert batch[0].audience is not None
        self._observe(len(batch))
        with stoppable(batch[0].audience.stop):
            try:
                outcomes: Sequence[R | OnnxplainError] = batch[0].run([one.sample for one in batch])
            except StoppedError as error:
                outcomes = [error] * len(batch)
            except Exception as error:
                for one in batch:
                    one.future.set_exception(error)
                return
        for one, outcome in zip(batch, outcomes):
            if isinstance(outcome, OnnxplainError):
                one.future.set_exception(outcome)
            else:
                one.future.set_result(outcome)
