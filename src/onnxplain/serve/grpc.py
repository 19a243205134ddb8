"""The Open Inference Protocol by gRPC: KServe's servicer behind the same key, queue and limits."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from grpc import StatusCode, aio
from grpc_interceptor.server import AsyncServerInterceptor
from kserve import InferRequest
from kserve.errors import InvalidInput, ModelNotFound, ModelNotReady
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import add_GRPCInferenceServiceServicer_to_server
from kserve.protocol.grpc.servicer import InferenceServicer

from ..errors import OnnxplainError, OutputError
from .admission import TICKET, Gate
from .failures import Failure
from .keys import Keys
from .kserve_model import Plane
from .metrics import REFUSALS, REQUESTS
from .settings import Settings

_LOG = logging.getLogger("onnxplain.serve")
_LIVE, _WORK = "ServerLive", "ModelInfer"
_OFFERED = (_LIVE, "ServerReady", "ServerMetadata", "ModelReady", "ModelMetadata", _WORK)


class Doorkeeper(AsyncServerInterceptor):
    """Asks for the key, lets work in, and makes a status of every failure."""

    def __init__(self, keys: Keys, gate: Gate) -> None:
        self._keys, self._gate = keys, gate

    async def intercept(
        self, method: Callable[..., Any], request_or_iterator: Any, context: Any, method_name: str
    ) -> Any:
        """Answer one call."""
        name = method_name.rpartition("/")[2]
        try:
            found = await self._answered(method, request_or_iterator, context, name)
        except Exception as error:
            code, message = _status_of(error, name)
        else:
            REQUESTS.labels("grpc", "OK").inc()
            return found
        REQUESTS.labels("grpc", code.name).inc()
        await context.abort(code, message)

    async def _answered(self, method: Callable[..., Any], request: Any, context: Any, name: str) -> Any:
        headers = {key.lower(): value for key, value in context.invocation_metadata() if isinstance(value, str)}
        if name != _LIVE:
            self._keys.check(headers)
        if name not in _OFFERED:
            raise NotImplementedError
        if name != _WORK:
            return await method(request, context)
        ticket = self._gate.enter()
        ticket.id = (request.id or headers.get("x-request-id") or ticket.id)[:128]
        token = TICKET.set(ticket)
        try:
            return await method(request, context)
        finally:
            TICKET.reset(token)
            ticket.leave()


class Servicer(InferenceServicer):
    """KServe's servicer, but that it needs no metadata of a call."""

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        """Answer a request for inference."""
        self.validate_grpc_request(request)
        response, _ = await self._data_plane.infer(request.model_name, InferRequest.from_grpc(request), {})
        return response.to_grpc()


def _status_of(error: Exception, name: str) -> tuple[StatusCode, str]:
    if isinstance(error, Failure):
        REFUSALS.labels(str(error.status)).inc()
        return StatusCode[error.grpc], error.message
    if isinstance(error, ModelNotFound):
        return StatusCode.NOT_FOUND, "there is no such model."
    if isinstance(error, ModelNotReady):
        return StatusCode.UNAVAILABLE, "the model is not loaded yet."
    if isinstance(error, (InvalidInput, OnnxplainError)):
        return StatusCode.INVALID_ARGUMENT, str(error)
    if isinstance(error, NotImplementedError):
        return StatusCode.UNIMPLEMENTED, f"{name} is not offered here."
    _LOG.error("%s failed", name, exc_info=error)
    return StatusCode.INTERNAL, "internal error; the server's log has the reason."


async def start(settings: Settings, plane: Plane, gate: Gate, keys: Keys) -> tuple[aio.Server, int]:
    """Return the server, started, and its port.

    Raises:
        OutputError: the port is taken.
    """
    server = aio.server(
        interceptors=(Doorkeeper(keys, gate),),
        options=[
            ("grpc.max_receive_message_length", settings.max_body),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
            ("grpc.max_metadata_size", 65536),
        ],
        maximum_concurrent_rpcs=settings.queue + settings.max_batch + 64,
    )
    add_GRPCInferenceServiceServicer_to_server(Servicer(plane, None), server)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    try:
        port = server.add_insecure_port(f"{host}:{settings.grpc_port}")
    except RuntimeError:
        raise OutputError(f"--grpc-port {settings.grpc_port} of {settings.host} is taken; name another.") from None
    await server.start()
    return server, port
