"""OpenAI's Agents SDK over chat and responses: runs, streams, tools, handoffs, typed output, failures."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import agents
import openai
import pytest
from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, function_tool
from pydantic import BaseModel
from shared import KEY, MODEL, PIXEL, URL, user

agents.set_tracing_disabled(True)
KINDS: dict[str, Any] = {"chat": OpenAIChatCompletionsModel, "responses": OpenAIResponsesModel}


class Person(BaseModel):
    """A typed answer."""

    name: str
    age: int


@pytest.fixture(params=KINDS)
async def model(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """A model of each kind."""
    async with openai.AsyncOpenAI(base_url=URL, api_key=KEY, max_retries=0) as client:
        yield KINDS[request.param](model=MODEL, openai_client=client)


@function_tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"sun in {city}"


def agent(model: Any, **more: Any) -> Any:
    """An agent."""
    return Agent(**{"name": "bird", "instructions": "Be brief.", "model": model, **more})


async def test_whole(model: Any) -> None:
    """Text and usage."""
    made = await Runner.run(agent(model), "Reply with exactly: Hello there")
    assert made.final_output == "Hello there"
    usage = made.context_wrapper.usage
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (7, 2, 9)


async def test_stream(model: Any) -> None:
    """Piece by piece."""
    made = Runner.run_streamed(agent(model), "Reply with exactly: one two three")
    texts = [
        event.data.delta
        async for event in made.stream_events()
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
    ]
    assert [text for text in texts if text] == ["one", " two", " three"]
    assert made.final_output == "one two three"


async def test_usage_in_a_stream(model: Any) -> None:
    """Where it is asked for."""
    made = Runner.run_streamed(
        agent(model, model_settings=ModelSettings(include_usage=True)), "Reply with exactly: one two three"
    )
    [event async for event in made.stream_events()]
    assert made.context_wrapper.usage.output_tokens == 3


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("words", ["Weather in 'Rome'?", "Weather in both 'Rome' and 'Oslo'?"], ids=["one", "two"])
async def test_tools(model: Any, streams: bool, words: str) -> None:
    """Called by the runner, and their results brought back."""
    wanted = "It came to: " + "; ".join(f"sun in {city}" for city in ("Rome", "Oslo") if city in words)
    made: Any
    if streams:
        made = Runner.run_streamed(agent(model, tools=[get_weather]), words)
        [event async for event in made.stream_events()]
    else:
        made = await Runner.run(agent(model, tools=[get_weather]), words)
    assert made.final_output == wanted


@pytest.mark.parametrize("choice", ["required", "get_weather"])
async def test_a_choice_of_tools(model: Any, choice: str) -> None:
    """Once: the runner resets it."""
    settings = ModelSettings(tool_choice=choice, parallel_tool_calls=False)
    made = await Runner.run(agent(model, tools=[get_weather], model_settings=settings), "Weather in 'Rome'?")
    assert made.final_output == "It came to: sun in Rome"


async def test_a_handoff(model: Any) -> None:
    """Is a tool too."""
    other = agent(model, name="owl", instructions="Be wise.")
    made = await Runner.run(agent(model, handoffs=[other]), "transfer_to_owl now")
    assert made.last_agent.name == "owl"


async def test_typed_output(model: Any) -> None:
    """By a schema."""
    made = await Runner.run(agent(model, output_type=Person), "I am 'Ada', age=36")
    assert made.final_output == Person(name="Ada", age=36)


async def test_pictures(model: Any) -> None:
    """In the input."""
    parts = [{"type": "input_text", "text": "What?"}, {"type": "input_image", "image_url": PIXEL, "detail": "auto"}]
    asked: Any = [user(parts)]
    assert (await Runner.run(agent(model), asked)).final_output == "You said: What? I see image/png."


async def test_a_second_turn(model: Any) -> None:
    """With all items of the first."""
    first = await Runner.run(agent(model, tools=[get_weather]), "think: weather in 'Rome'?")
    asked: Any = [*first.to_input_list(), user("Reply with exactly: yes")]
    assert (await Runner.run(agent(model), asked)).final_output == "yes"


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
async def test_a_conversation_that_the_proxy_keeps(streams: bool) -> None:
    """Each turn sends only what is new, after the id of the response before it."""
    async with openai.AsyncOpenAI(base_url=URL, api_key=KEY, max_retries=0) as client:
        kept = agent(OpenAIResponsesModel(model=MODEL, openai_client=client), tools=[get_weather])
        made: Any = None
        for words, wanted in (
            ("Weather in 'Rome'?", "It came to: sun in Rome"),
            ("hi 'Oslo'", "It came to: sun in Oslo"),
        ):
            how: dict[str, Any] = {"previous_response_id": made.last_response_id} if made else {}
            if streams:
                made = Runner.run_streamed(kept, words, auto_previous_response_id=True, **how)
                [event async for event in made.stream_events()]
            else:
                made = await Runner.run(kept, words, auto_previous_response_id=True, **how)
            assert made.final_output == wanted
        items = await client.responses.input_items.list(made.last_response_id)
        assert "function_call_output" in [item.type for item in items.data]


async def test_errors(model: Any) -> None:
    """As the client underneath raises them."""
    with pytest.raises(openai.RateLimitError):
        await Runner.run(agent(model), "status=429")
    with pytest.raises(openai.BadRequestError):
        await Runner.run(agent(model), "status=400")


@pytest.mark.parametrize("order", ["break=3", "trouble=3"])
async def test_a_failure_in_a_stream(model: Any, order: str) -> None:
    """Is raised, by each model in its own way."""
    made = Runner.run_streamed(agent(model), f"{order} reply with exactly: a b c d")
    words = "flew away" if order == "trouble=3" else "broke off"
    with pytest.raises((openai.APIError, agents.ModelBehaviorError), match=words):
        [event async for event in made.stream_events()]


async def test_a_model_by_its_name() -> None:
    """As most people write it: the SDK's own default is the Responses API."""
    async with openai.AsyncOpenAI(base_url=URL, api_key=KEY, max_retries=0) as client:
        agents.set_default_openai_client(client, use_for_tracing=False)
        made = await Runner.run(agent(MODEL, tools=[get_weather]), "Weather in 'Rome'?")
    assert made.final_output == "It came to: sun in Rome"
    assert str(made.last_response_id).startswith("resp_")
