"""A backend's failure becomes the error that tells the client what to do, and nothing that it should not know."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from oaiproxy.failures import (
    find_message,
    from_status,
    from_told,
    from_words,
    redact,
    refused_key,
    retry_seconds,
    tell,
    tells_failure,
    told_by,
    told_by_frame,
    waiting_time,
    word,
)
from oaiproxy.framing import Frame

BODIES: dict[str, tuple[Any, str]] = {
    "nested": ({"error": {"message": "m"}}, "m"),
    "plain": ({"message": "m"}, "m"),
    "text": ({"error": "m"}, "m"),
    "detail": ({"detail": "m"}, "m"),
    "list of details": ({"detail": [{"msg": "m"}]}, "m"),
    "errors": ({"errors": [{"message": "m"}]}, "m"),
    "list": ([{"error": {"message": "m"}}], "m"),
    "scalar": ("m", "m"),
    "nothing": ({"x": 1}, ""),
    "null": (None, ""),
    "number": (5, ""),
    "empty list": ([], ""),
}


@pytest.mark.parametrize(("body", "message"), BODIES.values(), ids=BODIES)
def test_messages_are_found_where_apis_put_them(body: Any, message: str) -> None:
    """Whatever the shape of the error body."""
    assert find_message(body) == message


def test_secrets_are_redacted_the_longest_first() -> None:
    """A secret that holds another leaves no rest; very short ones are ordinary words."""
    assert redact("abcd-efgh abcd to", ["abcd", "abcd-efgh", "to", ""]) == "*** *** to"


def test_secrets_are_redacted_in_their_encoded_forms() -> None:
    """Percent-encoded as in a query, and in base64 as in Basic authentication."""
    secret = "key/of the+operator"
    encoded = base64.b64encode(secret.encode()).decode()
    told = redact(f"?k={quote(secret, safe='')}&k={quote_plus(secret)} Basic {encoded}", [secret])
    assert told == "?k=***&k=*** Basic ***"


@pytest.mark.parametrize(
    "form", [r"a\/b\u00e9+=", "a%2fb%c3%a9%2b%3d", "YS9iw6krPQ", "a%2Fb%C3%A9%2B%3D", "a/b%C3%A9%2B%3D"]
)
def test_secrets_are_redacted_as_others_spell_them(form: str) -> None:
    """In lower case, in ASCII, with slashes escaped."""
    assert redact(f"key={form}.", ["a/bé+="]) == "key=***."


def test_a_secret_that_is_broken_over_lines_is_redacted() -> None:
    """As it was sent, and as it reads on one line."""
    assert tell("a  long  key and a long key", ["a  long  key", "a long key"]) == "*** and ***"


TIMES = {
    "7": 7.0,
    " 1.5 ": 1.5,
    "34.4s": 34.4,
    "Thu, 01 Jan 1970 00:00:30 GMT": 20.0,
    "Thu, 01 Jan 1970 00:00:30": 20.0,
    "Thu, 01 Jan 1970 00:00:01 GMT": 0.0,
    "9" * 400: float("inf"),
    "": None,
    "-1": None,
    "soon": None,
    "1m30s": 90.0,
    "500ms": 0.5,
    "1h 2m": 3720.0,
    "2d": 172800.0,
    "1970-01-01T00:00:30Z": 20.0,
    "1970-01-01T01:00:30+01:00": 20.0,
    "1970-01-01T00:00:05": 0.0,
    "5 minutes": None,
    "s": None,
    "1999": 1999.0,
    "1s" * 40: None,
    "0x10": None,
    "Thu, 99 Jan 1970 00:00:30 GMT": None,
}


@pytest.mark.parametrize(("value", "seconds"), TIMES.items())
def test_retry_after(value: str, seconds: float | None) -> None:
    """Seconds and dates are understood, from ten seconds past the epoch here; nothing else is."""
    assert retry_seconds(value, 10.0) == seconds


def test_an_endless_wait_is_told_as_a_minute() -> None:
    """A number too large for a clock does no harm."""
    error = from_status(429, "", retry_after=retry_seconds("9" * 400, 0.0))
    assert (error.retry_after, error.retry) == (60.0, False)


def test_a_quota_that_a_wait_mends_is_a_rate_limit() -> None:
    """The word alone does not tell that an account is empty."""
    assert from_status(429, "quota of requests per minute", retry_after=5.0).code == "rate_limit_exceeded"
    assert from_status(429, "you have no credit left").code == "insufficient_quota"


CONTEXTS = (
    "maximum context length is 8192 tokens",
    "Input is longer than the maximum",
    "prompt is too long: 9 tokens > 8 maximum",
    "the input exceeds the model's context",
    "too many tokens",
)


@pytest.mark.parametrize("message", CONTEXTS)
@pytest.mark.parametrize("status", [400, 413, 422, 500])
def test_a_request_that_is_too_long_is_known_by_its_words(message: str, status: int) -> None:
    """Whatever status the backend gives it, clients look for this code."""
    error = from_status(status, message)
    assert (error.status, error.code, error.param) == (400, "context_length_exceeded", "messages")
    assert error.message.endswith(message)


LIMITS = {
    "This model's maximum context length is 8192 tokens, you asked for 9000": None,
    "the context length is 8192 tokens": 8192,
    "the request exceeds the available context size (4096 tokens)": 4096,
    "longer than the model's context length (4096 tokens)": 4096,
    "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300000 tokens.": 272000,
    "input length exceeds the context length": None,
    "prompt is too long": None,
    "the context limit: 190000 + 20000 > 200000": 200000,
    "the context window of 2024-01": None,
}


@pytest.mark.parametrize(("message", "limit"), LIMITS.items())
def test_a_length_that_is_known_is_told_in_the_words_that_clients_look_for(message: str, limit: int | None) -> None:
    """Once, and before the backend's own words."""
    told = from_status(400, message).message
    assert told == (f"This model's maximum context length is {limit} tokens. " if limit else "") + message


