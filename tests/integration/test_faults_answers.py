"""The fault matrix, rows 31 to 51: answers that are wrong. Asked whole and as a stream."""

from __future__ import annotations

import gzip
import itertools
import zlib
from typing import Any

import pytest
from faults import BOTH_LOOPS, BOTH_WAYS, LENGTH, Fault, Hasty, Pause, nothing_left, raw, said, shown
from scripted import (
    FIN,
    GONE,
    RST,
    Step,
    chunk,
    fetch,
    hello,
    mapping,
    stream_head,
)

JSON = b'{"text": "canary"}'
CLOSED = b"HTTP/1.0 200 OK\r\nContent-Type: %s\r\n\r\n"
"""The head of an answer that ends with its connection."""


def wrong(code: str, *steps: Step, retry: str | None = "false", kept: bool = False) -> Fault:
    return Fault(steps, 502, code, retry=retry, kept=kept)


def encoded(body: bytes, encoding: str) -> Step:
    return raw(body, **{"Content-Encoding": encoding})[0]


FAULTS: dict[str, Fault] = {
    "32 a page": wrong("upstream_invalid_response", *raw(b"<html>canary</html>", "text/html"), retry=None, kept=True),
    "32 a page that says it is JSON": wrong(
        "upstream_invalid_response", *raw(b"\n <!DOCTYPE html><p>canary</p>"), retry=None, kept=True
    ),
    "34 empty": wrong("upstream_empty_response", *raw(b""), retry=None, kept=True),
    "34 no content": wrong("upstream_empty_response", b"HTTP/1.1 204 No Content\r\n\r\n", retry=None, kept=True),
    "34 white space": wrong("upstream_empty_response", *raw(b" \r\n "), retry=None, kept=True),
    "34 empty chunks": wrong(
        "upstream_empty_response", stream_head("application/json"), chunk(b""), retry=None, kept=True
    ),
    "34 empty to the end": wrong("upstream_empty_response", CLOSED % b"application/json", FIN, retry=None),
    "35 no JSON": wrong("upstream_invalid_json", *raw(b"{canary}"), kept=True),
    "36 JSON that is cut": wrong("upstream_invalid_json", *raw(JSON[:-3]), retry=None, kept=True),
    "36 JSON that is cut, in chunks": wrong(
        "upstream_invalid_json", stream_head("application/json"), chunk(JSON[:9]), chunk(b""), retry=None, kept=True
    ),
    "37 a short body": wrong("upstream_truncated", LENGTH % 100 + JSON, FIN, retry=None),
    "37 a reset": wrong("upstream_reset", LENGTH % 100 + JSON, Pause(0.05), RST, retry=None),
    "37 no last chunk": wrong("upstream_truncated", stream_head("application/json"), chunk(JSON), FIN, retry=None),
    "37 half a chunk": wrong("upstream_truncated", stream_head("application/json"), chunk(JSON)[:-9], FIN, retry=None),
    "37 a chunk of no size": wrong(
        "upstream_truncated", stream_head("application/json"), Pause(0.05), b"canary\r\n", retry=None
    ),
    "38 cut by the end of the connection": wrong(
        "upstream_invalid_json", CLOSED % b"application/json" + JSON[:-2], FIN, retry=None
    ),
    "39 gzip that is cut": wrong(
        "upstream_truncated", encoded(gzip.compress(JSON)[:-9], "gzip"), retry=None, kept=True
    ),
    "39 gzip without its checksum": wrong(
        "upstream_truncated", encoded(gzip.compress(JSON)[:-8], "gzip"), retry=None, kept=True
    ),
    "39 gzip within its header": wrong(
        "upstream_truncated", encoded(gzip.compress(JSON)[:5], "gzip"), retry=None, kept=True
    ),
    "39 deflate that is cut": wrong(
        "upstream_truncated", encoded(zlib.compress(JSON)[:-4], "deflate"), retry=None, kept=True
    ),
    "39 gzip that is none": wrong("upstream_invalid_encoding", encoded(JSON, "gzip"), retry=None, kept=True),
    "40 a length that is too much": wrong(
        "upstream_response_too_large", LENGTH % (33 << 20), itertools.repeat(b" " * 65536)
    ),
    "41 br": wrong("upstream_unsupported_encoding", encoded(b"canary", "br"), kept=True),
    "41 banana": wrong("upstream_unsupported_encoding", encoded(b"canary", "banana"), kept=True),
    "41 gzip twice": wrong(
        "upstream_unsupported_encoding", encoded(gzip.compress(gzip.compress(JSON)), "gzip, gzip"), kept=True
    ),
    "42 no UTF-8": wrong("upstream_invalid_utf8", *raw(b'{"text": "canary \xff"}'), kept=True),
    "42 UTF-16": wrong("upstream_invalid_utf8", *raw('{"text": "canary"}'.encode("utf-16")), kept=True),
    "44 another key": wrong("upstream_mapping_mismatch", *raw(b'{"canary": 1}'), kept=True),
    "44 null": wrong("upstream_mapping_mismatch", *raw(b'{"text": null}'), kept=True),
    "44 a number": wrong("upstream_mapping_mismatch", *raw(b'{"text": {"canary": 1}}'), kept=True),
    "44 a list": wrong("upstream_mapping_mismatch", *raw(b'["canary"]'), kept=True),
    "44 text for an object": wrong("upstream_mapping_mismatch", *raw(b'"canary"'), kept=True),
    "45 an error": wrong("upstream_error", *raw(b'{"error": {"message": "backend words"}}'), retry=None, kept=True),
    "45 an error as text": wrong("upstream_error", *raw(b'{"error": "backend words"}'), retry=None, kept=True),
    "45 an error beside an answer": wrong(
        "upstream_error", *raw(b'{"error": {"message": "backend words"}, "text": "canary"}'), retry=None, kept=True
    ),
    "45 with a status of its own": Fault(
        raw(b'{"error": {"message": "backend words", "status": 429}}'),
        429,
        "rate_limit_exceeded",
        "rate_limit_error",
        message="backend words",
        kept=True,
    ),
    "48 a body that drips": Fault(
        [LENGTH % (1 << 30), itertools.repeat(b" ")], 504, "upstream_timeout", retry="false", timeouts="{total: 300ms}"
    ),
    "48 chunks that drip": Fault(
        [stream_head("application/json"), itertools.repeat(chunk(b" "))],
        504,
        "upstream_timeout",
        retry="false",
        timeouts="{total: 300ms}",
    ),
    "48 comments that drip": Fault(
        [stream_head(), itertools.repeat(chunk(b": canary\n\n"))],
        504,
        "upstream_timeout",
        retry="false",
        timeouts="{total: 300ms}",
    ),
    "48 a stall in the body": Fault(
        [LENGTH % 100 + JSON[:9], GONE], 504, "upstream_timeout", retry="false", timeouts="{idle: 200ms, total: 5s}"
    ),
}


