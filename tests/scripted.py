"""Both ends of the proxy as raw sockets: a backend that plays a script, and a client that shows what is on the wire.

A script is a list of steps for one connection; a fault takes five lines:

    async with Backend([REQUEST, stream_head(), chunk(event("The ")), RST]) as backend:
        proxy = await proxy(mapping(backend.url))
        wire = await fetch(proxy.url, hello(stream=True))
        assert wire.events[-1]["error"]["code"] == "upstream_reset"
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Self, TypeAlias
from urllib.parse import urlsplit

from support import load

from oaiproxy.mapping import Mapping

PATIENCE = 60
"""Seconds after which what should have happened is taken not to happen: far more than it takes on any machine."""
EAGER = 1000
"""How often something is looked at before there are pauses."""


class Act(Enum):
    """What a script can do beside sending bytes."""

    REQUEST = "wait until a whole request came"
    FIN = "end our side of the connection"
    RST = "break the connection off"
    GONE = "wait until the proxy closes the connection"


REQUEST, FIN, RST, GONE = Act.REQUEST, Act.FIN, Act.RST, Act.GONE

Step: TypeAlias = "Act | bytes | asyncio.Event | Iterable[bytes]"
"""An act, bytes to send, an event to wait for, or bytes to send one by one for as long as the proxy takes them."""


@dataclass(frozen=True)
class Request:
    """A request as it came."""

    head: bytes
    body: bytes

    @property
    def line(self) -> str:
        """The request line."""
        return self.head.split(b"\r\n")[0].decode()

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The headers, names in lower case."""
        return _headers(self.head)

    @property
    def json(self) -> Any:
        """The body as data."""
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        """The one header of that name, if there is one."""
        found = [value for key, value in self.headers if key == name]
        assert len(found) <= 1, found
        return found[0] if found else None


@dataclass
class Connection:
    """A connection to the backend: what came, what was sent, and whether the proxy closed it."""

    requests: list[Request] = field(default_factory=list)
    sent: int = 0
    closed: bool = False


class Backend:
    """A backend that plays one script per connection, the last one again for further connections.

    `send_buffer` bounds what the kernel takes of it, so that what it got rid of is what the proxy took.
    """

    def __init__(self, *scripts: Sequence[Step], send_buffer: int | None = None) -> None:
        self.connections: list[Connection] = []
        self._send_buffer = send_buffer
        self.url = ""
        """Its address."""
        self._scripts = scripts
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self._changed = asyncio.Event()

    @property
    def requests(self) -> list[Request]:
        """All requests that came, by connection."""
        return [request for connection in self.connections for request in connection.requests]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)

    async def asked(self, times: int = 1) -> None:
        """Wait until so many requests came."""
        await self.until(lambda: len(self.requests) >= times)

    async def gone(self, times: int = 1) -> None:
        """Wait until the proxy closed so many connections."""
        await self.until(lambda: sum(connection.closed for connection in self.connections) >= times)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so; it is looked at whenever anything happens here."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(0)
        if self._send_buffer is not None:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._send_buffer)
        connection = Connection()
        script = self._scripts[min(len(self.connections), len(self._scripts) - 1)]
        self.connections.append(connection)
        self._writers.append(writer)
        self._changed.set()
        loop = asyncio.get_running_loop()
        reading = loop.create_task(self._read(reader, connection))
        self._tasks |= {reading, loop.create_task(self._play(reading, writer, connection, script))}

    async def _play(
        self, reading: asyncio.Task[None], writer: asyncio.StreamWriter, connection: Connection, script: Sequence[Step]
    ) -> None:
        answered = 0
        try:
            for step in script:
                match step:
                    case Act.REQUEST:
                        answered += 1
                        await self._next_request(connection, answered)
                    case Act.FIN:
                        writer.write_eof()
                    case Act.RST:
                        sock = writer.get_extra_info("socket")
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        writer.transport.abort()
                        return
                    case Act.GONE:
                        await asyncio.wait([reading])
                    case asyncio.Event():
                        await step.wait()
                    case _:
                        await self._send(writer, connection, [step] if isinstance(step, bytes) else step)
            await asyncio.wait([reading])
            writer.close()
        except ConnectionError:
            pass  # the proxy is gone

    async def _next_request(self, connection: Connection, number: int) -> None:
        while len(connection.requests) < number and not connection.closed:
            changed = self._changed
            changed.clear()
            await changed.wait()

    async def _send(self, writer: asyncio.StreamWriter, connection: Connection, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)  # draining does not yield while the proxy takes it all
            connection.sent += len(piece)
            self._changed.set()

    async def _read(self, reader: asyncio.StreamReader, connection: Connection) -> None:
        received = b""
        try:
            while data := await reader.read(65536):
                received += data
                while (cut := _request(received)) is not None:
                    request, received = cut
                    connection.requests.append(request)
                self._changed.set()
        except ConnectionError:
            pass
        connection.closed = True
        self._changed.set()


