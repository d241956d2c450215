"""A duration becomes seconds; what is none is said."""

from __future__ import annotations

import pytest
from support import findings_of

from oaiproxy.durations import seconds


@pytest.mark.parametrize(
    ("value", "wanted"), [(5, 5.0), (0.5, 0.5), ("30s", 30.0), ("500ms", 0.5), ("2 m", 120.0), ("1h", 3600.0)]
)
def test_seconds(value: float | str, wanted: float) -> None:
    """Numbers are seconds; text has a unit."""
    assert seconds(value) == wanted


@pytest.mark.parametrize("value", ["", "5", "s", "5 days", "-5s", float("inf"), float("nan"), "9" * 400 + "s"])
def test_what_is_no_duration(value: float | str) -> None:
    """The message says what to write."""
    with pytest.raises(ValueError, match="duration"):
        seconds(value)


ENDLESS = "9" * 400 + "s"
BLOCKS = {
    "a timeout": "backend: {url: 'http://b', timeouts: {idle: %s}}",
    "a pause": "backend: {url: 'http://b', retry: {backoff: %s}}",
    "a token's life": "backend: {url: 'http://b', auth: {jwt: {algorithm: HS256, key: k, claims: {}, ttl: %s}}}",
    "a list of models": "models_list: {path: /m, models: data, every: %s}",
    "an image": "images: {inline: true, allow_hosts: [a.test], timeout: %s}",
    "a call": "before: [{name: a, request: {path: /a}, timeout: %s}]",
    "a poll": "poll: {request: {path: /p}, status: s, done: [d], timeout: %s}",
}


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_a_duration_that_is_none_is_found_wherever_it_stands(block: str) -> None:
    """Also one that is written like a duration, and is longer than any number."""
    backend = "" if block.startswith("backend") else "backend: {url: 'http://b'}\n"
    top = block.partition(":")[0] in ("backend", "models_list")
    chat = "chat:\n  request: {path: /g, body: {p: '{{ prompt }}'}}\n  response: {text: t}\n"
    block = block % ENDLESS
    text = f"oaiproxy: 1\nmodels: [m]\n{backend}" + (f"{block}\n{chat}" if top else f"{chat}  {block}\n")
    _, found = findings_of(text)
    assert [(each.code, "a duration is finite" in each.message) for each in found] == [("E105", True)]
