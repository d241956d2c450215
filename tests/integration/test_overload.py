"""Promises under overload: what is taken is finished, what is not is told so, and every place is given back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scripted import (
    GONE,
    REQUEST,
    RST,
    Backend,
    Client,
    answer,
    chunk,
    event,
    fetch,
    hello,
    mapping,
    request,
    settled,
    stream_head,
)

from oaiproxy.app import Running, serve
from oaiproxy.config import Config, Limits, Server, Settings
from oaiproxy.crowd import REFUSAL
from oaiproxy.mapping import Mapping
from oaiproxy.memory import resident
from oaiproxy.tokens import Tokenizer

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])

Start = Callable[..., Awaitable[Running]]
FINE = answer({"text": "fine", "p": 1, "c": 1}, headers={"Connection": "close"})
LONG = {"timeouts": "{first_byte: 1h, idle: 1h, total: 2h}"}
HELD = [REQUEST, stream_head(), chunk(event("The ")), GONE]


@pytest.fixture
async def start(tokenizer: Tokenizer) -> AsyncIterator[Start]:
    """Starts the real `serve` with these mappings, limits, and settings by the names of mappings."""
    async with AsyncExitStack() as stack:

        async def run(*mappings: Mapping, said: dict[str, Settings] | None = None, **limits: Any) -> Running:
            settings = {Path(name): each for name, each in (said or {}).items()}
            config = Config([], Server(port=0, shutdown_timeout=1), Limits(**limits), "debug", settings=settings)
            named = [(each, Path(each.file)) for each in mappings]
            return await stack.enter_async_context(serve(config, named, tokenizer))

        yield run


def named(name: str, backend: Backend) -> Mapping:
    """A mapping in a file of this name, for a model of this name."""
    return replace(mapping(backend.url, models=f"[{name}]", **LONG), file=name)


async def send(url: str, data: bytes) -> Client:
    """A client that has asked, and not read yet."""
    client = await Client.connect(url)
    await client.send(data)
    return client


def refused(wire: Any, kind: str = "service_unavailable_error") -> None:
    """It is the answer of a proxy with too much to do."""
    error = wire.json["error"]
    assert (wire.status, error["type"]) == (503, kind)
    assert error.get("code", "proxy_overloaded") == "proxy_overloaded"
    assert (wire.headers["retry-after"], wire.headers["x-should-retry"]) == ("1", "true")


def idle(running: Running) -> bool:
    """Whether nothing is taken any more."""
    gate = running.state.gate
    return (gate.taken, gate.waiting, running.state.active) == (0, 0, 0)


@pytest.mark.parametrize("streams", [False, True])
async def test_what_is_taken_is_finished_and_the_rest_is_refused(start: Start, streams: bool) -> None:
    """Three times as much as there are places, waiting ones included: nobody is lost, and nothing else is told."""
    go = asyncio.Event()
    whole = [REQUEST, go, FINE]
    events = [REQUEST, stream_head(), chunk(event("fi")), go, chunk(event("ne", done=True)), chunk(b"")]
    async with Backend(events * 8 if streams else whole) as backend:
        running = await start(mapping(backend.url, **LONG), requests=4, queue=4, queue_timeout=3600)
        clients = [await send(running.url, hello(stream=streams)) for _ in range(24)]
        answers = [asyncio.create_task(client.answer()) for client in clients]
        await settled(lambda: sum(each.done() for each in answers) == 16)
        assert (running.state.gate.taken, running.state.gate.waiting) == (4, 4)
        await backend.asked(4)
        assert len(backend.requests) == 4
        for each in answers:
            if each.done():
                refused(each.result())
        go.set()
        wires = await asyncio.gather(*answers)
        assert sorted(wire.status for wire in wires) == [200] * 8 + [503] * 16
        assert {wire.text for wire in wires if wire.status == 200} == {"fine"}
        assert all(wire.complete for wire in wires)
        assert len(backend.requests) == 8
        await settled(lambda: idle(running))
        for client in clients:
            client.leave()


async def test_who_came_first_goes_first(start: Start, capfd: pytest.CaptureFixture[str]) -> None:
    """The log says how long each waited, and of who was refused why, as no failure of ours."""
    steps = [asyncio.Event() for _ in range(4)]
    async with Backend(*([REQUEST, step, FINE] for step in steps)) as backend:
        running = await start(mapping(backend.url, **LONG), requests=1, queue=3, queue_timeout=3600)
        clients = []
        for number in range(4):
            clients.append(await send(running.url, hello(messages=[{"role": "user", "content": f"n{number}"}])))
            await settled(lambda: running.state.gate.taken + running.state.gate.waiting == len(clients))
        refused(await fetch(running.url, hello()))
        for number, step in enumerate(steps):
            await backend.asked(number + 1)
            step.set()
            assert (await clients[number].answer()).text == "fine"
        assert [json.loads(each.body)["prompt"] for each in backend.requests] == ["n0", "n1", "n2", "n3"]
        for client in clients:
            client.leave()
        await settled(lambda: idle(running))
    running.state.log.close()
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    told = [line for line in lines if line["event"] == "request"]
    assert ["queued_ms" in line for line in sorted(told, key=lambda line: line["ms"])].count(True) == 4
    (bad,) = [line for line in told if line["status"] == 503]
    assert (bad["level"], bad["code"]) == ("info", "proxy_overloaded")


@pytest.mark.parametrize("way", [Client.leave, Client.reset])
async def test_who_waits_and_leaves_gives_up_the_turn(start: Start, way: Callable[[Client], None]) -> None:
    """At once: the next one moves up, and the backend never hears of it."""
    go = asyncio.Event()
    async with Backend([REQUEST, go, FINE]) as backend:
        running = await start(mapping(backend.url, **LONG), requests=1, queue=1, queue_timeout=3600)
        first = await send(running.url, hello())
        await backend.asked()
        second = await send(running.url, hello())
        await settled(lambda: running.state.gate.waiting == 1)
        way(second)
        await settled(lambda: running.state.gate.waiting == 0)
        third = await send(running.url, hello())
        await settled(lambda: running.state.gate.waiting == 1)
        go.set()
        assert [(await client.answer()).status for client in (first, third)] == [200, 200]
        assert len(backend.requests) == 2
        await settled(lambda: idle(running))
        first.leave()
        third.leave()


async def test_a_wait_has_an_end(start: Start) -> None:
    """After `queue_timeout`."""
    async with Backend([REQUEST, GONE]) as backend:
        running = await start(mapping(backend.url, **LONG), requests=1, queue_timeout=0.05)
        first = await send(running.url, hello())
        await backend.asked()
        refused(await fetch(running.url, hello()))
        first.leave()
        await settled(lambda: idle(running))
        assert len(backend.requests) == 1


async def test_a_mapping_has_places_of_its_own(start: Start) -> None:
    """One that is full holds no other up, nor what needs no place."""
    async with Backend([REQUEST, GONE]) as slow, Backend([REQUEST, FINE]) as quick:
        said = {"slow": Settings(requests=1, queue=0)}
        running = await start(named("slow", slow), named("quick", quick), said=said)
        first = await send(running.url, hello(model="slow"))
        await slow.asked()
        refused(await fetch(running.url, hello(model="slow")))
        assert (await fetch(running.url, hello(model="quick"))).text == "fine"
        for path in ("/v1/models", "/v1/models/slow", "/livez", "/readyz"):
            assert (await fetch(running.url, request(path=path, method="GET"))).status == 200
        first.leave()
        await slow.gone()
        await settled(lambda: idle(running))


async def test_there_are_only_so_many_streams(start: Start) -> None:
    """What is no stream passes by."""
    async with Backend(HELD, [REQUEST, FINE]) as backend:
        running = await start(mapping(backend.url, **LONG), streams=1, queue=0)
        first = await send(running.url, hello(stream=True))
        await first.until(b'"The "')
        refused(await fetch(running.url, hello(stream=True)))
        assert (await fetch(running.url, hello())).text == "fine"
        first.leave()
        await settled(lambda: idle(running))


ENDS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "a failure": ([REQUEST, answer({"error": "no"}, 500, {"Connection": "close"})], {}),
    "a connection that breaks": ([REQUEST, RST], {}),
    "a stream that breaks": ([REQUEST, stream_head(), chunk(event("The ")), RST], {"stream": True}),
    "several choices": ([REQUEST, FINE], {"n": 3}),
    "one of several choices that fails": ([REQUEST, answer({"error": "no"}, 500, {"Connection": "close"})], {"n": 3}),
    "a request that the mapping does not take": ([REQUEST, FINE], {"tools": [{"type": "function"}]}),
}


@pytest.mark.parametrize("end", ENDS)
async def test_a_place_is_given_back(start: Start, end: str) -> None:
    """However a request ends; for there is but one."""
    script, fields = ENDS[end]
    async with Backend(script) as backend:
        running = await start(mapping(backend.url), requests=1, queue=0)
        for _ in range(3):
            assert (await fetch(running.url, hello(**fields))).status != 503
            await settled(lambda: idle(running))


async def test_a_draft_that_is_made_again_has_one_place(start: Start) -> None:
    """And gives it back."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    bad, good = (answer({"text": text}, headers={"Connection": "close"}) for text in ("no", '{"a": 1}'))
    async with Backend([REQUEST, bad], [REQUEST, good]) as backend:
        running = await start(mapping(backend.url, more="emulate: [response_format]"), requests=1, queue=0)
        wire = await fetch(running.url, hello(response_format=wanted))
        assert json.loads(wire.text) == {"a": 1}
        assert len(backend.requests) == 2
        await settled(lambda: idle(running))


