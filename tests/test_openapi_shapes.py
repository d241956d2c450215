"""Promises of the objects in the OpenAPI document: real answers fit them, and so do the messages that are read."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest
from support import chat, play

from oaiproxy.endpoints.conversation import read_messages
from oaiproxy.endpoints.doors import DOORS
from oaiproxy.errors import ClientError
from oaiproxy.openapi_shapes import ANSWERS, INPUT_SHAPES, SCHEMAS, STREAMED

MAPPING = chat(response="{text: t}", stream="{request: {path: /s}, format: ndjson, text: t, done: d}")
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
MESSAGES: list[Any] = [
    {"role": "user", "content": "hi"},
    {"role": "user"},
    {"role": "user", "content": 5},
    {"role": "nobody", "content": "hi"},
    {"role": "developer", "content": [{"type": "text", "text": "hi"}]},
    {"role": "user", "content": [{"type": "text"}]},
    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,", "detail": "low"}}]},
    {"role": "user", "content": [{"type": "image_url", "image_url": "data:,"}]},
    {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}]},
    {"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]},
    {"role": "user", "content": [{"type": "video"}]},
    {"role": "assistant"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "assistant", "tool_calls": [{"id": "c"}]},
    {"role": "assistant", "tool_calls": [{"type": "custom", "custom": {"name": "n", "input": "x"}}]},
    {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
    {"role": "tool", "tool_call_id": "c", "content": "done"},
    {"role": "tool", "content": "done"},
    {"role": "function", "name": "f", "content": None},
    {"role": "function", "content": "done"},
]


def schema(name: str) -> dict[str, Any]:
    """A schema of the document that stands alone."""
    return {"$ref": f"#/components/schemas/{name}", "components": {"schemas": SCHEMAS}}


@pytest.mark.parametrize("message", MESSAGES, ids=repr)
def test_a_message_fits_if_it_is_read(message: Any) -> None:
    """The same messages as the endpoint takes."""
    try:
        read_messages([message])
        passes = True
    except ClientError:
        passes = False
    assert jsonschema_rs.is_valid(schema("Message"), message) is passes


def test_answers_and_chunks_fit() -> None:
    """Of chat and completions."""
    for endpoint, whole, chunk in (
        ("chat", "ChatCompletion", "ChatCompletionChunk"),
        ("completions", "Completion", "Completion"),
    ):
        jsonschema_rs.validate(schema(whole), play(MAPPING, '{"t": "hi"}', endpoint=endpoint).answer)
        streamed = play(MAPPING, '{"t": "hi"}\n{"d": true}\n', endpoint=endpoint, stream=True)
        assert streamed.chunks
        for each in streamed.chunks:
            jsonschema_rs.validate(schema(chunk), each)


def test_tables_name_doors() -> None:
    """Nothing is described that there is not."""
    for table in (ANSWERS, STREAMED, INPUT_SHAPES):
        assert table.keys() <= DOORS.keys()
