"""Promises of `oaiproxy.fan`: one request as several at once, over real sockets, and their answers as one."""

from __future__ import annotations

import asyncio
import json
import threading
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import web
from conftest import Proxy
from scripted import Client, fetch, hello, request, settled
from support import IDENTITY, load, serving

from oaiproxy.endpoints.doors import DOORS
from oaiproxy.errors import BackendError
from oaiproxy.events import Delta, Finish, Head, Usage
from oaiproxy.exchange import Exchange
from oaiproxy.fan import AT_ONCE, Fan, exchanges, split
from oaiproxy.mapping import Mapping

Answering = Callable[[Any, web.Request], Awaitable[web.StreamResponse]]
PATIENCE = 10
EMBED = """
embeddings:
  request: {each: true, path: /embed, body: {text: "{{ input[0] }}", ids: "{{ tokens[0] }}"}}
  response: {vectors: vector, usage: {prompt: n}, model: by}
moderations:
  request: {each: true, path: /judge, body: {text: "{{ input | first }}"}}
  response: {results: verdict}
"""
CHAT = """
emulate: [n]
chat:
  request: {path: /chat, body: {q: "{{ prompt }}", seed: "{{ seed }}", tools: "{{ tools }}", stream: "{{ stream }}"}}
  response: {text: t, tool_calls: calls, id: id, usage: {prompt: p, completion: c, cached: h}}
  stream: {format: sse, text: t, tool_calls: calls, done: d}
"""


class Crowd:
    """A backend that knows who waits in it."""

    def __init__(self) -> None:
        self.bodies: list[Any] = []
        self.paths: list[str] = []
        self.waiting = 0
        self.most = 0
        self.left = 0
        """How many were gone before they had an answer."""
        self.url = ""
        self.answer: Answering = self.unexpected

    async def unexpected(self, body: Any, request: web.Request) -> web.StreamResponse:
        """What is answered as long as no test says otherwise."""
        raise AssertionError(body)

    async def start(self, stack: AsyncExitStack) -> Crowd:
        """Listen."""
        self.url = await stack.enter_async_context(serving(self._handle))
        return self

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read() or b"null")
        self.bodies.append(body)
        self.paths.append(f"{request.method} {request.path}")
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        try:
            return await self.answer(body, request)
        except asyncio.CancelledError:
            self.left += 1
            raise
        finally:
            self.waiting -= 1


@pytest.fixture
async def crowd() -> AsyncIterator[Crowd]:
    async with AsyncExitStack() as stack:
        yield await Crowd().start(stack)


def mapped(url: str, endpoints: str) -> Mapping:
    return load(f"oaiproxy: 1\nmodels: [m]\nbackend: {{url: '{url}'}}\n{endpoints}")


def embed(*inputs: Any, **fields: Any) -> bytes:
    return request({"model": "m", "input": list(inputs), **fields}, "/v1/embeddings")


