"""Promises of the endpoints: requests in all their forms, answers in all their forms, and time and space that end."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from scripted import (
    FIN,
    GONE,
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
    stream,
    stream_head,
)
from support import chat as chat_mapping

from oaiproxy.endpoints import chat
from oaiproxy.handlers import EventStream

BOTH_LOOPS = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])
WHOLE = answer({"text": "fine", "p": 1, "c": 2})
STREAM = stream("fi", "ne")
ONLY_WHOLE = {"stream": ""}
ONLY_STREAM = {"response": ""}
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    COMPLETIONS: {"model": "m", "prompt": "hi"},
}


@BOTH_LOOPS
@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
@pytest.mark.parametrize("client_streams", [False, True], ids=["client whole", "client streams"])
@pytest.mark.parametrize("backend_streams", [False, True], ids=["backend whole", "backend streams"])
async def test_whole_and_streaming_clients_and_backends_meet(
    proxy: Any, path: str, client_streams: bool, backend_streams: bool
) -> None:
    """All four combinations, on both endpoints, give the same text and end as they should."""
    form = ONLY_STREAM if backend_streams else ONLY_WHOLE
    async with Backend([REQUEST, STREAM if backend_streams else WHOLE]) as backend:
        running = await proxy(mapping(backend.url, **form))
        wire = await fetch(running.url, request({**BODIES[path], "stream": client_streams}, path))
        assert (wire.status, wire.text, wire.complete) == (200, "fine", True)
        assert wire.headers["content-type"] == (
            "text/event-stream; charset=utf-8" if client_streams else "application/json"
        )
        assert "connection" not in wire.headers
        assert wire.headers["x-request-id"].startswith("req_")
        if client_streams:
            assert wire.events[-1] == "[DONE]"
            assert wire.events[-2]["choices"][0]["finish_reason"] == "stop"


async def test_a_request_reaches_the_backend_as_the_mapping_says(proxy: Any) -> None:
    """Method, path, body and one credential; nothing of the client's own headers."""
    async with Backend([REQUEST, WHOLE]) as backend:
        running = await proxy(mapping(backend.url, backend="auth: {bearer: key-of-ours}"))
        await fetch(running.url, hello(headers={"Authorization": "Bearer key-of-theirs", "X-Theirs": "1"}))
        (sent,) = backend.requests
        assert (sent.line, sent.json) == ("POST /whole HTTP/1.1", {"prompt": "hi"})
        assert sent.header("authorization") == "Bearer key-of-ours"
        assert sent.header("accept-encoding") == "identity"
        assert sent.header("x-theirs") is None


async def test_a_listed_header_of_the_client_reaches_the_templates(proxy: Any) -> None:
    """However its name is written; it is not passed on by itself."""
    listed = "{url: '%s', client_headers: [x-theirs], headers: {x-ours: \"{{ headers['x-theirs'] }}!\"}}"
    async with Backend([REQUEST, WHOLE]) as backend:
        running = await proxy(chat_mapping(response="{text: text}", backend=listed % backend.url))
        await fetch(running.url, hello(headers={"X-THEIRS": "1", "x-others": "2"}))
        (sent,) = backend.requests
        assert (sent.header("x-ours"), sent.header("x-theirs"), sent.header("x-others")) == ("1!", None, None)


async def test_a_model_that_is_never_streamed_is_given_in_chunks(proxy: Any) -> None:
    """And one that always is, put together."""
    for mode, script, client in (("never", WHOLE, True), ("always", STREAM, False)):
        async with Backend([REQUEST, script]) as backend:
            running = await proxy(mapping(backend.url, models=f"{{m: {{stream: {mode}}}}}"))
            wire = await fetch(running.url, hello(stream=client))
            assert (wire.status, wire.text, wire.complete) == (200, "fine", True)
            assert backend.requests[0].line == f"POST /{'whole' if client else 'stream'} HTTP/1.1"


async def test_headers_and_first_event_leave_in_one_segment(proxy: Any) -> None:
    """One packet and one system call less per stream."""
    async with Backend([REQUEST, stream_head(), chunk(event("The ")), GONE]) as backend:
        running = await proxy(mapping(backend.url))
        async with await Client.connect(running.url) as client:
            await client.send(hello(stream=True))
            await client.until(b'"The "')
            assert len(client.segments) == 1


