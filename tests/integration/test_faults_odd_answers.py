"""The fault matrix, rows 33 to 51: answers that are odd and yet are answers, and those that are too much."""

from __future__ import annotations

import json
from typing import Any

import pytest
from faults import BOTH_LOOPS, BOTH_WAYS, Fault, bomb, nothing_left, raw, shown
from scripted import FIN, GONE, REQUEST, Backend, Wire, answer, chunk, event, fetch, hello, mapping, stream, stream_head

TOOLS = "{text: text, tool_calls: 'calls[].{name: n, arguments: a}'}"
CLOSED = b"HTTP/1.0 200 OK\r\nContent-Type: %s\r\n\r\n"


async def asked(proxy: Any, said: Any, *, streams: bool, **described: Any) -> Wire:
    """The answer that comes of what a backend said, of which nothing is left."""
    async with Backend([REQUEST, *(said if isinstance(said, list) else [said])]) as backend:
        running = await proxy(mapping(backend.url, **described))
        wire = await fetch(running.url, hello(stream=streams))
        assert len(backend.requests) == 1
        await nothing_left(running)
        return wire


def fine(wire: Wire, text: str, *, streams: bool) -> None:
    """A whole answer, or a whole stream: never a document where a stream was asked for."""
    assert (wire.status, wire.complete) == (200, True)
    assert wire.headers["content-type"].startswith("text/event-stream" if streams else "application/json")
    assert wire.text == text
    if streams:
        assert wire.events[-1] == "[DONE]"
        assert wire.body.count(b"[DONE]") == 1
        reasons = [choice["finish_reason"] for each in wire.events[:-1] for choice in each["choices"]]
        assert reasons == [None] * (len(reasons) - 1) + ["stop"]


@pytest.mark.row(33)
@BOTH_WAYS
@pytest.mark.parametrize(
    "types",
    [
        *([], ["text/plain"], ["text/html"], ["application/xml"], ["text/event-stream; canary"], ["canary"]),
        ["text/html", "application/json"],
    ],
    ids=str,
)
async def test_any_content_type_will_do(proxy: Any, streams: bool, types: list[str]) -> None:
    """None, a wrong one, two: what the bytes are counts."""
    head = "".join(f"Content-Type: {each}\r\n" for each in types).encode()
    body = b'{"text": "fine"}'
    said = b"HTTP/1.1 200 OK\r\n" + head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    described = {"stream": ""} if streams else {}
    if types == ["text/event-stream; canary"]:
        described = {"stream": ""}
    fine(await asked(proxy, said, streams=streams, **described), "fine", streams=streams)


@pytest.mark.row(38)
@BOTH_LOOPS
@BOTH_WAYS
async def test_a_text_that_ends_with_its_connection(proxy: Any, streams: bool) -> None:
    """Is complete if the mapping knows an end and that came; else it is cut, although HTTP does not say so."""
    ends = [CLOSED % b"text/event-stream" + event("fine") + event(done=True), FIN]
    fine(await asked(proxy, ends, streams=streams), "fine", streams=streams)
    cut = [CLOSED % b"text/event-stream" + b"data: {}\n\n", FIN]
    wire = await asked(proxy, cut, streams=streams)
    Fault([], 502, "upstream_incomplete").told(wire)


@pytest.mark.row(40)
@BOTH_LOOPS
@BOTH_WAYS
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_bomb(proxy: Any, streams: bool, encoding: str) -> None:
    """Is not inflated to its end."""
    steps = raw(bomb(b'{"text": "', b"z", 64, encoding), **{"Content-Encoding": encoding})
    wire = await shown(
        proxy, Fault(steps, 502, "upstream_response_too_large", retry="false", kept=True), streams=streams, stream=""
    )
    assert b"zzz" not in wire.raw


@pytest.mark.row(40)
@BOTH_LOOPS
@BOTH_WAYS
async def test_a_body_without_end(proxy: Any, streams: bool) -> None:
    """Is not read to its end: the connection is closed while the backend sends."""
    endless = (chunk(b" " * 65536) for _ in range(1 << 14))
    async with Backend([REQUEST, stream_head("application/json"), b'12\r\n{"text": "canary  \r\n', endless]) as backend:
        running = await proxy(mapping(backend.url, stream=""))
        wire = await fetch(running.url, hello(stream=streams))
        Fault([], 502, "upstream_response_too_large", retry="false").told(wire)
        assert b"canary" not in wire.raw
        await nothing_left(running, backend)
        assert backend.connections[0].sent < 64 << 20