@pytest.mark.row(32, 34, 35, 36, 37, 38, 39, 40, 41, 42, 44, 45, 48)
@BOTH_LOOPS
@BOTH_WAYS
@pytest.mark.parametrize("row", FAULTS)
async def test_an_answer_that_is_wrong(proxy: Any, row: str, streams: bool) -> None:
    """Is an error with a status, for whoever streams too, as nothing was told before; and nothing of it is told."""
    wire = await shown(proxy, FAULTS[row], streams=streams)
    assert b"canary" not in wire.raw


@pytest.mark.row(31)
@BOTH_LOOPS
@pytest.mark.parametrize(
    "fault",
    [
        Fault(said(413), 413, "request_too_large", "invalid_request_error", message="backend words"),
        Fault(
            said(413, "prompt is too long"),
            400,
            "context_length_exceeded",
            "invalid_request_error",
            param="messages",
            message="prompt is too long",
        ),
        Fault(said(429), 429, "rate_limit_exceeded", "rate_limit_error"),
    ],
    ids=["413", "413 of a context", "429"],
)
@pytest.mark.parametrize("end", [RST, FIN, None], ids=["reset", "end", "silence"])
@BOTH_WAYS
async def test_an_answer_before_the_request_was_read(proxy: Any, fault: Fault, end: Any, streams: bool) -> None:
    """Is the answer, although the rest of the request cannot be sent."""
    async with Hasty(fault.steps[0], end) as backend:
        running = await proxy(mapping(backend.url))
        long = [{"role": "user", "content": "long " * (4 << 18)}]
        for _ in range(2):
            fault.told(await fetch(running.url, hello(stream=streams, messages=long)))
        if end is None:
            await backend.cut_off()
        await nothing_left(running)


@pytest.mark.row(49)
@BOTH_LOOPS
@BOTH_WAYS
async def test_a_backend_that_never_reads(proxy: Any, streams: bool) -> None:
    """Is given up at the deadline for the first byte, and its connection closed."""
    async with Hasty(b"", None) as backend:
        running = await proxy(mapping(backend.url, timeouts="{first_byte: 300ms}"))
        long = [{"role": "user", "content": "long " * (2 << 20)}]
        wire = await fetch(running.url, hello(stream=streams, messages=long))
        Fault([], 504, "upstream_timeout", retry="false").told(wire)
        await backend.cut_off()
        await nothing_left(running)
        await backend.left()
