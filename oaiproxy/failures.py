"""A backend's error answer to the error that the client sees: status, type, code, message, and whether to try again."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import quote, quote_plus

from oaiproxy import jsontext
from oaiproxy.errors import BackendError
from oaiproxy.framing import Frame
from oaiproxy.jsontext import Json
from oaiproxy.picks import Pick

MAX_MESSAGE = 500
"""Characters of a backend's message that reach the client."""
MAX_WORD = 64
"""Characters of a backend's error type or code that reach the client."""
MAX_RETRY_AFTER = 60.0
"""Seconds: a longer wait is told as this, with the advice not to retry (some clients would sleep it out)."""

_CONTEXT = re.compile(
    r"context[ _-]?(length|window|size|limit)|maximum (context|prompt length)|too many (input )?tokens|"
    r"(prompt|input) is too long|range of input length|reduce the length of|"
    r"tokens?\b.{0,40}must (be <=|be no more than|have less than)|must have less than [0-9]+ tokens|"
    r"input tokens.{0,40}cannot exceed|"
    r"(input|prompt|tokens?).{0,40}(exceeds?|longer than).{0,40}(maximum|limit|context)",
    re.IGNORECASE,
)
_TOLD_LIMIT = re.compile(r"maximum context length is [0-9]+ tokens", re.IGNORECASE)
_LIMIT = re.compile(
    r"(?:> |must be <= ?|less than |no more than |limit of |cannot exceed [a-z ]{0,40}|"
    r"range of input length[^\[]{0,40}\[1, ?|"
    r"maximum (?:number of )?(?:input )?tokens (?:allowed )?\(?|"
    r"(?:context|prompt|model)(?:'s)? (?:maximum )?(?:length|window|size|limit)(?: is| of|:)? ?\(?)"
    r"([0-9]{3,8})\b(?! \+|-)|"
    r"\b([0-9]{3,8})(?: tokens?)? maximum context",
    re.IGNORECASE,
)
"""The length that a model takes, as backends tell it."""
_FILTERED = re.compile(
    r"content[ _-]?(filter|management policy|policy)|safety (system|filter|policy|setting)|requires moderation|"
    r"(prompt|input|request) (was|is|has been) (flagged|blocked)",
    re.IGNORECASE,
)
_QUOTA = re.compile(r"quota|billing|credit", re.IGNORECASE)
_RATE = re.compile(r"rate.?limit|too.?many.?requests|throttl", re.IGNORECASE)
_OVERLOAD = re.compile(r"overload|unavailable", re.IGNORECASE)
_PAGE = re.compile(
    r"<(!doctype|html|head|body|title|script|style|div|center|h1|p)\b|"
    r"Traceback \(most recent call last\)|\n\s+at (?:\S+\(|(?:[\w.<>\[\] ]{1,80} )?\(?\S{1,200}:[0-9])",
    re.IGNORECASE,
)
"""What tells a web page or a stack trace from a message."""
_DEFAULT_MESSAGE = ("message", "Message", "detail", "error_description", "msg", "error", "title")
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?\s*(?:ms|[smhd])\s*)+")
_STEP = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|[smhd])")
_STATUS = re.compile(r"(?<![0-9.])([45][0-9][0-9])(?![0-9.])")
_PERCENT = re.compile("%[0-9A-F]{2}")
_QUALIFIED = re.compile(r"(?:[\w.]+#)?(\w+)(?::https?:.*)?")
"""An error's type as some services tell it: behind a namespace, before an address."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a failure that `when` tells is to the client; what is None stays as it is."""

    when: Pick
    type: str | None = None
    code: str | None = None
    status: int | None = None
    param: str | None = None
    message: Pick | None = None
    retry: bool | None = None


@dataclass(frozen=True, slots=True)
class ErrorSelectors:
    """Where an error body holds its parts (the mapping's `errors`, or an `error` sink in parts)."""

    message: Pick | None = None
    type: Pick | None = None
    code: Pick | None = None
    status: Pick | None = None
    retry_after: Pick | None = None
    when: Pick | None = None
    """What tells a failure from an answer; in a sink."""
    rules: tuple[Rule, ...] = ()


