"""Promises of `oaiproxy.outlets`: an answer leaves whole or as a stream; one that broke off has no clean end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web
from scripted import Client, request
from support import listening

from oaiproxy.config import Server
from oaiproxy.middleware import RECORD, Record
from oaiproxy.outlets import SMALL, ClientOutlet, stream_headers

EVENT = b"data: 1\n\n"


async def sent(answer: Any, headers: dict[str, str], version: str = "1.1") -> Any:
    """What a client gets of an answer."""

    async def handle(asked: web.Request) -> web.StreamResponse:
        asked[RECORD] = Record()
        made: web.StreamResponse = await answer(ClientOutlet(asked, Server(), lambda: headers, commented=False))
        return made

    app = web.Application()
    app.router.add_get("/", handle)
    async with listening(app) as url, await Client.connect(url) as client:
        await client.send(request(None, "/", method="GET", version=version))
        return await client.answer()


@pytest.mark.parametrize("size", [0, 5, SMALL, SMALL + 1])
async def test_a_whole_answer(size: int) -> None:
    """It says how long it is."""

    async def answer(outlet: ClientOutlet) -> web.StreamResponse:
        assert not outlet.begun
        return await outlet.whole(b"x" * size)

    wire = await sent(answer, {"Content-Type": "application/json"})
    assert (wire.status, wire.body, wire.headers["content-length"]) == (200, b"x" * size, str(size))


@pytest.mark.parametrize("breaks", [False, True])
async def test_a_stream(breaks: bool) -> None:
    """Only one that did not break off has an end."""

    async def answer(outlet: ClientOutlet) -> web.StreamResponse:
        await outlet.write(EVENT)
        assert outlet.begun
        return await (outlet.break_off(EVENT) if breaks else outlet.end(EVENT))

    wire = await sent(answer, stream_headers())
    assert (wire.body, wire.complete) == (2 * EVENT, not breaks)
    assert wire.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_each_write_of_a_stream_goes_out_as_it_is(version: str) -> None:
    """In chunks to who knows them; an empty one, which would be the end, does not."""
    pieces = [b"1", b"", b"x" * 16, b"y" * SMALL, b"z" * (SMALL + 1), b"", b"2"]

    async def answer(outlet: ClientOutlet) -> web.StreamResponse:
        for piece in pieces:
            await outlet.write(piece)
            await asyncio.sleep(0)
        return await outlet.end(b"")

    wire = await sent(answer, stream_headers(), version)
    assert (wire.body, wire.complete) == (b"".join(pieces), version == "1.1")
    assert ("transfer-encoding" in wire.headers) == (version == "1.1")


async def test_nothing_more_is_written_to_who_has_left() -> None:
    """Who relays the answer learns of it, and leaves the backend."""
    told = []

    async def answer(outlet: ClientOutlet) -> web.StreamResponse:
        await outlet.write(EVENT)
        await outlet.write(EVENT)
        outlet._request.transport.close()
        with pytest.raises(ConnectionError):
            await outlet.write(EVENT)
        told.append(True)
        return await outlet.break_off(b"")

    wire = await sent(answer, stream_headers())
    assert (wire.body, wire.complete, told) == (2 * EVENT, False, [True])
