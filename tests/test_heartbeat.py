"""Promises of comments in silent streams: they come between events and before the first, and count for nothing."""

from __future__ import annotations

import asyncio
import weakref
from typing import Any

import pytest
from faults import BOTH_LOOPS
from scripted import (
    FIN,
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
    settled,
    stream,
    stream_head,
)
from support import chat as chat_mapping

from oaiproxy.heartbeat import COMMENT, Heartbeat

SOON = 0.02
DROPPED = "x-oaiproxy-dropped"


def without_comments(body: bytes) -> bytes:
    """What a client sees of it."""
    return body.replace(COMMENT, b"")


@BOTH_LOOPS
async def test_a_silent_backend_is_bridged_before_the_first_event(proxy: Any) -> None:
    """Headers leave with the first comment, all of them; the answer follows as if nothing had been."""
    go = asyncio.Event()
    async with Backend([REQUEST, go, stream("fi", "ne")]) as backend:
        running = await proxy(mapping(backend.url), keepalive_comments=SOON)
        async with await Client.connect(running.url) as client:
            await client.send(hello(stream=True, seed=1, headers={"x-request-id": "mine"}))
            await client.until(chunk(COMMENT) * 2)
            go.set()
            wire = await client.answer()
    assert (wire.status, wire.complete, wire.headers[DROPPED]) == (200, True, "seed")
    assert (wire.headers["x-request-id"], wire.headers["content-type"]) == ("mine", "text/event-stream; charset=utf-8")
    assert wire.body.startswith(COMMENT * 2)
    assert without_comments(wire.body).startswith(b"data: ")
    assert wire.body.endswith(b"data: [DONE]\n\n")


@BOTH_LOOPS
async def test_a_silence_between_events_is_bridged(proxy: Any) -> None:
    """Each event stays whole."""
    go = asyncio.Event()
    script = [
        REQUEST,
        stream_head(),
        chunk(event("The ") + b"data: {"),
        go,
        chunk(b'"t": "end", "d": true}\n\n'),
        chunk(b""),
    ]
    async with Backend(script) as backend:
        running = await proxy(mapping(backend.url), keepalive_comments=SOON)
        async with await Client.connect(running.url) as client:
            await client.send(hello(stream=True))
            await client.until(b'"The "')
            await client.until(COMMENT)
            go.set()
            wire = await client.answer()
    assert wire.complete
    assert COMMENT in wire.body
    parts = without_comments(wire.body).split(b"\n\n")
    assert {part[:6] for part in parts if part} == {b"data: "}
    assert parts[-2:] == [b"data: [DONE]", b""]


@BOTH_LOOPS
@pytest.mark.parametrize(
    ("script", "code"),
    [
        ([answer({"error": "no"}, 429, {"Retry-After": "7"})], "rate_limit_exceeded"),
        ([answer({"error": "no"}, 400)], "invalid_value"),
        ([FIN], "upstream_closed"),
        ([stream_head(), FIN], "upstream_truncated"),
    ],
    ids=["busy", "refused", "gone", "cut"],
)
async def test_a_failure_after_a_comment_is_an_event(proxy: Any, script: list[Any], code: str) -> None:
    """The status was sent; the end has no mark."""
    go = asyncio.Event()
    async with Backend([REQUEST, go, *script]) as backend:
        running = await proxy(mapping(backend.url), keepalive_comments=SOON)
        async with await Client.connect(running.url) as client:
            await client.send(hello(stream=True))
            await client.until(COMMENT)
            go.set()
            wire = await client.answer()
    assert (wire.status, wire.complete) == (200, False)
    (payload,) = [part for part in without_comments(wire.body).split(b"\n\n") if part]
    assert payload.startswith(b'data: {"error":')
    assert code.encode() in payload


