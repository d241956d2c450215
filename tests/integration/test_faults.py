"""The fault matrix: whatever a backend does, what the client then sees. The numbers are the matrix's rows."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import support
from scripted import (
    FIN,
    GONE,
    REQUEST,
    RST,
    Backend,
    Client,
    Step,
    Wire,
    answer,
    chunk,
    event,
    fetch,
    hello,
    mapping,
    stream,
    stream_head,
)

BOTH_LOOPS = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


@dataclass(frozen=True)
class Fault:
    """What a backend does before it said anything, and the error that comes of it."""

    steps: Sequence[Step]
    status: int
    code: str | None
    type: str = "server_error"
    retry: str | None = None
    """The header `x-should-retry`: "false" for a failure that is the same next time, or was billed."""
    after: str | None = None
    message: str = ""


def said(status: int, message: str = "backend words", **headers: str) -> list[Step]:
    """An error answer."""
    return [answer({"error": {"message": message}}, status, headers)]


def raw(body: bytes, content_type: str = "application/json", **headers: str) -> list[Step]:
    """An answer of any bytes."""
    return [answer(body, 200, {"Content-Type": content_type, **headers})]


def huge() -> Iterator[bytes]:
    """More than any reply may hold."""
    yield LENGTH % (33 << 20)
    for _ in range(33):
        yield b'"' + b"x" * (1 << 20)


BEFORE: dict[str, Fault] = {
    "9 reset before headers": Fault([RST], 502, "upstream_reset"),
    "10 end before headers": Fault([FIN], 502, "upstream_closed"),
    "11 end within headers": Fault([b"HTTP/1.1 200 OK\r\nX-A: b", FIN], 502, "upstream_protocol_error"),
    "12 not HTTP": Fault([b"220 mail ESMTP\r\n\r\n"], 502, "upstream_protocol_error", retry="false"),
    "13 two lengths": Fault(
        [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na"],
        502,
        "upstream_protocol_error",
        retry="false",
    ),
    "15 stall before headers": Fault([GONE], 504, "upstream_timeout", retry="false"),
    "20 redirect": Fault(
        [answer(b"", 307, {"Location": "http://elsewhere.invalid/"})], 502, "upstream_redirect", retry="false"
    ),
    "21 our key is refused": Fault(said(401), 502, "upstream_auth_error", retry="false"),
    "21 our key may not": Fault(said(403), 502, "upstream_auth_error", retry="false"),
    "23 bad request": Fault(said(400), 400, "invalid_value", "invalid_request_error", message="backend words"),
    "23 unprocessable": Fault(said(422), 400, "invalid_value", "invalid_request_error", message="backend words"),
    "24 too long": Fault(
        said(400, "the context length is 8 tokens"), 400, "context_length_exceeded", "invalid_request_error"
    ),
    "25 not found": Fault(said(404), 502, "upstream_not_found", retry="false"),
    "26 rate limit": Fault(
        said(429, **{"Retry-After": "7"}), 429, "rate_limit_exceeded", "rate_limit_error", after="7"
    ),
    "27 rate limit for long": Fault(
        said(429, **{"Retry-After": "300"}),
        429,
        "rate_limit_exceeded",
        "rate_limit_error",
        retry="false",
        after="60",
    ),
    "28 quota": Fault(said(429, "no quota"), 429, "insufficient_quota", "insufficient_quota", retry="false"),
    "29 error": Fault(said(500), 502, "upstream_error"),
    "29 bad gateway": Fault(said(502), 502, "upstream_error"),
    "29 unavailable": Fault(
        said(503, **{"Retry-After": "3"}), 503, "server_is_overloaded", "service_unavailable_error", after="3"
    ),
    "29 gateway timeout": Fault(said(504), 504, "upstream_timeout", retry="false"),
    "29 odd": Fault(said(529), 503, "server_is_overloaded", "service_unavailable_error"),
    "34 empty": Fault(raw(b""), 502, "upstream_empty_response"),
    "35 invalid JSON": Fault(raw(b"{oops}"), 502, "upstream_invalid_json", retry="false"),
    "37 short body": Fault([LENGTH % 100 + b'{"text": "hi', FIN], 502, "upstream_truncated"),
    "37 reset in the body": Fault([LENGTH % 100 + b'{"text": "hi', RST], 502, "upstream_reset"),
    "37 no terminal chunk": Fault(
        [stream_head("application/json"), chunk(b'{"text": "hi"'), FIN], 502, "upstream_truncated"
    ),
    "39 gzip cut short": Fault(
        raw(gzip.compress(b'{"text": "hi"}')[:-9], **{"Content-Encoding": "gzip"}), 502, "upstream_truncated"
    ),
    "41 unknown encoding": Fault(
        raw(b"x", **{"Content-Encoding": "banana"}), 502, "upstream_unsupported_encoding", retry="false"
    ),
    "44 no text": Fault(raw(b'{"other": 1}'), 502, "upstream_mapping_mismatch", retry="false"),
    "45 error in a 200": Fault(raw(b'{"error": {"message": "backend words"}}'), 502, "upstream_error"),
}


@pytest.mark.row(9, 10, 11, 12, 13, 15, 20, 21, 23, 24, 25, 26, 27, 28, 29, 34, 35, 37, 39, 41, 44, 45)
@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("row", BEFORE)
async def test_a_backend_that_fails_before_it_says_anything(proxy: Any, row: str, streams: bool) -> None:
    """Is a proper HTTP error, also for a client that streams; the backend is asked once, and its connection is gone."""
    fault = BEFORE[row]
    async with Backend([REQUEST, *fault.steps, *([] if fault.steps[-1] in (RST, GONE) else [GONE])]) as backend:
        patience = "200ms" if fault.steps == [GONE] else "20s"
        running = await proxy(mapping(backend.url, timeouts=f"{{first_byte: {patience}}}"))
        wire = await fetch(running.url, hello(stream=streams))
        assert (wire.status, wire.error["code"], wire.error["type"]) == (fault.status, fault.code, fault.type)
        assert wire.headers.get("x-should-retry") == fault.retry
        assert wire.headers.get("retry-after") == fault.after
        assert fault.message in wire.error["message"]
        assert "location" not in wire.headers
        assert len(backend.requests) == 1


@pytest.mark.row(1)
@BOTH_LOOPS
async def test_row_1_nobody_listens(proxy: Any) -> None:
    """Connection refused: 502, and worth another try."""
    async with Backend([]) as backend:
        address = backend.url
    wire = await fetch((await proxy(mapping(address))).url, hello())
    assert (wire.status, wire.error["code"], wire.headers.get("x-should-retry")) == (
        502,
        "upstream_connect_error",
        None,
    )


@pytest.mark.row(8)
@BOTH_LOOPS
async def test_row_8_a_kept_connection_that_died(proxy: Any) -> None:
    """Is replaced, and the client sees nothing of it."""
    fine = answer({"text": "fine"})
    async with Backend([REQUEST, fine, REQUEST, FIN], [REQUEST, fine]) as backend:
        running = await proxy(mapping(backend.url))
        texts = [(await fetch(running.url, hello())).text for _ in range(2)]
        assert (texts, len(backend.connections)) == (["fine", "fine"], 2)


@pytest.mark.row(18)
async def test_row_18_interim_answers_are_skipped(proxy: Any) -> None:
    """100 and 103 before the 200."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    async with Backend([REQUEST, interim + answer({"text": "fine"})]) as backend:
        assert (await fetch((await proxy(mapping(backend.url))).url, hello())).text == "fine"


