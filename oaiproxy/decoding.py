"""Content-encoded bytes of a backend's body to plain bytes, never more of them than are allowed.

The HTTP client's own decompression is off: it has no bound, and takes a body that was cut short for a complete one.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from oaiproxy.bounds import BOUNDS
from oaiproxy.errors import BackendError

_RAW, _ZLIB, _GZIP = -15, 15, 31  # zlib's `wbits`
FREE = 1024 * 1024
"""Plain bytes that may come out of however few."""
PIECE = 4096
"""Compressed bytes that are read at once: of a bomb, hardly more comes out than is free."""


class Decoder(Protocol):
    """What turns the bytes of one body into plain bytes; both methods raise `BackendError`."""

    def feed(self, data: bytes) -> bytes:
        """All that can be decoded so far: what the backend flushed comes out at once."""

    def close(self) -> bytes:
        """Say that the body ended."""


def decoder(encoding: str, max_bytes: int | None, inflation: int = BOUNDS.inflation) -> Decoder:
    """The decoder for a Content-Encoding header; `max_bytes` bounds the plain bytes, None is for framed streams.

    Beyond the first MiB there may be `inflation` times as many of them as compressed ones came.
    """
    try:
        make = DECODERS[encoding.strip().lower()]
    except KeyError:
        message = f"the backend answered with content encoding {encoding[:40]!a}; only gzip and deflate are read"
        raise BackendError(message, code="upstream_unsupported_encoding", retry=False) from None
    return make(max_bytes, inflation)


class Identity:
    """Bytes that are not encoded."""

    def __init__(self, max_bytes: int | None, _inflation: int) -> None:
        self._room = None if max_bytes is None else _Room(max_bytes)

    def feed(self, data: bytes) -> bytes:
        if self._room is not None:
            self._room.take(len(data))
        return data

    def close(self) -> bytes:
        return b""


class Gzip:
    """One or more gzip members (RFC 1952), after the last of which zero bytes may stand."""

    def __init__(self, max_bytes: int | None, inflation: int) -> None:
        self._room = _Room(max_bytes, inflation)
        self._member = _member(_GZIP)
        self._begun = False

    def feed(self, data: bytes) -> bytes:
        return b"".join(map(self._feed, _pieces(data)))

    def _feed(self, data: bytes) -> bytes:
        plain = bytearray()
        self._room.receive(len(data))
        while data:
            if self._member.eof:
                data = data.lstrip(b"\0")
                if not data:
                    break
                self._member = _member(_GZIP)
            self._begun = True
            plain += _inflate(self._member, data, self._room)
            data = self._member.unused_data
        return bytes(plain)

    def close(self) -> bytes:
        if self._begun and not self._member.eof:
            raise _truncated()
        return b""


class Deflate:
    """A zlib stream (RFC 1950), as the HTTP specification asks, or a raw one (RFC 1951), as some backends send."""

    def __init__(self, max_bytes: int | None, inflation: int) -> None:
        self._room = _Room(max_bytes, inflation)
        self._head = b""
        self._stream: zlib._Decompress | None = None

    def feed(self, data: bytes) -> bytes:
        return b"".join(map(self._feed, _pieces(data)))

    def _feed(self, data: bytes) -> bytes:
        self._room.receive(len(data))
        if self._stream is None:
            data = self._head + data
            if len(data) < 2:
                self._head = data
                return b""
            self._stream = _member(_ZLIB if _is_zlib_header(data) else _RAW)
        elif self._stream.eof:
            _only_zeros(data)
            return b""
        plain = _inflate(self._stream, data, self._room)
        _only_zeros(self._stream.unused_data)
        return plain

    def close(self) -> bytes:
        if self._head if self._stream is None else not self._stream.eof:
            raise _truncated()
        return b""


DECODERS: Mapping[str, Callable[[int | None, int], Decoder]] = {
    "": Identity,
    "identity": Identity,
    "gzip": Gzip,
    "x-gzip": Gzip,
    "deflate": Deflate,
}


class _Room:
    """How many plain bytes may still come; of `max_bytes`, None is no bound."""

    def __init__(self, max_bytes: int | None, inflation: int = 0) -> None:
        self._left = max_bytes
        self._max = max_bytes
        self._inflation = inflation
        self._came = 0
        self._made = 0

    def receive(self, size: int) -> None:
        """So many compressed bytes came."""
        self._came += size

    @property
    def inflated(self) -> int:
        """How many may come out of what came so far."""
        allowed = max(FREE, self._came * self._inflation) - self._made
        return allowed if self._left is None else min(allowed, self._left)

    def take(self, size: int) -> None:
        self._made += size
        if self._inflation and self._made > max(FREE, self._came * self._inflation):
            message = f"the backend's compressed answer grows more than {self._inflation} times larger than it came"
            raise BackendError(message, code="upstream_response_too_large", retry=False)
        if self._left is None:
            return
        self._left -= size
        if self._left < 0:
            message = (
                f"the backend's answer is larger than the {self._max} bytes that are allowed; ask for a shorter one"
            )
            raise BackendError(message, code="upstream_response_too_large", retry=False)


def _pieces(data: bytes) -> Iterable[bytes]:
    return (data[start : start + PIECE] for start in range(0, len(data), PIECE))


def _member(wbits: int) -> zlib._Decompress:
    return zlib.decompressobj(wbits)


def _inflate(stream: zlib._Decompress, data: bytes, room: _Room) -> bytes:
    try:
        plain = stream.decompress(data, room.inflated + 1)  # one byte too many tells a full body from a bomb
    except zlib.error as error:
        raise _invalid(str(error)) from error
    room.take(len(plain))
    return plain


def _is_zlib_header(data: bytes) -> bool:
    """RFC 1950, 2.2: method 8, a window of at most 32 KiB, and a check that the two bytes divide by 31."""
    return data[0] & 0x0F == 8 and data[0] >> 4 <= 7 and (data[0] << 8 | data[1]) % 31 == 0


def _only_zeros(data: bytes) -> None:
    if data.strip(b"\0"):
        raise _invalid("bytes after the end of the stream")


def _truncated() -> BackendError:
    message = "the backend's compressed answer ends before it is complete; try again"
    return BackendError(message, code="upstream_truncated")


def _invalid(detail: str) -> BackendError:
    message = "the backend's answer is not compressed the way its content encoding says"
    return BackendError(message, code="upstream_invalid_encoding", detail=detail)
