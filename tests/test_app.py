"""Promises of the composition root: what is served, how it starts, and how it ends without losing anything."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from faults import BOTH_LOOPS
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
    mapping,
    refused,
    request,
    settled,
    stream_head,
)
from support import ROOT

from oaiproxy import logs
from oaiproxy.app import Refusals, Running, create_app, serve
from oaiproxy.backends import MOCK_URL
from oaiproxy.config import Config, Server
from oaiproxy.loader import Loader
from oaiproxy.logs import Log
from oaiproxy.mock import serve_mock

EXAMPLE = ROOT / "mappings" / "example.yaml"
READY = request(None, "/readyz", method="GET")


class Ending:
    """A server whose end is begun by hand."""

    def __init__(self, running: Running, end: Callable[[], asyncio.Task[Any]]) -> None:
        self.running = running
        self.end = end


@asynccontextmanager
async def server(url: str, **settings: Any) -> AsyncIterator[Ending]:
    """A server that a test ends itself."""
    config = Config([], Server(port=0, **settings))
    context = serve(config, [(mapping(url, timeouts="{idle: 1h}"), Path("test.yaml"))])
    running = await context.__aenter__()
    tasks: list[asyncio.Task[Any]] = []

    def end() -> asyncio.Task[Any]:
        tasks.append(asyncio.create_task(context.__aexit__(None, None, None)))
        return tasks[0]

    yield Ending(running, end)
    async with asyncio.timeout(60):
        await (tasks[0] if tasks else end())


async def test_the_addresses_are_these_and_no_others(proxy: Any) -> None:
    """Nothing can be configured, previewed or reloaded over HTTP."""
    running = await proxy(mapping("http://backend.test"))
    routes = {(route.method, route.resource.canonical) for route in create_app(running.state).router.routes()}
    assert routes == {
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/completions"),
        ("POST", "/v1/messages"),
        ("POST", "/v1/messages/count_tokens"),
        ("POST", "/v1/embeddings"),
        ("POST", "/v1/rerank"),
        ("POST", "/v1/moderations"),
        ("POST", "/v1/images/generations"),
        ("POST", "/v1/audio/speech"),
        ("POST", "/v1/audio/transcriptions"),
        ("POST", "/v1/responses"),
        ("POST", "/v1/responses/compact"),
        ("POST", "/v1/responses/input_tokens"),
        ("GET", "/v1/responses/{id}"),
        ("HEAD", "/v1/responses/{id}"),
        ("DELETE", "/v1/responses/{id}"),
        ("GET", "/v1/responses/{id}/input_items"),
        ("HEAD", "/v1/responses/{id}/input_items"),
        ("POST", "/v1/responses/{id}/cancel"),
        ("GET", "/v1/models"),
        ("HEAD", "/v1/models"),
        ("GET", "/v1/models/{model}"),
        ("HEAD", "/v1/models/{model}"),
        ("GET", "/openapi.json"),
        ("HEAD", "/openapi.json"),
        ("GET", "/livez"),
        ("HEAD", "/livez"),
        ("GET", "/readyz"),
        ("HEAD", "/readyz"),
        ("GET", "/"),
        ("HEAD", "/"),
        ("GET", "/health"),
        ("HEAD", "/health"),
        ("GET", "/v1/health"),
        ("HEAD", "/v1/health"),
        ("*", "/{path}"),  # other ways to write these
    }


async def test_it_listens_where_it_says(proxy: Any) -> None:
    """On the port that was free, when none was asked for."""
    running = await proxy(mapping("http://backend.test"))
    assert running.url.startswith("http://127.0.0.1:")
    assert (await fetch(running.url, READY)).status == 200


async def test_an_address_of_ip_6_is_shown_in_brackets(proxy: Any) -> None:
    """As addresses are written in URLs."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 on this machine")
    assert (await proxy(mapping("http://backend.test"), host="::1")).url.startswith("http://[::1]:")


