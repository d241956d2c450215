"""Promises of the Responses API before a backend that knows nothing of it, through the real server: what the Open
Responses compliance suite asks (https://www.openresponses.org/compliance), and OpenAI's own client.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import aiohttp
import openai
import pytest
from conftest import Proxy
from pydantic import BaseModel
from responding import Rules, check_sequence, rules_mapping, told, valid
from scripted import settled
from support import serving

PIXEL = "data:image/png;base64,iVBORw0KGgo="
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather at a place",
    "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
}


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


async def ask(url: str, body: Any, path: str = "/responses", method: str = "POST") -> tuple[int, Any, dict[str, str]]:
    """The status, the body and the headers of an answer."""
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url + path, json=body if method == "POST" else None) as answer,
    ):
        data = await answer.read()
        if answer.content_type == "text/event-stream":
            return answer.status, told(data), dict(answer.headers)
        return answer.status, json.loads(data), dict(answer.headers)


async def made(url: str, **fields: Any) -> Any:
    """A response that is as OpenAI's schema says."""
    status, body, _ = await ask(url, {"model": "m", **fields})
    assert status == 200, body
    valid("Response", body)
    return body


def user(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": text}


def text_of(response: Any) -> str:
    """The text of all messages."""
    messages = [item for item in response["output"] if item["type"] == "message"]
    return "".join(part["text"] for item in messages for part in item["content"])


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


# What is kept.


async def test_a_conversation_goes_on(url: str, rules: Rules) -> None:
    """By the id of the response before, whose instructions are not carried over."""
    first = await made(url, input="one", instructions="Be brief.")
    second = await made(url, input="two", previous_response_id=first["id"])
    await made(url, input="three", previous_response_id=second["id"])
    assert [turn["text"] for turn in rules.bodies[2]["talk"]] == ["one", "2: one", "two", "3: two", "three"]
    assert second["previous_response_id"] == first["id"]


async def test_what_is_not_stored_is_not_there(url: str) -> None:
    """With `store: false`, after it was deleted, and where there never was any."""
    kept = await made(url, input="one")
    gone = (await made(url, input="one", store=False))["id"]
    assert (await ask(url, None, f"/responses/{kept['id']}", "GET"))[1] == kept
    _, body, _ = await ask(url, None, f"/responses/{kept['id']}", "DELETE")
    assert body == {"id": kept["id"], "object": "response", "deleted": True}
    for name in (kept["id"], gone, "resp_never"):
        for path, method in (("", "GET"), ("", "DELETE"), ("/input_items", "GET"), ("/cancel", "POST")):
            status, body, _ = await ask(url, {}, f"/responses/{name}{path}", method)
            assert (status, body["error"]["message"]) == (404, f"Response with id '{name}' not found.")
        status, body, _ = await ask(url, {"model": "m", "input": "x", "previous_response_id": name})
        error = body["error"]
        assert (status, error["code"], error["param"]) == (
            400,
            "previous_response_not_found",
            "previous_response_id",
        )


async def test_input_items_come_in_pages(url: str) -> None:
    """The latest first, or the oldest."""
    first = await made(url, input=[user("one"), user("two")])
    second = await made(url, input="three", previous_response_id=first["id"])
    path = f"/responses/{second['id']}/input_items"
    _, page, _ = await ask(url, None, f"{path}?limit=3", "GET")
    valid("ResponseItemList", page)
    texts = [item["content"][0]["text"] for item in page["data"]]
    assert (texts, page["has_more"]) == (["three", "2: two", "two"], True)
    _, rest, _ = await ask(url, None, f"{path}?limit=3&after={page['last_id']}&include=x", "GET")
    assert ([item["content"][0]["text"] for item in rest["data"]], rest["has_more"]) == (["one"], False)
    _, rising, _ = await ask(url, None, f"{path}?order=asc", "GET")
    assert [item["id"] for item in rising["data"]] == [each["id"] for each in (*page["data"], *rest["data"])][::-1]
    for query, param in (("limit=0", "limit"), ("limit=x", "limit"), ("order=up", "order"), ("after=x", "after")):
        status, body, _ = await ask(url, None, f"{path}?{query}", "GET")
        assert (status, body["error"]["param"]) == (400, param)


async def test_a_kept_response_cannot_be_cancelled(url: str) -> None:
    """It is finished."""
    name = (await made(url, input="one"))["id"]
    status, body, _ = await ask(url, {}, f"/responses/{name}/cancel")
    assert (status, body["error"]["message"]) == (400, "Cannot cancel a synchronous response.")
    status, body, _ = await ask(url, None, f"/responses/{name}?stream=true", "GET")
    assert (status, body["error"]["param"]) == (400, "stream")


async def test_an_item_can_be_named(url: str, rules: Rules) -> None:
    """By its id, as long as its response is kept."""
    said = (await made(url, input="one"))["output"][0]["id"]
    await made(url, input=[{"type": "item_reference", "id": said}, {"id": said}, user("two")])
    assert [turn["text"] for turn in rules.bodies[1]["talk"]] == ["1: one", "1: one", "two"]
    status, body, _ = await ask(url, {"model": "m", "input": [{"type": "item_reference", "id": "msg_x"}]})
    assert (status, body["error"]["param"]) == (404, "input[0].id")


async def test_the_oldest_leave_first(proxy: Proxy, rules: Rules) -> None:
    """As many are kept as the configuration says."""
    async with serving(rules.handle) as backend:
        url = f"{(await proxy(rules_mapping(backend), stored_responses=2)).url}/v1"
        names = [(await made(url, input="one"))["id"] for _ in range(3)]
        found = [(await ask(url, None, f"/responses/{name}", "GET"))[0] for name in names]
    assert found == [404, 200, 200]


async def test_what_broke_off_is_not_kept(url: str, rules: Rules) -> None:
    """The stream tells of it twice, for clients of both kinds, and ends there."""
    rules.breaks = True
    session = aiohttp.ClientSession()
    async with session, session.post(f"{url}/responses", json={"model": "m", "input": "one", "stream": True}) as answer:
        data = b""
        with suppress(aiohttp.ClientPayloadError):
            while piece := await answer.content.readany():
                data += piece
    *_, failed, error = told(data)
    for event in (failed, error):
        valid("ResponseStreamEvent", event)
    assert (failed["type"], failed["response"]["status"]) == ("response.failed", "failed")
    assert failed["response"]["error"]["code"] == "server_error"
    assert failed["response"]["output"][0]["status"] == "incomplete"
    assert error["code"] == error["error"]["code"] == "upstream_incomplete"
    assert (await ask(url, None, f"/responses/{failed['response']['id']}", "GET"))[0] == 404


async def test_a_client_that_leaves_leaves_nothing(url: str, rules: Rules) -> None:
    """A stream that nobody reads to its end is no response to go on from."""
    rules.extra = [{"reply": "x" * 1000}] * 20_000
    session = aiohttp.ClientSession()
    async with session, session.post(f"{url}/responses", json={"model": "m", "input": "one", "stream": True}) as answer:
        line = await answer.content.readuntil(b"\n\n")
        name = told(line)[0]["response"]["id"]
        answer.close()
    await settled(lambda: len(rules.bodies) == 1)
    assert (await ask(url, None, f"/responses/{name}", "GET"))[0] == 404


async def test_incomplete(url: str) -> None:
    """What ran out of tokens is not complete, and says so."""
    body = await made(url, input="long", max_output_tokens=16)
    assert (body["status"], body["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert (body["completed_at"], body["output"][0]["status"]) == (None, "incomplete")
    _, events, _ = await ask(url, {"model": "m", "input": "long", "stream": True})
    assert check_sequence(events)["status"] == "incomplete"


async def test_input_tokens(url: str, rules: Rules) -> None:
    """Counted here, without a word to the backend."""
    status, body, _ = await ask(url, {"model": "m", "input": "hello world"}, "/responses/input_tokens")
    assert (status, body) == (200, {"object": "response.input_tokens", "input_tokens": 8})
    assert rules.bodies == []


async def test_tools_that_only_openai_runs_are_left_out_and_named(url: str, rules: Rules) -> None:
    """As agents send them, whether they are needed or not; knobs go by the names that the client knows."""
    tools = [{"type": "web_search"}, WEATHER, {"type": "namespace", "name": "x", "tools": []}]
    asked = {"model": "m", "input": "hi", "tools": tools, "top_p": 0.5, "truncation": "auto"}
    status, body, headers = await ask(url, asked)
    assert status == 200
    assert headers["x-oaiproxy-dropped"] == "truncation, tools.web_search, tools.namespace, top_p"
    assert [tool["name"] for tool in body["tools"]] == ["get_weather"]
    assert [tool["name"] for tool in rules.bodies[0]["can"]] == ["get_weather"]


async def test_errors_name_the_clients_own_fields(url: str) -> None:
    """Also those that the mapping makes, which speaks of chat."""
    audio = {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}
    cases: list[tuple[dict[str, Any], str]] = [
        ({"input": [user("a"), {"role": "user", "content": [audio]}]}, "input[1].content[0].type"),
        ({"input": "a", "temperature": 3}, "temperature"),
        ({"input": "a", "max_output_tokens": "x"}, "max_output_tokens"),
        ({"input": "a", "background": True}, "background"),
        ({"input": [{"type": "telepathy"}]}, "input[0].type"),
        ({"input": "a", "include": ["message.output_text.logprobs"]}, "include"),
    ]
    for fields, param in cases:
        status, body, _ = await ask(url, {"model": "m", **fields})
        assert (status, body["error"]["param"]) == (400, param), body
        assert f"'{param}'" in body["error"]["message"]


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
