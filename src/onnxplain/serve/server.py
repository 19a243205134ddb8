"""A service from its start to its end: load, listen, answer, and on SIGTERM finish what was accepted."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import threading
import time
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..errors import OutputError
from .engine import Engine
from .grpc import start
from .http import build
from .jobs import Jobs
from .keys import Keys
from .kserve_model import Plane, ServedModel
from .log import ExplanationLog
from .models import WatchedModel, Watcher
from .page import Page
from .settings import Settings

_LOG = logging.getLogger("onnxplain.serve")

#: Seconds in which the last answers reach their callers.
_FAREWELL = 5
#: Bytes of a request's line and headers.
_HEADERS = 65_536
#: Seconds that a connection may be without a request.
_IDLE = 65


class Service:
    """All parts of one service; :meth:`run` returns when it has ended."""

    def __init__(self, settings: Settings) -> None:
        """Read the keys and make the folder of the log.

        Raises:
            InputError, OutputError: that is impossible.
            RuntimeMissingError: a log in Parquet without pyarrow.
        """
        self._settings, self._keys = settings, Keys(settings.api_key_file)
        folder = settings.log_folder
        log = self._log = None
        if folder is not None:
            wanted = {"photos": settings.log_photos, "parquet": settings.log_format == "parquet"}
            log = self._log = ExplanationLog(folder, settings.log_share, **wanted)
        self._engine = Engine(settings)
        self._models = [
            WatchedModel(name, path, settings, self._engine.limits) for name, path in settings.models.items()
        ]
        self._plane = Plane([ServedModel(one, self._engine, log) for one in self._models], self._engine)
        self._jobs = Jobs(self._engine.gate)
        self._page = Page(settings.models, settings.page)
        self._failed: Exception | None = None
        self._ending: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Answer until a signal ends it.

        Raises:
            OutputError: a port is taken.
            OnnxplainError, OSError: a model cannot be loaded.
        """
        settings, loop = self._settings, asyncio.get_running_loop()
        listener = _listener(settings.host, settings.port)
        app = build(settings, self._plane, self._engine, self._jobs, self._keys, self._page)
        config = uvicorn.Config(
            app,
            http=_Connection,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=_IDLE,
            timeout_graceful_shutdown=_FAREWELL,
            h11_max_incomplete_event_size=_HEADERS,
        )
        self._server = _Server(config, self._end)
        self._rpc, rpc_port = await start(settings, self._plane, self._engine.gate, self._keys)
        self._address = f"http://{settings.host}:{listener.getsockname()[1]}"
        print(f"onnxplain: {self._address}, gRPC {settings.host}:{rpc_port}", file=sys.stderr, flush=True)

        def done(error: Exception | None) -> None:
            loop.call_soon_threadsafe(self._loaded, error)

        watcher = Watcher(self._models, done)
        try:
            await self._server.serve(sockets=[listener])
        finally:
            watcher.close()
            await self._rpc.stop(0)
            self._engine.close()
            self._page.close()
            if self._log is not None:
                self._log.close()
        if self._failed is not None:
            raise self._failed

    def _loaded(self, error: Exception | None) -> None:
        if error is None:
            print(f"onnxplain: ready: {', '.join(one.name for one in self._models)}", file=sys.stderr, flush=True)
            threading.Thread(target=self._page.make, args=[self._address], name="onnxplain-page", daemon=True).start()
        else:
            self._failed = error
            self._server.should_exit = True

    def _end(self) -> None:
        """End: at once if it was asked for before, else when all that was accepted is answered."""
        if self._ending is not None:
            self._server.should_exit = self._server.force_exit = True
            return
        self._engine.gate.stopping = True
        self._ending = asyncio.get_running_loop().create_task(self._finish())

    async def _finish(self) -> None:
        gate, until = self._engine.gate, time.monotonic() + self._settings.timeout + _FAREWELL
        while time.monotonic() < until and (gate.present or self._jobs.unfetched):
            await asyncio.sleep(0.02)
        await self._rpc.stop(_FAREWELL)
        self._server.should_exit = True


class _Connection(H11Protocol):
    """A connection that ends where headers do not come, or not to their end: uvicorn waits for them for ever."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._wait()

    def on_response_complete(self) -> None:
        """Begin to wait for the next one."""
        self._wait()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        if self._waiting is not None:
            self._waiting.cancel()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        self._waiting = self.loop.call_later(_IDLE, self._look)

    def _look(self) -> None:
        cycle: Any = self.cycle
        if (cycle is None or cycle.response_complete) and not self.transport.is_closing():
            self.transport.close()


class _Server(uvicorn.Server):
    """uvicorn, whose signals end the service in order."""

    def __init__(self, config: uvicorn.Config, end: Any) -> None:
        super().__init__(config)
        self._end = end

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end."""
        asyncio.get_running_loop().call_soon_threadsafe(self._end)


def _listener(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        OutputError: the port is taken, or the host is none of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise OutputError(f"--port {port} of {host} cannot be listened at: {error.strerror or error}.") from None


def run(settings: Settings) -> None:
    """Run a service in this process until a signal ends it, and the process with it.

    Raises:
        As :class:`Service` and :meth:`Service.run` do.
    """
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("onnxplain.serve").setLevel(logging.INFO)
    service = Service(settings)
    asyncio.run(service.run())
    # All that was accepted is answered and written. A thread may still load a model, inside of ONNX Runtime; Python
    # would unwind it there, and abort.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
