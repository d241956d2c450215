"""Promises to OpenAI's own client at /v1/completions: prompts in all their forms, whole and in streams."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import openai
import pytest
from aiohttp import web
from conftest import Proxy
from scripted import fetch, request
from support import STRICT, assert_strict, events, load, serving

CHAT = """
chat:
  request:
    path: /chat
    body: {q: "{{ prompt }}", most: "{{ max_tokens }}", stream: "{{ stream }}", seed: "{{ seed }}"}
  response: {text: t, finish_reason: f, usage: {prompt: p, completion: c}}
  stream: {format: sse, text: t, finish_reason: f, usage: {prompt: p, completion: c}}
"""
NATIVE = """
chat:
  request: {path: /chat, body: {q: "{{ prompt }}", n: "{{ n }}"}}
  response: {choices: all, text: t, finish_reason: f}
"""
RAW = """
completions:
  request: {path: /raw, body: "{{ request }}"}
  response: {choices: choices, text: text, finish_reason: finish_reason}
"""


class There:
    """A client, its proxy, and what the backend was sent."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.url = ""
        self.client: openai.AsyncOpenAI = openai.AsyncOpenAI(api_key="unused")

    async def answer(self, incoming: web.Request) -> web.StreamResponse:
        """Say the prompt in capitals; in a stream, letter by letter."""
        body = json.loads(await incoming.read())
        self.asked.append(body)
        if incoming.path == "/raw":
            return web.json_response({"choices": [{"index": 0, "text": "x", "finish_reason": "stop"}]})
        text = body["q"].upper()
        if "n" in body:
            said = [{"t": f"{text}{number}", "f": "stop"} for number in range(body["n"])]
            return web.json_response({"all": said, "p": 1, "c": 1})
        end = {"f": "stop", "p": len(text), "c": 2}
        if not body["stream"]:
            return web.json_response({"t": text, **end})
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(incoming)
        for frame in [*({"t": letter} for letter in text), end]:
            await response.write(f"data: {json.dumps(frame)}\n\n".encode())
        return response


Start = Callable[[str], Awaitable[There]]


@pytest.fixture
async def start(proxy: Proxy) -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def started(blocks: str) -> There:
            there = There()
            url = await stack.enter_async_context(serving(there.answer))
            running = await proxy(load(f"oaiproxy: 1\nmodels: [m]\nbackend: {{url: '{url}'}}\n{blocks}"))
            there.url = running.url
            there.client = openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="unused", max_retries=0)
            await stack.enter_async_context(there.client)
            return there

        yield started


async def texts(there: There, *, stream: bool, **fields: Any) -> list[str]:
    """The texts of the choices, by OpenAI's client; the answer is held to OpenAI's schema."""
    body = {"model": "m", **fields, "stream": stream}
    wire = await fetch(there.url, request(body, "/v1/completions"))
    assert wire.status == 200, wire.body
    *found, done = events(wire.body) if stream else (wire.body, "[DONE]")
    assert done == "[DONE]"
    answers = [json.loads(each) for each in found]
    if STRICT.is_dir():
        assert_strict("CreateCompletionResponse", answers)
    made: dict[int, str] = {}
    ended = []
    for each in answers:
        for choice in each["choices"]:
            made[choice["index"]] = made.get(choice["index"], "") + choice["text"]
            ended.extend([choice["index"]] * (choice["finish_reason"] is not None))
    assert sorted(ended) == sorted(made) == list(range(len(made)))
    assert len({each["id"] for each in answers}) == 1
    return [made[index] for index in sorted(made)]


