"""Every mistake in the messages of a chat request is named by its path; everything that clients really send passes."""

from __future__ import annotations

from typing import Any

import pytest

from oaiproxy.endpoints.conversation import read_messages
from oaiproxy.errors import ClientError

MISSING, TYPE, VALUE = "missing_required_parameter", "invalid_type", "invalid_value"
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def part(kind: str, value: Any) -> dict[str, Any]:
    return user([{"type": kind, kind: value}])


def called(**changed: Any) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": [CALL | changed]}


MISTAKES: list[tuple[Any, str, str]] = [
    ("hi", "", TYPE),
    (None, "", TYPE),
    ({}, ".role", MISSING),
    ({"role": None}, ".role", MISSING),
    ({"role": 5, "content": "a"}, ".role", TYPE),
    ({"role": "robot", "content": "a"}, ".role", VALUE),
    ({"role": "user"}, ".content", MISSING),
    (user(None), ".content", MISSING),
    (user(5), ".content", TYPE),
    (user({}), ".content", TYPE),
    (user([5]), ".content[0]", TYPE),
    (user([{}]), ".content[0].type", MISSING),
    (user([{"type": 5}]), ".content[0].type", TYPE),
    (user([{"type": "smell"}]), ".content[0].type", VALUE),
    (user([{"type": "text"}]), ".content[0].text", MISSING),
    (part("text", 5), ".content[0].text", TYPE),
    (part("refusal", None), ".content[0].refusal", MISSING),
    (part("image_url", None), ".content[0].image_url", MISSING),
    (part("image_url", "http://x"), ".content[0].image_url", TYPE),
    (part("image_url", {}), ".content[0].image_url.url", MISSING),
    (part("image_url", {"url": 5}), ".content[0].image_url.url", TYPE),
    (part("image_url", {"url": "x", "detail": 5}), ".content[0].image_url.detail", TYPE),
    (part("input_audio", "x"), ".content[0].input_audio", TYPE),
    (part("input_audio", {"format": "wav"}), ".content[0].input_audio.data", MISSING),
    (part("input_audio", {"data": 5, "format": "wav"}), ".content[0].input_audio.data", TYPE),
    (part("input_audio", {"data": "AA"}), ".content[0].input_audio.format", MISSING),
    (part("file", []), ".content[0].file", TYPE),
    (part("file", {"file_data": 5}), ".content[0].file.file_data", TYPE),
    (part("file", {"filename": 5}), ".content[0].file.filename", TYPE),
    ({"role": "tool", "content": "a"}, ".tool_call_id", MISSING),
    ({"role": "tool", "content": "a", "tool_call_id": 5}, ".tool_call_id", TYPE),
    ({"role": "tool", "tool_call_id": "c"}, ".content", MISSING),
    ({"role": "assistant", "tool_calls": {}}, ".tool_calls", TYPE),
    ({"role": "assistant", "tool_calls": [5]}, ".tool_calls[0]", TYPE),
    (called(id=[]), ".tool_calls[0].id", TYPE),
    (called(function=None), ".tool_calls[0].function", MISSING),
    (called(function="f"), ".tool_calls[0].function", TYPE),
    (called(function={}), ".tool_calls[0].function.name", MISSING),
    (called(function={"name": 5}), ".tool_calls[0].function.name", TYPE),
    (called(function={"name": "f", "arguments": {}}), ".tool_calls[0].function.arguments", TYPE),
    (called(type="custom"), ".tool_calls[0].custom", MISSING),
    (called(type="custom", custom={"name": 5}), ".tool_calls[0].custom.name", TYPE),
    ({"role": "function", "content": "a"}, ".name", MISSING),
    ({"role": "assistant", "function_call": "f"}, ".function_call", TYPE),
    ({"role": "assistant", "function_call": {}}, ".function_call.name", MISSING),
    ({"role": "assistant", "function_call": {"name": "f", "arguments": {}}}, ".function_call.arguments", TYPE),
]


@pytest.mark.parametrize(("message", "place", "code"), MISTAKES)
def test_mistakes_are_named_by_their_path(message: Any, place: str, code: str) -> None:
    """Which message, which part, which key."""
    with pytest.raises(ClientError) as caught:
        read_messages([user("fine"), message])
    assert (caught.value.param, caught.value.code, caught.value.status) == (f"messages[1]{place}", code, 400)


def test_a_role_in_a_message_of_error_is_short() -> None:
    """What the client sent is quoted in bounds."""
    with pytest.raises(ClientError) as caught:
        read_messages([{"role": "x" * 1000, "content": ""}])
    assert len(caught.value.message) < 300


FINE: list[dict[str, Any]] = [
    {"role": "developer", "content": "a"},
    {"role": "system", "content": [{"type": "text", "text": "a"}]},
    user(""),
    user([]),
    {"role": "assistant", "content": None},
    {"role": "assistant"},
    {"role": "assistant", "content": "", "tool_calls": None},
    {"role": "assistant", "content": "a", "refusal": None, "audio": None, "function_call": None, "annotations": []},
    called(id=None),
    called(function={"name": "f", "arguments": None}),
    {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "a"}]},
    called(type="custom", function=None, custom={"name": "f", "input": "x"}),
    user("a") | {"tool_calls": 5, "anything": {}},
]


@pytest.mark.parametrize("message", FINE)
def test_what_clients_send_passes(message: dict[str, Any]) -> None:
    """Answers sent back word for word, nulls and unknown keys too."""
    assert read_messages([message]) == [message]
