"""The filters of the template language: plain functions on JSON data, every one listed in `FILTERS`.

An absent value passes through all of them but `default` (see `templates`), so none has to think of it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from oaiproxy import jsontext
from oaiproxy.jsontext import Json
from oaiproxy.selectors import Selector, SelectorError, compile_selector

MAX_TEXT = 64 * 1024 * 1024
"""Characters that one filter may make of its input: a bound on what a template can cost."""
MAX_ITEMS = 1_000_000
"""Items that one filter may make of its input."""

_INTEGER = re.compile(r"\s*[-+]?[0-9]+\s*")
_DECIMAL = re.compile(r"\s*[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?\s*")
_DATE_FORM = re.compile(r"(?:[^%\0]|%[A-Za-z%])*")


class FilterError(ValueError):
    """A filter got a value it cannot use; the message names the filter and the kind of value, never its content."""


class Digest(str):
    """The result of a hash: as text it is hexadecimal; `b64`, `hex` and `hmac_sha256` take the bytes it stands for."""

    __slots__ = ()


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
        case Sequence() if not isinstance(value, bytes):
            return "a list"
    return "no JSON value"


def text(value: Json) -> str:
    """The value as text: strings as they are, everything else as compact JSON."""
    return value if isinstance(value, str) else jsontext.dump(value).decode()


def clamp(value: Json, low: float, high: float) -> float:
    """The number, not below `low` and not above `high`."""
    return min(max(_number("clamp", value), _number("clamp", low)), _number("clamp", high))


def integer(value: Json) -> int:
    """The number without its fraction; text is read as a number."""
    try:
        if isinstance(value, str):
            return int(value) if _INTEGER.fullmatch(value) else int(floating(value))
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise FilterError(f"`int` cannot read {kind(value)} as an integer") from None


def floating(value: Json) -> float:
    """The number as a floating-point number; text is read as a number."""
    try:
        if isinstance(value, str) and not _DECIMAL.fullmatch(value):
            raise ValueError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise FilterError(f"`float` cannot read {kind(value)} as a number") from None


def rounded(value: Json, digits: int = 0) -> float:
    """The number rounded to `digits` decimals, halves to the even digit; to an integer when `digits` is 0."""
    number = _number("round", value)
    if not -30 <= _number("round", digits) <= 30:
        raise FilterError("`round` takes at most 30 digits")
    return round(number, int(digits)) if digits else round(number)


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
    whole, old, new = text(value), text(old), text(new)
    if not old:
        raise FilterError("`replace` needs something to replace, not an empty text")
    if len(new) > len(old):
        _check_size("replace", len(whole) + whole.count(old) * (len(new) - len(old)))
    return whole.replace(old, new)


def split(value: Json, separator: str | None = None) -> list[str]:
    """The pieces of the text between separators (white space when none is given)."""
    if separator == "":
        raise FilterError("`split` needs a separator, not an empty text")
    pieces = text(value).split(separator, MAX_ITEMS)
    if len(pieces) > MAX_ITEMS:
        raise FilterError(f"`split` would make more than {MAX_ITEMS} pieces")
    return pieces


def join(value: Json, separator: str = "") -> str:
    """The items as one text."""
    between = text(separator)
    pieces: list[str] = []
    size = 0
    for item in _items("join", value):
        pieces.append(text(item))
        size += len(pieces[-1]) + len(between)
        _check_size("join", size)
    return between.join(pieces)


def first(value: Json) -> Json:
    """The first item of a list, or character of a text; absent when there is none."""
    items = _sequence("first", value)
    return items[0] if items else ABSENT_ITEM


def last(value: Json) -> Json:
    """The last item of a list, or character of a text; absent when there is none."""
    items = _sequence("last", value)
    return items[-1] if items else ABSENT_ITEM


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
    if not isinstance(table, dict):
        raise FilterError(f"`map_to` needs an object to look in, not {kind(table)}")
    found = table.get(text(value), fallback)
    return ABSENT_ITEM if found is None else found


def strip_keys(value: Json, *keys: str | list[str]) -> Json:
    """The value without the named keys, one by one or in lists, at every depth."""
    names = [name for key in keys for name in (key if isinstance(key, list) else [key])]
    return _stripped(value, names)


def _stripped(value: Json, keys: list[str]) -> Json:
    if isinstance(value, dict):
        return {key: _stripped(item, keys) for key, item in value.items() if key not in keys}
    if isinstance(value, list):
        return [_stripped(item, keys) for item in value]
    return value


def merge(value: Json, other: Mapping[str, Json]) -> dict[str, Json]:
    """The object with the keys of `other` added or replaced."""
    if not isinstance(value, dict) or not isinstance(other, dict):
        raise FilterError(f"`merge` joins two objects, not {kind(value)} and {kind(other)}")
    return value | other


def b64(value: Json) -> str:
    """The text's UTF-8 bytes, or those of a digest, in base64."""
    return base64.b64encode(_raw(value)).decode()