@pytest.mark.parametrize("code", ["context_length_exceeded", "context_window_exceeded"])
def test_a_request_that_is_too_long_is_known_by_its_code(code: str) -> None:
    """Where the mapping tells where that is."""
    assert from_status(400, "no", code=code).code == "context_length_exceeded"
    assert from_words("no", None, code, ()).status == 400


@pytest.mark.parametrize(
    "message", ["max_tokens is too large: 9000", "the token is not valid", "bad length", "no content"]
)
def test_other_refusals_stay_what_they_are(message: str) -> None:
    """Neither too long nor filtered."""
    assert from_status(400, message).code == "invalid_value"


@pytest.mark.parametrize(
    ("code", "told"),
    [(None, "content_filter"), ("content_policy_violation", "content_policy_violation"), ("17", "content_filter")],
)
def test_a_filtered_request(code: str | None, told: str) -> None:
    """By words or code; the client can mend it, whatever status the backend gave it."""
    for status in (400, 403, 422, 451):
        error = from_status(status, "rejected by our safety system", code=code)
        assert (error.status, error.type, error.code) == (400, "invalid_request_error", told)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": " 1500.5 ", "retry-after": "7"}, 1.5005),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
        ({"retry-after-ms": "-1"}, None),
        ({"retry-after-ms": "9" * 400}, None),
    ],
)
def test_the_time_to_wait_in_headers(headers: dict[str, str], seconds: float | None) -> None:
    """The finer one first."""
    assert waiting_time(headers, 10.0) == seconds


@pytest.mark.parametrize(
    ("value", "told"), [("x" * 100, "x" * 64), (17, "17"), (0, None), ("", None), (True, None), ({"a": 1}, None)]
)
def test_types_and_codes_are_short_words(value: Any, told: str | None) -> None:
    """What a mapping's selectors find there is bounded; what is no word is left out."""
    assert word(value) == told


VALUES: dict[str, tuple[Any, int, str]] = {
    "message": ("no", 502, "upstream_error"),
    "true": (True, 502, "upstream_error"),
    "own code": ({"message": "no", "code": "odd"}, 502, "odd"),
    "a status": ({"status": 404, "message": "no"}, 502, "upstream_not_found"),
    "a status as text": ({"code": "429"}, 429, "rate_limit_exceeded"),
    "no status": ({"code": 7}, 502, "7"),
    "a boolean status": ({"status": True}, 502, "upstream_error"),
    "throttled": ({"type": "ThrottlingException"}, 429, "rate_limit_exceeded"),
    "a page": ({"message": "<html>"}, 502, "upstream_error"),
}


@pytest.mark.parametrize(("value", "status", "code"), VALUES.values(), ids=VALUES)
def test_failures_told_with_a_good_status(value: Any, status: int, code: str) -> None:
    """A value of any shape that tells of a failure gives the nearest error, and always a message."""
    error = from_told(told_by(value), ())
    assert (error.status, error.code) == (status, code)
    assert error.message
    assert "<" not in error.message


def test_words_without_a_message() -> None:
    """Something is said in any case."""
    assert from_words("", None, None, ()).message == "the backend reported a failure"


FRAMES: dict[str, tuple[Frame, tuple[int, str, str]]] = {
    "an error object": (
        Frame(b'{"error": {"message": "no", "type": "kind"}}', event="error"),
        (502, "kind", "no"),
    ),
    "a message": (Frame(b'{"message": "no"}', event="error"), (502, "server_error", "no")),
    "text": (Frame(b"went wrong", event="error"), (502, "server_error", "went wrong")),
    "a known status": (Frame(b'{"code": 429, "message": "slow"}', event="error"), (429, "rate_limit_error", "slow")),
    "nothing": (Frame(b"", event="error"), (502, "server_error", "the backend reported a failure")),
    "an exception": (
        Frame(b'{"message": "slow"}', headers={":message-type": "exception", ":exception-type": "throttlingException"}),
        (429, "rate_limit_error", "slow"),
    ),
    "an error in headers": (
        Frame(b"", headers={":message-type": "error", ":error-code": "Broken", ":error-message": "no"}),
        (502, "Broken", "no"),
    ),
}


@pytest.mark.parametrize(("frame", "wanted"), FRAMES.values(), ids=FRAMES)
def test_frames_that_call_themselves_errors(frame: Frame, wanted: tuple[int, str, str]) -> None:
    """By the name of an event or by headers; their message is in the payload, else in a header."""
    assert tells_failure(frame)
    try:
        body = json.loads(frame.data) if frame.data else None
    except ValueError:
        body = frame.data.decode()
    error = from_told(told_by_frame(frame, body), ())
    assert (error.status, error.type, error.message) == wanted


@pytest.mark.parametrize(
    "frame", [Frame(b"{}"), Frame(b"{}", event="errors"), Frame(b"", headers={":message-type": "event"})]
)
def test_other_frames_are_no_failures(frame: Frame) -> None:
    """Only these words are."""
    assert not tells_failure(frame)


@pytest.mark.parametrize(("status", "code"), [(401, "invalid_api_key"), (403, "permission_denied")])
def test_the_clients_own_key_is_the_clients_to_mend(status: int, code: str) -> None:
    """What the backend says is for the client then, without the key."""
    error = refused_key(status, "bad key sk-mine", ["sk-mine"])
    assert (error.status, error.code, error.message, error.retry) == (status, code, "bad key ***", False)
    assert "key" in refused_key(status, "", []).message
