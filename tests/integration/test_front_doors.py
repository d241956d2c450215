"""Promises of both front doors before a backend that knows nothing but text: the proxy does the rest there too."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest
from conftest import Proxy
from scripted import REQUEST, Backend, answer
from support import load

CITY: Any = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
PLAIN = """
oaiproxy: 1
models: [m]
backend: {url: URL}
chat:
  request: {path: /g, body: {p: "{{ prompt }}"}}
  response: {text: text}
emulate: [tools, response_format]
"""
CALL = '<tool_call>{"name": "weather", "arguments": {"city": "Rome"}}</tool_call>'
RESPONSE: Any = {"model": "m", "input": "hi"}
MESSAGE: Any = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
STREAMS = pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])


async def post(proxy: Proxy, path: str, body: Any, text: str, more: str = PLAIN) -> tuple[int, Any]:
    """The status, and the answer: of a stream the last event that holds all, or all events of the Messages API."""
    async with Backend([REQUEST, answer({"text": text})]) as backend:
        running = await proxy(load(more.replace("URL", backend.url)))
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{running.url}/v1/{path}", json=body) as response,
        ):
            data = await response.text()
    if not data.startswith("event:"):
        return response.status, json.loads(data)
    events = [json.loads(block.split("data: ")[1]) for block in data.removesuffix("\n\n").split("\n\n")]
    return response.status, events[-1].get("response", events)


@STREAMS
async def test_emulated_tools(proxy: Proxy, streams: bool) -> None:
    """A call that the model wrote as text is a call."""
    tool = {"type": "function", "name": "weather", "parameters": CITY}
    status, made = await post(proxy, "responses", {**RESPONSE, "tools": [tool], "stream": streams}, CALL)
    (item,) = made["output"]
    assert (status, item["type"], item["name"], json.loads(item["arguments"])) == (
        *(200, "function_call", "weather"),
        {"city": "Rome"},
    )
    tool = {"name": "weather", "input_schema": CITY}
    status, told = await post(proxy, "messages", {**MESSAGE, "tools": [tool], "stream": streams}, CALL)
    if not streams:
        assert (told["stop_reason"], told["content"][0]["input"]) == ("tool_use", {"city": "Rome"})
        return
    assert told[1]["content_block"]["name"] == "weather"
    assert json.loads(told[2]["delta"]["partial_json"]) == {"city": "Rome"}
    assert told[-2]["delta"]["stop_reason"] == "tool_use"


@STREAMS
async def test_an_emulated_format(proxy: Proxy, streams: bool) -> None:
    """The answer is what was asked for, without what the model wrote around it."""
    text = 'Here: ```json\n{"city": "Rome"}\n```'
    form = {"type": "json_schema", "name": "place", "schema": CITY, "strict": True}
    _, made = await post(proxy, "responses", {**RESPONSE, "text": {"format": form}, "stream": streams}, text)
    assert json.loads(made["output"][0]["content"][0]["text"]) == {"city": "Rome"}
    config = {"format": {"type": "json_schema", "schema": CITY}}
    _, told = await post(proxy, "messages", {**MESSAGE, "output_config": config, "stream": streams}, text)
    said = "".join(event["delta"].get("text", "") for event in told[2:-3]) if streams else told["content"][0]["text"]
    assert json.loads(said) == {"city": "Rome"}


async def test_the_request_of_a_coding_agent_is_taken(proxy: Proxy) -> None:
    """With all of the hints that one sends, and fields that nobody knows yet."""
    cached = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **CITY}
    body = {
        **MESSAGE,
        "system": [{"type": "text", "text": "You are an agent.", **cached}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi", **cached}]}],
        "tools": [{"name": "Bash", "input_schema": schema, "eager_input_streaming": True, **cached}],
        "metadata": {"user_id": '{"device_id": "x"}'},
        "thinking": {"type": "adaptive", "display": "summarized"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "output_config": {"effort": "medium"},
        "something_new": {"a": 1},
    }
    status, made = await post(proxy, "messages?beta=true", body, "Done.")
    assert (status, made["content"]) == (200, [{"type": "text", "text": "Done."}])
    status, made = await post(proxy, "messages/count_tokens?beta=true", body, "")
    assert status == 200
    assert made["input_tokens"] > 0
