"""Requests that a mapping must be able to build, tried at check time: every field, and text that breaks things."""

from __future__ import annotations

from collections.abc import Iterator

from oaiproxy import jsontext
from oaiproxy.canonical import Identity
from oaiproxy.diagnostics import Diagnostic
from oaiproxy.endpoints.doors import DOORS
from oaiproxy.errors import ApiError, ClientError
from oaiproxy.exchange import Exchange
from oaiproxy.jsontext import Json
from oaiproxy.mapping import Mapping
from oaiproxy.sandbox import AbsentError, RenderError

IDENTITY = Identity(request_id="req_check", token="0" * 24, uuid="00000000-0000-4000-8000-000000000000", now=0.0)
"""The identity of probes and examples: they are the same at every run."""

HOSTILE = (
    "\"quoted\" and 'quoted'",
    'close"}],"x":[{"a":"b',
    "{{ 7*7 }} {% for x in y %} {# note #} ${HOME}",
    "back\\slash \\n \\u0041",
    "nul\x00 bell\x07 escape\x1b end",
    "lines\r\nand\u2028more\u2029and\x85end",
    "\U0001f600 日本語 עברית",
    "</s><|im_end|>[/INST]",
    "a long text: " + "0123456789 " * 95_000,
)
_FIELDS: dict[str, Json] = {
    "temperature": 0.5,
    "top_p": 0.9,
    "max_tokens": 64,
    "max_completion_tokens": 64,
    "stop": ["END"],
    "seed": 7,
    "n": 2,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "logit_bias": {"50256": -100},
    "logprobs": True,
    "top_logprobs": 2,
    "user": "someone",
    "reasoning_effort": "low",
    "response_format": {"type": "json_object"},
    "parallel_tool_calls": False,
    "metadata": {"a": "b"},
}
_TOOL = {"type": "function", "function": {"name": "look_up", "description": "d", "parameters": {"type": "object"}}}
_CALL = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"q":"x"}'}}
_IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


def probe(mapping: Mapping) -> list[Diagnostic]:
    """Build every probe. A mapping may refuse a field it does not read; nothing else may fail."""
    findings: list[Diagnostic] = []
    for endpoint in mapping.endpoints:
        for stream in (False, True):
            for body in _bodies(endpoint):
                findings.extend(_render(mapping, endpoint, body | {"stream": stream}))
            for text in HOSTILE:
                findings.extend(_carry(mapping, endpoint, text, stream))
    return list(dict.fromkeys(findings))


def _bodies(endpoint: str) -> Iterator[dict[str, Json]]:
    if endpoint == "completions":
        yield {"prompt": "hi"}
        yield from (
            {"prompt": "hi", key: value} for key, value in _FIELDS.items() if key in ("temperature", "max_tokens")
        )
        return
    hi = {"role": "user", "content": "hi"}
    yield {"messages": [hi]}
    yield from ({"messages": [hi], key: value} for key, value in _FIELDS.items())
    yield {"messages": [hi], **_FIELDS}
    yield {"messages": [{"role": "system", "content": "s"}, hi, {"role": "assistant", "content": "a"}, hi]}
    yield {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}, _IMAGE]}]}
    yield {"messages": [hi], "tools": [_TOOL]}
    for choice in ("auto", "none", "required", {"type": "function", "function": {"name": "look_up"}}):
        yield {"messages": [hi], "tools": [_TOOL], "tool_choice": choice}
    called = {"role": "assistant", "content": None, "tool_calls": [_CALL, {**_CALL, "id": "call_2"}]}
    results = [{"role": "tool", "tool_call_id": f"call_{n}", "content": "found"} for n in (1, 2)]
    yield {"messages": [hi, called, *results], "tools": [_TOOL]}


def _exchange(mapping: Mapping, endpoint: str, body: dict[str, Json]) -> Exchange:
    door = DOORS[endpoint]
    call = door.parse({"model": next(iter(mapping.models)), **body})
    return Exchange(mapping, call, door.encoder(call, IDENTITY), IDENTITY)


def _render(mapping: Mapping, endpoint: str, body: dict[str, Json]) -> Iterator[Diagnostic]:
    try:
        exchange = _exchange(mapping, endpoint, body)
    except ClientError:
        return
    try:
        exchange.backend_request()
    except ApiError as error:
        yield _failure(mapping, error, body)


def _failure(mapping: Mapping, error: ApiError, body: dict[str, Json]) -> Diagnostic:
    cause = error.__cause__
    source = cause.source if isinstance(cause, RenderError) else None
    span = source.span() if source is not None else None
    if isinstance(cause, AbsentError):
        name = cause.name or "a value"
        label = f"give it a default: `{{{{ {name} | default(...) }}}}`" if cause.name else "give it a default"
        return Diagnostic("E403", f"`{name}` may be absent, and text is made of it", span, label)
    used = ", ".join(sorted(body.keys() - {"messages", "prompt", "stream"})) or "nothing but a message"
    return Diagnostic(
        "E401", f"the request cannot be built: {error.detail or error.message}", span, help=f"with: {used}"
    )


def _carry(mapping: Mapping, endpoint: str, text: str, stream: bool) -> Iterator[Diagnostic]:
    """Text must arrive as it was sent."""
    body: dict[str, Json] = {"messages": [{"role": "user", "content": text}], "stream": stream}
    if endpoint == "completions":
        body = {"prompt": text, "stream": stream}
    try:
        request = _exchange(mapping, endpoint, body).backend_request()
    except ApiError as error:
        yield _failure(mapping, error, body)
        return
    if request.body is None:
        return
    is_json = "json" in request.headers.get("Content-Type", "")
    found = jsontext.parse(request.body) if is_json else request.body.decode()
    if not any(text in leaf for leaf in _strings(found)):
        shown = jsontext.dump(text[:40]).decode()
        yield Diagnostic("E402", f"the user's text does not arrive as it was sent: {shown}", None)


def _strings(value: Json) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for item in value.values():
                yield from _strings(item)
        case list():
            for item in value:
                yield from _strings(item)
