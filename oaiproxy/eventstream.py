"""The binary framing `application/vnd.amazon.eventstream`: bytes to frames, both checksums of each message verified.

A message is its length, its headers' length and their checksum, then headers, payload, and a checksum of the whole:
https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html#streaming-event-stream
"""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Iterator
from zlib import crc32

from oaiproxy.errors import BackendError
from oaiproxy.framing import Frame, too_large

PRELUDE = 12
OVERHEAD = 16
"""Bytes: of the lengths and their checksum, and with the last checksum."""
MAX_HEADERS = 64
"""Headers of one message: each costs far more memory than the few bytes it is sent in."""
TEXT = 7
"""The type of a header that is text."""

_NUMBERS = {2: ">b", 3: ">h", 4: ">i", 5: ">q", 8: ">q"}
"""Header types whose value is a number (8 is a time, in milliseconds since 1970), and its layout."""
_BYTES, _UUID = 6, 9


class EventStream:
    """Each message is a frame: its payload, its name (`:event-type` or `:exception-type`), and its headers as text.

    Headers have lower-case names; bytes in them are told in base64. `max_frame` bounds a message with all its parts.
    """

    def __init__(self, max_frame: int) -> None:
        self._max = max_frame
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The messages that are complete with these bytes. Raises BackendError for what is no message."""
        self._buffer += data
        while len(self._buffer) >= PRELUDE:
            total, headers, checksum = struct.unpack_from(">III", self._buffer)
            if crc32(self._buffer[:8]) != checksum:
                raise _invalid("the checksum of its lengths is wrong")
            if total < OVERHEAD or headers > total - OVERHEAD:
                raise _invalid("its lengths contradict each other")
            if total > self._max:
                raise too_large(self._max)
            if len(self._buffer) < total:
                return
            message = bytes(self._buffer[:total])
            del self._buffer[:total]
            yield _frame(message, headers)

    def close(self) -> Iterator[Frame]:
        """Nothing more. Raises BackendError in the middle of a message."""
        if self._buffer:
            raise BackendError("the backend's stream broke off inside a message; try again", code="upstream_truncated")
        yield from ()


def encode_message(payload: bytes, headers: dict[str, str]) -> bytes:
    """A message with text headers, as a backend sends it."""
    block = bytearray()
    for name, value in headers.items():
        encoded, text = name.encode(), value.encode()
        block += struct.pack(">B", len(encoded)) + encoded + struct.pack(">BH", TEXT, len(text)) + text
    prelude = struct.pack(">II", OVERHEAD + len(block) + len(payload), len(block))
    message = prelude + struct.pack(">I", crc32(prelude)) + block + payload
    return message + struct.pack(">I", crc32(message))


def _frame(message: bytes, size: int) -> Frame:
    (checksum,) = struct.unpack_from(">I", message, len(message) - 4)
    if crc32(message[:-4]) != checksum:
        raise _invalid("its checksum is wrong")
    try:
        headers = dict(_headers(message[PRELUDE : PRELUDE + size]))
    except (struct.error, IndexError, ValueError):
        raise _invalid("its headers cannot be read") from None
    payload = message[PRELUDE + size : -4]
    return Frame(payload, event=headers.get(":event-type") or headers.get(":exception-type", ""), headers=headers)


def _headers(data: bytes) -> Iterator[tuple[str, str]]:
    """Name and value of each header, values of all types as text."""
    at = count = 0
    while at < len(data):
        count += 1
        end = at + 1 + data[at]
        name, kind = data[at + 1 : end].decode(), data[end]
        at = end + 1
        if kind in (0, 1):
            value = "false" if kind else "true"
        elif kind in _NUMBERS:
            value = str(struct.unpack_from(_NUMBERS[kind], data, at)[0])
            at += struct.calcsize(_NUMBERS[kind])
        elif kind in (_BYTES, TEXT):
            size = struct.unpack_from(">H", data, at)[0]
            raw = _cut(data, at + 2, size)
            value = raw.decode() if kind == TEXT else b64encode(raw).decode()
            at += 2 + size
        elif kind == _UUID:
            digits = _cut(data, at, 16).hex()
            value = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
            at += 16
        else:
            raise ValueError("unknown type")
        if count > MAX_HEADERS:
            raise ValueError("too many")
        yield name.lower(), value


def _cut(data: bytes, at: int, size: int) -> bytes:
    if at + size > len(data):
        raise ValueError("cut short")
    return data[at : at + size]


def _invalid(why: str) -> BackendError:
    message = f"a message of the backend's stream cannot be read: {why}"
    return BackendError(message, code="upstream_invalid_frame", retry=False)
