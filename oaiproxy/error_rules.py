"""A backend's failure to the client's error, in the words of the mapping's `errors`: its selectors, then its rules."""

from __future__ import annotations

from collections.abc import Iterable

from oaiproxy import jsontext
from oaiproxy.errors import BackendError, ClientError
from oaiproxy.failures import (
    ErrorSelectors,
    Rule,
    Told,
    find_message,
    from_status,
    from_told,
    refused_key,
    retry_seconds,
    status_in,
    tell,
    waiting_time,
    word,
)
from oaiproxy.filters import text as as_text
from oaiproxy.jsontext import Json
from oaiproxy.picks import Envelope, Pick, compile_condition, compile_pick
from oaiproxy.source import Source
from oaiproxy.templates import Compilation, has_template

_NOTHING = Told()


def compile_rules(source: Source, compilation: Compilation) -> tuple[Rule, ...]:
    """Compile `errors.rules`; what is wrong goes to the compilation's findings."""
    return tuple(
        Rule(
            when=compile_condition(child["when"], compilation),
            type=child.value.get("type"),
            code=child.value.get("code"),
            status=child.value.get("status"),
            param=child.value.get("param"),
            message=_message(child.get("message"), compilation),
            retry=child.value.get("retry"),
        )
        for child in source
    )


def tells(error: ErrorSelectors, value: Json, envelope: Envelope) -> bool:
    """Whether an `error` sink in parts finds a failure: by `when`, else by any part that says what it is."""
    if error.when is not None:
        return bool(error.when(value, envelope))
    if any(pick(value, envelope) for pick in (error.message, error.type, error.code) if pick):
        return True
    return error.status is not None and status_in(error.status(value, envelope)) is not None


def failure(
    errors: ErrorSelectors,
    value: Json,
    envelope: Envelope,
    secrets: Iterable[str],
    *,
    found: Told = _NOTHING,
    sink: ErrorSelectors | None = None,
    own_key: bool = False,
) -> BackendError:
    """The error for a failure that `value` tells, the body or a frame's payload.

    What the sink in parts selects comes first, then what the mapping's `errors` select, then what was `found` without
    them. The first rule that fits has the last word. `own_key` says that the client's own key was sent on.
    """

    def selected(part: str) -> Json:
        for block in (sink, errors):
            pick = getattr(block, part, None)
            if pick and (chosen := pick(value, envelope)):
                return chosen
        return None

    waited = retry_seconds(selected("retry_after"), envelope.now)
    told = Told(
        message=find_message(selected("message")) or found.message or find_message(value),
        type=word(selected("type")) or found.type,
        code=word(selected("code")) or found.code,
        status=status_in(selected("status")) or found.status,
        retry_after=found.retry_after if waited is None else waited,
    )
    if own_key and told.status in (401, 403):
        error = refused_key(told.status, told.message, secrets)
    else:
        error = from_told(told, secrets)
    if errors.rules:
        seen = envelope.with_status(told.status or envelope.status)
        for rule in errors.rules:
            if rule.when(value, seen):
                return _ruled(rule, error, told, value, seen, secrets)
    return error


def error_of(
    raw: bytes, envelope: Envelope, errors: ErrorSelectors, secrets: Iterable[str], *, own_key: bool = False
) -> BackendError:
    """The error for a reply with a status of failure and as much of its body as came.

    `envelope` has its status, its headers and the time. `own_key` says that the client's own key was sent on.
    """
    body: Json
    try:
        body = jsontext.parse_lenient(raw)
    except jsontext.JsonError:
        body = raw.decode("utf-8", "replace")
    found = Told(status=envelope.status, retry_after=waiting_time(envelope.headers, envelope.now))
    return failure(errors, body, envelope, secrets, found=found, own_key=own_key)


def _ruled(
    rule: Rule, error: BackendError, told: Told, value: Json, envelope: Envelope, secrets: Iterable[str]
) -> BackendError:
    """The error as a rule has it. A status brings what goes with it: a message for the caller, when to try again."""
    if rule.status is not None:
        detail, answered = error.detail, told.status or envelope.status
        error = from_status(
            rule.status,
            told.message,
            retry_after=told.retry_after,
            type=told.type,
            code=told.code,
            secrets=secrets,
            answered=answered,
        )
        error.status, error.detail = rule.status, detail or error.detail
        if rule.status < 500 and error.type == BackendError.type:
            error.type = ClientError.type
    error.type = rule.type or error.type
    error.code = rule.code or error.code
    error.param = rule.param or error.param
    if rule.message is not None and (said := tell(as_text(rule.message(value, envelope) or ""), secrets)):
        error.message = said
    if rule.retry is not None:
        error.retry = rule.retry
    return error


def _message(source: Source | None, compilation: Compilation) -> Pick | None:
    """What a rule says: text as it stands, or a template over the failed reply."""
    if source is None or has_template(source.value):
        return compile_pick(source, compilation) if source else None
    text = source.value
    return lambda value, envelope: text
