"""Promises of a client's connection: nobody holds it for nothing, hides behind it that they left, or smuggles."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from faults import BOTH_LOOPS
from scripted import (
    GONE,
    REQUEST,
    Backend,
    Client,
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

from oaiproxy.connections import MAX_QUEUED

HOUR = "{first_byte: 1h, idle: 1h}"
LIVE = request(None, "/livez", method="GET")
WAITING = [REQUEST, GONE]
STREAMING = [REQUEST, stream_head(), chunk(event("The ")), GONE]


async def _left(running: Any, backend: Backend, asked: int = 1) -> None:
    """The backend was asked so often and then left, and nothing is under way."""
    await backend.gone()
    await settled(lambda: running.state.active == 0)
    assert not running.state.clocks
    assert len(backend.requests) == asked


# ---- clients that leave, and hide it


@BOTH_LOOPS
@pytest.mark.row(77)
@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
async def test_a_client_that_only_stops_sending_has_left(proxy: Any, streams: bool) -> None:
    """Nobody can tell it from one that is gone: the backend is left, and nothing more is sent."""
    async with Backend(STREAMING if streams else WAITING) as backend:
        running = await proxy(mapping(backend.url, timeouts=HOUR))
        async with await Client.connect(running.url) as client:
            await client.send(hello(stream=streams))
            await backend.asked()
            if streams:
                await client.until(b'"The "')
            client.half_close()
            assert b"[DONE]" not in await client.rest()
        await _left(running, backend)


@BOTH_LOOPS
@pytest.mark.row(78)
@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
async def test_a_client_that_queues_many_requests_is_left(proxy: Any, streams: bool) -> None:
    """Else its leaving would not be seen, and the backend would work on."""
    async with Backend(STREAMING if streams else WAITING) as backend:
        running = await proxy(mapping(backend.url, timeouts=HOUR))
        async with await Client.connect(running.url) as client:
            await client.send(hello(stream=streams))
            await backend.asked()
            await client.send(LIVE * 200)
            client.leave()
            await _left(running, backend)


@BOTH_LOOPS
@pytest.mark.row(78)
async def test_a_client_that_queues_many_requests_need_not_even_leave(proxy: Any) -> None:
    """It is left at the bound, also when all come at once."""
    async with Backend(WAITING) as backend:
        running = await proxy(mapping(backend.url, timeouts=HOUR))
        async with await Client.connect(running.url) as client:
            await client.send(hello())
            await backend.asked()
            await client.send(LIVE * (MAX_QUEUED + 1))
            assert await client.rest() == b""
        await _left(running, backend)
        async with await Client.connect(running.url) as client:
            await client.send(LIVE * (MAX_QUEUED + 2))
            await client.rest()
        assert (await fetch(running.url, LIVE)).status == 200


@BOTH_LOOPS
@pytest.mark.row(78)
@pytest.mark.parametrize("kind", ["body", "upgrade"])
async def test_a_client_that_hides_behind_bytes_that_nobody_reads_is_left(proxy: Any, kind: str) -> None:
    """The body of a next request, or what follows one for another protocol, stops the reading just as well."""
    async with Backend(WAITING) as backend:
        running = await proxy(mapping(backend.url, timeouts=HOUR))
        async with await Client.connect(running.url) as client:
            if kind == "body":
                await client.send(hello())
                await backend.asked()
                await client.send(request(b"x" * 8_000_000)[:2_000_000])
            else:
                await client.send(hello(headers={"Connection": "Upgrade", "Upgrade": "websocket"}))
                await backend.asked()
                await client.send(b"x" * 2_000_000)
            client.leave()
            await _left(running, backend)


@BOTH_LOOPS
@pytest.mark.row(79)
async def test_requests_that_come_together_are_answered_in_order(proxy: Any) -> None:
    """One at a time."""
    scripts = [part for number in range(3) for part in (REQUEST, answer({"text": f"answer {number}"}))]
    async with Backend(scripts) as backend:
        running = await proxy(mapping(backend.url))
        async with await Client.connect(running.url) as client:
            asked = [hello(messages=[{"role": "user", "content": f"question {number}"}]) for number in range(3)]
            await client.send(b"".join([*asked, LIVE, request(None, "/nothing", method="GET")]))
            texts = [(await client.answer()).text for _ in range(3)]
            assert texts == ["answer 0", "answer 1", "answer 2"]
            assert [(await client.answer()).status for _ in range(2)] == [200, 404]
        assert [sent.json["prompt"] for sent in backend.requests] == ["question 0", "question 1", "question 2"]
        assert len(backend.connections) == 1


UPGRADE = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQCAAAAAAIAAAAA"}
FINE = (REQUEST, answer({"text": "fine"}))


@BOTH_LOOPS
@pytest.mark.parametrize("at", [None, "head"], ids=["in one piece", "body apart"])
@pytest.mark.parametrize("protocol", ["h2c", "websocket", "TLS/1.0"])
async def test_a_request_for_another_protocol_is_answered_as_any_other(
    proxy: Any, protocol: str, at: str | None
) -> None:
    """In this one; the connection can be used again (RFC 9110, 7.8)."""
    async with Backend([*FINE, *FINE]) as backend:
        running = await proxy(mapping(backend.url))
        async with await Client.connect(running.url) as client:
            for _ in range(2):
                asked = hello(headers={**UPGRADE, "Upgrade": protocol})
                cut = asked.index(b"\r\n\r\n") + 4 if at else 0
                if cut:
                    await client.send(asked[:cut])
                    await asyncio.sleep(0.1)
                await client.send(asked[cut:])
                wire = await client.answer()
                assert (wire.status, wire.text, wire.headers.get("connection")) == (200, "fine", None)
            await client.send(LIVE)
            assert (await client.answer()).status == 200


@BOTH_LOOPS
@pytest.mark.parametrize("cut", [0, 50, "head", -3], ids=str)
@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_what_comes_behind_a_request_for_another_protocol_is_not_just_lost(
    proxy: Any, cut: int | str, version: str
) -> None:
    """The library loses it; so its sender is told that nothing behind the answer was read (RFC 9112, 9.6)."""
    async with Backend([*FINE, *FINE]) as backend:
        running = await proxy(mapping(backend.url))
        async with await Client.connect(running.url) as client:
            asked = hello(headers=UPGRADE, version=version)
            at = asked.index(b"\r\n\r\n") + 4 if isinstance(cut, str) else cut % len(asked)
            if at:
                await client.send(asked[:at])
                await asyncio.sleep(0.1)
            await client.send(asked[at:] + LIVE)
            wire = await client.answer()
            assert (wire.status, wire.text) == (200, "fine")
            if version == "1.1":
                assert wire.headers["connection"] == "close"
            assert await client.rest() == b""
        assert len(backend.requests) == 1


@BOTH_LOOPS
async def test_what_comes_behind_an_answered_request_for_another_protocol_ends_the_connection(proxy: Any) -> None:
    """Its body was not waited for, so the answer is out: nobody is left waiting for another one."""
    running = await proxy(mapping("http://backend.test"), keepalive_timeout=3600)
    async with await Client.connect(running.url) as client:
        head = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
        await client.send(head + b"Content-Length: 5\r\n\r\n")
        assert (await client.answer()).status == 200
        await client.send(b"hello" + LIVE)
        assert await client.rest() == b""


@BOTH_LOOPS
async def test_what_comes_behind_a_handshake_that_is_declined_is_answered(proxy: Any) -> None:
    """That of a websocket, of which the library keeps what follows."""
    async with Backend([*FINE, *FINE]) as backend:
        running = await proxy(mapping(backend.url))
        async with await Client.connect(running.url) as client:
            await client.send(hello(headers={"Connection": "Upgrade", "Upgrade": "websocket"}) + LIVE)
            assert (await client.answer()).text == "fine"
            assert (await client.answer()).status == 200


# ---- clients that are slow


@BOTH_LOOPS
@pytest.mark.row(81)
@pytest.mark.parametrize("begun", [b"", b"P", b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nX: "])
@pytest.mark.parametrize("first", [True, False], ids=["first", "next"])
async def test_headers_that_do_not_come_close_the_connection(proxy: Any, begun: bytes, first: bool) -> None:
    """Those of a first request, and of the next ones: that may be waited for longer, until it begins."""
    running = await proxy(mapping("http://backend.test"), header_timeout=0.1, keepalive_timeout=3600)
    async with await Client.connect(running.url) as client:
        if not first:
            await client.send(LIVE)
            assert (await client.answer()).status == 200
            begun = begun or b"\r\nG"
        await client.send(begun)
        assert await client.rest() == b""


@BOTH_LOOPS
async def test_headers_that_drip_close_the_connection_too(proxy: Any) -> None:
    """It is the whole that has its time."""
    running = await proxy(mapping("http://backend.test"), header_timeout=0.1, keepalive_timeout=3600)
    async with await Client.connect(running.url) as client:
        dripping = asyncio.create_task(_drip(client))
        assert await client.rest() == b""
        dripping.cancel()


async def _drip(client: Client) -> None:
    await client.send(b"GET /livez HTTP/1.1\r\nX: ")
    while True:
        await client.send(b"x")
        await asyncio.sleep(0.01)


async def test_an_idle_connection_may_wait_longer_than_headers(proxy: Any) -> None:
    """A next request on it is answered after the time for headers."""
    running = await proxy(mapping("http://backend.test"), header_timeout=0.5, keepalive_timeout=3600)
    async with await Client.connect(running.url) as client, await Client.connect(running.url) as other:
        await client.send(LIVE)
        await client.answer()
        await other.rest()  # which had as much time for headers, and later
        await client.send(LIVE)
        assert (await client.answer()).status == 200


async def test_a_slow_answer_is_no_slow_request(proxy: Any) -> None:
    """The time for headers is over when they are there."""
    more = asyncio.Event()
    async with Backend([REQUEST, more, answer({"text": "fine"})]) as backend:
        running = await proxy(mapping(backend.url), header_timeout=0.5)
        async with await Client.connect(running.url) as client, await Client.connect(running.url) as other:
            await client.send(hello())
            await other.rest()
            more.set()
            assert (await client.answer()).text == "fine"


# ---- clients that smuggle

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\n"
HOST = b"Host: localhost\r\n"
KEY = b"Authorization: Bearer sk-canary\r\n"
NEXT = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"


def _framed(*lines: bytes, body: bytes = b"0\r\n\r\n", head: bytes = HEAD, host: bytes = HOST) -> bytes:
    return head + host + KEY + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body + NEXT


CHUNKED = b"Transfer-Encoding: chunked"
SMUGGLED: dict[str, tuple[bytes, int]] = {
    "both lengths": (_framed(b"Content-Length: 5", CHUNKED), 400),
    "both lengths, the other way": (_framed(CHUNKED, b"Content-Length: 5"), 400),
    "two lengths": (_framed(b"Content-Length: 5", b"Content-Length: 6"), 400),
    "two equal lengths": (_framed(b"Content-Length: 5", b"Content-Length: 5"), 400),
    "a length with a sign": (_framed(b"Content-Length: +5"), 400),
    "a negative length": (_framed(b"Content-Length: -5"), 400),
    "a list of lengths": (_framed(b"Content-Length: 5, 5"), 400),
    "a hexadecimal length": (_framed(b"Content-Length: 0x5"), 400),
    "a length with an underscore": (_framed(b"Content-Length: 1_0"), 400),
    "a length in other digits": (_framed("Content-Length: ٥".encode()), 400),
    "a length with a blank": (_framed(b"Content-Length: 1 0"), 400),
    "an empty length": (_framed(b"Content-Length: "), 400),
    "a length that overflows": (_framed(b"Content-Length: 99999999999999999999999"), 400),
    "a length that is a fraction": (_framed(b"Content-Length: 5.0"), 400),
    "another coding": (_framed(b"Transfer-Encoding: xchunked"), 400),
    "chunked twice": (_framed(b"Transfer-Encoding: chunked, chunked"), 400),
    "chunked on two lines": (_framed(CHUNKED, CHUNKED), 400),
    "chunked not last": (_framed(b"Transfer-Encoding: chunked, gzip"), 400),
    "identity": (_framed(b"Transfer-Encoding: identity"), 400),
    "an empty coding": (_framed(b"Transfer-Encoding:"), 400),
    "a coding with a control": (_framed(b"Transfer-Encoding: \x0bchunked"), 400),
    "a coding in quotes": (_framed(b'Transfer-Encoding: "chunked"'), 400),
    "chunked in an old version": (_framed(CHUNKED, head=HEAD.replace(b"1.1", b"1.0")), 400),
    "a blank before the colon": (_framed(b"Transfer-Encoding : chunked"), 400),
    "a tab before the colon": (_framed(b"Content-Length\t: 5"), 400),
    "a folded line": (_framed(b"X: a\r\n b"), 400),
    "a folded coding": (_framed(b"Transfer-Encoding:\r\n chunked"), 400),
    "a line without a colon": (_framed(b"Authorization Bearer sk-canary"), 400),
    "a line without a name": (_framed(b": x"), 400),
    "a name with a blank": (_framed(b"X Y: z"), 400),
    "a name with a bracket": (_framed(b"X(Y): z"), 400),
    "a name that is no ASCII": (_framed("Ä: z".encode()), 400),
    "a NUL in a value": (_framed(b"X: a\x00b"), 400),
    "a NUL in a name": (_framed(b"X\x00: b"), 400),
    "a bare carriage return": (_framed(b"X: a\rb"), 400),
    "a bare line feed": (_framed(b"X: a\nY: b"), 400),
    "bare line feeds alone": (_framed(CHUNKED).replace(b"\r\n", b"\n"), 400),
    "a blank first line": (b" " + _framed(CHUNKED), 400),
    "a lower-case method": (_framed(CHUNKED, head=HEAD.replace(b"POST", b"post")), 400),
    "a method that is none": (_framed(CHUNKED, head=HEAD.replace(b"POST", b"P(ST")), 400),
    "a blank in the target": (_framed(CHUNKED, head=HEAD.replace(b"completions", b"comp letions")), 400),
    "no version": (_framed(CHUNKED, head=b"POST /v1/chat/completions\r\n"), 400),
    "another protocol": (_framed(CHUNKED, head=HEAD.replace(b"HTTP", b"HTTQ")), 400),
    "version 2": (_framed(b"Content-Length: 0", head=HEAD.replace(b"1.1", b"2.0"), body=b""), 400),
    "version 1.10": (_framed(CHUNKED, head=HEAD.replace(b"1.1", b"1.10")), 400),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + NEXT, 400),
    "a handshake of TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50) + b"\r\n\r\n", 400),
    "no host": (_framed(b"Content-Length: 0", host=b"", body=b""), 400),
    "two hosts": (_framed(b"Content-Length: 0", host=HOST + b"Host: evil.com\r\n", body=b""), 400),
    "a whole address": (
        _framed(b"Content-Length: 0", head=b"POST http://evil.com/v1/models HTTP/1.1\r\n", body=b""),
        400,
    ),
    "a chunk of negative size": (_framed(CHUNKED, body=b"-1\r\nx\r\n0\r\n\r\n"), 400),
    "a chunk that overflows": (_framed(CHUNKED, body=b"fffffffffffffffff\r\nx\r\n0\r\n\r\n"), 400),
    "a chunk with a prefix": (_framed(CHUNKED, body=b"0x1\r\nx\r\n0\r\n\r\n"), 400),
    "a chunk without a size": (_framed(CHUNKED, body=b"\r\nx\r\n0\r\n\r\n"), 400),
    "a chunk with a line feed": (_framed(CHUNKED, body=b"1;a\nb\r\nx\r\n0\r\n\r\n"), 400),
    "a chunk that is longer": (_framed(CHUNKED, body=b"1\r\nxy\r\n0\r\n\r\n"), 400),
    "a chunk that ends in a line feed": (_framed(CHUNKED, body=b"1\r\nx\n0\r\n\r\n"), 400),
    "a long line": (_framed(b"Content-Length: 0", head=HEAD.replace(b"completions", b"c" * 20_000), body=b""), 431),
    "a long header": (_framed(b"Content-Length: 0", b"X: " + b"x" * 20_000, body=b""), 431),
    "many headers": (_framed(*(b"X%d: x" % number for number in range(200)), body=b""), 400),
}


@pytest.mark.row(97)
@pytest.mark.parametrize("name", SMUGGLED)
async def test_what_may_be_smuggled_is_refused(proxy: Any, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """One answer, of a constant text; then the connection closes, and nothing that follows is taken for a request."""
    sent, status = SMUGGLED[name]
    async with Backend([GONE]) as backend:
        running = await proxy(mapping(backend.url))
        async with await Client.connect(running.url) as client:
            await client.send(sent)
            came = await client.rest()
        assert not backend.connections
    head, _, body = came.partition(b"\r\n\r\n")
    assert int(head.split()[1]) == status, came
    assert head.startswith((b"HTTP/1.0 ", b"HTTP/1.1 "))
    error = json.loads(body)["error"]
    code = "request_too_large" if status == 431 else "invalid_request"
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", None, code)
    assert b"canary" not in came
    running.state.log.close()
    err = capfd.readouterr().err
    assert "canary" not in err
    assert "smuggled" not in err
