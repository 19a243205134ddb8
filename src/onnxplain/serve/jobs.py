"""Requests that take long: a caller gets an id at once, and fetches the answer later."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from .admission import Gate, Ticket
from .failures import Busy, Failure, NotFound
from .metrics import JOBS

_LOG = logging.getLogger("onnxplain.serve")

#: Seconds that a job may take, and that its answer is kept; how many jobs, and bytes of answers, are kept.
SECONDS, KEPT, MOST, MOST_BYTES = 3600.0, 600.0, 64, 256_000_000


@dataclass(eq=False)
class Job:
    """One of them; ``state`` is "running", "done" or "failed"; ``answer`` its body, ``status`` that of a failure."""

    id: str
    state: str = "running"
    answer: bytes = b""
    error: str | None = None
    status: int = 200
    ended: float | None = None
    fetched: bool = False
    created: float = field(default_factory=time.time)


class Jobs:
    """The jobs of a service, in memory: as many as :data:`MOST`, their answers for :data:`KEPT` seconds.

    Where there are as many, the oldest whose answer was fetched makes way for a new one.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._jobs: dict[str, Job] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def unfetched(self) -> int:
        """Jobs that are done, and whose answer nobody has fetched."""
        return sum(job.ended is not None and not job.fetched for job in self._jobs.values())

    def start(self, work: Callable[[Ticket], Awaitable[bytes]]) -> Job:
        """Start a job whose answer is what ``work`` returns, JSON.

        Raises:
            Busy: there are too many.
            Unavailable: the service stops.
        """
        self._forget()
        if len(self._jobs) >= MOST and (old := next((job for job in self._jobs.values() if job.fetched), None)):
            del self._jobs[old.id]
        if len(self._jobs) >= MOST:
            raise Busy(f"there are {len(self._jobs)} jobs already; fetch their answers, or try again.", retry_after=10)
        ticket, job = self._gate.enter(SECONDS), Job(uuid.uuid4().hex)
        self._jobs[job.id] = job
        task = asyncio.get_running_loop().create_task(self._run(job, work, ticket))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._count()
        return job

    def described(self, name: str) -> bytes:
        """Return what is known of a job, as JSON, with its answer once it is there.

        Raises:
            NotFound: there is no such job, or its answer was dropped.
        """
        self._forget()
        job = self._jobs.get(name)
        if job is None:
            raise NotFound("there is no such job; answers are kept for a while only.")
        job.fetched = job.fetched or job.ended is not None
        found: dict[str, Any] = {"id": job.id, "state": job.state, "created": job.created}
        if job.ended is not None:
            found["seconds_kept"] = round(max(job.ended + KEPT - time.monotonic(), 0), 1)
        if job.state == "done":
            found["result"] = orjson.Fragment(job.answer)
        if job.error is not None:
            found["error"], found["status"] = job.error, job.status
        content: bytes = orjson.dumps(found)
        return content

    async def _run(self, job: Job, work: Callable[[Ticket], Awaitable[bytes]], ticket: Ticket) -> None:
        try:
            job.answer = await work(ticket)
            job.state = "done"
        except Failure as failure:
            job.state, job.error, job.status = "failed", failure.message, failure.status
        except Exception:
            _LOG.exception("job %s failed", job.id)
            job.state, job.error, job.status = "failed", "internal error; the server's log has the reason.", 500
        finally:
            job.ended = time.monotonic()
            ticket.leave()
            self._count()

    def _forget(self) -> None:
        """Drop answers that were kept long enough, and the oldest of those that are too many bytes."""
        now = time.monotonic()
        ended = sorted((one for one in self._jobs.values() if one.ended is not None), key=lambda one: one.ended or now)
        held = sum(len(one.answer) for one in ended)
        for job in ended:
            if now - (job.ended or now) > KEPT or held > MOST_BYTES:
                held -= len(job.answer)
                del self._jobs[job.id]
        self._count()

    def _count(self) -> None:
        for state in ("running", "done", "failed"):
            JOBS.labels(state).set(sum(job.state == state for job in self._jobs.values()))
