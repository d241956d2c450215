"""The official client of `POST /v1/messages` through the proxy, against backends of other formats, on real sockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from scripted import FIN, REQUEST, Backend, answer, chunk, event, mapping, stream_head
from support import ROOT, load, sse

from oaiproxy.backends import MOCK_URL
from oaiproxy.loader import Loader
from oaiproxy.variants import Variant

sdk = pytest.importorskip("anthropic")
pytestmark = pytest.mark.filterwarnings("ignore:The model:DeprecationWarning")  # of names that a mapping has
NAMES = sorted(path.stem for path in (ROOT / "mappings").glob("*.yaml") if "- name: tool calls\n" in path.read_text())
"""The mappings of APIs that know tools."""
QUESTION = {"role": "user", "content": "Is it warmer in Rome or in Oslo?"}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"name": "get_weather", "description": "The weather in a city", "input_schema": SCHEMA}
RESULTS = {"Rome": '{"celsius": 21}', "Oslo": '{"celsius": 9}'}
ANSWER = "Rome, with 21 °C against 9 °C."
HI: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
STREAMS = pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])


@asynccontextmanager
async def client_of(running: Any) -> AsyncIterator[Any]:
    async with sdk.AsyncAnthropic(base_url=running.url, api_key="unused", max_retries=0) as client:
        yield client


async def message(client: Any, streams: bool, **ask: Any) -> Any:
    """The message that comes, either way."""
    if not streams:
        return await client.messages.create(**ask)
    async with client.messages.stream(**ask) as stream:
        return await stream.get_final_message()


def shipped(name: str) -> Any:
    return Loader({}).load([(name, ROOT / f"mappings/{name}.yaml")])[0][0][0]


def compact(request: Any) -> Any:
    """The request with the arguments of calls as they are after having been objects."""
    spaced = ('{\\"city\\": \\"' + city for city in RESULTS)
    text = json.dumps(request)
    for each in spaced:
        text = text.replace(each, each.replace(" ", ""))
    return json.loads(text)


def comparable(name: str) -> Any:
    """A shipped mapping whose examples answer this client: all but it send no `max_tokens`, and arguments as text."""
    mapping = shipped(name)
    variants = {model: Variant(drop=frozenset(["max_tokens"])) for model in mapping.models}
    examples = tuple(replace(each, request=compact(each.request)) for each in mapping.examples)
    backend = replace(mapping.backend, url=MOCK_URL)
    return replace(mapping, backend=backend, variants=variants, examples=examples)


@STREAMS
@pytest.mark.parametrize("name", NAMES)
async def test_parallel_calls_and_their_results(proxy: Any, name: str, streams: bool) -> None:
    """Both calls come, and with both results the answer does: the backend is sent what its own history would be."""
    running = await proxy(comparable(name))
    ask = {"model": running.state.routes.models()[0]["id"], "max_tokens": 1000, "tools": [WEATHER]}
    async with client_of(running) as client:
        said = await message(client, streams, messages=[QUESTION], **ask)
        assert said.stop_reason == "tool_use"
        calls = [block for block in said.content if block.type == "tool_use"]
        assert [(call.name, call.input) for call in calls] == [("get_weather", {"city": city}) for city in RESULTS]
        results = [
            {"type": "tool_result", "tool_use_id": call.id, "content": text}
            for call, text in zip(calls, RESULTS.values(), strict=True)
        ]
        turns = [QUESTION, said.to_param(), {"role": "user", "content": results}]
        said = await message(client, streams, messages=turns, **ask)
        assert "".join(block.text for block in said.content if block.type == "text") == ANSWER
        assert (said.type, said.role, said.stop_reason) == ("message", "assistant", "end_turn")
        assert said.usage.output_tokens > 0


def signed(calls: bool) -> tuple[Any, bytes]:
    """An answer with state: thoughts with a signature, thoughts that are hidden; whole and as a stream."""
    blocks: list[Any] = [
        {"type": "thinking", "thinking": "Hm.\u2028", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "eA=="},
        {"type": "text", "text": "Let me see."},
    ]
    begun: list[Any] = [{**blocks[0], "thinking": "", "signature": ""}, blocks[1], {**blocks[2], "text": ""}]
    deltas: list[list[Any]] = [
        [{"type": "thinking_delta", "thinking": "Hm.\u2028"}, {"type": "signature_delta", "signature": "c2ln"}],
        [],
        [{"type": "text_delta", "text": "Let me see."}],
    ]
    if calls:
        blocks.append({"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Rome"}})
        begun.append({**blocks[3], "input": {}})
        deltas.append([{"type": "input_json_delta", "partial_json": '{"city": "Rome"}'}])
    reason = "tool_use" if calls else "end_turn"
    whole = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": blocks}
    whole |= {"stop_reason": reason, "usage": {"input_tokens": 9, "output_tokens": 9}}
    told: list[Any] = [{"type": "message_start", "message": {**whole, "content": [], "stop_reason": None}}]
    for at, (block, pieces) in enumerate(zip(begun, deltas, strict=True)):
        told.append({"type": "content_block_start", "index": at, "content_block": block})
        told += [{"type": "content_block_delta", "index": at, "delta": piece} for piece in pieces]
        told.append({"type": "content_block_stop", "index": at})
    told += [{"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 9}}]
    return whole, sse(*((each["type"], each) for each in [*told, {"type": "message_stop"}])).encode()


@pytest.mark.parametrize("thinks", [True, False], ids=["thinks", "does not"])
@pytest.mark.parametrize("calls", [True, False], ids=["calls", "text"])
@STREAMS
async def test_what_was_signed_comes_back(proxy: Any, streams: bool, calls: bool, thinks: bool) -> None:
    """Whether or not the client wants to see thoughts, the backend gets its own turn as it said it."""
    whole, stream = signed(calls)
    headers = {"Content-Type": "text/event-stream" if streams else "application/json", "Connection": "close"}
    async with Backend([REQUEST, answer(stream if streams else whole, headers=headers), FIN]) as backend:
        signing = shipped("anthropic")
        running = await proxy(replace(signing, backend=replace(signing.backend, url=backend.url)))
        ask: dict[str, Any] = {"model": next(iter(signing.models)), "max_tokens": 2000, "tools": [WEATHER]}
        if thinks:
            ask["thinking"] = {"type": "enabled", "budget_tokens": 1024}
        async with client_of(running) as client:
            said = await message(client, streams, messages=[QUESTION], **ask)
            assert [block.thinking for block in said.content if block.type == "thinking"] == ["Hm.\u2028"] * thinks
            assert said.content[thinks].text == "Let me see."
            if calls:
                call = said.content[-1]
                assert (call.type, call.input) == ("tool_use", {"city": "Rome"})
                block = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
            else:
                block = {"type": "text", "text": "Sure?"}
            turns = [QUESTION, said.to_param(), {"role": "user", "content": [block]}]
            await message(client, streams, messages=turns, **ask)
        first, second = (request.json for request in backend.requests)
    assert ("thinking" in first) is thinks
    assert second["messages"][1]["content"] == whole["content"]
    assert second["messages"][2]["content"] == [block | ({"tool_use_id": "toolu_1"} if calls else {})]


@STREAMS
async def test_an_image_and_a_refused_document(proxy: Any, streams: bool) -> None:
    """What a mapping carries comes there; what it does not is refused by this API's own path."""
    request = "{path: /g, body: {p: '{{ prompt }}', i: '{{ messages[-1].images_base64 }}', stop: '{{ stop }}'}}"
    text = f"oaiproxy: 1\nmodels: [m]\nbackend: {{url: URL}}\nchat: {{request: {request}, response: {{text: t}}}}\n"
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}
    content: list[Any] = [image, {"type": "text", "text": "What?"}]
    async with Backend([REQUEST, answer({"t": "A cat."})]) as backend:
        running = await proxy(load(text.replace("URL", backend.url)))
        async with client_of(running) as client:
            ask = {**HI, "messages": [{"role": "user", "content": content}], "stop_sequences": ["."]}
            said = await message(client, streams, **ask)
            assert [(block.type, block.text) for block in said.content] == [("text", "A cat.")]
            ask["messages"][0]["content"].append(pdf)
            with pytest.raises(sdk.BadRequestError) as refused:
                await message(client, streams, **ask)
        assert backend.requests[0].json == {"p": "What?", "i": ["iVBORw0KGgo="], "stop": ["."]}
    assert "'messages.0.content.2.type'" in refused.value.api_message