async def test_an_event_leaves_when_it_came(proxy: Any) -> None:
    """Nothing waits for more."""
    heard = asyncio.Event()
    async with Backend([REQUEST, stream_head(), chunk(event("The ")), heard, chunk(event("end")), GONE]) as backend:
        running = await proxy(mapping(backend.url))
        async with await Client.connect(running.url) as client:
            await client.send(hello(stream=True))
            await client.until(b'"The "')
            heard.set()
            await client.until(b'"end"')


async def test_two_requests_on_one_connection_use_one_connection_to_the_backend(proxy: Any) -> None:
    """Whole or streamed."""
    async with Backend([REQUEST, WHOLE, REQUEST, STREAM, REQUEST, WHOLE]) as backend:
        running = await proxy(mapping(backend.url))
        async with await Client.connect(running.url) as client:
            for streams in (False, True, False):
                await client.send(hello(stream=streams))
                assert (await client.answer()).text == "fine"
        assert len(backend.connections) == 1


async def test_a_stream_whose_body_ends_a_little_later_keeps_its_connection(proxy: Any) -> None:
    """Most backends send the terminal chunk apart."""
    later = asyncio.Event()
    script = [REQUEST, STREAM.removesuffix(b"0\r\n\r\n"), later, chunk(b""), REQUEST, WHOLE]
    async with Backend(script) as backend:
        running = await proxy(mapping(backend.url))
        assert (await fetch(running.url, hello(stream=True))).text == "fine"
        later.set()
        pool = running.state.client._session.connector
        await settled(lambda: not pool._acquired)
        assert (await fetch(running.url, hello())).text == "fine"
        assert len(backend.connections) == 1


async def test_tokens_are_counted_after_the_backend_was_let_go(proxy: Any) -> None:
    """Counting long texts takes long; a connection is worth more than that."""
    counting, counted = asyncio.Event(), asyncio.Event()

    class Slow:
        async def count(self, texts: list[str]) -> list[int]:
            counting.set()
            await counted.wait()
            return [7 for _ in texts]

    async with Backend([REQUEST, answer({"text": "fine"})]) as backend:
        running = await proxy(mapping(backend.url))
        tokenizer, running.state.tokenizer = running.state.tokenizer, Slow()
        task = asyncio.create_task(fetch(running.url, hello()))
        await counting.wait()
        assert not running.state.client._session.connector._acquired
        counted.set()
        assert (await task).json["usage"] == {"prompt_tokens": 7, "completion_tokens": 7, "total_tokens": 14}
        running.state.tokenizer = tokenizer


async def test_a_prompt_that_is_sampled_does_not_blur_the_answers_count(proxy: Any) -> None:
    """Of texts that are together too long a sample is counted, so prompt and answer are counted apart."""
    asked: list[list[str]] = []

    class Noting:
        async def count(self, texts: Sequence[str]) -> list[int]:
            asked.append(list(texts))
            return [7 for _ in texts]

    async with Backend([REQUEST, answer({"text": "fine"})]) as backend:
        running = await proxy(mapping(backend.url))
        tokenizer, running.state.tokenizer = running.state.tokenizer, Noting()
        await fetch(running.url, hello())
        running.state.tokenizer = tokenizer
    assert asked == [["hi"], ["fine"]]


async def test_fields_left_out_are_named(proxy: Any) -> None:
    """In a header, so that nobody wonders why a knob does nothing."""
    async with Backend([REQUEST, WHOLE]) as backend:
        wire = await fetch((await proxy(mapping(backend.url))).url, hello(temperature=0.5, seed=1))
        assert wire.headers["x-oaiproxy-dropped"] == "temperature, seed"


# Models


async def _get(url: str, path: str, method: str = "GET") -> Wire:
    async with await Client.connect(url) as client:
        await client.send(request(None, path, method=method, headers={"Content-Type": "", "Content-Length": ""}))
        return await client.answer()