@pytest.mark.row(32)
@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
async def test_row_32_a_web_page_with_status_200(proxy: Any, streams: bool) -> None:
    """Is a failure, and nothing of it reaches the client."""
    async with Backend([REQUEST, *raw(b"<html><b>canary</b></html>", "text/html"), GONE]) as backend:
        wire = await fetch((await proxy(mapping(backend.url))).url, hello(stream=streams))
        assert (wire.status, wire.error["code"]) == (502, "upstream_invalid_response")
        assert b"canary" not in wire.body


@pytest.mark.row(33)
@pytest.mark.parametrize("content_type", ["text/plain", "", "application/xml", "application/json; charset=utf-8"])
async def test_row_33_any_content_type_will_do_for_json(proxy: Any, content_type: str) -> None:
    """Backends are careless with it."""
    async with Backend([REQUEST, *raw(b'{"text": "fine"}', content_type)]) as backend:
        assert (await fetch((await proxy(mapping(backend.url))).url, hello())).text == "fine"


@pytest.mark.row(40)
async def test_row_40_a_body_without_end(proxy: Any) -> None:
    """Is not read to its end: 502, and the connection is closed."""
    async with Backend([REQUEST, huge(), GONE]) as backend:
        wire = await fetch((await proxy(mapping(backend.url))).url, hello())
        assert wire.status == 502
        assert wire.error["code"] in ("upstream_response_too_large", "upstream_event_too_large")
        assert wire.headers["x-should-retry"] == "false"
        await backend.gone()


@pytest.mark.row(40)
async def test_row_40_a_gzip_bomb(proxy: Any) -> None:
    """Is not inflated to its end."""
    bomb = gzip.compress(b"0" * (200 << 20), 1)
    async with Backend([REQUEST, *raw(bomb, **{"Content-Encoding": "gzip"})]) as backend:
        wire = await fetch((await proxy(mapping(backend.url))).url, hello())
        assert (wire.status, wire.error["code"]) == (502, "upstream_response_too_large")


