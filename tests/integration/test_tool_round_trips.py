"""A question, the tool calls that it leads to, their results, the answer: OpenAI's client against every real backend
that knows tools.

The backends are the examples of the shipped mappings, in which all of them are asked the same.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import openai
import pytest
from support import ROOT

from oaiproxy.backends import MOCK_URL
from oaiproxy.loader import Loader

NAMES = sorted(path.stem for path in (ROOT / "mappings").glob("*.yaml") if "- name: tool calls\n" in path.read_text())
"""The mappings of APIs that know tools."""
QUESTION = {"role": "user", "content": "Is it warmer in Rome or in Oslo?"}
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"name": "get_weather", "description": "The weather in a city", "parameters": PARAMETERS}
RESULTS = {"Rome": '{"celsius": 21}', "Oslo": '{"celsius": 9}'}
ANSWER = "Rome, with 21 °C against 9 °C."


async def asked(client: openai.AsyncOpenAI, messages: list[Any], streams: bool) -> tuple[Any, str]:
    """The message that comes, and why it ended."""
    ask: Any = {"model": (await client.models.list()).data[0].id, "messages": messages}
    ask["tools"] = [{"type": "function", "function": WEATHER}]
    if streams:
        async with client.chat.completions.stream(**ask) as stream:
            choice: Any = (await stream.get_final_completion()).choices[0]
    else:
        choice = (await client.chat.completions.create(**ask)).choices[0]
    return choice.message, choice.finish_reason


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", NAMES)
async def test_parallel_calls_and_their_results(proxy: Any, name: str, streams: bool) -> None:
    """Both calls come, and with both results the answer does: the backend is sent what its own history would be."""
    ((mapping, _),) = Loader({}).load([(name, ROOT / f"mappings/{name}.yaml")])[0]
    running = await proxy(replace(mapping, backend=replace(mapping.backend, url=MOCK_URL)))
    async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="unused", max_retries=0) as client:
        message, finish = await asked(client, [QUESTION], streams)
        assert finish == "tool_calls"
        calls = [call.model_dump(include={"id", "type", "function"}) for call in message.tool_calls]
        for call in calls:
            call["function"] = {key: call["function"][key] for key in ("name", "arguments")}
        given = [call["function"]["arguments"].replace(" ", "") for call in calls]
        assert given == ['{"city":"Rome"}', '{"city":"Oslo"}']
        assert len({call["id"] for call in calls}) == 2
        said = {"role": "assistant", "content": message.content, "tool_calls": calls}
        results = [
            {"role": "tool", "tool_call_id": call["id"], "content": text}
            for call, text in zip(calls, RESULTS.values(), strict=True)
        ]
        message, finish = await asked(client, [QUESTION, said, *results], streams)
        assert (message.content, message.tool_calls or [], finish) == (ANSWER, [], "stop")


@pytest.mark.parametrize("name", ["cohere", "dashscope", "ollama", "openai-compatible", "watsonx"])
async def test_vectors(proxy: Any, name: str) -> None:
    """As OpenAI's client asks for them: in base64, which the mocked backends do not send."""
    ((mapping, _),) = Loader({}).load([(name, ROOT / f"mappings/{name}.yaml")])[0]
    example = next(each for each in mapping.examples if each.endpoint == "embeddings")
    running = await proxy(replace(mapping, backend=replace(mapping.backend, url=MOCK_URL)))
    async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="unused", max_retries=0) as client:
        ask: Any = {"model": next(iter(mapping.models))} | example.request
        ask["extra_body"] = {"input_type": ask.pop("input_type")} if "input_type" in ask else None
        made = await client.embeddings.create(**ask)
    assert [each.embedding for each in made.data] == [[0.5, -0.25], [0.125, 1.0]]
