"""A client's JSON to values, if what it costs to read them and to walk over them is within bounds."""

from __future__ import annotations

import re
from collections.abc import Iterator

from oaiproxy import jsontext
from oaiproxy.bounds import Bounds
from oaiproxy.errors import ClientError
from oaiproxy.jsontext import Json

CHUNK = 64 * 1024
"""Bytes that are weighed at once, and of which nothing can cost much."""
LONG = 100
"""Values that a number of more than 18 digits counts for: one that does not fit 64 bits takes as long to read."""
_LONG = re.compile(rb"[0-9][0-9.]{18}")


def parse_body(data: bytes, bounds: Bounds) -> Json:
    """The value. Raises ClientError for what is not JSON, and for what is too deep or holds too much."""
    if len(data) > CHUNK:
        # Before it is read, since that cannot be broken off: 32 MiB of empty lists take six seconds, and a gigabyte.
        values, long = weigh(data)
        if values > 2 * bounds.values or long * LONG > bounds.values:
            raise _too_many(bounds)
    try:
        body = jsontext.parse(data)
    except jsontext.JsonError as error:
        raise ClientError(f"We could not parse the JSON body of your request. ({error})") from error
    opened = data.count(b"{") + data.count(b"[")
    if opened > bounds.depth or (len(data) > bounds.values and opened + data.count(b",") > bounds.values):
        _check_shape(body, bounds)
    return body


def weigh(data: bytes) -> tuple[int, int]:
    """How many values there are, at most twice as many as there really are; and how many long numbers.

    What is inside strings does not count. The cost is linear, in small steps, so that a thread that does it lets others
    run.
    """
    values = long = 0
    for text in _outside_strings(data):
        values += text.count(b",") + text.count(b"[") + text.count(b"{")
        long += len(_LONG.findall(text))
    return values, long


def _outside_strings(data: bytes) -> Iterator[bytes]:
    inside = start = 0
    while start < len(data):
        chunk = data[start : start + CHUNK]
        start += CHUNK
        if b"\\" in chunk:
            if (len(chunk) - len(chunk.rstrip(b"\\"))) % 2:  # what the last one escapes belongs to it
                chunk += data[start : start + 1]
                start += 1
            chunk = chunk.replace(b"\\\\", b"").replace(b'\\"', b"")
        pieces = chunk.split(b'"')
        yield b" ".join(pieces[inside::2])
        inside = (inside + len(pieces) - 1) % 2


def _check_shape(body: Json, bounds: Bounds) -> None:
    """Raises ClientError for JSON that is deeper or larger than what recurses over it should be given."""
    values = 0
    level = [body] if isinstance(body, dict | list) else []
    for _ in range(bounds.depth):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if (values := values + 1) and isinstance(child, dict | list)
        ]
        if values > bounds.values:
            raise _too_many(bounds)
        if not level:
            return
    raise ClientError(f"The JSON body is nested more than {bounds.depth} levels deep.", code="invalid_json")


def _too_many(bounds: Bounds) -> ClientError:
    return ClientError(f"The JSON body holds more than {bounds.values} values.", code="invalid_json")
