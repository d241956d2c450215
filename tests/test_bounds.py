"""Bounds are those of a configuration, and reach what they bound."""

from __future__ import annotations

import gzip
import json
from dataclasses import fields, replace

import pytest
from support import ask, chat, play

from oaiproxy.bounds import BOUNDS, Bounds
from oaiproxy.config import Limits, config_schema
from oaiproxy.errors import ProxyError


def test_they_are_those_of_the_configuration() -> None:
    """Each under its own name, with its own default."""
    assert Limits().bounds == BOUNDS
    names = [field.name for field in fields(Bounds)]
    other = {name: getattr(BOUNDS, name) + number for number, name in enumerate(names, 1)}
    assert Limits(**other).bounds == Bounds(**other)


def test_the_schema_says_the_same() -> None:
    """What a reader of the schema is told is what is done."""
    described = config_schema()["properties"]["limits"]["properties"]
    assert {field.name: described[field.name]["default"] for field in fields(Bounds)} == {
        field.name: getattr(BOUNDS, field.name) for field in fields(Bounds)
    }


LOOPS = chat(request="{body: {x: '{% for a in range(2000) %}{{ prompt }}{% endfor %}'}}", response="{text: t}")
STREAM = chat(stream="{format: sse, text: t, done: d}")
WHOLE = chat(response="{text: t}")


@pytest.mark.parametrize(
    ("bounds", "told"), [(Bounds(steps=1000), "1000 steps"), (Bounds(rendered=2000), "2000 characters")]
)
def test_templates_are_bounded(bounds: Bounds, told: str) -> None:
    """By loops that turn too often, and by text that becomes too long."""
    assert ask(LOOPS).backend_request().body
    with pytest.raises(ProxyError) as caught:
        ask(replace(LOOPS, bounds=bounds)).backend_request()
    assert (caught.value.code, caught.value.status, caught.value.retry) == ("mapping_error", 500, False)
    assert told in caught.value.detail


def test_events_are_bounded() -> None:
    """An event that is too large ends the stream."""
    event = json.dumps({"t": "x" * 2000}).encode()
    for most, code in ((3000, None), (1500, "upstream_event_too_large")):
        played = play(
            replace(STREAM, bounds=Bounds(event=most)), b"data: " + event + b"\n\n", b'data: {"d": 1}\n\n', stream=True
        )
        assert (played.fault.code if played.fault else None) == code


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_answers_are_bounded(encoding: str) -> None:
    """In bytes as they are read, not as they came."""
    body = json.dumps({"t": "x" * 2000}).encode()
    sent = gzip.compress(body) if encoding == "gzip" else body
    for most, code in ((len(body), None), (len(body) - 1, "upstream_response_too_large")):
        played = play(replace(WHOLE, bounds=Bounds(answer=most)), sent, headers={"content-encoding": encoding})
        assert (played.fault.code if played.fault else None) == code


def test_inflation_is_bounded() -> None:
    """For streams too, which have no other bound."""
    bomb = gzip.compress(b": comment\n" * 300_000)
    assert 3_000_000 / len(bomb) > 150
    for most, code in ((2000, "upstream_empty_response"), (100, "upstream_response_too_large")):
        mapping = replace(STREAM, bounds=Bounds(inflation=most))
        played = play(mapping, bomb, headers={"content-encoding": "gzip"}, stream=True)
        assert played.fault is not None
        assert (played.fault.code, played.fault.status) == (code, 502)