async def test_models_are_listed_with_those_who_serve_them(proxy: Any) -> None:
    """In the order of the mappings."""
    running = await proxy(mapping("http://backend.test", models="[m, org/name]"))
    wire = await _get(running.url, "/v1/models")
    assert wire.json["object"] == "list"
    assert [(model["id"], model["object"], model["owned_by"]) for model in wire.json["data"]] == [
        ("m", "model", "test"),
        ("org/name", "model", "test"),
    ]
    assert wire.headers["x-request-id"]


@pytest.mark.parametrize("path", ["org/name", "org%2Fname", "org%2fname"])
async def test_a_model_may_have_a_slash_in_its_name(proxy: Any, path: str) -> None:
    """Old clients send it as it is, newer ones encoded."""
    running = await proxy(mapping("http://backend.test", models="[m, org/name]"))
    wire = await _get(running.url, f"/v1/models/{path}")
    assert (wire.status, wire.json["id"]) == (200, "org/name")


async def test_a_model_that_nobody_serves_is_not_found(proxy: Any) -> None:
    """Row 95, when it is asked about and when it is asked."""
    running = await proxy(mapping("http://backend.test"))
    for wire in (await _get(running.url, "/v1/models/other"), await fetch(running.url, hello(model="other"))):
        assert (wire.status, wire.error["code"], wire.error["param"]) == (404, "model_not_found", "model")
        assert "'other'" in wire.error["message"]


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/nothing"), ("POST", "/"), ("POST", "/v1/models/")])
async def test_unknown_addresses_are_not_found(proxy: Any, method: str, path: str) -> None:
    """Row 96."""
    wire = await _get((await proxy(mapping("http://backend.test"))).url, path, method)
    assert (wire.status, wire.error["code"], wire.error["type"]) in (
        (404, None, "invalid_request_error"),
        (405, "method_not_supported", "invalid_request_error"),
    )


@pytest.mark.parametrize(("method", "path", "allow"), [("GET", CHAT, "POST"), ("DELETE", "/v1/models", "GET, HEAD")])
async def test_other_methods_are_not_allowed(proxy: Any, method: str, path: str, allow: str) -> None:
    """Row 96: 405 says what is."""
    wire = await _get((await proxy(mapping("http://backend.test"))).url, path, method)
    assert (wire.status, wire.error["code"], wire.headers["allow"]) == (405, "method_not_supported", allow)


@pytest.mark.parametrize(("path", "status"), [("/v1/models", 200), ("/livez", 200), ("/nothing", 404), (CHAT, 405)])
async def test_head_has_no_body(proxy: Any, path: str, status: int) -> None:
    """Of any answer."""
    running = await proxy(mapping("http://backend.test"))
    async with await Client.connect(running.url) as client:
        await client.send(request(None, path, method="HEAD", headers={"Connection": "close"}))
        head, _, body = (await client.rest()).partition(b"\r\n\r\n")
        assert (int(head.split()[1]), body) == (status, b"")


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
async def test_probes_are_answered_and_not_logged(proxy: Any, path: str) -> None:
    """They come every few seconds, for ever: their lines are for debugging."""
    wire = await _get((await proxy(mapping("http://backend.test"))).url, path)
    assert (wire.status, wire.json) == (200, {"status": "ok"})


# Requests


