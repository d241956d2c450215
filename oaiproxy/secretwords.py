"""Which names tell that a value is secret, which values stand for none, and where there are some in what is no YAML."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from oaiproxy.diagnostics import Diagnostic, Severity, Span

SHORTEST = 6
"""Characters of a secret; a shorter one stands for none."""
KEYLIKE = re.compile(r"(?=\D*\d)[^\s{}]{16,}", re.ASCII)
"""What is no name of a key in a mapping, but rather a secret."""

CREDENTIAL = re.compile(r"(proxy-)?authorization|cookie|([\w]+-)*api[-_]?key", re.IGNORECASE | re.ASCII)
"""Names whose values are secrets wherever they stand."""
OTHER = re.compile(r"([\w-]*[_-])?(token|secret|password|key)|apikey|auth", re.IGNORECASE | re.ASCII)
"""Names whose values may be secrets."""
_OWN = re.compile(
    r"bearer|basic|value|pass|passwd|passphrase|pw|pwd|credentials?|(api|access|secret|private)key"
    r"|([\w-]*[_-])?(secret|password|key)s",
    re.IGNORECASE | re.ASCII,
)
"""More of them, of blocks about credentials."""
NAMES = re.compile(r"name|header|query|passthrough|from|to|in|type|kind|scheme|method|send|prefix|models", re.I)
"""Keys of such blocks whose values are names: of headers, parameters and kinds."""
OPEN = re.compile(
    r"[\w-]*(url|uri|endpoint|id|path)|scopes?|user|username|email|audience|region|service|algorithm|alg|ttl|requests"
    r"|access_key|expires_\w+|refresh_on|strip",
    re.IGNORECASE | re.ASCII,
)
"""Keys of such blocks whose values may be read."""
WORD = re.compile(
    r"bearer|basic|passthrough|header|headers|query|oauth2?|login|sigv4|jwt|sign|oauth2?[-_]client[-_]credentials|digest"
    r"|client[-_]credentials|authorization|api[-_]?key|x-api-key|cookie|token|secret|password|key|gcp_service_account",
    re.IGNORECASE,
)
"""Values that name something."""
NAME = re.compile(r"[A-Za-z][\w.-]*|true|false", re.ASCII)
_SCHEME = re.compile(r"(?:bearer|basic|token|key|api-?key)[ =:]+", re.IGNORECASE)
_STANDS_FOR_NONE = re.compile(
    r"(none|null|empty|dummy|test|unused|changeme|no-?key|not[-_ ]?needed|not[-_ ]?used|placeholder)"
    r"|(my|your)[-_ ].*|.*[-_ ]here|<.*>|\[.*\]|(.)\3*|example.*",
    re.IGNORECASE | re.DOTALL,
)


def tells(name: str) -> bool:
    """Whether a name says that what stands under it may be secret."""
    return any(each.fullmatch(name) for each in (CREDENTIAL, OTHER, _OWN))


def stands_for_none(text: str) -> bool:
    """Whether it is a word such as `none`, or one sign again and again, be it behind the beginning of a key."""
    return any(_STANDS_FOR_NONE.fullmatch(each) for each in (text, re.sub(r"^\w+[-_]", "", text)))


def without_scheme(text: str) -> str:
    """A credential without the word before it, such as `Bearer`."""
    return _SCHEME.sub("", text.strip(), count=1) if _SCHEME.match(text.strip()) else text.strip()


def is_literal(text: str, shortest: int = SHORTEST) -> bool:
    """Whether text that stands for a secret may be one: it is long enough, and no word for none."""
    text = without_scheme(text)
    return len(text) >= shortest and not stands_for_none(text)


_LABEL = "take it from the environment: `${NAME}`, or from a file: `${file:/run/secrets/key}`"
_ANYONE = "whoever reads the file has it, and so has every copy of it"


def written_out(name: str | int, span: Span) -> Diagnostic:
    """The finding about a secret, which is not shown; `name` is what it stands under, if that is known."""
    message = f"`{name}` holds a secret, written out" if name else "this looks like a secret"
    return Diagnostic("W106", message, span, _LABEL, _ANYONE, Severity.WARNING, conceal=True)


_BREAK = re.compile(r"\r\n|\r|\n")
_BLOCK = re.compile(r"(?:.*[\s{,-])?[\"']?(?:auth|keys)[\"']?[ \t]*:", re.IGNORECASE)
_PIECE = re.compile(r"[^\s,{}\[\]\"':=]+")
_SELECTOR = re.compile("[a-z_.]+")
_NAMING = re.compile(r"[\"']?[ \t]*[:=]")
_NOT_TEXT = re.compile(r"\{\{[^{}]*\}\}|\$\{\w+(?=[:}\s\"']|$)(?::-)?|\$\{[A-Z][A-Z -]*(?=[:}])(?::-)?|(?<!\S)#.*")


def in_broken(texts: Mapping[str, str], findings: Iterable[Diagnostic]) -> Iterator[Diagnostic]:
    """What may be secrets in files that are no YAML, in the lines that findings show."""
    for file, number in dict.fromkeys((found.span.file, found.span.line) for found in findings if found.span):
        lines = _BREAK.split(texts[file].removeprefix("\ufeff"))[:number]
        line = _NOT_TEXT.sub(lambda at: " " * len(at[0]), lines[-1])
        for start, end in _pieces(line, inside=_is_in_block(lines)):
            yield written_out("", Span(file, number, start + 1, number, end + 1))


def _is_in_block(lines: list[str]) -> bool:
    """Whether the last line, or one that it is indented under, begins a block about secrets."""
    indent = len(lines[-1])
    for line in reversed(lines):
        depth = len(line) - len(line.lstrip())
        if line.strip() and (depth < indent or (depth == indent and _BLOCK.match(line))):
            if _BLOCK.match(line):
                return True
            indent = depth
    return False


def _pieces(line: str, *, inside: bool) -> Iterator[tuple[int, int]]:
    """The secrets of a line, from where to where they go."""
    name = ""
    for found in _PIECE.finditer(line):
        word = found[0]
        if (_NAMING.match(line, found.end()) and not (inside and KEYLIKE.fullmatch(word))) or re.fullmatch(
            "bearer|basic", word, re.IGNORECASE
        ):
            name = word
        elif not (OPEN.fullmatch(name) or WORD.fullmatch(word) or word.startswith("//")):
            named = NAMES.fullmatch(name) and NAME.fullmatch(word)
            selects = _SELECTOR.fullmatch(word) and not CREDENTIAL.fullmatch(name)
            if is_literal(word) and ((inside and not named) or (tells(name) and not selects)):
                yield found.span()