@pytest.mark.parametrize("streams", [False, True])
async def test_what_is_made_in_the_background_keeps_its_place(start: Start, streams: bool) -> None:
    """Although its client has its answer, or has left."""
    async with Backend([REQUEST, GONE]) as backend:
        running = await start(mapping(backend.url, **LONG), requests=1, queue=0)
        body = {"model": "m", "input": "hi", "background": True, "stream": streams}
        client = await send(running.url, request(body, "/v1/responses"))
        await backend.asked()
        if not streams:
            name = (await client.answer()).json["id"]
        else:
            name = (await client.until(b'"status":"')).partition(b'"id":"')[2].partition(b'"')[0].decode()
        client.leave()
        await settled(lambda: running.state.active == 0)
        assert running.state.gate.taken == 1
        refused(await fetch(running.url, hello()))
        refused(await fetch(running.url, request(body, "/v1/responses")))
        path = f"/v1/responses/{name}"
        assert (await fetch(running.url, request(path=path, method="GET"))).json["status"] in ("queued", "in_progress")
        assert (await fetch(running.url, request(path=f"{path}/cancel"))).json["status"] == "cancelled"
        await backend.gone()
        await settled(lambda: idle(running))


async def test_every_endpoint_tells_it_in_its_own_way(start: Start) -> None:
    """With the same status and headers."""
    async with Backend([REQUEST, GONE]) as backend:
        running = await start(mapping(backend.url, **LONG), requests=1, queue=0)
        first = await send(running.url, hello())
        await backend.asked()
        body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
        refused(await fetch(running.url, request(body, "/v1/messages")), "overloaded_error")
        refused(await fetch(running.url, request({"model": "m", "input": "hi"}, "/v1/responses")))
        first.leave()
        await settled(lambda: idle(running))


