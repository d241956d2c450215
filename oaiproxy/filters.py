"""The filters of the template language: plain functions on JSON data, every one listed in `FILTERS`.

An absent value passes through all of them but `default` (see `templates`), so none has to think of it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from oaiproxy import jsontext
from oaiproxy.jsontext import Json
from oaiproxy.selectors import Selector, SelectorError, compile_selector

MAX_TEXT = 64 * 1024 * 1024
"""Characters that one filter may make of its input: a bound on what a template can cost."""


class FilterError(ValueError):
    """A filter got a value it cannot use; the message names the filter and the kind of value, never its content."""


class NoEnvelope:
    """What the envelope functions of a selector see where there is no frame: nothing."""

    event = ""
    id = ""
    fields: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    status = 0
    raw = b""


def kind(value: Json) -> str:
    """The JSON name of a value's type, for messages."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case Mapping():
            return "an object"
    return "a list"


def text(value: Json) -> str:
    """A value as text: strings as they are, everything else as compact JSON."""
    return value if isinstance(value, str) else jsontext.dump(value).decode()


def clamp(value: Json, low: float, high: float) -> float:
    """The number, not below `low` and not above `high`."""
    return min(max(_number("clamp", value), low), high)


def integer(value: Json) -> int:
    """The number without its fraction; text is read as a number."""
    try:
        return int(value) if not isinstance(value, str) else int(float(value)) if "." in value else int(value)
    except (TypeError, ValueError, OverflowError):
        raise FilterError(f"`int` cannot read {kind(value)} as a number") from None


def floating(value: Json) -> float:
    """The number as a floating-point number; text is read as a number."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise FilterError(f"`float` cannot read {kind(value)} as a number") from None


def rounded(value: Json, digits: int = 0) -> float:
    """The number rounded to `digits` decimals; to an integer when `digits` is 0."""
    number = _number("round", value)
    return round(number, digits) if digits else round(number)


def lower(value: Json) -> str:
    """The text in lower case."""
    return text(value).lower()


def upper(value: Json) -> str:
    """The text in upper case."""
    return text(value).upper()


def trim(value: Json, characters: str | None = None) -> str:
    """The text without white space (or without `characters`) at both ends."""
    return text(value).strip(characters)


def replace(value: Json, old: str, new: str) -> str:
    """The text with every `old` replaced by `new`."""
    whole = text(value)
    if old and len(whole) + whole.count(old) * (len(new) - len(old)) > MAX_TEXT:
        raise FilterError(f"`replace` would make more than {MAX_TEXT} characters")
    return whole.replace(old, new)


def split(value: Json, separator: str | None = None) -> list[str]:
    """The pieces of the text between separators (white space when none is given)."""
    return text(value).split(separator)


def join(value: Json, separator: str = "") -> str:
    """The items as one text."""
    items = [text(item) for item in _items("join", value)]
    if sum(map(len, items)) + len(separator) * len(items) > MAX_TEXT:
        raise FilterError(f"`join` would make more than {MAX_TEXT} characters")
    return separator.join(items)


def first(value: Json) -> Json:
    """The first item; absent when there is none."""
    return value[0] if isinstance(value, str | list) and value else ABSENT_ITEM


def last(value: Json) -> Json:
    """The last item; absent when there is none."""
    return value[-1] if isinstance(value, str | list) and value else ABSENT_ITEM


def length(value: Json) -> int:
    """How many items a list, keys an object or characters a text has."""
    if isinstance(value, str | list | dict):
        return len(value)
    raise FilterError(f"`length` cannot count {kind(value)}")


def unique(value: Json) -> list[Json]:
    """The items without repetitions, in their first order."""
    seen: dict[bytes, Json] = {}
    for item in _items("unique", value):
        seen.setdefault(jsontext.dump(item), item)
    return list(seen.values())


def to_json(value: Json) -> str:
    """The value as compact JSON text."""
    return jsontext.dump(value).decode()


def parse_json(value: Json) -> Json:
    """The value that the JSON text stands for; absent when it is not JSON."""
    try:
        return jsontext.parse_lenient(text(value))
    except jsontext.JsonError:
        return ABSENT_ITEM


def map_to(value: Json, table: Mapping[str, Json], fallback: Json = None) -> Json:
    """What `table` gives for the value; else `fallback`, else absent."""
    found = table.get(text(value), fallback)
    return ABSENT_ITEM if found is None else found


def strip_keys(value: Json, *keys: str) -> Json:
    """The value without the named keys, at every depth."""
    if isinstance(value, dict):
        return {key: strip_keys(item, *keys) for key, item in value.items() if key not in keys}
    if isinstance(value, list):
        return [strip_keys(item, *keys) for item in value]
    return value


def merge(value: Json, other: Mapping[str, Json]) -> dict[str, Json]:
    """The object with the keys of `other` added or replaced."""
    if not isinstance(value, dict) or not isinstance(other, dict):
        raise FilterError(f"`merge` joins two objects, not {kind(value)} and {kind(other)}")
    return value | other


def b64(value: Json) -> str:
    """The text's UTF-8 bytes in base64."""
    return base64.b64encode(text(value).encode()).decode()


def urlencode(value: Json) -> str:
    """The text percent-encoded, slashes too."""
    return quote(text(value), safe="")


def sha256(value: Json) -> str:
    """The SHA-256 of the text's UTF-8 bytes, in hexadecimal."""
    return hashlib.sha256(text(value).encode()).hexdigest()


def date(value: Json, form: str = "%Y-%m-%dT%H:%M:%SZ") -> str:
    """Seconds since 1970 as a date in UTC, in strftime's `form` (ISO 8601 when left out)."""
    try:
        return datetime.fromtimestamp(_number("date", value), UTC).strftime(form)
    except (OverflowError, OSError, ValueError) as error:
        raise FilterError(f"`date` cannot use this number or form: {error}") from None


def jmes(value: Json, expression: str) -> Json:
    """What a JMESPath expression picks from the value; absent when it picks nothing."""
    try:
        selector: Selector = compile_selector(expression)
    except SelectorError as error:
        raise FilterError(f"`jmes`: {error}") from None
    found = selector(value, NoEnvelope())
    return ABSENT_ITEM if found is None else found


def _number(name: str, value: Json) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FilterError(f"`{name}` needs a number, not {kind(value)}")
    return value


def _items(name: str, value: Json) -> Iterable[Json]:
    if isinstance(value, list):
        return value
    raise FilterError(f"`{name}` needs a list, not {kind(value)}")


class _AbsentItem:
    """Stands for "no value" between a filter and the template engine, which turns it into its own absent value."""


ABSENT_ITEM = _AbsentItem()

FILTERS: dict[str, Callable[..., Any]] = {
    "b64": b64,
    "clamp": clamp,
    "date": date,
    "first": first,
    "float": floating,
    "int": integer,
    "jmes": jmes,
    "join": join,
    "json": to_json,
    "last": last,
    "length": length,
    "lower": lower,
    "map_to": map_to,
    "merge": merge,
    "parse_json": parse_json,
    "replace": replace,
    "round": rounded,
    "sha256": sha256,
    "split": split,
    "string": text,
    "strip_keys": strip_keys,
    "trim": trim,
    "unique": unique,
    "upper": upper,
    "urlencode": urlencode,
}
"""By name. `default`, `map`, `select`, `reject`, `selectattr` and `rejectattr`, which know about absence or about other
filters, live with the engine, in `sandbox`."""