@pytest.mark.row(117)
async def test_a_port_that_is_taken_is_an_error_and_leaves_nothing() -> None:
    """Row 117."""
    taken = socket.create_server(("127.0.0.1", 0))
    before = len(asyncio.all_tasks())
    with pytest.raises(OSError, match="in use"):
        async with serve(Config([], Server(port=taken.getsockname()[1])), []):
            pass
    taken.close()
    await settled(lambda: len(asyncio.all_tasks()) <= before)


async def test_a_mapping_without_a_backend_is_served_its_examples() -> None:
    """Over a real socket, in the backend's own format; whole and streamed."""
    [(compiled, path)], _ = Loader({}).load([("example", EXAMPLE)])
    assert compiled.backend.url == MOCK_URL
    async with serve(Config([], Server(port=0)), [(compiled, path)]) as running:
        assert running.mocked == {"example"}
        ask = {"model": "your-model", "messages": [{"role": "user", "content": "What is the capital of France?"}]}
        for streams in (False, True):
            wire = await fetch(running.url, request({**ask, "stream": streams}))
            assert wire.text == "The capital of France is Paris."


async def test_the_libraries_log_as_before_when_it_ended() -> None:
    """Nobody else in the process is affected."""
    names = ("aiohttp", "asyncio", "oaiproxy")
    before = [(logging.getLogger(name).propagate, list(logging.getLogger(name).handlers)) for name in names]
    async with serve(Config([], Server(port=0)), []):
        assert not any(logging.getLogger(name).propagate for name in names)
    assert before == [(logging.getLogger(name).propagate, list(logging.getLogger(name).handlers)) for name in names]


