"""Promises of backends behind a websocket, with real sockets at both ends: what is sent, and how each end reads."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import WSCloseCode, WSMsgType, web
from scripted import GONE, PATIENCE, REQUEST, Backend, Client, fetch, hello, settled
from support import listening, load, serving

from oaiproxy.mapping import Mapping
from oaiproxy.mock import answers, mock_app
from oaiproxy.reading import file_reader
from oaiproxy.reply import MAX_FRAME

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])
Talk = Callable[[web.WebSocketResponse, "Server"], Awaitable[None]]


@dataclass
class Server:
    """What a backend saw."""

    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)
    messages: list[Any] = field(default_factory=list)
    sent: int = 0
    closes: list[int | None] = field(default_factory=list)


@asynccontextmanager
async def backend(talk: Talk) -> AsyncIterator[Server]:
    """A backend that talks so once the first message came."""
    seen = Server()

    async def handle(request: web.Request) -> web.StreamResponse:
        seen.headers, seen.paths = {k.lower(): v for k, v in request.headers.items()}, [*seen.paths, request.path_qs]
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        first = await socket.receive()
        assert first.type is WSMsgType.TEXT
        seen.messages.append(json.loads(first.data))
        await talk(socket, seen)
        return socket

    async with serving(handle, "ws") as url:
        seen.url = url
        yield seen


def mapping(url: str, more: str = "", form: str = "messages") -> Mapping:
    """A mapping for it."""
    return load(f"""
oaiproxy: 1
models: [m]
backend: {{url: "{url}", transport: websocket, auth: {{bearer: key}}, query: {{v: 1}}{more}}}
chat:
  request: {{path: /talk, body: {{q: "{{{{ prompt }}}}"}}, headers: {{x-more: "1"}}}}
  stream: {{format: {form}, text: t, done: d}}
