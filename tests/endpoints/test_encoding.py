"""What the encoders share: events as bytes, and usage as an object."""

from __future__ import annotations

import json

from support import assert_strict, needs_strict

from oaiproxy.endpoints.encoding import error_event, sse, usage_object
from oaiproxy.errors import BackendError
from oaiproxy.events import Usage


def test_an_event_is_one_data_line() -> None:
    """And the empty line that ends it."""
    assert sse(b"{}") == b"data: {}\n\n"


def test_an_error_event_holds_openais_error_object() -> None:
    """All four keys, whatever the message holds."""
    event = error_event(BackendError("a\n\nb\u2028", code="c"))
    assert event.count(b"\n") == 2
    assert json.loads(event.removeprefix(b"data: ")) == {
        "error": {"message": "a\n\nb\u2028", "type": "server_error", "param": None, "code": "c"}
    }


@needs_strict
def test_the_error_object_is_openais() -> None:
    """As its schema describes it."""
    assert_strict("ErrorResponse", [json.loads(error_event(BackendError("m")).removeprefix(b"data: "))])


def test_usage_is_three_integers() -> None:
    """Never null; the total is computed; details only where they are known."""
    assert usage_object(Usage()) == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    assert usage_object(Usage(2, 3))["total_tokens"] == 5
    assert usage_object(Usage(2, 3, 9))["total_tokens"] == 9
    assert usage_object(Usage(2, 3, cached=0))["prompt_tokens_details"] == {"cached_tokens": 0}
