"""Promises of the pool of connections to backends: none is used again that holds what nobody asked for."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientError, ClientSession, TCPConnector
from aiohttp.client_proto import ResponseHandler
from scripted import FIN, GONE, PATIENCE, REQUEST, Backend, answer, settled

from oaiproxy.pool import Attempt, Connector, attempt

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    """A session over the pool under test."""
    attempt.set(Attempt())
    async with ClientSession(connector=Connector(limit=0)) as made:
        yield made


async def ask(session: ClientSession, backend: Backend) -> bytes:
    """The body of one answer."""
    async with session.post(backend.url, data=b"{}") as response:
        return await response.read()


async def test_a_connection_is_used_again_and_the_attempt_knows(session: ClientSession) -> None:
    """After an answer and nothing else."""
    async with Backend([REQUEST, answer(b"one"), REQUEST, answer(b"two")]) as backend:
        reused = []
        for said in (b"one", b"two"):
            attempt.set(tried := Attempt())
            assert await ask(session, backend) == said
            reused.append(tried.kept is not None)
            assert tried.asked
        assert (reused, len(backend.connections)) == ([False, True], 1)


@pytest.mark.parametrize("surplus", [b"a", b"HTTP/1.1 200 OK\r\n", answer(b"stolen")])
async def test_what_comes_with_an_answer_costs_the_connection(session: ClientSession, surplus: bytes) -> None:
    """And not the answer."""
    async with Backend([REQUEST, answer(b"one") + surplus, GONE], [REQUEST, answer(b"two")]) as backend:
        assert await ask(session, backend) == b"one"
        await backend.gone()
        assert await ask(session, backend) == b"two"


@pytest.mark.parametrize("size", [b"1", b"7", b"8", b"99999", b"0", b"a", b"-7", b"9" * 20])
@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK", b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 Not Modified"])
async def test_an_answer_is_read_alike_however_it_comes(session: ClientSession, head: bytes, size: bytes) -> None:
    """Its head and what follows at once, or apart: what its head tells of the body is only what the library says."""
    told = []
    for apart in (False, True):
        data = head + b"\r\nContent-Length: " + size + b"\r\n\r\n"
        sent = [data, b"surplus"] if apart else [data + b"surplus"]
        async with Backend([REQUEST, *sent, FIN]) as backend:
            attempt.set(Attempt())
            try:
                async with session.post(backend.url, data=b"{}") as response:
                    told.append((response.status, await response.read()))
            except ClientError as error:
                told.append(type(error))
    assert told[0] == told[1]


async def test_what_comes_later_costs_the_connection(session: ClientSession) -> None:
    """At once, so that nobody reads it."""
    later = asyncio.Event()
    async with Backend([REQUEST, answer(b"one"), later, answer(b"stolen"), GONE], [REQUEST, answer(b"two")]) as backend:
        assert await ask(session, backend) == b"one"
        later.set()
        await backend.gone()
        assert await ask(session, backend) == b"two"


async def test_nothing_is_held_back_from_who_reads_late() -> None:
    """The library pauses at so many chunks that nobody reads, and once more, within the next, when they are read."""
    later, limit = asyncio.Event(), 1024
    many = limit // 16 + 1
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    attempt.set(Attempt())
    async with (
        Backend([REQUEST, head + b"1\r\na\r\n" * many, later, b"1\r\nb\r\n" * 3 + b"0\r\n\r\n"]) as backend,
        ClientSession(connector=Connector(limit=0), read_bufsize=limit) as session,
        asyncio.timeout(PATIENCE),
        session.post(backend.url, data=b"{}") as response,
    ):
        said = await response.content.readexactly(many)
        later.set()
        assert said + await response.read() == b"a" * many + b"bbb"


async def test_the_library_is_as_it_is_known() -> None:
    """What is overridden is called by these names with these arguments."""
    assert list(inspect.signature(TCPConnector._release).parameters) == ["self", "key", "protocol", "should_close"]
    assert list(inspect.signature(TCPConnector._get).parameters) == ["self", "key", "traces"]
    assert list(inspect.signature(TCPConnector._create_connection).parameters) == ["self", "req", "traces", "timeout"]
    assert "_conns" in vars(TCPConnector())
    assert "_payload" in vars(ResponseHandler(asyncio.get_running_loop()))


async def test_who_gives_up_when_called_passes_the_call_on() -> None:
    """The library would call nobody else, who would then wait beside a free connection."""
    connector = Connector(limit=0, limit_per_host=1)
    connector.configure(1, 3600)
    async with (
        Backend([REQUEST, GONE], [REQUEST, answer(b"x")]) as backend,
        ClientSession(connector=connector) as session,
    ):
        attempt.set(Attempt())
        asking = [asyncio.create_task(ask(session, backend))]
        await backend.asked()
        for number in (1, 2):
            asking.append(asyncio.create_task(ask(session, backend)))
            await settled(lambda number=number: [len(each) for each in connector._waiters.values()] == [number])
        connector.configure(2, 3600)
        asking[1].cancel()
        async with asyncio.timeout(PATIENCE):
            assert await asking[2] == b"x"
        asking[0].cancel()
        await asyncio.wait(asking)
