"""Promises of guessing in streams: the framing from the bytes, the text from what varies, the end from what changes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from oaiproxy.guesses_stream import Streamed, framing_of, streamed


def lines(*bodies: Any) -> bytes:
    return "".join(json.dumps(body) + "\n" for body in bodies).encode()


def events(*bodies: Any) -> bytes:
    return "".join(f"data: {body if isinstance(body, str) else json.dumps(body)}\n\n" for body in bodies).encode()


@pytest.mark.parametrize(
    ("data", "media_type", "framing"),
    [
        (b"data: x\n\n", "", "sse"),
        (b": hi\n\nevent: a\ndata: x\n\n", "", "sse"),
        (b"message:\ndata: x\n\n", "", "sse"),
        (b'{"a": "data:"}\n{"a": 2}\n', "", "ndjson"),
        (b'{"a": 1}{"a": 2}', "", "json-concat"),
        (b'{\n"a": 1}\n{\n"a": 2}', "", "json-concat"),
        (b'[{"a": 1},\n{"a": 2}]', "", "json-array"),
        (b"Hello there.", "", "text"),
        (b"\0\0\0\x10", "", "aws-eventstream"),
        (b"anything", "text/event-stream", "sse"),
    ],
)
def test_the_framing_is_found(data: bytes, media_type: str, framing: str) -> None:
    """In the bytes, where no media type tells it."""
    assert framing_of(data, media_type) == framing


def keys(made: Streamed) -> dict[str, Any]:
    assert not made.missing
    return made.keys


def test_a_flag_at_the_end() -> None:
    """And text in pieces."""
    made = streamed(
        lines({"t": "Hel", "last": False}, {"t": "lo", "last": False}, {"t": "", "last": True, "eval_count": 2})
    )
    assert keys(made) == {"format": "ndjson", "text": "t", "usage": {"completion": "eval_count"}, "done": "last"}
    assert made.replies == {"text": "Hello", "usage": {"completion_tokens": 2}}


def test_cumulative_text_and_a_reason_at_the_end() -> None:
    """A word that is said before the end is "not yet"."""
    made = streamed(events({"t": "Hel", "finish_reason": "null"}, {"t": "Hello", "finish_reason": "stop"}))
    assert keys(made) == {
        "format": "sse",
        "text_mode": "cumulative",
        "text": "t",
        "finish_reason": "finish_reason",
        "done": "finish_reason && finish_reason != 'null'",
    }
    assert made.finish_reasons == {"null": None}
    assert made.replies == {"text": "Hello", "finish_reason": "stop"}


def test_a_last_frame_that_repeats_the_whole() -> None:
    """It is for clients that got none before."""
    made = streamed(events({"t": "Hel", "done": False}, {"t": "lo", "done": False}, {"t": "Hello", "done": True}))
    assert keys(made)["events"] == [
        {"when": "done != `true`", "text": "t"},
        {"when": "done", "fallback": True, "text": "t", "done": "done"},
    ]
    assert made.replies["text"] == "Hello"


def test_a_kind_that_repeats_the_whole() -> None:
    """So too where kinds are told apart."""
    made = streamed(events({"type": "d", "t": "Hel"}, {"type": "d", "t": "lo"}, {"type": "end", "all": {"t": "Hello"}}))
    assert keys(made)["events"] == {
        "d": {"text": "t"},
        "end": {"fallback": True, "text": "all.t", "done": "`true`"},
    }
    assert keys(made)["by"] == "type"


def test_a_marker_at_the_end() -> None:
    """Then no flag is looked for."""
    made = streamed(events({"t": "Hel"}, {"t": "lo"}, "[DONE]"))
    assert keys(made) == {"format": "sse", "end": "[DONE]", "text": "t"}


def test_payloads_that_are_text() -> None:
    """With names, of which one is the end, and without."""
    made = streamed(b"event: output\ndata: Hel\n\nevent: output\ndata: lo\n\nevent: done\ndata: {}\n\n")
    assert keys(made) == {
        "format": "sse",
        "data": "text",
        "events": {"output": {"text": "@"}, "done": {"done": "'yes'"}},
    }
    assert made.replies == {"text": "Hello"}
    made = streamed(b"data: Hel\n\ndata: lo\n\ndata: [DONE]\n\n")
    assert keys(made) == {"format": "sse", "end": "[DONE]", "data": "text", "text": "@"}
    made = streamed(b"Hello there.")
    assert keys(made) == {"format": "text", "text": "@"}


def test_pieces_that_look_like_no_text() -> None:
    """A number or a full stop is a part of the text as well."""
    made = streamed(lines({"plan": "It is"}, {"plan": " 42"}, {"plan": "."}, {"plan": "17"}))
    assert made.replies["text"] == "It is 42.17"


def test_a_state_at_the_end() -> None:
    """A guess, and said to be one."""
    made = streamed(lines({"t": "Hel", "status": "RUNS"}, {"t": "lo", "status": "OVER"}))
    assert keys(made)["done"] == "status == 'OVER'"
    assert made.comments["done"] == "guessed: it differs in the last frame alone"


def test_no_end_at_all() -> None:
    """The body's end is the end."""
    made = streamed(lines({"t": "Hel"}, {"t": "lo"}))
    assert keys(made) == {"format": "ndjson", "text": "t"}
    assert made.comments


@pytest.mark.parametrize("data", [lines({"n": 1}, {"n": 2}), b'{"t": "Hel', b""])
def test_no_text(data: bytes) -> None:
    """It is said, not invented."""
    assert "text" not in streamed(data, "application/json").keys or not streamed(data).replies.get("text")
