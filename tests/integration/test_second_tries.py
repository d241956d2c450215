"""Promises of answers that are asked for once more, on the wire: silence, failures, time, and clients that leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from scripted import PATIENCE, Client, Wire, chunk, fetch, hello, settled
from support import chat, serving, sse

from oaiproxy.heartbeat import COMMENT
from oaiproxy.mapping import Mapping

SOON = 0.02
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
MUST: dict[str, tuple[dict[str, Any], str]] = {
    "format": ({"response_format": {"type": "json_object"}}, '{"a": 1}'),
    "tools": ({"tools": TOOLS, "tool_choice": "required"}, '<tool_call>{"name": "look"}</tool_call>'),
}
BAD = "no canary"


class Behind:
    """A backend whose answers wait until they are let go; None breaks the connection off."""

    def __init__(self, *answers: str | None) -> None:
        self.url = ""
        self.asked = 0
        self.left = 0
        self.go = [asyncio.Event() for _ in answers]
        self._answers = answers

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The next answer."""
        body = await request.json()
        number, self.asked = self.asked, self.asked + 1
        try:
            async with asyncio.timeout(PATIENCE):
                await self.go[number].wait()
        except asyncio.CancelledError:
            self.left += 1
            raise
        said = self._answers[number]
        if said is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if not body["s"]:
            return web.json_response({"t": said, "why": "stop"})
        return web.Response(text=sse({"t": said}, {"why": "stop"}), content_type="text/event-stream")


@asynccontextmanager
async def behind(*answers: str | None) -> AsyncIterator[Behind]:
    made = Behind(*answers)
    async with serving(made.handle) as made.url:
        yield made


def mapped(url: str, emulate: str = "response_format, tools", timeouts: str = "{}") -> Mapping:
    return chat(
        backend=f"{{url: '{url}', timeouts: {timeouts}}}",
        more=f"emulate: [{emulate}]",
        request="{path: /g, body: {m: '{{ messages }}', s: '{{ stream }}'}}",
        response="{text: t, finish_reason: why}",
        stream="{format: sse, text: t, finish_reason: why}",
    )


async def bridged(proxy: Any, backend: Behind, fields: dict[str, Any]) -> Wire:
    """The answer of two tries, each of which is silent for long."""
    running = await proxy(mapped(backend.url), keepalive_comments=SOON)
    async with await Client.connect(running.url) as client:
        await client.send(hello(stream=True, seed=1, **fields))
        await client.until(COMMENT)
        backend.go[0].set()
        await settled(lambda: backend.asked == 2)
        known = client.received.count(COMMENT)
        await client.until(chunk(COMMENT) * (known + 2))
        backend.go[1].set()
        return await client.answer()


@pytest.mark.parametrize("must", MUST)
async def test_silence_is_bridged_through_both_tries(proxy: Any, must: str) -> None:
    """Nothing of the first one goes out; what was left out is named all the same."""
    fields, good = MUST[must]
    async with behind(BAD, good) as backend:
        wire = await bridged(proxy, backend, fields)
    assert (wire.status, wire.complete, wire.headers["x-oaiproxy-dropped"]) == (200, True, "seed")
    assert b"canary" not in wire.body
    assert wire.body.endswith(b"data: [DONE]\n\n")
    assert wire.body.count(b'"finish_reason":"tool_calls"' if must == "tools" else b'"finish_reason":"stop"') == 1


@pytest.mark.parametrize("second", [BAD, None], ids=["unfit", "gone"])
async def test_a_second_failure_behind_a_comment_is_an_event(proxy: Any, second: str | None) -> None:
    """The status was sent; there is no mark of an end, and nothing of what did not fit."""
    async with behind(BAD, second, second) as backend:
        backend.go[2].set()
        wire = await bridged(proxy, backend, MUST["format"][0])
    assert (wire.status, wire.complete) == (200, False)
    (payload,) = [part for part in wire.body.replace(COMMENT, b"").split(b"\n\n") if part]
    assert payload.startswith(b'data: {"error":')
    assert (b"upstream_invalid_structured_output" in payload) == (second is BAD)
    assert b"canary" not in wire.body


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_in_the_second_try_frees_the_backend(proxy: Any, stream: bool) -> None:
    """As in any other."""
    async with behind(BAD, BAD) as backend:
        running = await proxy(mapped(backend.url))
        backend.go[0].set()
        async with await Client.connect(running.url) as client:
            await client.send(hello(stream=stream, **MUST["format"][0]))
            await settled(lambda: backend.asked == 2)
        await settled(lambda: backend.left == 1 and not running.state.active)


@pytest.mark.parametrize("fields", [{}, {"n": 2}], ids=["one", "several"])
async def test_both_tries_share_the_time_of_one(proxy: Any, fields: dict[str, Any]) -> None:
    """That of the second one is what the first has left: then it is a 504."""
    async with behind(*([BAD] * 4)) as backend:
        running = await proxy(mapped(backend.url, "n, response_format", "{total: 1s}"))
        for each in backend.go[: fields.get("n", 1)]:
            each.set()
        wire = await fetch(running.url, hello(**MUST["format"][0], **fields))
        assert (wire.status, wire.error["code"]) == (504, "upstream_timeout")
        assert backend.asked > fields.get("n", 1)


@pytest.mark.parametrize("stream", [False, True])
async def test_tokens_that_the_backend_does_not_count_are_counted_of_both_tries(proxy: Any, stream: bool) -> None:
    """The second prompt holds the first answer, and what is wrong with it."""
    usages = []
    for answers in (["{}"], [BAD, "{}"]):
        async with behind(*answers) as backend:
            running = await proxy(mapped(backend.url))
            for each in backend.go:
                each.set()
            more = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
            wire = await fetch(running.url, hello(**MUST["format"][0], **more))
            usages.append(wire.events[-2]["usage"] if stream else wire.json["usage"])
    first, both = usages
    assert both["prompt_tokens"] > 2 * first["prompt_tokens"]
    assert both["completion_tokens"] > first["completion_tokens"]
    assert both["total_tokens"] == both["prompt_tokens"] + both["completion_tokens"]
