"""Promises of errors, by the table of the contract: each over a real socket, and as OpenAI's own client raises it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

import openai
import pytest
from scripted import (
    FIN,
    GONE,
    REQUEST,
    RST,
    Backend,
    Step,
    answer,
    chunk,
    event,
    fetch,
    mapping,
    request,
    stream,
    stream_head,
)

CHAT = "/v1/chat/completions"
HI = [{"role": "user", "content": "hi"}]
BODY: dict[str, Any] = {"model": "m", "messages": HI}
BAD, OURS, BUSY = "invalid_request_error", "server_error", "service_unavailable_error"


@dataclass(frozen=True)
class Row:
    """What is sent or what the backend says, and the error that comes of it."""

    status: int
    type: str
    code: str | None
    body: Any = field(default_factory=lambda: BODY)
    script: list[Step] = field(default_factory=list)
    param: str | None = None
    says: str = ""
    retry: str | None = None
    after: Any = None
    path: str = CHAT
    method: str = "POST"
    raises: type[openai.APIStatusError] | None = None
    """What OpenAI's client raises, where it can send such a request."""


def said(status: int, message: Any = "words", **headers: str) -> list[Step]:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return [answer({"error": {"message": message}}, status, names)]


def wrong(param: str, code: str = "invalid_type", **fields: Any) -> Row:
    return Row(400, BAD, code, {**BODY, **fields}, param=param, raises=openai.BadRequestError)


def too_long(message: str, says: str, status: int = 400) -> Row:
    return Row(
        400,
        BAD,
        "context_length_exceeded",
        script=said(status, message),
        param="messages",
        says=says,
        raises=openai.BadRequestError,
    )


def context(limit: int) -> str:
    return f"maximum context length is {limit} tokens"


