"""Promises of the search for tool calls: whole ones, and their pieces in a stream."""

from __future__ import annotations

from typing import Any

import pytest

from oaiproxy.guesses_tools import stream_calls, whole_calls


def piece(arguments: str, **more: Any) -> Any:
    """A frame with one piece."""
    return {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": arguments, **more}}]}}]}


def test_a_whole_answer() -> None:
    """The list, with arguments as data; as text where they are no JSON."""
    body = {
        "message": {
            "tool_calls": [{"function": {"name": "f", "arguments": '{"a": 1}'}}, {"name": "g", "arguments": "x"}]
        }
    }
    assert whole_calls(body) == (
        ("message", "tool_calls"),
        [{"name": "f", "arguments": {"a": 1}}, {"name": "g", "arguments": "x"}],
    )
    assert whole_calls({"tool_calls": [{"id": "c"}]}) is None


def test_pieces_in_a_stream() -> None:
    """By their index; the arguments are put together."""
    pieces, calls = stream_calls([{"choices": []}, piece("", name="f"), piece('{"a":'), piece(" 1}", name="")])
    assert pieces == {
        "each": "choices[0].delta.tool_calls",
        "index": "index",
        "id": "id",
        "name": "function.name",
        "arguments": "function.arguments",
    }
    assert calls == [{"name": "f", "arguments": {"a": 1}}]


def test_whole_calls_in_a_stream() -> None:
    """Where they have no index, and data as arguments."""
    frame = {"message": {"tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}}
    assert stream_calls([frame, {"done": True}]) == (
        {"whole": "message.tool_calls"},
        [{"name": "f", "arguments": {"a": 1}}],
    )


@pytest.mark.parametrize(
    "bodies",
    [
        [{"tool_calls": [{"function": {"arguments": "{"}}]}],
        [{"tool_calls": [{"index": 0, "arguments": "{}"}]}],
        [{"tool_calls": [{"index": 0, "name": "f", "arguments": {"a": 1}}]}, {"x": {"tool_calls": [{"index": 0}]}}],
        [{"tool_calls": [{"index": 0, "name": "f", "arguments": 1}]}],
        [{"tool_calls": []}, [], "x"],
    ],
)
def test_what_is_not_understood(bodies: Any) -> None:
    """Nothing is made of it."""
    assert stream_calls(bodies) == ({}, [])
