"""What the routes take and give, for /openapi.json."""

from __future__ import annotations

from typing import Any

from ..methods import METHODS
from .work import OUTPUTS

_ERROR = {"application/json": {"schema": {"type": "object", "properties": {"error": {"type": "string"}}}}}
_WORDS = {
    400: "The request is refused, with the reason.",
    401: "The key is missing or wrong.",
    404: "There is no such model or job.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The body is of a type that is not read.",
    429: "The queue is full; Retry-After says when to ask again.",
    503: "The model is not loaded yet, or the service stops.",
    504: "There was no answer at the limit.",
}
_FILE = {"type": "object", "properties": {"b64": {"type": "string"}}, "required": ["b64"]}
_TARGET: dict[str, Any] = {"description": "A class, a label, top3, an object with the fields of a Target, or a list."}
_PARAMETERS = {
    "type": "object",
    "properties": {
        "target": _TARGET,
        "method": {"type": "string", "enum": list(METHODS)},
        "options": {"type": "object"},
        "outputs": {"type": "array", "items": {"type": "string", "enum": list(OUTPUTS)}},
        "picture": {"type": "string", "enum": ["overlay", "heatmap", "contour", "panel"]},
        "signed": {"type": "boolean"},
        "colormap": {"type": "string"},
        "alpha": {"type": "number"},
    },
}
_INSTANCE = {
    "anyOf": [
        {"type": "array", "description": "The input tensor without its batch axis."},
        {"type": "object", "properties": {"photo": _FILE, "target": _TARGET}, "required": ["photo"]},
        {"type": "object", "properties": {"b64": {"type": "string"}, "target": _TARGET}, "required": ["b64"]},
        {"type": "object", "properties": {"inputs": {"type": "object"}, "target": _TARGET}, "required": ["inputs"]},
    ]
}
_TENSOR = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "datatype": {"type": "string", "enum": ["BYTES", "FP32", "FP64", "INT64", "INT32", "UINT8", "BOOL"]},
        "parameters": {"type": "object"},
        "data": {"type": "array"},
    },
    "required": ["name", "shape", "datatype"],
}


def _body(properties: dict[str, Any], required: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": [required]}
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "parameters": [
            {
                "name": "async",
                "in": "query",
                "required": False,
                "schema": {"type": "string", "enum": ["0", "1"]},
                "description": "1: answer at once with the id of a job.",
            }
        ],
    }


V1_BODY = _body({"instances": {"type": "array", "items": _INSTANCE}, "parameters": _PARAMETERS}, "instances")
V2_BODY = _body(
    {
        "id": {"type": "string"},
        "inputs": {"type": "array", "items": _TENSOR},
        "outputs": {"type": "array", "items": {"type": "object", "required": ["name"]}},
        "parameters": {"type": "object"},
    },
    "inputs",
)


def failures(path: str, *, work: bool = False) -> dict[int | str, dict[str, Any]]:
    """The failures that a route has."""
    statuses = list(_WORDS) if work else [401, *([404] if "{" in path else []), *([503] if "ready" in path else [])]
    found: dict[int | str, dict[str, Any]] = {
        one: {"description": _WORDS[one], "content": _ERROR} for one in (statuses if "live" not in path else [])
    }
    if "/v1/models/{" in path or "/v2/models/{" in path:
        found[503] = {"description": _WORDS[503], "content": _ERROR}
    if work:
        found[202] = {"description": "A job was started; its id.", "content": {"application/json": {}}}
    return found


JOB = failures("/v1/jobs/{job_id}")