PROMPTS: dict[str, tuple[Any, list[str]]] = {
    "a text": ("a", ["a"]),
    "a list of one": (["a"], ["a"]),
    "a list": (["ab", "c", "d"], ["ab", "c", "d"]),
    "token ids": ([15339, 1917], ["hello world"]),
    "a list of one list of ids": ([[15339]], ["hello"]),
    "lists of token ids": ([[15339], [1917]], ["hello", " world"]),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("echo", [None, True])
@pytest.mark.parametrize(("prompt", "said"), PROMPTS.values(), ids=PROMPTS)
async def test_every_form_of_prompts(start: Start, prompt: Any, said: list[str], echo: Any, stream: bool) -> None:
    """Each prompt is a request, each answer a choice of its number; token ids are those of cl100k_base."""
    there = await start(CHAT)
    found = await texts(there, prompt=prompt, echo=echo, stream=stream)
    assert found == [(each if echo else "") + each.upper() for each in said]
    assert sorted(body["q"] for body in there.asked) == sorted(said)
    assert all("most" not in body for body in there.asked)


@pytest.mark.parametrize("stream", [False, True])
async def test_choices_of_every_prompt(start: Start, stream: bool) -> None:
    """Prompt by prompt; without `n` in the backend, each choice is a request with a seed of its own."""
    there = await start("emulate: [n]\n" + CHAT)
    found = await texts(there, prompt=["a", "b"], n=2, best_of=2, seed=5, echo=True, stream=stream)
    assert found == ["aA", "aA", "bB", "bB"]
    assert sorted((body["q"], body["seed"]) for body in there.asked) == [("a", 5), ("a", 6), ("b", 5), ("b", 6)]


async def test_choices_that_the_backend_makes(start: Start) -> None:
    """Keep their order within their prompt's."""
    there = await start(NATIVE)
    assert await texts(there, prompt=["a", "b"], n=2, stream=False) == ["A0", "A1", "B0", "B1"]
    assert len(there.asked) == 2


async def test_usage_is_the_sum(start: Start) -> None:
    """Of all prompts, a prompt of several choices once; in streams where it is asked for, in the last chunk alone."""
    there = await start("emulate: [n]\n" + CHAT)
    made = await there.client.completions.create(model="m", prompt=["abc", "de"], n=2)
    assert made.usage is not None
    assert (made.usage.prompt_tokens, made.usage.completion_tokens, made.usage.total_tokens) == (5, 8, 13)
    stream = await there.client.completions.create(
        model="m", prompt=["abc", "de"], stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = [chunk async for chunk in stream]
    assert all(chunk.usage is None for chunk in chunks)
    assert (last.choices, last.usage and last.usage.total_tokens) == ([], 9)


async def test_a_mapping_of_the_raw_request_gets_prompts_as_they_came(start: Start) -> None:
    """Also ids, which may be of another encoding."""
    there = await start(RAW)
    await there.client.completions.create(model="m", prompt=[[1], [100_300]], echo=True, suffix="s", best_of=2)
    assert there.asked == [{"model": "m", "prompt": [[1], [100_300]], "echo": True, "suffix": "s", "best_of": 2}]


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"prompt": [5, 100_300]}, "prompt", "invalid_value"),
        ({"prompt": [[5], [-5]]}, "prompt[1]", "invalid_value"),
        ({"prompt": ["a"] * 129}, "prompt", "invalid_value"),
        ({"prompt": ["a", 1]}, "prompt[1]", "invalid_type"),
        ({"suffix": "s"}, "suffix", "unsupported_parameter"),
        ({"best_of": 2}, "best_of", "unsupported_parameter"),
        ({"n": 2}, "n", "unsupported_parameter"),
        ({"logprobs": "5"}, "logprobs", "invalid_type"),
        ({"stream": "yes"}, "stream", "invalid_type"),
    ],
)
async def test_mistakes(start: Start, fields: dict[str, Any], param: str, code: str) -> None:
    """Are told by the field, before the backend is asked."""
    there = await start(CHAT)
    with pytest.raises(openai.BadRequestError) as caught:
        await there.client.completions.create(**{"model": "m", "prompt": "a", **fields})
    assert (caught.value.param, caught.value.code, there.asked) == (param, code, [])


async def test_null_is_absent_and_unknown_fields_are_extra(start: Start) -> None:
    """As clients send them."""
    there = await start(CHAT)
    nulls = dict.fromkeys(("suffix", "echo", "best_of", "logprobs", "n", "stop", "seed", "max_tokens", "user"))
    body = {"model": "m", "prompt": "a", "client_metadata": {"x": 1}, **nulls}
    assert (await fetch(there.url, request(body, "/v1/completions"))).status == 200
