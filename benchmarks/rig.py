"""What the load programs share: a backend that does as each request says, clients that check each byte, and readings.

A request's prompt is its plan, as JSON: how many chunks, how fast, and what goes wrong when. Each chunk's text holds
the request's number, its own, and a checksum of both, so that a chunk that is lost, doubled, out of order, changed, or
another request's is seen at once.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MAPPING = """
oaiproxy: 1
models: [{model}]
backend: {{url: "{url}", auth: {{bearer: key}}, timeouts: {{first_byte: {patience}, idle: {patience}}}}}
chat:
  request: {{path: /whole, body: {{prompt: "{{{{ prompt }}}}"}}}}
  response: {{text: text, usage: {{prompt: "`1`", completion: "`1`"}}}}
  stream:
    request: {{path: /{model}}}
    format: {framing}
    text: t
    done: d
    usage: {{prompt: "`1`", completion: "`1`"}}
"""
FRAMINGS = {"events": "sse", "lines": "json-concat"}
"""The models, and how their backends stream."""
KINDS = {"events": "text/event-stream", "lines": "application/json"}
BEFORE: dict[str, tuple[int, str]] = {
    "status 500": (502, "upstream_error"),
    "status 503": (503, "server_is_overloaded"),
    "status 429": (429, "rate_limit_exceeded"),
    "status 400": (400, "invalid_value"),
    "reset at once": (502, "upstream_reset"),
    "end at once": (502, "upstream_closed"),
    "no HTTP": (502, "upstream_protocol_error"),
    "silence": (504, "upstream_timeout"),
    "a page": (502, "upstream_invalid_response"),
}
"""What goes wrong before the first event, and what the client must be told."""
AFTER = {
    "reset": ("upstream_reset", "upstream_truncated"),
    "end": ("upstream_truncated",),
    "not done": ("upstream_incomplete",),
    "no JSON": ("upstream_invalid_json",),
    "stall": ("upstream_timeout",),
}
"""What goes wrong within a stream, and the codes that may be told then."""


def text_of(number: int, index: int) -> str:
    """The text of a chunk."""
    head = f"{number}.{index}"
    return f"{head}.{zlib.crc32(head.encode()):08x} "


@dataclass(slots=True)
class Plan:
    """What is to happen to a request: `at` is the chunk before which the fault comes, `gap` the seconds between two."""

    number: int
    chunks: int = 20
    gap: float = 0.0
    fault: str = ""
    at: int = 0
    gate: bool = False
    pad: int = 0

    def each(self) -> Iterator[str]:
        """The texts that the backend sends before the fault, each made when it is wanted: they can be large."""
        count = self.at if self.fault else self.chunks
        return (text_of(self.number, index) + "x" * self.pad for index in range(count))

    @property
    def texts(self) -> list[str]:
        """All of them."""
        return list(self.each())

    def prompt(self) -> str:
        """The plan for the backend."""
        return json.dumps({name: getattr(self, name) for name in self.__slots__})


class Backend:
    """Plays plans; knows which it was asked to play, which it played to their end, and which it was left in."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: set[int] = set()
        self.played: set[int] = set()
        self.left: set[int] = set()
        self.connections: set[_Connection] = set()
        self.playing = 0
        self.sent = 0
        """Bytes of streams that the system took from us."""
        self.gate = asyncio.Event()
        """What plans with a gate wait for, after their first chunk."""

    async def quiet(self, playing: int = 0, seconds: float = 30) -> None:
        """Wait until so many plans are played, or until so long is over."""
        for _ in range(int(seconds * 10)):
            if self.playing == playing:
                return
            await asyncio.sleep(0.1)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Backend]:
        """Listen on loopback."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, backlog=4096)
        async with server:
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            try:
                yield self
            finally:
                for connection in tuple(self.connections):
                    connection.transport.abort()


class _Connection(asyncio.Protocol):
    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._data = b""
        self._task: asyncio.Task[None] | None = None
        self._plan: Plan | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self._backend.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._backend.connections.discard(self)
        if self._task is not None and self._plan is not None:
            self._backend.left.add(self._plan.number)
            self._task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, rest = self._data.partition(b"\r\n\r\n")
        if not found:
            return
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        if len(rest) < length:
            return
        self._data = rest[length:]
        path = head.split(b" ", 2)[1].decode().removeprefix("/")
        self._plan = plan = Plan(**json.loads(json.loads(rest[:length])["prompt"]))
        self._backend.asked.add(plan.number)
        self._task = asyncio.get_running_loop().create_task(self._play(plan, path))

    async def _play(self, plan: Plan, path: str) -> None:
        self._backend.playing += 1
        try:
            if plan.fault in BEFORE:
                await self._fail(plan.fault)
            elif path == "whole":
                self._whole({"text": "".join(plan.texts)})
            else:
                await self._stream(plan, path)
            self._backend.played.add(plan.number)
            self._task = None
        finally:
            self._backend.playing -= 1

    async def _fail(self, fault: str) -> None:
        kind, _, status = fault.partition(" ")
        if kind == "status":
            self._whole({"error": {"message": "backend words"}}, int(status))
        elif fault == "reset at once":
            self._reset()
        elif fault == "end at once":
            self.transport.close()
        elif fault == "no HTTP":
            self.transport.write(b"220 mail ESMTP\r\n\r\n")
            self.transport.close()
        elif fault == "a page":
            self._whole("<html></html>", kind="text/html")
        else:
            await asyncio.Event().wait()  # until the proxy leaves

    def _reset(self) -> None:
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _whole(self, body: Any, status: int = 200, kind: str = "application/json") -> None:
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n\r\n"
        self.transport.write(head.encode() + data)

    async def _stream(self, plan: Plan, path: str) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {KINDS[path]}\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.transport.write(head.encode())
        for index, text in enumerate(plan.each()):
            self._event(path, {"t": text, "d": index == plan.chunks - 1})
            await self._writable.wait()
            if plan.gate and index == 0:
                await self._backend.gate.wait()
            await asyncio.sleep(plan.gap)
        match plan.fault:
            case "":
                self.transport.write(b"0\r\n\r\n")
            case "not done":
                self.transport.write(b"0\r\n\r\n")
            case "reset":
                await asyncio.sleep(0.05)  # so that what was sent is not lost with it
                self._reset()
            case "end":
                self.transport.close()
            case "no JSON":
                self._chunk(b"data: {oops\n\n" if path == "events" else b"{oops}\n")
                await asyncio.Event().wait()
            case "stall":
                await asyncio.Event().wait()

    def _event(self, path: str, value: Any) -> None:
        data = json.dumps(value).encode()
        self._chunk(b"data: " + data + b"\n\n" if path == "events" else data + b"\n")

    def _chunk(self, data: bytes) -> None:
        self._backend.sent += len(data)
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))


@dataclass(slots=True)
class Answer:
    """What a client got: `ended` tells how, `texts` are the deltas in their order."""

    status: int = 0
    code: str | None = None
    texts: list[str] = field(default_factory=list)
    done: bool = False
    complete: bool = False
    """Whether the body came to its end."""


def body_of(plan: Plan, model: str, stream: bool) -> bytes:
    """The client's request."""
    asked = {"model": model, "stream": stream, "messages": [{"role": "user", "content": plan.prompt()}]}
    return json.dumps(asked).encode()


