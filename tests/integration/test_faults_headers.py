"""The fault matrix, rows 9 to 19: what goes wrong before a backend's answer has begun. Asked whole and as a stream."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from faults import BOTH_LOOPS, BOTH_WAYS, Fault, Pause, dripped, nothing_left, shown
from scripted import FIN, GONE, REQUEST, RST, Backend, answer, fetch, hello, mapping, stream

OK = b"HTTP/1.1 200 OK\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
FINE = b'Content-Type: application/json\r\nContent-Length: 16\r\n\r\n{"text": "fine"}'


def unreadable(*steps: Any) -> Fault:
    """What is not HTTP, and will not be the next time either."""
    return Fault(steps, 502, "upstream_protocol_error", retry="false")


def late(*steps: Any) -> Fault:
    """What ends at the deadline for the first byte."""
    return Fault(steps, 504, "upstream_timeout", retry="false", timeouts="{first_byte: 200ms}")


FAULTS: dict[str, Fault] = {
    "9 reset before headers": Fault([RST], 502, "upstream_reset"),
    "10 end before headers": Fault([FIN], 502, "upstream_closed"),
    "11 end within the status line": Fault([b"HTTP/1.1 2", FIN], 502, "upstream_protocol_error"),
    "11 end within headers": Fault([OK + b"X-A: b", FIN], 502, "upstream_protocol_error"),
    "11 end before the empty line": Fault([OK + b"Content-Length: 2\r\n", FIN], 502, "upstream_protocol_error"),
    "11 reset within headers": Fault([OK + b"X-A: b\r\n", Pause(0.05), RST], 502, "upstream_reset"),
    "12 a greeting of mail": unreadable(b"220 mail ESMTP\r\n\r\n"),
    "12 no HTTP at all": unreadable(b"\x00\x01\x02\x03"),
    "12 HTTP/0.9": unreadable(b"<html>canary</html>\n", FIN),
    "12 the preface of HTTP/2": unreadable(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "12 settings of HTTP/2": unreadable(b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64"),
    "12 no number for a status": unreadable(b"HTTP/1.1 abc OK\r\n\r\n"),
    "12 a status of four digits": unreadable(b"HTTP/1.1 2000 OK\r\n\r\n"),
    "13 a length and chunks": unreadable(
        OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"
    ),
    "13 chunks and a length": unreadable(
        OK + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n1\r\na\r\n0\r\n\r\n"
    ),
    "13 two lengths": unreadable(OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\na"),
    "13 the same length twice": unreadable(OK + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na"),
    "13 a negative length": unreadable(OK + b"Content-Length: -1\r\n\r\na"),
    "13 a length that is none": unreadable(OK + b"Content-Length: canary\r\n\r\na"),
    "13 a length beyond all numbers": unreadable(OK + b"Content-Length: 99999999999999999999999\r\n\r\na"),
    "13 a null byte": unreadable(OK + b"X-A: a\x00b\r\nContent-Length: 1\r\n\r\na"),
    "14 a long header": unreadable(OK + b"X-A: " + b"a" * 9000 + b"\r\nContent-Length: 1\r\n\r\na"),
    "14 a long name": unreadable(OK + b"X-" + b"a" * 9000 + b": a\r\nContent-Length: 1\r\n\r\na"),
    "14 a header without end": unreadable(OK + b"X-A: ", itertools.repeat(b"a" * 1000)),
    "14 many headers": unreadable(OK + b"".join(b"X-%d: a\r\n" % n for n in range(200)) + FINE),
    "14 headers without end": unreadable(OK, (b"X-%d: a\r\n" % n for n in itertools.count())),
    "15 stall": late(GONE),
    "16 stall in the status line": late(b"HTTP/1.1 2", GONE),
    "16 stall in the headers": late(OK + b"X-A: a\r\nX-", GONE),
    "16 stall before the empty line": late(OK + FINE.partition(b"\r\n\r\n")[0], GONE),
    "16 headers that drip": late(*dripped(OK + b"X-A: " + b"a" * 100 + b"\r\n" + FINE)),
    "17 interim answers that drip": late(*dripped(INTERIM * 20)),
    "17 interim answers without end": late(itertools.repeat(INTERIM)),
    "17 interim answers, then nothing": late(INTERIM * 3, GONE),
    "19 another protocol, unasked": unreadable(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: canary\r\n\r\ncanary"
    ),
    "19 a websocket, unasked": unreadable(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x02hi"
    ),
    "19 another protocol, unnamed": unreadable(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
}


@pytest.mark.row(9, 10, 11, 12, 13, 14, 15, 16, 17, 19)
@BOTH_LOOPS
@BOTH_WAYS
@pytest.mark.parametrize("row", FAULTS)
async def test_an_answer_that_does_not_begin(proxy: Any, row: str, streams: bool) -> None:
    """Is an error of the backend, never one of the caller; nothing of it is told."""
    wire = await shown(proxy, FAULTS[row], streams=streams)
    assert b"canary" not in wire.raw


@pytest.mark.row(18)
@BOTH_LOOPS
@BOTH_WAYS
@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "apart"])
async def test_interim_answers_are_skipped(proxy: Any, streams: bool, at_once: bool) -> None:
    """100, 102 and 103 before the 200, with their headers."""
    interim = [INTERIM, b"HTTP/1.1 102 Processing\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </canary>\r\n\r\n"]
    said = stream("fi", "ne") if streams else answer({"text": "fine"})
    steps = [b"".join(interim) + said] if at_once else [step for each in interim for step in (each, Pause(0.01))]
    async with Backend([REQUEST, *steps, *([] if at_once else [said])]) as backend:
        running = await proxy(mapping(backend.url))
        wire = await fetch(running.url, hello(stream=streams))
        assert (wire.status, wire.text, wire.complete) == (200, "fine", True)
        assert b"canary" not in wire.raw
        assert len(backend.requests) == 1
        await nothing_left(running)
