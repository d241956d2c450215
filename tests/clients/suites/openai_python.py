"""OpenAI's own client for Python: 1.x, 2.x and 3.x alike."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
import pytest
from pydantic import BaseModel
from shared import KEY, MODEL, PIXEL, URL, WEATHER, user, wait_until


class Person(BaseModel):
    """What is parsed."""

    name: str
    age: int


@pytest.fixture
def client() -> Iterator[openai.OpenAI]:
    """The client."""
    with openai.OpenAI(base_url=URL, api_key=KEY, max_retries=0) as made:
        yield made


@pytest.fixture
async def aclient() -> AsyncIterator[openai.AsyncOpenAI]:
    """The async client."""
    async with openai.AsyncOpenAI(base_url=URL, api_key=KEY, max_retries=0) as made:
        yield made


def say(text: Any, **fields: Any) -> Any:
    """A request."""
    return {"model": MODEL, "messages": [user(text)], **fields}


def test_whole(client: openai.OpenAI) -> None:
    """Text, finish reason, the backend's own count."""
    made = client.chat.completions.create(**say("Reply with exactly: Hello there"))
    assert (made.choices[0].message.content, made.choices[0].finish_reason) == ("Hello there", "stop")
    assert made.usage is not None
    assert (made.usage.prompt_tokens, made.usage.completion_tokens, made.usage.total_tokens) == (5, 2, 7)
    assert made.object == "chat.completion"
    assert made._request_id


async def test_whole_async(aclient: openai.AsyncOpenAI) -> None:
    """The same."""
    made = await aclient.chat.completions.create(**say("Reply with exactly: Hello there"))
    assert made.choices[0].message.content == "Hello there"


def test_system_and_history(client: openai.OpenAI) -> None:
    """Roles of all kinds, contents as text and as parts."""
    messages: list[Any] = [
        {"role": "developer", "content": "Be brief."},
        {"role": "system", "content": [{"type": "text", "text": "Be kind."}]},
        user("hi"),
        {"role": "assistant", "content": "hello"},
        user([{"type": "text", "text": "Reply with "}, {"type": "text", "text": "exactly 'a b'"}]),
    ]
    made = client.chat.completions.create(model=MODEL, messages=messages)
    assert made.choices[0].message.content == "a b"


def test_stream(client: openai.OpenAI) -> None:
    """Chunk by chunk, no usage that was not asked for."""
    chunks = list(client.chat.completions.create(**say("Reply with exactly: one two three", stream=True)))
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["", "one", " two", " three", None]
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * 4 + ["stop"]
    assert {chunk.usage for chunk in chunks} == {None}
    assert len({chunk.id for chunk in chunks}) == 1


async def test_stream_async(aclient: openai.AsyncOpenAI) -> None:
    """The same."""
    made = await aclient.chat.completions.create(**say("Reply with exactly: one two three", stream=True))
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in made]) == "one two three"


def test_usage_in_a_stream(client: openai.OpenAI) -> None:
    """In a last chunk of its own."""
    asked = say("Reply with exactly: one two", stream=True, stream_options={"include_usage": True})
    *others, last = list(client.chat.completions.create(**asked))
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.total_tokens == 7
    assert {chunk.usage for chunk in others} == {None}


def test_length(client: openai.OpenAI) -> None:
    """By either name."""
    for name in ("max_tokens", "max_completion_tokens"):
        made = client.chat.completions.create(**say("Reply with exactly: one two three", **{name: 2}))
        assert (made.choices[0].message.content, made.choices[0].finish_reason) == ("one two", "length")


def test_stop_and_choices(client: openai.OpenAI) -> None:
    """Stop strings, and several choices."""
    made = client.chat.completions.create(**say("Reply with exactly: one two three", stop=[" three"], n=2))
    assert [choice.message.content for choice in made.choices] == ["one two", "one two"]
    assert [choice.index for choice in made.choices] == [0, 1]


def test_tools_round_trip(client: openai.OpenAI) -> None:
    """A call, its result, the answer."""
    messages: list[Any] = [user("Weather in 'Rome'?")]
    first = client.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER]).choices[0]  # type: ignore
    assert first.finish_reason == "tool_calls"
    (call,) = first.message.tool_calls or []
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Rome"})
    messages += [first.message, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    second = client.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER]).choices[0]  # type: ignore
    assert (second.message.content, second.finish_reason) == ("It came to: sunny", "stop")


