"""The fault matrix between a client and its backend: what a mapping cannot build, clocks that jump, names that move."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from scripted import GONE, REQUEST, Backend, Client, answer, chunk, event, fetch, hello, mapping, settled, stream_head
from support import ROOT, load

from oaiproxy import backend as backend_module

BOTH = pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])


def _built(url: str, template: str) -> Any:
    return load(f"""
oaiproxy: 1
models: [m]
backend: {{url: "{url}"}}
chat:
  request: {{path: /s, body: {{q: "{template}"}}}}
  response: {{text: text}}
  stream: {{format: sse, text: t, done: d}}
""")


@pytest.mark.row(99)
@BOTH
async def test_row_99_a_field_that_a_template_needs_and_the_client_left_out(proxy: Any, streams: bool) -> None:
    """Is named, and the client can mend it; no backend is asked."""
    async with Backend([GONE]) as backend:
        running = await proxy(_built(backend.url, "for {{ user }}"))
        wire = await fetch(running.url, hello(stream=streams))
        assert (wire.status, wire.error["type"]) == (400, "invalid_request_error")
        assert (wire.error["param"], wire.error["code"]) == ("user", "missing_required_parameter")
        assert not backend.connections


@pytest.mark.row(99, 100)
@BOTH
async def test_rows_99_and_100_a_request_that_cannot_be_built(
    proxy: Any, capfd: pytest.CaptureFixture[str], streams: bool
) -> None:
    """Is the mapping's mistake: no second try helps, and why is in the log alone."""
    async with Backend([GONE]) as backend:
        running = await proxy(_built(backend.url, "{{ 1 / temperature }}"))
        wire = await fetch(running.url, hello(stream=streams, temperature=0))
        assert (wire.status, wire.error["type"], wire.error["code"]) == (500, "server_error", "mapping_error")
        assert wire.headers["x-should-retry"] == "false"
        assert "division" not in wire.error["message"]
        assert not backend.connections
    running.state.log.close()
    assert "division" in capfd.readouterr().err


@pytest.mark.row(100)
@BOTH
async def test_row_100_a_request_that_would_be_too_large(proxy: Any, streams: bool) -> None:
    """Is not built: some bytes of a client cannot become gigabytes here or at the backend."""
    loops = "{% for a in messages %}{% for b in messages %}{{ a.text }}{% endfor %}{% endfor %}"
    many = [{"role": "user", "content": "x" * 1000}] * 1000
    async with Backend([GONE]) as backend:
        running = await proxy(_built(backend.url, loops))
        wire = await fetch(running.url, hello(stream=streams, messages=many))
        assert wire.status in (400, 500)
        assert wire.headers["x-should-retry"] == "false" or wire.status == 400
        assert not backend.connections


@pytest.mark.row(101)
@pytest.mark.parametrize("value", ["yes", "true", 1, 0, [], {}, [True]])
async def test_row_101_a_stream_that_is_no_flag(proxy: Any, value: Any) -> None:
    """Is a mistake: who asks for a stream in another way must not get a document, nor the other way round."""
    async with Backend([GONE]) as backend:
        wire = await fetch((await proxy(mapping(backend.url))).url, hello(stream=value))
        assert (wire.status, wire.error["type"]) == (400, "invalid_request_error")
        assert (wire.error["param"], wire.error["code"]) == ("stream", "invalid_type")
        assert not backend.connections


@pytest.mark.row(102)
@BOTH
@pytest.mark.parametrize("text", [" " * 1_100_000 + "x", "A" * 300_000, "<|endoftext|>" * 50, "\U0001f600" * 20_000])
async def test_row_102_text_that_is_hostile_to_a_tokenizer(proxy: Any, streams: bool, text: str) -> None:
    """Is counted or estimated, in the prompt and in the answer; other requests are answered meanwhile."""
    said = "A" * 30_000
    script = [stream_head(), chunk(event(said, done=True)), chunk(b"")] if streams else [answer({"text": said})]
    async with Backend([REQUEST, *script]) as backend:
        running = await proxy(mapping(backend.url))
        options = {"stream_options": {"include_usage": True}} if streams else {}
        ask = hello(stream=streams, messages=[{"role": "user", "content": text}], **options)
        wire, health = await asyncio.gather(
            fetch(running.url, ask), fetch(running.url, b"GET /livez HTTP/1.1\r\nHost: proxy\r\n\r\n")
        )
        assert (wire.status, wire.text, health.status) == (200, said, 200)
        usage = wire.events[-2]["usage"] if streams else wire.json["usage"]
        assert usage["prompt_tokens"] > 0
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


DAY = 86400
JUMPING = """
import pathlib, runpy, sys, time
file, real = pathlib.Path(sys.argv.pop(1)), time.time
time.time = lambda: real() + float(file.read_text())
runpy.run_module("oaiproxy", run_name="__main__")
"""
TIMED = """
oaiproxy: 1
models: [m]
backend: {url: "%s", timeouts: {idle: 4s, first_byte: 1h, total: 1h}}
chat:
  request: {path: /whole, body: {prompt: "{{ prompt }}"}}
  response: {text: text}
  stream: {request: {path: /stream}, format: sse, text: t, done: d}
"""