async def test_comments_are_no_progress_of_the_backend(proxy: Any) -> None:
    """Its time to answer ends as ever."""
    async with Backend([REQUEST, GONE]) as backend:
        running = await proxy(mapping(backend.url, timeouts="{first_byte: 200ms}"), keepalive_comments=SOON)
        wire = await fetch(running.url, hello(stream=True))
    assert COMMENT in wire.body
    assert b"upstream_timeout" in without_comments(wire.body)


async def test_a_whole_answer_gets_none(proxy: Any) -> None:
    """Nor any headers before its end: a failure stays a status."""
    async with Backend([REQUEST, GONE]) as backend:
        running = await proxy(mapping(backend.url, timeouts="{first_byte: 200ms}"), keepalive_comments=SOON)
        wire = await fetch(running.url, hello())
    assert (wire.status, wire.error["code"]) == (504, "upstream_timeout")


async def test_none_are_sent_when_they_are_turned_off(proxy: Any) -> None:
    """Then a failure before the first event is a status, however late."""
    async with Backend([REQUEST, GONE]) as backend:
        running = await proxy(mapping(backend.url, timeouts="{first_byte: 200ms}"), keepalive_comments=0)
        wire = await fetch(running.url, hello(stream=True))
    assert (wire.status, wire.error["code"]) == (504, "upstream_timeout")


async def test_several_choices_share_them(proxy: Any) -> None:
    """Where each is a request of its own."""
    go = asyncio.Event()
    form = {
        "more": "emulate: [n]",
        "request": "{path: /g, body: {p: '{{ prompt }}'}}",
        "stream": "{format: sse, text: t, done: d}",
    }
    async with Backend([REQUEST, go, stream("fi", "ne")]) as backend:
        running = await proxy(chat_mapping(backend=f"{{url: '{backend.url}'}}", **form), keepalive_comments=SOON)
        async with await Client.connect(running.url) as client:
            await client.send(hello(stream=True, n=3))
            await client.until(COMMENT)
            go.set()
            wire = await client.answer()
    assert (wire.complete, wire.body.count(b'"finish_reason":"stop"')) == (True, 3)
    assert without_comments(wire.body).startswith(b"data: ")


async def test_a_client_that_leaves_during_the_silence_frees_the_backend(proxy: Any) -> None:
    """A comment that nobody takes is no bug."""
    async with Backend([REQUEST, GONE]) as backend:
        running = await proxy(mapping(backend.url), keepalive_comments=SOON)
        async with await Client.connect(running.url) as client:
            await client.send(hello(stream=True))
            await client.until(COMMENT)
        await backend.gone()
        await settled(lambda: not running.state.active)


@BOTH_LOOPS
async def test_a_busy_stream_gets_none() -> None:
    """Only silence counts, and its end is the end of all."""
    written: list[bytes] = []

    async def write(comment: bytes) -> None:
        written.append(comment)

    heartbeat = Heartbeat(0.05, write)
    clock, silences = asyncio.get_running_loop().time, 0
    for _ in range(30):
        before = clock()
        await asyncio.sleep(0.005)
        silences += clock() - before > 0.04  # a machine that stops for so long has a silent stream
        heartbeat.event()
    assert len(written) <= silences
    heartbeat.stop()
    known = len(written)
    await asyncio.sleep(0.1)
    assert len(written) == known


async def test_a_connection_that_broke_gets_no_more() -> None:
    """One try shows it."""
    written: list[bytes] = []

    async def write(comment: bytes) -> None:
        written.append(comment)
        raise ConnectionResetError

    heartbeat = Heartbeat(0.001, write)
    await settled(lambda: bool(written))
    await asyncio.sleep(0.02)
    assert written == [COMMENT]
    heartbeat.stop()


async def test_what_has_stopped_holds_nothing() -> None:
    """Who writes is free without the garbage collector."""

    class Writer:
        async def write(self, comment: bytes) -> None:
            raise AssertionError

    writer = Writer()
    alive = weakref.ref(writer)
    heartbeat = Heartbeat(60, writer.write)
    heartbeat.stop()
    del writer
    assert alive() is None
