"""JSON text to values and back, exactly: no integer is rounded, no line separator slips into an event stream.

msgspec is the one JSON library: as fast as the fastest, and it keeps integers of any size. What backends send beyond
the standard (NaN, lone surrogates, a byte order mark) is read by `parse_lenient`; what clients send is read strictly.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

Json: TypeAlias = Any
"""`dict`, `list`, `str`, `int`, `float`, `bool` or `None`: data that is truly the user's."""


def _as_plain(value: object) -> str:
    """Text of a kind that the library does not know as text."""
    if isinstance(value, str):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


MOST = 2_000_000
"""Lists, objects and keys of one text: to make so many takes up to a second, in which no thread gets its turn."""
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_decoder = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder(enc_hook=_as_plain)
_BOM = b"\xef\xbb\xbf"


class JsonError(ValueError):
    """The text is not JSON, or the value cannot be. The message names the position, never the content."""


class TooLargeError(JsonError):
    """The text holds more than can be read in the time that others may be held up for."""


def parse(data: bytes | str) -> Json:
    """Read strict JSON (RFC 8259), after an optional byte order mark."""
    data = data.removeprefix(_BOM) if isinstance(data, bytes) else data.removeprefix("\ufeff")
    if len(data) > 2 * MOST:
        _bound(data)
    try:
        return _decoder.decode(data)
    except UnicodeError as error:
        raise JsonError("the text is not valid UTF-8") from error
    except RecursionError as error:
        raise JsonError("the JSON is nested too deeply") from error
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise JsonError(_plain(str(error))) from error


def parse_lenient(data: bytes | str) -> Json:
    """Read JSON as backends really send it: NaN and infinities (kept as floats) and lone surrogates are let through."""
    try:
        return parse(data)
    except TooLargeError:
        raise
    except JsonError as strict:
        try:
            text = data.decode("utf-8") if isinstance(data, bytes) else data
            return json.loads(text.removeprefix("\ufeff"))
        except (ValueError, RecursionError):
            raise strict from None


def _bound(data: bytes | str) -> None:
    """Raises TooLargeError before anything is made of a text that holds too much; what is within strings counts not."""
    raw = data if isinstance(data, bytes) else data.encode("utf-8", "replace")
    if _count(raw) > MOST and _count(_STRING.sub(b"", raw)) > MOST:
        raise TooLargeError(f"it holds more than {MOST} lists, objects and keys")


def _count(data: bytes) -> int:
    return sum(map(data.count, (b"[", b"{", b":")))


def dump(value: Json) -> bytes:
    """Write compact JSON in UTF-8. NaN and infinities become null, a lone surrogate becomes U+FFFD.

    U+0085, U+2028 and U+2029 are escaped: some clients split event streams at them. Raises JsonError for what is nested
    too deeply, and for integers of more than 4300 digits.
    """
    try:
        data = _encode(value)
    except RecursionError as error:
        raise JsonError("the value is nested too deeply") from error
    except ValueError as error:
        raise JsonError("an integer has too many digits") from error
    # A number is looked for at once; bytes are tried as one first, which raises and catches an error.
    if (0xE2 in data and b"\xe2\x80" in data) or (0xC2 in data and b"\xc2\x85" in data):
        data = (
            data.replace(b"\xe2\x80\xa8", b"\\u2028")
            .replace(b"\xe2\x80\xa9", b"\\u2029")
            .replace(b"\xc2\x85", b"\\u0085")
        )
    return data


def is_shallow(value: Json, depth: int) -> bool:
    """Whether a value is nested no deeper than so many levels, at a cost that is linear in its size."""
    level = [value]
    for _ in range(depth):
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
        if not level:
            return True
    return False


def _encode(value: Json) -> bytes:
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:
        return _encoder.encode(_without_surrogates(value))


def _plain(message: str) -> str:
    return message.removeprefix("JSON is malformed: ")


def _without_surrogates(value: Json) -> Json:
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case Mapping():
            return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
        case Sequence():
            return [_without_surrogates(item) for item in value]
    return value
