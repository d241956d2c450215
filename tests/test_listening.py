"""Promises of the place where clients come in: TLS with whom it is due, and a socket that leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import stat
from pathlib import Path
from typing import Any

import pytest
from faults import BOTH_LOOPS
from keys import Authority, Issued
from scripted import PATIENCE, REQUEST, Backend, answer, chunk, event, hello, mapping, request, settled, stream_head

from oaiproxy import listening
from oaiproxy.app import serve
from oaiproxy.config import Config, Server

READY = request(None, "/readyz", method="GET", headers={"Connection": "close"})


def write(folder: Path, issued: Issued) -> dict[str, str]:
    """The files of a server's certificate."""
    (folder / "server.pem").write_text(issued.cert)
    (folder / "server.key").write_text(issued.key)
    return {"certificate": str(folder / "server.pem"), "key": str(folder / "server.key")}


def trusting(authority: Authority, own: dict[str, str] | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority.cert)
    if own is not None:
        context.load_cert_chain(own["certificate"], own["key"])
    return context


async def connect(url: str, context: ssl.SSLContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    port = int(url.rpartition(":")[2])
    return await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="127.0.0.1")


async def ask(url: str, context: ssl.SSLContext) -> bytes:
    """What comes for a question; b"" where the connection is refused in its handshake or right after."""
    try:
        reader, writer = await connect(url, context)
    except (ssl.SSLError, ConnectionError):
        return b""
    try:
        async with asyncio.timeout(PATIENCE):
            writer.write(READY)
            return await reader.read()
    except (ssl.SSLError, ConnectionError):
        return b""
    finally:
        writer.transport.abort()


@BOTH_LOOPS
async def test_clients_come_by_tls(proxy: Any, tmp_path: Path) -> None:
    """By version 1.2 or newer, and by nothing else."""
    authority = Authority()
    running = await proxy(mapping("http://backend.test"), tls=write(tmp_path, authority.issue("127.0.0.1")))
    assert running.url.startswith("https://127.0.0.1:")
    assert (await ask(running.url, trusting(authority))).startswith(b"HTTP/1.1 200")
    assert await ask(running.url, trusting(Authority())) == b""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(running.url.rpartition(":")[2]))
    writer.write(READY)
    assert not (await reader.read()).startswith(b"HTTP/")
    writer.close()
    await writer.wait_closed()


@BOTH_LOOPS
async def test_clients_show_a_certificate_where_they_must(proxy: Any, tmp_path: Path) -> None:
    """One of an authority that is named."""
    ours, theirs = Authority(), Authority()
    files = write(tmp_path, ours.issue("127.0.0.1"))
    (tmp_path / "ca.pem").write_text(theirs.cert)
    running = await proxy(mapping("http://backend.test"), tls={**files, "client_ca": str(tmp_path / "ca.pem")})
    for name, authority in (("good", theirs), ("bad", Authority())):
        (tmp_path / name).mkdir()
        own = write(tmp_path / name, authority.issue("client"))
        came = await ask(running.url, trusting(ours, own))
        assert came.startswith(b"HTTP/1.1 200") is (name == "good")
    assert await ask(running.url, trusting(ours)) == b""