@pytest.mark.row(42)
@BOTH_LOOPS
@BOTH_WAYS
async def test_text_that_is_no_utf_8(proxy: Any, streams: bool) -> None:
    """Where it is text and no JSON, what cannot be read is replaced, and the rest stays."""
    said = raw(b"caf\xe9 \xff ol\xc3\xa9", "text/plain")
    described = {"response": "{data: text, text: '@'}", "stream": ""}
    fine(await asked(proxy, said, streams=streams, **described), "caf\ufffd \ufffd olé", streams=streams)


@pytest.mark.row(43)
@BOTH_LOOPS
@BOTH_WAYS
@pytest.mark.parametrize(
    ("sent", "told"), [("a\\ud800b", "a\ufffdb"), ("\\ude00\\ud83d", "\ufffd\ufffd"), ("\\u0000", "\0")]
)
async def test_half_a_character(proxy: Any, streams: bool, sent: str, told: str) -> None:
    """Is replaced: no client could read it."""
    body = f'{{"text": "{sent}"}}'.encode()
    fine(await asked(proxy, raw(body), streams=streams), told, streams=streams)
    cut = b'data: {"t": "' + sent.encode() + b'"}\n\n' + event(done=True)
    fine(await asked(proxy, stream_head() + chunk(cut) + chunk(b""), streams=streams), told, streams=streams)


@pytest.mark.row(43)
@BOTH_LOOPS
@BOTH_WAYS
async def test_numbers_that_are_none_or_large(proxy: Any, streams: bool) -> None:
    """What no JSON can hold is null; integers of any size stay what they are."""
    large = [2**53 + 1, 2**64, 2**64 + 1, -(2**70) - 1, 10**40 + 7]
    given = f'{{"no": NaN, "more": 1e400, "less": -Infinity, "large": {large}, "half": 0.1}}'
    body = f'{{"calls": [{{"n": "look", "a": {given}}}], "text": ""}}'.encode()
    wire = await asked(proxy, raw(body), streams=streams, response=TOOLS, stream="")
    assert (wire.status, wire.complete) == (200, True)
    if streams:
        deltas = [choice["delta"] for each in wire.events[:-1] for choice in each["choices"]]
        calls = [call for delta in deltas for call in delta.get("tool_calls", [])]
        told = "".join(call["function"].get("arguments", "") for call in calls)
    else:
        told = wire.json["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]
    assert "NaN" not in told
    assert json.loads(told) == {"no": None, "more": None, "less": None, "large": large, "half": 0.1}


@pytest.mark.row(43)
@BOTH_WAYS
async def test_counts_that_are_none(proxy: Any, streams: bool) -> None:
    """Are not told as counts: they are counted here."""
    said = raw(b'{"text": "hello", "p": NaN, "c": 1e400}')
    async with Backend([REQUEST, *said]) as backend:
        running = await proxy(mapping(backend.url))
        more = {"stream_options": {"include_usage": True}} if streams else {}
        wire = await fetch(running.url, hello(stream=streams, **more))
        usage = wire.events[-2]["usage"] if streams else wire.json["usage"]
        assert (usage["prompt_tokens"], usage["completion_tokens"]) == (1, 1)


@pytest.mark.row(44)
@BOTH_WAYS
async def test_a_function_that_gets_what_it_cannot_take(proxy: Any, capfd: Any, streams: bool) -> None:
    """The log names the expression and the shape of what came, and nothing of its content."""
    fault = Fault(raw(b'{"parts": {"a": "canary"}}'), 502, "upstream_mapping_mismatch", retry="false", kept=True)
    async with Backend([REQUEST, *fault.steps]) as backend:
        running = await proxy(mapping(backend.url, response="{text: \"join('', parts)\"}", stream=""))
        fault.told(await fetch(running.url, hello(stream=streams)))
        running.state.log.close()
        told = "".join(capfd.readouterr())
        assert "join('', parts)" in told
        assert "canary" not in told


@pytest.mark.row(44)
@BOTH_WAYS
async def test_the_log_says_where_the_text_was_sought(proxy: Any, capfd: Any, streams: bool) -> None:
    """By the selector, and the keys that came."""
    async with Backend([REQUEST, *raw(b'{"other": "canary"}')]) as backend:
        running = await proxy(mapping(backend.url))
        wire = await fetch(running.url, hello(stream=streams))
        assert wire.error["code"] == "upstream_mapping_mismatch"
        running.state.log.close()
        told = "".join(capfd.readouterr())
        assert "other" in told
        assert "text" in told
        assert "canary" not in told


@pytest.mark.row(47)
@BOTH_LOOPS
@BOTH_WAYS
async def test_odd_headers(proxy: Any, streams: bool) -> None:
    """Twice, long, with control characters and bytes that are no text: none is told, and none is kept."""
    odd = b"".join(
        [
            b"Set-Cookie: a=canary; Path=/\r\nSet-Cookie: b=canary\r\n",
            b"X-Long: " + b"canary" * 1000 + b"\r\n",
            b"X-Control: can\x01\x1f\x7fary\r\nX-Next: a\x85b canary\r\nX-Bytes: \xff\xfe canary\r\n",
            b"Access-Control-Allow-Origin: canary\r\nX-Request-Id: canary\r\nServer: canary\r\nServer: canary\r\n",
            b"X-Should-Retry: true\r\nRetry-After: 9\r\nConnection: close\r\n",
        ]
    )
    said = (
        (stream("fine") if streams else answer({"text": "fine"}))
        .replace(b"OK\r\n", b"OK\r\n" + odd)
        .replace(b"Said\r\n", b"Said\r\n" + odd)
    )
    async with Backend([REQUEST, said, FIN, GONE], [REQUEST, said, FIN, GONE]) as backend:
        running = await proxy(mapping(backend.url))
        for _ in range(2):
            wire = await fetch(running.url, hello(stream=streams))
            fine(wire, "fine", streams=streams)
            assert b"canary" not in wire.raw
            assert wire.headers.keys().isdisjoint({"set-cookie", "connection", "retry-after", "x-should-retry"})
        assert all(request.header("cookie") is None for request in backend.requests)
        assert len(backend.connections) == 2
        await nothing_left(running, backend)


WHOLE = b'{"text": "fine"}'


@pytest.mark.row(50)
@BOTH_LOOPS
@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "application/x+json"])
async def test_a_document_for_a_stream(proxy: Any, content_type: str) -> None:
    """Is told as a stream."""
    wire = await asked(proxy, raw(WHOLE, content_type), streams=True)
    fine(wire, "fine", streams=True)
    assert wire.events[0]["choices"][0]["delta"]["role"] == "assistant"


