"""Anthropic's own client: whole, streams, tools, pictures, counts, failures."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from shared import CITY, KEY, MODEL, PIXEL, URL, user, wait_until

TOOL: Any = {"name": "get_weather", "description": "The weather in a city", "input_schema": CITY}


@pytest.fixture
def client() -> Iterator[anthropic.Anthropic]:
    """The client; it adds `/v1` by itself."""
    with anthropic.Anthropic(base_url=URL.removesuffix("/v1"), api_key=KEY, max_retries=0) as made:
        yield made


def say(content: Any, **fields: Any) -> Any:
    """A request."""
    return {"model": MODEL, "max_tokens": 100, "messages": [user(content)], **fields}


def test_whole(client: anthropic.Anthropic) -> None:
    """Text and usage."""
    made: Any = client.messages.create(**say("Reply with exactly: Hello there", system="Be brief."))
    assert (made.content[0].text, made.stop_reason, made.role) == ("Hello there", "end_turn", "assistant")
    assert (made.usage.input_tokens, made.usage.output_tokens) == (7, 2)


def test_stream(client: anthropic.Anthropic) -> None:
    """Piece by piece, and the message put together."""
    with client.messages.stream(**say("Reply with exactly: one two three")) as stream:
        assert list(stream.text_stream) == ["one", " two", " three"]
        made: Any = stream.get_final_message()
    assert (made.content[0].text, made.stop_reason, made.usage.output_tokens) == ("one two three", "end_turn", 3)


def test_length_and_stop(client: anthropic.Anthropic) -> None:
    """Each with its reason."""
    made: Any = client.messages.create(**say("Reply with exactly: one two three", max_tokens=2))
    assert (made.content[0].text, made.stop_reason) == ("one two", "max_tokens")
    made = client.messages.create(**say("Reply with exactly: one two three", stop_sequences=[" three"]))
    assert made.content[0].text == "one two"


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
def test_tools(client: anthropic.Anthropic, streams: bool) -> None:
    """Two calls, their results, the answer."""

    def answer(asked: Any) -> Any:
        if not streams:
            return client.messages.create(**asked)
        with client.messages.stream(**asked) as stream:
            return stream.get_final_message()

    asked = say("Weather in both 'Rome' and 'Oslo'?", tools=[TOOL])
    first = answer(asked)
    calls = [block for block in first.content if block.type == "tool_use"]
    assert ([call.input for call in calls], first.stop_reason) == ([{"city": "Rome"}, {"city": "Oslo"}], "tool_use")
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": str(at)} for at, call in enumerate(calls)]
    said = {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in first.content]}
    second = answer({**asked, "messages": [*asked["messages"], said, user(results)]})
    assert (second.content[0].text, second.stop_reason) == ("It came to: 0; 1", "end_turn")


@pytest.mark.parametrize(
    ("choice", "count"),
    [
        ({"type": "any"}, 2),
        ({"type": "tool", "name": "get_weather"}, 2),
        ({"type": "auto", "disable_parallel_tool_use": True}, 1),
        ({"type": "none"}, 0),
    ],
)
def test_a_choice_of_tools(client: anthropic.Anthropic, choice: Any, count: int) -> None:
    """Any, one by name, one at a time, none."""
    made = client.messages.create(**say("In both 'Rome' and 'Oslo'?", tools=[TOOL], tool_choice=choice))
    assert sum(block.type == "tool_use" for block in made.content) == count


def test_pictures(client: anthropic.Anthropic) -> None:
    """As base64."""
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL.split(",")[1]}
    made: Any = client.messages.create(**say([{"type": "text", "text": "What?"}, {"type": "image", "source": source}]))
    assert made.content[0].text == "You said: What? I see image/png."


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
def test_thinking(client: anthropic.Anthropic, streams: bool) -> None:
    """A block of its own, where it was asked for."""
    asked = say("think, then reply with exactly: done", thinking={"type": "enabled", "budget_tokens": 1024})
    asked["max_tokens"] = 2048
    if streams:
        with client.messages.stream(**asked) as stream:
            made: Any = stream.get_final_message()
    else:
        made = client.messages.create(**asked)
    assert [block.type for block in made.content] == ["thinking", "text"]


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"model": "nobody"}, anthropic.NotFoundError),
        ({"messages": []}, anthropic.BadRequestError),
        ({"max_tokens": -1}, anthropic.BadRequestError),
        ({"messages": [user("status=400")]}, anthropic.BadRequestError),
        ({"messages": [user("status=429")]}, anthropic.RateLimitError),
        ({"messages": [user("status=500")]}, anthropic.InternalServerError),
    ],
)
def test_errors(client: anthropic.Anthropic, fields: Any, kind: Any) -> None:
    """Each with its exception, and the body in that API's form."""
    with pytest.raises(anthropic.APIStatusError) as caught:
        client.messages.create(**{**say("hi"), **fields})
    assert isinstance(caught.value, kind)
    body: Any = caught.value.body
    assert body["type"] == "error"
    assert body["error"]["message"]


def test_a_retry(client: anthropic.Anthropic) -> None:
    """By the client."""
    text = f"status=429 times=1 wait=0.1 key={uuid.uuid4()} Reply with exactly: again"
    made: Any = client.with_options(max_retries=1).messages.create(**say(text))
    assert made.content[0].text == "again"


@pytest.mark.parametrize("order", ["break=3", "trouble=3"])
def test_a_failure_in_a_stream(client: anthropic.Anthropic, order: str) -> None:
    """Is raised, after the text before it."""
    texts: list[str] = []

    def read() -> None:
        with client.messages.stream(**say(f"{order} Reply with exactly: a b c d")) as stream:
            for text in stream.text_stream:
                texts.append(text)  # what came before the failure counts

    with pytest.raises(anthropic.APIError):
        read()
    assert "".join(texts) == "a b"


async def test_cancellation() -> None:
    """The backend is left when the client leaves."""
    async with anthropic.AsyncAnthropic(base_url=URL.removesuffix("/v1"), api_key=KEY, max_retries=0) as client:
        key = uuid.uuid4().hex
        async with client.messages.stream(**say(f"forever={key}")) as stream:
            async for _ in stream.text_stream:
                break
        await asyncio.to_thread(wait_until, "left", key)