@pytest.mark.parametrize(
    ("status", "headers", "error", "type_"),
    [
        (401, {}, "InternalServerError", "api_error"),
        (429, {"Retry-After": "7"}, "RateLimitError", "rate_limit_error"),
        (500, {}, "InternalServerError", "api_error"),
        (503, {}, "ServiceUnavailableError", "overloaded_error"),
    ],
)
@STREAMS
async def test_errors_of_a_backend(
    proxy: Any, streams: bool, status: int, headers: dict[str, str], error: str, type_: str
) -> None:
    """They are the client's own exceptions, with the type and the id that it looks for."""
    async with Backend([REQUEST, answer({"error": {"message": "No."}}, status, headers)]) as backend:
        running = await proxy(mapping(backend.url, more="errors: {message: error.message}"))
        async with client_of(running) as client:
            with pytest.raises(sdk.APIStatusError) as told:
                await message(client, streams, **HI)
    raised = told.value
    assert (type(raised).__name__, raised.type) == (error, type_)
    assert raised.request_id == raised.body["request_id"] == raised.response.headers["x-request-id"]
    assert raised.response.headers.get("retry-after") == headers.get("Retry-After")


async def test_a_model_that_is_not_there(proxy: Any) -> None:
    """To answer, and to count."""
    running = await proxy(mapping("http://backend.test"))
    async with client_of(running) as client:
        for call in (
            client.messages.create(**HI | {"model": "x"}),
            client.messages.count_tokens(model="x", messages=[QUESTION]),
        ):
            with pytest.raises(sdk.NotFoundError) as told:
                await call
            assert (told.value.type, told.value.request_id) == ("not_found_error", told.value.body["request_id"])