def test_parallel_tools(client: openai.OpenAI) -> None:
    """Two calls, or one where only one is wanted."""
    asked = say("Weather in both 'Rome' and 'Oslo'?", tools=[WEATHER])
    made = client.chat.completions.create(**asked).choices[0].message
    calls = made.tool_calls or []
    assert [json.loads(call.function.arguments) for call in calls] == [{"city": "Rome"}, {"city": "Oslo"}]
    assert len({call.id for call in calls}) == 2
    results = [{"role": "tool", "tool_call_id": call.id, "content": f"{at}"} for at, call in enumerate(calls)]
    again = client.chat.completions.create(**{**asked, "messages": [*asked["messages"], made, *results]})
    assert again.choices[0].message.content == "It came to: 0; 1"
    one = client.chat.completions.create(**asked, parallel_tool_calls=False)
    assert len(one.choices[0].message.tool_calls or []) == 1


def test_streamed_tools(client: openai.OpenAI) -> None:
    """Pieces that the client's helper puts together."""
    asked = say("Weather in both 'Rome' and 'Oslo'?", tools=[WEATHER])
    with client.chat.completions.stream(**asked) as stream:
        kinds = {event.type for event in stream}
        made = stream.get_final_completion().choices[0]
    assert "tool_calls.function.arguments.delta" in kinds
    assert made.finish_reason == "tool_calls"
    calls = made.message.tool_calls or []
    assert [json.loads(call.function.arguments) for call in calls] == [{"city": "Rome"}, {"city": "Oslo"}]
    pieces = [chunk.choices[0].delta.tool_calls for chunk in client.chat.completions.create(**asked, stream=True)]
    assert [each[0].index for each in pieces if each] == sorted(each[0].index for each in pieces if each)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_time"}}])
def test_a_choice_of_tools(client: openai.OpenAI, choice: Any) -> None:
    """Any, and one by name."""
    time = {"type": "function", "function": {"name": "get_time"}}
    made = client.chat.completions.create(**say("Hello", tools=[WEATHER, time], tool_choice=choice))
    (call,) = made.choices[0].message.tool_calls or []
    assert call.function.name == ("get_weather" if choice == "required" else "get_time")


def test_no_tools(client: openai.OpenAI) -> None:
    """None of those given."""
    made = client.chat.completions.create(**say("Hello", tools=[WEATHER], tool_choice="none"))
    assert (made.choices[0].message.tool_calls, made.choices[0].finish_reason) == (None, "stop")


def test_structured_output(client: openai.OpenAI) -> None:
    """Parsed by the client, whole and streamed."""
    asked = say("I am 'Ada', age=36", response_format=Person)
    parse = getattr(client.chat.completions, "parse", None) or client.beta.chat.completions.parse
    assert parse(**asked).choices[0].message.parsed == Person(name="Ada", age=36)
    with client.chat.completions.stream(**asked) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == Person(name="Ada", age=36)


def test_json_object(client: openai.OpenAI) -> None:
    """The older kind."""
    asked = say("JSON with 'a' and 'b'", response_format={"type": "json_object"})
    text = client.chat.completions.create(**asked).choices[0].message.content
    assert json.loads(text or "") == {"a": "a a", "b": "a b"}


def test_parsed_tools(client: openai.OpenAI) -> None:
    """Strict tools of a model."""
    asked = say("I am 'Ada', age=36", tools=[openai.pydantic_function_tool(Person)])
    parse = getattr(client.chat.completions, "parse", None) or client.beta.chat.completions.parse
    (call,) = parse(**asked).choices[0].message.tool_calls or []
    assert call.function.parsed_arguments == Person(name="Ada", age=36)


def test_reasoning(client: openai.OpenAI) -> None:
    """In the field that others use too."""
    asked = say("think, then reply with exactly: done")
    made: Any = client.chat.completions.create(**asked).choices[0].message
    assert (made.reasoning_content, made.content) == ("Let me see.", "done")
    deltas: list[Any] = [chunk.choices[0].delta for chunk in client.chat.completions.create(**asked, stream=True)]
    assert "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas) == "Let me see."


def test_images(client: openai.OpenAI) -> None:
    """In a part of a message."""
    parts = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}}]
    made = client.chat.completions.create(**say(parts))
    assert made.choices[0].message.content == "You said: What? I see image/png."


@pytest.mark.parametrize("encoding", [None, "float", "base64"])
def test_embeddings(client: openai.OpenAI, encoding: Any) -> None:
    """However they are asked for."""
    more: dict[str, Any] = {"encoding_format": encoding} if encoding else {}
    made = client.embeddings.create(model=MODEL, input=["one", "two"], dimensions=4, **more)
    if encoding != "base64":
        assert [len(row.embedding) for row in made.data] == [4, 4]
        assert [sum(row.embedding) for row in made.data] == [7 / 64, 7 / 64]
    assert [row.index for row in made.data] == [0, 1]
    assert made.usage.prompt_tokens == 2


