"""Promises of the Responses API before a backend that knows nothing of it, through the real server: what the Open
Responses compliance suite asks (https://www.openresponses.org/compliance), and OpenAI's own client.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from conftest import Proxy
from pydantic import BaseModel
from responding import WEATHER, Rules, ask, check_sequence, made, rules_mapping, text_of, user, valid
from support import serving

PIXEL = "data:image/png;base64,iVBORw0KGgo="


class Place(BaseModel):
    """What is asked for as JSON."""

    city: str


@pytest.fixture
async def rules() -> AsyncIterator[Rules]:
    """The backend's own view."""
    return Rules()


@pytest.fixture
async def url(proxy: Proxy, rules: Rules) -> AsyncIterator[str]:
    """The proxy's base address."""
    async with serving(rules.handle) as backend:
        running = await proxy(rules_mapping(backend))
        yield f"{running.url}/v1"


@pytest.fixture
async def client(url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's client."""
    async with openai.AsyncOpenAI(base_url=url, api_key="unused", max_retries=0) as made:
        yield made


# What the compliance suite asks.


async def test_basic_response(url: str) -> None:
    """A message in, a completed response out."""
    body = await made(url, input=[user("Say hello in exactly 3 words.")])
    assert (body["status"], text_of(body)) == ("completed", "1: Say hello in exactly 3 words.")
    assert body["usage"]["total_tokens"] == 12
    assert body["completed_at"] >= body["created_at"]


async def test_assistant_phase(url: str, rules: Rules) -> None:
    """History may say which of its messages were commentary; they stay messages of their own."""
    history = [
        {"type": "message", "role": "assistant", "phase": phase, "content": text}
        for phase, text in (("commentary", "I look."), ("final_answer", "Four."))
    ]
    body = await made(url, input=[*history, user("Repeat the number.")])
    assert body["status"] == "completed"
    assert [turn["text"] for turn in rules.bodies[0]["talk"]] == ["I look.", "Four.", "Repeat the number."]


async def test_response_output_phase_schema(url: str) -> None:
    """A phase may come back with a stored conversation."""
    said = {"type": "message", "role": "assistant", "phase": "commentary", "content": "I look."}
    body = await made(url, input=[said, user("Go on.")])
    _, items, _ = await ask(url, None, f"/responses/{body['id']}/input_items?order=asc", "GET")
    valid("ResponseItemList", items)
    assert items["data"][0]["phase"] == "commentary"


async def test_streaming_response(url: str) -> None:
    """Every event is valid, and they fit together."""
    status, events, headers = await ask(url, {"model": "m", "input": [user("Count from 1 to 5.")], "stream": True})
    assert (status, headers["Content-Type"]) == (200, "text/event-stream; charset=utf-8")
    for event in events:
        valid("ResponseStreamEvent", event)
    last = check_sequence(events)
    valid("Response", last)
    assert (last["status"], text_of(last)) == ("completed", "1: Count from 1 to 5.")


async def test_system_prompt(url: str, rules: Rules) -> None:
    """As a message, or as instructions, which come first."""
    body = await made(url, instructions="Be brief.", input=[{"role": "system", "content": "A pirate."}, user("hi")])
    assert body["instructions"] == "Be brief."
    assert [turn["text"] for turn in rules.bodies[0]["talk"]] == ["Be brief.", "A pirate.", "hi"]


@pytest.mark.parametrize("stream", [False, True])
async def test_tool_calling(url: str, rules: Rules, stream: bool) -> None:
    """A function is called; its result and the call go back as items of their own."""
    asked: Any = {"model": "m", "input": [user("The weather?")], "tools": [WEATHER], "stream": stream}
    _, body, _ = await ask(url, asked)
    if stream:
        body = check_sequence(body)
    valid("Response", body)
    (call,) = body["output"]
    assert (call["type"], call["name"], json.loads(call["arguments"])) == (
        "function_call",
        "get_weather",
        {"location": "Oslo"},
    )
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "9 degrees"}
    final = await made(url, input=[user("The weather?"), call, result], tools=[WEATHER])
    assert text_of(final) == "3: 9 degrees"
    assert rules.bodies[1]["talk"][1]["did"][0]["name"] == "get_weather"
    assert rules.bodies[1]["talk"][2]["of"] == "c1"


