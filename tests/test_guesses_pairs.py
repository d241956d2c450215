"""Promises of pairs in samples: found as lists or objects, and made of the client's earlier messages."""

from __future__ import annotations

from typing import Any

import pytest

from oaiproxy.guesses_pairs import pairs

ASKS = "{{ turns[2 * i].parts | map(attribute='text') | join('') }}"
SAYS = "{{ turns[2 * i + 1].parts | map(attribute='text') | join('') }}"
LOOP = {"$for": "i in range((turns | length) // 2)"}


@pytest.mark.parametrize(
    ("history", "item"),
    [
        ([["Hi", "Hello!"], ["So?", "So."]], {**LOOP, "$value": [ASKS, SAYS]}),
        ([{"question": "Hi", "answer": "Hello!"}], {**LOOP, "question": ASKS, "answer": SAYS}),
        ([{"human": "Hi", "ai": "Hello!"}], {**LOOP, "human": ASKS, "ai": SAYS}),
    ],
)
def test_pairs(history: Any, item: Any) -> None:
    """With what the client would have sent."""
    found = pairs({"body": {"data": ["What is it?", history]}})
    assert found is not None
    assert found.path == ("body", "data", 1)
    assert found.tree == {"$keep_empty": True, "$value": [item]}
    assert found.messages[:2] == [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]


@pytest.mark.parametrize(
    "history",
    [[], [["a", "b", "c"]], [["a", 1]], [["a", "b"], "c"], [{"x": "a", "y": "b"}], [{"answer": "a", "question": "b"}]],
)
def test_what_are_no_pairs(history: Any) -> None:
    """Nothing is made of it."""
    assert pairs({"history": history}) is None