def hexadecimal(value: Json) -> str:
    """The text's UTF-8 bytes, or those of a digest, in hexadecimal."""
    data = _raw(value)
    _check_size("hex", len(data) * 2)
    return data.hex()


def urlencode(value: Json) -> str:
    """The text percent-encoded, slashes too."""
    data = _bytes(value)
    _check_size("urlencode", len(data) * 3)
    return quote(data, safe="")


def sha256(value: Json) -> str:
    """The SHA-256 of the text's UTF-8 bytes, in hexadecimal; see `Digest`."""
    return Digest(hashlib.sha256(_bytes(value)).hexdigest())


def hmac_sha256(value: Json, key: Json) -> str:
    """The HMAC-SHA-256 (RFC 2104) of the text's UTF-8 bytes with a key, a text or another digest; see `Digest`."""
    return Digest(hmac.digest(_raw(key), _bytes(value), "sha256").hex())


def date(value: Json, form: str = "%Y-%m-%dT%H:%M:%SZ") -> str:
    """Seconds since 1970 as a date in UTC, in strftime's `form` (ISO 8601 when left out)."""
    # A width, as in `%999999999d`, makes strftime take any amount of memory.
    if not isinstance(form, str) or len(form) > 200 or not _DATE_FORM.fullmatch(form):
        raise FilterError("`date` cannot use this form: write letters after `%`, as in `%Y-%m-%d`")
    seconds = _number("date", value)
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime(form)
    except (OverflowError, OSError, ValueError):
        raise FilterError("`date` cannot make a date of this number") from None


def jmes(value: Json, expression: str) -> Json:
    """What a JMESPath expression picks from the value; absent when it picks nothing."""
    try:
        selector = _selector(text(expression))
    except SelectorError as error:
        raise FilterError(f"`jmes`: {error}") from None
    found = selector(value, NoEnvelope())
    return ABSENT_ITEM if found is None else found


def check_selector(expression: str) -> str:
    """What is wrong with a JMESPath expression for `jmes`, or ""."""
    try:
        _selector(expression)
    except SelectorError as error:
        return error.message
    return ""


_selector: Callable[[str], Selector] = lru_cache(maxsize=256)(compile_selector)


def _number(name: str, value: Json) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FilterError(f"`{name}` needs a number, not {kind(value)}")
    return value


def _items(name: str, value: Json) -> Iterable[Json]:
    if isinstance(value, list):
        return value
    raise FilterError(f"`{name}` needs a list, not {kind(value)}")


def _sequence(name: str, value: Json) -> Sequence[Json]:
    if isinstance(value, list | str):
        return value
    raise FilterError(f"`{name}` needs a list or a text, not {kind(value)}")


def _bytes(value: Json) -> bytes:
    return text(value).encode("utf-8", "replace")


def _raw(value: Json) -> bytes:
    return bytes.fromhex(value) if isinstance(value, Digest) else _bytes(value)


def _check_size(name: str, size: int) -> None:
    if size > MAX_TEXT:
        raise FilterError(f"`{name}` would make more than {MAX_TEXT} characters")


class _AbsentItem:
    """Stands for "no value" between a filter and the template engine, which turns it into its own absent value."""


ABSENT_ITEM = _AbsentItem()

FILTERS: dict[str, Callable[..., Any]] = {
    "b64": b64,
    "clamp": clamp,
    "date": date,
    "first": first,
    "float": floating,
    "hex": hexadecimal,
    "hmac_sha256": hmac_sha256,
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