@contextmanager
def _jumping(clock: Path, config: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`oaiproxy serve` in a process whose wall clock is off by the seconds that a file holds."""
    command = [sys.executable, "-c", JUMPING, str(clock), "serve", "--config", str(config), "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.row(113)
async def test_row_113_a_wall_clock_that_jumps(tmp_path: Path) -> None:
    """No timer of the process goes off early or never; what the client is told of the time is the wall's."""
    clock, more, end = tmp_path / "clock", asyncio.Event(), asyncio.Event()
    clock.write_text("0")
    script = [REQUEST, stream_head(), chunk(event("The ")), more, chunk(event("capital")), end, chunk(event(done=True))]
    stalls = [REQUEST, stream_head(), chunk(event("The ")), GONE]
    async with Backend([*script, chunk(b""), GONE], stalls) as backend:
        (tmp_path / "backend.yaml").write_text(TIMED % backend.url)
        config = tmp_path / "config.yaml"
        config.write_text("mappings: [backend.yaml]\n")
        with _jumping(clock, config) as process:
            assert process.stdout is not None
            found = re.search(rb"http://\S+(?=/v1)", await asyncio.to_thread(process.stdout.readline))
            assert found is not None
            url = found[0].decode()
            async with await Client.connect(url) as first, await Client.connect(url) as second:
                await first.send(hello(stream=True))
                await first.until(b'"The "')
                clock.write_text(str(DAY))
                more.set()
                await first.until(b'"capital"')
                clock.write_text(str(-DAY))
                await second.send(hello(stream=True))
                await second.until(b'"The "')
                end.set()
                wire = await first.answer()
                assert (wire.text, wire.events[-1]) == ("The capital", "[DONE]")
                late = await second.answer()
            assert late.error["code"] == "upstream_timeout"
            told = late.events[0]["created"] - wire.events[0]["created"]
            assert -DAY - 60 < told < -DAY + 60


class Names:
    """What one name resolves to; every other one as ever."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ports: list[int] = []
        self.asked = 0
        real = socket.getaddrinfo

        def resolve(host: Any, port: Any, *arguments: Any, **more: Any) -> Any:
            if host != "backend.test":
                return real(host, port, *arguments, **more)
            self.asked += 1
            if not self.ports:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            stream = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
            return [(*stream, ("127.0.0.1", found)) for found in self.ports]

        monkeypatch.setattr(socket, "getaddrinfo", resolve)

    def lead_to(self, *backends: Backend) -> None:
        """From now on."""
        self.ports = [urlsplit(backend.url).port or 0 for backend in backends]


@pytest.mark.row(118)
async def test_row_118_a_name_that_moves(proxy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """New connections go to its new address once the old one is too old; streams from the old one live on."""
    assert backend_module.DNS_SECONDS <= 30
    monkeypatch.setattr(backend_module, "DNS_SECONDS", 0.1)
    go = asyncio.Event()
    long = [REQUEST, stream_head(), chunk(event("old")), go, chunk(event(" end", done=True)), chunk(b"")]
    closing = {"Connection": "close"}
    async with (
        Backend(long, [REQUEST, answer({"text": "old"}, headers=closing)]) as old,
        Backend([REQUEST, answer({"text": "new"}, headers=closing)]) as new,
    ):
        names = Names(monkeypatch)
        names.lead_to(old)
        running = await proxy(mapping("http://backend.test"))
        async with await Client.connect(running.url) as client:
            await client.send(hello(stream=True))
            await client.until(b'"old"')
            names.lead_to(new)
            async with asyncio.timeout(60):
                while (text := (await fetch(running.url, hello())).text) != "new":
                    assert text == "old"
                    await asyncio.sleep(0.02)
            names.lead_to()
            async with asyncio.timeout(60):
                while (wire := await fetch(running.url, hello())).status == 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            assert (wire.status, wire.error["code"]) == (502, "upstream_dns_error")
            assert "x-should-retry" not in wire.headers
            names.lead_to(new)
            assert (await fetch(running.url, hello())).text == "new"
            go.set()
            wire = await client.answer()
            assert (wire.text, wire.events[-1], wire.complete) == ("old end", "[DONE]", True)
        await settled(lambda: running.state.active == 0)


@pytest.mark.row(118)
async def test_row_118_a_name_with_a_dead_address(proxy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is reached at its other one."""
    async with Backend([]) as dead:
        pass
    async with Backend([REQUEST, answer({"text": "fine"})]) as alive:
        names = Names(monkeypatch)
        names.lead_to(dead, alive)
        running = await proxy(mapping("http://backend.test"))
        assert (await fetch(running.url, hello())).text == "fine"
