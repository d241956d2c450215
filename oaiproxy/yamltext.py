"""Data to YAML text that people like to read: short things on a line, long ones as blocks, lines as lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from oaiproxy.jsontext import Json
from oaiproxy.scalars import core_value

WIDTH = 120
"""Columns that a line may have, where it can be broken."""

# What is surely itself without quotes; a sign that may mean something stands inside of a word, or not at all.
_PLAIN = re.compile(r"(?:[^\W\d_]|/(?=\w))(?:[\w /.+=*()-]|[!?'](?!\Z)|[?](?=\Z)|:(?=[\w/]))*")
_FLOW_KEY = re.compile(r"[^\W\d][\w./-]*")
_ESCAPED = re.compile("[\x00-\x1f\x7f-\xa0\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff\ue000-\uf8ff]")
_LITERAL = re.compile("[^\x00-\x09\x0b-\x1f\x7f-\xa0\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff\ue000-\uf8ff]*")


def inline(value: Json, *, strict: bool = False) -> str:
    """A value on one line, as it can stand anywhere; `strict` is JSON's own way."""
    match value:
        case dict():
            keys = (f"{_scalar(key, strict, _FLOW_KEY)}: {inline(item, strict=strict)}" for key, item in value.items())
            return "{" + ", ".join(keys) + "}"
        case list():
            return "[" + ", ".join(inline(item, strict=strict) for item in value) + "]"
    return _scalar(value, strict, _PLAIN)


def after_key(value: Json, indent: int, at: int, *, deep: int = 0) -> str:
    """What stands behind `key:`, from its blank or line break on; its lines are indented by `indent`.

    `at` is the column behind the colon; the outermost `deep` levels are blocks, also where they are short.
    """
    if isinstance(value, str) and (lines := _literal(value)) is not None:
        return " " + "\n".join([_chomping(value), *(" " * indent + line if line else "" for line in lines)])
    if not isinstance(value, dict | list) or not value or (not deep and _fits(value, at + 1)):
        return " " + inline(value)
    return "\n" + "\n".join(" " * indent + line for line in _lines(value, indent, max(deep - 1, 0)))


def after_dash(value: Json, indent: int, *, deep: int = 0) -> str:
    """What stands behind `-`; `indent` is the column of the lines that belong to the item."""
    if isinstance(value, dict) and value and (deep or not _fits(value, indent)):
        return " " + ("\n" + " " * indent).join(_lines(value, indent, max(deep - 1, 0)))
    return after_key(value, indent, indent - 1, deep=deep)


def _lines(value: dict[str, Json] | list[Json], indent: int, deep: int) -> Iterator[str]:
    """The entries of a block, without the indentation of their first lines."""
    if isinstance(value, list):
        for item in value:
            yield "-" + after_dash(item, indent + 2, deep=deep)
        return
    for key, item in value.items():
        name = _scalar(key, False, _FLOW_KEY)
        yield f"{name}:" + after_key(item, indent + 2, indent + len(name) + 1, deep=deep)


def _fits(value: Json, at: int) -> bool:
    return not _has_lines(value) and at + len(inline(value)) <= WIDTH


def _has_lines(value: Json) -> bool:
    match value:
        case str():
            return _literal(value) is not None
        case dict():
            return any(map(_has_lines, value.values()))
        case list():
            return any(map(_has_lines, value))
    return False


def _literal(text: str) -> list[str] | None:
    """The lines of a literal block; None where quotes are better, or the only way."""
    if "\n" not in text.rstrip("\n") and len(text) < 40:
        return None
    if "\n" not in text or text[0] in " \n" or not _LITERAL.fullmatch(text):
        return None
    return text.removesuffix("\n").split("\n")


def _chomping(text: str) -> str:
    return "|+" if text.endswith("\n\n") else "|" if text.endswith("\n") else "|-"


def _scalar(value: Json, strict: bool, plain: re.Pattern[str]) -> str:
    if not isinstance(value, str):
        return json.dumps(value, allow_nan=False)
    if not strict and plain.fullmatch(value) and not value.endswith(" ") and core_value(value) == value:
        return value
    quoted = json.dumps(value, ensure_ascii=False)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)
