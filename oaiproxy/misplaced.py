"""Secrets that are written out where the schema wants none: they are not to be shown either.

They are told by the block that they stand in and by the names around them, so that those names stay readable.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from oaiproxy.diagnostics import Span
from oaiproxy.document import Path
from oaiproxy.secretwords import (
    CREDENTIAL,
    KEYLIKE,
    NAME,
    NAMES,
    OPEN,
    WORD,
    is_literal,
    tells,
    without_scheme,
)
from oaiproxy.source import Source
from oaiproxy.templates import has_template

Found: TypeAlias = tuple[str, Span]
"""The name under which a secret stands, or "", and the secret's place."""

_BREAK = re.compile(r"\r\n|\r|\n")
_OPEN_PLACES = (["login", "token"], ["tls", "key"])
"""Where a selector and the name of a file stand."""
_READ = ("response", "errors", "events")
"""Blocks of selectors and of words to compare with, whose keys may be any."""

_LINE = re.compile(r"([\w-]+)[ \t]*[:=][ \t]*(.+)", re.DOTALL | re.ASCII)
_IN_ADDRESS = re.compile(r"://[^/?#@\s:]*:([^/?#@\s]+)@|[?&]([\w.-]+)=([^&#\s]+)", re.ASCII)
_DEFAULT = re.compile(r"\$\{[^{}]*?:-([^{}]+)\}")
_TEMPLATE = re.compile(r"\{\{.*?(?:\}\}|\Z)", re.DOTALL)
_LITERAL = re.compile(r"'([^'\\]+)'|\"([^\"\\]+)\"")
_REFERENCE = re.compile(r"\$\{[^{}]*\}?|\$[A-Z_][A-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class Places:
    """What a kind of file says of its secrets: `owner` is the block about them, and `known` whether the schema takes
    what stands at a path."""

    owner: Path
    known: Callable[[Path], bool]

    def misplaced(self, root: Source) -> Iterator[Found]:
        """The secrets that are told by their surroundings."""
        for key, value in root.items() if isinstance(root.value, dict) else ():
            if key != "examples":
                yield from self._of_key(root, key)
                yield from self._below(value)

    def _below(self, source: Source) -> Iterator[Found]:
        match source.value:
            case dict():
                for key, child in source.items():
                    yield from self._of_key(source, key)
                    yield from self._below(child)
            case list():
                for item in source:
                    yield from self._below(item)
            case str() | int() | float() if not isinstance(source.value, bool):
                yield from self._of_value(source)

    def _of_key(self, owner: Source, key: str) -> Iterator[Found]:
        """A key of a mapping that was to be its value: `{Bearer abc}`."""
        path = (*owner.path, key)
        inside = self._is_inside(path) and not self.known(path)
        if _is_header(key) or (inside and (_is_line(key) or KEYLIKE.fullmatch(key))):
            yield "", owner.document.span(path, key=True)

    def _of_value(self, source: Source) -> Iterator[Found]:
        names = [step for step in source.path if isinstance(step, str)]
        name, written = names[-1], _written(source)
        if defaults := [found[1] for found in _DEFAULT.finditer(written) if is_literal(found[1])]:
            if tells(name):
                yield name, _within(source, defaults[0])
            return
        if source.document.written(source.path) is not None:
            return
        text, inside = str(source.value), self._is_inside(source.path)
        if found := [*_in_address(text), *(_in_template(text) if CREDENTIAL.fullmatch(name) or inside else ())]:
            yield from ((name, _within(source, each)) for each in found)
        elif self._is_secret(source, names, _TEMPLATE.sub("", text) if inside else text):
            yield name, source.span()

    def _is_inside(self, path: Path) -> bool:
        return path[: len(self.owner)] == self.owner

    def _is_secret(self, source: Source, names: list[str], text: str) -> bool:
        name, known = names[-1], self.known(source.path)
        if (
            names[-2:] in _OPEN_PLACES
            or has_template(text)
            or not is_literal(text)
            or WORD.fullmatch(text)
            or re.match(r"https?://\S+$", text)
        ):
            return False
        if _is_header(text):
            return True
        if self._is_inside(source.path):
            return self._is_of_owner(name, text, known=known)
        if any(each in _READ for each in names):
            return False
        if CREDENTIAL.fullmatch(name):
            return True
        if known or (NAMES.fullmatch(name) and NAME.fullmatch(text)):
            return False
        around = [*self._refused(source.path), *_siblings(source)]
        return any(each != "value" and tells(each) for each in around) or _is_line(text)

    def _refused(self, path: Path) -> list[str]:
        """The keys from the first that the schema does not take."""
        first = next(at for at in range(len(path)) if not self.known(path[: at + 1]))
        return [step for step in path[first:] if isinstance(step, str)]

    def _is_of_owner(self, name: str, text: str, *, known: bool) -> bool:
        if NAMES.fullmatch(name):
            return not NAME.fullmatch(text)
        if OPEN.fullmatch(name):
            return False
        return not known or tells(name)


def _siblings(source: Source) -> Iterator[str]:
    """The names that stand beside a value: `{name: authorization, value: ...}`."""
    beside: Any = source.document.data
    for step in source.path[:-1]:
        beside = beside[step]
    if isinstance(beside, dict):
        yield from (each for each in map(beside.get, ("name", "key", "header")) if isinstance(each, str))


def _is_header(text: str) -> bool:
    """Whether it is a credential with its name: `Authorization: Bearer abc`."""
    found = _LINE.fullmatch(text.strip())
    return bool(found and CREDENTIAL.fullmatch(found[1]) and _is_value(found[2]))


def _is_line(text: str) -> bool:
    """Whether it is a value behind what says that it is secret: `Bearer abc`, `key=abc`."""
    found = _LINE.fullmatch(text.strip())
    if found and tells(found[1]) and _is_value(found[2]):
        return True
    return without_scheme(text) != text.strip() and " " not in without_scheme(text) and _is_value(without_scheme(text))


def _is_value(text: str) -> bool:
    return is_literal(_REFERENCE.sub("", _TEMPLATE.sub("", text)))


def _in_address(text: str) -> Iterator[str]:
    """The secrets in an address: a password before the host, a key among the parameters."""
    for found in _IN_ADDRESS.finditer(text) if not re.search(r"\s", _TEMPLATE.sub("", text)) else ():
        value = found[1] or (found[3] if tells(found[2]) else "")
        if _is_value(value) and not re.search(r"\{\{|\$\{", value):
            yield value


def _in_template(text: str) -> Iterator[str]:
    """The keys in a value that is a template: in a literal of it, or beside it."""
    if has_template(text):
        literals = [found[1] or found[2] for found in _LITERAL.finditer(text)]
        for each in (*literals, *_TEMPLATE.split(text)):
            if KEYLIKE.fullmatch(without_scheme(each)) and is_literal(each):
                yield without_scheme(each)


def _written(source: Source) -> str:
    """A scalar of one line, as it stands in the file."""
    span = source.span()
    lines = _lines(source.document.sources.get(span.file, ""))
    return lines[span.line - 1][span.column - 1 : span.end_column - 1] if span.line == span.end_line else ""


@lru_cache(maxsize=8)
def _lines(text: str) -> list[str]:
    return _BREAK.split(text)


def _within(source: Source, part: str) -> Span:
    """Where a part of a scalar stands, or all of it."""
    span, at = source.span(), _written(source).find(part)
    if at < 0:
        return span
    return Span(span.file, span.line, span.column + at, span.line, span.column + at + len(part))


def takes(schema: Mapping[str, Any], path: Path) -> bool:
    """Whether a schema of plain blocks and lists knows a path."""
    part: Any = schema
    for step in path:
        part = schema.get("$defs", {}).get(str(part.get("$ref", "")).removeprefix("#/$defs/"), part)
        part = part.get("items") if isinstance(step, int) else part.get("properties", {}).get(step)
        if part is None:
            return False
    return True
