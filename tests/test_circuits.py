"""Promises about a backend that fails: it is left alone for a while, tried by one request, and never stormed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from faults import BOTH_LOOPS
from guarding import CLOSE, FINE, circuits, failed, guarded, let_pauses_end, logged
from scripted import (
    FIN,
    GONE,
    REQUEST,
    RST,
    Backend,
    Client,
    Step,
    Wire,
    answer,
    chunk,
    event,
    fetch,
    hello,
    mapping,
    settled,
    stream,
    stream_head,
)
from support import load

from oaiproxy.app import Running
from oaiproxy.breaker import State
from oaiproxy.circuits import Circuits
from oaiproxy.config import Breaker
from oaiproxy.errors import BackendError
from oaiproxy.logs import Log
from oaiproxy.pool import Attempt, attempt

BOTH_WAYS = pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
FAIL: Sequence[Step] = [REQUEST, failed()]
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


async def asked(running: Running, times: int = 1, **fields: Any) -> list[Wire]:
    """So many requests, one after the other."""
    return [await fetch(running.url, hello(**fields)) for _ in range(times)]


def is_refusal(wire: Wire, after: str) -> bool:
    """Whether it says that the backend is left alone."""
    error = wire.error
    assert wire.headers.get("x-should-retry") == "true"
    assert "retry-after-ms" not in wire.headers
    return (wire.status, error["type"], error["code"], wire.headers.get("retry-after")) == (
        503,
        "service_unavailable_error",
        "upstream_unavailable",
        after,
    )


async def nothing_is_left(running: Running) -> None:
    """No request, and no task of one."""
    async with asyncio.timeout(60):
        await running.state.idle.wait()
    assert not running.state.clocks
    assert not running.state.background


@BOTH_LOOPS
@BOTH_WAYS
@pytest.mark.row(7, 30)
async def test_a_flapping_backend(tokenizer: Any, capfd: Any, streams: bool) -> None:
    """Three failures, then nothing is sent to it; after the pause one request finds it well, and all is as before."""
    async with (
        Backend(FAIL, FAIL, FAIL, [REQUEST, FINE]) as backend,
        guarded(tokenizer, mapping(backend.url), failures=3, pause=30) as running,
    ):
        wires = await asked(running, 3, stream=streams)
        assert [(wire.status, wire.error["code"]) for wire in wires] == [(502, "upstream_error")] * 3
        assert all(is_refusal(wire, "30") for wire in await asked(running, 4, stream=streams))
        assert len(backend.requests) == 3
        let_pauses_end(running)
        assert [wire.text for wire in await asked(running, 3, stream=streams)] == ["fine"] * 3
        assert len(backend.requests) == 6
        lines = await logged(capfd, "breaker", lambda lines: len(lines) == 3)
        assert [line["state"] for line in lines] == ["open", "half-open", "closed"]
        assert {line["level"] for line in lines} == {"warning"}
        assert all(line.keys() == {"time", "level", "event", "mapping", "state"} for line in lines)
        await backend.gone(6)
        await nothing_is_left(running)


async def test_who_was_answered_before_is_not_told_to_ask_again(tokenizer: Any) -> None:
    """A later call of a request that was paid for in part."""
    async with (
        Backend(FAIL) as backend,
        guarded(tokenizer, mapping(backend.url), failures=1, pause=8) as running,
    ):
        await asked(running)
        (made,) = [each for each, _ in running.state.generation.mappings]
        for before, retry in ((False, True), (True, None)):
            attempt.set(tried := Attempt())
            tried.asked = before
            with pytest.raises(BackendError) as caught:
                running.state.circuits.enter(made)
            assert (caught.value.status, caught.value.retry) == (503, retry)


@pytest.mark.row(30)
async def test_a_backend_that_stays_down_is_asked_ever_less(tokenizer: Any) -> None:
    """The pause doubles; a client is told how long it lasts."""
    async with (
        Backend(FAIL) as backend,
        guarded(tokenizer, mapping(backend.url), failures=2, pause=8) as running,
    ):
        await asked(running, 2)
        for hits, after in enumerate(("8", "16", "32", "60", "60"), 2):
            assert all(is_refusal(wire, after) for wire in await asked(running, 3))
            assert len(backend.requests) == hits
            let_pauses_end(running)
            assert [wire.error["code"] for wire in await asked(running)] == ["upstream_error"]


@BOTH_LOOPS
@pytest.mark.row(30)
async def test_one_request_at_a_time_tries_it(tokenizer: Any) -> None:
    """Others are refused meanwhile, and told to come back soon."""
    go = asyncio.Event()
    async with (
        Backend(FAIL, [REQUEST, go, FINE], [REQUEST, FINE]) as backend,
        guarded(tokenizer, mapping(backend.url), failures=1) as running,
    ):
        await asked(running)
        let_pauses_end(running)
        trying = asyncio.create_task(fetch(running.url, hello()))
        await backend.asked(2)
        assert all(is_refusal(wire, "1") for wire in await asked(running, 3))
        assert len(backend.requests) == 2
        go.set()
        assert (await trying).text == "fine"
        assert [wire.text for wire in await asked(running)] == ["fine"]


@BOTH_LOOPS
@pytest.mark.parametrize("way", [Client.leave, Client.reset], ids=["FIN", "RST"])
@pytest.mark.parametrize(
    ("streams", "steps"),
    [(False, [GONE]), (True, [GONE]), (True, [stream_head(), GONE]), (False, [LENGTH % 9, GONE])],
    ids=["whole", "stream", "stream's head", "whole one's head"],
)
async def test_a_client_that_leaves_the_try_leaves_it_to_the_next(
    tokenizer: Any, way: Any, streams: bool, steps: Sequence[Step]
) -> None:
    """Its leaving says nothing of the backend."""
    async with (
        Backend(FAIL, [REQUEST, *steps], [REQUEST, FINE]) as backend,
        guarded(tokenizer, mapping(backend.url), failures=1) as running,
    ):
        await asked(running)
        let_pauses_end(running)
        async with await Client.connect(running.url) as client:
            await client.send(hello(stream=streams))
            await backend.asked(2)
            way(client)
            await backend.gone(2)
        await nothing_is_left(running)
        assert [circuit.state for circuit in circuits(running)] == [State.HALF_OPEN]
        assert [wire.text for wire in await asked(running)] == ["fine"]
        assert [circuit.state for circuit in circuits(running)] == [State.CLOSED]


async def test_a_stream_that_goes_on_has_closed_it(tokenizer: Any) -> None:
    """With its first event: nobody waits for the end of a long answer."""
    go = asyncio.Event()
    said = [stream_head(), chunk(event("The ")), go, chunk(event(done=True)), chunk(b"")]
    async with (
        Backend(FAIL, [REQUEST, *said], [REQUEST, FINE]) as backend,
        guarded(tokenizer, mapping(backend.url), failures=1) as running,
    ):
        await asked(running)
        let_pauses_end(running)
        async with await Client.connect(running.url) as client:
            await client.send(hello(stream=True))
            await client.until(b'"The "')
            assert [wire.text for wire in await asked(running)] == ["fine"]
            go.set()
            assert (await client.answer()).text == "The "


BREAKS: dict[str, Sequence[Step]] = {
    "reset": [RST],
    "end": [FIN],
    "end within headers": [b"HTTP/1.1 200 OK\r\nX-A: b", FIN],
    "not HTTP": [b"220 mail ESMTP\r\n\r\n", GONE],
    "no answer in time": [GONE],
    "no body in time": [LENGTH % 9, GONE],
    "500": [failed(500)],
    "503 for long": [failed(503, **{"Retry-After": "300"})],
    "529": [failed(529)],
    "short body": [LENGTH % 100 + b'{"text": "hi', FIN],
    "reset in the body": [LENGTH % 100 + b'{"text": "hi', RST],
    "no JSON": [answer(b"{oops}", headers=CLOSE)],
    "empty": [answer(b"", headers=CLOSE)],
    "a page": [answer(b"<html></html>", headers={**CLOSE, "Content-Type": "text/html"})],
}


@BOTH_WAYS
@pytest.mark.parametrize("how", BREAKS)
async def test_what_opens_it(tokenizer: Any, how: str, streams: bool) -> None:
    """No answer, none in time, one that breaks before it said anything, and a status of 500 or above."""
    patience = "{first_byte: 100ms, idle: 100ms}" if BREAKS[how][-1] is GONE else "{}"
    async with (
        Backend([REQUEST, *BREAKS[how]]) as backend,
        guarded(tokenizer, mapping(backend.url, timeouts=patience), failures=2) as running,
    ):
        first, second, third = await asked(running, 3, stream=streams)
        assert [first.error["code"] != "upstream_unavailable", second.error == first.error] == [True, True]
        assert is_refusal(third, "30")
        assert len(backend.requests) == 2


async def test_each_try_to_connect_counts(tokenizer: Any) -> None:
    """And once it is open nothing is tried again."""
    async with Backend([]) as backend:
        address = backend.url
    described = mapping(address, backend="retry: {max: 5, backoff: 1ms}")
    async with guarded(tokenizer, described, failures=3) as running:
        first, second = await asked(running, 2)
        assert first.error["code"] == "upstream_connect_error"
        assert is_refusal(second, "30")


KEEPS: dict[str, bytes] = {
    "400": failed(400),
    "401": failed(401),
    "404": failed(404),
    "408": failed(408),
    "422": failed(422),
    "429": failed(429),
    "429 quota": failed(429, "no quota"),
    "500 too long": failed(500, "the context length is 8 tokens"),
    "307": answer(b"", 307, {**CLOSE, "Location": "http://elsewhere.invalid/"}),
    "an error in a 200": answer({"error": {"message": "no"}}, headers=CLOSE),
    "no text": answer({"other": 1}, headers=CLOSE),
}


@pytest.mark.parametrize("how", KEEPS)
async def test_what_never_opens_it(tokenizer: Any, how: str) -> None:
    """What a client can bring about, and what a backend answers that is well."""
    async with (
        Backend([REQUEST, KEEPS[how]]) as backend,
        guarded(tokenizer, mapping(backend.url), failures=1) as running,
    ):
        wires = await asked(running, 3)
        assert {wire.error["code"] for wire in wires}.isdisjoint({"upstream_unavailable"})
        assert len(backend.requests) == 3


async def test_a_stream_that_breaks_later_does_not_count(tokenizer: Any) -> None:
    """The backend answered."""
    async with (
        Backend([REQUEST, stream_head(), chunk(event("The ")), RST]) as backend,
        guarded(tokenizer, mapping(backend.url), failures=1) as running,
    ):
        assert {wire.error["code"] for wire in await asked(running, 3, stream=True)} == {"upstream_reset"}


async def test_clients_that_leave_do_not_count(tokenizer: Any) -> None:
    """However many."""
    async with (
        Backend([REQUEST, GONE], [REQUEST, GONE], [REQUEST, GONE], [REQUEST, FINE]) as backend,
        guarded(tokenizer, mapping(backend.url), failures=1) as running,
    ):
        for left in range(1, 4):
            async with await Client.connect(running.url) as client:
                await client.send(hello())
                await backend.asked(left)
            await backend.gone(left)
        assert [wire.text for wire in await asked(running)] == ["fine"]


async def test_other_backends_are_not_affected(tokenizer: Any) -> None:
    """Each has its own."""
    async with (
        Backend(FAIL) as down,
        Backend([REQUEST, FINE]) as well,
        guarded(tokenizer, mapping(down.url), mapping(well.url, models="[other]"), failures=1) as running,
    ):
        await asked(running, 2)
        assert is_refusal((await asked(running))[0], "30")
        assert [wire.text for wire in await asked(running, 2, model="other")] == ["fine"] * 2


async def test_a_token_server_that_fails_does_not_count(tokenizer: Any) -> None:
    """It is another server."""
    async with Backend(FAIL) as tokens, Backend([REQUEST, FINE]) as backend:
        auth = f"auth: {{oauth2: {{token_url: '{tokens.url}/t', client_id: a, client_secret: b}}}}"
        async with guarded(tokenizer, mapping(backend.url, backend=auth), failures=1) as running:
            assert {wire.error["code"] for wire in await asked(running, 3)} == {"upstream_auth_error"}
            assert [circuit.state for circuit in circuits(running)] == [State.CLOSED]


async def test_a_request_in_parts_tries_it_with_the_first(tokenizer: Any) -> None:
    """Or parts of the same request would refuse each other for ever."""
    async with (
        Backend(FAIL, [REQUEST, FINE]) as backend,
        guarded(tokenizer, mapping(backend.url, more="emulate: [n]"), failures=1) as running,
    ):
        await asked(running)
        let_pauses_end(running)
        (wire,) = await asked(running, n=5)
        assert len(wire.json["choices"]) == 5
        assert len(backend.requests) == 6


async def test_no_breaker(tokenizer: Any) -> None:
    """`breaker.failures: 0`."""
    async with (
        Backend(FAIL) as backend,
        guarded(tokenizer, mapping(backend.url), failures=0) as running,
    ):
        assert {wire.error["code"] for wire in await asked(running, 20)} == {"upstream_error"}
        assert len(backend.requests) == 20


async def test_other_settings_keep_what_is_known(tokenizer: Any) -> None:
    """By mapping and origin, and not by path; what is not served any more is forgotten."""
    described, log = mapping("http://a.invalid/v1"), Log()
    made = Circuits(log)
    made.configure(Breaker(1, 30), 0.5)
    passage = made.enter(described)
    passage.sending(1)
    assert passage.again(failed=True) is False
    assert not made.is_closed(described)
    moved = replace(described, backend=replace(described.backend, url="http://a.invalid/v2"))
    made.configure(Breaker(5, 60), 0.1, [moved])
    assert not made.is_closed(moved)
    elsewhere = replace(described, backend=replace(described.backend, url="http://b.invalid/v1"))
    assert made.is_closed(elsewhere)
    made.configure(Breaker(5, 60), 0.1, [elsewhere])
    assert made.is_closed(described)
    log.close()


# Requests that are sent again


@pytest.mark.row(29)
@BOTH_WAYS
@pytest.mark.parametrize(
    ("status", "told", "code", "kind"),
    [
        (500, 502, "upstream_error", "server_error"),
        (502, 502, "upstream_error", "server_error"),
        (503, 503, "server_is_overloaded", "service_unavailable_error"),
        (504, 504, "upstream_timeout", "server_error"),
        (520, 502, "upstream_error", "server_error"),
        (529, 503, "server_is_overloaded", "service_unavailable_error"),
    ],
)
async def test_a_single_failure(tokenizer: Any, status: int, told: int, code: str, kind: str, streams: bool) -> None:
    """Is told, with how long to wait; nothing else comes of it, and the backend was asked once."""
    late = status == 504
    async with (
        Backend([REQUEST, failed(status, **{"Retry-After": "3"})], [REQUEST, FINE]) as backend,
        guarded(tokenizer, mapping(backend.url)) as running,
    ):
        wire, after = await asked(running, 2, stream=streams)
        assert (wire.status, wire.error["code"], wire.error["type"]) == (told, code, kind)
        assert wire.headers.get("retry-after") == (None if late else "3")
        assert wire.headers.get("x-should-retry") == ("false" if late else None)
        assert (after.text, len(backend.requests)) == ("fine", 2)
        await backend.gone(2)
        await nothing_is_left(running)


@pytest.mark.row(8)
@BOTH_LOOPS
@BOTH_WAYS
@pytest.mark.parametrize("end", [FIN, RST], ids=["FIN", "RST"])
async def test_a_kept_connection_that_died_is_replaced_once(
    tokenizer: Any, capfd: Any, streams: bool, end: Step
) -> None:
    """The client sees nothing of it; the log does."""
    fine = stream("fine") if streams else answer({"text": "fine"})
    async with (
        Backend([REQUEST, fine, REQUEST, end], [REQUEST, fine]) as backend,
        guarded(tokenizer, mapping(backend.url)) as running,
    ):
        wires = await asked(running, 2, stream=streams)
        assert [(wire.status, wire.text, wire.complete) for wire in wires] == [(200, "fine", True)] * 2
        assert (len(backend.requests), len(backend.connections)) == (3, 2)
        lines = await logged(capfd, "request", lambda lines: len(lines) == 2)
        assert [line.get("tries") for line in lines] == [None, 2]
        await nothing_is_left(running)


@pytest.mark.row(8)
async def test_its_replacement_is_not_replaced(tokenizer: Any) -> None:
    """Once is enough to know."""
    fine = answer({"text": "fine"})
    async with (
        Backend([REQUEST, fine, REQUEST, RST], [REQUEST, RST]) as backend,
        guarded(tokenizer, mapping(backend.url)) as running,
    ):
        _, wire = await asked(running, 2)
        assert (wire.status, wire.error["code"], len(backend.requests)) == (502, "upstream_reset", 3)


SENT: dict[str, Sequence[Step]] = {
    **{how: steps for how, steps in BREAKS.items() if steps[-1] is not GONE},
    "not HTTP": [b"220 mail ESMTP\r\n\r\n"],
    **{how: [steps] for how, steps in KEEPS.items()},
    "no terminal chunk": [stream_head(), chunk(event("a")), FIN],
    "reset in a stream": [stream_head(), chunk(event("a")), RST],
    "an end too soon": [stream_head(), chunk(event("a")), chunk(b""), FIN],
}


@BOTH_WAYS
@pytest.mark.parametrize("how", SENT)
async def test_what_was_sent_is_sent_once(tokenizer: Any, how: str, streams: bool) -> None:
    """T29: after that no failure is mended by another try, unless the mapping names its status."""
    described = "retry: {max: 5, on: [], backoff: 1ms}"
    async with (
        Backend([REQUEST, *SENT[how]]) as backend,
        guarded(tokenizer, mapping(backend.url, backend=described), failures=0) as running,
    ):
        for times in (1, 2, 3):
            (wire,) = await asked(running, stream=streams)
            assert wire.error
            assert len(backend.requests) == times
        await backend.gone(0 if SENT[how][-1] is RST else 3)
        await nothing_is_left(running)


@pytest.mark.parametrize("way", ["status", "connection", "kept"])
async def test_a_storm_of_retries_is_bounded(tokenizer: Any, capfd: Any, way: str) -> None:
    """T29: a few beside one in ten, however often the mapping would try."""
    times = 100
    script: Sequence[Step] = [REQUEST, answer({"text": "a"}), REQUEST, RST] if way == "kept" else [REQUEST, failed(503)]
    async with Backend(script) as backend:
        address = backend.url if way != "connection" else "http://127.0.0.1:9"
        described = mapping(address, backend="retry: {max: 5, on: [503], backoff: 1ms}")
        async with guarded(tokenizer, described, failures=0) as running:
            await asked(running, times)
            lines = await logged(capfd, "request", lambda lines: len(lines) == times)
            tries = sum(line.get("tries", 1) for line in lines)
            assert times < tries <= times * 1.1 + 10 + 2
            assert way == "connection" or len(backend.requests) == tries


async def test_the_retries_of_one_backend_are_not_used_up_by_another(tokenizer: Any) -> None:
    """Each has a budget of its own: what is down takes none from what is well."""
    described = "retry: {max: 1, on: [503], backoff: 1ms}"
    async with (
        Backend([REQUEST, failed(503)]) as down,
        Backend([REQUEST, failed(503)], [REQUEST, FINE]) as well,
        guarded(
            tokenizer,
            mapping(down.url, backend=described),
            mapping(well.url, backend=described, models="[other]"),
            failures=0,
        ) as running,
    ):
        tries = 2
        while tries > 1:  # as long as one more is allowed
            before = len(down.requests)
            assert [wire.status for wire in await asked(running)] == [503]
            tries = len(down.requests) - before
        assert [wire.text for wire in await asked(running, model="other")] == ["fine"]
        assert len(well.requests) == 2


async def test_no_retries(tokenizer: Any) -> None:
    """`limits.retries: 0`."""
    async with Backend([REQUEST, failed(503)]) as backend:
        described = mapping(backend.url, backend="retry: {max: 5, on: [503], backoff: 1ms}")
        async with guarded(tokenizer, described, retries=0) as running:
            await asked(running)
            assert len(backend.requests) == 1


async def test_tries_are_told_in_the_log(tokenizer: Any, capfd: Any) -> None:
    """Where there was more than one."""
    described = "retry: {max: 3, on: [503], backoff: 1ms}"
    busy: Sequence[Step] = [REQUEST, failed(503)]
    async with (
        Backend(busy, busy, [REQUEST, FINE]) as backend,
        guarded(tokenizer, mapping(backend.url, backend=described), failures=0) as running,
    ):
        assert [wire.text for wire in await asked(running, 2)] == ["fine"] * 2
        lines = await logged(capfd, "request", lambda lines: len(lines) == 2)
        assert [line.get("tries") for line in lines] == [3, None]


async def test_calls_around_the_main_one_count_too(tokenizer: Any) -> None:
    """Whichever of them the backend fails."""
    async with Backend(FAIL) as backend:
        described = load(
            "oaiproxy: 1\nmodels: [m]\n"
            f"backend: {{url: '{backend.url}'}}\n"
            "chat:\n"
            "  before: [{name: first, request: {path: /first, body: {}}}]\n"
            "  request: {path: /whole, body: {prompt: '{{ prompt }}'}}\n"
            "  response: {text: text}\n"
        )
        async with guarded(tokenizer, described, failures=2) as running:
            await asked(running, 2)
            assert is_refusal((await asked(running))[0], "30")
            assert {request.line for request in backend.requests} == {"POST /first HTTP/1.1"}
            await settled(lambda: not running.state.active)