UNREADABLE = "We could not parse the JSON body of your request."
KNOWN = f"This model's {context(4096)}. However, you requested 5000 tokens."
TABLE: dict[str, Row] = {
    # 400, of the client's own making
    "bad JSON": Row(400, BAD, None, b"{oops}", says=UNREADABLE),
    "no JSON": Row(400, BAD, None, b"", says=UNREADABLE),
    "a list": Row(400, BAD, "invalid_type", []),
    "model of a wrong type": wrong("model", model=5),
    "messages of a wrong type": wrong("messages", messages="hi"),
    "a message of a wrong type": wrong("messages[0]", messages=["hi"]),
    "content of a wrong type": wrong("messages[0].content", messages=[{"role": "user", "content": 5}]),
    "a part of a wrong type": wrong("messages[1].content[0]", messages=[*HI, {"role": "user", "content": [5]}]),
    "a part of an unknown type": wrong(
        "messages[2].content[0].type",
        "invalid_value",
        messages=[*HI, *HI, {"role": "user", "content": [{"type": "x"}]}],
    ),
    "an unknown role": wrong("messages[0].role", "invalid_value", messages=[{"role": "x", "content": "hi"}]),
    "a number of a wrong type": wrong("temperature", temperature="1"),
    "a number out of range": wrong("temperature", "decimal_above_max_value", temperature=3),
    "no messages": wrong("messages", "empty_array", messages=[]),
    "a missing field": Row(400, BAD, "missing_required_parameter", {"model": "m"}, param="messages"),
    "what the model has not": wrong(
        "tools", "unsupported_parameter", tools=[{"type": "function", "function": {"name": "f"}}]
    ),
    # 400, as the backend told
    "refused by the backend": Row(
        400, BAD, "invalid_value", script=said(400), says="words", raises=openai.BadRequestError
    ),
    "too long, known": too_long(KNOWN, KNOWN),
    "too long, 500": too_long("Input is too long for requested model.", "Input is too long", 500),
    "too long, 413": too_long("the request exceeds the available context size (4096 tokens)", context(4096), 413),
    "too long, 422": too_long("`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000", context(4096), 422),
    "too long, of so many": too_long("prompt is too long: 210000 tokens > 200000 maximum", context(200000)),
    "too long, a count": too_long(
        "The input token count (40000) exceeds the maximum number of tokens allowed (32768).", context(32768)
    ),
    "too long, a model": too_long(
        "The prompt (length 5000) is longer than the maximum model length of 4096.", context(4096)
    ),
    "too long, a prompt": too_long(
        "This model's maximum prompt length is 131072 but the request contains 150000 tokens.", context(131072)
    ),
    "too long, a range": too_long("Range of input length should be [1, 30720]", context(30720)),
    "too long, a sum": too_long(
        "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000", context(200000)
    ),
    "too long, a total": too_long(
        "the number of input tokens 5000 cannot exceed the total tokens limit 4096 for this model", context(4096)
    ),
    "too long, a size": too_long(
        "Prompt contains 40000 tokens, too large for model with 32768 maximum context length", context(32768)
    ),
    "too long, of nothing known": too_long("Please reduce the length of the messages.", "Please reduce"),
    "filtered": Row(
        400,
        BAD,
        "content_filter",
        script=said(400, "The response was filtered due to the prompt triggering the content management policy."),
        says="filtered",
        raises=openai.BadRequestError,
    ),
    "filtered, 403": Row(400, BAD, "content_filter", script=said(403, "Your input was flagged"), says="flagged"),
    # 404, 405, 413, 415
    "an unknown model": Row(
        404, BAD, "model_not_found", {**BODY, "model": "x"}, param="model", says="'x'", raises=openai.NotFoundError
    ),
    "an unknown address": Row(404, BAD, None, path="/v1/x", says="Invalid URL (POST /v1/x)"),
    "another method": Row(405, BAD, "method_not_supported", method="PUT"),
    "too large": Row(413, BAD, "request_too_large", {**BODY, "user": "x" * 5000}, raises=openai.APIStatusError),
    # the credentials of the proxy
    "401": Row(502, OURS, "upstream_auth_error", script=said(401), retry="false", raises=openai.InternalServerError),
    "403": Row(502, OURS, "upstream_auth_error", script=said(403), retry="false", raises=openai.InternalServerError),
    # 429
    "busy": Row(429, "rate_limit_error", "rate_limit_exceeded", script=said(429), raises=openai.RateLimitError),
    "busy for seconds": Row(
        429, "rate_limit_error", "rate_limit_exceeded", script=said(429, Retry_After="7"), after="7"
    ),
    "busy for milliseconds": Row(
        429, "rate_limit_error", "rate_limit_exceeded", script=said(429, retry_after_ms="1250"), after="2"
    ),
    "busy until": Row(
        429,
        "rate_limit_error",
        "rate_limit_exceeded",
        script=said(429, Retry_After=formatdate(time.time() + 3600, usegmt=True)),
        after="60",
        retry="false",
    ),
    "busy for hours": Row(
        429,
        "rate_limit_error",
        "rate_limit_exceeded",
        script=said(429, Retry_After="7200"),
        after="60",
        retry="false",
    ),
    "out of quota": Row(
        429,
        "insufficient_quota",
        "insufficient_quota",
        script=said(429, "You exceeded your current quota, please check your plan and billing details."),
        retry="false",
        raises=openai.RateLimitError,
    ),
    "out of credit": Row(
        429, "insufficient_quota", "insufficient_quota", script=said(402, "Insufficient Balance"), retry="false"
    ),
    # 5xx
    "broken": Row(502, OURS, "upstream_error", script=said(500), raises=openai.InternalServerError),
    "unreadable": Row(502, OURS, "upstream_invalid_json", script=[answer(b"{oops}")], retry="false"),
    "closed": Row(502, OURS, "upstream_closed", script=[FIN]),
    "reset": Row(502, OURS, "upstream_reset", script=[RST]),
    "overloaded": Row(
        503,
        BUSY,
        "server_is_overloaded",
        script=said(503, Retry_After="3"),
        after="3",
        raises=openai.InternalServerError,
    ),
    "overloaded, 529": Row(503, BUSY, "server_is_overloaded", script=said(529)),
    "late": Row(504, OURS, "upstream_timeout", script=[GONE], retry="false", raises=openai.InternalServerError),
    "late, told": Row(504, OURS, "upstream_timeout", script=said(504), retry="false"),
    "late, told by another": Row(504, OURS, "upstream_timeout", script=said(524), retry="false"),
}