""")


async def say(*messages: Any, socket: web.WebSocketResponse) -> None:
    for message in messages:
        await (socket.send_bytes(message) if isinstance(message, bytes) else socket.send_str(json.dumps(message)))


@pytest.mark.parametrize("streams", [True, False])
async def test_a_round(proxy: Any, streams: bool) -> None:
    """The body is the first message, credentials are in the handshake; each message is a frame, text or binary."""

    async def talk(socket: web.WebSocketResponse, seen: Server) -> None:
        await say({"t": "Hé"}, b'{"t": "llo"}', {"d": True}, socket=socket)
        closing = await socket.receive()
        seen.closes.append(closing.data)

    async with backend(talk) as seen:
        running = await proxy(mapping(seen.url))
        wire = await fetch(running.url, hello(stream=streams))
        assert (wire.status, wire.text) == (200, "Héllo")
        await settled(lambda: bool(seen.closes))
    assert seen.messages == [{"q": "hi"}]
    assert seen.paths == ["/talk?v=1"]
    assert (seen.headers["authorization"], seen.headers["x-more"]) == ("Bearer key", "1")
    assert "content-type" not in seen.headers
    assert seen.closes == [WSCloseCode.OK]


async def test_the_end_of_the_socket_is_the_end_of_the_body(proxy: Any) -> None:
    """Which a mapping that waits for `done` takes for an answer that is not complete."""

    async def talk(socket: web.WebSocketResponse, _seen: Server) -> None:
        await say({"t": "a"}, socket=socket)
        await socket.close()

    async with backend(talk) as seen:
        running = await proxy(mapping(seen.url))
        assert (await fetch(running.url, hello(stream=True))).error["code"] == "upstream_incomplete"


async def test_messages_that_another_format_reads(proxy: Any) -> None:
    """Its frames begin and end wherever they like."""

    async def talk(socket: web.WebSocketResponse, _seen: Server) -> None:
        await say(b'data: {"t": "a', b'b"}\n\ndata: {"t": "c", "d": 1}', b"\n\n", socket=socket)
        await socket.receive()

    async with backend(talk) as seen:
        running = await proxy(mapping(seen.url.replace("ws:", "http:"), form="[messages, sse]"))
        assert (await fetch(running.url, hello())).text == "abc"


async def test_pings_are_answered_and_say_nothing(proxy: Any) -> None:
    """They are no frames."""

    async def talk(socket: web.WebSocketResponse, _seen: Server) -> None:
        await socket.ping(b"still there?")
        await say({"t": "a", "d": True}, socket=socket)
        await socket.receive()

    async with backend(talk) as seen:
        running = await proxy(mapping(seen.url))
        assert (await fetch(running.url, hello())).text == "a"


CLOSES: dict[str, tuple[int, int, str]] = {
    "an error": (WSCloseCode.INTERNAL_ERROR, 502, "upstream_closed"),
    "a refusal": (WSCloseCode.POLICY_VIOLATION, 502, "upstream_closed"),
    "a good end without an answer": (WSCloseCode.OK, 502, "upstream_incomplete"),
}


@pytest.mark.parametrize(("close", "status", "code"), CLOSES.values(), ids=CLOSES)
async def test_a_close_before_the_answer(proxy: Any, close: int, status: int, code: str) -> None:
    """The client gets a status, for nothing was sent yet; what the backend says of it goes to the log."""

    async def talk(socket: web.WebSocketResponse, _seen: Server) -> None:
        await say({}, socket=socket)
        await socket.close(code=close, message=b"no key is like yours")

    async with backend(talk) as seen:
        running = await proxy(mapping(seen.url))
        wire = await fetch(running.url, hello())
        assert (wire.status, wire.error["code"]) == (status, code)
        assert "no key" not in wire.error["message"]


async def test_a_socket_that_breaks(proxy: Any) -> None:
    """Without a close, in the middle of an answer."""

    async def talk(socket: web.WebSocketResponse, _seen: Server) -> None:
        await say({"t": "a"}, socket=socket)
        transport = socket._req.transport  # type: ignore[union-attr]
        assert transport is not None
        transport.abort()

    async with backend(talk) as seen:
        running = await proxy(mapping(seen.url))
        assert (await fetch(running.url, hello(stream=True))).error["code"] == "upstream_reset"


async def test_a_message_that_is_too_large(proxy: Any) -> None:
    """One of the bound passes."""

    async def talk(socket: web.WebSocketResponse, seen: Server) -> None:
        size = MAX_FRAME + len(seen.messages) - 2
        await say(b'{"t": "' + b"x" * (size - 18) + b'", "d": 1}' + b" ", socket=socket)
        await socket.receive()

    async with backend(talk) as seen:
        running = await proxy(mapping(seen.url))
        for _ in range(2):
            assert (await fetch(running.url, hello())).status == 200
        seen.messages += [None] * 20
        wire = await fetch(running.url, hello())
        assert (wire.status, wire.error["code"]) == (502, "upstream_event_too_large")


REFUSALS: dict[str, tuple[int, dict[str, str], bytes, int, str]] = {
    "no key": (401, {}, b'{"error": "bad key"}', 502, "upstream_auth_error"),
    "too many": (429, {"retry-after": "7"}, b'{"error": "slow"}', 429, "rate_limit_exceeded"),
    "elsewhere": (302, {"location": "http://127.0.0.1:1/"}, b"", 502, "upstream_redirect"),
    "no socket": (200, {}, b"<html>", 502, "upstream_protocol_error"),
}


@pytest.mark.parametrize(("given", "headers", "body", "status", "code"), REFUSALS.values(), ids=REFUSALS)
async def test_a_handshake_that_is_refused(
    proxy: Any, given: int, headers: dict[str, str], body: bytes, status: int, code: str
) -> None:
    """It is read as any reply; no redirect is followed."""
    asked: list[str] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return web.Response(status=given, headers=headers, body=body)

    async with serving(handle, "ws") as url:
        running = await proxy(mapping(url))
        wire = await fetch(running.url, hello())
    assert (wire.status, wire.error["code"]) == (status, code)
    assert wire.headers.get("retry-after") == headers.get("retry-after")
    assert asked == ["/talk"]


async def test_a_backend_that_cannot_be_reached(proxy: Any) -> None:
    """As over HTTP."""
    running = await proxy(mapping("ws://127.0.0.1:1"))
    assert (await fetch(running.url, hello())).error["code"] == "upstream_connect_error"


async def test_a_handshake_that_never_ends(proxy: Any) -> None:
    """It is part of connecting; the connection is closed."""
    async with Backend([REQUEST, GONE]) as silent:
        running = await proxy(mapping(silent.url, ", timeouts: {connect: 50ms}"))
        wire = await fetch(running.url, hello())
        assert (wire.status, wire.error["code"]) == (504, "upstream_connect_timeout")
        await silent.gone()


async def test_a_backend_that_says_nothing(proxy: Any) -> None:
    """The times to wait are those of HTTP."""

    async def talk(socket: web.WebSocketResponse, _seen: Server) -> None:
        await socket.receive()

    async with backend(talk) as seen:
        running = await proxy(mapping(seen.url, ", timeouts: {first_byte: 50ms}"))
        wire = await fetch(running.url, hello())
        assert (wire.status, wire.error["code"]) == (504, "upstream_timeout")


async def test_a_client_that_leaves_closes_the_socket(proxy: Any) -> None:
    """With a close that says so."""

    async def talk(socket: web.WebSocketResponse, seen: Server) -> None:
        await say({"t": "The "}, socket=socket)
        closing = await socket.receive()
        seen.closes.append(closing.data)

    async with backend(talk) as seen:
        running = await proxy(mapping(seen.url))
        async with await Client.connect(running.url) as client:
            await client.send(hello(stream=True))
            await client.until(b'"The "')
            client.leave()
            await settled(lambda: bool(seen.closes))
    assert seen.closes == [WSCloseCode.OK]


async def test_a_client_that_does_not_read_stops_the_backend(proxy: Any) -> None:
    """The backend's writes stand still once the buffers between are full, and go on when the client reads."""
    piece = "x" * 60_000
    total = 1500

    async def talk(socket: web.WebSocketResponse, seen: Server) -> None:
        for _ in range(total):
            await say({"t": piece}, socket=socket)
            seen.sent += 1
        await say({"d": True}, socket=socket)
        await socket.receive()

    async with backend(talk) as seen:
        running = await proxy(mapping(seen.url))
        async with await Client.connect(running.url, receive_buffer=4096) as client:
            await client.send(hello(stream=True))
            await client.until(b"xxx")
            stood, before = 0, -1
            async with asyncio.timeout(PATIENCE):
                while stood < 20:
                    stood = stood + 1 if seen.sent == before else 0
                    before = seen.sent
                    await asyncio.sleep(0.02)
            assert 0 < seen.sent < total
            client.leave()


