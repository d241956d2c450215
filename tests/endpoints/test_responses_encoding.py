"""Promises of `oaiproxy.endpoints.responses_encoding`: the response repeats the request, and says how it ended."""

from __future__ import annotations

import json
from typing import Any

import pytest
from responding import check_sequence, told, valid
from support import IDENTITY

from oaiproxy.endpoints.responses import parse
from oaiproxy.endpoints.responses_encoding import encoder
from oaiproxy.errors import BackendError, ClientError
from oaiproxy.events import Delta, Finish, Head, Usage


def whole(usage: Usage | None = None, reason: Any = "stop", **fields: Any) -> dict[str, Any]:
    """A whole response."""
    made = encoder(parse({"model": "m", "input": "hi", **fields}), IDENTITY)
    for event in (Head("x", "large"), Delta("a"), Finish(reason)):
        assert made.feed(event) == b""
    response: dict[str, Any] = json.loads(made.close(usage))
    valid("Response", response)
    return response


def test_the_response_repeats_the_request() -> None:
    """What was sent, and the defaults of the rest."""
    sent = {
        "instructions": "Be brief.",
        "max_output_tokens": 20,
        "metadata": {"a": "b"},
        "parallel_tool_calls": False,
        "reasoning": {"effort": "low", "summary": "auto"},
        "temperature": 0.5,
        "top_p": 0.5,
        "user": "u",
        "safety_identifier": "s",
        "prompt_cache_key": "k",
        "truncation": "disabled",
    }
    made = whole(**sent)
    assert {key: made[key] for key in sent} == sent
    plain = whole()
    assert (plain["temperature"], plain["tool_choice"], plain["text"]) == (1.0, "auto", {"format": {"type": "text"}})
    assert "user" not in plain
    assert (plain["model"], plain["id"]) == ("large", f"resp_{IDENTITY.token}")


def test_the_format_is_told_with_its_schema() -> None:
    """As it was sent, flat."""
    format_ = {"type": "json_schema", "name": "x", "schema": {}, "strict": True}
    made = whole(text={"format": format_, "verbosity": "low"})
    assert made["text"] == {"format": format_, "verbosity": "low"}


def test_words_that_a_response_cannot_tell_of_are_left_out() -> None:
    """Backends may take others than OpenAI."""
    made = whole(text={"verbosity": "terse"}, reasoning={"effort": "huge", "summary": "x"}, service_tier="gold")
    assert (made["reasoning"], made["service_tier"]) == ({"effort": None, "summary": None}, "default")
    assert "verbosity" not in made["text"]


def test_usage_has_all_of_its_details() -> None:
    """Zeros where nobody counted; none where there is none."""
    assert whole(Usage(1, 2, None, 1, 2))["usage"] == {
        "input_tokens": 1,
        "input_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 3,
    }
    assert "usage" not in whole()


@pytest.mark.parametrize(
    ("reason", "status", "why"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("length", "incomplete", {"reason": "max_output_tokens"}),
        ("content_filter", "incomplete", {"reason": "content_filter"}),
    ],
)
def test_how_it_ended(reason: str, status: str, why: Any) -> None:
    """Only what is complete has a time of completion."""
    made = whole(reason=reason)
    assert (made["status"], made["incomplete_details"]) == (status, why)
    assert (made["completed_at"] is not None) == (status == "completed")


def test_what_is_kept_is_what_is_sent() -> None:
    """And it is there before the last bytes are."""
    kept: list[Any] = []
    made = encoder(parse({"model": "m", "input": "hi", "stream": True}), IDENTITY, kept.append, lambda: 5.5)
    sent = made.feed(Delta("a")) + made.feed(Finish("stop"))
    assert kept == []
    last = check_sequence(told(sent + made.close(None)))
    assert kept == [last]
    assert last["completed_at"] == 5


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BackendError("x"), "server_error"),
        (BackendError("x", status=429), "rate_limit_exceeded"),
        (ClientError("x"), "invalid_prompt"),
    ],
)
def test_failures_have_the_apis_own_codes(error: Any, code: str) -> None:
    """The nearest of them; nothing is kept."""
    kept: list[Any] = []
    made = encoder(parse({"model": "m", "input": "hi", "stream": True}), IDENTITY, kept.append)
    *_, failed, last = told(made.feed(Delta("a")) + made.fail(error))
    assert (failed["response"]["error"], last["type"]) == ({"code": code, "message": "x"}, "error")
    assert kept == []