@dataclass(frozen=True)
class Wire:
    """One response, as it was on the wire."""

    status: int
    headers: dict[str, str]
    raw: bytes
    body: bytes
    complete: bool
    """Whether its end was marked: by a terminal chunk, or by as many bytes as were announced."""
    rest: bytes = b""

    @property
    def json(self) -> Any:
        """The body as data."""
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The events of a stream; the end mark is text, the others are data."""
        assert self.body.endswith(b"\n\n"), self.body
        payloads = [event.removeprefix(b"data: ") for event in self.body.split(b"\n\n")[:-1]]
        return ["[DONE]" if payload == b"[DONE]" else json.loads(payload) for payload in payloads]

    @property
    def text(self) -> str:
        """The text of a stream or of a whole answer."""
        if self.headers["content-type"] == "application/json":
            choice = self.json["choices"][0]
            return str(choice["message"]["content"] if "message" in choice else choice["text"])
        chunks = [event for event in self.events if event != "[DONE]" and "error" not in event]
        choices = [choice for chunk in chunks for choice in chunk["choices"]]
        return "".join(choice.get("delta", {}).get("content") or choice.get("text") or "" for choice in choices)

    @property
    def error(self) -> dict[str, Any]:
        """The error: of the body, or of the event that ends a stream, which then ends without any mark."""
        if self.headers["content-type"] == "application/json":
            error = self.json["error"]
        else:
            assert not self.complete
            assert b"[DONE]" not in self.body
            error = self.events[-1]["error"]
        assert error.keys() == {"message", "type", "param", "code"}
        assert isinstance(error["message"], str)
        return dict(error)


class Client:
    """A client on a raw socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.received = bytearray()
        self.segments: list[bytes] = []
        """What came, by read."""
        self._socket = sock

    @classmethod
    async def connect(cls, url: str, receive_buffer: int | None = None) -> Self:
        """Connect to the host and port of an address."""
        sock = socket.socket()
        sock.setblocking(False)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        parts = urlsplit(url)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (parts.hostname, parts.port))
        except OSError:
            sock.close()
            raise
        return cls(sock)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.leave()

    async def send(self, data: bytes) -> None:
        """Send bytes."""
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def until(self, marker: bytes) -> bytes:
        """Read until some bytes came; all that came since the last answer."""
        while marker not in self.received:
            assert await self._read(), f"{marker!r} never came: {self.received!r}"
        return bytes(self.received)

    async def answer(self) -> Wire:
        """Read one response to its end, or to the end of the connection."""
        while not ((wire := _wire(bytes(self.received))) and wire.complete) and await self._read():
            pass
        assert wire is not None, self.received
        self.received = bytearray(wire.rest)
        return wire

    async def rest(self) -> bytes:
        """Read to the end of the connection."""
        while await self._read():
            pass
        return bytes(self.received)

    def leave(self) -> None:
        """Close the connection."""
        self._socket.close()

    def half_close(self) -> None:
        """End our side of the connection alone."""
        self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Break the connection off."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    async def _read(self) -> bool:
        async with asyncio.timeout(PATIENCE):
            try:
                data = await asyncio.get_running_loop().sock_recv(self._socket, 65536)
            except ConnectionResetError:
                return False
        self.received += data
        self.segments.append(data)
        return bool(data)


async def settled(condition: Callable[[], bool]) -> None:
    """Wait until something is so that nothing tells of: at first without a pause, then so that others get to work."""
    rounds = 0
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0 if rounds < EAGER else 0.002)
            rounds += 1


async def nothing_is_left(running: Any) -> None:
    """Wait until no request is under way, and what it left in the background is over; no clock runs for either."""
    await settled(lambda: running.state.active == 0)
    assert not running.state.clocks
    await settled(lambda: not running.state.background)


