"""Promises to OpenAI's own client, sync and async: answers, streams, usage, and an exception for whatever fails."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
from scripted import FIN, GONE, REQUEST, RST, Backend, answer, chunk, event, mapping, stream_head
from support import ROOT

from oaiproxy.app import serve
from oaiproxy.config import Config, Server
from oaiproxy.loader import Loader

ASK: Any = {"model": "your-model", "messages": [{"role": "user", "content": "What is the capital of France?"}]}
PARIS = "The capital of France is Paris."


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """The shipped example, served by its own examples."""
    mappings, _ = Loader({}).load([("example", ROOT / "mappings/example.yaml")])
    async with serve(Config([], Server(port=0, max_body=4096)), mappings) as running:
        yield f"{running.url}/v1"


@pytest.fixture
async def client(url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    """The async client."""
    async with openai.AsyncOpenAI(base_url=url, api_key="unused", max_retries=0) as made:
        yield made


async def test_a_whole_answer(client: openai.AsyncOpenAI) -> None:
    """With the backend's own count of tokens, and the prompt's counted here."""
    answer_ = await client.chat.completions.create(**ASK)
    assert (answer_.choices[0].message.content, answer_.choices[0].finish_reason) == (PARIS, "stop")
    assert answer_.usage is not None
    assert (answer_.usage.prompt_tokens, answer_.usage.completion_tokens, answer_.usage.total_tokens) == (7, 8, 15)
    assert answer_._request_id is not None


async def test_a_stream(client: openai.AsyncOpenAI) -> None:
    """The role once, the text as it comes, one finish reason, and no usage unless it was asked for."""
    chunks = [each async for each in await client.chat.completions.create(**ASK, stream=True)]
    deltas = [each.choices[0].delta for each in chunks]
    assert [delta.content for delta in deltas] == ["", "The ", "capital ", "of France is Paris.", None]
    assert [delta.role for delta in deltas] == ["assistant", None, None, None, None]
    assert [each.choices[0].finish_reason for each in chunks] == [None] * 4 + ["stop"]
    assert {each.usage for each in chunks} == {None}
    assert len({(each.id, each.created, each.model) for each in chunks}) == 1


async def test_a_stream_with_usage(client: openai.AsyncOpenAI) -> None:
    """In a chunk of its own, the last."""
    made = await client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True})
    *others, last = [each async for each in made]
    assert (last.choices, last.usage is not None) == ([], True)
    assert {each.usage for each in others} == {None}


async def test_the_clients_own_helper_reads_a_stream(client: openai.AsyncOpenAI) -> None:
    """It is stricter than reading chunks."""
    async with client.chat.completions.stream(**ASK) as stream:
        final = await stream.get_final_completion()
    assert final.choices[0].message.content == PARIS


async def test_completions_whole_and_streamed(client: openai.AsyncOpenAI) -> None:
    """The older endpoint, by the same mapping."""
    ask: Any = {"model": "your-model", "prompt": "What is the capital of France?"}
    assert (await client.completions.create(**ask)).choices[0].text == PARIS
    made = await client.completions.create(**ask, stream=True)
    assert "".join([each.choices[0].text async for each in made]) == PARIS


async def test_models(client: openai.AsyncOpenAI) -> None:
    """All, and one."""
    assert [model.id async for model in client.models.list()] == ["your-model"]
    assert (await client.models.retrieve("your-model")).owned_by == "example"


async def test_the_sync_client(url: str) -> None:
    """The same client without asyncio: whole, stream, error."""

    def use() -> tuple[str | None, str]:
        with openai.OpenAI(base_url=url, api_key="unused", max_retries=0) as client:
            whole = client.chat.completions.create(**ASK).choices[0].message.content
            made = client.chat.completions.create(**ASK, stream=True)
            text = "".join(each.choices[0].delta.content or "" for each in made)
            with pytest.raises(openai.NotFoundError):
                client.chat.completions.create(**{**ASK, "model": "other"})
            return whole, text

    assert await asyncio.to_thread(use) == (PARIS, PARIS)


REFUSED: dict[str, tuple[dict[str, Any], type[openai.APIStatusError], str]] = {
    "unknown model": ({"model": "other"}, openai.NotFoundError, "model_not_found"),
    "bad value": ({"temperature": 9}, openai.BadRequestError, "decimal_above_max_value"),
    "unsupported": ({"n": 2}, openai.BadRequestError, "unsupported_parameter"),
    "too large": ({"user": "x" * 5000}, openai.APIStatusError, "request_too_large"),
}


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("row", REFUSED)
async def test_a_refusal_has_its_exception(client: openai.AsyncOpenAI, row: str, streams: bool) -> None:
    """With its code, and the id of the request."""
    fields, kind, code = REFUSED[row]
    with pytest.raises(kind) as caught:
        await client.chat.completions.create(**{**ASK, **fields, "stream": streams})
    assert (caught.value.code, type(caught.value)) == (code, kind)
    assert caught.value.request_id


@pytest.fixture
async def scripted_client(proxy: Any) -> AsyncIterator[Any]:
    """Makes a client of a scripted backend."""
    made: list[openai.AsyncOpenAI] = []

    async def start(backend: Backend, **settings: Any) -> openai.AsyncOpenAI:
        running = await proxy(mapping(backend.url, models="[your-model]", timeouts="{idle: 200ms}"))
        made.append(openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="unused", **settings))
        return made[-1]

    yield start
    for each in made:
        await each.close()


async def test_choices_in_any_order_reach_the_clients_own_helper(proxy: Any) -> None:
    """It keeps choices in a list, in the order in which they are opened."""
    frames = [{"cs": [{"index": index, "t": text}]} for index, text in ((2, "c"), (0, "a"), (1, "b"), (2, "d"))]
    sent = b"".join(b"data: " + json.dumps(frame).encode() + b"\n\n" for frame in frames)
    async with Backend([REQUEST, stream_head(), chunk(sent), chunk(b""), GONE]) as backend:
        blocks = "{format: sse, choices: cs, text: t}"
        running = await proxy(mapping(backend.url, response="", stream=blocks, more="on_unsupported: {n: ignore}"))
        asked: Any = {**ASK, "model": "m", "n": 3}
        async with (
            openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="unused", max_retries=0) as client,
            client.chat.completions.stream(**asked) as stream,
        ):
            made = await stream.get_final_completion()
    assert [(choice.index, choice.message.content) for choice in made.choices] == [(0, "a"), (1, "b"), (2, "cd")]


CUTS: dict[str, list[Any]] = {
    "reset": [RST],
    "end": [FIN],
    "clean end": [chunk(b""), GONE],
    "stall": [GONE],
    "error": [chunk(b'data: {"error": {"message": "boom"}}\n\n'), GONE],
}


@pytest.mark.parametrize("row", CUTS)
async def test_a_stream_that_breaks_raises_and_is_not_tried_again(scripted_client: Any, row: str) -> None:
    """After the text that came: never a short answer that looks whole."""
    heard = asyncio.Event()
    async with Backend([REQUEST, stream_head(), chunk(event("The ")), heard, *CUTS[row]]) as backend:
        client = await scripted_client(backend)
        texts: list[str | None] = []

        async def listen() -> None:
            async for each in await client.chat.completions.create(**ASK, stream=True):
                texts.append(each.choices[0].delta.content)
                if texts[-1]:
                    heard.set()

        with pytest.raises(openai.APIError) as caught:
            await listen()
        assert texts == ["", "The "]
        assert type(caught.value) is openai.APIError
        assert len(backend.requests) == 1


@pytest.mark.parametrize(
    ("status", "headers", "attempts", "kind"),
    [
        (500, {}, 3, openai.InternalServerError),
        (429, {"Retry-After": "1"}, 3, openai.RateLimitError),
        (429, {"Retry-After": "300"}, 1, openai.RateLimitError),
        (401, {}, 1, openai.InternalServerError),
        (400, {}, 1, openai.BadRequestError),
    ],
)
async def test_the_client_tries_again_only_what_may_succeed(
    scripted_client: Any,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    headers: dict[str, str],
    attempts: int,
    kind: Any,
) -> None:
    """It goes by our headers."""
    waits: list[float] = []

    async def wait(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("openai._base_client.anyio.sleep", wait)
    script = [REQUEST, answer({"error": {"message": "no"}}, status, headers)] * 3
    async with Backend(script) as backend:
        client = await scripted_client(backend)
        with pytest.raises(kind):
            await client.chat.completions.create(**ASK)
        assert len(backend.requests) == attempts


async def test_a_client_that_stops_listening_stops_the_backend(scripted_client: Any) -> None:
    """Breaking out of the loop is enough."""
    async with Backend([REQUEST, stream_head(), chunk(event("The ")), GONE]) as backend:
        client = await scripted_client(backend)
        async with await client.chat.completions.create(**ASK, stream=True) as stream:
            async for each in stream:
                if each.choices[0].delta.content:
                    break
        await backend.gone()


def test_the_example_backend_is_not_ours() -> None:
    """What it proves, it proves because it was written by the format alone."""
    text = (Path(__file__).parent / "example_backend.py").read_text()
    assert "import oaiproxy" not in text
    assert "from oaiproxy" not in text
