"""Promises of the relay: answers in all their forms and faults, and time and space that end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from faults import BOTH_LOOPS
from scripted import (
    FIN,
    GONE,
    REQUEST,
    Backend,
    Client,
    Wire,
    answer,
    chunk,
    event,
    fetch,
    hello,
    mapping,
    request,
    settled,
    stream,
    stream_head,
)

from oaiproxy.endpoints import chat
from oaiproxy.outlets import HeldResponse

WHOLE = answer({"text": "fine", "p": 1, "c": 2})
STREAM = stream("fi", "ne")
ONLY_WHOLE = {"stream": ""}
ONLY_STREAM = {"response": ""}
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    COMPLETIONS: {"model": "m", "prompt": "hi"},
}


@BOTH_LOOPS
@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
@pytest.mark.parametrize("client_streams", [False, True], ids=["client whole", "client streams"])
@pytest.mark.parametrize("backend_streams", [False, True], ids=["backend whole", "backend streams"])
async def test_whole_and_streaming_clients_and_backends_meet(
    proxy: Any, path: str, client_streams: bool, backend_streams: bool
) -> None:
    """All four combinations, on both endpoints, give the same text and end as they should."""
    form = ONLY_STREAM if backend_streams else ONLY_WHOLE
    async with Backend([REQUEST, STREAM if backend_streams else WHOLE]) as backend:
        running = await proxy(mapping(backend.url, **form))
        wire = await fetch(running.url, request({**BODIES[path], "stream": client_streams}, path))
        assert (wire.status, wire.text, wire.complete) == (200, "fine", True)
        assert wire.headers["content-type"] == (
            "text/event-stream; charset=utf-8" if client_streams else "application/json"
        )
        assert "connection" not in wire.headers
        assert wire.headers["x-request-id"].startswith("req_")
        if client_streams:
            assert wire.events[-1] == "[DONE]"
            assert wire.events[-2]["choices"][0]["finish_reason"] == "stop"


async def test_a_model_that_is_never_streamed_is_given_in_chunks(proxy: Any) -> None:
    """And one that always is, put together."""
    for mode, script, client in (("never", WHOLE, True), ("always", STREAM, False)):
        async with Backend([REQUEST, script]) as backend:
            running = await proxy(mapping(backend.url, models=f"{{m: {{stream: {mode}}}}}"))
            wire = await fetch(running.url, hello(stream=client))
            assert (wire.status, wire.text, wire.complete) == (200, "fine", True)
            assert backend.requests[0].line == f"POST /{'whole' if client else 'stream'} HTTP/1.1"


async def test_headers_and_first_event_leave_in_one_segment(proxy: Any) -> None:
    """One packet and one system call less per stream."""
    async with Backend([REQUEST, stream_head(), chunk(event("The ")), GONE]) as backend:
        running = await proxy(mapping(backend.url))
        async with await Client.connect(running.url) as client:
            await client.send(hello(stream=True))
            await client.until(b'"The "')
            assert len(client.segments) == 1


async def test_an_event_leaves_when_it_came(proxy: Any) -> None:
    """Nothing waits for more."""
    heard = asyncio.Event()
    async with Backend([REQUEST, stream_head(), chunk(event("The ")), heard, chunk(event("end")), GONE]) as backend:
        running = await proxy(mapping(backend.url))
        async with await Client.connect(running.url) as client:
            await client.send(hello(stream=True))
            await client.until(b'"The "')
            heard.set()
            await client.until(b'"end"')


async def test_two_requests_on_one_connection_use_one_connection_to_the_backend(proxy: Any) -> None:
    """Whole or streamed."""
    async with Backend([REQUEST, WHOLE, REQUEST, STREAM, REQUEST, WHOLE]) as backend:
        running = await proxy(mapping(backend.url))
        async with await Client.connect(running.url) as client:
            for streams in (False, True, False):
                await client.send(hello(stream=streams))
                assert (await client.answer()).text == "fine"
        assert len(backend.connections) == 1


async def test_a_stream_whose_body_ends_a_little_later_keeps_its_connection(proxy: Any) -> None:
    """Most backends send the terminal chunk apart."""
    later = asyncio.Event()
    script = [REQUEST, STREAM.removesuffix(b"0\r\n\r\n"), later, chunk(b""), REQUEST, WHOLE]
    async with Backend(script) as backend:
        running = await proxy(mapping(backend.url))
        assert (await fetch(running.url, hello(stream=True))).text == "fine"
        later.set()
        pool = running.state.client._session.connector
        await settled(lambda: not pool._acquired)
        assert (await fetch(running.url, hello())).text == "fine"
        assert len(backend.connections) == 1


async def test_tokens_are_counted_after_the_backend_was_let_go(proxy: Any) -> None:
    """Counting long texts takes long; a connection is worth more than that."""
    counting, counted = asyncio.Event(), asyncio.Event()

    class Slow:
        async def count(self, texts: list[str]) -> list[int]:
            counting.set()
            await counted.wait()
            return [7 for _ in texts]

    async with Backend([REQUEST, answer({"text": "fine"})]) as backend:
        running = await proxy(mapping(backend.url))
        tokenizer, running.state.tokenizer = running.state.tokenizer, Slow()
        task = asyncio.create_task(fetch(running.url, hello()))
        await counting.wait()
        assert not running.state.client._session.connector._acquired
        counted.set()
        assert (await task).json["usage"] == {"prompt_tokens": 7, "completion_tokens": 7, "total_tokens": 14}
        running.state.tokenizer = tokenizer


async def test_a_prompt_that_is_sampled_does_not_blur_the_answers_count(proxy: Any) -> None:
    """Of texts that are together too long a sample is counted, so prompt and answer are counted apart."""
    asked: list[list[str]] = []

    class Noting:
        async def count(self, texts: Sequence[str]) -> list[int]:
            asked.append(list(texts))
            return [7 for _ in texts]

    async with Backend([REQUEST, answer({"text": "fine"})]) as backend:
        running = await proxy(mapping(backend.url))
        tokenizer, running.state.tokenizer = running.state.tokenizer, Noting()
        await fetch(running.url, hello())
        running.state.tokenizer = tokenizer
    assert asked == [["hi"], ["fine"]]


async def test_fields_left_out_are_named(proxy: Any) -> None:
    """In a header, so that nobody wonders why a knob does nothing."""
    async with Backend([REQUEST, WHOLE]) as backend:
        wire = await fetch((await proxy(mapping(backend.url))).url, hello(temperature=0.5, seed=1))
        assert wire.headers["x-oaiproxy-dropped"] == "temperature, seed"


@BOTH_LOOPS
async def test_a_client_of_http_1_0_gets_a_stream_without_chunks(proxy: Any) -> None:
    """The end of the connection is the end of the body."""
    async with Backend([REQUEST, STREAM]) as backend:
        running = await proxy(mapping(backend.url))
        async with await Client.connect(running.url) as client:
            await client.send(hello(version="1.0", stream=True))
            head, _, body = (await client.rest()).partition(b"\r\n\r\n")
        assert b"chunked" not in head
        assert Wire(200, {"content-type": "text/event-stream"}, b"", body, False).events[-1] == "[DONE]"


@BOTH_LOOPS
async def test_a_client_of_http_1_0_sees_a_fault_by_its_event(proxy: Any) -> None:
    """There is no other mark of an end that it could miss; a reset might destroy the event on its way."""
    async with Backend([REQUEST, stream_head(), chunk(event("The ")), FIN]) as backend:
        running = await proxy(mapping(backend.url))
        async with await Client.connect(running.url) as client:
            await client.send(hello(version="1.0", stream=True))
            _, _, body = (await client.rest()).partition(b"\r\n\r\n")
        wire = Wire(200, {"content-type": "text/event-stream"}, b"", body, False)
        assert wire.error["code"] == "upstream_truncated"


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
async def test_the_first_byte_has_its_time(proxy: Any, streams: bool) -> None:
    """Row 15, with headers or without."""
    for begun in ([], [stream_head()]):
        async with Backend([REQUEST, *begun, GONE]) as backend:
            running = await proxy(mapping(backend.url, timeouts="{first_byte: 100ms, idle: 1h}"))
            wire = await fetch(running.url, hello(stream=streams))
            assert (wire.status, wire.error["code"]) == (504, "upstream_timeout")
            await backend.gone()


async def test_comments_are_no_progress_of_a_stream_that_was_not_asked_for(proxy: Any) -> None:
    """A backend that streams all the same is held to the same times as one that was asked to."""

    def pings() -> Iterator[asyncio.Event | bytes]:
        for _ in range(100):
            tick = asyncio.Event()
            asyncio.get_running_loop().call_later(0.04, tick.set)
            yield tick
            yield chunk(b": ping\n\n")

    script = _Ticking([REQUEST, stream_head()], pings, [chunk(event(done=True)), chunk(b"")])
    async with Backend(script) as backend:
        running = await proxy(mapping(backend.url, timeouts="{first_byte: 300ms, idle: 300ms}"))
        wire = await fetch(running.url, hello())
        assert (wire.status, wire.error["code"]) == (504, "upstream_timeout")


@BOTH_LOOPS
async def test_a_stream_lives_as_long_as_its_events_come(proxy: Any) -> None:
    """The idle time begins anew with every event, however short it is."""

    def events() -> Iterator[asyncio.Event | bytes]:
        for _ in range(12):
            tick = asyncio.Event()
            asyncio.get_running_loop().call_later(0.04, tick.set)
            yield tick
            yield chunk(event("a"))

    async with Backend(_Ticking([REQUEST, stream_head()], events, [chunk(event(done=True)), chunk(b"")])) as backend:
        running = await proxy(mapping(backend.url, timeouts="{idle: 200ms}"))
        wire = await fetch(running.url, hello(stream=True))
        assert (wire.text, wire.complete) == ("a" * 12, True)


class _Ticking:
    """A script whose middle steps are made as it is played."""

    def __init__(self, first: list[Any], middle: Any, last: list[Any]) -> None:
        self._parts = first, middle, last

    def __iter__(self) -> Iterator[Any]:
        first, middle, last = self._parts
        yield from first
        yield from middle()
        yield from last


async def test_the_whole_answer_has_its_time(proxy: Any) -> None:
    """However steadily its events come; row 71."""

    def events() -> Iterator[bytes]:
        while True:
            yield chunk(event("a"))

    async with Backend([REQUEST, stream_head(), events(), GONE]) as backend:
        running = await proxy(mapping(backend.url, timeouts="{total: 200ms}"))
        wire = await fetch(running.url, hello(stream=True))
        assert wire.error["code"] == "upstream_timeout"
        await backend.gone()


def _flood(connection_limit: int) -> Iterator[bytes]:
    for _ in range(connection_limit // 8192):
        yield chunk(event("x" * 8150))


@BOTH_LOOPS
async def test_a_client_that_does_not_read_stops_the_backend(proxy: Any) -> None:
    """What the proxy takes is bounded by buffers, far below what the backend has to say."""
    plenty = 256 << 20
    async with Backend([REQUEST, stream_head(), _flood(plenty), GONE]) as backend:
        running = await proxy(mapping(backend.url, timeouts="{idle: 1h}"), write_timeout=3600)
        async with await Client.connect(running.url, receive_buffer=4096) as client:
            await client.send(hello(stream=True))
            await _stalled(backend)
            assert backend.connections[0].sent < plenty // 8
        await backend.gone()


async def _stalled(backend: Backend) -> None:
    """Wait until the backend gets rid of nothing more."""
    sent = -1
    async with asyncio.timeout(60):
        while not backend.connections or backend.connections[0].sent != sent:
            sent = backend.connections[0].sent if backend.connections else -1
            await asyncio.sleep(0.05)


@BOTH_LOOPS
async def test_a_slow_client_gets_all_of_it(proxy: Any) -> None:
    """Also what came after it paused for long, and was sent by a backend that has gone meanwhile."""
    count = 1500
    pieces = (chunk(event(f"{number:08}" * 1000)) for number in range(count))
    async with Backend([REQUEST, stream_head(), pieces, chunk(event(done=True)), chunk(b""), FIN]) as backend:
        running = await proxy(mapping(backend.url))
        async with await Client.connect(running.url, receive_buffer=65536) as client:
            await client.send(hello(stream=True, headers={"Connection": "close"}))
            await _stalled(backend)
            await client.rest()
            wire = await client.answer()
        assert wire.text == "".join(f"{number:08}" * 1000 for number in range(count))
        assert (wire.complete, wire.events[-1]) == (True, "[DONE]")


@pytest.mark.row(80)
@BOTH_LOOPS
@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
async def test_a_client_that_does_not_read_for_too_long_is_given_up(
    proxy: Any, capfd: pytest.CaptureFixture[str], streams: bool
) -> None:
    """Row 80: both sides are closed, and the log says why; it is not the backend that was slow."""
    whole = answer({"text": "x" * (16 << 20)})
    script = [REQUEST, stream_head(), _flood(256 << 20)] if streams else [REQUEST, whole]
    async with Backend([*script, GONE]) as backend:
        running = await proxy(mapping(backend.url, timeouts="{idle: 100ms}"), write_timeout=0.3)
        async with await Client.connect(running.url, receive_buffer=4096) as client:
            await client.send(hello(stream=streams))
            await backend.asked()
            await settled(lambda: running.state.active == 0)
            if streams:
                await backend.gone()
    running.state.log.close()
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    (line,) = [line for line in lines if line["event"] == "request"]
    assert (line["status"], line["stalled"], line["level"]) == (499, True, "info")


async def test_one_event_larger_than_all_buffers_does_not_stall_for_ever(proxy: Any) -> None:
    """The first write of all may be the one that a client does not read."""
    big = chunk(event("x" * 900_000))
    async with Backend([REQUEST, stream_head(), *[big] * 20, GONE]) as backend:
        running = await proxy(mapping(backend.url, timeouts="{idle: 1h}"), write_timeout=0.2)
        async with await Client.connect(running.url, receive_buffer=4096) as client:
            await client.send(hello(stream=True))
            await backend.gone()


@BOTH_LOOPS
@pytest.mark.parametrize("late", [False, True], ids=["while reading", "at the end"])
async def test_a_bug_within_a_stream_ends_it_as_a_fault(
    proxy: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], late: bool
) -> None:
    """An error event, no end mark, no second response in the middle of the first; the log has no text of the client."""
    feed = chat.ChunkEncoder.feed

    def buggy(self: Any, event: Any) -> bytes:
        if not late and getattr(event, "text", "") == "boom":
            raise UnicodeEncodeError("utf-8", "canary", 0, 1, "boom")
        return feed(self, event)

    def buggy_close(_self: Any, _usage: Any) -> bytes:
        raise KeyError("canary")

    monkeypatch.setattr(chat.ChunkEncoder, "feed", buggy)
    if late:
        monkeypatch.setattr(chat.ChunkEncoder, "close", buggy_close)
    heard = asyncio.Event()
    async with Backend(
        [REQUEST, stream_head(), chunk(event("The ")), heard, chunk(event("boom", done=True))]
    ) as backend:
        running = await proxy(mapping(backend.url))
        async with await Client.connect(running.url) as client:
            await client.send(hello(stream=True))
            await client.until(b'"The "')
            heard.set()
            wire = await client.answer()
    assert (wire.error["code"], wire.error["type"]) == ("internal_error", "server_error")
    assert wire.raw.count(b"HTTP/1.1") == 1
    running.state.log.close()
    log = capfd.readouterr().err
    assert '"event":"bug"' in log
    assert "canary" not in log


async def test_a_client_that_is_gone_when_the_end_is_written(proxy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves no connection to the backend behind, although nothing more was to be read from it."""
    write = HeldResponse.write

    async def lost(self: HeldResponse, data: bytes) -> None:
        if b'"end"' in data:
            raise ConnectionResetError
        await write(self, data)

    monkeypatch.setattr(HeldResponse, "write", lost)
    last = chunk(event("end", done=True))
    async with Backend([REQUEST, stream_head(), chunk(event("The ")), last, GONE]) as backend:
        running = await proxy(mapping(backend.url))
        async with await Client.connect(running.url) as client:
            await client.send(hello(stream=True))
            await backend.gone()