async def refused(url: str) -> None:
    """Wait until no new connection is taken there."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                (await Client.connect(url)).leave()
            except ConnectionError:
                return


async def fetch(url: str, request: bytes) -> Wire:
    """Send one request on a connection of its own and read the response."""
    async with await Client.connect(url) as client:
        await client.send(request)
        return await client.answer()


def request(
    body: Any = None,
    path: str = "/v1/chat/completions",
    *,
    method: str = "POST",
    version: str = "1.1",
    headers: dict[str, str] | None = None,
) -> bytes:
    """A request's bytes; data becomes JSON."""
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    lines = {
        "Host": "localhost",
        "Content-Type": "application/json",
        "Content-Length": str(len(data)),
        **(headers or {}),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    return f"{method} {path} HTTP/{version}\r\n{head}\r\n".encode() + data


def hello(*, version: str = "1.1", headers: dict[str, str] | None = None, **fields: Any) -> bytes:
    """The request of a chat."""
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}
    return request(body, version=version, headers=headers)


def answer(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> bytes:
    """A whole HTTP answer; data becomes JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    return f"HTTP/1.1 {status} Said\r\n{head}\r\n".encode() + data


def stream_head(content_type: str = "text/event-stream") -> bytes:
    """The head of an answer in chunks."""
    return f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()


def chunk(data: bytes) -> bytes:
    """One chunk; an empty one ends the answer."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def event(text: str | None = None, *, done: bool = False) -> bytes:
    """An event of the stream that `mapping` describes."""
    made = ({"t": text} if text is not None else {}) | ({"d": True} if done else {})
    return b"data: " + json.dumps(made).encode() + b"\n\n"


def stream(*texts: str) -> bytes:
    """A complete answer in events."""
    return stream_head() + b"".join(chunk(event(text)) for text in texts) + chunk(event(done=True)) + chunk(b"")


def mapping(
    url: str,
    *,
    timeouts: str = "{}",
    response: str = "{text: text, usage: {prompt: p, completion: c}}",
    stream: str = "{request: {path: /stream}, format: sse, text: t, done: d}",
    more: str = "",
    backend: str = "",
    models: str = "[m]",
) -> Mapping:
    """A mapping for a scripted backend."""
    lines = ["oaiproxy: 1", f"models: {models}", "backend:", f"  url: {url}", f"  timeouts: {timeouts}"]
    lines += [f"  {backend}"] if backend else []
    lines += [more, "chat:", "  request: {path: /whole, body: {prompt: '{{ prompt }}'}}"]
    lines += [f"  response: {response}"] if response else []
    lines += [f"  stream: {stream}"] if stream else []
    return load("\n".join(lines) + "\n")


def _headers(head: bytes) -> list[tuple[str, str]]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines if line)
    return [(name.lower(), value.strip()) for name, _, value in pairs]


def _request(received: bytes) -> tuple[Request, bytes] | None:
    """The first request, and what follows it; None while it is not whole."""
    head, mark, rest = received.partition(b"\r\n\r\n")
    length = int(dict(_headers(head)).get("content-length", "0"))
    if not mark or len(rest) < length:
        return None
    return Request(head, rest[:length]), rest[length:]


def _wire(received: bytes) -> Wire | None:
    """The first response as far as it came; None while its head is not whole."""
    head, mark, rest = received.partition(b"\r\n\r\n")
    if not mark:
        return None
    status = int(head.split(b" ", 2)[1])
    headers = dict(_headers(head))
    if status == 100:
        return _wire(rest)
    if headers.get("transfer-encoding") == "chunked":
        body, complete, rest = _unchunked(rest)
    else:
        length = 0 if status == 204 else int(headers.get("content-length", "-1"))
        complete = 0 <= length <= len(rest)
        body, rest = (rest[:length], rest[length:]) if complete else (rest, b"")
    return Wire(status, headers, received, body, complete, rest)


def _unchunked(data: bytes) -> tuple[bytes, bool, bytes]:
    """The body in the chunks, whether the terminal one came, and what follows it."""
    body, at = [], 0
    while (end := data.find(b"\r\n", at)) >= 0:
        size = int(data[at:end], 16)
        start = end + 2
        if len(data) < start + size + 2:
            break
        at = start + size + 2
        if not size:
            return b"".join(body), True, data[at:]
        body.append(data[start : start + size])
    return b"".join(body), False, data[at:]