PIECES = BODIES[CHAT]
BAD: dict[str, tuple[Any, dict[str, str], int, str | None]] = {
    "85 not JSON": (b"{oops}", {}, 400, "invalid_json"),
    "85 NaN": (b'{"model": NaN}', {}, 400, "invalid_json"),
    "85 nothing": (b"", {}, 400, "invalid_json"),
    "85 a byte order mark alone": (b"\xef\xbb\xbf", {}, 400, "invalid_json"),
    "85 half a character": (b'{"model": "\\ud83d"}', {}, 400, "invalid_json"),
    "85 not UTF-8": (b'{"model": "\xff"}', {}, 400, "invalid_json"),
    "85 two values": (b"{}{}", {}, 400, "invalid_json"),
    "86 a list": (b"[]", {}, 400, "invalid_type"),
    "86 a text of brackets": (b'"' + b"[" * 999 + b'"', {}, 400, "invalid_type"),
    "86 deep": (b'{"model": "m", "x": ' + b"[" * 64 + b"]" * 64 + b"}", {}, 400, "invalid_json"),
    "86 very deep": (b"[" * 100_000, {}, 400, "invalid_json"),
    "86 many": (b'{"model": "m", "x": [' + b"[]," * 200_000 + b"[]]}", {}, 400, "invalid_json"),
    "87 no model": ({"messages": []}, {}, 400, "missing_required_parameter"),
    "87 no messages": ({"model": "m"}, {}, 400, "missing_required_parameter"),
    "87 a number as text": ({**PIECES, "temperature": "1"}, {}, 400, "invalid_type"),
    "87 out of range": ({**PIECES, "temperature": 3}, {}, 400, "invalid_value"),
    "92 utf-7": (PIECES, {"Content-Type": "application/json; charset=utf-7"}, 400, "invalid_charset"),
    "92 utf-16": (PIECES, {"Content-Type": "application/json; CHARSET=UTF-16"}, 400, "invalid_charset"),
    "92 punycode": (PIECES, {"Content-Type": 'application/json; charset="punycode"'}, 400, "invalid_charset"),
    "93 unknown encoding": (PIECES, {"Content-Encoding": "banana"}, 415, "unsupported_encoding"),
    "93 two encodings": (PIECES, {"Content-Encoding": "gzip, gzip"}, 415, "unsupported_encoding"),
    "93 not gzip": (b"not gzip at all", {"Content-Encoding": "gzip"}, 400, "invalid_body"),
    "93 half of a gzip": (gzip.compress(json.dumps(PIECES).encode())[:20], {"Content-Encoding": "gzip"}, 400, None),
    "101 stream as text": ({**PIECES, "stream": "yes"}, {}, 400, "invalid_type"),
    "101 stream as a number": ({**PIECES, "stream": 1}, {}, 400, "invalid_type"),
}


@pytest.mark.parametrize("row", BAD)
async def test_a_bad_request_is_refused(proxy: Any, row: str) -> None:
    """No backend is asked, and what the client sent is not echoed."""
    body, headers, status, code = BAD[row]
    async with Backend([GONE]) as backend:
        running = await proxy(mapping(backend.url))
        wire = await fetch(running.url, request(body, headers=headers))
        assert (wire.status, wire.error["type"]) == (status, "invalid_request_error")
        assert wire.error["code"] == code or code is None
        assert "oops" not in wire.error["message"]
        assert not backend.connections


FINE: dict[str, tuple[Any, dict[str, str]]] = {
    "a byte order mark": (b"\xef\xbb\xbf" + json.dumps(PIECES).encode(), {}),
    "what curl calls it": (PIECES, {"Content-Type": "application/x-www-form-urlencoded"}),
    "without a content type": (PIECES, {"Content-Type": ""}),
    "said to be UTF-8": (PIECES, {"Content-Type": 'application/json; charset="UTF-8"'}),
    "gzip": (gzip.compress(json.dumps(PIECES).encode()), {"Content-Encoding": "gzip"}),
    "deflate": (zlib.compress(json.dumps(PIECES).encode()), {"Content-Encoding": "deflate"}),
    "as deep as may be": (b'{"x": ' + b"[" * 63 + b"]" * 63 + b"," + json.dumps(PIECES).encode()[1:], {}),
    "an expectation that we do not know": (PIECES, {"Expect": "banana"}),
}


@pytest.mark.parametrize("form", FINE)
async def test_odd_forms_of_a_request_are_taken(proxy: Any, form: str) -> None:
    """Real clients send them."""
    body, headers = FINE[form]
    async with Backend([REQUEST, WHOLE]) as backend:
        wire = await fetch((await proxy(mapping(backend.url))).url, request(body, headers=headers))
        assert (wire.status, backend.requests[0].json) == (200, {"prompt": "hi"})


