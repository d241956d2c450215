"""Promises of `oaiproxy.instructions`: what the proxy says reaches the backend, whatever the templates read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support import IDENTITY, chat

from oaiproxy.canonical import Call, Message
from oaiproxy.endpoints.doors import DOORS
from oaiproxy.exchange import Exchange
from oaiproxy.instructions import MAX_QUOTED, corrected, instructed

BODIES = {
    "messages": "{m: '{{ messages }}'}",
    "system and turns": "{s: '{{ system }}', t: '{{ turns }}'}",
    "turns": "{t: '{{ turns }}'}",
    "prompt": "{p: '{{ prompt }}'}",
    "system and prompt": "{s: '{{ system }}', p: '{{ prompt }}'}",
    "history and prompt": "{h: '{{ messages[:-1] }}', p: '{{ prompt }}'}",
    "raw": "{r: '{{ request.messages }}'}",
}
CONVERSATIONS: dict[str, list[Message]] = {
    "one": [{"role": "user", "content": "GREETING"}],
    "system": [{"role": "developer", "content": "be brief"}, {"role": "user", "content": "GREETING"}],
    "parts": [{"role": "user", "content": [{"type": "text", "text": "GREETING"}]}],
    "long": [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "yes?"},
        {"role": "user", "content": "GREETING"},
    ],
    "prefilled": [{"role": "user", "content": "GREETING"}, {"role": "assistant", "content": "{"}],
}


def sent(body: str, messages: list[Message], *steps: Any) -> str:
    """What the backend gets, as one text."""
    mapping = chat(request=f"{{path: /g, body: {body}}}", response="{text: t}")
    call = DOORS["chat"].parse({"model": "m", "messages": messages})
    exchange = Exchange(mapping, call, DOORS["chat"].encoder(call, IDENTITY), IDENTITY)
    made = exchange.call
    for step in steps:
        made = step(made, exchange.reads)
    request = exchange.part(made, exchange.encoder, IDENTITY).backend_request()
    return str(json.loads(request.body or b""))


def told(call: Call, reads: frozenset[str]) -> Call:
    return instructed(call, reads, "SPEAK JSON")


def again(call: Call, reads: frozenset[str]) -> Call:
    return corrected(call, reads, "FAULTY", "NO JSON")


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("messages", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_it_is_sent_once_whatever_the_templates_read(body: str, messages: list[Message]) -> None:
    """And nothing that was sent without it gets lost."""
    made = sent(body, messages, told)
    assert made.count("SPEAK JSON") == 1 if "parts" not in made else made.count("SPEAK JSON") >= 1
    corrected_ = sent(body, messages, told, again)
    for text in ("SPEAK JSON", "FAULTY", "NO JSON"):
        assert text in corrected_
    if "{h:" not in body:
        assert ("GREETING" in made) == ("GREETING" in sent(body, messages))
        assert ("GREETING" in corrected_) == ("GREETING" in made)


def test_it_is_joined_to_the_system_text() -> None:
    call = Call("chat", "m", False, False, CONVERSATIONS["system"], {})
    made = told(call, frozenset(("messages.*",))).messages
    assert made[0] == {"role": "developer", "content": "be brief\n\nSPEAK JSON"}
    assert call.messages[0]["content"] == "be brief"


def test_a_faulty_answer_is_quoted_as_an_assistants() -> None:
    """Unless it is empty, which some APIs refuse."""
    call = Call("chat", "m", False, False, CONVERSATIONS["one"], {})
    made = again(call, frozenset(("messages.*",))).messages
    assert made[1:] == [{"role": "assistant", "content": "FAULTY"}, {"role": "user", "content": "NO JSON"}]
    assert corrected(call, frozenset(("messages.*",)), " ", "NO JSON").messages[1:] == made[2:]


def test_a_long_answer_is_quoted_in_part() -> None:
    call = Call("chat", "m", False, False, CONVERSATIONS["one"], {})
    made = corrected(call, frozenset(("messages.*",)), "x" * (MAX_QUOTED + 1), "NO JSON").messages
    assert made[1]["content"] == "x" * MAX_QUOTED + " [...]"
