"""Promises of what the handlers share: a model is found or is an error, and what is under way comes to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from scripted import GONE, REQUEST, Backend, Client, answer, hello, mapping, settled
from support import example

from oaiproxy.app import serve
from oaiproxy.config import Config, Limits, Server
from oaiproxy.errors import ClientError
from oaiproxy.tokens import Tokenizer


async def test_a_model_is_found_by_its_name(proxy: Any) -> None:
    """One that no mapping has, and that no backend lists, is the client's mistake."""
    state = (await proxy(example())).state
    assert await state.resolve("your-model") is state.routes.resolve("your-model")
    with pytest.raises(ClientError) as caught:
        await state.resolve("nobody's")
    assert caught.value.code == "model_not_found"


async def test_nothing_under_way_is_not_waited_for(proxy: Any) -> None:
    """However long it might be."""
    state = (await proxy(example())).state
    async with asyncio.timeout(60):
        await state.drain(3600)


async def test_calls_that_outlive_their_requests_are_ended(proxy: Any) -> None:
    """They have the time of grace."""
    state = (await proxy(example())).state
    late = asyncio.create_task(asyncio.sleep(3600))
    state.background.add(late)
    await state.drain(0.01, grace=0.01)
    with pytest.raises(asyncio.CancelledError):
        await late
    state.background.discard(late)


async def test_a_reply_that_takes_too_long_is_broken_off(proxy: Any) -> None:
    """The client is told why; then nothing is under way."""
    async with Backend([REQUEST, GONE]) as backend:
        running = await proxy(mapping(backend.url))
        async with await Client.connect(running.url) as client:
            await client.send(hello())
            await settled(lambda: bool(running.state.clocks))
            await running.state.drain(0.01)
            assert (await client.answer()).error["code"] == "server_shutdown"
        assert (running.state.active, running.state.clocks) == (0, set())


@pytest.mark.row(105)
async def test_an_answer_that_came_is_paid_for() -> None:
    """Its tokens are being counted when the end comes: the request must not be sent again."""
    counting = asyncio.Event()

    class Slow(Tokenizer):
        async def count(self, texts: Sequence[str]) -> list[int]:
            if texts:
                counting.set()
                await asyncio.sleep(3600)
            return []

    slow = Slow()
    async with Backend([REQUEST, answer({"text": "fine"})]) as backend:
        made = mapping(backend.url)
        config = Config([], Server(port=0, shutdown_timeout=0.01), Limits())
        async with serve(config, [(made, Path(made.file))], slow) as running:
            client = await Client.connect(running.url)
            await client.send(hello())
            await counting.wait()
        wire = await client.answer()
        client.leave()
    slow.close()
    assert (wire.status, wire.error["code"], wire.headers["x-should-retry"]) == (502, "server_shutdown", "false")
