"""Bytes of a backend's body to frames, wherever the network cuts them.

A framing finds borders and nothing else: it does not parse JSON, and what a frame means is for extraction to say. Every
framing is sans-IO: `feed` takes what was read, `close` says that the body ended; both yield the frames that are now
complete and then raise `BackendError` if what follows cannot be framed. Exhaust each generator before the next call.

Work is linear in the bytes, even at one byte per read, and memory stays near `max_frame` and one read.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Protocol

import msgspec

from oaiproxy.errors import BackendError

EMPTY: Mapping[str, str] = MappingProxyType({})
_BOM = codecs.BOM_UTF8


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One message of a stream, undecoded.

    `data` is the payload as sent: the data lines of an SSE event joined with LF, the text of exactly one JSON value,
    or whole characters of text. `fields` are the other SSE fields, known and unknown, last one wins; the last comment
    stands under "". `headers` belong to binary framings.
    """

    data: bytes
    event: str = ""
    id: str = ""
    fields: Mapping[str, str] = EMPTY
    headers: Mapping[str, str] = EMPTY


class Framing(Protocol):
    """What turns the bytes of one body into frames."""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that `data` completes."""

    def close(self) -> Iterator[Frame]:
        """The frame that the end of the body completes, if any."""


class Sse:
    """Server-sent events, as the specification parses them, and as backends get them wrong.

    Beyond https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation: events without
    data are yielded when they have a name or an unknown field, the last event needs no blank line, and `id` belongs to
    its own event. `max_frame` bounds the lines of an event as they were sent; comments, which are not collected, count
    one by one. With `keep_space` a space behind `data:` belongs to the data.
    """

    _MAX_FIELDS = 64  # a field costs far more memory than the few bytes it is sent in

    def __init__(self, max_frame: int, *, keep_space: bool = False) -> None:
        self._max = max_frame
        self._space = b"data:" if keep_space else b"data: "
        self._head = Head()
        self._line = bytearray()
        self._after_cr = False
        self._reset()

    def feed(self, data: bytes) -> Iterator[Frame]:
        return self._events(self._lines(self._head.strip(data)))

    def close(self) -> Iterator[Frame]:
        lines = [bytes(self._line) + self._head.rest(), b""]
        self._line.clear()
        return self._events(lines)

    def _lines(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes; the rest is kept."""
        if self._after_cr and data:
            data = data.removeprefix(b"\n")  # the other half of a CRLF that the last read ended in
            self._after_cr = False
        cut = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if not cut:
            self._line += data
            return []
        lines = data[:cut].splitlines()  # of bytes: at LF, CR and CRLF, never at U+2028 or U+0085
        if self._line:
            lines[0] = bytes(self._line + lines[0])
        self._line[:] = data[cut:]
        self._after_cr = data.endswith(b"\r")
        return lines

    def _events(self, lines: list[bytes]) -> Iterator[Frame]:
        for line in lines:
            if not line:
                frame = self._dispatch() if self._size or self._fields else None
                if frame is not None:
                    yield frame
                continue
            if self._size + len(line) > self._max:
                raise too_large(self._max)
            if line.startswith(b"data:"):
                self._size += len(line)
                self._data.append(line[len(self._space) :] if line.startswith(self._space) else line[5:])
            else:
                self._field(line)
        if self._size + len(self._line) > self._max:
            raise too_large(self._max)

    def _field(self, line: bytes) -> None:
        name, _, value = line.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        if name:
            self._size += len(line)
        match name:
            case "data":
                self._data.append(b"")  # a line `data` without a colon
            case "event":
                self._event = value
            case "id":
                self._id = value
            case _ if name in self._fields or len(self._fields) < self._MAX_FIELDS:
                self._fields[name] = value

    def _dispatch(self) -> Frame | None:
        data, event, id_, fields = self._data, self._event, self._id, self._fields
        self._reset()
        if not data and not event and fields.keys() <= {"", "retry"}:
            return None
        return Frame(data[0] if len(data) == 1 else b"\n".join(data), event, id_, fields or EMPTY)

    def _reset(self) -> None:
        self._data: list[bytes] = []
        self._event = ""
        self._id = ""
        self._fields: dict[str, str] = {}
        self._size: int = 0


class Text:
    """Plain text: at each read, the characters that are complete. What is none stays, for who reads it to mend.

    There are no borders to wait for, so that no frame is larger than its read and `max_frame` has nothing to bound.
    """

    def __init__(self, max_frame: int) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._started = False

    def feed(self, data: bytes) -> Iterator[Frame]:
        return self._frame(self._decoder.decode(data))

    def close(self) -> Iterator[Frame]:
        return self._frame(self._decoder.decode(b"", True))

    def _frame(self, text: str) -> Iterator[Frame]:
        if text and not self._started:
            self._started = True
            text = text.removeprefix("\ufeff")
        if text:
            yield Frame(text.encode("utf-8", "surrogateescape"))


class Whole:
    """The whole body in one frame, at its end; none when it is empty or blank."""

    def __init__(self, max_frame: int) -> None:
        self._max = max_frame
        self._body = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        if len(self._body) + len(data) > self._max:
            raise too_large(self._max)
        self._body += data
        yield from ()

    def close(self) -> Iterator[Frame]:
        if self._body and not self._body.isspace():
            yield Frame(bytes(self._body))


class Head:
    """The start of a body, where one byte order mark may stand, itself cut anywhere."""

    def __init__(self) -> None:
        self._held = b""
        self._passed = False

    def strip(self, data: bytes) -> bytes:
        """The data without the mark; nothing as long as what came may be a part of one."""
        if self._passed:
            return data
        self._held += data
        if len(self._held) < len(_BOM) and _BOM.startswith(self._held):
            return b""
        return self.rest().removeprefix(_BOM)

    def rest(self) -> bytes:
        """What was held back, at the body's end."""
        held, self._held = self._held, b""
        self._passed = True
        return held


def too_large(max_frame: int) -> BackendError:
    """The error for a frame of more bytes than are allowed."""
    message = f"the backend sent an event larger than the {max_frame} bytes that are allowed; ask for a shorter answer"
    return BackendError(message, code="upstream_event_too_large", retry=False)