@pytest.mark.row(47)
async def test_row_47_headers_of_the_backend_stay_there(proxy: Any) -> None:
    """Not even harmless ones are passed on."""
    headers = {"Set-Cookie": "a=canary", "X-Powered-By": "canary", "Connection": "close", "Server": "canary"}
    async with Backend([REQUEST, answer({"text": "fine"}, headers=headers), FIN]) as backend:
        wire = await fetch((await proxy(mapping(backend.url))).url, hello())
        assert (wire.text, "canary" in str(wire.headers), "connection" in wire.headers) == ("fine", False, False)


@pytest.mark.row(48)
async def test_row_48_a_body_that_drips(proxy: Any) -> None:
    """Is cut at the total time, however steadily it comes."""
    async with Backend([REQUEST, LENGTH % (1 << 30), _drip(b" "), GONE]) as backend:
        running = await proxy(mapping(backend.url, timeouts="{total: 300ms}"))
        wire = await fetch(running.url, hello())
        assert (wire.status, wire.error["code"], wire.headers["x-should-retry"]) == (504, "upstream_timeout", "false")


def _drip(data: bytes) -> Iterable[bytes]:
    while True:
        yield data


@pytest.mark.row(50)
async def test_row_50_a_whole_answer_to_a_request_for_a_stream(proxy: Any) -> None:
    """Is told as a stream."""
    async with Backend([REQUEST, answer({"text": "fine", "p": 1, "c": 2})]) as backend:
        wire = await fetch((await proxy(mapping(backend.url))).url, hello(stream=True))
        assert (wire.text, wire.events[-1], wire.complete) == ("fine", "[DONE]", True)


@pytest.mark.row(51)
async def test_row_51_a_stream_for_an_answer(proxy: Any) -> None:
    """Is told as one answer."""
    async with Backend([REQUEST, stream("fi", "ne")]) as backend:
        wire = await fetch((await proxy(mapping(backend.url))).url, hello())
        assert (wire.text, wire.json["object"]) == ("fine", "chat.completion")


SAID = chunk(event("The "))
LATER: dict[str, tuple[Sequence[Step], str | None]] = {
    "52 reset": ([RST], "upstream_reset"),
    "53 no terminal chunk": ([FIN], "upstream_truncated"),
    "54 clean end too soon": ([chunk(b"")], "upstream_incomplete"),
    "55 end within an event": ([chunk(b'data: {"t": "ca'), chunk(b"")], None),
    "56 stall": ([GONE], "upstream_timeout"),
    "61 event too large": ([chunk(b"data: " + b"x" * (2 << 20))], "upstream_event_too_large"),
    "62 not JSON": ([chunk(b"data: {oops\n\n")], "upstream_invalid_json"),
    "64 an error": ([chunk(b'data: {"error": {"message": "backend words", "code": "theirs"}}\n\n')], "theirs"),
    "65 a rate limit": (
        [chunk(b'data: {"error": {"message": "slow down", "status": 429}}\n\n')],
        "rate_limit_exceeded",
    ),
    "70 text that is none": ([chunk(b'data: {"t": {"a": 1}}\n\n')], "upstream_mapping_mismatch"),
}


@BOTH_LOOPS
@pytest.mark.parametrize("row", LATER)
async def test_a_backend_that_fails_later(proxy: Any, row: str) -> None:
    """What came is passed on, then an error event ends the stream: no end mark, no terminal chunk, nothing invented."""
    steps, code = LATER[row]
    heard = asyncio.Event()
    last = [] if steps[-1] in (RST, GONE) else [GONE]
    async with Backend([REQUEST, stream_head(), SAID, heard, *steps, *last]) as backend:
        patience = "200ms" if code == "upstream_timeout" else "20s"
        running = await proxy(mapping(backend.url, timeouts=f"{{idle: {patience}}}"))
        wire = await _fetch_and_then(running.url, heard)
        assert wire.status == 200
        assert wire.error["code"] == code or code is None
        assert "connection" not in wire.headers
        assert wire.text == "The "
        reasons = [choice["finish_reason"] for each in wire.events[:-1] for choice in each["choices"]]
        assert reasons == [None, None]
        await _all_gone(running)


async def _fetch_and_then(url: str, heard: asyncio.Event) -> Wire:
    """The response to a client that streams; what comes of the backend's first event is there before the next."""
    async with await Client.connect(url) as client:
        await client.send(hello(stream=True))
        await client.until(b'"The "')
        heard.set()
        return await client.answer()


async def _all_gone(running: Any) -> None:
    """Nothing of a request is left."""
    async with asyncio.timeout(10):
        await running.state.idle.wait()
    assert not running.state.clocks