NO_ERRORS = ErrorSelectors()
"""What a mapping without `errors` says."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a backend tells of a failure. `retry_after` is in seconds."""

    message: str = ""
    type: str | None = None
    code: str | None = None
    status: int | None = None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class _Meaning:
    """What a backend's status means to a client. `message` stands for the backend's own, which is then kept back."""

    status: int = 502
    type: str = "server_error"
    code: str = "upstream_error"
    retry: bool | None = None
    message: str = ""
    plain: bool = False
    """Whether the backend's message is for the caller, who can mend the request."""
    mapped: bool = True
    """Whether the mapping's own type and code, if it finds any, stand for these."""


_CALLER = "invalid_request_error"
_KEY = _Meaning(
    code="upstream_auth_error",
    retry=False,
    message="the backend refused the credentials that the proxy sent",
    mapped=False,
)
_BUSY = _Meaning(503, "service_unavailable_error", code="server_is_overloaded")
_LATE = _Meaning(504, code="upstream_timeout", retry=False)
"""The client has waited long enough: each further try would cost it and the backend as much again."""
_MEANINGS: Mapping[int, _Meaning] = {
    400: _Meaning(400, _CALLER, "invalid_value", plain=True),
    401: _KEY,
    403: _KEY,
    404: _Meaning(code="upstream_not_found", retry=False, mapped=False),
    408: _Meaning(504, code="upstream_timeout"),
    413: _Meaning(413, _CALLER, "request_too_large", plain=True),
    422: _Meaning(400, _CALLER, "invalid_value", plain=True),
    503: _BUSY,
    504: _LATE,
    524: _LATE,
    529: _BUSY,
}
_OWN_KEY: Mapping[int, _Meaning] = {
    401: _Meaning(401, _CALLER, code="invalid_api_key", retry=False, message="the backend refused your API key"),
    403: _Meaning(403, _CALLER, code="permission_denied", retry=False, message="your API key may not do this"),
}
_REFUSED = _Meaning(retry=False)
_BROKEN = _Meaning()


def redact(text: str, secrets: Iterable[str]) -> str:
    """The text without any secret's value, plain, percent-encoded, escaped as in JSON, or in base64."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= 4:
            for form in _forms(secret):
                text = text.replace(form, "***")
    return text


def _forms(secret: str) -> Iterator[str]:
    """How somebody else may spell a secret: what holds another form comes before it."""
    yield secret
    for quoted in (quote(secret, safe=""), quote_plus(secret), quote(secret)):
        yield quoted
        yield _PERCENT.sub(lambda at: at[0].lower(), quoted)
    for escaped in (jsontext.dump(secret).decode()[1:-1], json.dumps(secret)[1:-1]):
        yield escaped
        yield escaped.replace("/", "\\/")
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        encoded = encode(secret.encode()).decode()
        yield encoded
        yield encoded.rstrip("=")


def sealed(error: BackendError, secrets: Collection[str]) -> BackendError:
    """The error, which tells no secret that the backend put into it."""
    error.message, error.detail = redact(error.message, secrets), redact(error.detail, secrets)
    return error


def redact_cut(text: str, secrets: Iterable[str]) -> str:
    """As `redact`, where a message quotes values that may be cut: at `…`, or at a quote."""
    text = redact(text, secrets)
    for secret in secrets:
        for form in {secret, jsontext.dump(secret).decode()[1:-1]}:
            for end in ("…", "'"):
                for size in range(len(form) - 1, 3, -1):
                    text = text.replace(form[:size] + end, f"***{end}")
    return text


def tell(message: str, secrets: Iterable[str]) -> str:
    """A backend's message as a client may see it: one short line, no secrets; "" for a page or a stack trace."""
    if _PAGE.search(message):
        return ""
    return redact(" ".join(redact(message, secrets).split()), secrets)[:MAX_MESSAGE]


def find_message(body: Json) -> str:
    """The message of an error body of unknown shape, at the places where most APIs put it; "" when there is none."""
    if isinstance(body, list):
        return find_message(body[0]) if body else ""
    if isinstance(body, str):
        return body
    if not isinstance(body, dict):
        return ""
    for key in ("error", "errors", "detail"):
        if isinstance(body.get(key), dict | list) and (inner := find_message(body[key])):
            return inner
    for key in _DEFAULT_MESSAGE:
        if isinstance(body.get(key), str) and body[key]:
            return str(body[key])
    return ""


