"""Promises of reloading a running process: what works is served whole, what does not changes nothing, none is lost."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from logged import Logged
from scripted import GONE, REQUEST, Backend, Client, Wire, answer, chunk, event, fetch, hello, request, stream_head
from support import ROOT

CHUNKS = 5
MODELS = request(None, "/v1/models", method="GET")
MAPPING = """
oaiproxy: 1
models: [{models}]
backend: {{url: "{url}", timeouts: {{idle: 1h, first_byte: 1h}}}}
chat:
  request: {{path: /whole, body: {{prompt: "{{{{ prompt }}}}"}}}}
  response: {{text: text}}
  stream: {{request: {{path: /stream}}, format: sse, text: t, done: d}}
"""
JUMP = """
import time
real = time.time
def jumped():
    try:
        with open({!r}) as file:
            return real() + float(file.read())
    except FileNotFoundError:
        return real()
time.time = jumped
"""
"""Runs before anything else, and moves the wall clock by what a file says."""
needs_hangup = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this platform has no SIGHUP")


def write(path: Path, text: str | bytes) -> None:
    """Put a file in the place of another one, as editors do."""
    path.parent.mkdir(exist_ok=True)
    new = path.with_suffix(".new")
    new.write_bytes(text if isinstance(text, bytes) else text.encode())
    new.replace(path)


def move(path: Path, name: str) -> None:
    """Give a file another name in its folder."""
    path.rename(path.with_name(name))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration of one mapping, `my.yaml`."""
    path = tmp_path / "config.yaml"
    path.write_text("mappings: [my.yaml]\nlog: {level: info}\n")
    return path


class Paced:
    """A backend that answers with the number in the prompt; a stream takes its next step with each of our beats."""

    def __init__(self) -> None:
        self.whole = self.streamed = 0
        self._beat = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """Serve; the address."""
        server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def beat(self) -> None:
        """Let all streams take a step."""
        async with self._beat:
            self._beat.notify_all()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: (\d+)", head)
                assert length
                number = re.search(rb"number-\d+", await reader.readexactly(int(length[1])))
                assert number
                if head.startswith(b"POST /whole"):
                    self.whole += 1
                    writer.write(answer({"text": number[0].decode()}))
                else:
                    self.streamed += 1
                    writer.write(stream_head())
                    for step in range(CHUNKS):
                        writer.write(chunk(event(f"{number[0].decode()}/{step} ")))
                        async with self._beat:
                            await self._beat.wait()
                    writer.write(chunk(event(done=True)) + chunk(b""))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


class Load:
    """Clients that ask without end; each checks every answer that it gets."""

    def __init__(self, url: str) -> None:
        self.whole = self.streamed = 0
        self.over = False
        self._url = url
        self._number = 0

    async def run(self, *, stream: bool) -> None:
        """Ask, one request after the other over one connection, until it is over."""
        async with await Client.connect(self._url) as client:
            while not self.over:
                self._number += 1
                number = f"number-{self._number}"
                await client.send(hello(stream=stream, messages=[{"role": "user", "content": number}]))
                wire = await client.answer()
                assert (wire.status, wire.complete) == (200, True), wire
                if stream:
                    assert wire.events[-1] == "[DONE]"
                    assert wire.text == "".join(f"{number}/{step} " for step in range(CHUNKS))
                    self.streamed += 1
                else:
                    assert wire.text == number
                    self.whole += 1


def resident(pid: int) -> float:
    """The memory of a process, in MiB; 0 where that cannot be told."""
    statm = Path(f"/proc/{pid}/statm")
    pages = int(statm.read_text().split()[1]) if statm.exists() else 0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@needs_hangup
