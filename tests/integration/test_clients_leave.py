"""Promises to a backend whose client leaves: its connection closes at once, in every phase."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from scripted import GONE, REQUEST, Backend, Client, chunk, event, hello, mapping, nothing_is_left, settled, stream_head

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])

HALF = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
PHASES: dict[str, tuple[bool, list[Any], bytes]] = {
    "waiting for the headers": (False, [REQUEST, GONE], b""),
    "within a whole answer": (False, [REQUEST, HALF, GONE], b""),
    "waiting for a stream": (True, [REQUEST, GONE], b""),
    "before the first event": (True, [REQUEST, stream_head(), GONE], b""),
    "after the first event": (True, [REQUEST, stream_head(), chunk(event("The ")), GONE], b'"The "'),
}
WAYS: dict[str, Callable[[Client], None]] = {"FIN": Client.leave, "RST": Client.reset}


@pytest.mark.row(74, 75, 76)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("phase", PHASES)
async def test_the_backend_is_left_when_its_client_leaves(
    proxy: Any, capfd: pytest.CaptureFixture[str], phase: str, way: str
) -> None:
    """Rows 74 to 76. Nothing of the request is left, and the log says 499, which is no failure."""
    streams, script, heard = PHASES[phase]
    async with Backend(script) as backend:
        running = await proxy(mapping(backend.url, timeouts="{first_byte: 1h, idle: 1h}"))
        async with await Client.connect(running.url) as client:
            await client.send(hello(stream=streams))
            await backend.asked()
            if heard:
                await client.until(heard)
            WAYS[way](client)
            await backend.gone()
        await nothing_is_left(running)
    await _logged(running, capfd, lambda line: (line["status"], line["level"]) == (499, "info"))


@pytest.mark.parametrize("way", WAYS)
async def test_a_client_that_leaves_while_the_backend_is_connected_to(proxy: Any, way: str) -> None:
    """The handshake is given up."""
    async with Backend([GONE]) as backend:
        running = await proxy(mapping(backend.url.replace("http", "https")))
        async with await Client.connect(running.url) as client:
            await client.send(hello())
            await backend.until(lambda: bool(backend.connections))
            WAYS[way](client)
            await backend.gone()
        await nothing_is_left(running)


async def test_a_client_that_leaves_while_tokens_are_counted(proxy: Any) -> None:
    """The backend was left before; the request ends."""
    counting, never = asyncio.Event(), asyncio.Event()

    class Stuck:
        async def count(self, _texts: list[str]) -> list[int]:
            counting.set()
            await never.wait()
            return []

    async with Backend([REQUEST, *_answer_without_usage()]) as backend:
        running = await proxy(mapping(backend.url))
        tokenizer, running.state.tokenizer = running.state.tokenizer, Stuck()
        async with await Client.connect(running.url) as client:
            await client.send(hello())
            await counting.wait()
            assert not running.state.clocks
        await nothing_is_left(running)
        running.state.tokenizer = tokenizer


async def test_a_client_that_leaves_within_its_own_body(proxy: Any) -> None:
    """No backend is asked, and the log says 499."""
    async with Backend([GONE]) as backend:
        running = await proxy(mapping(backend.url))
        async with await Client.connect(running.url) as client:
            await client.send(hello()[:-5])
            await settled(lambda: running.state.active == 1)
        await nothing_is_left(running)
        assert not backend.connections


async def test_many_clients_that_leave_at_once_leave_nothing(proxy: Any) -> None:
    """No task, no connection to the backend."""
    before = len(asyncio.all_tasks())
    async with Backend([REQUEST, stream_head(), chunk(event("The ")), GONE]) as backend:
        running = await proxy(mapping(backend.url))
        clients = [await Client.connect(running.url) for _ in range(50)]
        for client in clients:
            await client.send(hello(stream=True))
        await backend.asked(50)
        for client in clients:
            client.reset()
        await backend.gone(50)
        await nothing_is_left(running)
    await settled(lambda: len(asyncio.all_tasks()) <= before)


def _answer_without_usage() -> list[bytes]:
    body = json.dumps({"text": "hi"}).encode()
    return [b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body]


async def _logged(running: Any, capfd: pytest.CaptureFixture[str], wanted: Callable[[Any], bool]) -> None:
    """The one log line of the request, once it is written."""
    running.state.log.close()
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    (line,) = [line for line in lines if line["event"] == "request"]
    assert wanted(line), line


async def test_a_client_that_leaves_while_it_is_written_to_is_no_failure(
    proxy: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nor one whose leaving is noticed by a write that fails: the log has one line of it, and no error."""

    def many() -> Iterator[bytes]:
        yield stream_head()
        while True:
            yield chunk(event("x" * 1000))

    async with Backend(*([REQUEST, many()] for _ in range(20))) as backend:
        running = await proxy(mapping(backend.url))
        for _ in range(20):
            async with await Client.connect(running.url) as client:
                await client.send(hello(stream=True))
                await client.until(b'"xxx')
                client.reset()
        await backend.gone(20)
        await nothing_is_left(running)
    running.state.log.close()
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [line["status"] for line in lines if line["event"] == "request"] == [499] * 20
    assert not [line for line in lines if line["level"] in ("warning", "error")]