async def test_a_request_in_chunks_is_taken(proxy: Any) -> None:
    """Of any size, down to one byte."""
    body = json.dumps(PIECES).encode()
    head = request(b"", headers={"Content-Length": "", "Transfer-Encoding": "chunked"})
    async with Backend([REQUEST, WHOLE]) as backend:
        running = await proxy(mapping(backend.url))
        async with await Client.connect(running.url) as client:
            await client.send(head)
            for at in range(len(body)):
                await client.send(chunk(body[at : at + 1]))
            await client.send(chunk(b""))
            assert (await client.answer()).text == "fine"


async def test_a_body_of_exactly_the_limit_is_taken(proxy: Any) -> None:
    """The limit is the largest body, not the smallest that is refused."""
    body = json.dumps(PIECES).encode().ljust(2048)
    async with Backend([REQUEST, WHOLE]) as backend:
        assert (await fetch((await proxy(mapping(backend.url), max_body=2048)).url, request(body))).status == 200


@BOTH_LOOPS
async def test_a_body_over_the_limit_is_not_waited_for(proxy: Any) -> None:
    """Row 83: its length is enough to refuse it, and the connection says that it closes."""
    running = await proxy(mapping("http://backend.test"), max_body=2048)
    wire = await fetch(running.url, request(b"{", headers={"Content-Length": "2049"}))
    assert (wire.status, wire.error["code"], wire.headers["connection"]) == (413, "request_too_large", "close")


async def test_a_body_that_grows_over_the_limit_is_refused(proxy: Any) -> None:
    """Row 84: in chunks, whose sum nobody announced."""
    running = await proxy(mapping("http://backend.test"), max_body=2048)
    head = request(b"", headers={"Content-Length": "", "Transfer-Encoding": "chunked"})
    wire = await fetch(running.url, head + chunk(b" " * 2000) * 2)
    assert (wire.status, wire.error["code"]) == (413, "request_too_large")


async def test_a_gzip_bomb_is_refused(proxy: Any) -> None:
    """Row 84: what counts is what comes out."""
    running = await proxy(mapping("http://backend.test"), max_body=1 << 20)
    bomb = gzip.compress(b" " * (100 << 20), 1)
    wire = await fetch(running.url, request(bomb, headers={"Content-Encoding": "gzip"}))
    assert (wire.status, wire.error["code"]) == (413, "request_too_large")


async def test_a_body_that_does_not_come_is_not_waited_for(proxy: Any) -> None:
    """Row 82."""
    running = await proxy(mapping("http://backend.test"), body_timeout=0.05)
    wire = await fetch(running.url, request(b"{", headers={"Content-Length": "100"}))
    assert (wire.status, wire.error["code"], wire.headers["connection"]) == (408, "request_timeout", "close")


async def test_a_body_whose_chunks_are_broken_is_not_waited_for(proxy: Any) -> None:
    """For longer than for any other: the library does not say so to its reader."""
    running = await proxy(mapping("http://backend.test"), body_timeout=0.1)
    head = request(b"", headers={"Content-Length": "", "Transfer-Encoding": "chunked"})
    async with await Client.connect(running.url) as client:
        await client.send(head + chunk(b"{"))
        await settled(lambda: running.state.active == 1)
        await client.send(b"zz\r\n\r\n")
        assert (await client.answer()).status == 408


async def test_a_client_is_asked_for_the_body_it_holds_back(proxy: Any) -> None:
    """`Expect: 100-continue`, which some send for long bodies."""
    head, _, body = hello(headers={"Expect": "100-continue"}).partition(b"\r\n\r\n")
    async with Backend([REQUEST, WHOLE]) as backend:
        running = await proxy(mapping(backend.url))
        async with await Client.connect(running.url) as client:
            await client.send(head + b"\r\n\r\n")
            assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            await client.send(body)
            assert (await client.answer()).text == "fine"


async def test_a_client_is_not_asked_for_a_body_that_is_too_large(proxy: Any) -> None:
    """It learns that before it sends it."""
    running = await proxy(mapping("http://backend.test"), max_body=2048)
    headers = {"Expect": "100-continue", "Content-Length": "4096"}
    wire = await fetch(running.url, request(b"", headers=headers))
    assert (wire.status, wire.raw.startswith(b"HTTP/1.1 413")) == (413, True)


