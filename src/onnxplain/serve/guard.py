"""What every HTTP request passes first: the key, the size, the type, the queue; and failures as JSON."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

import orjson

from .admission import TICKET, Gate
from .failures import Failure, TooLarge, TooSlow, WrongType
from .keys import Keys
from .metrics import REFUSALS, REQUESTS

_LOG = logging.getLogger("onnxplain.serve")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

#: The one route that asks for no key: whether the process is alive.
LIVE = "/v2/health/live"
#: Seconds for which the rest of a refused body is thrown away.
_LINGER = 1.0
_TYPES = ("", "application/json", "application/octet-stream")


class Guard:
    """ASGI middleware around the whole service."""

    def __init__(self, app: Application, *, keys: Keys, gate: Gate, max_body: int) -> None:
        self._app, self._keys, self._gate, self._max_body = app, keys, gate, max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answered = False

        async def sending(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                REQUESTS.labels("rest", str(message["status"])).inc()
            await send(message)

        try:
            await self._guarded(scope, receive, sending)
        except Failure as failure:
            if answered:
                raise
            REFUSALS.labels(str(failure.status)).inc()
            await _refuse(failure, receive, sending)
        except Exception:
            _LOG.exception("%s %s failed", scope["method"], scope["path"])
            if not answered:
                await _refuse(Failure("internal error; the server's log has the reason."), receive, sending)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if scope["path"] != LIVE:
            self._keys.check(headers)
        if scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        _check_type(headers)
        size = headers.get("content-length", "0")
        if not size.isdigit() or int(size) > self._max_body:
            raise self._too_large()
        ticket = self._gate.enter()
        ticket.id = headers.get("x-request-id", ticket.id)[:128]
        token = TICKET.set(ticket)
        try:
            try:
                body = await asyncio.wait_for(self._read(receive), ticket.left())
            except (TimeoutError, asyncio.TimeoutError):
                raise TooSlow("the body did not arrive in time.") from None
            if body is not None:
                await _while_present(self._app(scope, _Once(body, receive), send), receive)
        finally:
            TICKET.reset(token)
            ticket.leave()

    async def _read(self, receive: Receive) -> bytes | None:
        """The body; None if the caller is gone.

        Raises:
            TooLarge: it is larger than the limit; the rest is not read.
        """
        chunks, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > self._max_body:
                raise self._too_large()
            if not message.get("more_body", False):
                return b"".join(chunks)

    def _too_large(self) -> TooLarge:
        return TooLarge(f"a body has at most {self._max_body} bytes; send fewer samples, or photos as files.")


async def _while_present(work: Awaitable[None], receive: Receive) -> None:
    """Answer as long as the caller is there; what runs for one who is gone is ended."""
    working, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        working.cancel()  # does nothing to what is done
        gone.cancel()
    with suppress(asyncio.CancelledError):
        await working


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _Once:
    """Hands out a body that was read, once, and then what the server says."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


def _check_type(headers: dict[str, str]) -> None:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _TYPES:
        raise WrongType(f"bodies are application/json, or binary tensors behind JSON; found {kind[:60]!r}.")
    coding = headers.get("content-encoding", "identity").strip().lower()
    if coding != "identity":
        raise WrongType(f"bodies are not compressed here; found {coding[:60]!r}.")


async def _refuse(failure: Failure, receive: Receive, send: Send) -> None:
    """Answer with a failure, and close the connection.

    What the caller still sends is thrown away for a moment: a connection that is closed with bytes unread is reset, and
    the caller would lose the answer.
    """
    body = orjson.dumps({"error": failure.message})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    headers += [(name.encode(), value.encode()) for name, value in failure_headers(failure).items()]
    await send({"type": "http.response.start", "status": failure.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    with suppress(TimeoutError, asyncio.TimeoutError):
        await asyncio.wait_for(_drain(receive), _LINGER)
    await send({"type": "http.response.body", "body": b""})


async def _drain(receive: Receive) -> None:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return


def failure_headers(failure: Failure) -> dict[str, str]:
    """The headers that go with a failure."""
    found = {} if failure.retry_after is None else {"retry-after": str(failure.retry_after)}
    return {**found, "www-authenticate": "Bearer"} if failure.status == 401 else found
