"""What a mapping never reads is refused where it changes the answer's meaning, else left out and named."""

from __future__ import annotations

from typing import Any

import pytest
from support import HI, ask, chat

from oaiproxy.errors import ClientError

PLAIN = chat(response="{text: t}")
TOOLS = [{"type": "function", "function": {"name": "f"}}]
IMAGE = {"type": "image_url", "image_url": {"url": "http://x"}}
HISTORY = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
SYSTEM = [{"role": "system", "content": "s"}, {"role": "user", "content": "c"}]


def reading(body: str) -> Any:
    return chat(response="{text: t}", request=f"{{path: /g, body: {{{body}}}}}")


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "tools": ({"tools": TOOLS}, "tools"),
    "response_format": ({"response_format": {"type": "json_object"}}, "response_format"),
    "n": ({"n": 2}, "n"),
    "logprobs": ({"logprobs": True}, "logprobs"),
    "functions": ({"functions": [{"name": "f"}]}, "functions"),
    "audio": ({"modalities": ["text", "audio"]}, "modalities"),
    "search": ({"web_search_options": {}}, "web_search_options"),
    "images": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, IMAGE]}]},
        "messages[0].content[1].type",
    ),
    "images in earlier messages": (
        {"messages": [{"role": "user", "content": [IMAGE]}, *SYSTEM]},
        "messages[0].content[0].type",
    ),
}


@pytest.mark.parametrize(("fields", "param"), REFUSED.values(), ids=REFUSED)
def test_what_changes_the_meaning_is_refused(fields: dict[str, Any], param: str) -> None:
    """With a 400 that names the parameter."""
    with pytest.raises(ClientError) as caught:
        ask(PLAIN, **fields)
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, param, "unsupported_parameter")


FINE: dict[str, dict[str, Any]] = {
    "one answer": {"n": 1},
    "no tools": {"tools": [], "tool_choice": "auto"},
    "tools that must not be called": {"tools": TOOLS, "tool_choice": "none"},
    "a choice among no tools": {"tool_choice": "required"},
    "hints": {"user": "u", "metadata": {"a": "b"}, "store": True, "service_tier": "auto", "parallel_tool_calls": False},
    "unknown fields": {"x": 1},
    "text parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]},
}


@pytest.mark.parametrize("fields", FINE.values(), ids=FINE)
def test_what_changes_nothing_is_let_through(fields: dict[str, Any]) -> None:
    """Defaults and hints are neither refused nor named."""
    assert ask(PLAIN, **fields).dropped == ()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("temperature", 1),
        ("top_p", 0.5),
        ("stop", "a"),
        ("seed", 1),
        ("max_completion_tokens", 5),
        ("logit_bias", {"1": 1}),
    ],
)
def test_sampling_knobs_are_dropped_and_named(key: str, value: Any) -> None:
    """By the name that the client used."""
    assert ask(PLAIN, **{key: value}).dropped == (key,)


READ: dict[str, tuple[str, dict[str, Any]]] = {
    "by name": ("a: '{{ temperature }}'", {"temperature": 1}),
    "under its other name": ("a: '{{ max_tokens }}'", {"max_completion_tokens": 5}),
    "in the raw body": ("a: '{{ request.n }}'", {"n": 2}),
    "the raw body whole": ("a: '{{ request }}'", {"n": 2, "tools": TOOLS, "temperature": 1}),
    "tools": ("a: '{{ tools }}'", {"tools": TOOLS}),
    "images": (
        "a: [{$for: m in messages, b: [{$for: p in m.parts, u: '{{ p.url }}'}]}]",
        {"messages": [{"role": "user", "content": [IMAGE]}]},
    ),
    "all parts": ("a: '{{ messages }}'", {"messages": [{"role": "user", "content": [IMAGE]}]}),
}


@pytest.mark.parametrize(("body", "fields"), READ.values(), ids=READ)
def test_what_is_read_is_neither(body: str, fields: dict[str, Any]) -> None:
    """However the template reads it."""
    assert "temperature" not in ask(reading(body), **fields).dropped


def test_a_choice_of_tool_that_is_not_read_is_refused() -> None:
    """The tools alone would be called as the backend likes."""
    with pytest.raises(ClientError) as caught:
        ask(reading("a: '{{ tools }}'"), tools=TOOLS, tool_choice="required")
    assert caught.value.param == "tool_choice"


LEFT_OUT: dict[str, tuple[str, list[dict[str, Any]], tuple[str, ...]]] = {
    "one message": ("a: '{{ prompt }}'", HI["messages"], ()),
    "earlier messages": ("a: '{{ prompt }}'", HISTORY, ("messages",)),
    "a system message that is not read": ("a: '{{ prompt }}'", SYSTEM, ("messages",)),
    "a system message that is": ("a: '{{ prompt }}', b: '{{ system }}'", SYSTEM, ()),
    "all are read": ("a: [{$for: m in messages, b: '{{ m.text }}'}]", HISTORY, ()),
    "all turns are": ("a: '{{ turns }}'", HISTORY, ()),
}


@pytest.mark.parametrize(("body", "messages", "dropped"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_messages_that_are_left_out_are_named(body: str, messages: list[Any], dropped: tuple[str, ...]) -> None:
    """A mapping of the prompt alone sends the last message."""
    assert ask(reading(body), messages=messages).dropped == dropped