@pytest.mark.row(114, 115)
@pytest.mark.parametrize("reloads", [20, pytest.param(200, marks=pytest.mark.thorough)])
async def test_reloads_under_load_lose_nothing(config: Path, reloads: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Every tenth is of a broken file. Each answer is whole, of its own question, and memory does not grow."""
    backend, mapping = Paced(), config.with_name("my.yaml")
    async with backend.serve() as url:
        mapping.write_text(MAPPING.format(models="m, x0", url=url))
        async with Logged("serve", "--config", config, "--port", "0") as service, asyncio.TaskGroup() as group:
            load = Load(service.url)
            for number in range(16):
                group.create_task(load.run(stream=number % 2 == 0))
            before, last = 0.0, 0
            for number in range(1, reloads + 1):
                broken = number % 10 == 0
                text = MAPPING.format(models=f"m, x{number}", url=url)
                write(mapping, text[: text.index("stream:") + 20] if broken else text)
                service.signal(signal.SIGHUP)
                told = await service.told("reload", number)
                assert told["ok"] is not broken, told
                if broken:
                    assert told["errors"] == 1
                    assert service.printed[-1].endswith("not reloaded: 1 error")
                else:
                    assert (told["added"], told["removed"]) == ([f"x{number}"], [f"x{last}"])
                    last = number
                await backend.beat()
                if number == reloads // 4:
                    before = resident(service.pid)
            after = resident(service.pid)
            names = [each["id"] for each in (await fetch(service.url, MODELS)).json["data"]]
            assert names == ["m", f"x{last}"]
            load.over = True
            for _ in range(2 * CHUNKS):
                await backend.beat()
            while group._tasks:
                await backend.beat()
                await asyncio.sleep(0.01)
            service.signal(signal.SIGTERM)
            assert await service.exit() == 0
    statuses = [each["status"] for each in service.events if each["event"] == "request" and "model" in each]
    assert set(statuses) == {200}
    assert len(statuses) == load.whole + load.streamed == backend.whole + backend.streamed
    assert load.streamed > 16
    assert load.whole > reloads
    assert after - before < 8
    assert not [each for each in service.events if each["event"] in ("bug", "library", "dropped")]
    with capsys.disabled():
        print(f" {load.whole} whole, {load.streamed} streams, {before:.1f} to {after:.1f} MiB ", end="")


@needs_hangup
@pytest.mark.row(115)
async def test_a_stream_goes_on_with_what_it_began_with(config: Path) -> None:
    """Its model is gone, and its whole mapping is another one: it ends as it would have, and a new request is a 404."""
    more = asyncio.Event()
    script = [REQUEST, stream_head(), chunk(event("The ")), more, chunk(event("end", done=True)), chunk(b"")]
    async with Backend(script) as backend:
        mapping = config.with_name("my.yaml")
        mapping.write_text(MAPPING.format(models="m", url=backend.url))
        async with (
            Logged("serve", "--config", config, "--port", "0") as service,
            await Client.connect(service.url) as client,
        ):
            await client.send(hello(stream=True))
            await client.until(b'"The "')
            write(mapping, MAPPING.format(models="n", url="http://backend.test").replace("t: t", "t: other"))
            service.signal(signal.SIGHUP)
            told = await service.told("reload")
            assert (told["ok"], told["added"], told["removed"]) == (True, ["n"], ["m"])
            gone = await fetch(service.url, hello(stream=True))
            assert (gone.status, gone.error["type"], gone.error["code"]) == (
                404,
                "invalid_request_error",
                "model_not_found",
            )
            more.set()
            wire = await client.answer()
            assert (wire.text, wire.events[-1], wire.complete) == ("The end", "[DONE]", True)
            await client.send(hello(model="m"))
            assert (await client.answer()).status == 404


@needs_hangup
@pytest.mark.row(114)
async def test_a_broken_file_changes_nothing_and_says_why(config: Path) -> None:
    """With file, line and column, as at the start; no secret of it is told; what is mended is served."""
    mapping = config.with_name("my.yaml")
    config.with_name("key").write_text("canary-of-the-file-9\n")
    good = MAPPING.format(models="m", url="http://backend.test")
    good = good.replace("timeouts:", "auth: {bearer: '${file:key}'}, timeouts:")
    mapping.write_text(good)
    async with Logged("serve", "--config", config, "--port", "0") as service:
        write(mapping, good.replace("http://backend.test", "${file:key}"))
        service.signal(signal.SIGHUP)
        told = await service.told("reload")
        assert (told["level"], told["ok"], told["errors"], told["warnings"]) == ("error", False, 1, 0)
        assert any(re.search(r"my\.yaml:4:\d+", line) for line in service.printed), service.printed
        assert service.printed[-1] == "oaiproxy: not reloaded: 1 error"
        assert "canary" not in json.dumps([service.printed, service.events])
        move(config, "away.yaml")
        service.signal(signal.SIGHUP)
        assert (await service.told("reload", 2))["unread"] == 1
        assert "cannot be read" in service.printed[-1]
        assert [each["id"] for each in (await fetch(service.url, MODELS)).json["data"]] == ["m"]
        move(config.with_name("away.yaml"), "config.yaml")
        write(mapping, MAPPING.format(models="m, n", url="http://backend.test"))
        service.signal(signal.SIGHUP)
        assert (await service.told("reload", 3))["added"] == ["n"]


@needs_hangup
async def test_what_needs_a_restart_is_named_and_all_else_counts(config: Path) -> None:
    """The port stays; the level of the log, the size of a body, and the pages that may call are others at once."""
    config.with_name("my.yaml").write_text(MAPPING.format(models="m", url="http://backend.test"))
    page = {"Origin": "http://page.test"}
    async with Logged("serve", "--config", config, "--port", "0", "--host", "127.0.0.1") as service:
        async with await Client.connect(service.url) as client:

            async def asks(**fields: Any) -> Wire:
                await client.send(request({"model": "none", **fields}, headers=page))
                return await client.answer()

            assert (await asks()).status == 403
            server = "{port: 1, loop: asyncio, max_body: 1024, cors: {origins: ['http://page.test']}}"
            write(config, f"mappings: [my.yaml]\nserver: {server}\nlog: {{level: debug}}\n")
            for number in (1, 2):
                service.signal(signal.SIGHUP)
                told = await service.told("reload", number)
                assert told["restart_needed"] == ["server.loop"]  # the port is the command line's
            wire = await asks()
            assert (wire.status, wire.headers["access-control-allow-origin"]) == (400, "http://page.test")
            assert (await asks(text="x" * 1024)).status == 413
            chunked = request(headers={**page, "Content-Length": "", "Transfer-Encoding": "chunked"})
            await client.send(chunked + chunk(b"x" * 2000) + chunk(b""))
            assert (await client.answer()).status == 413
        write(config, "mappings: [my.yaml]\nlog: {level: error}\n")
        service.signal(signal.SIGHUP)
        async with asyncio.timeout(60):
            while (await fetch(service.url, request({}, headers=page))).status != 403:
                pass
        late = request({}, headers={**page, "x-request-id": "late"})
        assert (await fetch(service.url, late)).status == 403
        service.signal(signal.SIGTERM)
        assert await service.exit() == 0
        assert "late" not in [each.get("request_id") for each in service.events]


@needs_hangup
async def test_a_storm_of_signals_lets_nobody_down(config: Path) -> None:
    """A stream under way and requests that wait for its place: who waits goes on when a reload brings more places."""
    more = asyncio.Event()
    script = [REQUEST, stream_head(), chunk(event("The ")), more, chunk(event("end", done=True)), chunk(b"")]
    whole = [REQUEST, answer({"text": "fine"}), GONE]
    async with Backend(script, whole) as backend:
        config.with_name("my.yaml").write_text(MAPPING.format(models="m", url=backend.url))
        limits = "mappings: [my.yaml]\nlimits: {{requests: {}, queue_timeout: 3600}}\n"
        write(config, limits.format(1))
        async with Logged("serve", "--config", config, "--port", "0") as service, AsyncExitStack() as stack:
            stream, *others = [await stack.enter_async_context(await Client.connect(service.url)) for _ in range(5)]
            await stream.send(hello(stream=True))
            await stream.until(b'"The "')
            for client in others:
                await client.send(hello())
            assert (await fetch(service.url, MODELS)).status == 200
            for number in range(100):
                write(config.with_name("my.yaml"), MAPPING.format(models=f"m, x{number}", url=backend.url))
                service.signal(signal.SIGHUP)
            assert (await service.told("reload"))["ok"]
            assert len(backend.requests) == 1
            write(config, limits.format(9))
            service.signal(signal.SIGHUP)
            for client in others:
                assert (await client.answer()).text == "fine"
            more.set()
            wire = await stream.answer()
            assert (wire.text, wire.events[-1], wire.complete) == ("The end", "[DONE]", True)
            names = [each["id"] for each in (await fetch(service.url, MODELS)).json["data"]]
            assert names == ["m", "x99"]
            service.signal(signal.SIGTERM)
            assert await service.exit() == 0
        assert {each["ok"] for each in service.events if each["event"] == "reload"} == {True}
        assert service.printed == []


@needs_hangup
async def test_garbage_changes_nothing_and_says_little(config: Path) -> None:
    """A MiB of it, of any kind: a few lines of bounded width, and the service goes on."""
    mapping = config.with_name("my.yaml")
    mapping.write_text(MAPPING.format(models="m", url="http://backend.test"))
    garbage = [b"\x00\xff\x9b" * 350_000, b"\xc2\x9b2J\x1b" * 2**17, b"[" * 2**20, b"a: [" * 2**18, b"\n" * 2**20]
    garbage.append(b"x" * 2**22)
    async with Logged("serve", "--config", config, "--port", "0") as service:
        for number, data in enumerate(garbage, 1):
            write(mapping, data)
            service.signal(signal.SIGHUP)
            told = await service.told("reload", number)
            assert (told["ok"], told["errors"]) == (False, 1)
            assert (await fetch(service.url, MODELS)).json["data"][0]["id"] == "m"
        service.signal(signal.SIGTERM)
        assert await service.exit() == 0
        assert len(service.printed) <= 8 * len(garbage)
        assert all(len(line) < 1000 and line.isprintable() for line in service.printed)


async def test_jumps_of_the_wall_clock_move_no_timer(config: Path) -> None:
    """A day on and a day back: a stream, a kept connection, who waits, and what is kept stay; `created` follows."""
    folder, more = config.parent / "jump", asyncio.Event()
    jump = folder / "seconds"
    write(folder / "sitecustomize.py", JUMP.format(str(jump)))
    ending = [chunk(event("end", done=True)), chunk(b"")]
    script = [REQUEST, stream_head(), chunk(event("The ")), more, *ending]
    async with Backend([REQUEST, answer({"text": "fine"}), *script, REQUEST, answer({"text": "fine"})]) as backend:
        mapping = MAPPING.format(models="m", url=backend.url).replace("1h", "5m")
        config.with_name("my.yaml").write_text(mapping)
        write(config, "mappings: [my.yaml]\nlimits: {requests: 1, queue_timeout: 300}\n")
        path = f"{folder}{os.pathsep}{ROOT}"
        async with (
            Logged("serve", "--config", config, "--port", "0", PYTHONPATH=path) as service,
            await Client.connect(service.url) as kept,
            await Client.connect(service.url) as stream,
            await Client.connect(service.url) as waiting,
        ):
            await kept.send(request({"model": "m", "input": "hi"}, "/v1/responses"))
            made = (await kept.answer()).json
            await stream.send(hello(stream=True))
            await stream.until(b'"The "')
            await waiting.send(hello())
            for seconds in (86400, -86400):
                write(jump, str(seconds))
                for _ in range(3):
                    await kept.send(request(method="GET", path=f"/v1/responses/{made['id']}"))
                    assert (await kept.answer()).json["id"] == made["id"]
                await asyncio.sleep(0.2)  # what is due now would come
            more.set()
            wire = await stream.answer()
            assert (wire.text, wire.events[-1], wire.complete) == ("The end", "[DONE]", True)
            wire = await waiting.answer()
            assert wire.text == "fine"
            assert made["created_at"] - wire.json["created"] > 80000
            service.signal(signal.SIGTERM)
            assert await service.exit() == 0
        assert {each["status"] for each in service.events if each["event"] == "request"} == {200}


@needs_hangup
@pytest.mark.row(115)
async def test_who_waits_in_the_background_or_for_another_model_gets_an_answer(config: Path) -> None:
    """Their models are gone meanwhile: a response is made to its end, and who would answer instead is asked no more."""
    more = asyncio.Event()
    slow = [REQUEST, more, answer({"text": "late"})]
    failing = [REQUEST, more, answer({"error": "no"}, 500)]
    async with Backend(slow) as backend, Backend(failing) as first, Backend(slow) as other:
        for name, each in (("my", backend), ("first", first), ("other", other)):
            write(config.with_name(f"{name}.yaml"), MAPPING.format(models=name, url=each.url))
        write(config, "mappings: [my.yaml, {file: first.yaml, fallback: [other]}, other.yaml]\n")
        async with (
            Logged("serve", "--config", config, "--port", "0") as service,
            await Client.connect(service.url) as client,
        ):
            asked = {"model": "my", "input": "hi", "background": True}
            made = (await fetch(service.url, request(asked, "/v1/responses"))).json
            await client.send(hello(model="first"))
            await backend.asked()
            await first.asked()
            write(config, "mappings: [{file: new.yaml}]\n")
            write(config.with_name("new.yaml"), MAPPING.format(models="new", url=backend.url))
            service.signal(signal.SIGHUP)
            assert (await service.told("reload"))["removed"] == ["first", "my", "other"]
            more.set()
            wire = await client.answer()
            assert (wire.status, wire.error["code"]) == (502, "upstream_error")
            assert (await service.told("background"))["status"] == "completed"
            kept = await fetch(service.url, request(method="GET", path=f"/v1/responses/{made['id']}"))
            assert kept.json["output"][0]["content"][0]["text"] == "late"
            service.signal(signal.SIGTERM)
            assert await service.exit() == 0
        assert not other.requests
        told = [each for each in service.events if each.get("model") == "first"]
        assert [each["failed"] for each in told] == [{"first": "upstream_error", "other": "model_not_found"}]
