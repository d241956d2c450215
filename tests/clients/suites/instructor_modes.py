"""Instructor: typed answers by each of its modes that OpenAI's client has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import instructor
import openai
import pytest
from pydantic import BaseModel
from shared import KEY, MODEL, URL, user


class Person(BaseModel):
    """What is asked for."""

    name: str
    age: int


ADA = {"name": "Ada", "age": 36}
ASK: Any = {"model": MODEL, "messages": [user("I am 'Ada', age=36")], "response_model": Person}
MODES = [
    instructor.Mode.TOOLS,
    instructor.Mode.TOOLS_STRICT,
    instructor.Mode.JSON_SCHEMA,
    instructor.Mode.RESPONSES_TOOLS,
]


@pytest.fixture(params=MODES, ids=lambda mode: mode.name)
def client(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A client of each mode."""
    with openai.OpenAI(base_url=URL, api_key=KEY, max_retries=0) as plain:
        yield instructor.from_openai(plain, mode=request.param)


def test_one(client: Any) -> None:
    """An object, with the completion that it came from."""
    assert client.chat.completions.create(**ASK).model_dump() == ADA
    made, completion = client.chat.completions.create_with_completion(**ASK)
    assert made.model_dump() == ADA
    assert completion.model == MODEL


def test_partial(client: Any) -> None:
    """While it comes."""
    if "RESPONSES" in client.mode.name:
        pytest.skip("instructor streams no responses")
    made = list(client.chat.completions.create_partial(**ASK))
    assert (made[-1].name, made[-1].age) == ("Ada", 36)
    assert len(made) > 1


def test_several(client: Any) -> None:
    """As a list, streamed."""
    if "RESPONSES" in client.mode.name:
        pytest.skip("instructor streams no responses")
    assert [each.model_dump() for each in client.chat.completions.create_iterable(**ASK)] == [ADA]


async def test_async() -> None:
    """The async client."""
    async with openai.AsyncOpenAI(base_url=URL, api_key=KEY, max_retries=0) as plain:
        made = await instructor.from_openai(plain).chat.completions.create(**ASK)
    assert made.model_dump() == ADA


def test_parallel_tools() -> None:
    """Several calls in one answer."""
    from collections.abc import Iterable

    class Rain(BaseModel):
        """How much rain."""

        place: str

    class Wind(BaseModel):
        """How much wind."""

        place: str

    with openai.OpenAI(base_url=URL, api_key=KEY, max_retries=0) as plain:
        client = instructor.from_openai(plain, mode=instructor.Mode.PARALLEL_TOOLS)
        asked: Any = {**ASK, "messages": [user("Rain and Wind in 'Rome'")], "response_model": Iterable[Rain | Wind]}
        assert list(client.chat.completions.create(**asked)) == [Rain(place="Rome"), Wind(place="Rome")]


def test_json_by_words() -> None:
    """The mode that asks by words and `json_object`: the answer is JSON, and what does not fit is asked for again."""
    with openai.OpenAI(base_url=URL, api_key=KEY, max_retries=0) as plain:
        client = instructor.from_openai(plain, mode=instructor.Mode.JSON)

        class Open(BaseModel):
            """Whatever comes."""

            model_config = {"extra": "allow"}

        asked: Any = {**ASK, "messages": [user("'a' and 'b'")], "response_model": Open}
        assert client.chat.completions.create(**asked).model_dump() == {"a": "a a", "b": "a b"}


def test_errors() -> None:
    """Come through."""
    with openai.OpenAI(base_url=URL, api_key=KEY, max_retries=0) as plain:
        client = instructor.from_openai(plain)
        with pytest.raises(Exception, match="trouble 400 as ordered"):
            client.chat.completions.create(**{**ASK, "messages": [user("status=400")]}, max_retries=0)