def not_a_page() -> BackendError:
    """The error for markup where data should come."""
    message = "the backend answered with a web page or XML, not with what its mapping describes"
    return BackendError(message, code="upstream_invalid_response")


def from_status(
    status: int,
    message: str,
    *,
    retry_after: float | None = None,
    type: str | None = None,  # noqa: A002 - OpenAI's word
    code: str | None = None,
    secrets: Iterable[str] = (),
    answered: int | None = None,
) -> BackendError:
    """The error for a backend's status of 300 or more and the message in its body.

    `answered` is the status that it answered, where the mapping takes that for another one.
    """
    told = tell(message, secrets)
    said = f"the backend answered {answered or status}" + (f": {told}" if told else "")
    detail = f"the backend answered {answered or status}: {told or '(no message)'}"
    if status in (400, 413, 422, 500) and (_CONTEXT.search(message) or _CONTEXT.search(code or "")):
        return _too_long(told, detail)
    if status in (400, 403, 422, 451) and (_FILTERED.search(message) or _FILTERED.search(code or "")):
        return _filtered(told or said, detail, code)
    if status in (402, 429):
        spent = status == 402 or bool(_QUOTA.search(message))
        return _rate_limited(told or said, detail, retry_after, quota=spent)
    if status < 400:
        said = f"the backend answered {status}: redirects are not followed"
        return BackendError(said, code="upstream_redirect", detail=detail, retry=False)
    meaning = _MEANINGS.get(status) or (_REFUSED if status < 500 else _BROKEN)
    own_type = redact(type, secrets) if type and meaning.mapped and not meaning.plain else None
    own_code = redact(code, secrets) if code and meaning.mapped else None
    return BackendError(
        meaning.message or ((told or said) if meaning.plain else said),
        status=meaning.status,
        type=own_type or meaning.type,
        code=own_code or meaning.code,
        detail=detail,
        retry_after=_clamped(retry_after) if meaning.retry is None and not meaning.plain else None,
        retry=meaning.retry,
    )


def refused_key(status: int, message: str, secrets: Iterable[str]) -> BackendError:
    """The error for a 401 or 403 to a client whose own key it is that was sent on: the client can mend that."""
    told = tell(message, secrets)
    meaning = _OWN_KEY[status]
    return BackendError(
        told or meaning.message,
        status=meaning.status,
        type=meaning.type,
        code=meaning.code,
        detail=f"the backend answered {status}: {told or '(no message)'}",
        retry=meaning.retry,
    )


def told_by(found: Json) -> Told:
    """What a value tells that is a failure: a message, or an object with one."""
    if not isinstance(found, dict):
        return Told(find_message(found))
    keys = ("status", "status_code", "code", "httpCode", "http_code")
    status = next((number for key in keys if (number := _status(found.get(key)))), None)
    return Told(find_message(found), word(found.get("type")), word(found.get("code")), status)


def from_told(told: Told, secrets: Iterable[str]) -> BackendError:
    """The error for what was told of a failure; without a status, words and then 502 stand for it."""
    if told.status is None:
        error = from_words(told.message, told.type, told.code, secrets)
        if error.retry_after is None and told.retry_after is not None and error.status >= 429:
            error.retry_after = _clamped(told.retry_after)
        return error
    return from_status(
        told.status,
        told.message,
        retry_after=told.retry_after,
        type=told.type,
        code=told.code,
        secrets=secrets,
    )


def from_words(message: str, kind: str | None, code: str | None, secrets: Iterable[str]) -> BackendError:
    """The error for a message, type and code that came with status 200; well-known words give it its own status."""
    words = f"{kind} {code}"
    status = 429 if _RATE.search(words) else 503 if _OVERLOAD.search(words) else _status(code)
    if status is None and any(_CONTEXT.search(said) or _FILTERED.search(said) for said in (message, words)):
        status = 400
    if status is not None:
        return from_status(status, message, type=kind, code=code, secrets=secrets)
    told = tell(message, secrets)
    own_type, own_code = (redact(own, secrets) if own else None for own in (kind, code))
    return BackendError(told or "the backend reported a failure", type=own_type, code=own_code, detail=told)