async def test_a_bug_before_the_first_event_is_a_500(proxy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In OpenAI's shape; trying again is of no use."""

    def buggy(_self: Any, _event: Any) -> bytes:
        raise KeyError("canary")

    monkeypatch.setattr(chat.CompletionEncoder, "feed", buggy)
    async with Backend([REQUEST, WHOLE]) as backend:
        wire = await fetch((await proxy(mapping(backend.url))).url, hello())
        assert (wire.status, wire.error["code"], wire.headers["x-should-retry"]) == (500, "internal_error", "false")
        assert b"canary" not in wire.raw


@BOTH_LOOPS
async def test_a_backend_is_let_go_when_the_text_was_cut(proxy: Any) -> None:
    """At the client's stop string: what it would say then is not waited for."""
    script = [REQUEST, stream_head(), chunk(event("fineEN")), chunk(event("D and more")), GONE]
    async with Backend(script) as backend:
        running = await proxy(mapping(backend.url, more="emulate: [stop]"))
        wire = await fetch(running.url, hello(stream=True, stop="END"))
        assert (wire.text, wire.complete, wire.events[-1]) == ("fine", True, "[DONE]")
        assert "x-oaiproxy-dropped" not in wire.headers
        await backend.gone()


async def test_state_that_is_too_large_is_named_in_the_log(proxy: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """The answer goes out without it."""
    state = {str(number): number**50 for number in range(4000)}
    async with Backend([REQUEST, answer({"text": "fine", "s": state})]) as backend:
        running = await proxy(mapping(backend.url, response="{text: text, state: s}", stream=""))
        assert (await fetch(running.url, hello())).text == "fine"
    running.state.log.close()
    assert '"left_out":["the state of a message"]' in capfd.readouterr().err
