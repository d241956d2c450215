"""Promises of the end of a process: what is under way is finished or told, nothing is half done, and it does end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
from commands import OAIPROXY, environment
from logged import Logged
from scripted import (
    GONE,
    REQUEST,
    Backend,
    Client,
    answer,
    chunk,
    event,
    fetch,
    hello,
    refused,
    request,
    stream,
    stream_head,
)

READY = request(method="GET", path="/readyz")
MAPPING = """
oaiproxy: 1
models: [m]
emulate: [n]
backend: {url: "%s", timeouts: {idle: 1h, first_byte: 1h}, retry: {on: [503], backoff: 5m, max: 1}}
chat:
  request: {path: /whole, body: {prompt: "{{ prompt }}"}}
  response: {text: text}
  stream: {request: {path: /stream}, format: sse, text: t, done: d}
"""
STALLED = [REQUEST, stream_head(), chunk(event("The ")), GONE]
SIGNALS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda each: each.name)

needs_full_disk = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this machine has no /dev/full")


def serving(
    folder: Path,
    url: str,
    server: str = "",
    *,
    timeout: float = 3600,
    more: str = "",
    mappings: str = "my.yaml",
) -> Logged:
    """A process that serves one mapping, or some."""
    (folder / "my.yaml").write_text(MAPPING % url)
    text = f"mappings: [{mappings}]\nserver: {{shutdown_timeout: {timeout}, {server}}}\n{more}\n"
    (folder / "config.yaml").write_text(text)
    return Logged("serve", "--config", folder / "config.yaml", "--port", "0")


async def lame(url: str) -> None:
    """Wait until it says, on a new connection, that it is not ready."""
    async with asyncio.timeout(60):
        while (await fetch(url, READY)).status != 503:
            pass


@pytest.mark.row(103)
async def test_a_lame_duck_says_so_and_still_serves(tmp_path: Path) -> None:
    """On new connections too; whole answers close theirs, no stream says so, and a reload is not begun any more."""
    more = asyncio.Event()
    fine = answer({"text": "fine"})
    script = [REQUEST, stream_head(), chunk(event("The ")), more, chunk(event("end", done=True)), chunk(b"")]
    async with (
        Backend(script, [REQUEST, fine]) as backend,
        serving(tmp_path, backend.url, "lame_duck: 3600") as service,
    ):
        async with await Client.connect(service.url) as client:
            await client.send(hello(stream=True))
            await client.until(b'"The "')
            service.signal(signal.SIGTERM)
            await lame(service.url)
            if hasattr(signal, "SIGHUP"):
                service.signal(signal.SIGHUP)
            whole = await fetch(service.url, hello())
            assert (whole.status, whole.text, whole.headers["connection"]) == (200, "fine", "close")
            assert (await fetch(service.url, request(method="GET", path="/livez"))).status == 200
            more.set()
            wire = await client.answer()
            assert (wire.text, wire.events[-1], wire.complete) == ("The end", "[DONE]", True)
            assert "connection" not in wire.headers
        service.signal(signal.SIGTERM)
        assert await service.exit() == 1
        assert not [each for each in service.events if each["event"] == "reload"]


@pytest.mark.row(103)
@SIGNALS
async def test_after_the_lame_duck_what_is_under_way_is_finished(tmp_path: Path, number: signal.Signals) -> None:
    """Then the exit code is 0, and nothing else is printed."""
    more = asyncio.Event()
    script = [REQUEST, stream_head(), chunk(event("The ")), more, chunk(event("end", done=True)), chunk(b"")]
    async with Backend(script) as backend, serving(tmp_path, backend.url, "lame_duck: 0.2") as service:
        async with await Client.connect(service.url) as client:
            await client.send(hello(stream=True))
            await client.until(b'"The "')
            service.signal(number)
            await refused(service.url)
            more.set()
            wire = await client.answer()
            assert (wire.text, wire.events[-1], wire.complete) == ("The end", "[DONE]", True)
        assert await service.exit() == 0
        assert service.printed == []


@pytest.mark.row(104)
async def test_a_stream_that_outlives_it_is_told(tmp_path: Path) -> None:
    """By an event, then the end of the connection without that of the body; the exit code is 0."""
    async with Backend(STALLED) as backend, serving(tmp_path, backend.url, timeout=0.1) as service:
        async with await Client.connect(service.url) as client:
            await client.send(hello(stream=True))
            await client.until(b'"The "')
            service.signal(signal.SIGTERM)
            wire = await client.answer()
            assert (wire.text, wire.error["type"], wire.error["code"]) == ("The ", "server_error", "server_shutdown")
            assert "connection" not in wire.headers
        await backend.gone()
        assert await service.exit() == 0
        assert service.printed == []


@pytest.mark.row(105)
async def test_what_the_backend_has_not_seen_may_be_sent_again(tmp_path: Path) -> None:
    """A request of which half came, and one that waits for a second try to connect: 503, and when to come again."""
    async with Backend([]) as backend:
        closed = backend.url
    async with serving(tmp_path, closed, timeout=0.1) as service:
        half = hello()[:-10]
        async with await Client.connect(service.url) as one, await Client.connect(service.url) as two:
            await one.send(half)
            await two.send(hello(stream=True))
            assert (await fetch(service.url, READY)).status == 200  # both are under way when this is answered
            service.signal(signal.SIGTERM)
            for client in (one, two):
                wire = await client.answer()
                assert (wire.status, wire.error["code"]) == (503, "server_shutdown")
                assert wire.error["type"] == "service_unavailable_error"
                assert (wire.headers["retry-after"], wire.headers["x-should-retry"]) == ("1", "true")
                assert wire.headers["connection"] == "close"
        assert await service.exit() == 0


@pytest.mark.row(105)
@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
async def test_what_the_backend_has_seen_may_not(tmp_path: Path, streams: bool) -> None:
    """It may have been billed."""
    async with (
        Backend([REQUEST, GONE]) as backend,
        serving(tmp_path, backend.url, timeout=0.1) as service,
    ):
        async with await Client.connect(service.url) as client:
            await client.send(hello(stream=streams))
            await backend.asked()
            service.signal(signal.SIGTERM)
            wire = await client.answer()
            assert (wire.status, wire.error["type"]) == (502, "server_error")
            assert (wire.error["code"], wire.headers["x-should-retry"]) == ("server_shutdown", "false")
            assert "retry-after" not in wire.headers
        await backend.gone()
        assert await service.exit() == 0


@pytest.mark.row(105)
async def test_who_waits_for_a_place_may_come_again(tmp_path: Path) -> None:
    """A stream has the only one; it is told, and who waits, and who comes over a connection that was kept."""
    limits = "limits: {requests: 1, queue_timeout: 3600}"
    async with (
        Backend(STALLED) as backend,
        serving(tmp_path, backend.url, timeout=0.1, more=limits) as service,
        await Client.connect(service.url) as one,
        await Client.connect(service.url) as two,
    ):
        await one.send(hello(stream=True))
        await one.until(b'"The "')
        await two.send(hello())
        assert (await fetch(service.url, READY)).status == 200
        service.signal(signal.SIGTERM)
        wire = await two.answer()
        assert (wire.status, wire.error["code"]) == (503, "server_shutdown")
        assert (wire.headers["retry-after"], wire.headers["x-should-retry"]) == ("1", "true")
        assert (await one.answer()).error["code"] == "server_shutdown"
        assert len(backend.requests) == 1
        await backend.gone()
        assert await service.exit() == 0
        assert service.printed == []


@pytest.mark.row(105)
@pytest.mark.parametrize("other", [False, True], ids=["pause", "fallback"])
async def test_who_was_seen_before_may_not(tmp_path: Path, other: bool) -> None:
    """The backend failed, and a pause goes on before it is asked again; or another one, which cannot be reached."""
    failed = [REQUEST, answer({"error": "no"}, 503)]
    async with Backend([]) as backend:
        closed = backend.url
    (tmp_path / "other.yaml").write_text((MAPPING % closed).replace("[m]", "[other]"))
    mappings = "{file: my.yaml, fallback: [other]}, other.yaml" if other else "my.yaml"
    async with (
        Backend(failed) as backend,
        serving(tmp_path, backend.url, timeout=0.1, mappings=mappings) as service,
        await Client.connect(service.url) as client,
    ):
        await client.send(hello())
        await backend.asked()
        assert (await fetch(service.url, READY)).status == 200
        service.signal(signal.SIGTERM)
        wire = await client.answer()
        assert (wire.status, wire.error["code"]) == (502, "server_shutdown")
        assert wire.headers["x-should-retry"] == "false"
        assert await service.exit() == 0


@pytest.mark.row(105)
async def test_of_many_calls_one_that_was_seen_is_enough(tmp_path: Path) -> None:
    """A request that is several calls, of which one was answered, and the others find nobody any more."""
    limits = "limits: {connections: 1, queue_timeout: 3600}"
    shut = asyncio.Event()
    async with (
        Backend([REQUEST, shut, answer({"text": "one"}, headers={"Connection": "close"})]) as backend,
        serving(tmp_path, backend.url, timeout=0.1, more=limits) as service,
        await Client.connect(service.url) as client,
    ):
        await client.send(hello(n=8))
        await backend.asked()
        backend._server.close()
        shut.set()
        await backend.gone()
        service.signal(signal.SIGTERM)
        wire = await client.answer()
        assert (wire.status, wire.error["code"]) == (502, "server_shutdown")
        assert wire.headers["x-should-retry"] == "false"
        assert await service.exit() == 0


@pytest.mark.row(103)
@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
async def test_a_request_of_many_calls_makes_them_all(tmp_path: Path, streams: bool) -> None:
    """Also those that had not begun when the signal came, as long as there is time for them."""
    go = asyncio.Event()
    said = stream("one") if streams else answer({"text": "one"})
    async with (
        Backend([REQUEST, go, said, REQUEST, said]) as backend,
        serving(tmp_path, backend.url) as service,
        await Client.connect(service.url) as client,
    ):
        await client.send(hello(n=12, stream=streams))
        await backend.asked(8)
        service.signal(signal.SIGTERM)
        await refused(service.url)
        assert len(backend.requests) == 8
        go.set()
        wire = await client.answer()
        assert (wire.status, len(backend.requests)) == (200, 12)
        if streams:
            texts = [
                choice for each in wire.events[:-1] for choice in each["choices"] if choice["delta"].get("content")
            ]
        else:
            texts = wire.json["choices"]
        assert sorted(each["index"] for each in texts) == list(range(12))
        assert await service.exit() == 0


@pytest.mark.row(105)
@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
async def test_a_request_of_many_calls_has_one_end(tmp_path: Path, streams: bool) -> None:
    """Where the time is over and some of its calls were seen, others not: it may not be sent again as a whole."""
    limits = "limits: {connections: 2, queue_timeout: 3600}"
    async with (
        Backend([REQUEST, GONE]) as backend,
        serving(tmp_path, backend.url, timeout=0.1, more=limits) as service,
        await Client.connect(service.url) as client,
    ):
        await client.send(hello(n=8, stream=streams))
        await backend.asked(2)
        service.signal(signal.SIGTERM)
        wire = await client.answer()
        assert (wire.status, wire.error["code"]) == (502, "server_shutdown")
        assert wire.headers["x-should-retry"] == "false"
        assert len(backend.requests) == 2
        assert await service.exit() == 0


@pytest.mark.row(106)
async def test_a_connection_that_is_kept_is_answered_or_closed_before_any_byte(tmp_path: Path) -> None:
    """Clients that ask one thing after the other while it ends: the backend was asked what was answered, no more."""
    fine = answer({"text": "fine"})
    async with Backend([REQUEST, fine] * 1000) as backend, serving(tmp_path, backend.url) as service:
        answered = 0

        async def ask() -> None:
            nonlocal answered
            async with await Client.connect(service.url) as client:
                while True:
                    try:
                        await client.send(hello())
                    except ConnectionError:
                        return
                    if not await client._read():
                        assert client.received == b""
                        return
                    wire = await client.answer()
                    assert (wire.status, wire.complete) in ((200, True), (503, True))
                    answered += wire.status == 200
                    if answered == 60:
                        service.signal(signal.SIGTERM)
                    if wire.headers.get("connection") == "close":
                        assert await client.rest() == b""
                        return

        async with asyncio.TaskGroup() as group:
            for _ in range(6):
                group.create_task(ask())
        assert await service.exit() == 0
        assert len(backend.requests) == answered >= 60


@pytest.mark.row(107)
@SIGNALS
async def test_a_second_signal_tells_all_streams_and_ends_it(tmp_path: Path, number: signal.Signals) -> None:
    """Each gets the error event and the end of its connection; others an error; another exit code, no traceback."""
    async with Backend(STALLED, STALLED, [REQUEST, GONE]) as backend, serving(tmp_path, backend.url) as service:
        streams = [await Client.connect(service.url) for _ in range(2)]
        for client in streams:
            await client.send(hello(stream=True))
            await client.until(b'"The "')
        async with await Client.connect(service.url) as whole:
            await whole.send(hello())
            await backend.asked(3)
            service.signal(number)
            await refused(service.url)
            service.signal(number)
            for client in streams:
                wire = await client.answer()
                assert (wire.text, wire.error["code"]) == ("The ", "server_shutdown")
                client.leave()
            wire = await whole.answer()
            assert (wire.status, wire.error["code"]) == (502, "server_shutdown")
        await backend.gone(3)
        assert await service.exit() == 1
        assert service.printed == []


@pytest.mark.row(107)
async def test_a_second_signal_tells_two_hundred_streams(tmp_path: Path) -> None:
    """All of them, in the short time that there is."""
    async with Backend(STALLED) as backend, serving(tmp_path, backend.url) as service:
        streams = [await Client.connect(service.url) for _ in range(200)]
        for client in streams:
            await client.send(hello(stream=True))
        for client in streams:
            await client.until(b'"The "')
        service.signal(signal.SIGTERM)
        await refused(service.url)
        service.signal(signal.SIGTERM)
        for client in streams:
            wire = await client.answer()
            assert (wire.text, wire.error["code"]) == ("The ", "server_shutdown")
            client.leave()
        await backend.gone(200)
        assert await service.exit() == 1
        assert service.printed == []
        assert not [each for each in service.events if each["event"] in ("bug", "library", "dropped")]


async def test_who_is_idle_or_half_there_holds_nothing_up(tmp_path: Path) -> None:
    """Connections that were kept, that never asked, and of which half the headers came: all are closed, silently."""
    async with Backend([]) as backend, serving(tmp_path, backend.url) as service, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(await Client.connect(service.url)) for _ in range(150)]
        for client in clients[:50]:
            await client.send(READY)
        for client in clients[:50]:
            assert (await client.answer()).status == 200
        for client in clients[50:100]:
            await client.send(hello()[:30])
        assert (await fetch(service.url, READY)).status == 200
        service.signal(signal.SIGTERM)
        for client in clients:
            assert await client.rest() == b""
        assert await service.exit() == 0
        assert service.printed == []
        assert not [each for each in service.events if each["event"] in ("bug", "library", "dropped")]


async def test_who_does_not_read_is_broken_off_in_time(tmp_path: Path) -> None:
    """So is a body that does not come, of any kind; nothing is printed, and the exit code is 0."""
    flood = (chunk(event("x" * 8000)) for _ in range(1 << 16))
    chunked = request(headers={"Content-Length": "", "Transfer-Encoding": "chunked"})
    async with (
        Backend([REQUEST, stream_head(), flood, GONE]) as backend,
        serving(tmp_path, backend.url, timeout=0.1) as service,
        AsyncExitStack() as stack,
    ):
        stalled = await Client.connect(service.url, receive_buffer=4096)
        await stalled.send(hello(stream=True))
        await stalled.until(b"xxxx")
        halves = [await stack.enter_async_context(await Client.connect(service.url)) for _ in range(3)]
        for client, half in zip(halves, (hello()[:-1], chunked + b"5\r\nab", chunked), strict=True):
            await client.send(half)
        assert (await fetch(service.url, READY)).status == 200
        service.signal(signal.SIGTERM)
        for client in halves:
            wire = await client.answer()
            assert (wire.status, wire.error["code"], wire.headers["retry-after"]) == (503, "server_shutdown", "1")
        await backend.gone()
        assert await service.exit() == 0
        stalled.leave()
        assert service.printed == []
        assert not [each for each in service.events if each["event"] in ("bug", "library", "dropped")]


@pytest.mark.row(107)
async def test_a_second_signal_does_not_wait_for_who_does_not_read(tmp_path: Path) -> None:
    """Its stream is broken off all the same."""
    flood = (chunk(event("x" * 8000)) for _ in range(1 << 16))
    async with Backend([REQUEST, stream_head(), flood, GONE]) as backend, serving(tmp_path, backend.url) as service:
        client = await Client.connect(service.url, receive_buffer=4096)
        await client.send(hello(stream=True))
        await client.until(b"xxxx")
        service.signal(signal.SIGTERM)
        await refused(service.url)
        service.signal(signal.SIGTERM)
        await backend.gone()
        assert await service.exit() == 1
        client.leave()


@pytest.mark.row(116)
@pytest.mark.parametrize("where", ["my.yaml", "config.yaml"])
async def test_a_broken_start_listens_nowhere(tmp_path: Path, where: str) -> None:
    """It says which file, line and column, and ends with 1."""
    service = serving(tmp_path, "http://backend.test", "port: 1" if where == "config.yaml" else "")
    path = tmp_path / where
    path.write_text(path.read_text().replace("text: text", "txt: text").replace("port: 1", "prot: 1"))
    with pytest.raises(AssertionError, match=rf"{where}:\d+:\d+") as told:
        await service.__aenter__()
    assert service._process.returncode == 1
    assert "listening" not in str(told.value)
    assert json.dumps(str(told.value)).count("not started: ") == 1


@pytest.mark.row(112)
@pytest.mark.parametrize("where", ["unread", pytest.param("full", marks=needs_full_disk), "closed"])
async def test_a_log_that_nobody_takes_stops_nothing(tmp_path: Path, where: str) -> None:
    """A pipe that nobody reads, a disk without room, a pipe without an end: all is served, and it ends as it should."""
    reader, writer = os.pipe()
    if where == "full":
        os.close(writer)
        writer = os.open("/dev/full", os.O_WRONLY)
    if where == "closed":
        os.close(reader)
    elif where == "unread":
        os.set_blocking(writer, False)
        with suppress(BlockingIOError):
            while True:
                os.write(writer, b"x" * 4096)
        os.set_blocking(writer, True)
    async with Backend([REQUEST, answer({"text": "fine"})] * 50) as backend:
        service = serving(tmp_path, backend.url)
        process = await asyncio.create_subprocess_exec(
            *OAIPROXY, *service._arguments, env=environment(), stdout=asyncio.subprocess.PIPE, stderr=writer
        )
        os.close(writer)
        assert process.stdout is not None
        service.greeting = (await process.stdout.readline()).decode()
        async with await Client.connect(service.url) as client:
            for _ in range(50):
                await client.send(hello())
                assert (await client.answer()).text == "fine"
        if hasattr(signal, "SIGHUP"):
            (tmp_path / "my.yaml").write_text("oaiproxy: [")
            process.send_signal(signal.SIGHUP)
            (tmp_path / "my.yaml").write_text((MAPPING % backend.url).replace("[m]", "[m, n]"))
            process.send_signal(signal.SIGHUP)
            async with asyncio.timeout(60):
                while (await fetch(service.url, request(method="GET", path="/v1/models/n"))).status != 200:
                    pass
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await process.wait() == 0
    if where != "closed":
        os.close(reader)


async def test_what_a_client_says_stays_in_its_line(tmp_path: Path) -> None:
    """A model, a path, a field and an id that look like a log line, or hold what a terminal obeys."""
    forged = '\n{"time":"x","level":"fatal"}\x1b[2J\r\u2028\x7f\x9b2J\u202e'
    async with Backend([REQUEST, answer({"text": "fine"})]) as backend, serving(tmp_path, backend.url) as service:
        headers = {"User-Agent": '{"level":"fatal"}', "x-request-id": '{"level":"fatal"}'}
        assert (await fetch(service.url, hello(model=forged, headers=headers))).status == 404
        assert (await fetch(service.url, hello(stop=[{forged: 1}], headers=headers))).status == 400
        path = "/%0a%7b%22level%22:%22fatal%22%7d%c2%9b2J%7f%e2%80%ae"
        assert (await fetch(service.url, request(method="GET", path=path))).status == 404
        odd = request(method="GET", path=path).replace(b"GET", forged.encode())
        assert (await fetch(service.url, odd)).status == 400
        service.signal(signal.SIGTERM)
        assert await service.exit() == 0
    assert service.printed == []
    assert all(line.isprintable() for line in service.lines)
    assert {each["level"] for each in service.events} <= {"info", "warning", "debug"}
    assert [each["model"] for each in service.events if "model" in each] == [forged]