def test_token_embeddings(client: openai.OpenAI) -> None:
    """Of token ids."""
    assert len(client.embeddings.create(model=MODEL, input=[[1, 2], [3]]).data) == 2  # type: ignore


def test_completions(client: openai.OpenAI) -> None:
    """Whole and streamed."""
    asked: Any = {"model": MODEL, "prompt": "say exactly: one two three", "max_tokens": 2}
    made = client.completions.create(**asked).choices[0]
    assert (made.text, made.finish_reason) == ("one two", "length")
    assert "".join(each.choices[0].text for each in client.completions.create(**asked, stream=True)) == "one two"


def test_models(client: openai.OpenAI) -> None:
    """All, and one with a slash in its name."""
    assert [model.id for model in client.models.list()] == [MODEL, "grey/parrot"]
    assert client.models.retrieve("grey/parrot").id == "grey/parrot"


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("fields", "kind", "code"),
    [
        ({"model": "nobody"}, openai.NotFoundError, "model_not_found"),
        ({"temperature": 9}, openai.BadRequestError, None),
        ({"messages": []}, openai.BadRequestError, None),
        ({"messages": [user("status=400")]}, openai.BadRequestError, None),
        ({"messages": [user("status=429 wait=7")]}, openai.RateLimitError, None),
        ({"messages": [user("status=500")]}, openai.InternalServerError, None),
        ({"messages": [user("status=401")]}, openai.InternalServerError, "upstream_auth_error"),
    ],
)
def test_errors(client: openai.OpenAI, fields: Any, kind: Any, code: str | None, streams: bool) -> None:
    """Each with its exception."""
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(**{**say("hi"), "stream": streams, **fields})
    assert type(caught.value) is kind
    assert code is None or caught.value.code == code
    assert caught.value.request_id
    if kind is openai.RateLimitError:
        assert float(caught.value.response.headers["retry-after"]) == 7
        assert "trouble 429" in str(caught.value)


@pytest.mark.parametrize("status", [429, 503])
def test_a_retry(client: openai.OpenAI, status: int) -> None:
    """By the client, after what it is told to wait."""
    text = f"status={status} times=1 wait=0.1 key={uuid.uuid4()} Reply with exactly: again"
    again = client.with_options(max_retries=1)
    assert again.chat.completions.create(**say(text)).choices[0].message.content == "again"


@pytest.mark.parametrize("order", ["break=3", "trouble=3"])
def test_a_failure_in_a_stream(client: openai.OpenAI, order: str) -> None:
    """Is raised, after the text before it."""
    texts: list[str] = []

    def read() -> None:
        for chunk in client.chat.completions.create(**say(f"{order} Reply with exactly: a b c d", stream=True)):
            texts.append(chunk.choices[0].delta.content or "")

    with pytest.raises(openai.APIError) as caught:
        read()
    assert "".join(texts) == "a b"
    assert ("flew away" in str(caught.value)) == (order == "trouble=3")


async def test_cancellation(aclient: openai.AsyncOpenAI) -> None:
    """Whole and stream: the backend is left when the client leaves."""
    key = uuid.uuid4().hex
    asking = asyncio.create_task(aclient.chat.completions.create(**say(f"forever={key}")))
    await asyncio.to_thread(wait_until, "begun", key)
    asking.cancel()
    await asyncio.to_thread(wait_until, "left", key)
    key = uuid.uuid4().hex
    stream = await aclient.chat.completions.create(**say(f"forever={key}", stream=True))
    async for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    await stream.close()
    await asyncio.to_thread(wait_until, "left", key)


def test_the_raw_response(client: openai.OpenAI) -> None:
    """Headers."""
    raw = client.chat.completions.with_raw_response.create(**say("hi"))
    assert raw.headers["x-request-id"]
    assert raw.parse().choices[0].message.content == "You said: hi"


def ask(text: Any, **fields: Any) -> Any:
    """A request of the Responses API."""
    return {"model": MODEL, "input": text, **fields}


FUNCTION: Any = {"type": "function", "strict": True, **WEATHER["function"]}


def test_responses_whole(client: openai.OpenAI) -> None:
    """Text and usage."""
    made = client.responses.create(**ask("Reply with exactly: Hello there", instructions="Be brief."))
    assert (made.output_text, made.status) == ("Hello there", "completed")
    assert made.usage is not None
    assert (made.usage.input_tokens, made.usage.output_tokens, made.usage.total_tokens) == (7, 2, 9)


