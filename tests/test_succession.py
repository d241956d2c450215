"""Promises of `oaiproxy.succession`: one configuration takes the place of another at once, and nobody loses his own."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from conftest import Proxy
from scripted import GONE, REQUEST, Backend, Client, answer, fetch, hello, mapping, request, settled
from support import ROOT

from oaiproxy.config import Config, Key, Limits, Server
from oaiproxy.descriptors import DescriptorsError
from oaiproxy.loader import Loader
from oaiproxy.mapping import Mapping
from oaiproxy.succession import Changes

HERE = Path("test.yaml")
EXAMPLE = ROOT / "mappings/example.yaml"
ASK = request({"model": "your-model", "messages": [{"role": "user", "content": "What is the capital of France?"}]})


def mocked() -> tuple[Mapping, Path]:
    """A mapping that is served by its own examples."""
    [loaded], _ = Loader({}).load([("example", EXAMPLE)])
    return loaded


async def test_others_are_served_at_once(proxy: Proxy) -> None:
    """It says which models came and went, and which settings wait for a restart, each time."""
    async with Backend([REQUEST, answer({"text": "fine"})]) as backend:
        running = await proxy(mapping(backend.url))
        server = replace(running.state.server, host="::", port=9, loop="asyncio", tls={"key": "x"}, write_timeout=7)
        for _ in range(2):
            changes = await running.reload(Config([], server), [(mapping(backend.url, models="[n]"), HERE)])
            assert changes.restart == ["server.host", "server.port", "server.tls", "server.loop"]
        assert (running.state.server.write_timeout, running.state.server.host) == (7, "127.0.0.1")
        assert (await fetch(running.url, hello(model="n"))).text == "fine"
        assert (await fetch(running.url, hello())).status == 404
        back = await running.reload(Config([], running.state.server), [(mapping(backend.url), HERE)])
        assert back == Changes(["m"], ["n"], [])


async def test_settings_that_others_hold_are_replaced(proxy: Proxy) -> None:
    """How many responses are kept, and how long a connection may be idle, among them."""
    async with Backend([REQUEST, answer({"text": "fine"})] * 2) as backend:
        running = await proxy(mapping(backend.url))
        server = replace(running.state.server, stored_responses=0, max_body=2000, keepalive_timeout=0.01)
        await running.reload(Config([], server, Limits(1)), [(mapping(backend.url), HERE)])
        made = await fetch(running.url, request({"model": "m", "input": "x"}, "/v1/responses"))
        got = await fetch(running.url, request(method="GET", path=f"/v1/responses/{made.json['id']}"))
        assert (made.status, got.status) == (200, 404)
        async with await Client.connect(running.url) as client:
            await client.send(request(method="GET", path="/livez"))
            assert (await client.answer()).status == 200
            assert await client.rest() == b""
        refused = await fetch(running.url, request({"text": "x" * 2000}))
        assert (refused.status, refused.error["code"]) == (413, "request_too_large")


async def test_a_mock_ends_when_nobody_uses_it(proxy: Proxy) -> None:
    """A request that began before may still ask it."""
    async with Backend([REQUEST, GONE]) as backend:
        running = await proxy(mapping(backend.url))
        config = Config([], running.state.server)
        await running.reload(config, [mocked(), (mapping(backend.url), HERE)])
        first = running.state.routes.resolve("your-model").backend.url
        async with await Client.connect(running.url) as client:
            await client.send(hello())
            await backend.asked()
            await running.reload(config, [mocked()])
            second = running.state.routes.resolve("your-model").backend.url
            assert second != first
            await running.reload(config, [])
            (await Client.connect(first)).leave()
        await settled(lambda: running.state.active == 0)
        for url in (first, second):
            await settled(lambda url=url: _free(url))
        assert (await fetch(running.url, ASK)).status == 404


def _free(url: str) -> bool:
    """Whether nobody listens there. Not by connecting: what comes as a server closes, asyncio itself leaves open."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", urlsplit(url).port or 0))
        except OSError:
            return False
    return True


async def test_what_cannot_be_started_changes_nothing(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a mock, where there are no ports any more."""
    running = await proxy(mapping("http://backend.test"))
    routes, server = running.state.routes, running.state.server

    async def full(*_: Any) -> Any:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr("oaiproxy.mock.web.TCPSite.start", full)
        with pytest.raises(OSError, match="Too many"):
            await running.reload(Config([], Server(write_timeout=7)), [mocked()])
    assert (running.state.routes, running.state.server) == (routes, server)
    assert (await running.reload(Config([], server), [mocked()])).added == ["your-model"]


async def test_what_cannot_be_applied_changes_nothing(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a single setting; and what was started for it is ended."""
    running = await proxy(mapping("http://backend.test"))
    state, started = running.state, []
    kept = ("routes", "server", "keys", "hosts", "fallbacks", "bounds", "generation")
    before = [getattr(state, name) for name in kept]
    least, limit, tasks = state.log._least, state.crowd.limit, asyncio.all_tasks()

    def fail(needed: int) -> int:
        started.extend(asyncio.all_tasks() - tasks)
        raise DescriptorsError("too few")

    config = Config([], Server(write_timeout=7), Limits(clients=7), "error", keys=[Key("k", "0" * 64)])
    with monkeypatch.context() as patched:
        patched.setattr("oaiproxy.descriptors.provide", fail)
        with pytest.raises(DescriptorsError):
            await running.reload(config, [mocked()])
    now = [getattr(state, name) for name in kept]
    assert all(one is other for one, other in zip(before, now, strict=True))
    assert (state.log._least, state.crowd.limit, running.mocked) == (least, limit, frozenset())
    assert all(task.done() for task in started)
    assert (await running.reload(config, [mocked()])).added == ["your-model"]


async def test_many_at_once_come_one_after_the_other(proxy: Proxy) -> None:
    """The last one stands; each starts from what the one before it left."""
    running = await proxy(mapping("http://backend.test"))
    made = [(mapping("http://backend.test", models=f"[x{number}]"), HERE) for number in range(5)]
    config = Config([], running.state.server)
    changes = await asyncio.gather(*(running.reload(config, [each]) for each in made))
    assert [change.removed for change in changes] == [["m"], ["x0"], ["x1"], ["x2"], ["x3"]]
    assert running.state.routes.names() == {"x4"}
