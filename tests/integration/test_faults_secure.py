"""Backends behind TLS that read the head of a large request and no more: their answer counts, and nothing is kept."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from faults import Fault, is_closed, nothing_left
from keys import Authority
from scripted import FIN, PATIENCE, RST, answer, fetch, hello, mapping, settled

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])
LONG = [{"role": "user", "content": "long " * (4 << 18)}]
REFUSED = Fault([], 413, "request_too_large", "invalid_request_error", message="backend words")


class Secured:
    """The backend; its sockets block, each in the thread that it is served by."""

    def __init__(self, context: ssl.SSLContext, said: bytes, end: Any) -> None:
        self._context, self._said, self._end = context, said, end
        self.taken: list[ssl.SSLSocket] = []
        self.listening = socket.socket()
        self.listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        self.listening.bind(("127.0.0.1", 0))
        self.listening.listen()

    def run(self) -> None:
        """Accept until nobody listens."""
        with suppress(OSError):
            while True:
                self._serve(self.listening.accept()[0])

    def _serve(self, raw: socket.socket) -> None:
        raw.settimeout(PATIENCE)
        sock = self._context.wrap_socket(raw, server_side=True)
        self.taken.append(sock)
        head = b""
        while b"\r\n\r\n" not in head:
            head += sock.recv(1024)
        sock.sendall(self._said)
        if self._end is RST:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if self._end is not None:
            sock.close()

    @property
    def cut_off(self) -> bool:
        """Whether the proxy broke all connections off."""
        return all(is_closed(sock) for sock in self.taken if sock.fileno() >= 0)


@asynccontextmanager
async def secured(folder: Path, said: bytes, end: Any) -> AsyncIterator[tuple[Secured, Any]]:
    """A backend, and the mapping for it."""
    ours = Authority()
    issued = ours.issue("127.0.0.1")
    (folder / "cert.pem").write_text(issued.cert + issued.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem")
    backend = Secured(context, said, end)
    running = asyncio.get_running_loop().run_in_executor(None, backend.run)
    url = f"https://127.0.0.1:{backend.listening.getsockname()[1]}"
    tls = f"tls: {{ca: {json.dumps(ours.cert)}}}"
    try:
        yield backend, mapping(url, backend=tls, timeouts="{first_byte: 2s}")
    finally:
        backend.listening.shutdown(socket.SHUT_RDWR)
        await running
        for sock in (backend.listening, *backend.taken):
            sock.close()


@pytest.mark.row(31)
@pytest.mark.parametrize("end", [RST, FIN, None], ids=["reset", "end", "silence"])
async def test_an_answer_before_the_request_was_read(proxy: Any, tmp_path: Path, end: Any) -> None:
    """Is the answer; no other request is sent behind what was not read."""
    async with secured(tmp_path, answer({"error": {"message": "backend words"}}, 413), end) as (backend, made):
        running = await proxy(made)
        for _ in range(4):
            REFUSED.told(await fetch(running.url, hello(messages=LONG)))
        assert len(backend.taken) == 4
        await settled(lambda: backend.cut_off)
        await nothing_left(running)


@pytest.mark.row(49)
async def test_a_backend_that_never_reads(proxy: Any, tmp_path: Path) -> None:
    """Is given up, and its connection broken off: TLS would wait for it to say goodbye."""
    async with secured(tmp_path, b"", None) as (backend, made):
        running = await proxy(made)
        Fault([], 504, "upstream_timeout", retry="false").told(await fetch(running.url, hello(messages=LONG)))
        await settled(lambda: backend.cut_off)
        await nothing_left(running)
