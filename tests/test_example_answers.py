"""An example's answers become the bytes that a backend would send."""

from __future__ import annotations

import pytest
from support import chat

from oaiproxy.errors import ClientError
from oaiproxy.example_answers import FrameError, answer_bytes, answer_headers, answer_of, parse_example, rounds
from oaiproxy.mapping import Example, Mapping

ASK = "request: {messages: [{role: user, content: hi}], stream: true}"
FILES = {"a.json": '{"t":"\u00e9"}', "a.sse": "data: {}\n\n", "x": "data: {}\n\n"}


def given(backend: str, stream: str = "{format: sse, text: t}") -> tuple[Mapping, Example]:
    """A mapping, and its one example."""
    more = f"examples: [{{{ASK}, backend: {backend}}}]"
    mapping = chat(response="{text: t}", stream=stream, more=more)
    return mapping, mapping.examples[0]


BYTES = {
    "{json: {t: é, n: 1.0}}": '{"t":"é","n":1.0}',
    "{text: é}": "é",
    "{stream: 'data: é'}": "data: é",
    "{stream: [{data: {t: a}}, {event: b, data: c}]}": 'data: {"t":"a"}\n\nevent: b\ndata: c\n\n',
    "{file: a.json}": FILES["a.json"],
    "{status: 500, text: ''}": "",
}


@pytest.mark.parametrize(("backend", "wanted"), BYTES.items())
def test_the_answers_bytes_are_those_of_the_example(backend: str, wanted: str) -> None:
    """JSON is compact, text is UTF-8, frames are written as the stream's format has them."""
    assert answer_bytes(*given(backend), FILES.__getitem__) == wanted.encode()


TYPES = {
    "{json: {}}": "application/json",
    "{text: a}": "text/plain; charset=utf-8",
    "{stream: a}": "text/event-stream",
    "{file: a.json}": "application/json",
    "{file: a.sse}": "text/event-stream",
    "{file: x}": "text/event-stream",
    "{json: {}, headers: {Content-Type: text/x}}": "text/x",
}


@pytest.mark.parametrize(("backend", "wanted"), TYPES.items())
def test_the_content_type_is_that_of_the_answer(backend: str, wanted: str) -> None:
    """A file's by its ending, unless the example names one."""
    assert answer_headers(*given(backend)) == {"content-type": wanted}


def test_an_answer_is_whole() -> None:
    """Its status is 200 where the example says nothing."""
    assert answer_of(*given("{json: {}}"), FILES.__getitem__).status == 200
    assert answer_of(*given("{status: 404, text: no}"), FILES.__getitem__).status == 404


def test_frames_that_the_format_cannot_carry() -> None:
    """They are never sent as something else."""
    with pytest.raises(FrameError, match="have no `event`"):
        answer_bytes(*given("{stream: [{event: a}]}", "{format: ndjson, text: t}"), FILES.__getitem__)


def test_several_answers_are_rounds_of_their_own() -> None:
    """One is one."""
    one, several = given("{json: {}}")[1], given("[{json: {}}, {text: a}]")[1]
    assert rounds(one) == [one]
    assert [each.backend for each in rounds(several)] == [{"json": {}}, {"text": "a"}]


def test_a_request_without_a_model_names_the_mappings_own() -> None:
    """And is read as any client's is."""
    mapping, example = given("{json: {}}")
    assert parse_example(mapping, example).model == "m"
    example.request["messages"] = 5
    with pytest.raises(ClientError):
        parse_example(mapping, example)
