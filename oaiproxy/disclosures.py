"""A mapping to what it would tell to others: secrets that are written out in it, and plain http."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from oaiproxy.addresses import is_safe
from oaiproxy.diagnostics import Diagnostic, Severity, Span, overlap
from oaiproxy.document import Path
from oaiproxy.misplaced import Places
from oaiproxy.nodes import SourceText
from oaiproxy.secretwords import (
    CREDENTIAL,
    OTHER,
    SHORTEST,
    in_broken,
    is_literal,
    stands_for_none,
    without_scheme,
    written_out,
)
from oaiproxy.source import Source
from oaiproxy.templates import has_template

SHORTEST_OTHER = 16
"""Characters of a secret under a name that may mean something else, such as `key`."""

_KEPT = {
    "": ("bearer", "value"),
    "basic": ("password",),
    "oauth2": ("client_secret", "refresh_token"),
    "sigv4": ("secret_key", "session_token"),
    "jwt": ("key",),
}
"""The keys of `backend.auth`, and of the blocks in it, whose values are secrets."""
_SHAPES = re.compile(
    r"(?:sk-[A-Za-z0-9_-]{20,}|AKIA[0-9A-Z]{16}|[a-z]{2,3}_(?=[a-z0-9]*[A-Z])(?=[A-Z0-9]*[a-z])[A-Za-z0-9]{30,}"
    r"|AIza[A-Za-z0-9_-]{35}|xox[abprs]-[A-Za-z0-9-]{20,}|eyJ[A-Za-z0-9_-]{16,}\.eyJ[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]*"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----)(?![A-Za-z0-9_])"
)
"""What keys of well-known kinds look like, from their beginning."""
_SHELL = re.compile(r"\$([A-Z_][A-Z0-9_]*)")
"""A variable as a shell writes it."""
_CANDIDATE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{19,}|-----BEGIN ")


def disclosures(whole: Source, sound: Source | None, findings: Sequence[Diagnostic]) -> Iterator[Diagnostic]:
    """All that is disclosed. No finding tells a secret: their stretches are concealed.

    `whole` is all that the file says, `sound` the part of it that the schema takes, if any can be saved, and `findings`
    what was found so far: values that YAML or `${...}` cannot take are in no part.
    """
    told: set[Span] = set()
    for source in _secrets(sound) if sound is not None and "backend" in sound.value else ():
        span = source.span()
        told.add(span)
        if found := _SHELL.fullmatch(source.value):
            message, label = f"`{source.value}` is no reference, but text", f"did you mean `${{{found[1]}}}`?"
            yield Diagnostic("W006", message, span, label, severity=Severity.WARNING)
        else:
            yield written_out(source.path[-1], span)
    for name, span in Places(("backend", "auth"), partial(_has, sound)).misplaced(whole):
        if span not in told:
            told.add(span)
            yield written_out(name, span)
    unread = [found for found in findings if found.code in ("E002", "E006")]
    for secret in in_broken(whole.document.sources, unread):
        if secret.span and not any(overlap(secret.span, each) for each in told):
            told.add(secret.span)
            yield secret
    yield from shaped(whole, {(span.file, span.line, span.end_line) for span in told})
    if sound is not None and "backend" in sound.value:
        yield from _plain(sound)


_FREE = ("backend", "auth", "login", "request")
"""A block whose body may have any keys."""


def _has(sound: Source | None, path: Path) -> bool:
    """Whether a value is in what the schema takes; where nothing could be saved, what it might take."""
    if sound is None and path[: len(_FREE)] == _FREE:
        return True
    value: Any = sound.value if sound is not None else None
    try:
        for step in path:
            value = value[step]
    except (KeyError, IndexError, TypeError):
        return False
    return value is not None


def _secrets(root: Source) -> Iterator[Source]:
    """The values that are secrets by their keys, and that are written out."""
    backend = root["backend"]
    if auth := backend.get("auth"):
        for block, keys in _KEPT.items():
            owner = auth.get(block) if block else auth
            for key in keys if owner else ():
                child = owner.get(key) if owner else None
                if child is not None and _is_secret(child, SHORTEST):
                    yield child
        account = auth.get("gcp_service_account")
        if account is not None and "PRIVATE KEY" in str(account.value) and _is_secret(account, SHORTEST):
            yield account
    for part in _named(root):
        for name, child in part.items():
            strict = CREDENTIAL.fullmatch(name)
            if (strict or OTHER.fullmatch(name)) and _is_secret(child, SHORTEST if strict else SHORTEST_OTHER):
                yield child


def _named(root: Source) -> Iterator[Source]:
    """The headers and parameters of all requests, and the constants."""
    if (constants := root.get("vars")) and isinstance(constants.value, dict):
        yield constants
    for place in (root["backend"], *_requests(root)):
        for key in ("headers", "query"):
            part = place.get(key)
            if part is not None and isinstance(part.value, dict):
                yield part


def _requests(root: Source) -> Iterator[Source]:
    for name, endpoint in root.items():
        if name in ("backend", "examples", "models", "vars") or not isinstance(endpoint.value, dict):
            continue
        if request := endpoint.get("request"):
            yield request
        for key in ("stream", "poll"):
            if (part := endpoint.get(key)) and isinstance(part.value, dict) and (request := part.get("request")):
                yield request
        for key in ("before", "after"):
            for step in endpoint.get(key) or ():
                if isinstance(step.value, dict) and (request := step.get("request")):
                    yield request


def _is_secret(source: Source, shortest: int) -> bool:
    """Whether a value is written out, and no word that stands for none."""
    text = source.value
    if not isinstance(text, str) or source.document.written(source.path) is not None or has_template(text):
        return False
    return is_literal(text, shortest) and not (shortest > SHORTEST and " " in without_scheme(text))


def shaped(root: Source, known: set[tuple[str, int, int]]) -> Iterator[Diagnostic]:
    """What looks like a key wherever it stands in the file, also in comments and as a default."""
    text = root.document.text
    source: SourceText | None = None
    for candidate in _CANDIDATE.finditer(text):
        found = _SHAPES.match(text, candidate.start())
        if found is None or "EXAMPLE" in found[0] or stands_for_none(found[0]):
            continue
        source = source or SourceText(root.document.file, text)
        end = _end_of_key(text, found)
        span = source.span(found.start(), end)
        if not any(span.file == file and first <= span.line <= last for file, first, last in known):
            yield written_out("", span)


def _end_of_key(text: str, found: re.Match[str]) -> int:
    """Where the key ends; a private one goes on to its last line, or to the end."""
    if not found[0].startswith("-----BEGIN"):
        return found.end()
    end = re.compile(r"-----END [A-Z ]*-----").search(text, found.end())
    return end.end() if end else len(text)


def _plain(root: Source) -> Iterator[Diagnostic]:
    """An address that is not on this machine, to which requests go without TLS."""
    backend = root["backend"]
    url = backend.get("url")
    if url is None or url.path in root.document.unresolved or not re.match("(http|ws)://", str(url.value), re.I):
        return
    try:
        safe = is_safe(url.value)
    except ValueError:
        return
    if safe or (url.value.lower().startswith("ws:") and "transport" not in backend.value):
        return
    carried = "auth" in backend.value or any(CREDENTIAL.fullmatch(name) for part in _named(root) for name in part.value)
    scheme = "wss" if url.value.lower().startswith("ws") else "https"
    what = "credentials and messages go" if carried else "messages go"
    message = f"`backend.url` is not encrypted: {what} in the clear"
    label = f"write `{scheme}://...`"
    help_ = "plain http is for this machine: `localhost`, 127.0.0.1 or [::1]"
    yield Diagnostic("W107", message, url.span(), label, help_, Severity.WARNING)
