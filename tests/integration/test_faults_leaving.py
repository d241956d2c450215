"""A client that leaves is seen in every phase of its request: the backend's connection closes, and nothing is left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from scripted import (
    FIN,
    GONE,
    REQUEST,
    Backend,
    Client,
    answer,
    chunk,
    event,
    hello,
    mapping,
    nothing_is_left,
    settled,
    stream_head,
)
from support import load, serving

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])

WAYS: dict[str, Callable[[Client], None]] = {"FIN": Client.leave, "RST": Client.reset}
LATE = "timeouts: {connect: 1h, first_byte: 1h, idle: 1h, total: 2h}"


@dataclass
class Phase:
    """Where the client leaves: a mapping for the backend's address, what the backend does, what the client asks."""

    more: str
    script: list[Any]
    backend: str = ""
    body: dict[str, Any] = field(default_factory=dict)
    until: bytes = b""
    """What the client waits for; else the backend has been asked, and as often as `asked` says."""
    asked: int = 1
    others: list[list[Any]] = field(default_factory=list)
    """What further connections play."""


CHAT = "request: {path: /s, body: {q: '{{ prompt }}'}}"
WHOLE = f"{CHAT}\n  response: {{text: text}}"
STREAM = f"{WHOLE}\n  stream: {{format: sse, text: t, done: d}}"
CLOSING = {"Connection": "close"}
BEFORE = f"before: [{{name: s, request: {{path: /before, body: {{q: 1}}}}}}]\n  {STREAM}"
AFTER = f"{STREAM}\n  after: [{{name: u, request: {{path: /after}}, usage: {{prompt: p, completion: c}}, timeout: 1h}}]"
POLL = f"{CHAT}\n  poll: {{request: {{path: /task}}, every: {{first: %s}}, status: status, done: [done], timeout: 1h}}"
POLL += "\n  response: {text: text}"
BUSY = answer({"status": "busy"}, headers=CLOSING)

PHASES: dict[str, Phase] = {
    "headers awaited": Phase(WHOLE, [REQUEST, GONE]),
    "within a whole answer": Phase(WHOLE, [REQUEST, answer({"text": "x" * 50})[:-9], GONE]),
    "stream awaited": Phase(STREAM, [REQUEST, GONE], body={"stream": True}),
    "before the first event": Phase(STREAM, [REQUEST, stream_head(), GONE], body={"stream": True}),
    "after the first event": Phase(
        STREAM, [REQUEST, stream_head(), chunk(event("The ")), GONE], body={"stream": True}, until=b'"The "'
    ),
    "within an event": Phase(
        STREAM,
        [REQUEST, stream_head(), chunk(event("The ") + b'data: {"t'), GONE],
        body={"stream": True},
        until=b'"The "',
    ),
    "before the main call": Phase(BEFORE, [REQUEST, GONE]),
    "between polls": Phase(POLL % "1h", [REQUEST, BUSY, FIN], others=[[REQUEST, BUSY, GONE]]),
    "within a poll": Phase(POLL % "1ms", [REQUEST, BUSY, FIN], asked=2, others=[[REQUEST, GONE]]),
    "after the main call": Phase(
        AFTER,
        [REQUEST, stream_head() + chunk(event("The ", done=True)) + chunk(b""), FIN],
        body={"stream": True, "stream_options": {"include_usage": True}},
        asked=2,
        others=[[REQUEST, GONE]],
    ),
    "before another try": Phase(
        WHOLE,
        [REQUEST, answer({}, 503, {"Retry-After": "60", "Connection": "close"}), FIN],
        backend="retry: {max: 3, on: [503], backoff: 60s}",
    ),
}


@asynccontextmanager
async def _served(proxy: Any, phase: Phase) -> AsyncIterator[tuple[Any, Backend]]:
    async with Backend(phase.script, *phase.others) as backend:
        lines = ["oaiproxy: 1", "models: [m]", "backend:", f"  url: {backend.url}", f"  {LATE}"]
        lines += [f"  {phase.backend}"] if phase.backend else []
        made = load("\n".join([*lines, "chat:", f"  {phase.more}"]) + "\n")
        yield await proxy(made), backend


@pytest.mark.row(74, 75, 76)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", PHASES)
async def test_the_backend_is_left_when_its_client_leaves(
    proxy: Any, capfd: pytest.CaptureFixture[str], name: str, way: str
) -> None:
    """T20: in every phase and by both ways; nothing more is asked, nothing is left, and the log says 499."""
    phase = PHASES[name]
    before = len(asyncio.all_tasks())
    async with _served(proxy, phase) as (running, backend):
        async with await Client.connect(running.url) as client:
            await client.send(hello(**phase.body))
            await backend.asked(phase.asked)
            if phase.until:
                await client.until(phase.until)
            WAYS[way](client)
            await backend.gone(len(backend.connections))
        await nothing_is_left(running)
        assert len(backend.requests) == phase.asked
    await settled(lambda: len(asyncio.all_tasks()) <= before + 1)
    await _logged(running, capfd)


async def _logged(running: Any, capfd: pytest.CaptureFixture[str]) -> None:
    running.state.log.close()
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    (line,) = [line for line in lines if line["event"] == "request"]
    assert (line["status"], line["level"]) == (499, "info"), line
    assert not [line for line in lines if line["level"] in ("warning", "error")], lines