def request_of(body: bytes) -> bytes:
    """It with its headers."""
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    ) + body


class Client:
    """One connection to the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, url: str, buffer: int = 0) -> Client:
        """Connect; `buffer` is the socket's receive buffer in bytes, where it matters."""
        host, port = url.removeprefix("http://").split(":")
        if not buffer:
            return cls(*await asyncio.open_connection(host, int(port)))
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (host, int(port)))
        return cls(*await asyncio.open_connection(sock=sock, limit=buffer))

    def close(self) -> None:
        """Leave in peace."""
        self.writer.close()

    def reset(self) -> None:
        """Leave by a reset."""
        sock = self.writer.get_extra_info("socket")
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def ask(self, data: bytes, leave_after: int | None = None) -> Answer:
        """Send a request and read its answer, or so many texts of it."""
        self.writer.write(data)
        answer = Answer()
        try:
            head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        except (asyncio.IncompleteReadError, ConnectionError):
            return answer
        answer.status = int(head[9:12])
        if b"transfer-encoding: chunked" not in head:
            length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
            _take_whole(answer, json.loads(await self.reader.readexactly(length)))
            answer.complete = True
            return answer
        rest = b""
        try:
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                rest = _take_events(answer, rest + (await self.reader.readexactly(size + 2))[:-2])
                if leave_after is not None and len(answer.texts) >= leave_after:
                    return answer
            await self.reader.readexactly(2)
            answer.complete = not rest
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        return answer


