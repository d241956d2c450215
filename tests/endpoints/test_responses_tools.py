"""Promises of `oaiproxy.endpoints.responses_tools`: tools and choices in chat's shapes, and what has none is named."""

from __future__ import annotations

from typing import Any

import pytest

from oaiproxy.endpoints.responses_tools import MAX_NAMED, read_choice, read_tools
from oaiproxy.errors import ClientError

FLAT = {"type": "function", "name": "f", "description": "d", "parameters": {}, "strict": True}
GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": "x"}


def test_functions_are_flat_or_as_chat_has_them() -> None:
    """Both mean the same."""
    inner = {key: value for key, value in FLAT.items() if key != "type"}
    for tool in (FLAT, {"type": "function", "function": inner}):
        made = read_tools([tool], [])
        assert (made.chat, made.told) == ([{"type": "function", "function": inner}], [FLAT])


def test_custom_tools_and_their_grammar() -> None:
    """A grammar is an object of its own in chat."""
    made = read_tools([{"type": "custom", "name": "sh", "format": GRAMMAR}, {"type": "custom", "name": "p"}], [])
    nested = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "x"}}
    assert made.chat[0] == {"type": "custom", "custom": {"name": "sh", "format": nested}}
    assert made.told[0]["format"] == GRAMMAR
    text = {"type": "custom", "name": "q", "format": {"type": "text"}}
    assert read_tools([text], []).told == [text]


def test_other_tools_are_left_out_and_named() -> None:
    """By their type, where that can stand in a header; and not without end."""
    dropped: list[str] = []
    made = read_tools([{"type": "web_search"}, {"type": "x\r\ny"}, FLAT], dropped)
    assert ([tool["name"] for tool in made.told], dropped) == (["f"], ["tools.web_search", "tools"])
    assert made.places["tools[0].function"] == "tools[2]"
    read_tools([{"type": "web_search"}] * 100, dropped)
    assert len(dropped) == MAX_NAMED


@pytest.mark.parametrize(
    ("choice", "read"),
    [
        (None, None),
        ("required", "required"),
        ({"type": "function", "name": "f"}, {"type": "function", "function": {"name": "f"}}),
        ({"type": "function", "function": {"name": "f"}}, {"type": "function", "function": {"name": "f"}}),
        ({"type": "custom", "name": "f"}, {"type": "custom", "custom": {"name": "f"}}),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}, {"type": "mcp"}]},
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
            },
        ),
        ({"type": "web_search"}, None),
    ],
)
def test_choices(choice: Any, read: Any) -> None:
    """In chat's shapes; none among tools that are left out."""
    assert read_choice(choice, read_tools([FLAT], []), []) == read


def test_a_choice_of_nothing_is_none() -> None:
    """Where all tools are left out, none can be required."""
    dropped: list[str] = []
    tools = read_tools([{"type": "web_search"}], dropped)
    assert read_choice("required", tools, dropped) is None


@pytest.mark.parametrize(
    ("tools", "choice", "param"),
    [
        ({}, None, "tools"),
        ([1], None, "tools[0]"),
        ([{}], None, "tools[0].type"),
        ([{"type": "function"}], None, "tools[0].name"),
        ([{**FLAT, "parameters": []}], None, "tools[0].parameters"),
        ([{"type": "function", "function": {}}], None, "tools[0].function.name"),
        ([{"type": "custom", "name": "f", "format": {"type": "x"}}], None, "tools[0].format.type"),
        ([{"type": "custom", "name": "f", "format": {"type": "grammar"}}], None, "tools[0].format.syntax"),
        ([FLAT], "some", "tool_choice"),
        ([FLAT], 1, "tool_choice"),
        ([FLAT], {}, "tool_choice.type"),
        ([FLAT], {"type": "function"}, "tool_choice.name"),
        ([FLAT], {"type": "allowed_tools"}, "tool_choice.mode"),
        ([FLAT], {"type": "allowed_tools", "mode": "auto"}, "tool_choice.tools"),
        ([FLAT], {"type": "allowed_tools", "mode": "auto", "tools": [{}]}, "tool_choice.tools[0].type"),
    ],
)
def test_mistakes_are_named(tools: Any, choice: Any, param: str) -> None:
    """By the client's own path."""
    with pytest.raises(ClientError) as caught:
        read_choice(choice, read_tools(tools, []), [])
    assert caught.value.param == param
