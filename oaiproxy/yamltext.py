"""Data to YAML text that people like to read: short things on a line, long ones as blocks, lines as lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from oaiproxy.jsontext import Json
from oaiproxy.scalars import core_value

WIDTH = 120
"""Columns that a line may have, where it can be broken."""

_UNSEEN = "\x00-\x1f\x7f-\xa0\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff\ue000-\uf8ff"
_ESCAPED = re.compile(f"[{_UNSEEN}]")
_PLAIN = {
    "flow": re.compile(rf"[\w/.$(][^{_UNSEEN}{{}}\"`\\#\[\],]*"),
    "alone": re.compile(rf"[\w/.$(][^{_UNSEEN}{{}}\"`\\#]*|\$\{{[A-Z_][A-Z0-9_]*(:-https?://[A-Za-z0-9.:/_-]+)?\}}"),
    "key": re.compile(r"[^\W\d][\w./-]*|\$\w+"),
}
"""What stands without quotes: anywhere, on a line of its own, where brackets and commas end nothing, and as a key."""
_CLOSED = re.compile(r":(\s|\Z)|\s\Z")
"""What ends a scalar, or is no part of it."""
_WORDS = frozenset({"yes", "no", "on", "off"})
"""Text to us, and not to all readers of YAML."""
_LITERAL = re.compile(f"[^{_UNSEEN}]*")


def inline(value: Json, *, strict: bool = False) -> str:
    """A value on one line, as it can stand anywhere; `strict` is JSON's own way."""
    match value:
        case dict():
            keys = (
                f"{scalar(key, 'json' if strict else 'key')}: {inline(item, strict=strict)}"
                for key, item in value.items()
            )
            return "{" + ", ".join(keys) + "}"
        case list():
            return "[" + ", ".join(inline(item, strict=strict) for item in value) + "]"
    return scalar(value, "json" if strict else "flow")


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
        name = scalar(key, "key")
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
    if "\n" not in text or text[0] in " \n" or not _LITERAL.fullmatch(text.replace("\n", "")):
        return None
    return text.removesuffix("\n").split("\n")


def _chomping(text: str) -> str:
    return "|+" if text.endswith("\n\n") else "|" if text.endswith("\n") else "|-"


def scalar(value: Json, place: str = "flow") -> str:
    """A value that is neither list nor object; `place` is `flow`, `alone`, `key`, or `json` for a file that is JSON."""
    if not isinstance(value, str):
        return "~" if value is None and place != "json" else json.dumps(value, allow_nan=False)
    if place != "json" and _PLAIN[place].fullmatch(value) and not _CLOSED.search(value) and _is_text(value):
        return value
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


def _is_text(value: str) -> bool:
    """Whether it is read as text where it stands without quotes, here and elsewhere."""
    return value.lower() not in _WORDS and core_value(value) == value and not _NUMBERS.fullmatch(value)


_NUMBERS = re.compile(r"[-+\d:._]+")
"""Times and dates, which YAML 1.1 has as numbers."""