async def test_the_rest_of_a_refused_body_is_not_taken_for_a_request(proxy: Any) -> None:
    """Else a client could smuggle one past whoever stands in front."""
    running = await proxy(mapping("http://backend.test"))
    smuggled = request(None, "/livez", method="GET")
    head = request(b"", "/nothing", headers={"Content-Length": str(10 + len(smuggled))})
    async with await Client.connect(running.url) as client:
        await client.send(head + b"0123456789")
        await client.until(b"}}")
        await client.send(smuggled)
        assert (await client.rest()).count(b"HTTP/1.1 ") == 1


# Old clients


@BOTH_LOOPS
async def test_a_client_of_http_1_0_gets_a_stream_without_chunks(proxy: Any) -> None:
    """The end of the connection is the end of the body."""
    async with Backend([REQUEST, STREAM]) as backend:
        running = await proxy(mapping(backend.url))
        async with await Client.connect(running.url) as client:
            await client.send(hello(version="1.0", stream=True))
            head, _, body = (await client.rest()).partition(b"\r\n\r\n")
        assert b"chunked" not in head
        assert Wire(200, {"content-type": "text/event-stream"}, b"", body, False).events[-1] == "[DONE]"


@BOTH_LOOPS
async def test_a_client_of_http_1_0_sees_a_fault_by_its_event(proxy: Any) -> None:
    """There is no other mark of an end that it could miss; a reset might destroy the event on its way."""
    async with Backend([REQUEST, stream_head(), chunk(event("The ")), FIN]) as backend:
        running = await proxy(mapping(backend.url))
        async with await Client.connect(running.url) as client:
            await client.send(hello(version="1.0", stream=True))
            _, _, body = (await client.rest()).partition(b"\r\n\r\n")
        wire = Wire(200, {"content-type": "text/event-stream"}, b"", body, False)
        assert wire.error["code"] == "upstream_truncated"


# Time


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
async def test_the_first_byte_has_its_time(proxy: Any, streams: bool) -> None:
    """Row 15, with headers or without."""
    for begun in ([], [stream_head()]):
        async with Backend([REQUEST, *begun, GONE]) as backend:
            running = await proxy(mapping(backend.url, timeouts="{first_byte: 100ms, idle: 1h}"))
            wire = await fetch(running.url, hello(stream=streams))
            assert (wire.status, wire.error["code"]) == (504, "upstream_timeout")
            await backend.gone()


async def test_comments_are_no_progress_of_a_stream_that_was_not_asked_for(proxy: Any) -> None:
    """A backend that streams all the same is held to the same times as one that was asked to."""

    def pings() -> Iterator[asyncio.Event | bytes]:
        for _ in range(100):
            tick = asyncio.Event()
            asyncio.get_running_loop().call_later(0.04, tick.set)
            yield tick
            yield chunk(b": ping\n\n")

    script = _Ticking([REQUEST, stream_head()], pings, [chunk(event(done=True)), chunk(b"")])
    async with Backend(script) as backend:
        running = await proxy(mapping(backend.url, timeouts="{first_byte: 300ms, idle: 300ms}"))
        wire = await fetch(running.url, hello())
        assert (wire.status, wire.error["code"]) == (504, "upstream_timeout")


@BOTH_LOOPS
async def test_a_stream_lives_as_long_as_its_events_come(proxy: Any) -> None:
    """The idle time begins anew with every event, however short it is."""

    def events() -> Iterator[asyncio.Event | bytes]:
        for _ in range(12):
            tick = asyncio.Event()
            asyncio.get_running_loop().call_later(0.04, tick.set)
            yield tick
            yield chunk(event("a"))

    async with Backend(_Ticking([REQUEST, stream_head()], events, [chunk(event(done=True)), chunk(b"")])) as backend:
        running = await proxy(mapping(backend.url, timeouts="{idle: 200ms}"))
        wire = await fetch(running.url, hello(stream=True))
        assert (wire.text, wire.complete) == ("a" * 12, True)


