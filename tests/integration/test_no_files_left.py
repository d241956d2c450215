"""Promises to a proxy that may open no more files: it sheds, says so seldom, and is well again when there are some."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import pytest
from scripted import GONE, PATIENCE, REQUEST, Backend, Client, answer, fetch, hello, request
from support import ROOT

resource = pytest.importorskip("resource")
pytestmark = pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of other processes cannot be set")
LOOK = request(path="/livez", method="GET")
MAPPING = """
oaiproxy: 1
models: [m]
backend: {url: "${BACKEND}"}
chat: {request: {path: /whole, body: {prompt: "{{ prompt }}"}}, response: {text: text}}
"""
Served: TypeAlias = "tuple[subprocess.Popen[bytes], str]"
FINE = answer({"text": "fine"}, headers={"Connection": "close"})


def _process(config: Path, files: int | None, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "oaiproxy", "serve", "--config", str(config), "--port", "0"]
    return subprocess.Popen(
        command if files is None else ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


@asynccontextmanager
async def serving(
    config: Path, files: int = 20_000, **environment: str
) -> AsyncIterator[tuple[subprocess.Popen[bytes], str]]:
    """`oaiproxy serve`, which may have so many files open, and its address."""
    with _process(config, files, environment) as process:
        try:
            assert process.stdout is not None
            line = await asyncio.to_thread(process.stdout.readline)
            found = re.search(rb"http://\S+(?=/v1)", line)
            assert found, (line, process.stderr and process.stderr.read())
            yield process, found[0].decode()
        finally:
            process.kill()


def written(folder: Path, text: str) -> Path:
    """A configuration with one mapping."""
    (folder / "m.yaml").write_text(MAPPING)
    (folder / "config.yaml").write_text(text)
    return folder / "config.yaml"


async def ended(process: subprocess.Popen[bytes]) -> list[dict[str, object]]:
    """The log of a process that is told to end."""
    process.send_signal(signal.SIGTERM)
    _, err = await asyncio.to_thread(process.communicate, None, PATIENCE)
    assert process.returncode == 0
    return [json.loads(line) for line in err.splitlines()]


async def alive(client: Client) -> bool:
    """Whether a connection is served, and not closed."""
    try:
        await client.send(LOOK)
        return (await client.answer()).status == 200
    except (AssertionError, ConnectionError):
        return False


async def again(url: str, data: bytes) -> int:
    """The status of an answer, asked for until there is one."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return (await fetch(url, data)).status
            except (AssertionError, ConnectionError):
                await asyncio.sleep(0)


@pytest.mark.row(111)
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_no_file_is_left(tmp_path: Path, host: str, loop: str) -> None:
    """New connections are closed, what needs one to a backend is refused, what needs none goes on, and all recovers.

    Also where the backend's name cannot be resolved without a file; and its breaker has counted nothing.
    """
    config = written(tmp_path, f"mappings: [m.yaml]\nserver: {{loop: {loop}}}\nbreaker: {{failures: 1, pause: 60}}\n")
    async with (
        AsyncExitStack() as stack,
        Backend([REQUEST, FINE]) as backend,
        serving(config, BACKEND=backend.url.replace("127.0.0.1", host)) as (process, url),
    ):
        kept = await stack.enter_async_context(await Client.connect(url))
        assert await alive(kept)
        soft, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        files = {int(name) for name in os.listdir(f"/proc/{process.pid}/fd")}
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (max(files) + 1, hard))
        shed = 0
        for _ in range(3):
            clients = [await stack.enter_async_context(await Client.connect(url)) for _ in range(50)]
            served = await asyncio.gather(*(alive(client) for client in clients))
            shed += served.count(False)
            assert await alive(kept)
            await kept.send(hello())
            wire = await kept.answer()
            error = wire.error
            assert (wire.status, error["type"], error["code"]) == (
                503,
                "service_unavailable_error",
                "proxy_overloaded",
            )
            assert (wire.headers["retry-after"], wire.headers["x-should-retry"]) == ("1", "true")
        assert shed >= 140
        assert not backend.connections
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (soft, hard))
        assert await again(url, LOOK) == 200
        assert (await fetch(url, hello())).text == "fine"
        lines = await ended(process)
    told = [line for line in lines if line["event"] != "request"]
    assert max(Counter(line["time"] for line in told).values()) <= 20  # a second of a clock may overlap two
    assert not [line for line in told if line["level"] == "error"]
    assert not [line for line in lines if line.get("status") == 500]
    if loop == "asyncio":
        assert "no_files" in [line["event"] for line in told]


@pytest.mark.row(117)
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
async def test_a_low_limit_of_files_lowers_that_of_clients(tmp_path: Path, loop: str) -> None:
    """So that the requests of all who are let in reach their backends; the log says so."""
    config = written(tmp_path, f"mappings: [m.yaml]\nserver: {{loop: {loop}}}\n")
    go = asyncio.Event()
    async with (
        AsyncExitStack() as stack,
        Backend([REQUEST, go, FINE]) as backend,
        serving(config, 64, BACKEND=backend.url) as (process, url),
    ):
        clients = [await stack.enter_async_context(await Client.connect(url)) for _ in range(16)]
        for client in clients:
            await client.send(hello())
        await backend.asked(16)
        async with await Client.connect(url) as late:
            assert json.loads((await late.rest()).partition(b"\r\n\r\n")[2])["error"]["code"] == "proxy_overloaded"
        go.set()
        assert [(await client.answer()).text for client in clients] == ["fine"] * 16
        lines = await ended(process)
    (line,) = [line for line in lines if line["event"] == "few_files"]
    assert (line["level"], line["files"], line["clients"]) == ("warning", 64, 16)
    assert "no_files" not in [line["event"] for line in lines]


@pytest.mark.row(117)
async def test_it_does_not_start_with_far_too_few(tmp_path: Path) -> None:
    """One line says why."""
    with _process(written(tmp_path, "mappings: [m.yaml]\n"), 40, {"BACKEND": "http://127.0.0.1:9"}) as process:
        out, err = await asyncio.to_thread(process.communicate, None, PATIENCE)
    assert (process.returncode, out) == (1, b"")
    assert err.decode().splitlines() == [
        "oaiproxy: not started: the process may have only 40 files open (RLIMIT_NOFILE): it needs at least 64"
    ]


async def test_the_configuration_bounds_a_mapping(tmp_path: Path) -> None:
    """By the file that it names."""
    config = written(tmp_path, "mappings: [{file: m.yaml, requests: 1, queue: 0}]\n")
    async with Backend([REQUEST, GONE]) as backend, serving(config, BACKEND=backend.url) as (_, url):
        async with await Client.connect(url) as client:
            await client.send(hello())
            await backend.asked()
            assert (await fetch(url, hello())).error["code"] == "proxy_overloaded"
        await backend.gone()
