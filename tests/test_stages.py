"""Framings in other framings: the same frames however the bytes are cut, and a fault for what cannot be read."""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from collections.abc import Callable
from functools import partial

import pytest
from support import LARGE, drive, framed, segmentations

from oaiproxy.errors import BackendError
from oaiproxy.eventstream import EventStream, encode_message
from oaiproxy.framing import Frame, Framing, Sse
from oaiproxy.json_framings import JsonArray, Ndjson
from oaiproxy.stages import Base64, Delimited, Messages, Piped, encode_length


def check(begin: Callable[[], Framing], body: bytes, frames: list[Frame], code: str | None = None) -> None:
    for reads in segmentations(body):
        assert drive(begin(), reads) == (frames, code), reads


DELIMITED: dict[str, tuple[bytes, bytes, list[Frame]]] = {
    "nul": (b"\0", b'{"a":1}\0{"b":2}\0', framed(b'{"a":1}', b'{"b":2}')),
    "rest without its delimiter": (b"\0", b"a\0b", framed(b"a", b"b")),
    "nothing between": (b"\0", b"\0\0a\0\0", framed(b"a")),
    "blanks are a frame": (b"\0", b"a\0 \0", framed(b"a", b" ")),
    "two bytes": (b"\r\n", b"a\r\nb\rc\nd\r\n", framed(b"a", b"b\rc\nd")),
    "that begins like its end": (b"aab", b"xaaaab1aab", framed(b"xaa", b"1")),
    "nothing": (b"\0", b"", []),
}


@pytest.mark.parametrize(("delimiter", "body", "frames"), DELIMITED.values(), ids=DELIMITED)
def test_delimited(delimiter: bytes, body: bytes, frames: list[Frame]) -> None:
    """The delimiter is found wherever it is cut."""
    check(partial(Delimited, LARGE, delimiter), body, frames)


@pytest.mark.parametrize("body", [b"x" * 11 + b"\0", b"x" * 13])
def test_delimited_too_large(body: bytes) -> None:
    """With its delimiter or without."""
    assert drive(Delimited(10, b"\0"), [body[:6], body[6:]]) == ([], "upstream_event_too_large")


def test_delimited_of_exactly_the_bound() -> None:
    """It passes, and so does what follows."""
    check(partial(Delimited, 10, b"\0"), b"x" * 10 + b"\0y", framed(b"x" * 10, b"y"))


def test_messages() -> None:
    """Each behind its length; an empty one is a frame too."""
    check(partial(Messages, LARGE), b"".join(map(encode_length, [b"a", b"", b"bc"])), framed(b"a", b"", b"bc"))


def test_messages_broken() -> None:
    """Cut short, or too long by their length alone."""
    assert drive(Messages(LARGE), [encode_length(b"abc")[:-1]]) == ([], "upstream_truncated")
    assert drive(Messages(2), [struct.pack(">I", 3)]) == ([], "upstream_event_too_large")


def packed(payload: bytes) -> bytes:
    return json.dumps({"bytes": b64encode(payload).decode(), "p": "abc"}).encode()


def test_base64_in_binary_messages() -> None:
    """The payload is what is encoded; the name and the headers are those of the message around it."""
    headers = {":event-type": "chunk"}
    body = encode_message(packed(b'{"t":"a"}'), headers) + encode_message(packed(b'{"t":"b"}'), headers)
    frames = [Frame(b'{"t":"a"}', "chunk", headers=headers), Frame(b'{"t":"b"}', "chunk", headers=headers)]
    check(lambda: Piped(EventStream(LARGE), Base64(LARGE, "bytes")), body, frames)


def test_base64_of_bytes_that_another_framing_reads() -> None:
    """Where the inner frames begin and end has nothing to do with the outer ones."""
    body = b"".join(encode_message(packed(part), {}) for part in (b"event: a\nda", b"ta: 1\n\ndata: 2", b"\n", b"\n"))
    frames = [Frame(b"1", "a"), Frame(b"2")]
    check(lambda: Piped(Piped(EventStream(LARGE), Base64(LARGE, "bytes")), Sse(LARGE)), body, frames)


@pytest.mark.parametrize("payload", [b"{", b"[]", b'"x"', b'{"other": 1}', b'{"bytes": 1}', b'{"bytes": "***"}'])
def test_base64_that_is_none(payload: bytes) -> None:
    """It is a fault; what it holds is not told."""
    with pytest.raises(BackendError, match="a frame of the backend's stream") as caught:
        list(Base64(LARGE, "bytes").feed(payload))
    assert caught.value.code == "upstream_invalid_frame"


@pytest.mark.parametrize("payload", [b"", b" ", b"{}"])
def test_base64_of_nothing(payload: bytes) -> None:
    """An empty payload says nothing."""
    assert list(Base64(LARGE, "bytes").feed(payload)) == []


def test_an_error_around_is_not_read_as_what_is_within() -> None:
    """An exception stands as it came, and what follows it goes on."""
    failed = {":message-type": "exception", ":exception-type": "throttlingException"}
    body = encode_message(b"data: a\n\n", {}) + encode_message(b'{"message": "slow"}', failed)
    frames = [Frame(b"a"), Frame(b'{"message": "slow"}', "throttlingException", headers=failed)]
    check(lambda: Piped(EventStream(LARGE), Sse(LARGE)), body, frames)


def test_the_inner_body_ends_with_the_outer() -> None:
    """Its last frame comes, and one that breaks off is a fault."""
    check(lambda: Piped(Delimited(LARGE, b"\0"), Ndjson(LARGE)), b'{"a":\x001}\0', framed(b'{"a":1}'))
    assert drive(Piped(Delimited(LARGE, b"\0"), JsonArray(LARGE)), [b"[1"])[1] == "upstream_truncated"


def test_the_inner_envelope_comes_first() -> None:
    """And the outer one fills what it has not."""
    body = b"event: outer\nid: 7\nkind: x\ndata: event: inner\ndata: data: a\ndata: \ndata: \n\n"
    check(lambda: Piped(Sse(LARGE), Sse(LARGE)), body, [Frame(b"a", "inner", "7", {"kind": "x"})])
