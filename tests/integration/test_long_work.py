"""One request that costs much holds up no other: probes are answered while its work goes on."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from scripted import REQUEST, Backend, Client, Wire, answer, chunk, fetch, hello, mapping, request, stream_head
from support import chat

ENOUGH = 5
"""Probes that are answered meanwhile. Work in the loop lets one or two through: those that came before and after it."""
LIVE = request(None, "/livez", method="GET", headers={"Content-Type": "", "Content-Length": ""})
COSTLY = "items[?a == 'x' || b == 'y' || contains(c, 'z')] | [?a == 'y'].b | [0]"
ITEM = {"a": "1", "b": "2", "c": "3"}


async def probed(url: str, slow: asyncio.Task[Wire]) -> int:
    """How many probes are answered, one after another, before another answer is there."""
    answered = 0
    async with await Client.connect(url) as client:
        while not slow.done():
            await client.send(LIVE)
            assert (await client.answer()).status == 200
            answered += not slow.done()
    return answered


async def asked(url: str, data: bytes) -> tuple[Wire, int]:
    """The answer to a request, and the probes that were answered from when its last byte was sent."""
    async with await Client.connect(url) as client:
        await client.send(data[:-1])
        await asyncio.sleep(0.2)  # until the body but for its last byte was read
        await client.send(data[-1:])
        slow = asyncio.create_task(client.answer())
        count = await probed(url, slow)
        return await slow, count


BIG = {"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}] * 60_000}]}


async def test_a_large_request(proxy: Any) -> None:
    """To read it, to check it, and to make the backend's out of it."""
    loop = "{% for a in messages %}{% for part in a.parts %}{{ part.text | upper | trim }}{% endfor %}{% endfor %}"
    async with Backend([REQUEST, answer({"text": "fine"})]) as backend:
        made = chat(
            request=f'{{path: /g, body: {{p: "{loop}"}}}}',
            response="{text: text}",
            backend=f"{{url: '{backend.url}'}}",
        )
        wire, probes = await asked((await proxy(made)).url, request(BIG))
        assert (wire.status, backend.requests[0].json) == (200, {"p": "HI" * 60_000})
        assert probes >= ENOUGH


async def test_a_request_that_is_too_large(proxy: Any) -> None:
    """To find that it is."""
    running = await proxy(mapping("http://backend.test"))
    wire, probes = await asked(running.url, request(b'{"x": [' + b"[]," * 8_000_000 + b"[]]}"))
    assert (wire.status, wire.error["code"]) == (400, "invalid_json")
    assert probes >= ENOUGH


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "event"])
async def test_a_costly_selector_on_a_large_answer(proxy: Any, streams: bool) -> None:
    """Of a whole answer, and of one event of a stream."""
    body = json.dumps({"t": "hi", "d": True, "items": [ITEM] * (30_000 if streams else 300_000)}).encode()
    if streams:
        head = stream_head()
        script = [head, chunk(b"data: " + body + b"\n\n"), chunk(b"")]
    else:
        script = [answer(body)]
    go = asyncio.Event()
    async with Backend([REQUEST, go, *script]) as backend:
        made = chat(
            response=f'{{text: "t", finish_reason: "{COSTLY}"}}',
            stream=f'{{format: sse, text: "t", finish_reason: "{COSTLY}", done: d}}',
            backend=f"{{url: '{backend.url}'}}",
        )
        running = await proxy(made)
        async with await Client.connect(running.url) as client:
            await client.send(hello(stream=streams))
            await backend.asked()
            go.set()
            slow = asyncio.create_task(client.answer())
            probes = await probed(running.url, slow)
            assert (await slow).text == "hi"
        assert probes >= ENOUGH


@pytest.mark.row(102)
@pytest.mark.parametrize("text", [" " * 1_100_000, "A" * 1_100_000, "\n" * 1_100_000, "^" * 1_100_000])
async def test_text_that_is_hard_to_count(proxy: Any, text: str) -> None:
    """Its tokens are estimated, as the backend did not tell."""
    async with Backend([REQUEST, answer({"text": "fine"})]) as backend:
        running = await proxy(mapping(backend.url))
        wire, probes = await asked(running.url, hello(messages=[{"role": "user", "content": text}]))
        assert (wire.status, wire.json["usage"]["prompt_tokens"] > 0) == (200, True)
        assert probes >= ENOUGH


async def test_a_large_body_is_sent_whole(proxy: Any) -> None:
    """With its length; the library would warn of one that it is given at once."""
    text = "x" * (3 << 20)
    async with Backend([REQUEST, answer({"text": "fine", "p": 1, "c": 1})]) as backend:
        running = await proxy(mapping(backend.url))
        wire = await fetch(running.url, hello(messages=[{"role": "user", "content": text}]))
        (sent,) = backend.requests
        assert (wire.text, sent.json) == ("fine", {"prompt": text})
        assert sent.header("content-length") == str(len(sent.body))
        assert sent.header("content-type") == "application/json"
