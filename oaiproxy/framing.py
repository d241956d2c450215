"""Bytes of a backend's body to frames, wherever the network cuts them.

A framing finds borders and nothing else: it does not parse JSON, and what a frame means is for extraction to say. Every
framing is sans-IO: `feed` takes what was read, `close` says that the body ended; both yield the frames that are now
complete and then raise `BackendError` if what follows cannot be framed. Exhaust each generator before the next call.

Work is linear in the bytes, even at one byte per read, and memory stays near `max_frame` and one read.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator, Mapping
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
        self._head = _Head()
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


class Ndjson:
    """One JSON value per line, also after a record separator (RFC 7464); blank lines are skipped."""

    _AROUND = b" \t\r\x1e"

    def __init__(self, max_frame: int) -> None:
        self._max = max_frame
        self._head = _Head()
        self._line = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        lines = self._head.strip(data).split(b"\n")
        rest = lines.pop()
        if lines:
            lines[0] = bytes(self._line + lines[0])
            self._line.clear()
        self._line += rest
        return self._values(lines)

    def close(self) -> Iterator[Frame]:
        line = bytes(self._line) + self._head.rest()
        self._line.clear()
        if _is_cut_short(line.strip(self._AROUND)):
            raise _truncated()
        yield from self._values([line])

    def _values(self, lines: list[bytes]) -> Iterator[Frame]:
        for line in lines:
            if len(line) > self._max:
                raise too_large(self._max)
            value = line.strip(self._AROUND)
            if value:
                yield Frame(value)
        if len(self._line) > self._max:
            raise too_large(self._max)


class JsonConcat:
    """JSON values one after another; white space, record separators (RFC 7464) and NUL may stand between them."""

    _BETWEEN = re.compile(rb"[ \t\r\n\x1e\x00]*")

    def __init__(self, max_frame: int) -> None:
        self._head = _Head()
        self._value = _Value(max_frame)

    def feed(self, data: bytes) -> Iterator[Frame]:
        return _values(self._value, self._next, self._head.strip(data))

    def close(self) -> Iterator[Frame]:
        yield from _values(self._value, self._next, self._head.rest())
        yield from self._value.finish()

    def _next(self, data: bytes, at: int) -> int:
        return _skip(self._BETWEEN, data, at)


class JsonArray:
    """The elements of one top-level array, each as soon as it is complete.

    A body that does not open with `[`, such as an error object, is read as `JsonConcat` reads it.
    """

    _BETWEEN = re.compile(rb"[ \t\r\n]*")
    _STEPS: Mapping[tuple[str, int], str] = {
        ("start", ord("[")): "opened",
        ("opened", ord("]")): "closed",
        ("after element", ord(",")): "after comma",
        ("after element", ord("]")): "closed",
    }

    def __init__(self, max_frame: int) -> None:
        self._head = _Head()
        self._value = _Value(max_frame)
        self._plain = JsonConcat(max_frame)
        self._state = "start"

    def feed(self, data: bytes) -> Iterator[Frame]:
        data = self._head.strip(data)
        if self._state == "start":
            data = data[_skip(self._BETWEEN, data, 0) :]
            if data and not data.startswith(b"["):
                self._state = "plain"
        if self._state == "plain":
            return self._plain.feed(data)
        return _values(self._value, self._next, data)

    def close(self) -> Iterator[Frame]:
        yield from self.feed(self._head.rest())
        if self._state == "plain":
            yield from self._plain.close()
        elif self._state not in ("start", "closed"):
            raise _truncated()

    def _next(self, data: bytes, at: int) -> int:
        while True:
            at = _skip(self._BETWEEN, data, at)
            if at == len(data):
                return at
            if (step := self._STEPS.get((self._state, data[at]))) is not None:
                self._state = step
                at += 1
            elif self._state in ("opened", "after comma"):
                self._state = "after element"
                return at
            else:
                raise _invalid(data[at], self._state)


class Text:
    """Plain text: at each read, the characters that are complete. Invalid UTF-8 becomes U+FFFD.

    There are no borders to wait for, so that no frame is larger than its read and `max_frame` has nothing to bound.
    """

    def __init__(self, max_frame: int) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
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
            yield Frame(text.encode())


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


class _Head:
    """The start of a body, where one byte order mark may stand, itself cut anywhere."""

    def __init__(self) -> None:
        self._held = b""
        self._passed = False

    def strip(self, data: bytes) -> bytes:
        if self._passed:
            return data
        self._held += data
        if len(self._held) < len(_BOM) and _BOM.startswith(self._held):
            return b""
        return self.rest().removeprefix(_BOM)

    def rest(self) -> bytes:
        held, self._held = self._held, b""
        self._passed = True
        return held


class _Value:
    """One JSON value at a time, from its first byte to its last, over as many reads as it takes.

    Brackets are counted, not matched: `{]` ends, and parsing it fails later. A regular expression finds what counts
    next, so that Python runs once per bracket and not once per byte.
    """

    # One match goes to the next bracket, over the closed strings before it, and stops at the quote of a string that is
    # not closed in this read. Repetitions are bounded to keep the matcher's stack small; a quote goes on from there.
    _NEXT = re.compile(
        rb'[^"{}\[\]]*+(?:"[^"\\]*+(?:\\.[^"\\]*+){0,99}"[^"{}\[\]]*+){0,99}(?:([{\[])|([}\]])|("))?', re.DOTALL
    )
    _STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+){0,99}("?)', re.DOTALL)
    _SCALAR = re.compile(rb"[-+.0-9A-Za-z]*")

    def __init__(self, max_frame: int) -> None:
        self.open = False
        self._max = max_frame
        self._pending = bytearray()
        self._depth = 0
        self._scalar = False
        self._in_string = False
        self._skip_next = False

    def begin(self, byte: int) -> None:
        if byte not in b'{["-0123456789tfnNI':  # the last two for NaN and Infinity, which some backends send
            raise _invalid(byte, "between values")
        self.open = True
        self._scalar = byte not in b'{["'
        self._in_string = self._skip_next = byte == ord('"')  # `take` starts at the quote itself: it does not close

    def take(self, data: bytes, at: int) -> tuple[int, bytes | None]:
        """Go on at `at`: where the value ends and its text, or the end of `data` and None."""
        end = self._scalar_end(data, at) if self._scalar else self._nested_end(data, at)
        stop = len(data) if end is None else end
        if len(self._pending) + stop - at > self._max:
            raise too_large(self._max)
        if end is None:
            self._pending += data[at:]
            return stop, None
        self.open = False
        if not self._pending:
            return end, data[at:end]
        value = bytes(self._pending + data[at:end])
        self._pending.clear()
        return end, value

    def finish(self) -> Iterator[Frame]:
        """Close the body: it completes a number or a literal, and nothing else."""
        if self.open and not self._scalar:
            raise _truncated()
        if self.open:
            yield Frame(bytes(self._pending))

    def _scalar_end(self, data: bytes, at: int) -> int | None:
        end = _skip(self._SCALAR, data, at)
        return end if end < len(data) else None

    def _nested_end(self, data: bytes, at: int) -> int | None:
        depth = self._depth
        while True:
            if self._in_string:
                at = self._string_end(data, at)
                if self._in_string:
                    break
                if not depth:
                    return at
            for found in self._NEXT.finditer(data, at):
                group = found.lastindex
                if group == 1:
                    depth += 1
                elif group == 2:
                    depth -= 1
                    if not depth:
                        self._depth = 0
                        return found.end()
                else:
                    break
            self._in_string = group == 3
            if not self._in_string:
                break
            at = found.end()
        self._depth = depth
        return None

    def _string_end(self, data: bytes, at: int) -> int:
        if self._skip_next and at < len(data):
            self._skip_next = False
            at += 1
        while at < len(data):
            found = self._STRING.match(data, at)
            assert found is not None  # it matches the empty string
            at = found.end()
            if found[1]:
                self._in_string = False
                break
            if at == len(data) - 1:  # only a backslash stops it there
                self._skip_next = True
                break
        return at


def _values(value: _Value, next_value: Callable[[bytes, int], int], data: bytes) -> Iterator[Frame]:
    """The values that `data` completes; `next_value` finds the first byte of the next one, or the end of `data`."""
    at = 0
    while at < len(data):
        if not value.open:
            at = next_value(data, at)
            if at == len(data):
                return
            value.begin(data[at])
        at, text = value.take(data, at)
        if text is not None:
            yield Frame(text)


def _skip(pattern: re.Pattern[bytes], data: bytes, at: int) -> int:
    found = pattern.match(data, at)
    return found.end() if found else at


def _is_cut_short(text: bytes) -> bool:
    if not text.startswith((b"{", b"[", b'"')):
        return False
    value = _Value(len(text))
    value.begin(text[0])
    value.take(text, 0)
    return value.open


def too_large(max_frame: int) -> BackendError:
    """The error for a frame of more bytes than are allowed."""
    message = f"the backend sent an event larger than the {max_frame} bytes that are allowed; ask for a shorter answer"
    return BackendError(message, code="upstream_event_too_large", retry=False)


def _truncated() -> BackendError:
    message = "the backend's answer ends in the middle of a JSON value; try again"
    return BackendError(message, code="upstream_truncated")


def _invalid(byte: int, where: str) -> BackendError:
    shown = f"`{byte:c}`" if 0x20 < byte < 0x7F else f"byte 0x{byte:02x}"
    message = f"the backend's answer is not the JSON that its mapping describes: {shown} {where}"
    return BackendError(message, code="upstream_invalid_json")
