"""The fault matrix, rows 20 to 29: answers with a status that is not 200. Asked whole and as a stream."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import support
from faults import BOTH_LOOPS, BOTH_WAYS, LENGTH, Fault, nothing_left, said, shown
from scripted import FIN, REQUEST, Backend, Step, answer, fetch, hello, mapping

CALLER = "invalid_request_error"
BUSY = ("server_is_overloaded", "service_unavailable_error")


def refused(code: str, *steps: Step, retry: str | None = "false") -> Fault:
    return Fault(steps, 502, code, retry=retry, kept=True)


def callers(code: str, *steps: Step, param: str | None = None, status: int = 400) -> Fault:
    return Fault(steps, status, code, CALLER, param=param, message="context" if param else "backend words", kept=True)


def limited(after: str | None, retry: str | None = None, code: str = "rate_limit_exceeded", **headers: str) -> Fault:
    return Fault(said(429, **headers), 429, code, "rate_limit_error", retry, after, "backend words", kept=True)


def too_long(status: int) -> Fault:
    return callers("context_length_exceeded", *said(status, "the context length is 8"), param="messages")


FAULTS: dict[str, Fault] = {
    "21 our key is refused": refused("upstream_auth_error", *said(401)),
    "21 our key may not": refused("upstream_auth_error", *said(403)),
    "23 a bad request": callers("invalid_value", *said(400)),
    "23 an unfit request": callers("invalid_value", *said(422)),
    "24 a context of 400": too_long(400),
    "24 a context of 413": too_long(413),
    "24 a context of 422": too_long(422),
    "24 a context of 500": too_long(500),
    "25 not found": refused("upstream_not_found", *said(404)),
    "26 a minute at most": limited("7", **{"Retry-After": "7"}),
    "26 just a minute": limited("60", **{"Retry-After": "60"}),
    "26 no time": limited(None),
    "26 at once": limited("1", **{"Retry-After": "0"}),
    "26 part of a second": limited("1", **{"Retry-After": "0.2"}),
    "26 in thousandths": limited("2", **{"retry-after-ms": "1500"}),
    "26 in thousandths and seconds": limited("2", **{"retry-after-ms": "1500", "Retry-After": "9"}),
    "26 in words": limited("7", **{"Retry-After": "7s"}),
    "26 a date that is past": limited("1", **{"Retry-After": "Thu, 01 Jan 2015 00:00:00 GMT"}),
    "26 less than nothing": limited(None, **{"Retry-After": "-7"}),
    "26 nothing that is known": limited(None, **{"Retry-After": "soon, canary"}),
    "26 no number": limited(None, **{"Retry-After": "nan"}),
    "26 empty": limited(None, **{"Retry-After": ""}),
    "27 for long": limited("60", "false", **{"Retry-After": "300"}),
    "27 for ever": limited("60", "false", **{"Retry-After": "9" * 400}),
    "27 a second too long": limited("60", "false", **{"Retry-After": "61"}),
    "27 until a date far off": limited("60", "false", **{"Retry-After": "Fri, 01 Jan 2100 00:00:00 GMT"}),
    "28 a quota": Fault(
        said(429, "no quota"), 429, "insufficient_quota", "insufficient_quota", "false", message="no quota", kept=True
    ),
    "28 payment": Fault(said(402), 429, "insufficient_quota", "insufficient_quota", "false", kept=True),
    "29 503": Fault(said(503), 503, *BUSY, kept=True),
    "29 503 for a while": Fault(said(503, **{"Retry-After": "3"}), 503, *BUSY, after="3", kept=True),
    "29 503 for long": Fault(said(503, **{"Retry-After": "300"}), 503, *BUSY, after="60", kept=True),
    "29 529": Fault(said(529), 503, *BUSY, kept=True),
    "29 504": Fault(said(504), 504, "upstream_timeout", retry="false", kept=True),
    "29 524": Fault(said(524), 504, "upstream_timeout", retry="false", kept=True),
    "29 a page": Fault(
        [answer(b"<html>canary</html>", 502, {"Content-Type": "text/html"})], 502, "upstream_error", kept=True
    ),
    "29 nothing": Fault([answer(b"", 500)], 502, "upstream_error", kept=True),
    "29 a body that is cut": Fault(
        [b"HTTP/1.1 429 No\r\nContent-Length: 99\r\n\r\n{", FIN], 429, "rate_limit_exceeded", "rate_limit_error"
    ),
    "29 no such status": Fault([answer(b"{}", 999)], 502, "upstream_error", kept=True),
    "29 a refusal that is rare": refused("upstream_error", *said(418)),
    **{
        f"29 {status}": Fault(said(status, **{"Retry-After": "3"}), 502, "upstream_error", after="3", kept=True)
        for status in (500, 501, 502, 505, 520, 521, 522, 523, 525, 526, 527, 528)
    },
}


@pytest.mark.row(21, 23, 24, 25, 26, 27, 28, 29)
@BOTH_WAYS
@pytest.mark.parametrize("row", FAULTS)
async def test_a_status_of_failure(proxy: Any, row: str, streams: bool) -> None:
    """Is told as what it means to the caller, who cannot mend what is the operator's."""
    wire = await shown(proxy, FAULTS[row], streams=streams)
    assert b"canary" not in wire.raw


