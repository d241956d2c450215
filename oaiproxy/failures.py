"""A backend's error answer to the error that the client sees: status, type, code, message, and whether to try again."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from oaiproxy.errors import BackendError
from oaiproxy.jsontext import Json
from oaiproxy.picks import Envelope, Pick

MAX_MESSAGE = 500
"""Characters of a backend's message that reach the client."""
MAX_RETRY_AFTER = 60.0
"""Seconds: a longer wait is told as this, with the advice not to retry (some clients would sleep it out)."""

_CONTEXT = re.compile(
    r"context[ _-]?(length|window|size)|maximum context|too many (input )?tokens|prompt is too long|"
    r"(input|prompt|tokens?).{0,40}(exceeds?|longer than).{0,40}(maximum|limit|context)",
    re.IGNORECASE,
)
_QUOTA = re.compile(r"quota|billing|credit", re.IGNORECASE)
_DEFAULT_MESSAGE = ("message", "detail", "error_description", "msg", "error")


@dataclass(frozen=True, slots=True)
class ErrorSelectors:
    """Where an error body holds its parts (the mapping's `errors`)."""

    message: Pick | None = None
    type: Pick | None = None
    code: Pick | None = None


def redact(text: str, secrets: Iterable[str]) -> str:
    """The text without any secret's value."""
    for secret in secrets:
        if len(secret) >= 4:
            text = text.replace(secret, "***")
    return text


def find_message(body: Json) -> str:
    """The message of an error body of unknown shape, at the places where most APIs put it; "" when there is none."""
    if isinstance(body, list):
        return find_message(body[0]) if body else ""
    if isinstance(body, str):
        return body
    if not isinstance(body, dict):
        return ""
    for key in ("error", "errors"):
        if isinstance(body.get(key), dict | list) and (inner := find_message(body[key])):
            return inner
    for key in _DEFAULT_MESSAGE:
        if isinstance(body.get(key), str) and body[key]:
            return str(body[key])
    return ""


def describe(body: Json, envelope: Envelope, selectors: ErrorSelectors) -> tuple[str, str | None, str | None]:
    """The message, type and code that an error body tells."""

    def pick(selector: Pick | None) -> str:
        found = selector(body, envelope) if selector else None
        return "" if found is None or found is False else str(found)

    message = pick(selectors.message) or find_message(body)
    return message, pick(selectors.type) or None, pick(selectors.code) or None


def from_status(
    status: int,
    message: str,
    *,
    retry_after: float | None = None,
    type: str | None = None,  # noqa: A002 - OpenAI's word
    code: str | None = None,
    secrets: Iterable[str] = (),
) -> BackendError:
    """The error for a backend's status of 300 or more and the message in its body."""
    told = redact(" ".join(message.split()), secrets)[:MAX_MESSAGE]
    detail = f"the backend answered {status}: {told or '(no message)'}"
    said = f"the backend answered {status}" + (f": {told}" if told else "")
    if status in (400, 413, 422, 500) and _CONTEXT.search(message):
        return BackendError(
            told,
            status=400,
            type="invalid_request_error",
            code="context_length_exceeded",
            param="messages",
            detail=detail,
        )
    match status:
        case 401 | 403:
            said = "the backend refused the credentials that the proxy sent"
            return BackendError(said, code="upstream_auth_error", detail=detail, retry=False)
        case 400 | 413 | 422:
            said = told or said
            kept = 413 if status == 413 else 400
            return BackendError(
                said, status=kept, type="invalid_request_error", code=code or "invalid_value", detail=detail
            )
        case 404:
            return BackendError(said, code="upstream_not_found", detail=detail, retry=False)
        case 429:
            return _rate_limited(told or said, detail, retry_after, quota=bool(_QUOTA.search(message)))
        case 408 | 504:
            return BackendError(said, status=504, code="upstream_timeout", detail=detail, retry=False)
        case 503:
            return BackendError(
                said, status=503, type="service_unavailable_error", detail=detail, retry_after=_clamped(retry_after)
            )
    if status < 400:
        said = f"the backend answered {status}: redirects are not followed"
        return BackendError(said, code="upstream_redirect", detail=detail, retry=False)
    retry = False if status < 500 else None
    return BackendError(said, type=type, code=code, detail=detail, retry_after=_clamped(retry_after), retry=retry)


def retry_seconds(value: str | None, now: float) -> float | None:
    """A `Retry-After` header (RFC 9110, 10.2.3) in seconds from `now`, which is in seconds since 1970."""
    if not value:
        return None
    if re.fullmatch(r"\d+(\.\d+)?", value.strip()):
        return float(value)
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None


def _rate_limited(message: str, detail: str, retry_after: float | None, quota: bool) -> BackendError:
    patient = retry_after is None or retry_after <= MAX_RETRY_AFTER
    return BackendError(
        message,
        status=429,
        type="insufficient_quota" if quota else "rate_limit_error",
        code="insufficient_quota" if quota else "rate_limit_exceeded",
        detail=detail,
        retry_after=_clamped(retry_after),
        retry=False if quota or not patient else None,
    )


def _clamped(seconds: float | None) -> float | None:
    return None if seconds is None else min(seconds, MAX_RETRY_AFTER)
