"""No answer goes to another client: hundreds of requests at once, each with a word of its own, some broken off."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from scripted import Client, hello, mapping, settled
from support import serving

CLIENTS = 60
EACH = 8
PIECES = 6
STREAM = "{request: {path: /stream, body: {prompt: '{{ prompt }}'}}, format: sse, text: t, done: d}"


@asynccontextmanager
async def _echoing(chance: random.Random) -> AsyncIterator[str]:
    """A backend that says what it was asked, in pieces, late, and sometimes not to the end."""

    async def handle(request: web.Request) -> web.StreamResponse:
        word = (await request.json())["prompt"]
        broken = chance.random() < 0.15
        await asyncio.sleep(chance.random() * 0.01)
        if request.path == "/whole":
            if broken:
                assert request.transport is not None
                request.transport.abort()
            return web.json_response({"text": " ".join([word] * PIECES), "p": 1, "c": 1})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(PIECES):
            if broken and number == PIECES // 2:
                assert request.transport is not None
                request.transport.abort()
                return response
            text = word if not number else f" {word}"
            await response.write(b"data: " + json.dumps({"t": text}).encode() + b"\n\n")
            await asyncio.sleep(chance.random() * 0.002)
        await response.write(b'data: {"d": true}\n\n')
        return response

    async with serving(handle) as url:
        yield url


@pytest.mark.asyncio(loop_factories=["uvloop", "asyncio"])
@pytest.mark.parametrize("seed", [1, 2])
async def test_every_client_gets_its_own_words_and_no_others(proxy: Any, seed: int) -> None:
    """Every response is whole, an error, or one that its client left; what came of it is the beginning of its own."""
    chance = random.Random(seed)
    ends: Counter[str] = Counter()

    async def one(number: int, running: Any) -> None:
        client = await Client.connect(running.url)
        try:
            for turn in range(EACH):
                word = f"nonce-{seed}-{number}-{turn}-{chance.randrange(1 << 60):x}"
                streams = chance.random() < 0.7
                await client.send(hello(stream=streams, messages=[{"role": "user", "content": word}]))
                if chance.random() < 0.25:
                    await asyncio.sleep(chance.random() * 0.02)
                    client.reset() if chance.random() < 0.5 else client.leave()
                    ends["left"] += 1
                    client = await Client.connect(running.url)
                    continue
                wire = await client.answer()
                whole = " ".join([word] * PIECES)
                assert wire.body.count(b"nonce-") == wire.body.count(word.encode())
                if wire.status != 200:
                    assert wire.error["code"] in ("upstream_reset", "upstream_closed", "upstream_truncated")
                    ends["failed"] += 1
                elif not wire.complete:
                    assert wire.error["code"] in ("upstream_reset", "upstream_truncated")
                    assert whole.startswith(wire.text)
                    ends["broken"] += 1
                    client.leave()
                    client = await Client.connect(running.url)
                else:
                    assert wire.text == whole
                    ends["whole"] += 1
        finally:
            client.leave()

    before = len(asyncio.all_tasks())
    async with _echoing(chance) as url:
        running = await proxy(mapping(url, stream=STREAM))
        async with asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                group.create_task(one(number, running))
        await settled(lambda: running.state.active == 0)
        assert not running.state.clocks
    assert ends.total() == CLIENTS * EACH
    assert ends.keys() == {"left", "failed", "broken", "whole"}
    await settled(lambda: len(asyncio.all_tasks()) <= before + 2)
