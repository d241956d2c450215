"""A mapping to what it would tell to others: secrets that are written out in it, and plain http."""

from __future__ import annotations

import re
from collections.abc import Iterator

from oaiproxy.addresses import is_safe
from oaiproxy.diagnostics import Diagnostic, Severity
from oaiproxy.nodes import SourceText
from oaiproxy.source import Source
from oaiproxy.templates import has_template

SHORTEST = 6
"""Characters of a secret; a shorter one stands for none."""
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
CREDENTIAL = re.compile(r"(proxy-)?authorization|cookie|(\w+-)*api-?key", re.IGNORECASE | re.ASCII)
_OTHER = re.compile(r"([\w-]*[_-])?(token|secret|password|key)|apikey|auth", re.IGNORECASE | re.ASCII)
_SCHEME = re.compile(r"(?:bearer|basic|token|key|api-?key)[ =]+", re.IGNORECASE)
_STANDS_FOR_NONE = re.compile(
    r"(none|null|empty|dummy|test|unused|changeme|no-?key|not[-_ ]?needed|not[-_ ]?used|placeholder)"
    r"|(my|your)[-_ ].*|.*[-_ ]here|<.*>|\[.*\]|(.)\3*|example.*",
    re.IGNORECASE | re.DOTALL,
)
_SHAPES = re.compile(
    r"(?:sk-[A-Za-z0-9_-]{20,}|AKIA[0-9A-Z]{16}|[a-z]{2,3}_(?=[a-z0-9]*[A-Z])(?=[A-Z0-9]*[a-z])[A-Za-z0-9]{30,}"
    r"|AIza[A-Za-z0-9_-]{35}|xox[abprs]-[A-Za-z0-9-]{20,}|eyJ[A-Za-z0-9_-]{16,}\.eyJ[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]*"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----)(?![A-Za-z0-9_])"
)
"""What keys of well-known kinds look like, from their beginning."""
_SHELL = re.compile(r"\$([A-Z_][A-Z0-9_]*)")
"""A variable as a shell writes it."""
_CANDIDATE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{19,}|-----BEGIN ")
_LABEL = "take it from the environment: `${NAME}`, or from a file: `${file:/run/secrets/key}`"
_ANYONE = "whoever reads the file has it, and so has every copy of it"


def disclosures(root: Source) -> Iterator[Diagnostic]:
    """All that is disclosed. No finding tells a secret: their stretches are concealed."""
    known: set[tuple[str, int, int]] = set()
    for source in _secrets(root):
        span = source.span()
        known.add((span.file, span.line, span.end_line))
        if found := _SHELL.fullmatch(source.value):
            message, label = f"`{source.value}` is no reference, but text", f"did you mean `${{{found[1]}}}`?"
            yield Diagnostic("W006", message, span, label, severity=Severity.WARNING)
            continue
        yield _written(f"`{source.path[-1]}` holds a secret, written out", source)
    yield from _shaped(root, known)
    yield from _plain(root)


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
            if (strict or _OTHER.fullmatch(name)) and _is_secret(child, SHORTEST if strict else SHORTEST_OTHER):
                yield child


def _named(root: Source) -> Iterator[Source]:
    """The headers and parameters of all requests."""
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
    text = _SCHEME.sub("", text.strip(), count=1) if _SCHEME.match(text.strip()) else text.strip()
    return len(text) >= shortest and not (shortest > SHORTEST and " " in text) and not _stands_for_none(text)


def _stands_for_none(text: str) -> bool:
    """Whether it is a word such as `none`, or one sign again and again, be it behind the beginning of a key."""
    return any(_STANDS_FOR_NONE.fullmatch(each) for each in (text, re.sub(r"^\w+[-_]", "", text)))


def _shaped(root: Source, known: set[tuple[str, int, int]]) -> Iterator[Diagnostic]:
    """What looks like a key wherever it stands in the file, also in comments and as a default."""
    text = root.document.text
    source: SourceText | None = None
    for candidate in _CANDIDATE.finditer(text):
        found = _SHAPES.match(text, candidate.start())
        if found is None or "EXAMPLE" in found[0] or _stands_for_none(found[0]):
            continue
        source = source or SourceText(root.document.file, text)
        end = _end_of_key(text, found)
        span = source.span(found.start(), end)
        if not any(span.file == file and first <= span.line <= last for file, first, last in known):
            yield Diagnostic("W106", "this looks like a secret", span, _LABEL, _ANYONE, Severity.WARNING, conceal=True)


def _end_of_key(text: str, found: re.Match[str]) -> int:
    """Where the key ends; a private one goes on to its last line, or to the end."""
    if not found[0].startswith("-----BEGIN"):
        return found.end()
    end = re.compile(r"-----END [A-Z ]*-----").search(text, found.end())
    return end.end() if end else len(text)


def _written(message: str, source: Source) -> Diagnostic:
    return Diagnostic("W106", message, source.span(), _LABEL, _ANYONE, Severity.WARNING, conceal=True)


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
