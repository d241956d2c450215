"""Binary messages become frames however they are cut, and nothing that fails a checksum does."""

from __future__ import annotations

import struct
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import LARGE, WIRE, drive

from oaiproxy.eventstream import MAX_HEADERS, OVERHEAD, PRELUDE, EventStream, encode_message
from oaiproxy.framing import Frame

RECORDED = sorted(WIRE.glob("bedrock*/*.bin"))
EVENT = encode_message(b'{"t":"a"}', {":event-type": "delta", ":message-type": "event"})


def message(block: bytes, payload: bytes = b"") -> bytes:
    """A message with these bytes for headers."""
    prelude = struct.pack(">II", OVERHEAD + len(block) + len(payload), len(block))
    made = prelude + struct.pack(">I", crc32(prelude)) + block + payload
    return made + struct.pack(">I", crc32(made))


def header(kind: int, value: bytes) -> bytes:
    return b"\x01H" + bytes([kind]) + value


VALUES: dict[str, tuple[bytes, str]] = {
    "true": (header(0, b""), "true"),
    "false": (header(1, b""), "false"),
    "byte": (header(2, b"\xff"), "-1"),
    "short": (header(3, b"\x01\x00"), "256"),
    "integer": (header(4, b"\xff\xff\xff\xfe"), "-2"),
    "long": (header(5, b"\x00" * 7 + b"\x07"), "7"),
    "bytes": (header(6, b"\x00\x02\xff\x00"), "/wA="),
    "text": (header(7, b"\x00\x02\xc3\xa9"), "é"),
    "time": (header(8, struct.pack(">q", 1_700_000_000_000)), "1700000000000"),
    "uuid": (header(9, bytes(range(16))), "00010203-0405-0607-0809-0a0b0c0d0e0f"),
}


@pytest.mark.parametrize(("block", "value"), VALUES.values(), ids=VALUES)
def test_headers_of_all_types_are_text(block: bytes, value: str) -> None:
    """Their names are in lower case."""
    assert drive(EventStream(LARGE), [message(block, b"x")]) == ([Frame(b"x", headers={"h": value})], None)


BROKEN: dict[str, bytes] = {
    "unknown type": header(10, b""),
    "cut name": b"\x09H",
    "no type": b"\x01H",
    "cut number": header(5, b"\x00"),
    "cut length": header(7, b"\x00"),
    "cut text": header(7, b"\x00\x05abc"),
    "cut uuid": header(9, b"\x00" * 15),
    "text that is not UTF-8": header(7, b"\x00\x01\xff"),
    "name that is not UTF-8": b"\x01\xff\x00",
    "too many": header(0, b"") * (MAX_HEADERS + 1),
}


@pytest.mark.parametrize("block", BROKEN.values(), ids=BROKEN)
def test_headers_that_cannot_be_read(block: bytes) -> None:
    """They are a fault of the backend, and of the sort that comes again."""
    assert drive(EventStream(LARGE), [message(block)]) == ([], "upstream_invalid_frame")


@pytest.mark.parametrize("at", range(len(EVENT)))
def test_a_changed_byte_is_noticed(at: int) -> None:
    """Wherever it stands; what came before it is yielded."""
    broken = bytearray(EVENT)
    broken[at] ^= 1
    frames, code = drive(EventStream(LARGE), [EVENT + bytes(broken)])
    assert [frame.event for frame in frames] == ["delta"]
    assert code == "upstream_invalid_frame"


@pytest.mark.parametrize("size", range(1, len(EVENT)))
def test_a_message_that_breaks_off(size: int) -> None:
    """It is not the end of an answer."""
    assert drive(EventStream(LARGE), [EVENT[:size]])[1] == "upstream_truncated"


def test_lengths_that_contradict_each_other() -> None:
    """A message is as long as its parts at the least."""
    for total, headers in ((OVERHEAD - 1, 0), (OVERHEAD + 3, 4)):
        prelude = struct.pack(">II", total, headers)
        assert drive(EventStream(LARGE), [prelude + struct.pack(">I", crc32(prelude)) + b"x" * 20]) == (
            [],
            "upstream_invalid_frame",
        )


def test_a_large_message_is_refused_before_it_came() -> None:
    """By its length; one of just the bound passes."""
    assert drive(EventStream(len(EVENT) - 1), [EVENT[:PRELUDE]]) == ([], "upstream_event_too_large")
    assert drive(EventStream(len(EVENT)), [EVENT])[1] is None


def test_an_exception_is_named_by_its_type() -> None:
    """Its payload may be empty; an error has its words in its headers."""
    headers = {":message-type": "exception", ":exception-type": "throttlingException"}
    (frame,), _ = drive(EventStream(LARGE), [encode_message(b"", headers)])
    assert (frame.event, frame.data, frame.headers) == ("throttlingException", b"", headers)
    (frame,), _ = drive(EventStream(LARGE), [encode_message(b"", {":message-type": "error", ":error-code": "Broken"})])
    assert (frame.event, frame.headers[":error-code"]) == ("", "Broken")


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.binary(max_size=30), st.dictionaries(st.text("abc:-é", max_size=6), st.text(max_size=9)))),
    st.data(),
)
def test_what_is_written_is_read(messages: list[tuple[bytes, dict[str, str]]], data: st.DataObject) -> None:
    """The same payloads and headers, however the bytes are cut."""
    body = b"".join(encode_message(payload, headers) for payload, headers in messages)
    places = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=12)))
    reads = [body[start:end] for start, end in zip([0, *places], [*places, len(body)], strict=True)]
    frames, code = drive(EventStream(LARGE), reads)
    assert code is None
    assert [(frame.data, dict(frame.headers)) for frame in frames] == messages


def test_single_bytes_cost_no_more_than_their_number() -> None:
    """The state is one buffer, emptied with each message."""
    framing = EventStream(LARGE)
    found = [frame for at in range(len(EVENT) * 50) for frame in framing.feed((EVENT * 50)[at : at + 1])]
    assert len(found) == 50


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_recorded_streams(path: Path) -> None:
    """Each is read to its end, the same byte by byte, and is written again as it was sent."""
    body = path.read_bytes()
    frames, code = drive(EventStream(LARGE), [body])
    assert code is None
    assert frames
    assert drive(EventStream(LARGE), [body[at : at + 1] for at in range(len(body))]) == (frames, None)
    assert b"".join(encode_message(frame.data, dict(frame.headers)) for frame in frames) == body
