"""Readers that stall: the backend's sending stops soon, both sides are given up in time, and others lose nothing."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web
from faults import BOTH_LOOPS
from scripted import (
    FIN,
    GONE,
    PATIENCE,
    REQUEST,
    RST,
    Backend,
    Client,
    chunk,
    event,
    fetch,
    hello,
    mapping,
    settled,
    stream_head,
)
from support import serving

from oaiproxy import buffers

MANY = 8
TAKEN = 2 << 20
"""Bytes of one stream that the proxy may take for a client that does not read: its own buffers, and the kernel's."""
SMALL = 4096
MODEST = 128 * 1024
"""A buffer of the backend, which is counted as sent: with a smaller one the window of who receives never grows."""


def flood(size: int) -> Iterator[bytes]:
    """Events without end."""
    piece = chunk(event("x" * size)) * max(1, 8192 // size)
    while True:
        yield piece


async def _at_rest(backend: Backend) -> None:
    """Wait until the backend gets rid of nothing more."""
    sent = -1
    async with asyncio.timeout(PATIENCE):
        while (now := sum(connection.sent for connection in backend.connections)) != sent:
            sent = now
            await asyncio.sleep(0.2)


@pytest.mark.row(80)
@BOTH_LOOPS
@pytest.mark.parametrize("size", [10, 1000, 100_000])
async def test_what_is_taken_of_a_stream_that_nobody_reads_is_bounded(proxy: Any, size: int) -> None:
    """For each of many such streams; meanwhile another client gets its answer, and all are gone when they leave."""
    fine = [REQUEST, stream_head(), chunk(event("fine", done=True)), chunk(b"")]
    scripts: list[Any] = [[REQUEST, stream_head(), flood(size), GONE]] * MANY
    async with Backend(*scripts, fine, send_buffer=MODEST) as backend:
        running = await proxy(mapping(backend.url, timeouts="{idle: 1h}"), write_timeout=3600)
        clients = [await Client.connect(running.url, receive_buffer=SMALL) for _ in range(MANY)]
        for client in clients:
            await client.send(hello(stream=True))
        await backend.asked(MANY)
        await _at_rest(backend)
        assert max(connection.sent for connection in backend.connections) < TAKEN
        assert (await fetch(running.url, hello(stream=True))).text == "fine"
        for client in clients:
            client.reset()
        await backend.gone(MANY)
        await settled(lambda: running.state.active == 0)
        assert not running.state.clocks


@pytest.mark.row(80)
@BOTH_LOOPS
async def test_many_that_stall_are_all_given_up(
    proxy: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both sides of each, and the log says why: it was the client."""
    monkeypatch.setattr(buffers, "GRACE_SECONDS", 60)  # on a busy machine the kernel could be first, and says nothing
    async with Backend([REQUEST, stream_head(), flood(8000), GONE], send_buffer=MODEST) as backend:
        running = await proxy(mapping(backend.url, timeouts="{idle: 1h}"), write_timeout=0.5)
        clients = [await Client.connect(running.url, receive_buffer=SMALL) for _ in range(MANY)]
        for client in clients:
            await client.send(hello(stream=True))
        await backend.asked(MANY)
        await backend.gone(MANY)
        await settled(lambda: running.state.active == 0)
        assert not running.state.clocks
        for client in clients:
            said = await client.rest()
            assert b"[DONE]" not in said
            assert b"upstream" not in said
            client.leave()
    running.state.log.close()
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    told = [(line["status"], line["stalled"], line["level"]) for line in lines if line["event"] == "request"]
    assert told == [(499, True, "info")] * MANY


@pytest.mark.row(80)
@BOTH_LOOPS
@pytest.mark.parametrize("end", [[chunk(event(done=True)), chunk(b""), FIN], [RST]], ids=["end", "fault"])
@pytest.mark.parametrize("size", [200_000, 300_000, 340_000])
async def test_what_is_left_for_a_client_when_nobody_writes_any_more(proxy: Any, size: int, end: list[Any]) -> None:
    """Is not kept for ever: the kernel may take nearly all, and a connection that is closed waits for the rest."""
    if not hasattr(socket, "TCP_USER_TIMEOUT"):
        pytest.skip("the kernel has no such time")
    text = [chunk(event("x" * 10_000)) for _ in range(size // 10_000)]
    async with Backend([REQUEST, stream_head(), *text, *end]) as backend:
        running = await proxy(mapping(backend.url), write_timeout=0.5, keepalive_timeout=0.5)
        before = len(os.listdir("/proc/self/fd"))
        async with await Client.connect(running.url, receive_buffer=SMALL) as client:
            await client.send(hello(stream=True))
            await backend.asked()
            await settled(lambda: running.state.active == 0)
            await settled(lambda: len(os.listdir("/proc/self/fd")) <= before + 1)  # that of the client


@pytest.mark.row(80)
@BOTH_LOOPS
@pytest.mark.parametrize("form", ["ndjson", "json-array", "text"])
async def test_any_format_of_a_stream_is_held_back(proxy: Any, form: str) -> None:
    """Not events alone."""
    item = {"ndjson": b'{"t": "%s"}\n', "json-array": b'{"t": "%s"},', "text": b"%s"}[form] % (b"x" * 1000)
    first = b"[" if form == "json-array" else b""

    def body() -> Iterator[bytes]:
        yield chunk(first + item)
        while True:
            yield chunk(item) * 8

    stream = f"{{request: {{path: /s}}, format: {form}, text: {'@' if form == 'text' else 't'}}}".replace("@", "'@'")
    async with Backend([REQUEST, stream_head(), body(), GONE], send_buffer=MODEST) as backend:
        running = await proxy(mapping(backend.url, timeouts="{idle: 1h}", stream=stream), write_timeout=3600)
        async with await Client.connect(running.url, receive_buffer=SMALL) as client:
            await client.send(hello(stream=True))
            await backend.asked()
            await _at_rest(backend)
            assert 0 < backend.connections[0].sent < TAKEN
        await backend.gone()
        await settled(lambda: running.state.active == 0)


@pytest.mark.row(80)
@BOTH_LOOPS
async def test_a_websocket_is_held_back_too(proxy: Any) -> None:
    """The backend's sending waits."""
    sent, left = 0, asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        try:
            while True:
                await socket.send_str(json.dumps({"t": "x" * 1000}))
                sent += 1000
                await asyncio.sleep(0)
        except (ConnectionError, asyncio.CancelledError):
            left.set()
        return socket

    async with serving(handle, "ws") as url:
        stream = "{request: {path: /s, body: {p: '{{ prompt }}'}}, format: messages, text: t, done: d}"
        made = mapping(url, response="", stream=stream, backend="transport: websocket", timeouts="{idle: 1h}")
        running = await proxy(made, write_timeout=3600)
        async with await Client.connect(running.url, receive_buffer=SMALL) as client:
            await client.send(hello(stream=True))
            await client.until(b"xxx")
            seen = -1
            async with asyncio.timeout(PATIENCE):
                while seen != sent:
                    seen = sent
                    await asyncio.sleep(0.2)
            # What this backend's own kernel keeps of it is not bounded here.
            assert sent < 8 << 20
        async with asyncio.timeout(PATIENCE):
            await left.wait()
        await settled(lambda: running.state.active == 0)