async def test_row_57_bytes_without_events_are_no_progress(proxy: Any) -> None:
    """Comments keep a connection alive, not an answer."""
    comments = _drip(chunk(b": ping\n\n"))
    async with Backend([REQUEST, stream_head(), SAID, comments, GONE]) as backend:
        running = await proxy(mapping(backend.url, timeouts="{idle: 200ms}"))
        wire = await fetch(running.url, hello(stream=True))
        assert (wire.error["code"], wire.text) == ("upstream_timeout", "The ")


TEXT = 'a "quoted" 日本 \U0001f600 \u2028 line\r\nend'


def _pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@BOTH_LOOPS
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1 << 20])
async def test_row_58_a_stream_cut_anywhere(proxy: Any, size: int) -> None:
    """The same events come out."""
    body = event(TEXT) + event("b") + event(done=True)
    script = [REQUEST, stream_head(), (chunk(piece) for piece in _pieces(body, size)), chunk(b"")]
    async with Backend(script) as backend:
        wire = await fetch((await proxy(mapping(backend.url))).url, hello(stream=True))
        assert (wire.text, wire.events[-1]) == (TEXT + "b", "[DONE]")
        assert len(wire.events) == 5


ODD = {
    "CR": lambda body: body.replace(b"\n", b"\r"),
    "CRLF": lambda body: body.replace(b"\n", b"\r\n"),
    "byte order mark": lambda body: b"\xef\xbb\xbf" + body,
    "comments": lambda body: b": hello\n\n" + body,
    "id and retry": lambda body: b"id: 7\nretry: 10\n" + body,
    "data in two lines": lambda body: body.replace(b'"t": ', b'"t":\ndata: '),
    "no space": lambda body: body.replace(b"data: ", b"data:"),
}


@pytest.mark.parametrize("form", ODD)
async def test_row_59_odd_event_streams(proxy: Any, form: str) -> None:
    """What comes out is plain: one line of data per event, and no other field."""
    body = ODD[form](event("fine") + event(done=True))
    async with Backend([REQUEST, stream_head(), chunk(body), chunk(b"")]) as backend:
        wire = await fetch((await proxy(mapping(backend.url))).url, hello(stream=True))
        assert (wire.text, wire.events[-1]) == ("fine", "[DONE]")
        assert all(line.startswith(b"data: ") for line in wire.body.split(b"\n") if line)


async def test_row_66_what_follows_the_end_is_not_read(proxy: Any) -> None:
    """Neither text nor failure."""
    body = chunk(event("fine")) + chunk(event(done=True) + event("more")) + chunk(b"data: {oops\n\n")
    async with Backend([REQUEST, stream_head() + body, GONE]) as backend:
        wire = await fetch((await proxy(mapping(backend.url))).url, hello(stream=True))
        assert (wire.text, wire.events[-1], wire.complete) == ("fine", "[DONE]", True)


@BOTH_LOOPS
async def test_row_67_the_end_without_the_end_of_the_body(proxy: Any) -> None:
    """The client need not wait for the backend to hang up, which the proxy then does."""
    async with Backend([REQUEST, stream_head(), chunk(event("fine") + event(done=True)), GONE]) as backend:
        wire = await fetch((await proxy(mapping(backend.url, timeouts="{idle: 1h}"))).url, hello(stream=True))
        assert (wire.text, wire.events[-1], wire.complete) == ("fine", "[DONE]", True)
        await backend.gone()


async def test_row_72_an_empty_answer(proxy: Any) -> None:
    """The role, the finish reason, the end."""
    async with Backend([REQUEST, stream_head(), chunk(event("", done=True)), chunk(b"")]) as backend:
        wire = await fetch((await proxy(mapping(backend.url))).url, hello(stream=True))
        deltas = [each["choices"][0]["delta"] for each in wire.events[:-1]]
        assert deltas == [{"role": "assistant", "content": "", "refusal": None}, {}]


async def test_row_73_usage_that_the_backend_never_gives_is_counted(proxy: Any) -> None:
    """By us, exactly, and in its own chunk."""
    async with Backend([REQUEST, stream("hello", " world")]) as backend:
        running = await proxy(mapping(backend.url))
        wire = await fetch(running.url, hello(stream=True, stream_options={"include_usage": True}))
        assert wire.events[-2]["choices"] == []
        assert wire.events[-2]["usage"] == {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


async def test_a_failure_tells_no_secret(proxy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that echoes our key in its error does not tell it to the client."""
    monkeypatch.setitem(support.ENVIRONMENT, "KEY", "sk-canary-key")
    script = [REQUEST, *said(500, "bad header Authorization: Bearer sk-canary-key")]
    async with Backend(script) as backend:
        running = await proxy(mapping(backend.url, backend="auth: {bearer: '${KEY}'}"))
        wire = await fetch(running.url, hello())
        assert backend.requests[0].header("authorization") == "Bearer sk-canary-key"
        assert b"canary" not in wire.raw
        assert "bad header" in json.dumps(wire.json)
