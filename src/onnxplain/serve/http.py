"""The routes of the service: KServe's for health and metadata, ours for work and jobs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from kserve.errors import InvalidInput, ModelNotFound, ModelNotReady, ServerNotReady
from kserve.protocol.rest.server import metrics_handler
from kserve.protocol.rest.v1_endpoints import V1Endpoints
from kserve.protocol.rest.v2_endpoints import V2Endpoints
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import RedirectResponse

from .. import __version__
from ..errors import OnnxplainError
from .admission import TICKET, Gate, Ticket
from .engine import Engine
from .failures import BadRequest, Failure, NotFound, Unavailable
from .guard import LIVE, Guard, failure_headers
from .jobs import Jobs
from .keys import Keys
from .kserve_model import Plane
from .openapi import JOB, V1_BODY, V2_BODY, failures
from .page import PLACE, Page
from .settings import Settings

_LOG = logging.getLogger("onnxplain.serve")
_LENGTH = "inference-header-content-length"


class Routes:
    """What the routes do."""

    def __init__(self, plane: Plane, engine: Engine, jobs: Jobs) -> None:
        self._plane, self._engine, self._jobs = plane, engine, jobs

    async def predict(self, model_name: str, request: Request) -> Response:
        """Say what the model predicts: class, label, score, probability and the five best classes."""
        return await self._v1(model_name, request, explain=False)

    async def explain(self, model_name: str, request: Request) -> Response:
        """Explain photos or arrays: maps, gradients, pictures, or what "outputs" of the parameters names."""
        return await self._v1(model_name, request, explain=True)

    async def infer(self, model_name: str, request: Request) -> Response:
        """Answer a request of the Open Inference Protocol; explanations are outputs."""
        body, headers = await request.body(), dict(request.headers)
        await self._known(model_name)

        async def work(ticket: Ticket) -> tuple[bytes, dict[str, str]]:
            TICKET.set(ticket)
            found = await self._engine.by_hand(ticket, self._plane.decode_inference_request, body, headers, model_name)
            response, _ = await self._plane.infer(model_name, found, headers)
            content, extra = await self._engine.by_hand(ticket, self._plane.encode, model_name, response, None, {})
            return content if isinstance(content, bytes) else _json(content), extra

        return await self._now_or_later(request, work)

    async def job(self, job_id: str) -> Response:
        """Say how a job stands, with its answer once it is there."""
        return _answer(self._jobs.described(job_id))

    async def _v1(self, model_name: str, request: Request, *, explain: bool) -> Response:
        body = await request.body()
        await self._known(model_name)

        async def work(ticket: Ticket) -> tuple[bytes, dict[str, str]]:
            TICKET.set(ticket)
            found = await self._engine.by_hand(ticket, _parsed, body)
            ask = self._plane.explain if explain else self._plane.infer
            response, _ = await ask(model_name, found, {})
            return await self._engine.by_hand(ticket, _json, response), {}

        return await self._now_or_later(request, work)

    async def _known(self, model_name: str) -> None:
        """Refuse a model that does not exist, or is not loaded.

        Raises:
            ModelNotFound, ModelNotReady: so.
        """
        if not await self._plane.model_ready(model_name, True):
            raise ModelNotReady(model_name)

    async def _now_or_later(self, request: Request, work: Any) -> Response:
        """The answer, or that of starting a job where the query has ``async=1``."""
        wish = request.query_params.get("async", "0").lower()
        if wish not in ("0", "1", "true", "false"):
            raise BadRequest("async is 0 or 1.")
        if wish in ("0", "false"):
            content, extra = await work(TICKET.get())
            kind = "application/octet-stream" if _LENGTH in extra else "application/json"
            return Response(content, media_type=kind, headers=extra)

        async def plain(ticket: Ticket) -> bytes:
            content, extra = await work(ticket)
            if _LENGTH in extra:
                raise BadRequest("a job answers in JSON; ask for no binary outputs.")
            return bytes(content)

        job = self._jobs.start(plain)
        place = f"/v1/jobs/{job.id}"
        return _answer(_json({"id": job.id, "state": job.state, "href": place}), 202, {"location": place})


def build(settings: Settings, plane: Plane, engine: Engine, jobs: Jobs, keys: Keys, page: Page) -> FastAPI:
    """Return the service as an ASGI application."""
    app = FastAPI(
        title="onnxplain",
        version=__version__,
        description="Predictions and explanations of ONNX models, by KServe's V1 and the Open Inference Protocol V2.",
        docs_url=None,
        redoc_url=None,
    )
    routes, first, second = Routes(plane, engine, jobs), V1Endpoints(plane), V2Endpoints(plane)
    for path, get in {
        LIVE: second.live,
        "/v2/health/ready": second.ready,
        "/v2": second.metadata,
        "/v2/models": second.models,
        "/v2/models/{model_name}": _metadata_of(second),
        "/v2/models/{model_name}/ready": _ready_of(second),
        "/v1/models": first.models,
        "/v1/models/{model_name}": first.model_ready,
        "/metrics": metrics_handler,
    }.items():
        app.add_api_route(path, get, methods=["GET"], response_model=None, responses=failures(path))
    app.add_api_route("/v1/jobs/{job_id}", routes.job, methods=["GET"], response_model=None, responses=JOB)
    for path, post, body in (
        ("/v1/models/{model_name}:predict", routes.predict, V1_BODY),
        ("/v1/models/{model_name}:explain", routes.explain, V1_BODY),
        ("/v2/models/{model_name}/infer", routes.infer, V2_BODY),
    ):
        app.add_api_route(
            path, post, methods=["POST"], response_model=None, openapi_extra=body, responses=failures(path, work=True)
        )
    app.add_api_route("/", _to_the_page, methods=["GET"], include_in_schema=False)
    app.mount(PLACE, page)
    _name_models(app, list(settings.models))
    _handle(app)
    _protect(app, settings, keys, engine.gate)
    return app


async def _to_the_page() -> Response:
    return RedirectResponse(f"{PLACE}/")


def _name_models(app: FastAPI, names: Sequence[str]) -> None:
    """Let /openapi.json say which models there are."""
    described = app.openapi()
    for verb in (verb for verbs in described["paths"].values() for verb in verbs.values()):
        for one in verb.get("parameters", []):
            if one["name"] == "model_name":
                one["schema"]["enum"] = list(names)


def _metadata_of(second: V2Endpoints) -> Any:
    async def model_metadata(model_name: str) -> Any:
        """Say what a model takes and gives."""
        return await second.model_metadata(model_name)

    return model_metadata


def _ready_of(second: V2Endpoints) -> Any:
    async def ready_model(model_name: str) -> Any:
        """Say whether a model answers."""
        return await second.model_ready(model_name)

    return ready_model


def _protect(app: FastAPI, settings: Settings, keys: Keys, gate: Gate) -> None:
    app.add_middleware(Guard, keys=keys, gate=gate, max_body=settings.max_body)
    if settings.cors:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors),
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "x-api-key", "content-type", "x-request-id", _LENGTH],
            expose_headers=["retry-after", "location", _LENGTH],
        )


def _handle(app: FastAPI) -> None:
    """Let every failure be one sentence of JSON with its status."""

    async def failed(_: Request, error: Exception) -> Response:
        failure = _failure_of(error)
        return _answer(_json({"error": failure.message}), failure.status, failure_headers(failure))

    kinds = (Failure, OnnxplainError, InvalidInput, ModelNotFound, ModelNotReady, ServerNotReady)
    for kind in (*kinds, RequestValidationError):
        app.add_exception_handler(kind, failed)

    async def unknown(_: Request, error: HTTPException) -> Response:
        phrase = HTTPStatus(error.status_code).phrase.lower()
        return _answer(_json({"error": f"{phrase}."}), error.status_code, error.headers or {})

    app.add_exception_handler(HTTPException, unknown)


def _failure_of(error: Exception) -> Failure:
    if isinstance(error, Failure):
        return error
    if isinstance(error, ModelNotFound):
        return NotFound("there is no such model; /v2/models lists them.")
    if isinstance(error, ModelNotReady):
        return Unavailable("the model is not loaded yet.", retry_after=5)
    if isinstance(error, ServerNotReady):
        return Unavailable("the service is not ready.", retry_after=5)
    if isinstance(error, RequestValidationError):
        return BadRequest("the request does not fit the route; see /openapi.json.")
    return BadRequest(str(error))


def _parsed(body: bytes) -> object:
    try:
        found: object = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the body is no JSON: {error}.") from None
    return found


def _json(found: object) -> bytes:
    content: bytes = orjson.dumps(found, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
    return content


def _answer(content: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(content, status, dict(headers or {}), "application/json")