def served(row: Row, url: str) -> Any:
    return mapping(url, timeouts="{first_byte: 200ms}" if row.script == [GONE] else "{}")


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", TABLE)
async def test_the_table(proxy: Any, name: str, streams: bool) -> None:
    """Status, type, code, param, words, and when to try again; a stream that has not begun is no different."""
    row = TABLE[name]
    body = {**row.body, "stream": streams} if isinstance(row.body, dict) else row.body
    async with Backend([REQUEST, *row.script]) as backend:
        running = await proxy(served(row, backend.url), max_body=4096)
        wire = await fetch(running.url, request(body, row.path, method=row.method))
        error = wire.error
        assert (wire.status, error["type"], error["code"], error["param"]) == (
            row.status,
            row.type,
            row.code,
            row.param,
        )
        assert row.says in error["message"]
        assert error["message"]
        assert wire.headers["content-type"] == "application/json"
        assert wire.headers["x-request-id"].startswith("req_")
        assert wire.headers.get("x-should-retry") == row.retry
        assert wire.headers.get("retry-after") == row.after
        assert len(backend.requests) == bool(row.script)


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if row.raises])
async def test_what_openais_client_raises(proxy: Any, name: str, streams: bool) -> None:
    """The class that programs catch, with all that the error tells."""
    row = TABLE[name]
    async with Backend([REQUEST, *row.script]) as backend:
        running = await proxy(served(row, backend.url), max_body=4096)
        async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="k", max_retries=0) as client:
            assert row.raises is not None
            with pytest.raises(row.raises) as caught:
                await client.chat.completions.create(**row.body, stream=streams)
    error = caught.value
    assert (error.status_code, error.type, error.code, error.param) == (row.status, row.type, row.code, row.param)
    assert row.says in error.message
    assert error.request_id is not None


@pytest.mark.parametrize(
    ("script", "times"),
    [
        (said(429, retry_after_ms="5"), 3),
        (said(503, retry_after_ms="5"), 3),
        (said(429, "You exceeded your current quota", retry_after=""), 1),
        (said(401), 1),
        (said(400), 1),
        (said(504), 1),
        ([answer(b"{oops}")], 1),
    ],
    ids=["busy", "overloaded", "quota", "key", "refused", "late", "unreadable"],
)
async def test_openais_client_tries_again_where_that_helps(proxy: Any, script: list[Step], times: int) -> None:
    """And nowhere else: each try costs."""
    async with Backend([step for _ in range(3) for step in (REQUEST, *script)]) as backend:
        running = await proxy(mapping(backend.url))
        async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="k", max_retries=2) as client:
            with pytest.raises(openai.APIStatusError):
                await client.chat.completions.create(**BODY)
        assert len(backend.requests) == times


async def test_a_date_is_told_in_seconds(proxy: Any) -> None:
    """Every client can read those."""
    soon = formatdate(time.time() + 30, usegmt=True)
    async with Backend([REQUEST, *said(429, Retry_After=soon)]) as backend:
        wire = await fetch((await proxy(mapping(backend.url))).url, request(BODY))
    assert 1 <= int(wire.headers["retry-after"]) <= 30
    assert "x-should-retry" not in wire.headers


async def test_parts_of_a_second_are_told(proxy: Any) -> None:
    """In the header that clients look at first."""
    async with Backend([REQUEST, *said(429, retry_after_ms="1250")]) as backend:
        wire = await fetch((await proxy(mapping(backend.url))).url, request(BODY))
    assert (wire.headers["retry-after"], wire.headers["retry-after-ms"]) == ("2", "1250")


BEGUN: dict[str, tuple[list[Step], str]] = {
    "cut": ([FIN], "upstream_truncated"),
    "reset": ([RST], "upstream_reset"),
    "stalled": ([GONE], "upstream_timeout"),
    "told": ([chunk(b'data: {"error": {"message": "words"}}\n\n'), GONE], "upstream_error"),
    "not JSON": ([chunk(b"data: {oops}\n\n"), GONE], "upstream_invalid_json"),
    "without its end": ([chunk(b""), FIN], "upstream_incomplete"),
}


@pytest.mark.parametrize("name", BEGUN)
async def test_after_the_first_byte_an_error_is_an_event(proxy: Any, name: str) -> None:
    """The last one: no end mark, no end of the body, and OpenAI's client raises it."""
    script, code = BEGUN[name]
    async with Backend([REQUEST, stream_head(), chunk(event("The ")), *script]) as backend:
        running = await proxy(mapping(backend.url, timeouts="{idle: 200ms}"))
        wire = await fetch(running.url, request({**BODY, "stream": True}))
        assert (wire.status, wire.error["code"], wire.text, wire.complete) == (200, code, "The ", False)
        assert "connection" not in wire.headers
        async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="k", max_retries=2) as client:
            answer_ = await client.chat.completions.create(**BODY, stream=True)
            with pytest.raises(openai.APIError) as caught:
                [each async for each in answer_]
        assert caught.value.code == code
        assert len(backend.requests) == 2


async def test_a_stream_ends_with_its_mark(proxy: Any) -> None:
    """The end of the body follows at once, and the connection stays for the next request."""
    async with Backend([REQUEST, stream("fi", "ne")]) as backend:
        wire = await fetch((await proxy(mapping(backend.url))).url, request({**BODY, "stream": True}))
    assert wire.complete
    assert wire.raw.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
