"""Any bytes, cut anyhow: the same frames, the same error, and never anything else."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import pytest
import support
from hypothesis import given, settings
from hypothesis import strategies as st
from support import FRAMINGS, LARGE

from oaiproxy.decoding import decoder
from oaiproxy.errors import BackendError
from oaiproxy.framing import Frame

unhurried = settings(deadline=None)  # a busy machine is no failure
CODES = {None, "upstream_event_too_large", "upstream_truncated", "upstream_invalid_json", "upstream_invalid_frame"}

# Bytes that matter to one framing or another come often, all others now and then.
PIECES = [
    *(bytes([byte]) for byte in b'{}[]",:\\ \t\r\n\x1e\0' + b"1-tx"),
    *(b"data: ", b"data:", b"data", b"event: ", b"id:", b"retry: 1", b": ping", b"message", b"\n\n", b"\r\n\r\n"),
    *(b"\xef\xbb\xbf", b"\xef", b"\xbb", "\u2028".encode(), "\x85".encode(), b"\x1c", "😀".encode()),
    *(b'{"a":1}', b"[{},", b'"\\"', b'{"a":"', b"null", b"-1.5e3"),
]
bodies = st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=40).map(b"".join)
names = pytest.mark.parametrize("name", FRAMINGS)

texts = st.text(max_size=20) | st.text('{}[]",:\\\n\r\t\u2028\u2029\x85\x1c\x1e 😀é', max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(texts, values, max_size=4)


def cut(data: st.DataObject, body: bytes) -> list[bytes]:
    places = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=12), label="places"))
    return [body[start:end] for start, end in zip([0, *places], [*places, len(body)], strict=True)]


def drive(name: str, reads: list[bytes], max_frame: int) -> tuple[list[Frame], str | None]:
    frames, code = support.drive(FRAMINGS[name](max_frame), reads)
    if name == "text" and code is None:
        frames = [Frame(b"".join(frame.data for frame in frames))]
    return frames, code


@names
@unhurried
@given(data=st.data(), body=bodies, max_frame=st.just(LARGE) | st.integers(0, 40))
def test_any_segmentation_gives_the_same_outcome(name: str, data: st.DataObject, body: bytes, max_frame: int) -> None:
    """Where the reads are cut changes neither the frames nor the error that follows them."""
    whole = drive(name, [body], max_frame)
    assert whole[1] in CODES
    assert drive(name, cut(data, body), max_frame) == whole
    assert drive(name, [body[at : at + 1] for at in range(len(body))], max_frame) == whole


@names
@unhurried
@given(data=st.data(), body=st.binary(max_size=200), max_frame=st.integers(0, 200))
def test_any_bytes_give_frames_or_our_error(name: str, data: st.DataObject, body: bytes, max_frame: int) -> None:
    """Whatever a backend sends, there are bounded frames and at most one BackendError."""
    frames, code = drive(name, cut(data, body), max_frame)
    assert code in CODES
    assert name == "text" or all(len(frame.data) <= max_frame for frame in frames)


def as_sse(end: str, space: str) -> Any:
    def encode(items: list[Any], indent: int | None) -> str:
        lines = (json.dumps(item, ensure_ascii=False, indent=indent).split("\n") for item in items)
        return "".join("".join(f"data:{space}{line}{end}" for line in event) + end for event in lines)

    return encode


def joined(before: str, between: str, after: str) -> Any:
    def encode(items: list[Any], indent: int | None) -> str:
        return before + between.join(json.dumps(item, ensure_ascii=False, indent=indent) for item in items) + after

    return encode


ENCODINGS = {
    "sse lf": ("sse", as_sse("\n", " ")),
    "sse crlf": ("sse", as_sse("\r\n", "")),
    "sse cr": ("sse", as_sse("\r", " ")),
    "ndjson": ("ndjson", joined("", "\n", "\n")),
    "ndjson crlf": ("ndjson", joined("\ufeff", "\r\n", "")),
    "ndjson record separators": ("ndjson", joined("\x1e", "\n\x1e", "\n")),
    "json-array": ("json-array", joined("[", ",", "]")),
    "json-array pretty": ("json-array", joined("\ufeff[\n  ", "\n,\n", "\n]\n")),
    "json-concat glued": ("json-concat", joined("", "", "")),
    "json-concat lines": ("json-concat", joined("", "\n", "\n")),
    "json-concat spaced": ("json-concat", joined(" ", " ", " ")),
    "json-concat nul": ("json-concat", joined("", "\0", "\0")),
    "json-array of none": ("json-array", joined("", "\n", "")),
}


@pytest.mark.parametrize(("name", "encode"), ENCODINGS.values(), ids=ENCODINGS)
@unhurried
@given(data=st.data(), items=st.lists(objects, max_size=5))
def test_values_come_back(name: str, encode: Any, data: st.DataObject, items: list[dict[str, Any]]) -> None:
    """Any objects, in any notation of a framing, come back equal and in order."""
    indent = None if name == "ndjson" else data.draw(st.sampled_from([None, 2]), label="indent")
    body = encode(items, indent).encode()
    frames, code = drive(name, cut(data, body), LARGE)
    assert code is None
    assert [json.loads(frame.data) for frame in frames] == items


@unhurried
@given(data=st.data(), items=st.lists(values, min_size=1, max_size=5))
def test_any_values_in_an_array_come_back(data: st.DataObject, items: list[Any]) -> None:
    """Not only objects: scalars and arrays are elements too."""
    frames, code = drive("json-array", cut(data, json.dumps(items).encode()), LARGE)
    assert code is None
    assert [json.loads(frame.data) for frame in frames] == items


@unhurried
@given(data=st.data(), body=st.binary(max_size=300))
def test_text_is_what_python_decodes(data: st.DataObject, body: bytes) -> None:
    """Text at any split is the whole body decoded with replacement characters."""
    [frame], code = drive("text", cut(data, body), LARGE)
    assert code is None
    assert frame.data.decode("utf-8", "replace") == body.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")


@pytest.mark.parametrize("encoding", ["", "gzip", "deflate"])
@unhurried
@given(data=st.data(), body=st.binary(max_size=200), max_bytes=st.none() | st.integers(0, 300))
def test_any_body_decodes_or_gives_our_error(
    encoding: str, data: st.DataObject, body: bytes, max_bytes: int | None
) -> None:
    """Packed, cut short or garbage: plain bytes within the bound, or a BackendError."""
    pack: Any = {"": bytes, "gzip": gzip.compress, "deflate": zlib.compress}[encoding]
    sent = data.draw(st.sampled_from([pack(body), pack(body)[:-1], body, pack(body) + body]), label="sent")
    reader, plain, code = decoder(encoding, max_bytes), b"", None
    try:
        for piece in cut(data, sent):
            plain += reader.feed(piece)
        plain += reader.close()
    except BackendError as error:
        code = error.code
    assert code in {None, "upstream_response_too_large", "upstream_truncated", "upstream_invalid_encoding"}
    assert max_bytes is None or len(plain) <= max_bytes