@pytest.mark.row(76)
@pytest.mark.parametrize("way", WAYS)
async def test_a_client_that_leaves_while_a_connection_is_made(
    proxy: Any, capfd: pytest.CaptureFixture[str], way: str
) -> None:
    """A handshake that is never answered is given up."""
    async with Backend([GONE]) as backend:
        running = await proxy(mapping(backend.url.replace("http", "https"), timeouts="{connect: 1h}"))
        async with await Client.connect(running.url) as client:
            await client.send(hello())
            await backend.until(lambda: bool(backend.connections))
            WAYS[way](client)
            await backend.gone()
        await nothing_is_left(running)
    await _logged(running, capfd)


@pytest.mark.row(76)
@pytest.mark.parametrize("way", WAYS)
async def test_a_client_that_leaves_while_no_connection_can_be_made(
    proxy: Any, capfd: pytest.CaptureFixture[str], way: str
) -> None:
    """The waits between the tries end with it."""
    async with Backend([]) as backend:
        address = backend.url
    running = await proxy(mapping(address, backend="retry: {max: 5, backoff: 60s}"))
    async with await Client.connect(running.url) as client:
        await client.send(hello())
        await settled(lambda: running.state.active == 1 and bool(running.state.clocks))
        WAYS[way](client)
        await nothing_is_left(running)
    await _logged(running, capfd)


@pytest.mark.row(76)
@pytest.mark.parametrize("way", WAYS)
async def test_a_client_that_leaves_while_a_token_is_awaited(proxy: Any, way: str) -> None:
    """The token is for all who come, so it is still fetched; the backend is not asked."""
    go = asyncio.Event()
    token = answer({"access_token": "t", "expires_in": 3600, "token_type": "bearer"}, headers=CLOSING)
    async with Backend([REQUEST, go, token, FIN], [REQUEST, answer({"text": "fine"})]) as backend:
        auth = f"auth: {{oauth2: {{token_url: '{backend.url}/token', client_id: a, client_secret: b}}}}"
        running = await proxy(mapping(backend.url, backend=auth))
        async with await Client.connect(running.url) as client:
            await client.send(hello())
            await backend.asked()
            WAYS[way](client)
            await nothing_is_left(running)
        assert [request.line.split(" ")[1] for request in backend.requests] == ["/token"]
        go.set()
        async with await Client.connect(running.url) as client:
            await client.send(hello())
            assert (await client.answer()).text == "fine"
        assert [request.line.split(" ")[1] for request in backend.requests] == ["/token", "/whole"]


@pytest.mark.row(76)
@pytest.mark.parametrize("way", WAYS)
async def test_a_client_that_leaves_while_an_image_is_fetched(
    proxy: Any, capfd: pytest.CaptureFixture[str], way: str
) -> None:
    """Nobody fetches it on, and the backend is not asked."""
    asked, left = asyncio.Event(), asyncio.Event()

    async def image(_request: web.Request) -> web.StreamResponse:
        asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            left.set()
            raise
        return web.Response()

    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(serving(image))
        backend = await stack.enter_async_context(Backend([REQUEST, answer({"text": "fine"})]))
        made = load(f"""
oaiproxy: 1
models: [m]
backend: {{url: "{backend.url}"}}
chat:
  images: {{inline: true, allow_hosts: ["{host}"], allow_private: true, timeout: 1h}}
  request:
    path: /s
    body:
      q: "{{% for m in messages %}}{{{{ m.text }}}}{{% endfor %}}"
      images: [{{$for: m in messages if m.images_base64, $value: "{{{{ m.images_base64 | first }}}}"}}]
  response: {{text: text}}
""")
        running = await proxy(made)
        parts = [{"type": "image_url", "image_url": {"url": f"{host}/a.png"}}]
        async with await Client.connect(running.url) as client:
            await client.send(hello(messages=[{"role": "user", "content": parts}]))
            await asked.wait()
            WAYS[way](client)
            async with asyncio.timeout(60):
                await left.wait()
            await nothing_is_left(running)
        assert not backend.connections
    await _logged(running, capfd)


@pytest.mark.row(74, 75)
@pytest.mark.parametrize("way", WAYS)
async def test_hundreds_that_leave_anywhere_leave_nothing(proxy: Any, way: str) -> None:
    """At one moment each, from before the headers of the backend to the end of the answer."""
    body = b"".join(chunk(event(f"{number} ")) for number in range(20))
    whole = [stream_head() + body + chunk(event(done=True)) + chunk(b"")]
    scripts = [
        [REQUEST, GONE],
        [REQUEST, stream_head(), GONE],
        [REQUEST, stream_head() + body[:100], GONE],
        [REQUEST, stream_head() + body, GONE],
        [REQUEST, *whole, GONE],
    ]
    before = len(asyncio.all_tasks())
    async with Backend(*scripts * 40) as backend:
        running = await proxy(mapping(backend.url, timeouts="{first_byte: 1h, idle: 1h}"))

        async def come_and_go(number: int) -> None:
            async with await Client.connect(running.url) as client:
                await client.send(hello(stream=True))
                for _ in range(number % 7):
                    await asyncio.sleep(0)
                WAYS[way](client)

        for begin in range(0, 200, 50):
            await asyncio.gather(*(come_and_go(number) for number in range(begin, begin + 50)))
        await nothing_is_left(running)
        # A connection whose answer came to its end is kept, and closed with the proxy.
        assert len(backend.connections) <= 200
    await settled(lambda: len(asyncio.all_tasks()) <= before + 1)
