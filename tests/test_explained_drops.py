"""Promises of what is said of fields that do not reach the backend: who left them out, and where."""

from __future__ import annotations

from typing import Any

from explaining import HEAD, explained_by

BACKEND = "backend: {url: 'https://h.example'}\n"
CHAT = "chat:\n  request: {path: /x, body: {p: '{{ prompt }}', t: '{{ temperature }}'}}\n  response: {text: t}\n"
TALK = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]


def dropped(text: str, **more: Any) -> dict[str, dict[str, Any]]:
    (send,) = explained_by(text, {"messages": TALK, **more})["sends"]
    return {each["field"]: each for each in send["dropped"]}


def test_what_a_model_drops_has_the_line_that_says_so() -> None:
    """Though a template reads it."""
    text = f"oaiproxy: 1\nmodels:\n  m: {{drop: [temperature]}}\n{BACKEND}{CHAT}"
    told = dropped(text, temperature=1)["temperature"]
    assert told["reason"] == "`models.m.drop` names it; the client is told in `x-oaiproxy-dropped`"
    assert (told["source"]["line"], told["source"]["column"]) == (3, 14)


def test_messages_have_a_reason_of_their_own() -> None:
    """And the line that lets them go, if there is one."""
    told = dropped(HEAD + BACKEND + CHAT)["messages"]
    assert told["reason"].startswith("no template reads some of the messages; ")
    assert told["source"] is None
    told = dropped(HEAD + BACKEND + "on_unsupported: {messages: drop}\n" + CHAT)["messages"]
    assert told["source"]["line"] == 4
