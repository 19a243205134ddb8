"""Between servers and the work: requests wait, run together, are ended at their limit, and are logged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import OnnxplainError, StoppedError
from ..pipeline.samples import Sample, SampleAnswer, SampleOutcome
from ..runtime import Stop, stoppable
from ..runtime.workers import cores
from .admission import Gate, Ticket
from .batching import Lane, Task
from .failures import BadRequest
from .metrics import BATCHES, STEPS
from .work import Answer, Limits, Order, Prepared, Worker

if TYPE_CHECKING:
    from .models import Loaded
    from .settings import Settings

T = TypeVar("T")

#: Seconds that a sample waits for others, while some are being read.
_PATIENCE = 0.005
#: Threads that read and draw beside those that run models.
_HANDS = 2


class Engine:
    """Answers orders, see :meth:`answer`: many at once, from an event loop."""

    def __init__(self, settings: Settings) -> None:
        self.gate = Gate(settings.queue, settings.timeout)
        self.limits = Limits(settings.allowed, settings.max_pixels, settings.max_batch, settings.max_samples)
        self._hands = ThreadPoolExecutor(cores() + _HANDS, "onnxplain-hands")
        self._lanes: Mapping[str, Lane[Sample, list[SampleAnswer]]] = {
            name: Lane(
                f"onnxplain-{name}",
                patience=_PATIENCE,
                expecting=lambda: self.gate.reading,
                observe=BATCHES.labels(name).observe,
            )
            for name in ("quick", "long")
        }

    async def answer(self, loaded: Loaded, order: Order, ticket: Ticket) -> list[list[Answer]]:
        """Return the answers to an order, for each entry.

        Raises:
            BadRequest: the library refuses it, with its own sentence.
            OutOfTime: the limit came first; what ran for it alone has ended.
        """
        worker = loaded.worker
        prepared = await self.by_hand(ticket, worker.prepare, order)
        tasks = [[_task(loaded, order, one, ticket) for one in several] for several in prepared]
        every = [task for several in tasks for task in several]
        self._lanes["long" if prepared[0][0].long else "quick"].submit(every)
        ticket.read()
        together = asyncio.gather(*(asyncio.wrap_future(one.future) for one in every))
        together.add_done_callback(_heard)
        try:
            await asyncio.wait_for(together, ticket.left())
        except (TimeoutError, asyncio.TimeoutError, StoppedError):
            raise ticket.late() from None
        except OnnxplainError as error:
            raise BadRequest(str(error)) from error
        finally:
            for one in every:
                one.leave()
        found = [[task.future.result() for task in several] for several in tasks]
        return await self.by_hand(ticket, _finished, worker, order, prepared, found)

    async def by_hand(self, ticket: Ticket, function: Callable[..., T], *arguments: Any) -> T:
        """Return what a function returns that works for a while, in a thread.

        Raises:
            BadRequest: the library refuses something, with its own sentence.
            OutOfTime: the limit came first; runs of the model by the function have ended.
        """
        stop = Stop()

        def run() -> T:
            with stoppable(stop):
                return function(*arguments)

        work = asyncio.get_running_loop().run_in_executor(self._hands, run)
        try:
            return await asyncio.wait_for(work, ticket.left())
        except (TimeoutError, asyncio.TimeoutError, StoppedError):
            raise ticket.late() from None
        except OnnxplainError as error:
            raise BadRequest(str(error)) from error
        finally:
            stop.stop()

    def close(self) -> None:
        """End all threads; what still waits is never answered."""
        for lane in self._lanes.values():
            lane.close()
        self._hands.shutdown(wait=False, cancel_futures=True)


def _heard(together: asyncio.Future[Any]) -> None:
    """Look at how it ended: where nobody waits for it, asyncio would log an error."""
    if not together.cancelled():
        together.exception()


def _task(loaded: Loaded, order: Order, one: Prepared, ticket: Ticket) -> Task[Sample, list[SampleAnswer]]:
    came = time.monotonic()

    def started() -> None:
        ticket.started()
        STEPS.labels(loaded.name, "queue", order.method).observe(time.monotonic() - came)

    def run(samples: Sequence[Sample]) -> list[SampleOutcome]:
        began = time.monotonic()
        found = one.run(samples)
        STEPS.labels(loaded.name, "run", order.method).observe(time.monotonic() - began)
        return found

    return Task(one.key, one.sample, run, one.most, started)


def _finished(
    worker: Worker, order: Order, prepared: Sequence[Sequence[Prepared]], found: Sequence[list[list[SampleAnswer]]]
) -> list[list[Answer]]:
    return [worker.finish(order, several, answers) for several, answers in zip(prepared, found)]
