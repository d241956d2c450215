"""Promises of the answers that a document describes: its examples as they are, else frames and bodies to learn from."""

from __future__ import annotations

from typing import Any

import pytest
from documents import document, shown, text_of

from oaiproxy import jsontext
from oaiproxy.apioperations import choose
from oaiproxy.apireplies import PIECES, Replies, replies
from oaiproxy.apispecs import parse_spec
from oaiproxy.generatedtext import SENTENCE

TEXT = {"properties": {"text": {"type": "string"}}}


def found(text: str, operation: str | None = None) -> tuple[Replies, list[str]]:
    """The answers of a document's operation, and what was noted."""
    spec = parse_spec(text)
    notes: list[str] = []
    return replies(spec, choose(spec, operation), notes), notes


def answering(responses: Any) -> Replies:
    """The answers of an operation with these responses."""
    return found(shown(document(operation={"responses": responses})), "generate")[0]


def streamed(media_type: str, **content: Any) -> bytes:
    """The stream of an operation that answers so."""
    stream = answering({"200": {"content": {media_type: content}}}).stream
    assert stream is not None
    assert stream.media_type == media_type
    return stream.data


def test_the_pieces_are_the_sentence() -> None:
    """The same text, whole and as a stream."""
    assert "".join(PIECES) == SENTENCE


@pytest.mark.parametrize(
    ("responses", "status"),
    [
        (["500", "201", "200"], 200),
        (["default", "201"], 201),
        (["2XX", "404"], 200),
        (["default", "404"], 200),
        (["204"], None),
        (["404"], None),
    ],
)
def test_the_good_answer_is_taken(responses: list[str], status: int | None) -> None:
    """200 before others, `default` only alone."""
    content = {"content": {"application/json": {"schema": TEXT}}}
    answer = answering(dict.fromkeys(responses, content)).answer
    assert (answer.status if answer else None) == status


def test_an_example_stands_as_it_is() -> None:
    """Byte for byte, a stream too."""
    both, notes = found(text_of("examples-given"))
    assert both.answer is not None
    assert both.stream is not None
    assert jsontext.parse(both.answer.data)["output"] == "Paris is the capital of France."
    assert both.stream.data.startswith(b'data: {"output":"Paris is"}\n\n')
    assert both.stream.data.endswith(b"data: [DONE]\n\n")
    assert notes == []


@pytest.mark.parametrize(
    ("content", "data"),
    [
        ({"application/json": {"schema": {"type": "string"}}}, b'"Hello! I can help you with that."'),
        ({"text/plain": {"schema": {"type": "string"}}}, b"Hello! I can help you with that."),
        ({"text/plain": {}}, b"Hello! I can help you with that."),
        ({"*/*": {"schema": TEXT}}, b'{"text":"Hello! I can help you with that."}'),
        ({"application/json": {"example": '{"text": "a"}'}}, b'{"text": "a"}'),
        ({"application/json": {"example": "plain"}}, b'"plain"'),
        ({"text/plain": {"example": "a"}, "application/vnd.a+json": {"example": [1]}}, b"[1]"),
        ({"application/json": {"schema": {}}}, None),
        ({"image/png": {"schema": {"type": "string"}}}, None),
        ({}, None),
    ],
)
def test_an_answer_is_of_its_type(content: Any, data: bytes | None) -> None:
    """Nothing is made up of what the document does not describe."""
    answer = answering({"200": {"content": content}}).answer
    assert (answer.data if answer else None) == data


def test_an_answer_without_a_text_says_so() -> None:
    """It is a person who knows then."""
    schema = {"properties": {"score": {"type": "number"}}}
    assert found(shown(document(answer=schema)), "generate")[1] == [
        "no text of the answer's schema looks like the generated one: say which with `response.text`"
    ]


def test_a_stream_of_events_is_made() -> None:
    """The text in pieces; what ends it in the last."""
    schema = {"properties": {"text": {"type": "string"}, "done": {"type": "boolean"}}}
    assert streamed("text/event-stream", schema=schema) == (
        b'data: {"text":"Hello! ","done":false}\n\n'
        b'data: {"text":"I can help","done":false}\n\n'
        b'data: {"text":" you with that.","done":true}\n\n'
    )


def test_a_stream_of_lines_is_made() -> None:
    """An array of frames is a stream of them."""
    lines = b'{"text":"Hello! "}\n{"text":"I can help"}\n{"text":" you with that."}\n'
    assert streamed("application/x-ndjson", schema={"type": "array", "items": TEXT}) == lines
    assert streamed("application/jsonl", itemSchema=TEXT) == lines
    assert streamed("application/json-seq", itemSchema=TEXT).startswith(b'\x1e{"text":"Hello! "}\n\x1e')


def test_events_that_are_described_by_their_fields_are_made() -> None:
    """https://spec.openapis.org/oas/v3.2.0.html#server-sent-events-streams"""
    event = {
        "properties": {
            "event": {"const": "piece"},
            "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": TEXT},
        }
    }
    assert streamed("text/event-stream", itemSchema=event).startswith(b'event: piece\ndata: {"text":"Hello! "}\n\n')
    text = {"properties": {"id": {"type": "string"}, "data": {"type": "string"}}}
    assert streamed("text/event-stream", itemSchema=text).startswith(b"data: Hello! \n\n")


def test_of_kinds_of_frames_each_comes_once() -> None:
    """But for the one with the text; one that tells of a failure does not come."""
    both, _ = found(text_of("kinds-of-events"))
    assert both.stream is not None
    kinds = [jsontext.parse(line[6:])["type"] for line in both.stream.data.splitlines() if line]
    assert kinds == ["begin", "piece", "piece", "piece", "end"]
    failing = {"oneOf": [{"properties": {"type": {"const": "error"}, "text": {}}}, TEXT]}
    assert b"error" not in streamed("text/event-stream", schema=failing)


def test_examples_of_frames_are_framed() -> None:
    """A list of them is the stream."""
    assert streamed("text/event-stream", example=[{"a": 1}, {"a": 2}]) == b'data: {"a":1}\n\ndata: {"a":2}\n\n'
    assert streamed("application/x-ndjson", example={"a": 1}) == b'{"a":1}\n'


def test_an_end_that_is_described_comes() -> None:
    """Where the description has it, for a schema cannot."""
    both, _ = found(text_of("messages-header-key"))
    assert both.stream is not None
    assert both.stream.data.endswith(b"\n\ndata: [DONE]\n\n")


def test_a_stream_that_is_not_described_says_so() -> None:
    """With how to give it."""
    text = document(operation={"responses": {"200": {"content": {"text/event-stream": {}}}}})
    both, notes = found(shown(text), "generate")
    assert both.stream is None
    assert "give one with `--stream`" in notes[0]


def test_swagger_has_one_schema_for_all_types() -> None:
    """And examples by type."""
    form, _ = found(text_of("form"))
    assert form.answer is not None
    assert form.answer.data == b'{"reply":"Good morning to you."}'
