"""Bodies of odd forms: what HTTP allows is read whole, and what ends too soon, or has no body, is no answer."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import pytest
from faults import BOTH_LOOPS, BOTH_WAYS, nothing_left
from scripted import FIN, REQUEST, Backend, answer, chunk, fetch, hello, mapping

BODY = json.dumps({"text": "fine", "p": 1, "c": 2}).encode()
CHUNKS = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
SIZE = b"%x" % len(BODY)
PACKED = gzip.compress(BODY)
PARTS = [gzip.compress(part) for part in (BODY[:10], BODY[10:])]


def encoded(data: bytes, encoding: str = "gzip") -> bytes:
    """An answer that is compressed so."""
    return answer(data, headers={"Content-Encoding": encoding})


def raw() -> bytes:
    """Deflated without a head."""
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(BODY) + packer.flush()


FINE = {
    "extensions": CHUNKS + SIZE + b';a=b;c="d"\r\n' + BODY + b"\r\n0;x=y\r\n\r\n",
    "a long extension": CHUNKS + SIZE + b";" + b"a" * 20_000 + b"\r\n" + BODY + b"\r\n0\r\n\r\n",
    "trailers": CHUNKS + chunk(BODY) + b"0\r\nX-Checksum: 1\r\nServer-Timing: a\r\n\r\n",
    "gzip in parts": encoded(b"".join(PARTS)),
    "gzip and zeros": encoded(PACKED + b"\0" * 20),
    "deflate": encoded(zlib.compress(BODY), "deflate"),
    "deflate, raw": encoded(raw(), "deflate"),
    "many interim answers": b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" * 50 + answer(BODY),
}
BROKEN = {
    "gzip, cut": (encoded(PACKED[:-9]), "upstream_truncated"),
    "gzip, cut in its checksum": (encoded(PACKED[:-3]), "upstream_truncated"),
    "gzip, its second part cut": (encoded(PARTS[0] + PARTS[1][:-4]), "upstream_truncated"),
    "gzip, of its second part one byte": (encoded(PACKED + b"\x1f"), "upstream_truncated"),
    "gzip and more": (encoded(PACKED + b"garbage"), "upstream_invalid_encoding"),
    "gzip, wrong checksum": (encoded(PACKED[:-8] + b"\0" * 4 + PACKED[-4:]), "upstream_invalid_encoding"),
    "deflate, raw, cut": (encoded(raw()[:-2], "deflate"), "upstream_truncated"),
    "deflate, raw, and more": (encoded(raw() + b"xx", "deflate"), "upstream_invalid_encoding"),
    "gzip of nothing": (encoded(b""), "upstream_empty_response"),
    "no length": (answer(b""), "upstream_empty_response"),
    "no chunk": (CHUNKS + chunk(b""), "upstream_empty_response"),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", "upstream_empty_response"),
    "204 with a body": (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", "upstream_empty_response"),
    "205": (b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", "upstream_empty_response"),
    "304": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "upstream_redirect"),
    "trailers without end": (CHUNKS + chunk(BODY) + b"0\r\n" + b"X-T: 1\r\n" * 300_000, "upstream_truncated"),
    "a size beyond all": (CHUNKS + b"f" * 17 + b"\r\n" + BODY, "upstream_truncated"),
    "a size below nothing": (CHUNKS + b"-1\r\n" + BODY, "upstream_truncated"),
}


@pytest.mark.row(18, 37)
@BOTH_LOOPS
@BOTH_WAYS
@pytest.mark.parametrize("said", FINE.values(), ids=FINE)
async def test_a_body_of_an_odd_form_is_read_whole(proxy: Any, said: bytes, streams: bool) -> None:
    """For a request of either kind."""
    async with Backend([REQUEST, said, FIN]) as backend:
        running = await proxy(mapping(backend.url))
        wire = await fetch(running.url, hello(stream=streams))
        assert (wire.status, wire.text, wire.complete) == (200, "fine", True)
        await nothing_left(running, backend)


@pytest.mark.row(34, 37, 39)
@BOTH_LOOPS
@BOTH_WAYS
@pytest.mark.parametrize(("said", "code"), BROKEN.values(), ids=BROKEN)
async def test_a_body_that_is_none_or_not_whole(proxy: Any, said: bytes, code: str, streams: bool) -> None:
    """Is an error, and the connection is used no more."""
    async with Backend([REQUEST, said, FIN]) as backend:
        running = await proxy(mapping(backend.url))
        wire = await fetch(running.url, hello(stream=streams))
        assert (wire.status, wire.error["code"]) == (502, code)
        await nothing_left(running, backend)
