"""Who is let in: so many requests wait, one more is refused; none while the service stops."""

from __future__ import annotations

import math
import threading
import time
import uuid
from contextvars import ContextVar

from .failures import Busy, OutOfTime, Unavailable
from .metrics import WAITING


class Ticket:
    """A request that was let in: it is read, it waits, it runs, and it leaves.

    ``id`` is the caller's or a fresh one; ``deadline`` is on the clock of ``time.monotonic``.
    """

    def __init__(self, gate: Gate, seconds: float, *, counted: bool) -> None:
        self.id = uuid.uuid4().hex
        self.since = time.monotonic()
        self.deadline = self.since + seconds
        self._gate, self._seconds = gate, seconds
        self._waits, self._reads, self._present = counted, counted, True

    def left(self) -> float:
        """Return the seconds that are left.

        Raises:
            OutOfTime: none.
        """
        found = self.deadline - time.monotonic()
        if found <= 0:
            raise self.late()
        return found

    def late(self) -> OutOfTime:
        """What is raised at the limit."""
        return OutOfTime(f"there was no answer within {self._seconds:g} seconds; ask for less, or with ?async=1.")

    def read(self) -> None:
        """Say that all samples of the request wait to be run."""
        self._gate.change(self, "_reads")

    def started(self) -> None:
        """Say that it waits no longer."""
        self._gate.change(self, "_waits")

    def leave(self) -> None:
        """Say that it is answered, or given up."""
        self.read()
        self.started()
        self._gate.change(self, "_present")


class Gate:
    """Counts the requests that are read, wait and are present; :meth:`enter` lets one in."""

    def __init__(self, queue: int, seconds: float) -> None:
        self.stopping = False
        self._queue, self._seconds = queue, seconds
        self._counts = {"_reads": 0, "_waits": 0, "_present": 0}
        self._lock = threading.Lock()
        self._pace = 0.1

    @property
    def reading(self) -> int:
        """Requests that are being read."""
        return self._counts["_reads"]

    @property
    def present(self) -> int:
        """Requests that are not answered yet."""
        return self._counts["_present"]

    def enter(self, seconds: float | None = None) -> Ticket:
        """Let a request in; with ``seconds``, its own limit, it is a job, whose number is limited elsewhere.

        Raises:
            Busy: the queue is full.
            Unavailable: the service stops.
        """
        ticket = Ticket(self, self._seconds if seconds is None else seconds, counted=seconds is None)
        with self._lock:
            if self.stopping:
                raise Unavailable("the service is stopping; ask another one.", retry_after=5)
            waiting = self._counts["_waits"]
            if seconds is None and waiting >= self._queue:
                after = max(math.ceil(waiting * self._pace), 1)
                raise Busy(f"{waiting} requests wait already; try again in {after} seconds.", retry_after=after)
            for name in self._counts:
                self._counts[name] += getattr(ticket, name)
            WAITING.set(self._counts["_waits"])
        return ticket

    def change(self, ticket: Ticket, name: str) -> None:
        """Count a ticket no longer under ``name``."""
        with self._lock:
            if getattr(ticket, name):
                setattr(ticket, name, False)
                self._counts[name] -= 1
                WAITING.set(self._counts["_waits"])
                if name == "_present":
                    self._pace += 0.05 * (min(time.monotonic() - ticket.since, 60) / self._queue - self._pace)


#: The ticket of the request that is being answered.
TICKET: ContextVar[Ticket] = ContextVar("onnxplain_ticket")