async def collect(stream: Any, texts: list[str]) -> None:
    async for each in stream:
        if each.type == "content_block_delta":
            texts.append(each.delta.text)


async def test_a_stream_that_breaks_off(proxy: Any) -> None:
    """What came is told, then the failure: the client raises, and takes nothing for a whole answer."""
    steps = [REQUEST, stream_head(), chunk(event("Ro")), chunk(b'data: {"error": {"message": "Lost."}}\n\n')]
    texts: list[str] = []
    async with Backend(steps) as backend:
        running = await proxy(mapping(backend.url))
        async with client_of(running) as client:
            stream = await client.messages.create(**HI, stream=True)
            with pytest.raises(sdk.APIError) as told:
                await collect(stream, texts)
    assert texts == ["Ro"]
    assert told.value.body["type"] == "error"
    assert told.value.body["error"]["type"] == "api_error"
    assert told.value.body["request_id"].startswith("req_")


@STREAMS
async def test_a_stop_string(proxy: Any, streams: bool) -> None:
    """The client is told which it was, when the proxy cuts for a backend that knows none."""
    async with Backend([REQUEST, answer({"text": "one two three"})]) as backend:
        running = await proxy(mapping(backend.url, response="{text: text}", stream=""))
        async with client_of(running) as client:
            said = await message(client, streams, **HI, stop_sequences=["x", " three"])
    assert (said.content[0].text, said.stop_reason, said.stop_sequence) == ("one two", "stop_sequence", " three")


async def test_usage(proxy: Any) -> None:
    """Cached tokens are apart here, and a part of the prompt there."""
    response = "{text: t, usage: {prompt: p, completion: c, cached: k, reasoning: r}}"
    said = answer({"t": "x", "p": 10, "c": 5, "k": 4, "r": 2})
    async with Backend([REQUEST, said, REQUEST, said]) as backend:
        running = await proxy(mapping(backend.url, response=response, stream=""))
        async with client_of(running) as client:
            for streams in (False, True):
                usage = (await message(client, streams, **HI)).usage
                assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (6, 4, 5)
                assert usage.output_tokens_details.thinking_tokens == 2


async def test_tokens_are_counted(proxy: Any) -> None:
    """Without a backend: its address leads nowhere."""
    running = await proxy(mapping("http://backend.test"))
    image = {"type": "image", "source": {"type": "url", "url": "https://example.com/cat.png"}}
    async with client_of(running) as client:
        small = await client.messages.count_tokens(model="m", messages=[QUESTION])
        more = await client.messages.count_tokens(model="m", messages=[QUESTION], system="Be brief.", tools=[WEATHER])
        shown = await client.messages.count_tokens(
            model="m", messages=[QUESTION, {"role": "user", "content": [image]}], thinking={"type": "adaptive"}
        )
    assert 5 < small.input_tokens < 20
    assert small.input_tokens + 10 < more.input_tokens < 100
    assert shown.input_tokens == small.input_tokens + 1600


async def test_an_agent_runs_its_tools(proxy: Any) -> None:
    """The client's own loop, which first asks to have the conversation kept here, and goes on without."""
    asked = []

    @sdk.beta_async_tool  # type: ignore[untyped-decorator, unused-ignore]
    async def celsius(city: str) -> str:
        """The temperature in a city."""
        asked.append(city)
        return "21"

    request = "{path: /g, body: {m: '{{ messages }}', tools: '{{ tools }}', n: '{{ max_tokens }}'}}"
    text = f"oaiproxy: 1\nmodels: [m]\nbackend: {{url: URL}}\nchat: {{request: {request}, response: RESPONSE}}\n"
    text = text.replace("RESPONSE", "{text: t, tool_calls: 'calls[].{name: f, arguments: a}'}")
    call = answer({"t": "", "calls": [{"f": "celsius", "a": {"city": "Rome"}}]})
    async with Backend([REQUEST, call, REQUEST, answer({"t": "21 °C."})]) as backend:
        running = await proxy(load(text.replace("URL", backend.url)))
        async with client_of(running) as client:
            runner = client.beta.messages.tool_runner(**HI, tools=[celsius])
            said = await runner.until_done()
        first, second = (request.json for request in backend.requests)
    assert asked == ["Rome"]
    assert [block.text for block in said.content] == ["21 °C."]
    assert first["tools"][0]["name"] == "celsius"
    result = second["m"][-1]
    assert (result["role"], result["text"], result["tool_name"]) == ("tool", "21", "celsius")
    assert result["tool_call_id"] == second["m"][-2]["tool_calls"][0]["id"]