def test_responses_stream(client: openai.OpenAI) -> None:
    """Events in their order."""
    events: list[Any] = list(client.responses.create(**ask("Reply with exactly: one two"), stream=True))
    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(10))
    assert events[-1].response.output_text == "one two"
    with client.responses.stream(**ask("Reply with exactly: one two")) as stream:
        assert stream.get_final_response().output_text == "one two"


def test_responses_length(client: openai.OpenAI) -> None:
    """Is incomplete."""
    made = client.responses.create(**ask("Reply with exactly: a b c d", max_output_tokens=2))
    assert (made.status, made.output_text) == ("incomplete", "a b")
    assert made.incomplete_details is not None
    assert made.incomplete_details.reason == "max_output_tokens"


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
def test_responses_tools(client: openai.OpenAI, streams: bool) -> None:
    """Two calls, their results, the answer."""
    asked = ask([user("Weather in both 'Rome' and 'Oslo'?")], tools=[FUNCTION])

    def answer(asked: Any) -> Any:
        if not streams:
            return client.responses.create(**asked)
        with client.responses.stream(**asked) as stream:
            return stream.get_final_response()

    calls = [item for item in answer(asked).output if item.type == "function_call"]
    assert [json.loads(call.arguments) for call in calls] == [{"city": "Rome"}, {"city": "Oslo"}]
    results = [
        {"type": "function_call_output", "call_id": call.call_id, "output": str(at)} for at, call in enumerate(calls)
    ]
    said = [call.model_dump(exclude={"parsed_arguments"}, exclude_none=True) for call in calls]
    assert answer({**asked, "input": [*asked["input"], *said, *results]}).output_text == "It came to: 0; 1"


def test_responses_that_go_on(client: openai.OpenAI) -> None:
    """By the id of the one before, which can be read and deleted."""
    first = client.responses.create(**ask("Weather in 'Rome'?", tools=[FUNCTION]))
    call: Any = first.output[-1]
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    second = client.responses.create(**ask([result], previous_response_id=first.id))
    assert second.output_text == "It came to: sunny"
    assert client.responses.retrieve(second.id).output_text == "It came to: sunny"
    assert [item.type for item in client.responses.input_items.list(first.id)] == ["message"]
    client.responses.delete(second.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(second.id)


def test_responses_structured(client: openai.OpenAI) -> None:
    """Parsed by the client."""
    asked = ask("I am 'Ada', age=36", text_format=Person)
    assert client.responses.parse(**asked).output_parsed == Person(name="Ada", age=36)
    with client.responses.stream(**asked) as stream:
        assert stream.get_final_response().output_parsed == Person(name="Ada", age=36)


def test_responses_images(client: openai.OpenAI) -> None:
    """In a part of the input."""
    parts = [{"type": "input_text", "text": "What?"}, {"type": "input_image", "image_url": PIXEL, "detail": "auto"}]
    assert client.responses.create(**ask([user(parts)])).output_text == "You said: What? I see image/png."


def test_responses_reasoning(client: openai.OpenAI) -> None:
    """An item of its own, before the message."""
    made = client.responses.create(**ask("think, then reply with exactly: done"))
    assert [item.type for item in made.output] == ["reasoning", "message"]


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"model": "nobody"}, openai.NotFoundError),
        ({"temperature": 9}, openai.BadRequestError),
        ({"input": "status=429"}, openai.RateLimitError),
        ({"previous_response_id": "resp_none"}, openai.BadRequestError),
    ],
)
def test_responses_errors(client: openai.OpenAI, fields: Any, kind: Any) -> None:
    """Each with its exception."""
    with pytest.raises(openai.APIStatusError) as caught:
        client.responses.create(**{**ask("hi"), **fields})
    assert type(caught.value) in (kind, *([openai.NotFoundError] if "previous_response_id" in fields else []))


@pytest.mark.parametrize("order", ["break=3", "trouble=3"])
def test_responses_failure_in_a_stream(client: openai.OpenAI, order: str) -> None:
    """Is told by an event, and raised."""
    kinds: list[str] = []

    def read() -> None:
        for event in client.responses.create(**ask(f"{order} Reply with exactly: a b c d"), stream=True):
            kinds.append(event.type)

    with pytest.raises(openai.APIError):
        read()
    assert "response.output_text.delta" in kinds
    assert kinds[-1] == "response.failed"