@pytest.mark.row(26)
@BOTH_WAYS
async def test_a_date_to_wait_for(proxy: Any, streams: bool) -> None:
    """Is told in seconds."""
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
    async with Backend([REQUEST, *said(429, **{"Retry-After": at})]) as backend:
        wire = await fetch((await proxy(mapping(backend.url))).url, hello(stream=streams))
        assert (wire.status, wire.headers.get("x-should-retry")) == (429, None)
        assert 1 <= int(wire.headers["retry-after"]) <= 40


@pytest.mark.row(20)
@BOTH_LOOPS
@BOTH_WAYS
@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
async def test_a_redirect(proxy: Any, streams: bool, status: int) -> None:
    """Is not followed, to no host, and its address is not told."""
    async with Backend([REQUEST, answer({"text": "canary"})]) as elsewhere:
        for base in (elsewhere.url, ""):
            body = b"" if status == 304 else b"canary"
            steps = [answer(body, status, {"Location": f"{base}/canary"})]
            wire = await shown(proxy, refused("upstream_redirect", *steps), streams=streams)
            assert b"canary" not in wire.raw
        assert elsewhere.connections == []


@pytest.mark.row(22)
@BOTH_LOOPS
@BOTH_WAYS
@pytest.mark.parametrize(("status", "code"), [(401, "invalid_api_key"), (403, "permission_denied")])
async def test_the_clients_own_key_is_refused(proxy: Any, streams: bool, status: int, code: str) -> None:
    """Which it can mend; its key is not told back."""
    async with Backend([REQUEST, *said(status, "bad key sk-canary-0001")]) as backend:
        running = await proxy(mapping(backend.url, backend="auth: {passthrough: authorization}"))
        headers = {"Authorization": "Bearer sk-canary-0001"}
        wire = await fetch(running.url, hello(stream=streams, headers=headers))
        Fault([], status, code, CALLER, retry="false", message="bad key ***").told(wire)
        assert backend.requests[0].header("authorization") == "Bearer sk-canary-0001"
        assert b"canary" not in wire.raw
        await nothing_left(running)


@pytest.mark.row(25)
@BOTH_WAYS
async def test_a_model_that_the_backend_does_not_have(proxy: Any, streams: bool) -> None:
    """Where the mapping says that this is what it means."""
    rules = "errors: {rules: [{when: status == 404, status: 404, code: model_not_found}]}"
    fault = Fault(said(404), 404, "model_not_found", CALLER, retry="false", message="backend words", kept=True)
    await shown(proxy, fault, streams=streams, more=rules)


@pytest.mark.row(29)
@BOTH_LOOPS
@BOTH_WAYS
async def test_a_failure_with_a_body_without_end(proxy: Any, streams: bool) -> None:
    """Is told by its status; the rest is not waited for."""
    head = LENGTH.replace(b"200 OK", b"500 No") % (1 << 30)
    await shown(proxy, Fault([head, (b"a" * 65536 for _ in range(1 << 14))], 502, "upstream_error"), streams=streams)


@pytest.mark.row(29)
async def test_a_failure_tells_no_secret(proxy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that echoes our key in its error does not tell it to the client."""
    monkeypatch.setitem(support.ENVIRONMENT, "KEY", "sk-canary-key")
    script = [REQUEST, *said(500, "bad header Authorization: Bearer sk-canary-key")]
    async with Backend(script) as backend:
        running = await proxy(mapping(backend.url, backend="auth: {bearer: '${KEY}'}"))
        wire = await fetch(running.url, hello())
        assert backend.requests[0].header("authorization") == "Bearer sk-canary-key"
        assert b"canary" not in wire.raw
        assert "bad header" in json.dumps(wire.json)