async def test_examples_are_served_over_a_websocket(proxy: Any) -> None:
    """`mock` talks as the mapping's examples do."""
    text = """
oaiproxy: 1
models: [m]
backend: {url: "mock:", transport: websocket}
chat:
  request: {path: /talk, body: {q: "{{ prompt }}"}}
  stream: {format: messages, text: t, done: d}
examples:
  - request: {messages: [{role: user, content: hi}]}
    backend: {stream: [{data: {t: a}}, {data: {t: b, d: true}}]}
"""
    async with listening(mock_app(answers(load(text), file_reader(__file__))), "ws") as url:
        running = await proxy(load(text.replace("mock:", url)))
        assert (await fetch(running.url, hello())).text == "ab"
        assert (await fetch(running.url, hello(model="m"))).status == 200


async def test_calls_around_it_go_over_http(proxy: Any) -> None:
    """A login, a session before it whose address is followed, and what calls it off, all with the token."""
    asked: list[str] = []
    tokens: list[str | None] = []
    more = asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        asked.append(f"{request.method} {request.path_qs}")
        tokens.append(request.headers.get("Authorization"))
        if request.headers.get("Upgrade") is None:
            more.set()
            host = f"ws://{request.host}"
            return web.json_response({"token": "t1", "id": 7, "url": f"{host}/live/7", "end": f"{host}/end/7"})
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        assert (await socket.receive()).data == '{"q":"hi"}'
        await say({"t": "a"}, socket=socket)
        await socket.receive()
        return socket

    async with serving(handle, "ws") as url:
        auth = "login: {request: {path: /login, body: {k: hush}}, token: token}"
        running = await proxy(
            load(f"""
oaiproxy: 1
models: [m]
backend: {{url: "{url}", transport: websocket, auth: {{{auth}}}}}
chat:
  before: [{{name: session, request: {{path: /sessions, body: {{p: 1}}}}}}]
  request: {{url: "{{{{ session.url }}}}", body: {{q: "{{{{ prompt }}}}"}}}}
  stream: {{format: messages, text: t, done: d}}
  cancel: {{request: {{url: "{{{{ session.end }}}}"}}}}
""")
        )
        async with await Client.connect(running.url) as client:
            await client.send(hello(stream=True))
            await client.until(b'"a"')
            more.clear()
        async with asyncio.timeout(PATIENCE):
            await more.wait()
        await settled(lambda: not running.state.background and not running.state.active)
    assert asked == ["POST /login", "POST /sessions", "GET /live/7", "POST /end/7"]
    assert tokens == [None, "Bearer t1", "Bearer t1", "Bearer t1"]


def patient(url: str) -> Mapping:
    """A mapping that waits long."""
    return mapping(url, ", timeouts: {connect: 1h, first_byte: 1h, idle: 1h}")