class _Ticking:
    """A script whose middle steps are made as it is played."""

    def __init__(self, first: list[Any], middle: Any, last: list[Any]) -> None:
        self._parts = first, middle, last

    def __iter__(self) -> Iterator[Any]:
        first, middle, last = self._parts
        yield from first
        yield from middle()
        yield from last


async def test_the_whole_answer_has_its_time(proxy: Any) -> None:
    """However steadily its events come; row 71."""

    def events() -> Iterator[bytes]:
        while True:
            yield chunk(event("a"))

    async with Backend([REQUEST, stream_head(), events(), GONE]) as backend:
        running = await proxy(mapping(backend.url, timeouts="{total: 200ms}"))
        wire = await fetch(running.url, hello(stream=True))
        assert wire.error["code"] == "upstream_timeout"
        await backend.gone()


# Space


def _flood(connection_limit: int) -> Iterator[bytes]:
    for _ in range(connection_limit // 8192):
        yield chunk(event("x" * 8150))


@BOTH_LOOPS
async def test_a_client_that_does_not_read_stops_the_backend(proxy: Any) -> None:
    """What the proxy takes is bounded by buffers, far below what the backend has to say."""
    plenty = 256 << 20
    async with Backend([REQUEST, stream_head(), _flood(plenty), GONE]) as backend:
        running = await proxy(mapping(backend.url, timeouts="{idle: 1h}"), write_timeout=3600)
        async with await Client.connect(running.url, receive_buffer=4096) as client:
            await client.send(hello(stream=True))
            await _stalled(backend)
            assert backend.connections[0].sent < plenty // 8
        await backend.gone()


async def _stalled(backend: Backend) -> None:
    """Wait until the backend gets rid of nothing more."""
    sent = -1
    async with asyncio.timeout(10):
        while not backend.connections or backend.connections[0].sent != sent:
            sent = backend.connections[0].sent if backend.connections else -1
            await asyncio.sleep(0.05)


@BOTH_LOOPS
async def test_a_slow_client_gets_all_of_it(proxy: Any) -> None:
    """Also what came after it paused for long, and was sent by a backend that has gone meanwhile."""
    count = 1500
    pieces = (chunk(event(f"{number:08}" * 1000)) for number in range(count))
    async with Backend([REQUEST, stream_head(), pieces, chunk(event(done=True)), chunk(b""), FIN]) as backend:
        running = await proxy(mapping(backend.url))
        async with await Client.connect(running.url, receive_buffer=65536) as client:
            await client.send(hello(stream=True, headers={"Connection": "close"}))
            await _stalled(backend)
            await client.rest()
            wire = await client.answer()
        assert wire.text == "".join(f"{number:08}" * 1000 for number in range(count))
        assert (wire.complete, wire.events[-1]) == (True, "[DONE]")


@BOTH_LOOPS
@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
async def test_a_client_that_does_not_read_for_too_long_is_given_up(
    proxy: Any, capfd: pytest.CaptureFixture[str], streams: bool
) -> None:
    """Row 80: both sides are closed, and the log says why; it is not the backend that was slow."""
    whole = answer({"text": "x" * (16 << 20)})
    script = [REQUEST, stream_head(), _flood(256 << 20)] if streams else [REQUEST, whole]
    async with Backend([*script, GONE]) as backend:
        running = await proxy(mapping(backend.url, timeouts="{idle: 100ms}"), write_timeout=0.3)
        async with await Client.connect(running.url, receive_buffer=4096) as client:
            await client.send(hello(stream=streams))
            await backend.asked()
            await settled(lambda: running.state.active == 0)
            if streams:
                await backend.gone()
    running.state.log.close()
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    (line,) = [line for line in lines if line["event"] == "request"]
    assert (line["status"], line["stalled"], line["level"]) == (499, True, "info")


async def test_one_event_larger_than_all_buffers_does_not_stall_for_ever(proxy: Any) -> None:
    """The first write of all may be the one that a client does not read."""
    big = chunk(event("x" * 900_000))
    async with Backend([REQUEST, stream_head(), *[big] * 20, GONE]) as backend:
        running = await proxy(mapping(backend.url, timeouts="{idle: 1h}"), write_timeout=0.2)
        async with await Client.connect(running.url, receive_buffer=4096) as client:
            await client.send(hello(stream=True))
            await backend.gone()


# Bugs of our own


@BOTH_LOOPS
@pytest.mark.parametrize("late", [False, True], ids=["while reading", "at the end"])
async def test_a_bug_within_a_stream_ends_it_as_a_fault(
    proxy: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], late: bool
) -> None:
    """An error event, no end mark, no second response in the middle of the first; the log has no text of the client."""
    feed = chat.ChunkEncoder.feed

    def buggy(self: Any, event: Any) -> bytes:
        if not late and getattr(event, "text", "") == "boom":
            raise UnicodeEncodeError("utf-8", "canary", 0, 1, "boom")
        return feed(self, event)

    def buggy_close(_self: Any, _usage: Any) -> bytes:
        raise KeyError("canary")

    monkeypatch.setattr(chat.ChunkEncoder, "feed", buggy)
    if late:
        monkeypatch.setattr(chat.ChunkEncoder, "close", buggy_close)
    heard = asyncio.Event()
    async with Backend(
        [REQUEST, stream_head(), chunk(event("The ")), heard, chunk(event("boom", done=True))]
    ) as backend:
        running = await proxy(mapping(backend.url))
        async with await Client.connect(running.url) as client:
            await client.send(hello(stream=True))
            await client.until(b'"The "')
            heard.set()
            wire = await client.answer()
    assert (wire.error["code"], wire.error["type"]) == ("internal_error", "server_error")
    assert wire.raw.count(b"HTTP/1.1") == 1
    running.state.log.close()
    log = capfd.readouterr().err
    assert '"event":"bug"' in log
    assert "canary" not in log


