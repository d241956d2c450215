"""Promises of `/v1/moderations`: texts in, a verdict for each out."""

from __future__ import annotations

from support import IDENTITY, assert_strict, needs_strict, validator

from oaiproxy import jsontext
from oaiproxy.endpoints.moderations import CATEGORIES, DEFAULT_MODEL, encoder, parse
from oaiproxy.events import Result


def test_a_request() -> None:
    """A list of texts; OpenAI's model by default."""
    call = parse({"input": "a"})
    assert (call.model, call.fields, call.texts) == (DEFAULT_MODEL, {"input": ["a"]}, ("a",))


@needs_strict
def test_the_answer_is_openais() -> None:
    """All categories, and the backend's own beside them."""
    answer = encoder(parse({"model": "m", "input": ["a"]}), IDENTITY)
    answer.feed(Result([{"flagged": True, "categories": {"hate": True, "x": False}, "scores": {"hate": 0.5}}]))
    made = jsontext.parse(answer.close(None))
    assert_strict("CreateModerationResponse", [made])
    [result] = made["results"]
    assert result["categories"].keys() == {*CATEGORIES, "x"}
    assert (made["id"], result["category_scores"]["hate"]) == ("modr-" + IDENTITY.token, 0.5)
    item = validator("CreateModerationResponse").schema["properties"]["results"]["items"]
    assert set(CATEGORIES) == item["properties"]["categories"]["properties"].keys()
