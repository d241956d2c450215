"""Promises of the search for failures in samples: an error is never taken for an answer, nor an answer for an error."""

from __future__ import annotations

from typing import Any

import pytest

from oaiproxy.guesses_failure import failure, is_failure, shown


@pytest.mark.parametrize(
    "body",
    [
        {"detail": "Model is still loading"},
        {"detail": [{"loc": ["body", "q"], "msg": "field required", "type": "missing"}]},
        {"error": {"kind": "quota", "message": "You have used up your quota."}},
        {"error": "model 'x' not found"},
        {"status": "error", "message": "The model does not exist."},
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "r"},
        {"code": "app_unavailable", "message": "App unavailable.", "status": 400},
        {"success": False, "errors": [{"code": 5006, "message": "no such model"}], "result": None, "messages": []},
        {"title": "Unauthenticated", "detail": "You did not pass a token", "status": 401},
    ],
)
def test_a_failure(body: Any) -> None:
    """Of the forms that real APIs have."""
    assert is_failure(body)
    assert failure(body)[1]


@pytest.mark.parametrize(
    "body",
    [
        {"message": "Hello there."},
        {"message": "Hello there.", "status": 200},
        {"message": "Hello there.", "status": "ok", "code": 0},
        {"output": None, "error": None, "status": "starting"},
        {"text": "It is an error.", "status": "completed"},
        {"success": True, "result": {"response": "Hello."}, "errors": [], "messages": []},
        {"result": "Hello.", "reason": "end"},
        ["Hello there."],
        "Hello there.",
    ],
)
def test_an_answer(body: Any) -> None:
    """What does not say that it failed went well."""
    assert not is_failure(body)


def test_the_status_tells() -> None:
    """Whatever the body is."""
    assert is_failure({"message": "Hello there."}, 404)
    assert failure("gone") == ({}, "gone")


def test_where_it_reads() -> None:
    """The keys of `errors`: what is nearest by its name, and outermost."""
    body = {"type": "error", "error": {"type": "overloaded", "message": "Too busy.", "code": 529}, "retry_after": 3}
    sinks, message = failure(body)
    assert sinks == {
        "message": "error.message",
        "type": "error.type",
        "code": "error.code",
        "retry_after": "retry_after",
    }
    assert message == "Too busy."


def test_a_message_is_short_on_its_line() -> None:
    """As a comment."""
    assert shown("It `is`\n so") == "It 'is' so"
    assert len(shown("x" * 200)) == 60
    assert shown("") == "without a message"
