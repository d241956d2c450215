"""Promises of `oaiproxy.resultplans`: the `response` block of an endpoint beyond chat, compiled."""

from __future__ import annotations

import pytest
from support import findings_of, load

from oaiproxy.canonical import Call
from oaiproxy.errors import BackendError
from oaiproxy.picks import Envelope
from oaiproxy.resultplans import ResultPlan

HEAD = "oaiproxy: 1\nmodels: [m]\nbackend: {url: 'https://b'}\n"
ASKED = Call("embeddings", "m", False, False, [], {"input": ["a"]})


def plan(block: str) -> ResultPlan:
    mapping = load(HEAD + block)
    [endpoint] = mapping.endpoints.values()
    assert endpoint.result is not None
    assert endpoint.stream is None
    return endpoint.result


def test_sinks_are_selectors() -> None:
    """Alternatives, Jinja and functions of the envelope too."""
    for selector in ("out", "[nope, out]", "'{{ body.out }}'", "parse_json(written)"):
        made = plan(f"embeddings: {{request: {{}}, response: {{vectors: {selector}}}}}")
        assert made.read({"out": [1], "written": "[1]"}, Envelope(), ASKED) == [[1.0]]


def test_a_sink_that_is_turned_off_is_none() -> None:
    """`~` is as good as left out."""
    made = plan("speech: {request: {}, response: {audio: ~}}")
    assert made.binary
    assert not plan("speech: {request: {}, response: {audio: out}}").binary
    assert made.find("media_type", None, Envelope()) is None


def test_a_mismatch_names_what_came() -> None:
    """The selectors, in the order of the mapping; the kind of what has no keys."""
    made = plan("embeddings: {request: {}, response: {vectors: [a, b]}}")
    with pytest.raises(BackendError) as caught:
        made.read({"c": 1}, Envelope(), ASKED)
    assert caught.value.message == "no vectors were found (vectors: a or b)"
    assert caught.value.detail.endswith(" at test.yaml:4; keys that came: c")
    with pytest.raises(BackendError, match="no vectors") as caught:
        made.read([], Envelope(), ASKED)
    assert caught.value.detail.endswith("keys that came: a list")


def test_what_is_wrong_has_its_place() -> None:
    """As in the blocks of chat."""
    _, found = findings_of(HEAD + "rerank: {request: {}, response: {results: 'a.[', usage: {total: 'b.['}}}")
    assert [each.code for each in found] == ["E301", "E301"]
