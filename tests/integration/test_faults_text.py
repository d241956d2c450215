"""Streams whose payloads are text: nothing in a piece of it tells whether it is whole, or what it should have been."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from scripted import FIN, GONE, REQUEST, Backend, Client, Wire, chunk, fetch, hello, mapping, settled, stream_head

BOTH_LOOPS = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])
BARE = b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
ENDED = "{request: {path: /s}, format: sse, data: text, text: '@', end: '[DONE]'}"
OPEN = "{request: {path: /s}, format: sse, data: text, text: '@'}"
PLAIN = "{request: {path: /s}, format: text, text: '@'}"
JSON = "{request: {path: /s}, format: sse, text: t}"


def request_line(running: Any, capfd: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What the log says of the one request."""
    running.state.log.close()
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    (line,) = [line for line in lines if line["event"] == "request"]
    return dict(line)


async def heard(url: str, go: asyncio.Event) -> Wire:
    """The response to a stream, which goes on once its first text came."""
    async with await Client.connect(url) as client:
        await client.send(hello(stream=True))
        await client.until(b'"The "')
        go.set()
        return await client.answer()


@pytest.mark.row(55)
@BOTH_LOOPS
@pytest.mark.parametrize("bare", [True, False], ids=["connection", "chunks"])
@pytest.mark.parametrize("rest", [b"data: capi", b"data: capi\n", b"data: [DO", b"data: capi\ndata: tal"])
async def test_row_55_a_piece_of_text_that_is_cut_is_dropped(proxy: Any, bare: bool, rest: bytes) -> None:
    """The event has no end, and the stream neither: what is left of it is nobody's text."""
    first = b"data: The \n\n"
    go = asyncio.Event()
    script = [BARE + first, go, rest, FIN] if bare else [stream_head(), chunk(first), go, chunk(rest), chunk(b""), GONE]
    async with Backend([REQUEST, *script]) as backend:
        running = await proxy(mapping(backend.url, stream=ENDED))
        wire = await heard(running.url, go)
        assert (wire.text, wire.error["code"]) == ("The ", "upstream_truncated")
        await settled(lambda: running.state.active == 0)


@pytest.mark.row(55)
async def test_row_55_a_cut_piece_before_anything_was_told_is_a_status(proxy: Any) -> None:
    """Of both kinds of answers."""
    for streams in (True, False):
        async with Backend([REQUEST, BARE + b"data: capi", FIN]) as backend:
            running = await proxy(mapping(backend.url, stream=ENDED, response=""))
            wire = await fetch(running.url, hello(stream=streams))
            assert (wire.status, wire.error["code"]) == (502, "upstream_truncated")


@pytest.mark.parametrize("end", [b"data: [DONE]", b"data: [DONE]\n", b"data: [DONE]\n\n"])
async def test_an_end_needs_no_blank_line(proxy: Any, end: bytes) -> None:
    """It is the end all the same."""
    async with Backend([REQUEST, BARE + b"data: fine\n\n" + end, FIN]) as backend:
        running = await proxy(mapping(backend.url, stream=ENDED))
        wire = await fetch(running.url, hello(stream=True))
        assert (wire.text, wire.events[-1], wire.complete) == ("fine", "[DONE]", True)


async def test_an_error_needs_no_blank_line(proxy: Any) -> None:
    """It says more than that the stream was cut."""
    first = b"data: The \n\n"
    go = asyncio.Event()
    async with Backend([REQUEST, BARE + first, go, b"event: error\ndata: no more", FIN]) as backend:
        running = await proxy(mapping(backend.url, stream=ENDED))
        wire = await heard(running.url, go)
        assert (wire.text, wire.error["code"]) == ("The ", "upstream_error")


@pytest.mark.row(42)
@BOTH_LOOPS
@pytest.mark.parametrize(
    ("stream", "pieces", "text", "count"),
    [
        (
            ENDED,
            [b"data: a\xff\n\n", b"data: b\n\n", b"data: \xe2\x82c\n\n", b"data: [DONE]\n\n"],
            "a\ufffdb\ufffdc",
            2,
        ),
        (PLAIN, [b"a\xff", b"\xe2\x82", b"\xac", b"\xef\xbf\xbd", b"\xf0\x9f"], "a\ufffd\u20ac\ufffd\ufffd", 2),
        (PLAIN, [b"\xef\xbf\xbd\xe2", b"\x82", b"\xac"], "\ufffd\u20ac", None),
    ],
    ids=["events", "text", "nothing to mend"],
)
async def test_row_42_the_log_tells_of_text_that_was_mended(
    proxy: Any, capfd: pytest.CaptureFixture[str], stream: str, pieces: list[bytes], text: str, count: int | None
) -> None:
    """How many pieces of it; characters that were sent as U+FFFD are none, nor those that were cut by a read."""
    async with Backend([REQUEST, stream_head(), *map(chunk, pieces), chunk(b"")]) as backend:
        running = await proxy(mapping(backend.url, stream=stream))
        wire = await fetch(running.url, hello(stream=True))
        assert (wire.text, wire.complete) == (text, True)
    line = request_line(running, capfd)
    if count is None:
        assert "invalid_utf8" not in line
    else:
        assert 1 <= line["invalid_utf8"] <= count


@pytest.mark.row(54)
@pytest.mark.parametrize(
    ("stream", "head", "told"),
    [(JSON, BARE, True), (OPEN, BARE, True), (PLAIN, BARE, True), (JSON, stream_head(), None), (ENDED, BARE, None)],
    ids=["JSON", "text in events", "text", "chunks", "an end"],
)
async def test_row_54_the_log_tells_of_an_end_that_nothing_marked(
    proxy: Any, capfd: pytest.CaptureFixture[str], stream: str, head: bytes, told: bool | None
) -> None:
    """T18: where the mapping knows no end and only the connection has one, a lost connection looks the same."""
    body = b'data: {"t": "fine"}\n\n' if stream is JSON else b"data: fine\n\ndata: [DONE]\n\n"
    rest = [body, FIN] if head is BARE else [chunk(body), chunk(b"")]
    async with Backend([REQUEST, head, *rest]) as backend:
        running = await proxy(mapping(backend.url, stream=stream))
        wire = await fetch(running.url, hello(stream=True))
        assert wire.complete
    assert request_line(running, capfd).get("unmarked_end") == told