def tells_failure(frame: Frame) -> bool:
    """Whether a frame calls itself an error: by its name as a server-sent event, or by a binary framing's headers."""
    return frame.event == "error" or frame.headers.get(":message-type") in ("error", "exception")


def told_by_frame(frame: Frame, body: Json) -> Told:
    """What a frame tells that calls itself an error; `body` is its payload, as text where it is not JSON."""
    headers = frame.headers
    kind, code = (word(headers.get(name)) for name in (":exception-type", ":error-code"))
    if kind or code or ":error-message" in headers:
        return Told(find_message(body) or headers.get(":error-message", ""), kind or code, code)
    return told_by(body["error"] if isinstance(body, dict) and body.get("error") else body)


def retry_seconds(value: Json, now: float) -> float | None:
    """How long to wait, in seconds: a number of them, text such as `34.4s` or `1m30s`, or a date to come.

    Dates are those of HTTP (RFC 9110, 5.6.7) and of RFC 3339; `now` is in seconds since 1970.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if 0 <= value < float("inf") else None
    if not isinstance(value, str):
        return None
    value = value.strip()
    if re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", value):
        return float(value)
    if len(value) > MAX_WORD:
        return None
    if _DURATION.fullmatch(value):
        return sum(float(number) * _UNITS[unit] for number, unit in _STEP.findall(value))
    try:
        date = datetime.fromisoformat(value) if value[:1].isdigit() else parsedate_to_datetime(value)
        return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None


def waiting_time(headers: Mapping[str, str], now: float) -> float | None:
    """How long a backend's headers (lower case) say to wait, in seconds."""
    exact = headers.get("retry-after-ms", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(?:\.[0-9]+)?", exact):
        return float(exact) / 1000
    return retry_seconds(headers.get("retry-after"), now)


def status_in(value: Json) -> int | None:
    """The HTTP status of failure that a selector found: a number, or the first one in a short text."""
    if isinstance(value, str):
        found = _STATUS.search(value[:MAX_WORD])
        return int(found[1]) if found else None
    return _status(value)


def _too_long(told: str, detail: str) -> BackendError:
    """The request is too long: by these words, and this code, clients know it."""
    found = None if _TOLD_LIMIT.search(told) else _LIMIT.search(told)
    limit = f"This model's maximum context length is {found[1] or found[2]} tokens. " if found else ""
    return BackendError(
        limit + (told or "the request is longer than the model's context length"),
        status=400,
        type=_CALLER,
        code="context_length_exceeded",
        param="messages",
        detail=detail,
    )


def _filtered(message: str, detail: str, code: str | None) -> BackendError:
    """The backend will not answer such a request."""
    made = BackendError(message, status=400, type=_CALLER, code="content_filter", detail=detail)
    if code == "content_policy_violation":
        made.code = code
    return made


def _rate_limited(message: str, detail: str, retry_after: float | None, quota: bool) -> BackendError:
    """Too many requests, or no more of them at all: a quota that a wait mends is a rate limit too."""
    spent = quota and retry_after is None
    patient = retry_after is None or retry_after <= MAX_RETRY_AFTER
    return BackendError(
        message,
        status=429,
        type="insufficient_quota" if spent else "rate_limit_error",
        code="insufficient_quota" if spent else "rate_limit_exceeded",
        detail=detail,
        retry_after=_clamped(retry_after),
        retry=False if spent or not patient else None,
    )


def _clamped(seconds: float | None) -> float | None:
    return None if seconds is None else min(seconds, MAX_RETRY_AFTER)


def word(value: Json) -> str | None:
    """A type or a code as a short word; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    if isinstance(value, int) and not 0 < abs(value) < 10**9:
        return None
    text = str(value)
    found = _QUALIFIED.fullmatch(text)
    return (found[1] if found else text)[:MAX_WORD] or None


def _status(value: Json) -> int | None:
    """An HTTP status of failure, as a number or as text."""
    if isinstance(value, str) and re.fullmatch(r"[45][0-9][0-9]", value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 400 <= value < 600 else None
