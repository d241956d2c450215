"""Content-encoded bodies come out plain, bounded, and only when they are complete."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable, Iterable

import pytest
from support import segmentations

from oaiproxy.decoding import FREE, decoder
from oaiproxy.errors import BackendError

PLAIN = b'{"text": "' + bytes(range(32, 127)) * 3 + b'"}'


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def stored(data: bytes) -> bytes:
    """A raw stream of one stored block, whose padding makes its first byte look like that of a zlib header."""
    size = len(data).to_bytes(2, "little")
    return b"\x08" + size + bytes(byte ^ 0xFF for byte in size) + data + b"\x01\x00\x00\xff\xff"


PACKED = {
    "none": ("", PLAIN),
    "identity": ("identity", PLAIN),
    "gzip": ("gzip", gzip.compress(PLAIN)),
    "x-gzip": ("x-gzip", gzip.compress(PLAIN)),
    "upper case and space": (" GZip ", gzip.compress(PLAIN)),
    "members": ("gzip", gzip.compress(PLAIN[:10]) + gzip.compress(b"") + gzip.compress(PLAIN[10:])),
    "padded": ("gzip", gzip.compress(PLAIN) + b"\0" * 9),
    "padded members": ("gzip", gzip.compress(PLAIN[:10]) + b"\0\0" + gzip.compress(PLAIN[10:])),
    "zlib": ("deflate", zlib.compress(PLAIN)),
    "zlib, small window": ("deflate", zlib.compress(PLAIN, wbits=9)),
    "raw": ("deflate", raw_deflate(PLAIN)),
    "raw, nearly zlib": ("deflate", stored(PLAIN)),
    "deflate, padded": ("deflate", zlib.compress(PLAIN) + b"\0\0"),
}


def decode(encoding: str, reads: Iterable[bytes], max_bytes: int | None = None) -> bytes:
    body = decoder(encoding, max_bytes)
    return b"".join([*(body.feed(data) for data in reads), body.close()])


@pytest.mark.parametrize("max_bytes", [None, len(PLAIN)])
@pytest.mark.parametrize(("encoding", "body"), PACKED.values(), ids=PACKED)
def test_round_trip(encoding: str, body: bytes, max_bytes: int | None) -> None:
    """What was packed comes out, at any split, when it is just as large as the bound."""
    for reads in segmentations(body):
        assert decode(encoding, reads, max_bytes) == PLAIN


@pytest.mark.parametrize(("encoding", "body"), PACKED.values(), ids=PACKED)
def test_too_large(encoding: str, body: bytes) -> None:
    """One plain byte more than the bound is an error, at any split, that clients need not retry."""
    for reads in segmentations(body):
        with pytest.raises(BackendError, match=f"larger than the {len(PLAIN) - 1} bytes") as caught:
            decode(encoding, reads, len(PLAIN) - 1)
        assert (caught.value.code, caught.value.status) == ("upstream_response_too_large", 502)
        assert caught.value.retry is False


@pytest.mark.parametrize("encoding", ["", "identity", "gzip", "deflate"])
def test_empty_body(encoding: str) -> None:
    """A body of no bytes is a complete one, whatever its header says."""
    assert decode(encoding, [], 0) == b""
    assert decode(encoding, [b""], 0) == b""


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_flushed_pieces_come_out_at_once(encoding: str) -> None:
    """A stream that the backend flushes event by event is decoded event by event."""
    packer = zlib.compressobj(wbits={"gzip": 31, "deflate": 15}[encoding])
    body = decoder(encoding, None)
    for event in (b"data: 1\n\n", b"data: 2\n\n", b"data: [DONE]\n\n"):
        assert body.feed(packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH)) == event
    assert body.feed(packer.flush()) == b""
    assert body.close() == b""


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_bomb_does_not_expand(encoding: str) -> None:
    """A small body that expands to 64 MiB costs hardly more memory than the bound."""
    pack = gzip.compress if encoding == "gzip" else zlib.compress
    bomb, bound = pack(b"\0" * (64 << 20)), 1 << 20
    tracemalloc.start()
    with pytest.raises(BackendError) as caught:
        decode(encoding, [bomb], bound)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.code == "upstream_response_too_large"
    assert peak < 4 * bound


@pytest.mark.parametrize("split", [False, True], ids=["at once", "in pieces"])
@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_stream_grows_so_many_times_and_no_more(encoding: str, pack: Callable[[bytes], bytes], split: bool) -> None:
    """Beyond the first MiB, which is free; of a bomb hardly more than that is ever held."""
    most = 64 << 20
    body = pack(bytes(most))
    assert most / len(body) > 500
    reads = [body[start : start + 1024] for start in range(0, len(body), 1024)] if split else [body]
    assert len(b"".join(map(decoder(encoding, None, 2000).feed, reads))) == most
    tracemalloc.start()
    read = decoder(encoding, None, 20)
    with pytest.raises(BackendError, match="20 times larger") as caught:
        _ = [len(read.feed(data)) for data in reads]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.code == "upstream_response_too_large"
    assert peak < 2 * 20 * len(body) + 4 * FREE
    assert len(decoder(encoding, None, 1).feed(pack(bytes(FREE)))) == FREE


@pytest.mark.parametrize(
    ("encoding", "body"),
    [("gzip", gzip.compress(PLAIN)), ("deflate", zlib.compress(PLAIN)), ("deflate", raw_deflate(PLAIN))],
    ids=["gzip", "zlib", "raw"],
)
def test_cut_short(encoding: str, body: bytes) -> None:
    """A body that ends early is truncated, wherever it ends, even within the checksum."""
    for end in range(1, len(body)):
        with pytest.raises(BackendError) as caught:
            decode(encoding, [body[:end]])
        assert (caught.value.code, caught.value.status) == ("upstream_truncated", 502)


def test_second_member_cut_short() -> None:
    """A body that ends within a later gzip member is truncated too."""
    with pytest.raises(BackendError) as caught:
        decode("gzip", [gzip.compress(PLAIN) + b"\x1f"])
    assert caught.value.code == "upstream_truncated"


GARBAGE = {
    "gzip, plain text": ("gzip", PLAIN),
    "gzip, that is zlib": ("gzip", zlib.compress(PLAIN)),
    "gzip, checksum": ("gzip", gzip.compress(PLAIN)[:-8] + b"\1\2\3\4" + gzip.compress(PLAIN)[-4:]),
    "gzip, surplus": ("gzip", gzip.compress(PLAIN) + b"surplus"),
    "deflate, plain text": ("deflate", b"\xff" * 20),
    "deflate, that is gzip": ("deflate", gzip.compress(PLAIN)),
    "deflate, checksum": ("deflate", zlib.compress(PLAIN)[:-1] + b"\0"),
    "deflate, dictionary": ("deflate", b"\x78\x20\1\2\3\4\5\6"),
    "deflate, surplus": ("deflate", zlib.compress(PLAIN) + b"surplus"),
}


@pytest.mark.parametrize(("encoding", "body"), GARBAGE.values(), ids=GARBAGE)
def test_garbage(encoding: str, body: bytes) -> None:
    """Bytes that are not packed as announced are an error of their own, at any split."""
    for reads in segmentations(body):
        with pytest.raises(BackendError) as caught:
            decode(encoding, reads, 1 << 20)
        assert (caught.value.code, caught.value.status) == ("upstream_invalid_encoding", 502)
        assert caught.value.detail


@pytest.mark.parametrize("encoding", ["br", "banana", "zstd", "gzip, gzip", "gzip,identity", "*", "gz\x1bip"])
def test_unsupported(encoding: str) -> None:
    """Any other encoding is refused by name, with what is read instead."""
    with pytest.raises(BackendError, match="only gzip and deflate are read") as caught:
        decoder(encoding, None)
    assert (caught.value.code, caught.value.status) == ("upstream_unsupported_encoding", 502)
    assert caught.value.retry is False
    assert ascii(encoding) in caught.value.message
    assert caught.value.message.isprintable()


def test_unsupported_name_is_cut() -> None:
    """Of a very long name the first 40 characters are shown."""
    with pytest.raises(BackendError) as caught:
        decoder("x" * 1000, 1)
    assert f"'{'x' * 40}'" in caught.value.message
    assert len(caught.value.message) < 150
