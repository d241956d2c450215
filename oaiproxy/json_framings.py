"""Bytes that hold JSON values to frames, one for each value: by lines, one after another, or in an array."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from oaiproxy.errors import BackendError
from oaiproxy.framing import Frame, Head, too_large

_SPACE = 0x20
"""All that may stand between values is this or less."""


class Ndjson:
    """One JSON value per line, also after a record separator (RFC 7464); blank lines are skipped."""

    _AROUND = b" \t\r\x1e"

    def __init__(self, max_frame: int) -> None:
        self._max = max_frame
        self._head = Head()
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
        self._head = Head()
        self._value = _Value(max_frame)

    def feed(self, data: bytes) -> Iterator[Frame]:
        return _values(self._value, self._next, self._head.strip(data))

    def close(self) -> Iterator[Frame]:
        yield from _values(self._value, self._next, self._head.rest())
        yield from self._value.finish()

    def _next(self, data: bytes, at: int) -> int:
        return at if data[at] > _SPACE else _skip(self._BETWEEN, data, at)


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
        self._head = Head()
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


def _truncated() -> BackendError:
    message = "the backend's answer ends in the middle of a JSON value; try again"
    return BackendError(message, code="upstream_truncated")


def _invalid(byte: int, where: str) -> BackendError:
    shown = f"`{byte:c}`" if 0x20 < byte < 0x7F else f"byte 0x{byte:02x}"
    message = f"the backend's answer is not the JSON that its mapping describes: {shown} {where}"
    return BackendError(message, code="upstream_invalid_json")
