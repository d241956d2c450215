"""The fault matrix, rows 1 to 5 and 8: connections that cannot be made, that nobody may trust, or that died."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from faults import BOTH_LOOPS, BOTH_WAYS, Fault, nothing_left
from keys import Authority, Issued
from scripted import FIN, GONE, REQUEST, RST, Backend, answer, fetch, hello, mapping, stream

NOBODY = Fault([], 502, "upstream_connect_error")
UNTRUSTED = Fault([], 502, "upstream_tls_error", retry="false")
OTHER = Fault([], 502, "upstream_protocol_error", retry="false")


@pytest.mark.row(1)
@BOTH_LOOPS
@BOTH_WAYS
async def test_nobody_listens(proxy: Any, streams: bool) -> None:
    """Connection refused."""
    async with Backend([]) as backend:
        address = backend.url
    running = await proxy(mapping(address))
    NOBODY.told(await fetch(running.url, hello(stream=streams)))
    await nothing_left(running)


@pytest.mark.row(2)
@BOTH_LOOPS
@BOTH_WAYS
async def test_a_name_that_does_not_resolve(proxy: Any, streams: bool) -> None:
    """The name is the operator's affair, and is not told."""
    running = await proxy(mapping("http://canary.invalid"))
    wire = await fetch(running.url, hello(stream=streams))
    Fault([], 502, "upstream_dns_error").told(wire)
    assert b"canary" not in wire.raw
    await nothing_left(running)


@pytest.mark.row(3)
@BOTH_LOOPS
@BOTH_WAYS
async def test_a_connection_that_nobody_takes(proxy: Any, streams: bool) -> None:
    """The queue of connections is full, so that no further one is answered."""
    with socket.socket() as listening, socket.socket() as first, socket.socket() as second:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for sock in (first, second):
            sock.setblocking(False)
            sock.connect_ex(listening.getsockname())
        running = await proxy(mapping(f"http://127.0.0.1:{listening.getsockname()[1]}", timeouts="{connect: 100ms}"))
        wire = await fetch(running.url, hello(stream=streams))
        Fault([], 504, "upstream_connect_timeout").told(wire)
        await nothing_left(running)


@pytest.mark.row(3)
@BOTH_LOOPS
async def test_a_handshake_that_nobody_answers(proxy: Any) -> None:
    """The connection is there, and no TLS comes of it."""
    async with Backend([GONE]) as backend:
        running = await proxy(mapping(backend.url.replace("http", "https"), timeouts="{connect: 100ms}"))
        Fault([], 504, "upstream_connect_timeout").told(await fetch(running.url, hello()))
        await nothing_left(running, backend)


@asynccontextmanager
async def secured(issued: Issued, folder: Path) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A backend behind TLS: its port, and what it was sent."""
    (folder / "cert.pem").write_text(issued.cert + issued.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem")
    sent: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer({"text": "fine"}))
        await writer.drain()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1], sent
    finally:
        server.close()
        await asyncio.sleep(0)


@pytest.mark.row(4)
@BOTH_LOOPS
@BOTH_WAYS
@pytest.mark.parametrize("why", ["expired", "of the future", "of nobody we know", "of another host"])
async def test_a_certificate_that_is_not_to_be_trusted(proxy: Any, tmp_path: Path, streams: bool, why: str) -> None:
    """Nothing of the request is sent, and the client learns nothing of the certificate."""
    ours, theirs = Authority(), Authority()
    issued = {
        "expired": lambda: ours.issue("127.0.0.1", timedelta(hours=-1)),
        "of the future": lambda: ours.issue("127.0.0.1", starts=timedelta(hours=1)),
        "of nobody we know": lambda: theirs.issue("127.0.0.1"),
        "of another host": lambda: ours.issue("canary.test"),
    }[why]()
    async with secured(issued, tmp_path) as (port, sent):
        tls = f"tls: {{ca: {json.dumps(ours.cert)}}}"
        running = await proxy(mapping(f"https://127.0.0.1:{port}", backend=tls))
        wire = await fetch(running.url, hello(stream=streams))
        UNTRUSTED.told(wire)
        assert sent == []
        assert b"canary" not in wire.raw
        assert b"authority of a test" not in wire.raw
        await nothing_left(running)


@pytest.mark.row(4)
@BOTH_LOOPS
async def test_a_certificate_that_is_to_be_trusted(proxy: Any, tmp_path: Path) -> None:
    """Without which the tests above would show nothing."""
    ours = Authority()
    async with secured(ours.issue("127.0.0.1"), tmp_path) as (port, sent):
        tls = f"tls: {{ca: {json.dumps(ours.cert)}}}"
        running = await proxy(mapping(f"https://127.0.0.1:{port}", backend=tls))
        assert (await fetch(running.url, hello())).text == "fine"
        assert len(sent) == 1
        await running.state.client.close()


@pytest.mark.row(5)
@BOTH_LOOPS
@BOTH_WAYS
async def test_tls_to_a_plain_port(proxy: Any, streams: bool) -> None:
    """The backend answers in plain HTTP."""
    async with Backend([b"HTTP/1.1 400 Bad Request\r\nContent-Length: 6\r\n\r\ncanary", FIN]) as backend:
        running = await proxy(mapping(backend.url.replace("http", "https")))
        wire = await fetch(running.url, hello(stream=streams))
        OTHER.told(wire)
        assert b"canary" not in wire.raw
        await nothing_left(running, backend)


@pytest.mark.row(5)
@BOTH_LOOPS
@BOTH_WAYS
async def test_plain_http_to_a_port_of_tls(proxy: Any, streams: bool) -> None:
    """The backend answers with a TLS alert (RFC 8446, 6.2)."""
    async with Backend([REQUEST, b"\x15\x03\x01\x00\x02\x02\x46", FIN, GONE]) as backend:
        running = await proxy(mapping(backend.url))
        OTHER.told(await fetch(running.url, hello(stream=streams)))
        assert len(backend.requests) == 1
        await nothing_left(running, backend)


@pytest.mark.row(8)
@BOTH_LOOPS
@BOTH_WAYS
@pytest.mark.parametrize("end", [FIN, RST], ids=["end", "reset"])
async def test_a_kept_connection_that_died(proxy: Any, streams: bool, end: Any) -> None:
    """Is replaced once, and the client sees nothing of it."""
    first, second = (stream(text) if streams else answer({"text": text}) for text in ("first", "second"))
    async with Backend([REQUEST, first, REQUEST, end], [REQUEST, second]) as backend:
        running = await proxy(mapping(backend.url))
        texts = [(await fetch(running.url, hello(stream=streams))).text for _ in range(2)]
        assert texts == ["first", "second"]
        assert len(backend.connections) == 2
        await nothing_left(running)


@pytest.mark.row(8)
@BOTH_LOOPS
async def test_a_kept_connection_that_died_within_its_answer(proxy: Any) -> None:
    """Is not replaced: the backend did its work."""
    script = [REQUEST, answer({"text": "first"}), REQUEST, b"HTTP/1.1 2", FIN, GONE]
    async with Backend(script, [REQUEST, answer({"text": "second"})]) as backend:
        running = await proxy(mapping(backend.url))
        assert (await fetch(running.url, hello())).text == "first"
        Fault([], 502, "upstream_protocol_error").told(await fetch(running.url, hello()))
        assert len(backend.connections) == 1
        await nothing_left(running, backend)