async def test_no_socket_to_the_backend_is_free(proxy: Any) -> None:
    """As over HTTP: it is waited for, then refused; the backend never hears of it, and the next one is served."""
    go = asyncio.Event()

    async def talk(socket: web.WebSocketResponse, _seen: Server) -> None:
        await go.wait()
        await say({"t": "a", "d": True}, socket=socket)
        await socket.receive()

    async with backend(talk) as seen:
        running = await proxy(patient(seen.url))
        running.state.client.configure(1, 0.05)
        async with await Client.connect(running.url) as first:
            await first.send(hello())
            await settled(lambda: len(seen.messages) == 1)
            wire = await fetch(running.url, hello())
            assert (wire.status, wire.error["code"], wire.headers["retry-after"]) == (503, "proxy_overloaded", "1")
            assert len(seen.paths) == 1
            running.state.client.configure(1, 3600)
            async with await Client.connect(running.url) as second:
                await second.send(hello())
                await settled(lambda: running.state.active == 2)
                go.set()
                assert [(await client.answer()).text for client in (first, second)] == ["a", "a"]


async def test_a_wait_for_a_socket_is_no_part_of_connecting(proxy: Any) -> None:
    """Which may be allowed far less time."""
    go = asyncio.Event()

    async def talk(socket: web.WebSocketResponse, _seen: Server) -> None:
        await go.wait()
        await say({"t": "a", "d": True}, socket=socket)
        await socket.receive()

    async with backend(talk) as seen:
        running = await proxy(mapping(seen.url, ", timeouts: {connect: 600ms}"))
        running.state.client.configure(1, 3600)
        connector = running.state.client._sockets._connector
        async with await Client.connect(running.url) as first, await Client.connect(running.url) as second:
            await first.send(hello())
            await settled(lambda: len(seen.messages) == 1)
            await second.send(hello())
            await settled(lambda: bool(connector._waiters))
            await asyncio.sleep(0.8)
            go.set()
            assert [(await client.answer()).text for client in (first, second)] == ["a", "a"]


async def test_a_first_message_that_nobody_reads(proxy: Any) -> None:
    """Is given up at the deadline for the first byte, and its connection broken off: nothing of it is kept."""
    key = re.compile(rb"Sec-WebSocket-Key: (\S+)", re.IGNORECASE)
    taken: list[socket.socket] = []
    loop = asyncio.get_running_loop()

    async def serve(listening: socket.socket) -> None:
        sock, _ = await loop.sock_accept(listening)
        taken.append(sock)
        head = b""
        while b"\r\n\r\n" not in head:
            head += await loop.sock_recv(sock, 1024)
        found = key.search(head)
        assert found is not None
        guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(found[1] + guid).digest())
        lines = [b"HTTP/1.1 101 Go", b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Accept: " + accept]
        await loop.sock_sendall(sock, b"\r\n".join([*lines, b"", b""]))

    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        listening.setblocking(False)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        serving = loop.create_task(serve(listening))
        running = await proxy(
            mapping(f"ws://127.0.0.1:{listening.getsockname()[1]}", ", timeouts: {first_byte: 300ms}")
        )
        long = [{"role": "user", "content": "long " * (4 << 20)}]
        wire = await fetch(running.url, hello(messages=long))
        assert (wire.status, wire.error["code"]) == (504, "upstream_timeout")
        await serving
        with taken[0]:
            await settled(lambda: taken[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == b"\x07")
        await settled(lambda: not running.state.client._sockets._closing)


FRAMES: dict[str, tuple[bytes, str]] = {
    "text that is not UTF-8": (b"\x81\x01\xff", "upstream_invalid_utf8"),
    "a kind that nobody knows": (b"\x83\x01a", "upstream_protocol_error"),
    "the rest of nothing": (b"\x80\x01a", "upstream_protocol_error"),
}


@pytest.mark.parametrize(("frame", "code"), FRAMES.values(), ids=FRAMES)
async def test_frames_that_break_the_protocol(proxy: Any, frame: bytes, code: str) -> None:
    """What came before them stands, and the error names them."""

    async def talk(socket: web.WebSocketResponse, _seen: Server) -> None:
        await say({"t": "a"}, socket=socket)
        request = socket._req
        assert request is not None
        assert request.transport is not None
        request.transport.write(frame)
        await socket.receive()

    async with backend(talk) as seen:
        running = await proxy(mapping(seen.url))
        wire = await fetch(running.url, hello(stream=True))
        assert (wire.error["code"], wire.text) == (code, "a")
        await settled(lambda: running.state.active == 0)