async def test_bounds_are_set_anew_while_requests_run_and_wait(start: Start) -> None:
    """More places are taken at once; with fewer, those who have one keep it."""
    go = asyncio.Event()
    async with Backend([REQUEST, go, FINE]) as backend:
        running = await start(mapping(backend.url, **LONG), requests=1, queue=3)
        clients = [await send(running.url, hello()) for _ in range(3)]
        await settled(lambda: running.state.gate.waiting == 2)
        running.state.bound(Limits(requests=3, queue=0), {}, None)
        await backend.asked(3)
        running.state.bound(Limits(requests=1, queue=0), {}, None)
        refused(await fetch(running.url, hello()))
        go.set()
        assert [(await client.answer()).status for client in clients] == [200] * 3
        await settled(lambda: idle(running))
        assert (await fetch(running.url, hello())).status == 200
        for client in clients:
            client.leave()


async def test_who_waits_when_the_proxy_ends_is_told_so(start: Start) -> None:
    """No backend has seen the request, so it may be made again elsewhere."""
    async with Backend([REQUEST, GONE]) as backend:
        running = await start(mapping(backend.url, **LONG), requests=1, queue_timeout=3600)
        first = await send(running.url, hello())
        await backend.asked()
        second = await send(running.url, hello())
        await settled(lambda: running.state.gate.waiting == 1)
        await running.state.drain(0.01)
        wire = await second.answer()
        assert (wire.status, wire.error["code"], wire.headers["retry-after"]) == (503, "server_shutdown", "1")
        assert (await first.answer()).error["code"] == "server_shutdown"
        first.leave()
        second.leave()


