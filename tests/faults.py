"""What a backend does before it said anything, the error that comes of it, and that nothing of it is left."""

from __future__ import annotations

import asyncio
import socket
import struct
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest
from scripted import FIN, GONE, PATIENCE, REQUEST, RST, Backend, Step, Wire, answer, fetch, hello, mapping, settled

import oaiproxy

BOTH_LOOPS = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])
BOTH_WAYS = pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
UNWANTED = {"location", "set-cookie", "transfer-encoding", "connection", "content-encoding"}
"""Headers that no error has, whatever the backend sent."""
_OURS = tuple(str(Path(str(module.__file__)).parent) for module in (oaiproxy, aiohttp))


@dataclass(frozen=True)
class Fault:
    """What a backend does, and what the client is told."""

    steps: Sequence[Step]
    status: int
    code: str | None
    type: str = "server_error"
    retry: str | None = None
    """The header `x-should-retry`: "false" for a failure that is the same next time, or was billed."""
    after: str | None = None
    message: str = ""
    param: str | None = None
    kept: bool = False
    """Whether the connection may be used again, for its answer came whole."""
    timeouts: str = "{}"

    def told(self, wire: Wire) -> None:
        """Hold a response against what is to be told: an HTTP error, whole, whatever was asked for."""
        error = wire.error
        assert (wire.status, error["type"], error["code"]) == (self.status, self.type, self.code)
        assert error["param"] == self.param
        assert wire.headers.get("x-should-retry") == self.retry
        assert wire.headers.get("retry-after") == self.after
        assert self.message in error["message"]
        assert error["message"]
        assert wire.headers["content-type"] == "application/json"
        assert wire.headers["x-request-id"]
        assert wire.headers.keys().isdisjoint(UNWANTED)
        assert wire.complete
        assert not wire.rest
        assert b"[DONE]" not in wire.raw


class Pause(asyncio.Event):
    """A step of a script that takes so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    async def wait(self) -> Any:
        """Wait for so long."""
        await asyncio.sleep(self._seconds)


def dripped(data: bytes, seconds: float = 0.01) -> list[Step]:
    """Bytes one by one, each after a pause."""
    return [step for byte in data for step in (Pause(seconds), bytes([byte]))]


def said(status: int, message: str = "backend words", **headers: str) -> list[Step]:
    """An error answer."""
    return [answer({"error": {"message": message}}, status, headers)]


def raw(body: bytes, content_type: str = "application/json", **headers: str) -> list[Step]:
    """An answer of any bytes."""
    return [answer(body, 200, {"Content-Type": content_type, **headers})]


def bomb(first: bytes, more: bytes, mebibytes: int, encoding: str = "gzip") -> bytes:
    """The beginning of what inflates to so much: one piece of it is deflated, and repeated."""
    packer = zlib.compressobj(9, wbits=31 if encoding == "gzip" else 15)
    begun = packer.compress(first) + packer.flush(zlib.Z_FULL_FLUSH)
    piece = packer.compress(more * ((1 << 20) // len(more))) + packer.flush(zlib.Z_FULL_FLUSH)
    return begun + piece * mebibytes


def script(steps: Iterable[Step]) -> list[Step]:
    """What the backend does, and that it then waits for the proxy to hang up."""
    played = [REQUEST, *steps]
    return played if played[-1] in (RST, GONE) else [*played, GONE]


async def shown(proxy: Any, fault: Fault, *, streams: bool, **described: Any) -> Wire:
    """Play a fault once: the client is told what it is to be told, the backend asked once, and nothing is left."""
    async with Backend(script(fault.steps)) as backend:
        described = {"timeouts": fault.timeouts, **described}
        running = await proxy(mapping(backend.url, **described))
        wire = await fetch(running.url, hello(stream=streams))
        fault.told(wire)
        assert len(backend.requests) == 1
        assert len(backend.connections) == 1
        if fault.kept:
            await nothing_left(running)
        else:
            await nothing_left(running, backend)
        return wire


async def nothing_left(running: Any, backend: Backend | None = None) -> None:
    """No request, no deadline, no task, no connection in use; and those to the backend are closed."""
    state = running.state
    async with asyncio.timeout(PATIENCE):
        await state.idle.wait()
    assert state.active == 0
    assert not state.clocks
    await settled(lambda: not state.client._session.connector._acquired)
    await settled(lambda: not _tasks())
    if backend is not None:
        await backend.until(lambda: all(connection.closed for connection in backend.connections))


def _tasks() -> list[Any]:
    """The tasks of the proxy and of its HTTP library."""
    made = (getattr(task.get_coro(), "cr_code", None) for task in asyncio.all_tasks() if not task.done())
    return [code for code in made if code is not None and code.co_filename.startswith(_OURS)]


class Hasty:
    """A backend that reads the head of a request and no more: it answers, and resets, ends or holds the connection."""

    def __init__(self, said: Any, end: Any) -> None:
        self.url = ""
        self._said = said
        self._end = end
        self._listening = socket.socket()
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        self._listening.setblocking(False)
        self._taken: list[socket.socket] = []

    async def __aenter__(self) -> Self:
        self._listening.bind(("127.0.0.1", 0))
        self._listening.listen()
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._accepting = asyncio.get_running_loop().create_task(self._accept())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._accepting.cancel()
        await asyncio.wait([self._accepting])
        for sock in (self._listening, *self._taken):
            sock.close()

    async def left(self) -> None:
        """Wait until the proxy closed all connections."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(PATIENCE):
            for sock in self._taken:
                with suppress(ConnectionError):
                    while await loop.sock_recv(sock, 1 << 20):
                        pass

    async def cut_off(self) -> None:
        """Wait until the proxy broke all connections off, of which nobody reads anything meanwhile."""
        await settled(lambda: all(is_closed(sock) for sock in self._taken))

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(self._listening)
            self._taken.append(sock)
            head = b""
            while b"\r\n\r\n" not in head:
                head += await loop.sock_recv(sock, 1024)
            await loop.sock_sendall(sock, self._said)
            if self._end is RST:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()
            elif self._end is FIN:
                sock.shutdown(socket.SHUT_WR)


def is_closed(sock: socket.socket) -> bool:
    """Whether the kernel has given a connection up: the first byte of what it tells is the state, 7 is closed."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == b"\x07"