def _take_whole(answer: Answer, body: Any) -> None:
    if "error" in body:
        answer.code = body["error"]["code"]
    else:
        answer.texts.append(body["choices"][0]["message"]["content"])
        answer.done = body["choices"][0]["finish_reason"] == "stop"


def _take_events(answer: Answer, data: bytes) -> bytes:
    *events, rest = data.split(b"\n\n")
    for event in events:
        if event.startswith(b":"):
            continue
        said = event.removeprefix(b"data: ")
        if answer.done or answer.code:
            raise AssertionError(f"something follows the end: {event[:200]!r}")
        if said == b"[DONE]":
            answer.done = True
            continue
        value = json.loads(said)
        if "error" in value:
            answer.code = value["error"]["code"]
        elif value["choices"] and (content := value["choices"][0]["delta"].get("content")):
            answer.texts.append(content)
    return rest


class Server:
    """A proxy as a process."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url
        self.pid = process.pid

    async def readings(self) -> dict[str, int]:
        """What it tells of itself."""
        return await asyncio.to_thread(self._ask)

    def _ask(self) -> dict[str, int]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        found: dict[str, int] = json.loads(self.process.stdout.readline())
        return found

    async def rest(self, base: dict[str, int], seconds: float = 30) -> dict[str, int]:
        """Its readings when all is quiet, or as they are after so long."""
        for _ in range(int(seconds * 2)):
            now = await self.readings()
            if all(now[name] <= base[name] for name in ("tasks", "fds", "requests")):
                break
            await asyncio.sleep(0.5)
        return now

    def rss(self) -> int:
        """Bytes of memory."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def cpu(self) -> float:
        """User and system time so far, in seconds (proc(5), /proc/PID/stat)."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def process(*command: str | Path) -> Iterator[subprocess.Popen[str]]:
    """A program that is ended with the block."""
    with subprocess.Popen(
        [sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as started:
        try:
            yield started
        finally:
            started.terminate()


def first_line(started: subprocess.Popen[str]) -> str:
    """What a program says first. Raises RuntimeError when it ends instead."""
    assert started.stdout is not None
    line = started.stdout.readline()
    if not line:
        raise RuntimeError("it did not start: run it by hand to see why")
    return line


@asynccontextmanager
async def served(backend: Backend, settings: str = "", patience: str = "30s") -> AsyncIterator[Server]:
    """oaiproxy before that backend; `settings` are lines of its configuration."""
    with (
        tempfile.TemporaryDirectory() as folder,
        process(HERE / "served.py", _config(Path(folder), backend.url, settings, patience)) as started,
    ):
        yield Server(started, json.loads(await asyncio.to_thread(first_line, started))["url"])


def _config(folder: Path, url: str, settings: str, patience: str) -> Path:
    """The configuration and its mappings."""
    for model, framing in FRAMINGS.items():
        text = MAPPING.format(model=model, framing=framing, url=url, patience=patience)
        folder.joinpath(f"{model}.yaml").write_text(text)
    config = folder / "config.yaml"
    config.write_text(f"mappings: [events.yaml, lines.yaml]\nlog: {{level: error}}\n{settings}")
    return config


def loop_run(main: Any) -> Any:
    """Run a program's coroutine on uvloop, where there is one: the load must cost less than what it loads."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)


def megabytes(count: float) -> str:
    """Bytes for a reader."""
    return f"{count / 1e6:.1f} MB"


RANDOM = random.Random(1)
"""Chance that is the same in each run."""
