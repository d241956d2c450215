"""Frames to the bytes of a body, as a backend would send them: for the examples in mappings, and to serve them.

Each writer yields the bytes of one frame after another, then what closes the body, if anything. Raises ValueError for
a frame that its framing cannot carry.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from oaiproxy import jsontext
from oaiproxy.eventstream import encode_message
from oaiproxy.failures import tells_failure
from oaiproxy.framing import EMPTY, Frame
from oaiproxy.stages import encode_length

Writer: TypeAlias = Callable[[Iterable[Frame]], Iterator[bytes]]

_SPACE = b"\n"
"""What stands between two JSON values that would else be read as one."""


def write_sse(frames: Iterable[Frame], space: bytes = b" ") -> Iterator[bytes]:
    """Server-sent events: comment, event, id, other fields, data."""
    for frame in frames:
        lines = [f"event: {frame.event}"] * bool(frame.event) + [f"id: {frame.id}"] * bool(frame.id)
        lines += [f"{name}: {value}" if name else f":{value}" for name, value in frame.fields.items()]
        if any("\n" in line or "\r" in line for line in lines):
            raise ValueError("a server-sent event's name, id and fields are one line each")
        made = [line.encode() for line in lines]
        if frame.data or not made:
            made += [b"data:" + space + line for line in frame.data.split(b"\n")]
        yield b"\n".join(made) + b"\n\n"


def write_sse_unspaced(frames: Iterable[Frame]) -> Iterator[bytes]:
    """Server-sent events whose data stands right behind `data:`."""
    return write_sse(frames, b"")


def write_lines(frames: Iterable[Frame]) -> Iterator[bytes]:
    """A line for each frame."""
    for frame in frames:
        yield _plain(frame, without=b"\n") + b"\n"


def write_array(frames: Iterable[Frame]) -> Iterator[bytes]:
    """The items of one JSON array."""
    before = b"["
    for frame in frames:
        yield before + _plain(frame)
        before = b",\n"
    yield b"]" if before != b"[" else b"[]"


def write_values(frames: Iterable[Frame]) -> Iterator[bytes]:
    """JSON values with nothing between them, where they can be told apart so."""
    before = b""
    for frame in frames:
        data = _plain(frame)
        yield (b"" if data[:1] in b'{["' else before) + data
        before = _SPACE


def write_text(frames: Iterable[Frame]) -> Iterator[bytes]:
    """The payloads and nothing else."""
    return map(_plain, frames)


def write_events(frames: Iterable[Frame]) -> Iterator[bytes]:
    """Binary messages; a frame's event is the name of its type, of an event or of an exception."""
    for frame in frames:
        headers = dict(frame.headers)
        kind = headers.setdefault(":message-type", "event")
        if frame.event:
            headers[":exception-type" if kind == "exception" else ":event-type"] = frame.event
        yield encode_message(frame.data, headers)


def write_messages(frames: Iterable[Frame]) -> Iterator[bytes]:
    """Messages behind their lengths."""
    return (encode_length(_plain(frame)) for frame in frames)


def delimited_writer(delimiter: bytes) -> Writer:
    """The writer of frames that a delimiter ends."""

    def write(frames: Iterable[Frame]) -> Iterator[bytes]:
        for frame in frames:
            yield _plain(frame, without=delimiter) + delimiter

    return write


def base64_writer(key: str) -> Writer:
    """The writer of JSON objects with the payload in base64 under a key."""

    def write(frames: Iterable[Frame]) -> Iterator[bytes]:
        for frame in frames:
            yield jsontext.dump({key: b64encode(_plain(frame)).decode()})

    return write


def piped_writer(outer: Writer, outer_named: bool, inner: Writer, inner_named: bool) -> Writer:
    """The writer of one framing inside another: a frame's name is told by the inner one, if that has names."""

    def write(frames: Iterable[Frame]) -> Iterator[bytes]:
        return outer(_wrapped(frames, inner, outer_named and not inner_named))

    return write


def _wrapped(frames: Iterable[Frame], inner: Writer, named: bool) -> Iterator[Frame]:
    """The outer frames: each holds what the inner framing makes of one frame, the last what closes its body.

    A frame that calls itself an error stands beside the inner framing.
    """
    pending: list[Frame] = []
    errors: list[Frame] = []

    def told() -> Iterator[Frame]:
        for frame in frames:
            if tells_failure(frame) and (named or frame.headers):
                errors.append(frame)
                continue
            pending.append(frame)
            yield Frame(frame.data) if named else Frame(frame.data, frame.event, frame.id, frame.fields)

    for piece in inner(told()):
        yield from errors
        errors.clear()
        frame = pending.pop() if pending else Frame(b"")
        around = (frame.event, frame.id, frame.fields) if named else ("", "", EMPTY)
        yield Frame(piece, *around, frame.headers)
    yield from errors


def _plain(frame: Frame, without: bytes = b"") -> bytes:
    """The payload of a frame that has nothing else."""
    if frame.event or frame.id or frame.fields or frame.headers:
        raise ValueError("frames of this format have no `event`, `id`, `fields` or `headers`")
    if without and without in frame.data:
        raise ValueError("the frame's data holds what ends a frame")
    return frame.data
