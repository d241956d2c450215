"""Promises of `oaiproxy.handshakes`: who has not agreed on TLS yet counts, and is neither waited for nor a failure."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from keys import Authority
from scripted import PATIENCE, Client, hello, mapping, settled
from test_listening import BOTH_LOOPS, ask, trusting, write

from oaiproxy import listening
from oaiproxy.handshakes import SPARE

HALF = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
"""What a client begins with, cut off."""


@BOTH_LOOPS
async def test_clients_that_do_not_agree_count(proxy: Any, tmp_path: Path) -> None:
    """Beyond the bound a few more are heard, so that they can be told; others are closed. Who leaves makes room."""
    authority = Authority()
    running = await proxy(mapping("http://backend.test"), tls=write(tmp_path, authority.issue("127.0.0.1")))
    crowd = running.state.crowd
    crowd.limit = 2
    clients = [await Client.connect(running.url) for _ in range(2)]
    await settled(lambda: crowd.count == 2)
    assert (await ask(running.url, trusting(authority))).startswith(b"HTTP/1.1 503")
    await settled(lambda: crowd.count == 2)
    clients += [await Client.connect(running.url) for _ in range(SPARE)]
    await settled(lambda: crowd.count == 2 + SPARE)
    async with await Client.connect(running.url) as late:
        assert await late.rest() == b""
    for place, client in enumerate(clients):
        if place % 2:
            await client.send(HALF)
            client.reset()
        else:
            client.leave()
    await settled(lambda: crowd.count == 0)
    assert (await ask(running.url, trusting(authority))).startswith(b"HTTP/1.1 200")


@BOTH_LOOPS
@pytest.mark.parametrize("said", [b"", HALF])
async def test_a_client_that_does_not_go_on_is_left(proxy: Any, tmp_path: Path, said: bytes) -> None:
    """After the time that headers have."""
    files = write(tmp_path, Authority().issue("127.0.0.1"))
    running = await proxy(mapping("http://backend.test"), tls=files, header_timeout=0.1)
    async with await Client.connect(running.url) as client:
        await client.send(said)
        assert await client.rest() == b""
    await settled(lambda: running.state.crowd.count == 0)


@BOTH_LOOPS
async def test_what_is_no_tls_is_closed(proxy: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Nobody answers it, and the log says nothing, for anybody could fill it."""
    running = await proxy(mapping("http://backend.test"), tls=write(tmp_path, Authority().issue("127.0.0.1")))
    async with await Client.connect(running.url) as client:
        await client.send(hello())
        assert b"HTTP/" not in await client.rest()
    await settled(lambda: running.state.crowd.count == 0)
    running.state.log.close()
    assert {json.loads(line)["event"] for line in capfd.readouterr().err.splitlines()} == {"listening"}


@BOTH_LOOPS
async def test_an_authority_that_is_taken_out_is_forgotten(
    proxy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the certificate that is looked at next, and without a new start."""
    monkeypatch.setattr(listening, "LOOK_SECONDS", 0.01)
    ours, old, new = Authority(), Authority(), Authority()
    listed = tmp_path / "ca.pem"
    listed.write_text(old.cert)
    files = {**write(tmp_path, ours.issue("127.0.0.1")), "client_ca": str(listed)}
    running = await proxy(mapping("http://backend.test"), tls=files)
    contexts = []
    for name, authority in (("old", old), ("new", new)):
        (tmp_path / name).mkdir()
        contexts.append(trusting(ours, write(tmp_path / name, authority.issue("client"))))
    assert (await ask(running.url, contexts[0])).startswith(b"HTTP/1.1 200")
    listed.write_text(new.cert)
    async with asyncio.timeout(PATIENCE):
        while not await ask(running.url, contexts[1]):
            pass
    assert await ask(running.url, contexts[0]) == b""


@BOTH_LOOPS
async def test_headers_that_do_not_come_by_tls_close_the_connection(proxy: Any, tmp_path: Path) -> None:
    """At once: whether the client agrees on that as well is not waited for."""
    authority = Authority()
    files = write(tmp_path, authority.issue("127.0.0.1"))
    running = await proxy(mapping("http://backend.test"), tls=files, header_timeout=0.1)
    raw = socket.create_connection(("127.0.0.1", int(running.url.rpartition(":")[2])))

    def begin() -> ssl.SSLSocket:
        wrapped = trusting(authority).wrap_socket(raw, server_hostname="127.0.0.1")
        wrapped.sendall(b"GET / HT")
        return wrapped

    with await asyncio.to_thread(begin):
        await settled(lambda: running.state.crowd.count == 0)
