"""One request that costs much holds up no other: probes are answered while its work goes on."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from scripted import (
    REQUEST,
    Backend,
    Client,
    Wire,
    answer,
    chunk,
    event,
    fetch,
    hello,
    mapping,
    request,
    stream,
    stream_head,
)
from support import chat, load

from oaiproxy import responses_handlers
from oaiproxy.decoding import Gzip, Identity
from oaiproxy.endpoints import messages
from oaiproxy.jsonschemas import Schema
from oaiproxy.structured import Format

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


EMPTY_LISTS = b"[" + b"[]," * 8_000_000 + b"[]]"
MANY_NUMBERS = b"[" + b"0.1," * 6_000_000 + b"1]"


@pytest.mark.parametrize(
    ("items", "told"),
    [(EMPTY_LISTS, (502, "upstream_invalid_json")), (MANY_NUMBERS, (200, None))],
    ids=["lists", "numbers"],
)
async def test_a_very_large_answer(proxy: Any, items: bytes, told: tuple[int, str | None]) -> None:
    """What reads it holds the interpreter, in whichever thread: what would take seconds is refused."""
    go = asyncio.Event()
    body = b'{"text": "hi", "p": 1, "c": 1, "items": ' + items + b"}"
    async with Backend([REQUEST, go, answer(body)]) as backend:
        running = await proxy(mapping(backend.url))
        async with await Client.connect(running.url) as client:
            await client.send(hello())
            await backend.asked()
            go.set()
            slow = asyncio.create_task(client.answer())
            probes = await probed(running.url, slow)
            wire = await slow
        assert (wire.status, wire.error["code"] if wire.status != 200 else None) == told
        assert probes >= ENOUGH


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> dict[int, bool]:
    """Of each size of bytes that were decoded, whether that was in the loop's thread."""
    found: dict[int, bool] = {}
    read = Identity.feed

    def feed(decoder: Identity | Gzip, data: bytes) -> bytes:
        found[len(data)] = threading.current_thread() is threading.main_thread()
        return (unpack if isinstance(decoder, Gzip) else read)(decoder, data)  # type: ignore[arg-type]

    unpack = Gzip.feed
    monkeypatch.setattr(Identity, "feed", feed)
    monkeypatch.setattr(Gzip, "feed", feed)
    return found


async def test_a_large_answer_of_a_call_before(proxy: Any, threads: dict[int, bool]) -> None:
    """And its selectors."""
    body = json.dumps({"t": "hi", "items": [ITEM] * 10_000}).encode()
    text = """
oaiproxy: 1
models: [m]
backend: {url: "%s"}
chat:
  before: [{name: first, request: {path: /first, body: {q: "{{ prompt }}"}}}]
  request: {path: /g, body: {p: "{{ first.t }}"}}
  response: {text: text}
"""
    last = {"text": "fine"}
    async with Backend([REQUEST, answer(body), REQUEST, answer(last)]) as backend:
        wire = await fetch((await proxy(load(text % backend.url))).url, hello())
        assert (wire.text, backend.requests[1].json) == ("fine", {"p": "hi"})
    assert threads == {len(body): False, len(json.dumps(last)): True}


async def test_a_stream_that_is_small_before_it_is_unpacked(proxy: Any, threads: dict[int, bool]) -> None:
    """Thousands of events that come in one read."""
    packed = gzip.compress(event("a" * 10) * 2_000 + event(done=True))
    head = stream_head().replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
    async with Backend([REQUEST, head + chunk(packed) + chunk(b"")]) as backend:
        wire = await fetch((await proxy(mapping(backend.url))).url, hello(stream=True))
        assert len(wire.text) == 20_000
    assert threads
    assert all(size < 1024 or not in_loop for size, in_loop in threads.items())


@pytest.fixture
def in_loop(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each reading of a request, and each look at a schema or by one, whether it was done in the loop's thread."""
    found: list[bool] = []

    def watched(work: Callable[..., Any]) -> Callable[..., Any]:
        def note(*args: Any, **kwargs: Any) -> Any:
            found.append(threading.current_thread() is threading.main_thread())
            return work(*args, **kwargs)

        return note

    for place, name in ((responses_handlers, "parse"), (messages, "parse_to_count"), (messages, "estimated")):
        monkeypatch.setattr(place, name, watched(getattr(place, name)))
    monkeypatch.setattr(Schema, "__init__", watched(Schema.__init__))
    monkeypatch.setattr(Format, "read", watched(Format.read))
    return found


LONG = "hi " * 100_000


@pytest.mark.parametrize(("text", "large"), [("hi", False), (LONG, True)], ids=["small", "large"])
async def test_a_large_request_of_other_apis(proxy: Any, in_loop: list[bool], text: str, large: bool) -> None:
    """Is read in a thread; a small one where it is."""
    async with Backend([REQUEST, answer({"text": "fine", "p": 1, "c": 1})]) as backend:
        url = (await proxy(mapping(backend.url))).url
        assert (await fetch(url, request({"model": "m", "input": text}, "/v1/responses"))).status == 200
        body = {"model": "m", "messages": [{"role": "user", "content": text}]}
        assert (await fetch(url, request(body, "/v1/messages/count_tokens"))).status == 200
    assert in_loop == [not large] * 3


async def test_a_large_conversation_that_goes_on(proxy: Any, in_loop: list[bool]) -> None:
    """By the id of a response, in a request that is small."""
    last = answer({"text": "fine", "p": 1, "c": 1})
    async with Backend([REQUEST, last, REQUEST, last]) as backend:
        url = (await proxy(mapping(backend.url))).url
        first = await fetch(url, request({"model": "m", "input": LONG}, "/v1/responses"))
        body = {"model": "m", "input": "more", "previous_response_id": first.json["id"]}
        second = await fetch(url, request(body, "/v1/responses"))
        assert second.status == 200
    assert in_loop == [False, False]


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
async def test_an_answer_that_is_checked_by_a_schema(proxy: Any, in_loop: list[bool], streams: bool) -> None:
    """Which may take many steps for an answer that is small."""
    schema = {"anyOf": [{"description": "x" * 99, "properties": {"a": {"const": n}}} for n in range(3_000)]}
    wish = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    text = json.dumps({"a": 2_999})
    script = stream(text) if streams else answer({"text": text, "p": 1, "c": 1})
    async with Backend([REQUEST, script]) as backend:
        url = (await proxy(mapping(backend.url, more="emulate: [response_format]"))).url
        wire = await fetch(url, hello(stream=streams, response_format=wish))
        assert wire.text == text
    assert len(backend.requests[0].body) > 256 * 1024
    assert in_loop == [False, False]


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
