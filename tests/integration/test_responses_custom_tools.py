"""Promises of custom tools through the Responses API, before a backend that speaks OpenAI's chat."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from conftest import Proxy
from responding import ask, check_sequence, valid
from scripted import FIN, REQUEST, Backend, answer
from support import ROOT, sse

from oaiproxy.loader import Loader

SHELL = {"type": "custom", "name": "shell", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}}
CALL = {"id": "c1", "type": "custom", "custom": {"name": "shell", "input": "ls -l"}}


def backend_says(streams: bool) -> bytes:
    """The call of the tool, as OpenAI's chat tells of it."""
    head = {"Connection": "close", "Content-Type": "text/event-stream" if streams else "application/json"}
    if not streams:
        message = {"role": "assistant", "content": None, "tool_calls": [CALL]}
        return answer({"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}, headers=head)
    opened = {**CALL, "index": 0, "custom": {"name": "shell", "input": "ls"}}
    deltas = [{"tool_calls": [opened]}, {"tool_calls": [{"index": 0, "custom": {"input": " -l"}}]}]
    chunks: list[Any] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    return answer(sse(*chunks, "[DONE]").encode(), headers=head)


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
async def test_a_custom_tool(proxy: Proxy, streams: bool) -> None:
    """It goes out as chat has it, its call comes back as an item, and its result goes where it belongs."""
    ((mapping, _),) = Loader({}).load([("compatible", ROOT / "mappings/openai-compatible.yaml")])[0]
    async with Backend([REQUEST, backend_says(streams), FIN]) as backend:
        running = await proxy(replace(mapping, model_list=None, backend=replace(mapping.backend, url=backend.url)))
        url = f"{running.url}/v1"
        body: Any = {"model": next(iter(mapping.models)), "input": "hi", "tools": [SHELL], "stream": streams}
        status, made, _ = await ask(url, body)
        assert status == 200, made
        response = check_sequence(made) if streams else made
        valid("Response", response)
        (item,) = response["output"]
        assert (item["type"], item["name"], item["input"], item["call_id"]) == (
            *("custom_tool_call", "shell", "ls -l"),
            "c1",
        )
        result = {"type": "custom_tool_call_output", "call_id": "c1", "output": "a.txt"}
        await ask(url, {**body, "input": [result], "previous_response_id": response["id"]})
    first, second = (request.json for request in backend.requests)
    grammar = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "x"}}
    assert first["tools"] == [{"type": "custom", "custom": {"name": "shell", "format": grammar}}]
    assert second["messages"][1]["tool_calls"] == [CALL]
    assert second["messages"][2] == {"role": "tool", "tool_call_id": "c1", "content": "a.txt"}