async def test_a_client_that_is_gone_when_the_end_is_written(proxy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves no connection to the backend behind, although nothing more was to be read from it."""
    write = EventStream.write

    async def lost(self: EventStream, data: bytes) -> None:
        if b'"end"' in data:
            raise ConnectionResetError
        await write(self, data)

    monkeypatch.setattr(EventStream, "write", lost)
    last = chunk(event("end", done=True))
    async with Backend([REQUEST, stream_head(), chunk(event("The ")), last, GONE]) as backend:
        running = await proxy(mapping(backend.url))
        async with await Client.connect(running.url) as client:
            await client.send(hello(stream=True))
            await backend.gone()


async def test_a_bug_before_the_first_event_is_a_500(proxy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In OpenAI's shape; trying again is of no use."""

    def buggy(_self: Any, _event: Any) -> bytes:
        raise KeyError("canary")

    monkeypatch.setattr(chat.CompletionEncoder, "feed", buggy)
    async with Backend([REQUEST, WHOLE]) as backend:
        wire = await fetch((await proxy(mapping(backend.url))).url, hello())
        assert (wire.status, wire.error["code"], wire.headers["x-should-retry"]) == (500, "internal_error", "false")
        assert b"canary" not in wire.raw


@BOTH_LOOPS
async def test_a_backend_is_let_go_when_the_text_was_cut(proxy: Any) -> None:
    """At the client's stop string: what it would say then is not waited for."""
    script = [REQUEST, stream_head(), chunk(event("fineEN")), chunk(event("D and more")), GONE]
    async with Backend(script) as backend:
        running = await proxy(mapping(backend.url, more="emulate: [stop]"))
        wire = await fetch(running.url, hello(stream=True, stop="END"))
        assert (wire.text, wire.complete, wire.events[-1]) == ("fine", True, "[DONE]")
        assert "x-oaiproxy-dropped" not in wire.headers
        await backend.gone()


async def test_state_that_is_too_large_is_named_in_the_log(proxy: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """The answer goes out without it."""
    state = {str(number): number**50 for number in range(4000)}
    async with Backend([REQUEST, answer({"text": "fine", "s": state})]) as backend:
        running = await proxy(mapping(backend.url, response="{text: text, state: s}", stream=""))
        assert (await fetch(running.url, hello())).text == "fine"
    running.state.log.close()
    assert '"left_out":["the state of a message"]' in capfd.readouterr().err
