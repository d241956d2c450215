"""Promises about what templates read of a conversation; what becomes of the rest is in `test_policy`."""

from __future__ import annotations

from typing import Any

import pytest
from support import ask, chat

from oaiproxy.conversations import sent_texts

HISTORY = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
SYSTEM = {"role": "system", "content": "s"}


def reading(body: str) -> Any:
    return chat(response="{text: t}", request=f"{{path: /g, body: {{{body}}}}}")


COUNTED = {
    "a: '{{ prompt }}'": ("c",),
    "a: '{{ prompt }}', b: '{{ system }}'": ("s", "c"),
    "a: '{{ turns }}'": ("a", "b", "c"),
    "a: '{{ turns }}', b: '{{ system }}'": ("s", "a", "b", "c"),
    "a: '{{ messages }}'": ("s", "a", "b", "c"),
    "a: '{{ messages[-1].text }}'": ("c",),
    "a: '{{ prompt }}', b: '{{ messages | length }}'": ("c",),
    "a: '{{ request }}'": ("s", "a", "b", "c"),
}


@pytest.mark.parametrize(("body", "texts"), COUNTED.items())
def test_only_what_is_sent_is_counted(body: str, texts: tuple[str, ...]) -> None:
    """The tokens of a text that stays here are not the prompt's."""
    exchange = ask(reading(body), messages=[SYSTEM, *HISTORY])
    assert sent_texts(exchange.call, exchange.mapping.endpoints["chat"].reads) == texts