@pytest.mark.row(6)
async def test_no_connection_to_the_backend_is_free(start: Start) -> None:
    """It is waited for as long as for a place, then refused; the backend never hears of it."""
    async with Backend([REQUEST, GONE], [REQUEST, FINE]) as backend:
        running = await start(mapping(backend.url, **LONG), connections=1, queue_timeout=0.05)
        first = await send(running.url, hello())
        await backend.asked()
        refused(await fetch(running.url, hello()))
        wire = await fetch(running.url, hello(stream=True))
        refused(wire)
        assert wire.error["code"] == "proxy_overloaded"
        assert len(backend.connections) == 1
        first.leave()
        await backend.gone()
        assert (await fetch(running.url, hello())).text == "fine"
        await settled(lambda: idle(running))
        assert not running.state.clocks


async def test_a_connection_that_becomes_free_is_used_by_who_waits(start: Start) -> None:
    """Nobody is refused."""
    go = asyncio.Event()
    async with Backend([REQUEST, go, FINE], [REQUEST, FINE]) as backend:
        running = await start(mapping(backend.url, **LONG), connections=1, queue_timeout=3600)
        first, second = [await send(running.url, hello()) for _ in range(2)]
        await settled(lambda: running.state.gate.taken == 2)
        go.set()
        assert [(await client.answer()).text for client in (first, second)] == ["fine", "fine"]
        first.leave()
        second.leave()


async def test_there_are_only_so_many_clients(start: Start) -> None:
    """One more is told so, whatever it asks for, and closed; the others are served on."""
    async with Backend([REQUEST, FINE]) as backend:
        running = await start(mapping(backend.url), clients=2)
        look = request(path="/livez", method="GET")
        clients = [await send(running.url, look) for _ in range(2)]
        assert [(await client.answer()).status for client in clients] == [200, 200]
        async with await Client.connect(running.url) as third:
            assert await third.rest() == REFUSAL
        await clients[0].send(hello())
        assert (await clients[0].answer()).text == "fine"
        clients[0].leave()
        await settled(lambda: running.state.crowd.count == 1)
        assert (await fetch(running.url, look)).status == 200
        clients[1].leave()
        await settled(lambda: running.state.crowd.count == 0)


@pytest.mark.row(119)
@pytest.mark.skipif(resident() is None, reason="the system does not tell how much memory is taken")
async def test_new_requests_are_refused_while_memory_is_short(start: Start, capfd: pytest.CaptureFixture[str]) -> None:
    """Before their bodies are read; what runs goes on, and with memory everything is as before."""
    taken = resident()
    assert taken is not None
    go = asyncio.Event()
    script = [REQUEST, stream_head(), chunk(event("The ")), go, chunk(event("end", done=True)), chunk(b"")]
    async with Backend([*script, REQUEST, FINE]) as backend:
        running = await start(mapping(backend.url, **LONG), memory=int(taken * 1.2) + (64 << 20))
        state = running.state
        first = await send(running.url, hello(stream=True))
        await first.until(b'"The "')
        hoard = b"x" * (taken // 2 + (128 << 20))
        await settled(lambda: state.memory.high)
        for path in ("/v1/chat/completions", "/v1/responses", "/v1/audio/transcriptions"):
            async with await send(running.url, request(b"", path, headers={"Content-Length": "1000"})) as late:
                refused(await late.answer())
        assert (await fetch(running.url, request(path="/readyz", method="GET"))).status == 503
        assert (await fetch(running.url, request(path="/livez", method="GET"))).status == 200
        go.set()
        wire = await first.answer()
        assert (wire.text, wire.events[-1]) == ("The end", "[DONE]")
        first.leave()
        await settled(lambda: idle(running))
        assert (await fetch(running.url, hello())).text == "fine"  # alone, a request cannot make it worse for another
        del hoard
        await settled(lambda: not state.memory.high)
        assert (await fetch(running.url, request(path="/readyz", method="GET"))).status == 200
        assert len(backend.requests) == 2
    state.log.close()
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [(line["level"], line["high"]) for line in lines if line["event"] == "memory"] == [
        ("warning", True),
        ("info", False),
    ]
