"""Promises of guessing conversations: messages are found by their form, roles by what they are called."""

from __future__ import annotations

from typing import Any

import pytest

from oaiproxy.guesses_messages import Conversation, conversation
from oaiproxy.yamlwriter import Note


def found(value: Any) -> Conversation:
    made = conversation(value)
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("message", "tree"),
    [
        ({"role": "user", "content": "hi"}, {"role": "{{ m.role }}", "content": "{{ m.text }}"}),
        ({"content": "hi", "role": "user", "k": 1}, {"content": "{{ m.text }}", "role": "{{ m.role }}", "k": 1}),
        (
            {"role": "user", "content": [{"type": "text", "text": "hi"}]},
            {"role": "{{ m.role }}", "content": [{"type": "text", "text": "{{ m.text }}"}]},
        ),
        ({"role": "user", "content": ["hi"]}, {"role": "{{ m.role }}", "content": ["{{ m.text }}"]}),
        (
            {"role": "user", "content": [{"t": 1, "text": "a"}, {"t": 1, "text": "b"}]},
            {
                "role": "{{ m.role }}",
                "content": [{"$for": "p in m.parts if p.type == 'text'", "t": 1, "text": "{{ p.text }}"}],
            },
        ),
    ],
)
def test_a_message_becomes_a_loop(message: Any, tree: Any) -> None:
    """In its own form, with its keys in their order."""
    made, missing = found({"deep": {"messages": [message]}}).tree(separate=False)
    assert (made, missing) == ([{"$for": "m in messages", **tree}], [])


def test_roles_of_their_own() -> None:
    """Those that the sample shows are known; another is a guess, and told."""
    items = [{"author": "Human", "text": "hi"}, {"author": "Bot", "text": "ho"}]
    [loop], missing = found(items).tree(separate=True)
    assert loop["$for"] == "m in messages if m.role != 'system'"
    assert loop["author"] == "{{ m.role | map_to({'user': 'Human', 'assistant': 'Bot'}) }}"
    assert missing == []
    [loop], missing = found(items[:1]).tree(separate=False)
    told = "what the API calls the roles `assistant` and `system`: the sample does not show it"
    table = "{'user': 'Human', 'assistant': 'Assistant', 'system': 'System'}"
    assert loop["author"] == Note(f"{{{{ m.role | map_to({table}) }}}}", f"TODO: {told}; this is a guess")
    assert missing == [told]
    [loop], missing = found(items[:1]).like([{"user": "Human", "assistant": "Bot"}]).tree(separate=True)
    assert missing == []


def test_a_history_is_what_came_before() -> None:
    """Where it ends with an answer, the prompt is elsewhere."""
    body = {"message": "and?", "chat_history": [{"role": "USER", "message": "a"}, {"role": "CHATBOT", "message": "b"}]}
    made = found(body)
    assert made.history
    assert made.tree(separate=True)[0][0]["$for"] == "m in messages[:-1] if m.role != 'system'"
    assert made.messages == [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


@pytest.mark.parametrize(
    "value",
    [
        {"messages": []},
        {"messages": ["hi"]},
        {"messages": [{"role": "tool", "content": "x"}]},
        {"messages": [{"role": "user", "content": [{"image": "x"}]}]},
        {"tools": [{"type": "function", "value": "x"}]},
        None,
    ],
)
def test_what_is_no_conversation(value: Any) -> None:
    """By its roles, or by what it holds."""
    assert conversation(value) is None
