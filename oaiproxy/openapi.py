"""The OpenAPI document of what is served: made from the doors, the tables of fields, and the paths of the server.

https://spec.openapis.org/oas/v3.1.1.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

import oaiproxy
from oaiproxy import jsontext
from oaiproxy.endpoints.doors import DOORS, Door
from oaiproxy.errors import ClientError
from oaiproxy.fieldschemas import field_schema, nullable
from oaiproxy.frontshapes import BODIES
from oaiproxy.jsontext import Json
from oaiproxy.openapi_shapes import ANSWERS, INPUT_SHAPES, SCHEMAS, STREAMED, ref
from oaiproxy.policy import NEVER_UNREAD, fields_of

REQUIRED: Mapping[str, tuple[str, ...]] = {
    "chat": ("model", "messages"),
    "completions": ("model", "prompt"),
    "embeddings": ("model", "input"),
    "rerank": ("model", "query", "documents"),
    "moderations": ("input",),
    "images": ("prompt",),
    "speech": ("model", "input"),
    "transcriptions": ("model", "file"),
}
"""By endpoint, the fields that must be sent."""
ERRORS: Mapping[int, str] = {
    400: "A field is missing, of another type, out of range, or not supported by the model; `param` names it.",
    401: "The backend's key, where clients bring it, is missing or wrong.",
    403: "The backend does not allow it.",
    404: "There is no such model, or no such address.",
    405: "The address takes another method.",
    408: "The request's body did not arrive in time.",
    413: "The request's body is too large.",
    415: "The request's body is encoded in a way that is not supported.",
    422: "The backend could not use the request.",
    429: "The backend's limit is reached, or its quota used up; `Retry-After` says when to come back.",
    500: "The proxy failed.",
    502: "The backend failed, or answered what its mapping does not describe.",
    503: "The backend or the proxy is overloaded, or the proxy is about to stop.",
    504: "The backend did not answer in time.",
}
"""Statuses of errors, and when they come: https://platform.openai.com/docs/guides/error-codes"""
_MODELS: Mapping[tuple[str, str], tuple[str, Json]] = {
    ("GET", "/v1/models"): ("The models that the mappings name", ref("ModelList")),
    ("GET", "/v1/models/{model}"): ("One model", ref("Model")),
    ("GET", "/openapi.json"): ("This document", {"type": "object"}),
    ("GET", "/livez"): ("Whether the process is alive", ref("Status")),
    ("GET", "/readyz"): ("Whether requests are taken", ref("Status")),
}
_HEADERS: Json = {
    "x-request-id": {"description": "The request's id: the client's, if it sent one.", "schema": {"type": "string"}},
}
_DROPPED: Json = {
    "x-oaiproxy-dropped": {
        "description": "Fields that were left out, for the model has no use for them.",
        "schema": {"type": "string"},
    },
}
_ERROR_HEADERS: Json = {
    **_HEADERS,
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}},
    "x-should-retry": {
        "description": "Whether it makes sense to try again, where that is known.",
        "schema": {"enum": ["true", "false"]},
    },
}