@BOTH_LOOPS
@pytest.mark.row(120)
async def test_a_certificate_that_is_renewed_is_taken(
    proxy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By new connections; a stream that is under way goes on. What does not fit is not taken."""
    monkeypatch.setattr(listening, "LOOK_SECONDS", 0.01)
    old, new = Authority(), Authority()
    more = asyncio.Event()
    script = [REQUEST, stream_head(), chunk(event("The ")), more, chunk(event("end", done=True)), chunk(b"")]
    async with Backend(script) as backend:
        running = await proxy(mapping(backend.url), tls=write(tmp_path, old.issue("127.0.0.1")))
        reader, writer = await connect(running.url, trusting(old))
        writer.write(hello(stream=True))
        async with asyncio.timeout(PATIENCE):
            await reader.readuntil(b'"The "')
            (tmp_path / "server.pem").write_text("no certificate")
            for _ in range(10):
                await asyncio.sleep(0.01)
                assert (await ask(running.url, trusting(old))).startswith(b"HTTP/1.1 200")
            write(tmp_path, new.issue("127.0.0.1"))
            while not await ask(running.url, trusting(new)):
                pass
            assert await ask(running.url, trusting(old)) == b""
            more.set()
            rest = await reader.readuntil(b"[DONE]")
            assert b'"end"' in rest
        writer.transport.abort()


@BOTH_LOOPS
async def test_a_socket_is_for_its_user_alone_and_goes_with_the_server(tmp_path: Path) -> None:
    """It is local: any `Host` will do."""
    path = tmp_path / "oaiproxy.sock"
    async with serve(Config([], Server(socket=str(path))), []) as running:
        assert (running.url, running.socket) == ("http://localhost", str(path))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(READY.replace(b"localhost", b"oaiproxy"))
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()
        await writer.wait_closed()
    assert not path.exists()


async def test_a_socket_that_was_left_behind_is_taken(tmp_path: Path) -> None:
    """As after a crash."""
    path = tmp_path / "oaiproxy.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with serve(Config([], Server(socket=str(path))), []):
        _, writer = await asyncio.open_unix_connection(path)
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("there", ["listener", "file"])
async def test_what_is_somebody_elses_stays(tmp_path: Path, there: str) -> None:
    """A socket that somebody listens on, and what is none."""
    path = tmp_path / "oaiproxy.sock"
    before = len(asyncio.all_tasks())
    with socket.socket(socket.AF_UNIX) as other:
        if there == "listener":
            other.bind(str(path))
            other.listen()
        else:
            path.write_text("mine")
        with pytest.raises(OSError, match=r"listens|no socket"):
            async with serve(Config([], Server(socket=str(path))), []):
                pass
    assert path.exists()
    await settled(lambda: len(asyncio.all_tasks()) <= before)


async def test_a_certificate_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    """In one line, before anything listens."""
    files = write(tmp_path, Authority().issue("127.0.0.1"))
    (tmp_path / "server.key").write_text(Authority().issue("other").key)
    with pytest.raises(listening.ListeningError, match=r"`server\.tls` cannot be used: key values mismatch"):
        async with serve(Config([], Server(port=0, tls=files)), []):
            pass
    os.unlink(files["key"])
    with pytest.raises(listening.ListeningError, match="no such file"):
        async with serve(Config([], Server(port=0, tls=files)), []):
            pass


async def test_the_socket_of_who_follows_stays(tmp_path: Path) -> None:
    """Another process may listen on the path while this one still finishes what is under way."""
    path, more = tmp_path / "oaiproxy.sock", asyncio.Event()
    config = Config([], Server(socket=str(path), shutdown_timeout=PATIENCE))
    async with Backend([REQUEST, more, answer({"text": "fine"})]) as backend:
        served = mapping(backend.url)

        async def first() -> None:
            async with serve(config, [(served, Path("m.yaml"))]):
                asked.set_result(await asyncio.open_unix_connection(path))
                asked.result()[1].write(hello())
                await backend.asked()

        asked: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(first())
        reader, writer = await asked
        await settled(lambda: not path.exists())
        async with serve(config, []):
            more.set()
            assert b"fine" in await reader.readuntil(b"}]")
            await task
            _, other = await asyncio.open_unix_connection(path)
            other.close()
            await other.wait_closed()
        writer.transport.abort()


async def test_a_file_that_took_the_sockets_place_stays(tmp_path: Path) -> None:
    """It is somebody else's."""
    path = tmp_path / "oaiproxy.sock"
    async with serve(Config([], Server(socket=str(path))), []):
        path.unlink()
        path.write_text("mine")
    assert path.read_text() == "mine"