@pytest.mark.row(50)
@BOTH_LOOPS
@pytest.mark.parametrize("content_type", ["text/event-stream", "text/plain", ""])
async def test_a_document_that_says_it_is_events(proxy: Any, content_type: str) -> None:
    """Is an error, or is told as a stream; never as what it is."""
    wire = await asked(proxy, raw(WHOLE, content_type), streams=True)
    assert wire.status == 502
    assert wire.error["code"] in ("upstream_invalid_response", "upstream_empty_response", "upstream_incomplete")
    assert b"fine" not in wire.raw


@pytest.mark.row(51)
@BOTH_LOOPS
@pytest.mark.parametrize("form", ["sse", "ndjson"])
async def test_events_for_an_answer(proxy: Any, form: str) -> None:
    """Are put together."""
    lines = b'{"t": "fi"}\n{"t": "ne"}\n{"d": true}\n'
    said = stream("fi", "ne") if form == "sse" else answer(lines, headers={"Content-Type": "application/x-ndjson"})
    described = {"stream": f"{{request: {{path: /stream}}, format: {form}, text: t, done: d}}"}
    fine(await asked(proxy, said, streams=False, **described), "fine", streams=False)


@pytest.mark.row(51)
@BOTH_LOOPS
async def test_events_for_an_answer_that_are_cut(proxy: Any) -> None:
    """Are no answer."""
    cut = stream_head() + chunk(event("canary")) + chunk(b"")
    wire = await asked(proxy, cut, streams=False)
    Fault([], 502, "upstream_incomplete").told(wire)
    assert b"canary" not in wire.raw
