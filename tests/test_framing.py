"""Each framing finds the same frames, however the bytes are cut."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import BOM, FRAMINGS, LARGE, WIRE, check_framing, drive, framed, segmentations

from oaiproxy.errors import BackendError
from oaiproxy.framing import EMPTY, Frame, Sse

SSE = {
    "lf": (b"data: a\n\ndata: b\n\n", framed(b"a", b"b")),
    "crlf": (b"data: a\r\n\r\ndata: b\r\n\r\n", framed(b"a", b"b")),
    "cr": (b"data: a\r\rdata: b\r\r", framed(b"a", b"b")),
    "mixed line ends": (b"data: a\r\n\ndata: b\n\rdata: c\r\r\ndata: d\n\n", framed(b"a", b"b", b"c", b"d")),
    "lf after cr is half of a crlf": (b"data: a\r\ndata: b\r\n\r\n", framed(b"a\nb")),
    "byte order mark": (BOM + b"data: a\n\n", framed(b"a")),
    "second byte order mark is part of a name": (BOM + BOM + b"data: a\n\n", [Frame(b"", fields={"\ufeffdata": "a"})]),
    "without the space": (b"data:a\n\n", framed(b"a")),
    "only one space is dropped": (b"data:  a \n\n", framed(b" a ")),
    "multi-line data": (b"data: :\ndata: \ndata: Why\n\n", framed(b":\n\nWhy")),
    "data without colon": (b"data\n\n", framed(b"")),
    "two lines of data without colon": (b"data\ndata\n\n", framed(b"\n")),
    "empty data": (b"data:\n\ndata: \n\n", framed(b"", b"")),
    "event name": (b"event: done\ndata: {}\n\n", [Frame(b"{}", event="done")]),
    "last event name wins": (b"event: a\nevent:b\ndata: 1\n\n", [Frame(b"1", event="b")]),
    "event without data": (b"event: ping\n\ndata: a\n\n", [Frame(b"", event="ping"), Frame(b"a")]),
    "id belongs to its event": (b"id: 7\ndata: a\n\ndata: b\n\n", [Frame(b"a", id="7"), Frame(b"b")]),
    "comment inside an event": (
        b"id:1\nevent:result\n:HTTP_STATUS/400\ndata:{}\n\n",
        [Frame(b"{}", event="result", id="1", fields={"": "HTTP_STATUS/400"})],
    ),
    "last comment wins": (b": a\n: b\ndata: x\n\n", [Frame(b"x", fields={"": "b"})]),
    "comment of its own": (b": hi\n\ndata: a\n\n:\n\n:408: 408 Request Timeout\n", framed(b"a")),
    "nothing to dispatch": (b"id: 3\n\nretry: 5\n\n: c\n\nevent:\n\n\n\n\r\n", []),
    "retry is kept": (b"retry: 5\ndata: a\n\n", [Frame(b"a", fields={"retry": "5"})]),
    "unknown field": (b"message:\ndata:{}\n\n", [Frame(b"{}", fields={"message": ""})]),
    "line without colon": (b"message\ndata:{}\n\n", [Frame(b"{}", fields={"message": ""})]),
    "unknown field alone": (b'meta: {"a":1}\n\n', [Frame(b"", fields={"meta": '{"a":1}'})]),
    "no final blank line": (b"data: a\n\ndata: b\n", framed(b"a", b"b")),
    "no final line end": (b"data: a\n\nevent: x\ndata: b", [Frame(b"a"), Frame(b"b", event="x")]),
    "no final line end after cr": (b"data: a\r\rdata: b\r", framed(b"a", b"b")),
    "ends within the name": (b"event: x\nda", [Frame(b"", event="x", fields={"da": ""})]),
    "odd separators are data": (
        "data: a\u2028b\u2029c\x85d\x1ce\x0bf\x0cg\n\n".encode(),
        framed("a\u2028b\u2029c\x85d\x1ce\x0bf\x0cg".encode()),
    ),
    "invalid utf-8 is left to the reader": (b"data: \xff\xe2\x80\n\n", framed(b"\xff\xe2\x80")),
    "invalid utf-8 in a name": (b"event: \xff\ndata: a\n\n", [Frame(b"a", event="\ufffd")]),
    "nothing": (b"", []),
    "only a byte order mark": (BOM, []),
    "blank lines": (b"\n\r\n\r\r\n", []),
    "trailing data": (b"data: [DONE]\n\ntrailing", [Frame(b"[DONE]"), Frame(b"", fields={"trailing": ""})]),
}


@pytest.mark.parametrize(("body", "frames"), SSE.values(), ids=SSE)
def test_sse(body: bytes, frames: list[Frame]) -> None:
    """Server-sent events are read as the specification says, and as tolerantly as backends need."""
    check_framing("sse", body, frames)


def test_sse_that_keeps_the_space() -> None:
    """Behind `data:` it belongs to the data, behind other names it never does."""
    framing = Sse(LARGE, keep_space=True)
    body = b"event: part\nid: 1\ndata: world\n\ndata:x\n\n"
    assert list(framing.feed(body)) == [Frame(b" world", "part", "1"), Frame(b"x")]


def test_sse_yields_an_event_at_the_cr_that_ends_it() -> None:
    """A CR at the end of a read dispatches at once, though it may be half of a CRLF."""
    framing = FRAMINGS["sse"](LARGE)
    assert list(framing.feed(b"data: a\r\r")) == framed(b"a")
    assert list(framing.feed(b"\ndata: b\r\n\r")) == framed(b"b")
    assert list(framing.feed(b"\n")) == []


def test_sse_keeps_a_bounded_number_of_fields() -> None:
    """An event of very many unknown fields is a frame with the first 64 of them."""
    body = b"".join(b"f%d: x\n" % number for number in range(1000)) + b"\n"
    [frame], code = drive(FRAMINGS["sse"](LARGE), [body])
    assert code is None
    assert list(frame.fields) == [f"f{number}" for number in range(64)]


def test_sse_comments_for_ever_are_no_event() -> None:
    """Heartbeats without blank lines between them never add up to an event that is too large."""
    assert drive(FRAMINGS["sse"](16), [b": ping\n"] * 1000 + [b"data: a\n\n"]) == (
        [Frame(b"a", fields={"": "ping"})],
        None,
    )


TEXT = {
    "ascii": b"Hello, world\n",
    "many scripts": "héllo 你好 😀 \u2028\x85\x1c".encode(),
    "byte order mark": BOM + b"a" + BOM,
    "invalid": b"a\xffb\xe2\x80c\xf0\x9f\x98",
    "surrogate": b"\xed\xa0\x80",
    "half a byte order mark": BOM[:2],
    "nothing": b"",
}


@pytest.mark.parametrize("body", TEXT.values(), ids=TEXT)
def test_text(body: bytes) -> None:
    """Text comes out as it went in, with U+FFFD for what is not UTF-8, and never half a character."""
    expected = body.removeprefix(BOM).decode("utf-8", "replace")
    for reads in segmentations(body):
        frames, code = drive(FRAMINGS["text"](1), reads)
        assert code is None
        assert "".join(frame.data.decode("utf-8", "replace") for frame in frames) == expected


def test_text_yields_at_each_read() -> None:
    """Text is passed on as it comes, up to the last complete character."""
    framing = FRAMINGS["text"](LARGE)
    assert [list(framing.feed(data)) for data in (b"a\xc3", b"\xa9", b"b")] == [
        framed(b"a"),
        framed(b"\xc3\xa9"),
        framed(b"b"),
    ]
    assert list(framing.close()) == []


@pytest.mark.parametrize(
    ("body", "frames"),
    [(b"", []), (b" \r\n", []), (b' {"a":1}\n', framed(b' {"a":1}\n')), (b"\xff", framed(b"\xff"))],
)
def test_whole(body: bytes, frames: list[Frame]) -> None:
    """The whole body is one frame; a blank one is none."""
    check_framing("whole", body, frames)


TOO_LARGE = {
    "sse line": ("sse", b"data: a\n\ndata: 123456789012345678901234567890\n\n", framed(b"a")),
    "sse many lines": ("sse", b"data: a\n\n" + b"data: 12345\n" * 4 + b"\n", framed(b"a")),
    "sse fields": ("sse", b"event: 1234567890\nid: 1234567890\n\n", []),
    "sse comment": ("sse", b":123456789012345678901234567890\n", []),
    "sse byte order mark": ("sse", BOM + b"data:123456789012345678901", []),
    "ndjson": ("ndjson", b'{}\n{"a":"12345678901234567890"}\n{}\n', framed(b"{}")),
    "ndjson blank": ("ndjson", b" " * 30, []),
    "json-concat object": ("json-concat", b'{}{"a":"12345678901234567890"}{}', framed(b"{}")),
    "json-concat string": ("json-concat", b'{}"1234567890123456789012345', framed(b"{}")),
    "json-concat number": ("json-concat", b"1 1234567890123456789012345 1", framed(b"1")),
    "json-array": ("json-array", b'[{},{"a":"12345678901234567890"}]', framed(b"{}")),
    "json-array plain": ("json-array", b'{}{"a":"12345678901234567890"}', framed(b"{}")),
    "whole": ("whole", b"123456789012345678901234567890", []),
}


@pytest.mark.parametrize(("name", "body", "frames"), TOO_LARGE.values(), ids=TOO_LARGE)
def test_too_large(name: str, body: bytes, frames: list[Frame]) -> None:
    """A frame past the bound is an error after the frames before it, wherever the reads are cut."""
    check_framing(name, body, frames, "upstream_event_too_large", max_frame=20)


@pytest.mark.parametrize(
    ("name", "body", "frame"),
    [
        ("sse", b"data:123456\n\n", b"123456"),
        ("ndjson", b'{"a":12345}\n', b'{"a":12345}'),
        ("json-concat", b'{"a":12345} {', b'{"a":12345}'),
        ("json-array", b'[ {"a":12345} ,{', b'{"a":12345}'),
        ("whole", b'{"a":12345}', b'{"a":12345}'),
    ],
)
def test_a_frame_of_exactly_the_bound(name: str, body: bytes, frame: bytes) -> None:
    """The bound itself is allowed."""
    for reads in segmentations(body):
        assert drive(FRAMINGS[name](11), reads)[0][:1] == [Frame(frame)]


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("sse", b"data: "),
        ("sse", b": "),
        ("sse", b"data: a\r"),
        ("ndjson", b'{"a":"'),
        ("json-concat", b'{"a":"'),
        ("json-concat", b'{"a":"\\'),
        ("json-array", b'[{"a":"'),
        ("json-array", b'{"a":"'),
        ("whole", b""),
    ],
)
@pytest.mark.parametrize("read", [1, 7, 4096])
def test_a_frame_without_end(name: str, start: bytes, read: int) -> None:
    """A frame that never ends is given up one read after the bound at the latest."""
    framing, fed = FRAMINGS[name](10_000), 0
    assert list(framing.feed(start)) == []
    with pytest.raises(BackendError) as caught:  # noqa: PT012 - which feed raises is the promise
        while fed < 20_000:
            fed += read
            assert list(framing.feed(b"x" * read)) == []
    assert caught.value.code == "upstream_event_too_large"
    assert caught.value.retry is False
    assert fed <= 10_000 + read


def test_frames_share_an_immutable_empty_mapping() -> None:
    """A frame without fields costs no dict, and nobody can write into the shared one."""
    frame = Frame(b"")
    assert frame.fields is frame.headers is EMPTY
    with pytest.raises(TypeError):
        frame.fields["a"] = "b"  # type: ignore[index]


RECORDED = sorted(WIRE.glob("**/*.sse")) + sorted(WIRE.glob("**/*.ndjson")) + sorted(WIRE.glob("**/*jsonarray*.json"))
NAMES = {".sse": ("sse", "text"), ".ndjson": ("ndjson", "json-concat"), ".json": ("json-array", "json-concat", "whole")}


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_recorded_streams(path: Path) -> None:
    """Recorded streams are framed without error, and byte by byte as whole."""
    body = path.read_bytes()
    for name in NAMES[path.suffix]:
        whole = drive(FRAMINGS[name](LARGE), [body])
        bytewise = drive(FRAMINGS[name](LARGE), [body[at : at + 1] for at in range(len(body))])
        assert whole[1] is None
        assert whole[0]
        if name == "text":
            whole, bytewise = (
                (framed(b"".join(frame.data for frame in frames)), None) for frames, _ in (whole, bytewise)
            )
        assert bytewise == whole
        if "json" in name:
            assert all(json.loads(frame.data) is not None for frame in whole[0])