async def test_what_libraries_say_goes_to_the_log(proxy: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """As JSON, like everything else."""
    running = await proxy(mapping("http://backend.test"))
    logging.getLogger("aiohttp.client").warning("something odd")
    running.state.log.close()
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [line["message"] for line in lines if line["event"] == "library"] == ["something odd"]


async def test_clients_that_send_no_http_do_not_fill_the_log(proxy: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """It is their mistake, as others are, and costs them nothing: only some of it is told."""
    running = await proxy(mapping("http://backend.test"))
    for _ in range(100):
        wire = await fetch(running.url, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        assert (wire.status, wire.error["code"]) == (400, "invalid_request")
    running.state.log.close()
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    told = [line for line in lines if line["event"] not in ("listening", "reload")]
    assert {(line["event"], line["level"], line["status"], line["kind"], line["client"]) for line in told} == {
        ("refused", "info", 400, "BadHttpMessage", "127.0.0.1")
    }
    assert told[0].get("left_out") is None
    assert len(told) + sum(line.get("left_out", 0) for line in told) <= 100


def test_refusals_are_told_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """And how many there were besides."""
    now = 0.0
    monkeypatch.setattr(logs.time, "monotonic", lambda: now)
    reading, writing = os.pipe()
    log = Log("info", writing)
    refusals = Refusals(log)
    for _ in range(25):
        refusals.tell("::1", 400, "BadHttpMessage")
    now = 1.0
    for _ in range(25):
        refusals.tell("::1", 400, "BadHttpMessage")
    log.close()
    os.close(writing)
    with open(reading, "rb") as written:
        lines = [json.loads(line) for line in written]
    assert len(lines) == 20
    assert [line.get("left_out") for line in lines] == [*[None] * 10, 15, *[None] * 9]


async def test_a_request_that_is_not_http_tells_the_log_no_secret(
    proxy: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    """The parser's words hold what it could not parse."""
    running = await proxy(mapping("http://backend.test"))
    async with await Client.connect(running.url) as client:
        await client.send(b"GET / HTTP/1.1\r\nAuthorization Bearer sk-canary\r\n\r\n")
        await client.rest()
    running.state.log.close()
    assert "canary" not in capfd.readouterr().err


@BOTH_LOOPS
async def test_a_stream_under_way_is_finished(proxy: Any) -> None:
    """Row 103: new connections are refused, those there are learn that it is not ready, and nothing is cut."""
    more = asyncio.Event()
    script = [REQUEST, stream_head(), chunk(event("The ")), more, chunk(event("end", done=True)), chunk(b"")]
    async with Backend(script) as backend, server(backend.url) as ending:
        async with (
            await Client.connect(ending.running.url) as client,
            await Client.connect(ending.running.url) as prober,
        ):
            await client.send(hello(stream=True))
            await client.until(b'"The "')
            await prober.send(READY)
            assert (await prober.answer()).status == 200
            ended = ending.end()
            await refused(ending.running.url)
            await prober.send(READY)
            assert (await prober.answer()).status == 503
            assert not ended.done()
            more.set()
            wire = await client.answer()
        assert (wire.text, wire.events[-1], wire.complete) == ("The end", "[DONE]", True)
        await ended


async def test_an_answer_at_the_end_says_that_its_connection_closes() -> None:
    """So that no next request is sent on it and lost."""
    more = asyncio.Event()
    async with Backend([REQUEST, more, answer({"text": "fine"})]) as backend, server(backend.url) as ending:
        async with await Client.connect(ending.running.url) as client:
            await client.send(hello())
            await backend.asked()
            ending.end()
            await refused(ending.running.url)
            more.set()
            wire = await client.answer()
        assert (wire.text, wire.headers["connection"]) == ("fine", "close")


@BOTH_LOOPS
async def test_a_stream_that_outlives_the_end_is_told(proxy: Any) -> None:
    """Row 104: an error event, no end mark; and the backend is left."""
    script = [REQUEST, stream_head(), chunk(event("The ")), GONE]
    async with Backend(script) as backend, server(backend.url, shutdown_timeout=0.05) as ending:
        async with await Client.connect(ending.running.url) as client:
            await client.send(hello(stream=True))
            await client.until(b'"The "')
            ended = ending.end()
            wire = await client.answer()
        assert (wire.error["code"], wire.text) == ("server_shutdown", "The ")
        await backend.gone()
        await ended


@BOTH_LOOPS
@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
async def test_a_request_that_outlives_the_end_is_told(proxy: Any, streams: bool) -> None:
    """Row 105: an HTTP error, and no advice to ask again for what may have been billed."""
    async with Backend([REQUEST, GONE]) as backend, server(backend.url, shutdown_timeout=0.05) as ending:
        async with await Client.connect(ending.running.url) as client:
            await client.send(hello(stream=streams))
            await backend.asked()
            ended = ending.end()
            wire = await client.answer()
        assert (wire.status, wire.error["code"]) == (502, "server_shutdown")
        assert wire.headers["x-should-retry"] == "false"
        await backend.gone()
        await ended


async def test_a_stalled_client_does_not_hold_the_end_up(proxy: Any) -> None:
    """What is written to it has its time, and the end has less."""
    flood = (chunk(event("x" * 8000)) for _ in range(1 << 16))
    async with (
        Backend([REQUEST, stream_head(), flood, GONE]) as backend,
        server(backend.url, shutdown_timeout=0.05, write_timeout=3600) as ending,
    ):
        client = await Client.connect(ending.running.url, receive_buffer=4096)
        await client.send(hello(stream=True))
        await client.until(b"xxxx")
        await ending.end()
        await backend.gone()
        client.leave()


async def test_an_idle_connection_does_not_hold_the_end_up() -> None:
    """It is closed."""
    async with server("http://backend.test") as ending, await Client.connect(ending.running.url) as client:
        await client.send(READY)
        await client.answer()
        await ending.end()
        assert await client.rest() == b""


async def test_a_mock_is_served_by_itself() -> None:
    """As `oaiproxy mock` does."""
    [(compiled, path)], _ = Loader({}).load([("example", EXAMPLE)])
    async with serve_mock(compiled, path, "127.0.0.1", 0) as url:
        wire = await fetch(url, request({"prompt": "x"}, "/generate"))
        assert wire.json["generated_text"] == "The capital of France is Paris."


async def test_two_mappings_are_served_side_by_side(proxy: Any) -> None:
    """Each with its own backend."""
    async with (
        Backend([REQUEST, answer({"text": "one"})]) as one,
        Backend([REQUEST, answer({"text": "two"})]) as two,
    ):
        other = replace(mapping(two.url, models="[n]"), name="other")
        running = await proxy(mapping(one.url), other)
        assert (await fetch(running.url, hello())).text == "one"
        assert (await fetch(running.url, hello(model="n"))).text == "two"
