"""Requests that mean harm, over real sockets: each is refused for what it is, at a cost that is bounded."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from faults import bomb
from scripted import (
    REQUEST,
    Backend,
    Client,
    Wire,
    answer,
    chunk,
    event,
    fetch,
    hello,
    mapping,
    request,
    settled,
    stream_head,
)
from support import chat as chat_mapping
from support import load

from oaiproxy import app
from oaiproxy.app import Running, serve
from oaiproxy.config import Config, Limits, Server
from oaiproxy.mapping import Mapping
from oaiproxy.tokens import Tokenizer

Start: TypeAlias = Callable[..., Awaitable[Running]]
MESSAGES = [{"role": "user", "content": "hi"}]
BODY: dict[str, Any] = {"model": "m", "messages": MESSAGES}
WHOLE = answer({"text": "fine", "p": 1, "c": 2})
NOWHERE = "http://backend.test"


@pytest.fixture
async def limited(tokenizer: Tokenizer) -> AsyncIterator[Start]:
    """Starts the real `serve`; keyword arguments are those of `Limits`, `server` holds those of `Server`."""
    async with AsyncExitStack() as stack:

        async def start(of: Mapping, server: dict[str, Any] | None = None, **limits: Any) -> Running:
            settings = Server(port=0, **{"shutdown_timeout": 1, **(server or {})})
            config = Config([], settings, Limits(**limits), log_level="debug")
            return await stack.enter_async_context(serve(config, [(of, Path(of.file))], tokenizer))

        yield start


def refused(wire: Wire, status: int, code: str | None, param: str | None = None) -> None:
    """An error of the client's, told as OpenAI tells it."""
    error = wire.error
    assert (wire.status, error["type"], error["code"], error["param"]) == (status, "invalid_request_error", code, param)
    assert "x-should-retry" not in wire.headers
    assert "retry-after" not in wire.headers
    assert wire.headers["x-request-id"]


HALF = {
    "a body": request(b"{", headers={"Content-Length": "100"}),
    "a chunk": request(b"", headers={"Content-Length": "", "Transfer-Encoding": "chunked"}) + b"64\r\n{",
    "after a chunk": request(b"", headers={"Content-Length": "", "Transfer-Encoding": "chunked"}) + chunk(b"{"),
    "after `Expect`": request(b"", headers={"Content-Length": "100", "Expect": "100-continue"}),
    "a form": request(
        b"--x\r\n",
        "/v1/audio/transcriptions",
        headers={"Content-Type": "multipart/form-data; boundary=x", "Content-Length": "100"},
    ),
}


