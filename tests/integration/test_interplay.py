"""Promises where places, keys, breakers, fallbacks and reloads meet: none of them is a way around another."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from guarding import FINE, circuits, failed, let_pauses_end, logged
from scripted import GONE, REQUEST, Backend, Client, Wire, fetch, hello, mapping, request, settled, stream

from oaiproxy.app import Running, serve
from oaiproxy.config import Breaker, Config, Key, Limits, Server, Settings
from oaiproxy.fallbacks import FALLBACK
from oaiproxy.fan import AT_ONCE
from oaiproxy.heartbeat import COMMENT
from oaiproxy.mapping import Mapping
from oaiproxy.tokens import Tokenizer

LONG = {"timeouts": "{first_byte: 1h, idle: 1h, total: 2h}"}
BOTH_WAYS = pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
Start = Callable[..., Awaitable[Running]]


def config(said: dict[str, Settings] | None = None, keys: tuple[Key, ...] = (), **more: Any) -> Config:
    """A configuration; what is not one of its parts is one of the limits."""
    parts = {name: more.pop(name) for name in ("server", "breaker", "log_level") if name in more}
    made = {"server": Server(port=0, shutdown_timeout=1), "log_level": "debug", **parts}
    settings = {Path(name): each for name, each in (said or {}).items()}
    return Config([], limits=Limits(**more), keys=keys, settings=settings, **made)


@pytest.fixture
async def start(tokenizer: Tokenizer) -> AsyncIterator[Start]:
    """Starts the real `serve` with these mappings."""
    async with AsyncExitStack() as stack:

        async def run(*mappings: Mapping, **more: Any) -> Running:
            named = [(each, Path(each.file)) for each in mappings]
            return await stack.enter_async_context(serve(config(**more), named, tokenizer))

        yield run


async def reload(running: Running, *mappings: Mapping, **more: Any) -> None:
    """Serve these from now on."""
    await running.reload(config(**more), [(each, Path(each.file)) for each in mappings])


def named(name: str, server: Backend, **more: Any) -> Mapping:
    """A mapping in a file of this name, for a model of this name."""
    return replace(mapping(server.url, models=f"[{name}]", **LONG, **more), file=name, name=name)


def key(name: str, **more: Any) -> Key:
    """A key that is its own name."""
    return Key(name, sha256(name.encode()).hexdigest(), **more)


def by(name: str) -> dict[str, str]:
    """The headers of who has that key."""
    return {"Authorization": f"Bearer {name}"}


async def idle(running: Running) -> None:
    """Nothing is under way, and no place is taken, of any bound."""
    state = running.state
    await settled(lambda: (state.active, len(state.background), state.gate.waiting) == (0, 0, 0))
    assert state.gate.taken == 0
    assert not any(bound.taken or bound.waiting for bound in state.gate._mappings.values())
    if state.keys is not None:
        assert not any(holder.usage.requests for holder in state.keys.holders.values())


def taken(running: Running) -> dict[str, int]:
    """The places that are taken, by mapping."""
    return {name: bound.taken for name, bound in running.state.gate._mappings.items() if bound.taken}


@BOTH_WAYS
async def test_a_fallback_takes_a_place_of_its_own_mapping(start: Start, streams: bool) -> None:
    """And gives that of the first one back to whoever waits for it."""
    async with Backend([REQUEST, failed()]) as down, Backend([REQUEST, GONE]) as well:
        said = {"m": Settings(requests=1, queue=1, fallback=["b"]), "b": Settings(requests=1, queue=0)}
        running = await start(named("m", down), named("b", well), said=said)
        async with await Client.connect(running.url) as client:
            await client.send(hello(stream=streams))
            await well.asked()
            assert (taken(running), running.state.gate.taken) == ({"b": 1}, 1)
            wire = await fetch(running.url, hello(model="b", stream=streams))
            assert (wire.status, wire.error["code"]) == (503, "proxy_overloaded")
            wire = await fetch(running.url, hello(stream=streams))
            assert (wire.status, wire.error["code"]) == (502, "upstream_error")
            assert (len(down.requests), len(well.requests)) == (2, 1)
        await well.gone()
        await idle(running)


async def test_a_fallback_that_is_full_is_passed_over(start: Start, capfd: Any) -> None:
    """The next one answers; nobody waits with a place in hand, so that two which stand in for each other go on."""
    async with Backend([REQUEST, failed()]) as down, Backend([REQUEST, GONE]) as full, Backend([REQUEST, FINE]) as well:
        said = {"m": Settings(fallback=["b", "c"]), "b": Settings(requests=1, fallback=["m"])}
        running = await start(named("m", down), named("b", full), named("c", well), said=said)
        async with await Client.connect(running.url) as client:
            await client.send(hello(model="b"))
            await full.asked()
            wire = await fetch(running.url, hello())
            assert (wire.text, wire.headers[FALLBACK]) == ("fine", "c")
            (line,) = await logged(capfd, "request", bool)
            assert line["failed"] == {"m": "upstream_error", "b": "proxy_overloaded"}
        await idle(running)


async def test_models_of_one_mapping_share_its_places(start: Start) -> None:
    """One place is enough for a fallback to another of them."""
    async with Backend([REQUEST, failed()], [REQUEST, FINE]) as backend:
        one = replace(mapping(backend.url, models="[m, b]", **LONG), file="m")
        running = await start(one, said={"m": Settings(requests=1, queue=0, fallback=["b"])})
        assert (await fetch(running.url, hello())).headers[FALLBACK] == "b"
        await idle(running)


@BOTH_WAYS
async def test_a_response_in_the_background_moves_too(start: Start, streams: bool) -> None:
    """Its place is that of who makes it, after its request has ended."""
    async with Backend([REQUEST, failed()]) as down, Backend([REQUEST, GONE]) as well:
        said = {"m": Settings(requests=1, fallback=["b"])}
        running = await start(named("m", down), named("b", well), said=said)
        body = {"model": "m", "input": "hi", "background": True, "stream": streams}
        async with await Client.connect(running.url) as client:
            await client.send(request(body, "/v1/responses"))
            await well.asked()
        await settled(lambda: running.state.active == 0)
        assert taken(running) == {"b": 1}
        (name,) = await background(running)
        assert (await fetch(running.url, request(path=f"/v1/responses/{name}/cancel"))).json["status"] == "cancelled"
        await idle(running)


async def background(running: Running) -> list[str]:
    """The responses that are made in the background."""
    [break_off] = running.state.unattended
    return list(break_off.__self__.runs)  # type: ignore[attr-defined]


async def test_a_fallback_is_for_whom_its_model_is(start: Start, capfd: Any) -> None:
    """A key gets no model by it that it may not use; neither its name nor that it exists is told."""
    async with Backend([REQUEST, failed()]) as down, Backend([REQUEST, FINE]) as well:
        keys = (key("all"), key("some", models=["m"]))
        said = {"m": Settings(fallback=["b"])}
        running = await start(named("m", down), named("b", well), said=said, keys=keys)
        wire = await fetch(running.url, hello(headers=by("some")))
        assert (wire.status, wire.error["code"], FALLBACK in wire.headers) == (502, "upstream_error", False)
        assert not well.requests
        assert (await fetch(running.url, hello(headers=by("all")))).headers[FALLBACK] == "b"
        first, _ = await logged(capfd, "request", lambda lines: len(lines) == 2)
        assert first["failed"] == {"m": "upstream_error", "b": "model_not_found"}
        await idle(running)


@BOTH_WAYS
async def test_a_response_in_the_background_is_one_request_of_its_key(start: Start, streams: bool) -> None:
    """From its beginning to its end, whether or not a client follows it; it can be read and cancelled meanwhile."""
    async with Backend([REQUEST, GONE]) as backend:
        keys = (key("k", requests=1), key("other"))
        running = await start(named("m", backend), keys=keys)
        body = {"model": "m", "input": "hi", "background": True, "stream": streams}
        again = request(body, "/v1/responses", headers=by("k"))
        async with await Client.connect(running.url) as client:
            await client.send(again)
            await backend.asked()
            refused(await fetch(running.url, again))
        await settled(lambda: running.state.active == 0)
        refused(await fetch(running.url, hello(headers=by("k"))))
        (name,) = await background(running)
        path = f"/v1/responses/{name}"
        for way in ("", "/input_items"):
            assert (await fetch(running.url, request(path=path + way, method="GET", headers=by("k")))).status == 200
        if streams:
            async with await Client.connect(running.url) as client:
                await client.send(request(path=f"{path}?stream=true", method="GET", headers=by("k")))
                await client.until(b"response.in_progress")
        wire = await fetch(running.url, request(path=f"{path}/cancel", headers=by("k")))
        assert wire.json["status"] == "cancelled"
        await backend.gone()
        await idle(running)


@pytest.mark.parametrize("how", ["answer", "connection"])
async def test_a_request_that_the_budget_does_not_let_try_again_is_one_failure(start: Start, how: str) -> None:
    """Of a backend, as any other one."""
    async with Backend([REQUEST, failed(503)]) as backend:
        more = {"backend": "retry: {max: 2, on: [503], backoff: 1ms}"}
        running = await start(named("m", backend, **more), retries=0, breaker=Breaker(4, 30))
        if how == "connection":
            await backend.__aexit__()
        for number in range(1, 4):
            assert (await fetch(running.url, hello())).error["code"] != "upstream_unavailable"
            assert [circuit._failed for circuit in circuits(running)] == [number]
        await fetch(running.url, hello())
        assert (await fetch(running.url, hello())).error["code"] == "upstream_unavailable"
        await idle(running)


async def test_too_few_connections_are_no_failure_of_the_backend(start: Start) -> None:
    """Nor is the one of a fallback: that may answer, and the breaker stays as it is."""
    async with Backend([REQUEST, GONE]) as busy, Backend([REQUEST, FINE]) as well:
        said = {"m": Settings(fallback=["b"])}
        more: dict[str, Any] = {"connections": 1, "queue_timeout": 0.02, "breaker": Breaker(1, 30)}
        running = await start(named("m", busy), named("b", well), said=said, **more)
        async with await Client.connect(running.url) as client:
            await client.send(hello())
            await busy.asked()
            for _ in range(3):
                assert (await fetch(running.url, hello())).headers[FALLBACK] == "b"
            await reload(running, named("m", busy), named("b", well), **more)
            wire = await fetch(running.url, hello())
            assert (wire.status, wire.error["code"]) == (503, "proxy_overloaded")
            assert (wire.headers["retry-after"], wire.headers["x-should-retry"]) == ("1", "true")
            assert {circuit.state.value for circuit in circuits(running)} == {"closed"}
            assert (len(busy.connections), len(busy.requests)) == (1, 1)
        await idle(running)


async def test_more_connections_are_there_for_those_who_wait(start: Start) -> None:
    """At once, when a reload brings them."""
    async with Backend([REQUEST, GONE]) as backend:
        running = await start(named("m", backend), connections=1, queue_timeout=3600)
        clients = [await Client.connect(running.url) for _ in range(4)]
        for client in clients:
            await client.send(hello())
        await settled(lambda: running.state.active == 4)
        await backend.asked()
        await reload(running, named("m", backend), connections=3)
        await backend.asked(3)
        assert len(backend.connections) == 3
        for client in clients:
            client.leave()
        await idle(running)


def refused(wire: Wire) -> None:
    """The key has enough under way."""
    assert (wire.status, wire.error["code"]) == (429, "rate_limit_exceeded")
    assert (wire.headers["retry-after"], wire.headers["x-should-retry"]) == ("1", "true")


async def test_all_settings_count_after_a_reload(start: Start, capfd: Any) -> None:
    """None is held anywhere as it was at the start; each is seen on the wire."""
    async with Backend([REQUEST, FINE]) as backend:
        one = named("m", backend)
        running = await start(one)
        assert (await fetch(running.url, hello())).status == 200

        async def now(**server: Any) -> None:
            """A reload that changes these settings of the server alone."""
            await reload(running, one, server=Server(port=0, shutdown_timeout=1, **server))

        async def code(data: bytes) -> tuple[int, str]:
            wire = await fetch(running.url, data)
            return wire.status, wire.json["error"]["code"] if wire.status >= 400 else ""

        await now(hosts=["proxy.test"])
        assert await code(hello(headers={"Host": "proxy.test"})) == (200, "")
        await now()
        assert await code(hello(headers={"Host": "proxy.test"})) == (421, "misdirected_request")

        await now(cors={"origins": ["https://page.test"]})
        assert await code(hello(headers={"Origin": "https://page.test"})) == (200, "")
        await now()
        assert await code(hello(headers={"Origin": "https://page.test"})) == (403, "origin_not_allowed")

        await now(max_body=100)
        assert await code(hello(user="x" * 100)) == (413, "request_too_large")
        await now()
        assert await code(hello(user="x" * 100)) == (200, "")

        await now(header_timeout=0.05)
        async with await Client.connect(running.url) as client:
            await client.send(b"GET /livez HTTP/1.1\r\n")
            assert await client.rest() == b""
        await now(body_timeout=0.05)
        async with await Client.connect(running.url) as client:
            await client.send(hello()[:-1])
            assert (await client.answer()).error["code"] == "request_timeout"

        await now(background_responses=0)
        body = {"model": "m", "input": "hi", "background": True}
        assert await code(request(body, "/v1/responses")) == (400, "unsupported_parameter")
        await now()
        assert await code(request(body, "/v1/responses")) == (200, "")

        for most in (300, 9000, 300):
            await reload(running, one, headers=most)
            for length, wanted in ((1000, most > 1000), (200, True)):
                assert (await code(hello(headers={"X": "x" * length})))[0] == (200 if wanted else 431)
        await reload(running, one, depth=3)
        assert (await code(hello(metadata={"a": {"b": {"c": 1}}})))[0] == 400
        await reload(running, one, answer=5)
        assert await code(hello()) == (502, "upstream_response_too_large")
        await reload(running, one, clients=1)
        async with await Client.connect(running.url) as client:
            await client.send(request(path="/livez", method="GET"))
            await client.answer()
            assert await code(hello()) == (503, "proxy_overloaded")

        await reload(running, one, keys=(key("k"),))
        assert await code(hello()) == (401, "missing_api_key")
        assert await code(hello(headers=by("k"))) == (200, "")
        await reload(running, one, keys=(key("l"),))
        assert await code(hello(headers=by("k"))) == (401, "invalid_api_key")
        await reload(running, one)
        assert await code(hello()) == (200, "")

        await reload(running, one, log_level="error")
        await fetch(running.url, hello(headers={"x-request-id": "quiet"}))
        await reload(running, one, log_level="debug")
        await fetch(running.url, hello(headers={"x-request-id": "loud"}))
        lines = await logged(capfd, "request", lambda lines: bool(lines) and lines[-1]["request_id"] == "loud")
        assert "quiet" not in {line["request_id"] for line in lines}
        await idle(running)


async def test_a_stream_that_waits_for_its_place_is_told_nothing(start: Start) -> None:
    """No comment, and so no status, before it has one: that it gets none can still be said."""
    go = asyncio.Event()
    async with Backend([REQUEST, go, stream("fine"), REQUEST, stream("fine")]) as backend:
        server = Server(port=0, keepalive_comments=0.01, shutdown_timeout=1)
        running = await start(named("m", backend), requests=1, queue_timeout=3600, server=server)
        async with await Client.connect(running.url) as first, await Client.connect(running.url) as second:
            await first.send(hello(stream=True))
            await first.until(COMMENT)
            await second.send(hello(stream=True))
            await settled(lambda: running.state.gate.waiting == 1)
            for _ in range(3):
                first.received.clear()
                await first.until(COMMENT)
            with pytest.raises(BlockingIOError):
                second._socket.recv(1)
            go.set()
            await first.until(b"[DONE]")
            assert (await second.answer()).body.replace(COMMENT, b"").endswith(b"[DONE]\n\n")
        await idle(running)


async def test_who_waits_while_a_reload_takes_its_model_goes_on(start: Start) -> None:
    """With the mapping and the key that it came with; no one else comes in by them."""
    go = asyncio.Event()
    async with Backend([REQUEST, go, FINE]) as backend:
        one, other = named("m", backend), named("other", backend)
        running = await start(one, keys=(key("k"),), said={"m": Settings(requests=1)}, queue_timeout=3600)
        async with await Client.connect(running.url) as first, await Client.connect(running.url) as second:
            for number, client in enumerate((first, second)):
                await client.send(hello(headers=by("k")))
                await settled(lambda number=number: running.state.gate.waiting == number)  # type: ignore[misc]
                await backend.asked()
            await reload(running, other, keys=(key("l"),), said={"other": Settings(requests=1)})
            assert running.state.gate.waiting in (0, 1)
            assert (await fetch(running.url, hello(headers=by("k")))).status == 401
            assert (await fetch(running.url, hello(headers=by("l")))).status == 404
            go.set()
            assert [(await client.answer()).text for client in (first, second)] == ["fine", "fine"]
        await idle(running)
        await reload(running, other, keys=(key("l"),))
        assert not running.state.gate._mappings
        assert running.state.keys is not None
        assert running.state.keys.usage.keys() == {"l"}


async def test_what_was_made_with_a_key_that_is_gone(start: Start) -> None:
    """Is for nobody else, not even where nobody is asked any more, and there again with the key."""
    async with Backend([REQUEST, FINE]) as backend:
        one = named("m", backend)
        running = await start(one, keys=(key("k"), key("l")))
        made = await fetch(running.url, request({"model": "m", "input": "hi"}, "/v1/responses", headers=by("k")))
        look = f"/v1/responses/{made.json['id']}"

        async def found(headers: dict[str, str] | None = None) -> int:
            wire = await fetch(running.url, request(path=look, method="GET", headers=headers))
            body = {"model": "m", "input": "hi", "previous_response_id": made.json["id"]}
            again = await fetch(running.url, request(body, "/v1/responses", headers=headers))
            assert (wire.status, again.status) in ((200, 200), (404, 400), (401, 401))
            return wire.status

        assert [await found(by("k")), await found(by("l"))] == [200, 404]
        await reload(running, one, keys=(key("l"),))
        assert [await found(by("k")), await found(by("l"))] == [401, 404]
        await reload(running, one)
        assert [await found(by("k")), await found()] == [404, 404]
        await reload(running, one, keys=(key("k"),))
        assert await found(by("k")) == 200


async def test_no_reload_opens_the_door_to_all(start: Start) -> None:
    """Keys that are gone from an address which others reach are an error, unless that is said; nothing is changed."""
    async with Backend([REQUEST, FINE]) as backend:
        one, other = named("m", backend), named("other", backend)
        running = await start(one, keys=(key("k"),))
        state = running.state
        state.server = replace(state.server, host="192.0.2.1")  # as if it listened there
        before = (state.keys, state.server, state.routes, state.generation, state.hosts)
        with pytest.raises(PermissionError, match="without a key"):
            await reload(running, other)
        assert (state.keys, state.server, state.routes, state.generation, state.hosts) == before
        assert (await fetch(running.url, hello())).status == 401
        assert (await fetch(running.url, hello(headers=by("k")))).status == 200
        with pytest.raises(PermissionError):  # what is listened on counts, not what would be
            await reload(running, other, server=Server(host="127.0.0.1", socket="proxy.sock", tls={"client_ca": "x"}))
        await reload(running, other, server=Server(insecure=True))
        assert (await fetch(running.url, hello(model="other"))).status == 200
        with pytest.raises(PermissionError):
            await reload(running, one)
        await reload(running, one, keys=(key("k"),))
        state.server = replace(state.server, tls={"client_ca": "x"})
        await reload(running, one)
        state.server = replace(state.server, tls={}, host="127.0.0.1")
        await reload(running, one)
        assert (await fetch(running.url, hello())).status == 200


async def test_many_reloads_leave_nothing_behind(start: Start) -> None:
    """Mappings, keys and backends that come, are used and go: what is kept of each is forgotten."""
    async with Backend([REQUEST, failed()]) as down, Backend([REQUEST, FINE]) as well:
        running = await start()
        generations: list[weakref.ref[Any]] = []
        for number in range(200):
            one, two = named(f"m{number}", down), named(f"n{number}", well)
            said = {one.file: Settings(requests=2, fallback=[two.name]), two.file: Settings(requests=1)}
            await reload(running, one, two, said=said, keys=(key(f"k{number}", requests=1),))
            assert running.state.generation is not None
            generations.append(weakref.ref(running.state.generation))
            if number % 20 == 0:
                wire = await fetch(running.url, hello(model=one.name, headers=by(f"k{number}")))
                assert wire.headers[FALLBACK] == two.name
        await idle(running)
        last = named("last", well)
        await reload(running, last, keys=(key("last"),))
        await settled(lambda: not running.succession._leaving)
        state = running.state
        assert (state.gate._mappings, state.gate._lanes, state.gate._queued) == ({}, {}, {})
        assert (state.circuits._lines, state.circuits._by_url, state.fallbacks) == ({}, {}, {})
        assert state.keys is not None
        assert (len(state.keys.usage), len(state.keys.holders)) == (1, 1)
        assert (len(state.configured), len(state.unattended)) == (3, 1)
        gc.collect()
        assert not any(each() for each in generations)


@BOTH_WAYS
async def test_a_request_in_parts_does_not_storm_a_backend_that_fails(start: Start, streams: bool) -> None:
    """Of its parts only a few are sent at once; with the breaker open none, and after its pause one tries."""
    async with Backend([REQUEST, failed()]) as down:
        more = {"more": "emulate: [n]"}
        running = await start(named("m", down, **more), breaker=Breaker(2, 30))
        wire = await fetch(running.url, hello(n=20, stream=streams))
        assert wire.status in (502, 503)
        assert len(down.requests) <= AT_ONCE
        while circuits(running)[0].state.value == "closed":
            await fetch(running.url, hello(n=20, stream=streams))
        asked = len(down.requests)
        wire = await fetch(running.url, hello(n=20, stream=streams))
        assert (wire.error["code"], len(down.requests)) == ("upstream_unavailable", asked)
        let_pauses_end(running)
        wire = await fetch(running.url, hello(n=20, stream=streams))
        assert (wire.error["code"], len(down.requests)) == ("upstream_error", asked + 1)
        assert circuits(running)[0].state.value == "open"
        await idle(running)
