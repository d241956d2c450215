"""The fault matrix, row 46: what follows an answer is nobody's: the answer is whole, and the next one is not it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from faults import BOTH_LOOPS, BOTH_WAYS, nothing_left
from scripted import GONE, REQUEST, Backend, Client, answer, chunk, event, fetch, hello, mapping, settled, stream

SURPLUS = {
    "no HTTP": b"canary\r\n\r\n",
    "another answer": answer({"text": "canary"}),
    "an answer in chunks": stream("canary"),
    "the beginning of an answer": b"HTTP/1.1 200 OK\r\nX-A: canary",
    "the beginning of a status line": b"HTTP/1.",
    "an error": answer({"error": {"message": "canary"}}, 429),
    "an interim answer": b"HTTP/1.1 100 Continue\r\n\r\n",
}


def fine(streams: bool, text: str) -> bytes:
    return stream(text) if streams else answer({"text": text})


@pytest.mark.row(46)
@BOTH_LOOPS
@BOTH_WAYS
@pytest.mark.parametrize("cut", ["none", "in the head", "after the head", "in the body"])
@pytest.mark.parametrize("surplus", SURPLUS)
async def test_bytes_with_the_end_of_an_answer(proxy: Any, streams: bool, surplus: str, cut: str) -> None:
    """In the same segment: the answer is told, its connection is closed, and the next answer is that of the next."""
    said = fine(streams, "mine") + SURPLUS[surplus]
    head = said.index(b"\r\n\r\n") + 4
    at = {"none": 0, "in the head": 12, "after the head": head, "in the body": head + 9}[cut]
    begun = asyncio.Event()
    async with Backend([REQUEST, said[:at], begun, said[at:], GONE], [REQUEST, fine(streams, "next")]) as backend:
        running = await proxy(mapping(backend.url))
        async with await Client.connect(running.url) as client:
            await client.send(hello(stream=streams))
            await backend.until(lambda: bool(backend.connections) and backend.connections[0].sent == at)
            for _ in range(20):
                await asyncio.sleep(0)  # so that the proxy reads the first part by itself
            begun.set()
            first = await client.answer()
        assert (first.status, first.text, first.complete) == (200, "mine", True)
        await backend.gone()
        second = await fetch(running.url, hello(stream=streams))
        assert (second.status, second.text, second.complete) == (200, "next", True)
        assert [len(connection.requests) for connection in backend.connections] == [1, 1]
        assert b"canary" not in first.raw + second.raw
        await nothing_left(running)


@pytest.mark.row(46)
@BOTH_LOOPS
@BOTH_WAYS
@pytest.mark.parametrize("surplus", SURPLUS)
async def test_bytes_on_a_connection_that_is_kept(proxy: Any, streams: bool, surplus: str) -> None:
    """Later, when nobody waits for an answer: the connection is closed, so that the next client does not get them."""
    later = asyncio.Event()
    scripts = [REQUEST, fine(streams, "mine"), later, SURPLUS[surplus], GONE], [REQUEST, fine(streams, "next")]
    async with Backend(*scripts) as backend:
        running = await proxy(mapping(backend.url))
        first = await fetch(running.url, hello(stream=streams))
        assert (first.status, first.text, first.complete) == (200, "mine", True)
        await settled(lambda: not running.state.client._session.connector._acquired)
        assert not backend.connections[0].closed
        later.set()
        await backend.gone()
        second = await fetch(running.url, hello(stream=streams))
        assert (second.status, second.text) == (200, "next")
        assert b"canary" not in second.raw
        await nothing_left(running)


@pytest.mark.row(46)
@BOTH_LOOPS
async def test_an_event_after_the_last_chunk(proxy: Any) -> None:
    """The body ended before it."""
    said = stream("mine") + chunk(event("canary"))
    async with Backend([REQUEST, said, GONE]) as backend:
        wire = await fetch((await proxy(mapping(backend.url))).url, hello(stream=True))
        assert (wire.text, wire.events[-1], wire.complete) == ("mine", "[DONE]", True)
        await backend.gone()


@pytest.mark.row(46)
@BOTH_LOOPS
async def test_a_connection_without_surplus_is_used_again(proxy: Any) -> None:
    """Empty lines are none (RFC 9112, 2.2)."""
    async with Backend(
        [REQUEST, answer({"text": "mine"}), REQUEST, stream("next"), REQUEST, stream("last")]
    ) as backend:
        running = await proxy(mapping(backend.url))
        texts = [(await fetch(running.url, hello(stream=streams))).text for streams in (False, True, False)]
        assert texts == ["mine", "next", "last"]
        assert len(backend.connections) == 1