@pytest.mark.row(82)
@pytest.mark.parametrize("stalled", HALF)
async def test_a_body_that_stalls_is_not_waited_for(
    limited: Start, stalled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it does: 408, and the connection is closed."""
    monkeypatch.setattr(app, "LINGER_SECONDS", 0.1)
    running = await limited(mapping(NOWHERE), server={"body_timeout": 0.05})
    async with await Client.connect(running.url) as client:
        await client.send(HALF[stalled])
        if "Expect" in stalled:
            assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.received.clear()
        wire = await client.answer()
        refused(wire, 408, "request_timeout")
        assert wire.headers["connection"] == "close"
        assert await client.rest() == b""
    await settled(lambda: running.state.active == 0)


@pytest.mark.row(82)
async def test_a_body_that_drips_is_not_waited_for_either(limited: Start) -> None:
    """The time is for all of it: each byte does not begin it anew."""
    running = await limited(mapping(NOWHERE), server={"body_timeout": 0.2})
    async with await Client.connect(running.url) as client:
        await client.send(request(b"", headers={"Content-Length": "1000000"}))
        answer = asyncio.create_task(client.answer())
        while not answer.done():
            await client.send(b" ")
            await asyncio.wait([answer], timeout=0.01)
        refused(await answer, 408, "request_timeout")


@pytest.mark.row(83)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/audio/transcriptions"])
async def test_a_length_over_the_limit_is_refused_before_the_body_comes(limited: Start, path: str) -> None:
    """At every endpoint; nobody is asked to go on."""
    running = await limited(mapping(NOWHERE), server={"max_body": 2048})
    kind = "multipart/form-data; boundary=x" if "audio" in path else "application/json"
    headers = {"Content-Length": "2049", "Content-Type": kind, "Expect": "100-continue"}
    async with await Client.connect(running.url) as client:
        await client.send(request(b"", path, headers=headers))
        wire = await client.answer()
    assert wire.status == 413
    assert wire.headers["connection"] == "close"
    if path != "/v1/messages":
        refused(wire, 413, "request_too_large")


@pytest.mark.row(84)
@pytest.mark.parametrize("form", ["chunks", "gzip"])
async def test_a_body_that_grows_over_the_limit_is_held_no_longer(limited: Start, form: str) -> None:
    """Of 100 MiB hardly more is held than the limit allows."""
    running = await limited(mapping(NOWHERE), server={"max_body": 1 << 20})
    packed = bomb(b"", b"\0", 100)
    pieces = [packed] if form == "gzip" else [chunk(b" " * (64 << 10))] * 1600
    head = {"Content-Encoding": "gzip", "Content-Length": str(len(packed))}
    if form == "chunks":
        head = {"Content-Length": "", "Transfer-Encoding": "chunked"}
    tracemalloc.start()
    async with await Client.connect(running.url) as client:
        await client.send(request(b"", headers=head))

        async def pour() -> None:
            for piece in pieces:
                await client.send(piece)

        pouring = asyncio.create_task(pour())
        wire = await client.answer()
        pouring.cancel()
        await asyncio.gather(pouring, return_exceptions=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    refused(wire, 413, "request_too_large")
    assert peak < 16 << 20


@pytest.mark.row(86)
@pytest.mark.parametrize(("depth", "status"), [(9, 200), (10, 400)])
async def test_depth_is_bounded_by_the_configuration(limited: Start, depth: int, status: int) -> None:
    """The last level that fits, and the first that does not."""
    async with Backend([REQUEST, WHOLE]) as backend:
        running = await limited(mapping(backend.url), depth=10)
        body = b'{"x": ' + b"[" * depth + b"]" * depth + b"," + json.dumps(BODY).encode()[1:]
        wire = await fetch(running.url, request(body))
        assert (wire.status, len(backend.requests)) == (status, int(status == 200))
        if status == 400:
            refused(wire, 400, "invalid_json")
            assert "10 levels" in wire.error["message"]


@pytest.mark.row(86)
@pytest.mark.parametrize(("count", "status"), [(100, 200), (101, 400)])
async def test_values_are_bounded_by_the_configuration(limited: Start, count: int, status: int) -> None:
    """The last value that fits, and the first that does not: five are there beside them."""
    async with Backend([REQUEST, WHOLE]) as backend:
        running = await limited(mapping(backend.url), values=106)
        wire = await fetch(running.url, request({**BODY, "x": [1] * count}))
        assert (wire.status, len(backend.requests)) == (status, int(status == 200))
        if status == 400:
            refused(wire, 400, "invalid_json")


@pytest.mark.row(88)
async def test_of_two_values_of_a_name_the_last_counts(limited: Start) -> None:
    """As most readers of JSON have it (RFC 8259, 4)."""
    async with Backend([REQUEST, WHOLE]) as backend:
        running = await limited(mapping(backend.url))
        body = json.dumps({"m": "x", "messages": [], **BODY}).encode().replace(b'"m"', b'"model"', 1)
        assert body.count(b'"model"') == 2
        wire = await fetch(running.url, request(b'{"messages": 5, ' + body[1:]))
        assert (wire.status, backend.requests[0].json) == (200, {"prompt": "hi"})


@pytest.mark.row(89)
@pytest.mark.parametrize(
    ("said", "status", "sent"),
    [
        ("", 200, {"prompt": "hi"}),
        ("on_unsupported: {top_k: reject}", 400, None),
    ],
)
async def test_what_the_mapping_says_of_fields_that_it_does_not_read(
    limited: Start, said: str, status: int, sent: Any
) -> None:
    """One that nobody knows is left out; one that matters is refused where the mapping says so."""
    async with Backend([REQUEST, WHOLE]) as backend:
        running = await limited(mapping(backend.url, more=said))
        field = "top_k" if said else "nobody_knows"
        wire = await fetch(running.url, hello(**{field: 5}))
        assert [each.json for each in backend.requests] == ([sent] if sent else [])
        assert wire.status == status
        if status == 400:
            refused(wire, 400, "unsupported_parameter", "top_k")


@pytest.mark.row(89)
async def test_a_field_that_nobody_knows_is_passed_on_where_the_mapping_says_so(limited: Start) -> None:
    """Whatever it holds, it stays what it is."""
    value = {"a": ["{{ 7*7 }}", "\u2028", None, 1e300, 2**63]}
    async with Backend([REQUEST, WHOLE]) as backend:
        made = chat_mapping(
            request="{body: {x: '{{ extra.x }}', p: '{{ prompt }}'}}",
            response="{text: text}",
            backend=f"{{url: '{backend.url}'}}",
        )
        running = await limited(made)
        wire = await fetch(running.url, hello(x=value))
        assert (wire.status, backend.requests[0].json) == (200, {"x": value, "p": "hi"})


HUGE: dict[str, tuple[Any, str | None, str]] = {
    "n": ({**BODY, "n": 10**9}, "n", "integer_above_max_value"),
    "max_tokens": ({**BODY, "max_tokens": 10**18}, "max_tokens", "integer_above_max_value"),
    "top_logprobs": ({**BODY, "logprobs": True, "top_logprobs": 10**9}, "top_logprobs", "integer_above_max_value"),
    "a number of many digits": (b'{"model": "m", "n": ' + b"9" * 4000 + b"}", "n", "integer_above_max_value"),
    "stop": ({**BODY, "stop": ["x"] * 100_000}, "stop", "array_above_max_length"),
    "messages": ({"model": "m", "messages": MESSAGES * 1_000_000}, None, "invalid_json"),
}


@pytest.mark.row(90)
@pytest.mark.parametrize("what", HUGE)
async def test_huge_numbers_and_lists_are_refused(limited: Start, what: str) -> None:
    """Before anything is made of them: no backend is asked."""
    body, param, code = HUGE[what]
    async with Backend([REQUEST, WHOLE]) as backend:
        running = await limited(mapping(backend.url), server={"max_body": 64 << 20})
        refused(await fetch(running.url, request(body)), 400, code, param)
        assert not backend.connections


@pytest.mark.row(91)
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_the_content_type_matters_to_pages_alone(limited: Start, kind: str) -> None:
    """A page may send such a request without asking; curl calls JSON a form."""
    async with Backend([REQUEST, WHOLE]) as backend:
        running = await limited(mapping(backend.url), server={"cors": {"origins": ["https://page.test"]}})
        wire = await fetch(running.url, hello(headers={"Content-Type": kind, "Origin": "https://evil.test"}))
        assert (wire.status, wire.error["code"], len(backend.connections)) == (403, "origin_not_allowed", 0)
        assert (await fetch(running.url, hello(headers={"Content-Type": kind}))).status == 200


SPREAD = {f"X-{number}": "v" * 1000 for number in range(36)}


@pytest.mark.parametrize(
    ("headers", "limit", "status"),
    [
        (SPREAD, 64 << 10, 200),
        (SPREAD, 32 << 10, 431),
        ({"X-A": "v" * 9000}, 32 << 10, 431),
        ({"X-A": "v" * 3000}, 2048, 431),
        ({f"X-{number}": "v" for number in range(200)}, 32 << 10, 400),
    ],
    ids=["within", "all together", "one", "one, with a low limit", "many"],
)
async def test_headers_are_bounded(limited: Start, headers: dict[str, str], limit: int, status: int) -> None:
    """All of them together, and each; what they hold is not told."""
    async with Backend([REQUEST, WHOLE]) as backend:
        running = await limited(mapping(backend.url), headers=limit)
        wire = await fetch(running.url, hello(headers=headers))
        assert (wire.status, len(backend.connections)) == (status, int(status == 200))
        if status != 200:
            refused(wire, status, "request_too_large" if status == 431 else "invalid_request")
            assert b"vvv" not in wire.raw


async def test_templates_are_bounded_by_the_configuration(limited: Start) -> None:
    """One turn of a loop for each message."""
    text = """
oaiproxy: 1
models: [m]
backend: {url: '%s'}
chat:
  request: {body: {x: "{%% for message in messages %%}{{ message.text }}{%% endfor %%}"}}
  response: {text: text}
"""
    async with Backend([REQUEST, WHOLE]) as backend:
        running = await limited(load(text % backend.url), steps=1000)
        assert (await fetch(running.url, request({"model": "m", "messages": MESSAGES * 100}))).status == 200
        wire = await fetch(running.url, request({"model": "m", "messages": MESSAGES * 2000}))
        assert (wire.status, wire.error["code"], wire.headers["x-should-retry"]) == (500, "mapping_error", "false")
        assert len(backend.requests) == 1


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
async def test_a_bomb_of_a_backend_is_not_swallowed(limited: Start, streams: bool) -> None:
    """300 MB out of 300 KB: a 502 after its first part, and the connection to the backend is closed."""
    packed = bomb(b"", b": \n" if streams else b"\0", 300)
    kind = "text/event-stream" if streams else "application/json"
    head = {"Content-Encoding": "gzip", "Content-Type": kind}
    async with Backend([REQUEST, answer(packed, headers=head)]) as backend:
        running = await limited(mapping(backend.url))
        tracemalloc.start()
        wire = await fetch(running.url, hello(stream=streams))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert (wire.status, wire.error["type"]) == (502, "server_error")
        assert wire.error["code"] == "upstream_response_too_large"
        assert wire.headers["x-should-retry"] == "false"
        assert peak < 8 << 20
        await backend.gone()


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
async def test_answers_and_events_are_bounded_by_the_configuration(limited: Start, streams: bool) -> None:
    """What came before is told; the rest is not waited for."""
    text = "x" * 3000
    script = [stream_head(), chunk(event("a")), chunk(event(text))] if streams else [answer({"text": text})]
    async with Backend([REQUEST, *script]) as backend:
        running = await limited(mapping(backend.url), event=2048, answer=2048)
        wire = await fetch(running.url, hello(stream=streams))
        code = "upstream_event_too_large" if streams else "upstream_response_too_large"
        assert (wire.status, wire.error["code"]) == (200 if streams else 502, code)
        if streams:
            assert (wire.text, wire.complete) == ("a", False)
            await backend.gone()