async def forever(body: Any, request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def opened(request: web.Request, *frames: Any) -> web.StreamResponse:
    """A stream that has begun."""
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for frame in frames:
        await response.write(b"data: " + json.dumps(frame).encode() + b"\n\n")
    return response


async def test_every_input_is_a_request_and_the_answers_keep_their_order(proxy: Proxy, crowd: Crowd) -> None:
    """Eight at a time, and no more; the last of them answers first. Usage is the sum."""
    full = asyncio.Condition()

    async def answer(body: Any, request: web.Request) -> web.StreamResponse:
        number = int(body["text"])
        async with full:
            full.notify_all()
            await full.wait_for(lambda: crowd.most == AT_ONCE)  # so many come before any is answered
            await full.wait_for(lambda: number >= 8 or all(int(other["text"]) <= number for other in here()))
            answered.append(number)
            full.notify_all()
        return web.json_response({"vector": [number, 0], "n": number, "by": "large"})

    def here() -> list[Any]:
        return [body for body in crowd.bodies[:8] if int(body["text"]) not in answered]

    answered: list[int] = []
    crowd.answer = answer
    wire = await fetch((await proxy(mapped(crowd.url, EMBED))).url, embed(*map(str, range(20))))
    assert [item["embedding"][0] for item in wire.json["data"]] == list(range(20))
    assert [item["index"] for item in wire.json["data"]] == list(range(20))
    assert (wire.json["model"], wire.json["usage"]) == ("large", {"prompt_tokens": 190, "total_tokens": 190})
    assert (crowd.most, answered.index(7) < answered.index(0)) == (AT_ONCE, True)


async def test_token_ids_are_inputs_too_and_what_is_not_told_is_counted(proxy: Proxy, crowd: Crowd) -> None:
    """One list of ids a request."""

    async def answer(body: Any, request: web.Request) -> web.StreamResponse:
        return web.json_response({"vector": [1.5]})

    crowd.answer = answer
    running = await proxy(mapped(crowd.url, EMBED))
    wire = await fetch(running.url, embed([1, 2], [3], encoding_format="base64"))
    assert sorted(crowd.bodies, key=str) == [{"ids": [1, 2]}, {"ids": [3]}]
    assert wire.json["usage"]["prompt_tokens"] == 3
    assert wire.json["data"][1]["embedding"] == "AADAPw=="
    wire = await fetch(running.url, embed("hello", "hello world"))
    assert wire.json["usage"]["prompt_tokens"] == 3


async def test_moderations_ask_once_for_each_input(proxy: Proxy, crowd: Crowd) -> None:
    """In the order of the inputs."""

    async def answer(body: Any, request: web.Request) -> web.StreamResponse:
        return web.json_response({"verdict": {"flagged": body["text"] == "bad"}})

    crowd.answer = answer
    running = await proxy(mapped(crowd.url, EMBED))
    wire = await fetch(running.url, request({"model": "m", "input": ["good", "bad", "good"]}, "/v1/moderations"))
    assert [result["flagged"] for result in wire.json["results"]] == [False, True, False]


async def test_the_first_failure_fails_all_and_calls_the_others_off(proxy: Proxy, crowd: Crowd) -> None:
    """What was not asked yet never is."""

    async def answer(body: Any, request: web.Request) -> web.StreamResponse:
        if body["text"] != "3":
            return await forever(body, request)
        await settled(lambda: len(crowd.bodies) == AT_ONCE)
        return web.json_response({"error": {"message": "too long"}}, status=400)

    crowd.answer = answer
    wire = await fetch((await proxy(mapped(crowd.url, EMBED))).url, embed(*map(str, range(30))))
    assert (wire.status, wire.error["message"]) == (400, "too long")
    await settled(lambda: crowd.left == AT_ONCE - 1)
    assert len(crowd.bodies) == AT_ONCE


async def test_vectors_that_do_not_fit_together_are_a_failure(proxy: Proxy, crowd: Crowd) -> None:
    """As they are in one answer."""

    async def answer(body: Any, request: web.Request) -> web.StreamResponse:
        return web.json_response({"vector": [1] * len(body["text"])})

    crowd.answer = answer
    wire = await fetch((await proxy(mapped(crowd.url, EMBED))).url, embed("a", "bb"))
    assert (wire.status, wire.error["code"]) == (502, "upstream_mapping_mismatch")


@pytest.mark.parametrize("asked", [embed("a", "b", "c"), hello(n=3), hello(n=3, stream=True)])
async def test_a_client_that_leaves_calls_all_off(proxy: Proxy, crowd: Crowd, asked: bytes) -> None:
    """Whole or streamed."""
    crowd.answer = forever
    running = await proxy(mapped(crowd.url, EMBED + CHAT))
    async with await Client.connect(running.url) as client:
        await client.send(asked)
        await settled(lambda: crowd.waiting == 3)
    await settled(lambda: crowd.left == 3)


async def test_choices_are_requests(proxy: Proxy, crowd: Crowd) -> None:
    """Each with a seed of its own; the prompt counts once, and no two calls have one id."""

    async def answer(body: Any, request: web.Request) -> web.StreamResponse:
        seed = body["seed"]
        calls = [{"name": "f", "arguments": {}}]
        return web.json_response({"t": f"text {seed}", "calls": calls, "id": f"a{seed}", "p": 5, "c": seed, "h": 2})

    crowd.answer = answer
    tools = [{"type": "function", "function": {"name": "f"}}]
    wire = await fetch((await proxy(mapped(crowd.url, CHAT))).url, hello(n=3, seed=7, tools=tools))
    choices = wire.json["choices"]
    assert [(choice["index"], choice["message"]["content"]) for choice in choices] == [
        (0, "text 7"),
        (1, "text 8"),
        (2, "text 9"),
    ]
    usage = wire.json["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (5, 24, 29)
    assert usage["prompt_tokens_details"] == {"cached_tokens": 2}
    assert wire.json["id"] == "a7"
    assert len({choice["message"]["tool_calls"][0]["id"] for choice in choices}) == 3


async def test_one_choice_is_one_request(proxy: Proxy, crowd: Crowd) -> None:
    """`n` changes nothing then."""

    async def answer(body: Any, request: web.Request) -> web.StreamResponse:
        return web.json_response({"t": "a"})

    crowd.answer = answer
    running = await proxy(mapped(crowd.url, CHAT))
    for fields in ({}, {"n": 1}, {"n": None}):
        assert (await fetch(running.url, hello(**fields))).text == "a"
    assert len(crowd.bodies) == 3


async def test_choices_stream_side_by_side(proxy: Proxy, crowd: Crowd) -> None:
    """Each as it comes; one end, and counts that were not told: the prompt once, the answers together."""
    gates = [asyncio.Event(), asyncio.Event()]

    async def answer(body: Any, request: web.Request) -> web.StreamResponse:
        number = body["seed"]
        response = await opened(request, {"t": "one"})
        await gates[number].wait()
        await response.write(b'data: {"t": " two", "d": true}\n\n')
        return response

    crowd.answer = answer
    running = await proxy(mapped(crowd.url, CHAT))
    async with await Client.connect(running.url) as client:
        await client.send(hello(n=2, seed=0, stream=True, stream_options={"include_usage": True}))
        await client.until(b'"index":0,"delta":{"content":"one"}')
        await client.until(b'"index":1,"delta":{"content":"one"}')
        gates[1].set()
        await client.until(b'"index":1,"delta":{},"logprobs":null,"finish_reason":"stop"')
        assert b'"index":0,"delta":{"content":" two"}' not in client.received
        gates[0].set()
        wire = await client.answer()
    assert wire.complete
    *chunks, end = wire.events
    assert (end, wire.body.count(b"[DONE]")) == ("[DONE]", 1)
    texts = ["", ""]
    for chunk in chunks:
        for choice in chunk["choices"]:
            texts[choice["index"]] += choice["delta"].get("content") or ""
    assert texts == ["one two"] * 2
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert {key: chunks[-1]["usage"][key] for key in ("prompt_tokens", "completion_tokens")} == {
        "prompt_tokens": 1,
        "completion_tokens": 4,
    }


async def test_a_choice_that_fails_first_fails_all(proxy: Proxy, crowd: Crowd) -> None:
    """With its error and its status, as long as nothing went out."""

    async def answer(body: Any, request: web.Request) -> web.StreamResponse:
        if body["seed"] != 1:
            return await forever(body, request)
        return web.json_response({"message": "slow down"}, status=429)

    crowd.answer = answer
    running = await proxy(mapped(crowd.url, CHAT))
    for number, stream in enumerate((False, True)):
        wire = await fetch(running.url, hello(n=2, seed=0, stream=stream))
        assert (wire.status, wire.error["code"]) == (429, "rate_limit_exceeded")
        await settled(lambda: crowd.left == number + 1)  # noqa: B023


async def test_a_choice_that_fails_later_ends_the_stream(proxy: Proxy, crowd: Crowd) -> None:
    """With an error event and without `[DONE]`; the others are called off."""
    gate = asyncio.Event()

    async def answer(body: Any, request: web.Request) -> web.StreamResponse:
        response = await opened(request, {"t": "a"})
        if body["seed"] == 1:
            await gate.wait()
            await response.write(b'data: {"error": {"message": "broken"}}\n\n')
            return response
        return await forever(body, request)

    crowd.answer = answer
    running = await proxy(mapped(crowd.url, CHAT))
    async with await Client.connect(running.url) as client:
        await client.send(hello(n=3, seed=0, stream=True))
        for index in range(3):
            await client.until(b'"index":%d,"delta":{"content":"a"}' % index)
        gate.set()
        wire = await client.answer()
    assert wire.error["message"] == "broken"
    await settled(lambda: crowd.left == 2)


async def test_completions_have_choices_too(proxy: Proxy, crowd: Crowd) -> None:
    """By the same block."""

    async def answer(body: Any, request: web.Request) -> web.StreamResponse:
        return web.json_response({"t": f"text {body['seed']}"})

    crowd.answer = answer
    running = await proxy(mapped(crowd.url, CHAT))
    wire = await fetch(running.url, request({"model": "m", "prompt": "p", "n": 2, "seed": 3}, "/v1/completions"))
    assert [choice["text"] for choice in wire.json["choices"]] == ["text 3", "text 4"]


async def test_the_calls_around_each_part_are_its_own(proxy: Proxy, crowd: Crowd) -> None:
    """Each is begun, and called off when the client leaves."""
    flow = """
emulate: [n]
chat:
  before: [{name: task, request: {path: /tasks, body: {q: "{{ prompt }}"}}}]
  request: {method: GET, path: "/tasks/{{ task.id }}"}
  response: {text: t}
  cancel: {request: {method: DELETE, path: "/tasks/{{ task.id }}"}}
"""
    begun = iter(range(10))

    async def answer(body: Any, request: web.Request) -> web.StreamResponse:
        if request.method == "POST":
            return web.json_response({"id": next(begun)})
        return web.json_response({}) if request.method == "DELETE" else await forever(body, request)

    crowd.answer = answer
    running = await proxy(mapped(crowd.url, flow))
    async with await Client.connect(running.url) as client:
        await client.send(hello(n=2))
        await settled(lambda: {"GET /tasks/0", "GET /tasks/1"} <= {*crowd.paths})
    await settled(lambda: {"DELETE /tasks/0", "DELETE /tasks/1"} <= {*crowd.paths})


async def test_more_choices_than_one_may_ask_for_are_refused(proxy: Proxy, crowd: Crowd) -> None:
    """Before anything is sent; and `best_of` is no `n`."""
    running = await proxy(mapped(crowd.url, CHAT))
    for wire in (
        await fetch(running.url, hello(n=129)),
        await fetch(running.url, request({"model": "m", "prompt": "p", "n": 2, "best_of": 3}, "/v1/completions")),
    ):
        assert wire.status == 400
    assert crowd.bodies == []


def fanned(endpoint: str = "chat", **fields: Any) -> Fan:
    body = {"model": "m", **fields}
    if endpoint == "chat":
        body["messages"] = [{"role": "user", "content": "hi"}]
    call = DOORS[endpoint].parse(body)
    mapping = mapped("https://b", EMBED + CHAT)
    fan = split(Exchange(mapping, call, DOORS[endpoint].encoder(call, IDENTITY), IDENTITY), threading.Lock())
    assert fan is not None
    return fan


def test_a_count_that_one_part_lacks_is_not_known() -> None:
    """A sum of some would be wrong."""
    fan = fanned(n=2)
    for part, usage in zip(fan.parts, (Usage(3, 4, 7), Usage(3)), strict=True):
        part.encoder.feed(Finish("stop"))
        part.encoder.close(usage)
    assert json.loads(fan.finish())["usage"] == {"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3}


def test_a_part_that_tells_of_another_choice_is_a_fault() -> None:
    """It would be taken for another part's."""
    fan = fanned(n=2)
    with pytest.raises(BackendError, match="number 1"):
        fan.parts[0].encoder.feed(Delta("a", choice=1))


def test_an_answer_is_called_as_its_first_part_is() -> None:
    """Whichever comes first."""
    fan = fanned(n=2)
    for number in (1, 0):
        fan.parts[number].encoder.feed(Head(f"id-{number}"))
        fan.parts[number].encoder.feed(Finish("stop"))
    assert json.loads(fan.finish())["id"] == "id-0"


def events_of(data: bytes) -> list[tuple[int, Any]]:
    """What a stream says of each choice, in order."""
    chunks = [
        json.loads(event.removeprefix(b"data: ")) for event in data.split(b"\n\n") if event.startswith(b"data: {")
    ]
    return [(choice["index"], choice["delta"]) for chunk in chunks for choice in chunk["choices"]]


def test_bytes_are_taken_in_the_order_in_which_they_were_made() -> None:
    """Whichever part asks for them: what one made opens the choices before it, too."""
    fan = fanned(n=3, stream=True)
    for number in (2, 0):
        assert fan.parts[number].encoder.feed(Delta(f"part {number}")) == b""
    made = events_of(fan.take())
    assert [(index, delta["content"]) for index, delta in made if delta["content"]] == [(2, "part 2"), (0, "part 0")]
    assert [index for index, delta in made if "role" in delta] == [0, 1, 2]
    assert (fan.waits, fan.take()) == (False, b"")


def test_parts_may_be_read_in_several_threads() -> None:
    """Each choice is opened once, and nothing of one comes before."""
    fan = fanned(n=3, stream=True)
    start, rounds = threading.Barrier(3), 2000

    def say(number: int) -> None:
        start.wait()
        for _ in range(rounds):
            fan.parts[number].encoder.feed(Delta("x"))

    threads = [threading.Thread(target=say, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = events_of(fan.take())
    for number in range(3):
        of_one = [delta for index, delta in made if index == number]
        assert ["role" in delta for delta in of_one] == [True] + [False] * (len(of_one) - 1)
        assert "".join(delta["content"] for delta in of_one) == "x" * rounds


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
async def test_choices_are_opened_in_order_however_their_answers_are_read(
    proxy: Proxy, crowd: Crowd, encoding: str
) -> None:
    """One of them comes compressed, and so large that it is read in a thread, while others say a little."""

    async def answer(body: Any, request: web.Request) -> web.StreamResponse:
        number = body["seed"]
        response = web.StreamResponse(headers={"content-type": "text/event-stream", "content-encoding": encoding})
        await response.prepare(request)
        deflate = zlib.compressobj(1, zlib.DEFLATED, 31)

        async def put(data: bytes) -> None:
            if encoding == "gzip":
                data = deflate.compress(data) + deflate.flush(zlib.Z_SYNC_FLUSH)
            await response.write(data)

        if number == 2:
            await put(b"".join(b'data: {"t": "%d "}\n\n' % word for word in range(20_000)))
        else:
            await asyncio.sleep(0.6 - 0.45 * number)  # the others begin while that is read
            for word in range(3):
                await put(b'data: {"t": "%d "}\n\n' % word)
                await asyncio.sleep(0.02)
        await put(b'data: {"d": true}\n\n')
        if encoding == "gzip":
            await response.write(deflate.flush())
        return response

    crowd.answer = answer
    wire = await fetch((await proxy(mapped(crowd.url, CHAT))).url, hello(n=3, seed=0, stream=True))
    made = events_of(wire.body)
    assert [index for index, delta in made if "role" in delta] == [0, 1, 2]
    for number, words in enumerate((3, 3, 20_000)):
        first, *rest = [delta for index, delta in made if index == number]
        assert "role" in first
        text = "".join(delta.get("content", "") for delta in (first, *rest))
        assert text == "".join(f"{word} " for word in range(words))


def test_parts_are_exchanges_of_their_own() -> None:
    """With their own part of the request, raw or not, and chance of their own."""
    first, second = fanned("embeddings", input=["a", "b"]).parts
    assert (first.call.request["input"], second.call.fields["input"], second.call.texts) == ("a", ["b"], ("b",))
    assert first.identity.token != second.identity.token
    assert first.identity.uuid != second.identity.uuid


def test_what_is_one_request_is_not_split() -> None:
    """It is its own only part."""
    call = DOORS["chat"].parse({"model": "m", "messages": [{"role": "user", "content": "hi"}]})
    exchange = Exchange(mapped("https://b", CHAT), call, DOORS["chat"].encoder(call, IDENTITY), IDENTITY)
    assert split(exchange) is None
    assert exchanges(exchange) == [exchange]


async def test_images_one_by_one(proxy: Proxy, crowd: Crowd) -> None:
    """Where the backend makes one at a time, and the mapping says so."""

    async def answer(body: Any, request: web.Request) -> web.StreamResponse:
        return web.json_response({"image": f"https://i/{body['p']}"})

    crowd.answer = answer
    block = "emulate: [n]\nimages: {request: {path: /i, body: {p: '{{ prompt }}'}}, response: {images: image}}\n"
    running = await proxy(mapped(crowd.url, block))
    for count in (1, 3):
        wire = await fetch(running.url, request({"model": "m", "prompt": "a", "n": count}, "/v1/images/generations"))
        assert [image["url"] for image in wire.json["data"]] == ["https://i/a"] * count
    assert len(crowd.bodies) == 4


async def test_embeddings_are_shortened(proxy: Proxy, crowd: Crowd) -> None:
    """To what was asked for, in each of the requests; more than there is, the client can mend."""

    async def answer(body: Any, request: web.Request) -> web.StreamResponse:
        return web.json_response({"vector": [3, 4, 5]})

    crowd.answer = answer
    running = await proxy(mapped(crowd.url, "emulate: [dimensions]\n" + EMBED))
    wire = await fetch(running.url, embed("a", "b", dimensions=2))
    assert [each["embedding"] for each in wire.json["data"]] == [[0.6, 0.8]] * 2
    wire = await fetch(running.url, embed("a", dimensions=4))
    assert (wire.status, wire.error["param"], wire.error["code"]) == (400, "dimensions", "unsupported_value")
