"""What a mapping gives as `format`: how a stream is cut into frames, and all that depends on it.

Another framing is a class with `feed` and `close`, a writer, and a line in `FORMATS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial, reduce

from oaiproxy.eventstream import EventStream
from oaiproxy.frame_writers import (
    Writer,
    base64_writer,
    delimited_writer,
    piped_writer,
    write_array,
    write_events,
    write_lines,
    write_messages,
    write_sse,
    write_sse_unspaced,
    write_text,
    write_values,
)
from oaiproxy.framing import Framing, Sse, Text, Whole
from oaiproxy.json_framings import JsonArray, JsonConcat, Ndjson
from oaiproxy.jsontext import Json
from oaiproxy.stages import Base64, Delimited, Messages, Piped

MAX_DELIMITER = 16
"""Bytes of a delimiter."""


@dataclass(frozen=True, slots=True)
class Format:
    """A framing, and what is known of bodies in it."""

    name: str
    open: Callable[[int], Framing]
    """Begins a body; takes `max_frame` in bytes."""
    write: Writer
    """Frames to a body's bytes, frame by frame."""
    content_type: str = "application/octet-stream"
    """What a backend that streams so says its answer is."""
    telling: bool = False
    """Whether the content type tells a stream from a whole answer."""
    json: bool = False
    """Whether its content type is often that of a whole answer, so that only the first value tells which it is."""
    named: bool = False
    """Whether frames have names, by which events can be told apart."""
    lines: bool = False
    """Whether line ends between frames may be CRLF."""
    inner: str = ""
    """The name of the framing that yields the frames, where it stands inside another."""

    @property
    def yields(self) -> str:
        """The name of the framing that yields the frames."""
        return self.inner or self.name


WHOLE = Format("whole", Whole, write_text)
"""The whole body in one frame."""
FORMATS: Mapping[str, Format] = {
    each.name: each
    for each in (
        Format("sse", Sse, write_sse, "text/event-stream", telling=True, named=True, lines=True),
        Format("ndjson", Ndjson, write_lines, "application/x-ndjson", telling=True, json=True, lines=True),
        Format("json-array", JsonArray, write_array, "application/json", json=True, lines=True),
        Format("json-concat", JsonConcat, write_values, "application/json", json=True, lines=True),
        Format("text", Text, write_text, "text/plain; charset=utf-8"),
        Format(
            "aws-eventstream", EventStream, write_events, "application/vnd.amazon.eventstream", telling=True, named=True
        ),
        Format("messages", Messages, write_messages),
    )
}
"""By the name that a mapping gives."""


def make_format(written: Json) -> Format:
    """The format that a mapping gives: a name, a mapping of a name to its settings, or a list, each inside the last."""
    match written:
        case str():
            return FORMATS[written]
        case {"sse": settings}:
            plain = FORMATS["sse"]
            if not (settings or {}).get("keep_space"):
                return plain
            return replace(plain, open=partial(Sse, keep_space=True), write=write_sse_unspaced)
        case {"delimited": delimiter}:
            encoded = delimiter.encode()
            return Format("delimited", partial(Delimited, delimiter=encoded), delimited_writer(encoded), json=True)
        case {"base64": key}:
            return Format("base64", partial(Base64, key=key), base64_writer(key))
    return reduce(_piped, map(make_format, written))


def _piped(outer: Format, inner: Format) -> Format:
    def begin(max_frame: int) -> Framing:
        return Piped(outer.open(max_frame), inner.open(max_frame))

    return replace(
        outer,
        open=begin,
        write=piped_writer(outer.write, outer.named, inner.write, inner.named),
        json=False,
        named=outer.named or inner.named,
        lines=False,
        inner=inner.name,
    )
