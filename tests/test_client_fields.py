"""Promises of client fields: what templates call a thing leads to what the client sent."""

from __future__ import annotations

from typing import Any

import pytest

from oaiproxy.client_fields import ClientFields
from oaiproxy.endpoints.doors import DOORS

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
BODY: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": "d", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c", "content": "e"},
    ],
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "max_completion_tokens": 5,
    "mine": 1,
}


def fields(read: str, endpoint: str = "chat", body: Any = BODY) -> list[tuple[str, str, bool]]:
    call = DOORS[endpoint].parse(body)
    made = ClientFields(call, body, ("x-a",), ("created",)).of(read)
    return [(each.kind, each.field, each.sent) for each in made]


@pytest.mark.parametrize(
    ("read", "field"),
    [
        ("prompt", "messages[-1].content"),
        ("system", "messages[0].content"),
        ("messages[1].role", "messages[1].role"),
        ("messages[1].text", "messages[1].content"),
        ("messages[1].parts[1].text", "messages[1].content[1]"),
        ("messages[3].tool_calls[0].name", "messages[3].tool_calls[0].function.name"),
        ("messages[4].tool_call_id", "messages[4].tool_call_id"),
        ("messages.text", "messages[].content"),
        ("turns[0].parts[2].text", "messages[2].content"),
        ("turns[1].parts[0].text", "messages[3].content"),
        ("turns[1].parts[1].arguments", "messages[3].tool_calls[0].function.arguments"),
        ("turns[2].parts[0].text", "messages[4].content"),
        ("turns[2].parts[0].id", "messages[4].tool_call_id"),
        ("tools[0].name", "tools[0].function.name"),
        ("max_tokens", "max_completion_tokens"),
        ("extra.mine", "mine"),
        ("request.tools", "tools"),
        ("model", "model"),
    ],
)
def test_a_name_stands_for_a_field(read: str, field: str) -> None:
    """By its place in what the client sent."""
    assert fields(read) == [("client", field, True)]


@pytest.mark.parametrize(
    ("read", "told"),
    [
        ("temperature", ("client", "temperature", False)),
        ("tools[0].strict", ("client", "tools[0].function.strict", False)),
        ("headers.x-a", ("header", "x-a", True)),
        ("headers.x-b", ("header", "x-b", False)),
        ("vars.a", ("mapping", "vars.a", True)),
        ("uuid", ("proxy", "uuid", True)),
        ("created.id", ("reply", "created.id", True)),
    ],
)
def test_what_is_no_field_or_was_not_sent(read: str, told: tuple[str, str, bool]) -> None:
    """It is said what it is."""
    assert fields(read) == [told]


def test_several_messages_make_one_turn() -> None:
    """All of them are named."""
    assert [field for _, field, _ in fields("turns[0].role")] == ["messages[1].role", "messages[2].role"]


def test_other_endpoints_have_their_own_fields() -> None:
    """A completion has its prompt, an embedding its input."""
    assert fields("messages[0].text", "completions", {"model": "m", "prompt": "p"}) == [("client", "prompt", True)]
    assert fields("input", "embeddings", {"model": "m", "input": "p"}) == [("client", "input", True)]
