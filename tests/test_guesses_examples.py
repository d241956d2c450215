"""Promises of the examples that `init` writes: of an error there is none, and text stands as it came."""

from __future__ import annotations

from typing import Any

from oaiproxy.initial import propose
from oaiproxy.samples import Received, Sample


def proposed(**more: Any) -> str:
    """The mapping of an API of which one call is known."""
    body = {"prompt": "Why so?", "stream": True}
    return propose(Sample("POST", "https://a.test/say", (), body, **more), "acme").text


def test_each_answer_is_an_example() -> None:
    """Whole, and as a stream."""
    made = proposed(answer=Received(b'{"text": "So."}'), stream=Received(b'data: {"text": "So."}\n\ndata: [DONE]\n\n'))
    assert "- name: a whole answer\n" in made
    assert "- name: a stream\n" in made


def test_an_error_is_none() -> None:
    """Neither as an answer nor in a stream."""
    stream = Received(b'data: {"text": "S"}\n\ndata: {"error": "it broke"}\n\n')
    made = proposed(answer=Received(b'{"detail": "too busy"}'), stream=stream)
    assert "examples:" not in made
    assert "(`too busy`)" in made
    assert "(`it broke`)" in made
