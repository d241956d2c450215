"""Pydantic AI over chat and responses: answers, streams, tools, typed output, pictures, failures."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent, ModelHTTPError, NativeOutput, PromptedOutput, ToolOutput
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider
from shared import KEY, MODEL, PIXEL, URL


class Person(BaseModel):
    """A typed answer."""

    name: str
    age: int


class Names(BaseModel):
    """An answer of texts."""

    first: str
    last: str


KINDS: dict[str, Any] = {"chat": OpenAIChatModel, "responses": OpenAIResponsesModel}


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest) -> Any:
    """A model of each kind."""
    return KINDS[request.param](MODEL, provider=OpenAIProvider(base_url=URL, api_key=KEY))


async def test_whole(model: Any) -> None:
    """Text and usage."""
    made = await Agent(model, instructions="Be brief.").run("Reply with exactly: Hello there")
    assert made.output == "Hello there"
    usage: Any = made.usage() if callable(made.usage) else made.usage
    assert (usage.input_tokens, usage.output_tokens) == (7, 2)


async def test_stream(model: Any) -> None:
    """Piece by piece."""
    async with Agent(model).run_stream("Reply with exactly: one two three") as made:
        texts = [text async for text in made.stream_text(delta=True, debounce_by=None)]
    assert "".join(texts) == "one two three"
    assert len(texts) > 1


async def test_history(model: Any) -> None:
    """A second run with the messages of the first."""
    first = await Agent(model).run("hi")
    second = await Agent(model).run("Reply with exactly: yes", message_history=first.all_messages())
    assert second.output == "yes"


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("words", ["Weather in 'Rome'?", "Weather in both 'Rome' and 'Oslo'?"], ids=["one", "two"])
async def test_tools(model: Any, streams: bool, words: str) -> None:
    """Called by the agent, whose answer tells of them."""
    agent = Agent(model)

    @agent.tool_plain
    def get_weather(city: str) -> str:
        """The weather in a city."""
        return f"sun in {city}"

    wanted = "It came to: " + "; ".join(f"sun in {city}" for city in ("Rome", "Oslo") if city in words)
    if not streams:
        assert (await agent.run(words)).output == wanted
        return
    async with agent.run_stream(words) as made:
        assert await made.get_output() == wanted


@pytest.mark.parametrize("kind", [ToolOutput, NativeOutput])
async def test_typed_output(model: Any, kind: Any) -> None:
    """By a tool, by a schema."""
    agent: Any = Agent(model, output_type=kind(Person))
    words = "I am name='Ada' age=36"
    assert (await agent.run(words)).output == Person(name="Ada", age=36)
    async with agent.run_stream(words) as made:
        assert await made.get_output() == Person(name="Ada", age=36)


async def test_output_by_words(model: Any) -> None:
    """JSON that no schema goes with: the rules fill the keys that they are told."""
    made = await Agent(model, output_type=PromptedOutput(Names)).run("'first' and 'last'")
    assert made.output == Names(first="a first", last="a last")


async def test_pictures(model: Any) -> None:
    """As bytes."""
    picture = BinaryContent(base64.b64decode(PIXEL.split(",")[1]), media_type="image/png")
    assert (await Agent(model).run(["What?", picture])).output == "You said: What? I see image/png."


async def test_thinking(model: Any) -> None:
    """Is a part of its own."""
    made = await Agent(model).run("think, then reply with exactly: done")
    kinds = [part.part_kind for part in made.all_messages()[-1].parts]
    assert (kinds, made.output) == (["thinking", "text"], "done")


@pytest.mark.parametrize("status", [400, 429, 500])
async def test_errors(model: Any, status: int) -> None:
    """With their status."""
    model.client.max_retries = 0
    with pytest.raises(ModelHTTPError) as caught:
        await Agent(model).run(f"status={status}")
    assert caught.value.status_code == {500: 502}.get(status, status)


@pytest.mark.parametrize("order", ["break=3", "trouble=3"])
async def test_a_failure_in_a_stream(model: Any, order: str) -> None:
    """Is raised."""

    async def read() -> None:
        async with Agent(model).run_stream(f"{order} reply with exactly: a b c d") as made:
            [text async for text in made.stream_text(delta=True, debounce_by=None)]

    with pytest.raises(Exception, match="flew away" if order == "trouble=3" else "") as caught:
        await read()
    assert not isinstance(caught.value, AssertionError)
