"""Framings beside those of plain bodies: a delimiter, messages, base64 in JSON, and one framing inside another."""

from __future__ import annotations

import struct
from base64 import b64decode
from collections.abc import Iterator

from oaiproxy import jsontext
from oaiproxy.errors import BackendError
from oaiproxy.failures import tells_failure
from oaiproxy.framing import Frame, Framing, too_large

_LENGTH = struct.Struct(">I")


class Delimited:
    """What stands between two delimiters, and behind the last one; what is empty is no frame."""

    def __init__(self, max_frame: int, delimiter: bytes) -> None:
        self._max = max_frame
        self._delimiter = delimiter
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames whose delimiter came."""
        searched = max(0, len(self._rest) - len(self._delimiter) + 1)
        self._rest += data
        start = 0
        while (end := self._rest.find(self._delimiter, max(start, searched))) >= 0:
            yield from self._frame(start, end)
            start = end + len(self._delimiter)
        del self._rest[:start]
        if len(self._rest) > self._max + len(self._delimiter):
            raise too_large(self._max)

    def close(self) -> Iterator[Frame]:
        """The frame behind the last delimiter."""
        yield from self._frame(0, len(self._rest))

    def _frame(self, start: int, end: int) -> Iterator[Frame]:
        if end - start > self._max:
            raise too_large(self._max)
        if end > start:
            yield Frame(bytes(self._rest[start:end]))


class Messages:
    """The messages of a transport that has messages. Between it and here, each follows its length in four bytes."""

    def __init__(self, max_frame: int) -> None:
        self._max = max_frame
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The messages that are complete with these bytes."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._buffer)[0]
            if end - _LENGTH.size > self._max:
                raise too_large(self._max)
            if len(self._buffer) < end:
                return
            message = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield Frame(message)

    def close(self) -> Iterator[Frame]:
        """Nothing more. Raises BackendError in the middle of a message."""
        if self._buffer:
            raise BackendError("the backend's stream broke off inside a message; try again", code="upstream_truncated")
        yield from ()


def encode_length(message: bytes) -> bytes:
    """A message behind its length, as `Messages` reads it."""
    return _LENGTH.pack(len(message)) + message


class Base64:
    """One JSON object at a time, whose text under a key is the payload in base64 (RFC 4648, 4); it comes whole.

    `max_frame` has nothing to bound: the payload is smaller than what holds it.
    """

    def __init__(self, _max_frame: int, key: str) -> None:
        self._key = key

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The payload. Raises BackendError where there is none; an empty object says nothing."""
        try:
            value = jsontext.parse_lenient(data) if data.strip() else {}
        except (jsontext.JsonError, RecursionError):
            raise self._unreadable("is not JSON") from None
        text = value.get(self._key) if isinstance(value, dict) else None
        if value == {}:
            return
        if not isinstance(text, str):
            raise self._unreadable(f"has no text under `{self._key}`")
        try:
            payload = b64decode(text, validate=True)
        except ValueError:
            raise self._unreadable(f"has no base64 under `{self._key}`") from None
        yield Frame(payload)

    def close(self) -> Iterator[Frame]:
        """Nothing more."""
        yield from ()

    def _unreadable(self, why: str) -> BackendError:
        return BackendError(f"a frame of the backend's stream {why}", code="upstream_invalid_frame", retry=False)


class Piped:
    """What one framing yields, another reads; a frame that calls itself an error is not read on, but is one as it is.

    Where the inner frame has no name, id, fields or headers of its own, those of the outer one that completed it stand.
    """

    def __init__(self, outer: Framing, inner: Framing) -> None:
        self._outer = outer
        self._inner = inner
        self._around = Frame(b"")

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The innermost frames that `data` completes."""
        for frame in self._outer.feed(data):
            yield from self._read(frame)

    def close(self) -> Iterator[Frame]:
        """What both have left."""
        for frame in self._outer.close():
            yield from self._read(frame)
        for inner in self._inner.close():
            yield self._dressed(inner)

    def _read(self, frame: Frame) -> Iterator[Frame]:
        if tells_failure(frame):
            yield frame
            return
        self._around = frame
        for inner in self._inner.feed(frame.data):
            yield self._dressed(inner)

    def _dressed(self, frame: Frame) -> Frame:
        around = self._around
        return Frame(
            frame.data,
            frame.event or around.event,
            frame.id or around.id,
            frame.fields or around.fields,
            frame.headers or around.headers,
        )