async def test_image_input(url: str, rules: Rules) -> None:
    """An image as data."""
    parts = [{"type": "input_text", "text": "What is it?"}, {"type": "input_image", "image_url": PIXEL}]
    body = await made(url, input=[{"type": "message", "role": "user", "content": parts}])
    assert body["status"] == "completed"
    assert rules.bodies[0]["talk"][0]["pictures"] == ["iVBORw0KGgo="]


async def test_multi_turn(url: str, rules: Rules) -> None:
    """History as items."""
    history = [user("My name is Alice."), {"type": "message", "role": "assistant", "content": "Hello Alice!"}]
    await made(url, input=[*history, user("What is my name?")])
    assert [turn["who"] for turn in rules.bodies[0]["talk"]] == ["user", "assistant", "user"]


async def test_compact_response(url: str, rules: Rules) -> None:
    """The user's messages and one opaque item come back, and the item stands for all of the conversation."""
    history = [user("Launch on Tuesday."), {"type": "message", "role": "assistant", "content": "Understood."}]
    status, body, _ = await ask(url, {"model": "m", "prompt_cache_key": "k", "input": history}, "/responses/compact")
    assert status == 200
    valid("CompactResource", body)
    assert [item["type"] for item in body["output"]] == ["message", "compaction"]
    await made(url, input=[body["output"][1], user("When?")])
    assert [turn["text"] for turn in rules.bodies[0]["talk"]] == ["Launch on Tuesday.", "Understood.", "When?"]


async def test_compact_missing_model(url: str) -> None:
    """Refused."""
    status, body, _ = await ask(url, {"input": [user("Compact this.")]}, "/responses/compact")
    assert (status, body["error"]["param"]) == (400, "model")


# OpenAI's own client.


async def test_the_client_reads_a_response(client: openai.AsyncOpenAI) -> None:
    """Its text, its usage, and its id for what follows."""
    first = await client.responses.create(model="m", input="one")
    assert (first.output_text, first.status) == ("1: one", "completed")
    second = await client.responses.create(model="m", input="two", previous_response_id=first.id)
    assert second.output_text == "3: two"
    again = await client.responses.retrieve(second.id)
    assert again.output_text == second.output_text
    items = await client.responses.input_items.list(second.id, order="asc")
    assert [item.content[0].text async for item in items] == ["one", "1: one", "two"]  # type: ignore[union-attr]
    await client.responses.delete(second.id)
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(second.id)
    with pytest.raises(openai.BadRequestError) as caught:
        await client.responses.create(model="m", input="three", previous_response_id=second.id)
    assert caught.value.code == "previous_response_not_found"


async def test_the_client_streams(client: openai.AsyncOpenAI) -> None:
    """Its helper is stricter than reading events: it builds the response from them."""
    async with client.responses.stream(model="m", input="think") as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_response()
    assert kinds[0] == "response.created"
    assert "response.reasoning_summary_text.delta" in kinds
    assert final.output_text == "two"
    assert final.output[0].summary[0].text == "one and one"  # type: ignore[union-attr]


async def test_the_client_parses(client: openai.AsyncOpenAI, rules: Rules) -> None:
    """JSON by a schema."""
    response = await client.responses.parse(model="m", input="Where?", text_format=Place)
    assert response.output_parsed == Place(city="Oslo")
    shape = rules.bodies[0]["shape"]
    assert (shape["type"], shape["json_schema"]["name"], shape["json_schema"]["strict"]) == (
        "json_schema",
        "Place",
        True,
    )


@pytest.mark.parametrize("streams", [False, True])
async def test_the_client_takes_a_tool_around(client: openai.AsyncOpenAI, streams: bool) -> None:
    """With what came back as it came."""
    talk: list[Any] = [{"role": "user", "content": "The weather?"}]
    if streams:
        async with client.responses.stream(model="m", input=talk, tools=[WEATHER]) as stream:
            final: Any = await stream.get_final_response()
    else:
        final = await client.responses.create(model="m", input=talk, tools=[WEATHER])
    talk += [item.model_dump(exclude_none=True) for item in final.output]
    talk.append({"type": "function_call_output", "call_id": final.output[0].call_id, "output": "9 degrees"})
    assert (await client.responses.create(model="m", input=talk, tools=[WEATHER])).output_text == "3: 9 degrees"


async def test_the_client_raises_on_a_failure_in_a_stream(client: openai.AsyncOpenAI, rules: Rules) -> None:
    """With its message."""
    rules.breaks = True
    stream = await client.responses.create(model="m", input="one", stream=True)
    with pytest.raises(openai.APIError) as caught:
        [event async for event in stream]
    assert caught.value.code == "upstream_incomplete"