@lru_cache(maxsize=8)
def document(places: tuple[tuple[str, str], ...]) -> bytes:
    """The document, as JSON; `places` are the methods and paths of the server, as its router writes them."""
    paths: dict[str, dict[str, Json]] = {}
    doors = {door.path: name for name, door in DOORS.items()}
    for method, route in places:
        path = re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route)
        if method == "POST" and path in doors:
            operation = _generates(doors[path], DOORS[doors[path]])
        else:
            operation = _answers(method, path)
        parameters = [_path_parameter(name) for name in re.findall(r"\{(\w+)\}", path)]
        if parameters:
            operation["parameters"] = parameters
        paths.setdefault(path, {})[method.lower()] = operation
    return jsontext.dump(
        {
            "openapi": "3.1.1",
            "info": {
                "title": "oaiproxy",
                "version": oaiproxy.__version__,
                "description": "OpenAI's API in front of any LLM backend. What becomes of a field depends on the "
                "mapping of the model: `features` of a model object tells it.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            "security": [{}, {"bearer": []}],
            "paths": paths,
            "components": {
                "schemas": SCHEMAS,
                "responses": {f"Error{status}": _error(status, ref("Error")) for status in ERRORS},
                "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            },
        }
    )


def _generates(name: str, door: Door) -> dict[str, Json]:
    """The operation of a door: one that the tables do not know takes and gives objects of any kind."""
    body = _request(name)
    media_type = "multipart/form-data" if door.reads == "form" else "application/json"
    content: dict[str, Json] = dict(ANSWERS.get(name, {"application/json": {"schema": {"type": "object"}}}))
    if name in STREAMED or name not in ANSWERS:
        content["text/event-stream"] = {"schema": STREAMED.get(name, {"type": "string"})}
    return {
        "operationId": name,
        "tags": [name],
        "summary": (door.parse.__doc__ or name).partition(".")[0].strip(),
        "requestBody": {"required": True, "content": {media_type: {"schema": body}}},
        "responses": {
            "200": {"description": "The answer.", "headers": {**_HEADERS, **_DROPPED}, "content": content},
            **_errors(ERRORS, _error_shape(door)),
        },
    }


def _request(name: str) -> Json:
    """The schema of a request: fields that OpenAI does not define are let through to templates."""
    if not fields_of(name):
        return BODIES.get(DOORS[name].path, {"type": "object"})
    shapes = INPUT_SHAPES.get(name, {})
    properties = {}
    for key, field in fields_of(name).items():
        made = field_schema(field, shapes.get(key))
        if key in REQUIRED.get(name, ()):
            made = dict(shapes.get(key) or _present(made))
        if key in (*NEVER_UNREAD, *REQUIRED.get(name, ())):
            made.pop("description", None)
        properties[key] = made
    made = {"type": "object", "properties": properties}
    return made | {"required": list(REQUIRED[name])} if name in REQUIRED else made


def _present(schema: Json) -> Json:
    """The schema of a field that must be there: null is not."""
    kind = schema.get("type")
    return {**schema, "type": next(each for each in kind if each != "null")} if isinstance(kind, list) else schema


def _answers(method: str, path: str) -> dict[str, Json]:
    summary, schema = _MODELS.get((method, path), (f"{method} {path}", {}))
    answer: Json = {
        "description": summary + ".",
        "headers": _HEADERS,
        "content": {"application/json": {"schema": schema}},
    }
    operation: dict[str, Json] = {
        "operationId": re.sub(r"\W+", "_", f"{method} {path}".lower()).strip("_"),
        "summary": summary,
        "responses": {"200": answer},
    }
    if method == "POST":
        body = BODIES.get(path, {"type": "object"})
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
        operation["responses"] |= _errors(ERRORS, ref("Error"))
    elif path.endswith("z"):
        if path == "/readyz":
            operation["responses"]["503"] = {**answer, "description": "Requests are not taken."}
    else:
        operation["responses"] |= _errors((404,), ref("Error"))
    return operation


def _errors(statuses: Iterable[int], schema: Json) -> dict[str, Json]:
    if schema == ref("Error"):
        return {str(status): {"$ref": f"#/components/responses/Error{status}"} for status in statuses}
    return {str(status): _error(status, schema) for status in statuses}


def _error(status: int, schema: Json) -> Json:
    content = {"application/json": {"schema": schema}}
    return {"description": ERRORS[status], "headers": _ERROR_HEADERS, "content": content}


def _error_shape(door: Door) -> Json:
    """The schema of the errors of a door: OpenAI's, or one like what the door makes of an error."""
    error = ClientError("message", param="param", code="invalid_value")
    told = door.error(error, "req_1")
    return ref("Error") if told == error.body() else _like(told)


def _like(value: Json) -> Json:
    """The schema of values like this one."""
    if isinstance(value, dict):
        return {
            "type": "object",
            "required": list(value),
            "properties": {key: _like(item) for key, item in value.items()},
        }
    return nullable({"type": "string"}) if value is None or isinstance(value, str) else {}


def _path_parameter(name: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
