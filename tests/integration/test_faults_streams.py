"""The fault matrix after the first event: what came is passed on, and no fault of a stream looks like its end."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import openai
import pytest
from aiohttp import WSMsgType, web
from faults import BOTH_LOOPS, bomb
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
    nothing_is_left,
    stream_head,
)
from support import load, serving

from oaiproxy.eventstream import encode_message
from oaiproxy.heartbeat import COMMENT

SAID = "The "
LONG = "{idle: 20s}"
SHORT = "{idle: 200ms}"
BUSY = ("rate_limit_exceeded", "rate_limit_error")


def row(number: int, name: str, *steps: Step, code: str, kind: str = "server_error", timeouts: str = LONG) -> Any:
    """A fault after the first event, and the error that it is to the client."""
    return pytest.param(steps, code, kind, timeouts, id=f"{number} {name}")


def _drip(data: bytes) -> Iterator[bytes]:
    while True:
        yield data


FAULTS = [
    row(52, "reset", RST, code="upstream_reset"),
    row(52, "reset within a chunk", b"ff\r\ndata: ", RST, code="upstream_reset"),
    row(53, "no terminal chunk", FIN, code="upstream_truncated"),
    row(53, "end within a chunk", b"ff\r\ndata: ", FIN, code="upstream_truncated"),
    row(54, "clean end too soon", chunk(b""), GONE, code="upstream_incomplete"),
    row(55, "end within an event", chunk(b'data: {"t": "ca'), FIN, code="upstream_truncated"),
    row(55, "clean end within an event", chunk(b'data: {"t": "ca'), chunk(b""), GONE, code="upstream_truncated"),
    row(
        55, "clean end before the blank line", chunk(b'data: {"t": ""}\n'), chunk(b""), GONE, code="upstream_incomplete"
    ),
    row(56, "stall", GONE, code="upstream_timeout", timeouts=SHORT),
    row(56, "stall within an event", chunk(b'data: {"t": "ca'), GONE, code="upstream_timeout", timeouts=SHORT),
    row(57, "comments", _drip(chunk(b": ping\n\n")), GONE, code="upstream_timeout", timeouts=SHORT),
    row(57, "bytes of one event", _drip(chunk(b"data: 1\n")), GONE, code="upstream_timeout", timeouts=SHORT),
    row(61, "endless line", _drip(chunk(b"x" * 65536)), GONE, code="upstream_event_too_large"),
    row(61, "endless event", _drip(chunk(b"data: " + b"x" * 9000 + b"\n")), GONE, code="upstream_event_too_large"),
    row(62, "not JSON", chunk(b"data: {oops\n\n"), GONE, code="upstream_invalid_json"),
    row(62, "JSON cut short", chunk(b'data: {"t": "a\n\n'), GONE, code="upstream_invalid_json"),
    row(63, "not UTF-8", chunk(b'data: {"t": "\xff"}\n\n'), GONE, code="upstream_invalid_utf8"),
    row(64, "an error", chunk(b'data: {"error": {"message": "no", "code": "theirs"}}\n\n'), GONE, code="theirs"),
    row(64, "a named error", chunk(b'event: error\ndata: {"message": "no"}\n\n'), GONE, code="upstream_error"),
    row(
        65,
        "a rate limit",
        chunk(b'data: {"error": {"message": "slow down", "status": 429}}\n\n'),
        GONE,
        code=BUSY[0],
        kind=BUSY[1],
    ),
    row(
        65,
        "overload",
        chunk(b'data: {"error": {"type": "overloaded_error", "message": "no"}}\n\n'),
        GONE,
        code="server_is_overloaded",
        kind="overloaded_error",
    ),
    row(70, "text that is none", chunk(b'data: {"t": {"a": 1}}\n\n'), GONE, code="upstream_mapping_mismatch"),
    row(71, "too long", _drip(chunk(event(""))), GONE, code="upstream_timeout", timeouts="{total: 300ms}"),
]


@pytest.mark.row(52, 53, 54, 55, 56, 57, 61, 62, 63, 64, 65, 70, 71)
@BOTH_LOOPS
@pytest.mark.parametrize(("steps", "code", "kind", "timeouts"), FAULTS)
async def test_a_fault_after_the_first_event(
    proxy: Any, capfd: pytest.CaptureFixture[str], steps: Sequence[Step], code: str, kind: str, timeouts: str
) -> None:
    """An error event, and no end: neither mark nor chunk. Nothing is asked twice, nothing is left, the log knows."""
    heard = asyncio.Event()
    async with Backend([REQUEST, stream_head(), chunk(event(SAID)), heard, *steps]) as backend:
        running = await proxy(mapping(backend.url, timeouts=timeouts))
        wire = await _heard(running.url, heard)
        _check_broken(wire, code, kind)
        if steps[-1] is not RST and chunk(b"") not in steps:
            await backend.gone()
        await nothing_is_left(running)
        assert len(backend.requests) == 1
    running.state.log.close()
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    (line,) = [line for line in lines if line["event"] == "request"]
    assert (line["status"], line["code"], line["level"]) == (200, code, "warning")


def _check_broken(wire: Wire, code: str, kind: str = "server_error") -> None:
    """The first text, then the error, and nothing else."""
    assert wire.status == 200
    assert wire.headers.get("connection") is None
    assert not wire.complete
    assert b"[DONE]" not in wire.body
    *chunks, last = wire.events
    assert (last["error"]["code"], last["error"]["type"]) == (code, kind)
    choices = [choice for each in chunks for choice in each["choices"]]
    assert [choice["delta"].get("content") for choice in choices] == ["", SAID]
    assert {choice["finish_reason"] for choice in choices} == {None}


async def _heard(url: str, heard: asyncio.Event) -> Wire:
    """The response; the backend goes on once its first event has come through."""
    async with await Client.connect(url) as client:
        await client.send(hello(stream=True))
        await client.until(b'"The "')
        heard.set()
        return await client.answer()


@pytest.mark.row(56, 71)
@BOTH_LOOPS
@pytest.mark.parametrize(
    ("timeouts", "told"),
    [
        ("{total: 300ms}", "the backend's answer was not complete in the time for all of it"),
        ("{idle: 200ms}", "the backend did not answer in time"),
    ],
    ids=["all of it", "the next event"],
)
async def test_row_71_the_message_tells_which_time_is_over(proxy: Any, timeouts: str, told: str) -> None:
    """A stream that goes on for too long is no stream that stands still."""
    more: Step = _drip(chunk(event(""))) if "total" in timeouts else GONE
    async with Backend([REQUEST, stream_head(), chunk(event(SAID)), more, GONE]) as backend:
        running = await proxy(mapping(backend.url, timeouts=timeouts))
        wire = await fetch(running.url, hello(stream=True))
        assert (wire.error["code"], wire.error["message"]) == ("upstream_timeout", told)
        await nothing_is_left(running)


@pytest.mark.row(53)
async def test_row_53_a_length_that_is_not_reached(proxy: Any) -> None:
    """As where chunks end too soon."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 1000\r\n\r\n"
    heard = asyncio.Event()
    async with Backend([REQUEST, head + event(SAID), heard, FIN]) as backend:
        running = await proxy(mapping(backend.url))
        _check_broken(await _heard(running.url, heard), "upstream_truncated")
        await nothing_is_left(running)


@pytest.mark.row(54)
async def test_row_54_a_body_that_only_the_connection_ends(proxy: Any) -> None:
    """Nothing in HTTP tells this end from a broken connection; the mapping's end does."""
    head = b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    heard = asyncio.Event()
    async with Backend([REQUEST, head + event(SAID), heard, FIN]) as backend:
        running = await proxy(mapping(backend.url))
        _check_broken(await _heard(running.url, heard), "upstream_incomplete")
        await nothing_is_left(running)


@pytest.mark.row(56)
async def test_row_56_a_stall_is_bridged_by_comments_until_it_is_too_long(proxy: Any) -> None:
    """They are no progress of the backend, and no part of any event."""
    async with Backend([REQUEST, stream_head(), chunk(event(SAID)), GONE]) as backend:
        running = await proxy(mapping(backend.url, timeouts="{idle: 500ms}"), keepalive_comments=0.02)
        async with await Client.connect(running.url) as client:
            await client.send(hello(stream=True))
            wire = await client.answer()
        assert wire.body.count(COMMENT) > 1
        assert b"\nid:" not in wire.body
        assert COMMENT + b"\n" not in wire.body  # none ends an event, which some would take to be empty
        events = [each for each in wire.body.replace(COMMENT, b"").split(b"\n\n") if each]
        assert all(each.startswith(b"data: {") and each.count(b"\n") == 0 for each in events)
        assert json.loads(events[-1][6:])["error"]["code"] == "upstream_timeout"
        assert (wire.complete, b"[DONE]" in wire.body) == (False, False)
        await backend.gone()
        await nothing_is_left(running)


TEXT = 'a "b" \u65e5\u672c \U0001f600 \u2028 \u2029 \x85 \x1c \x7f \ufeff line\r\nend'


@pytest.mark.row(58, 60)
@BOTH_LOOPS
@pytest.mark.parametrize("size", [1, 2, 3, 5, 1 << 20])
@pytest.mark.parametrize("escaped", [False, True])
async def test_rows_58_and_60_any_text_cut_anywhere(proxy: Any, size: int, escaped: bool) -> None:
    """Comes out the same, once and in order, and cannot be taken for a line's end by any client."""
    frames = [{"t": TEXT}, {"t": "b"}, {"t": "c"}, {"d": True}]
    body = b"".join(b"data: " + json.dumps(each, ensure_ascii=escaped).encode() + b"\r\n\r\n" for each in frames)
    pieces = (chunk(body[at : at + size]) for at in range(0, len(body), size))
    async with Backend([REQUEST, stream_head(), pieces, chunk(b"")]) as backend:
        running = await proxy(mapping(backend.url))
        wire = await fetch(running.url, hello(stream=True))
        told = [each["choices"][0]["delta"].get("content") for each in wire.events[:-1]]
        assert told == ["", TEXT, "b", "c", None]
        assert (wire.events[-1], wire.complete) == ("[DONE]", True)
        assert len(wire.body.decode().splitlines()) == 2 * len(wire.events)
        await nothing_is_left(running)


@pytest.mark.row(59)
@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
@pytest.mark.parametrize("size", [1, 1 << 20])
async def test_row_59_any_form_of_an_event_stream(proxy: Any, end: str, size: int) -> None:
    """Comes out plain: one line of data per event, no `id`, no other field."""
    lines = ["\ufeff: hi", "id: 7", "retry: 10", 'data: {"t":', 'data:"fine"}', "", 'data:{"d": 1}', "", ""]
    body = end.join(lines).encode()
    pieces = [chunk(body[at : at + size]) for at in range(0, len(body), size)]
    async with Backend([REQUEST, stream_head(), *pieces, chunk(b"")]) as backend:
        wire = await fetch((await proxy(mapping(backend.url))).url, hello(stream=True))
        assert (wire.text, wire.events[-1], wire.complete) == ("fine", "[DONE]", True)
        assert all(line.startswith(b"data: ") for line in wire.body.split(b"\n") if line)


@pytest.mark.row(66, 67)
@BOTH_LOOPS
@pytest.mark.parametrize(
    "rest",
    [[], [chunk(event("more"))], [chunk(b"data: {oops\n\n")], [_drip(chunk(event("more")))], [b"zz\r\n"], [RST]],
    ids=["silence", "text", "not JSON", "text without end", "no chunk", "reset"],
)
async def test_rows_66_and_67_what_follows_the_end(proxy: Any, rest: list[Any]) -> None:
    """Is not waited for and not read; the client's connection goes on, the backend's is closed."""
    done = asyncio.Event()
    script = [REQUEST, stream_head(), chunk(event("fine") + event(done=True)), done, *rest]
    async with Backend(
        [*script, *([] if rest[-1:] == [RST] else [GONE])], [REQUEST, answer({"text": "next"})]
    ) as backend:
        running = await proxy(mapping(backend.url, timeouts="{idle: 1h}"))
        async with await Client.connect(running.url) as client:
            await client.send(hello(stream=True))
            wire = await client.answer()
            done.set()
            assert (wire.text, wire.events[-1], wire.complete) == ("fine", "[DONE]", True)
            await client.send(hello())
            assert (await client.answer()).text == "next"
        if rest[-1:] != [RST]:
            await backend.gone()
        await nothing_is_left(running)


@pytest.mark.row(68)
@pytest.mark.parametrize(("reason", "told"), [('"eos_of_mars"', "stop"), ("null", "stop"), ('"max_tokens"', "length")])
async def test_row_68_a_finish_reason_that_nobody_knows(
    proxy: Any, capfd: pytest.CaptureFixture[str], reason: str, told: str
) -> None:
    """Or that does not come is `stop`; the log names one that is unknown."""
    body = chunk(event("fine")) + chunk(b'data: {"why": %s, "d": 1}\n\n' % reason.encode()) + chunk(b"")
    stream = "{request: {path: /s}, format: sse, text: t, done: d, finish_reason: why}"
    async with Backend([REQUEST, stream_head() + body]) as backend:
        running = await proxy(mapping(backend.url, stream=stream))
        wire = await fetch(running.url, hello(stream=True))
        assert [each["choices"][0]["finish_reason"] for each in wire.events[:-1]] == [None, None, told]
        await nothing_is_left(running)
    running.state.log.close()
    assert ("eos_of_mars" in capfd.readouterr().err) == ("mars" in reason)


def _gzipped(*pieces: bytes) -> list[bytes]:
    packer = zlib.compressobj(wbits=31)
    made = [packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH) for piece in pieces]
    return [*made, packer.flush()]


ZIPPED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: %s\r\nTransfer-Encoding: chunked\r\n\r\n"
)


@pytest.mark.row(69)
@BOTH_LOOPS
async def test_row_69_each_event_of_a_compressed_stream_comes_when_it_was_flushed(proxy: Any) -> None:
    """And its end is its end."""
    first, last, end = _gzipped(event(SAID), event("end", done=True))
    heard = asyncio.Event()
    script = [REQUEST, ZIPPED % b"gzip", chunk(first), heard, chunk(last), chunk(end), chunk(b"")]
    async with Backend(script) as backend:
        running = await proxy(mapping(backend.url))
        wire = await _heard(running.url, heard)
        assert (wire.text, wire.events[-1], wire.complete) == ("The end", "[DONE]", True)
        await nothing_is_left(running)


@pytest.mark.row(69)
@pytest.mark.parametrize(
    ("rest", "code"),
    [
        ([chunk(b"\xff\xff\xff\xff" * 9), GONE], "upstream_invalid_encoding"),
        ([chunk(b""), GONE], "upstream_truncated"),
        ([FIN], "upstream_truncated"),
    ],
    ids=["garbage", "cut short", "connection cut"],
)
async def test_row_69_a_compressed_stream_that_breaks(proxy: Any, rest: list[Any], code: str) -> None:
    """Is broken for the client too."""
    first, *_ = _gzipped(event(SAID), event("end"))
    heard = asyncio.Event()
    async with Backend([REQUEST, ZIPPED % b"gzip", chunk(first), heard, *rest]) as backend:
        running = await proxy(mapping(backend.url))
        _check_broken(await _heard(running.url, heard), code)
        await nothing_is_left(running)


@pytest.mark.row(61, 69)
async def test_rows_61_and_69_a_bomb_in_a_stream(proxy: Any) -> None:
    """Some hundred megabytes that a few KiB make, in one event."""
    heard = asyncio.Event()
    first, packed = gzip.compress(event(SAID)), bomb(b"data: ", b"x", 256)
    async with Backend([REQUEST, ZIPPED % b"gzip", chunk(first), heard, chunk(packed), GONE]) as backend:
        running = await proxy(mapping(backend.url))
        wire = await _heard(running.url, heard)
        assert wire.error["code"] in ("upstream_event_too_large", "upstream_response_too_large")
        assert wire.text == SAID
        await backend.gone()
        await nothing_is_left(running)


@pytest.mark.row(72)
@pytest.mark.parametrize("first", [b"", event("")], ids=["nothing", "no text"])
async def test_row_72_an_empty_answer(proxy: Any, first: bytes) -> None:
    """The role, the finish reason, the end."""
    body = chunk(first + b'data: {"t": "", "d": 1}\n\n') + chunk(b"")
    async with Backend([REQUEST, stream_head() + body]) as backend:
        running = await proxy(mapping(backend.url))
        wire = await fetch(running.url, hello(stream=True))
        choices = [each["choices"][0] for each in wire.events[:-1]]
        assert [choice["delta"].get("role") for choice in choices] == ["assistant", None]
        assert [choice["finish_reason"] for choice in choices] == [None, "stop"]
        assert (wire.text, wire.events[-1], wire.complete) == ("", "[DONE]", True)


@pytest.mark.row(73)
@BOTH_LOOPS
@pytest.mark.parametrize("late", [False, True], ids=["never", "with the end"])
async def test_row_73_usage_that_comes_late_or_never(proxy: Any, late: bool) -> None:
    """Is one chunk before the end: the backend's counts, or ours, without waiting for a backend that is done."""
    counts = {"p": 7, "c": 9} if late else {}
    end = json.dumps({"d": True, **counts}).encode()
    stream = "{request: {path: /s}, format: sse, text: t, done: d, usage: {prompt: p, completion: c}}"
    script = [REQUEST, stream_head(), chunk(event("hello")), chunk(event(" world")), chunk(b"data: " + end + b"\n\n")]
    async with Backend([*script, GONE]) as backend:
        running = await proxy(mapping(backend.url, stream=stream, timeouts="{idle: 1h}"))
        wire = await fetch(running.url, hello(stream=True, stream_options={"include_usage": True}))
        *others, usage, last = wire.events
        assert (usage["choices"], last) == ([], "[DONE]")
        wanted = (7, 9) if late else (1, 2)
        assert (usage["usage"]["prompt_tokens"], usage["usage"]["completion_tokens"]) == wanted
        assert {each["usage"] for each in others} == {None}
        await backend.gone()


Frames = Callable[[bytes], bytes]
FORMS: dict[str, tuple[str, Frames, bytes]] = {
    "sse": ("sse", lambda frame: b"data: " + frame + b"\n\n", b""),
    "ndjson": ("ndjson", lambda frame: frame + b"\n", b""),
    "json-array": ("json-array", lambda frame: frame + b",", b"["),
    "json-concat": ("json-concat", lambda frame: frame, b""),
    "delimited": ('{delimited: "\\0"}', lambda frame: frame + b"\0", b""),
    "aws-eventstream": ("aws-eventstream", lambda frame: encode_message(frame, {":message-type": "event"}), b""),
}
CUTS: dict[str, list[Any]] = {
    "reset": [RST],
    "end": [FIN],
    "clean end": [chunk(b""), GONE],
    "end within a frame": [..., FIN],
    "clean end within a frame": [..., chunk(b""), GONE],
    "stall": [GONE],
}
FIRST, SECOND = b'{"t": "The "}', b'{"t": "capital"}'


def _cut(form: str, cut: str, heard: asyncio.Event) -> list[Any]:
    """A backend that breaks its stream off."""
    _, frame, opening = FORMS[form]
    rest = [chunk(frame(SECOND)[:9]) if step is ... else step for step in CUTS[cut]]
    return [REQUEST, stream_head("application/octet-stream"), chunk(opening + frame(FIRST)), heard, *rest]


def _formed(url: str, form: str, end: str = ", done: d") -> Any:
    stream = f"{{request: {{path: /s}}, format: {FORMS[form][0]}, text: t{end}}}"
    return mapping(url, stream=stream, timeouts=SHORT)


@pytest.mark.row(52, 53, 54, 55, 56)
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("form", FORMS)
async def test_no_format_takes_a_truncation_for_an_end(proxy: Any, form: str, cut: str) -> None:
    """T18: the text that came, an error, and nothing that ends."""
    heard = asyncio.Event()
    async with Backend(_cut(form, cut, heard)) as backend:
        running = await proxy(_formed(backend.url, form))
        wire = await _heard(running.url, heard)
        assert (wire.complete, wire.text) == (False, SAID)
        assert wire.error["code"].startswith("upstream_")
        await nothing_is_left(running)


@pytest.mark.parametrize("cut", [cut for cut in CUTS if cut != "clean end"])
@pytest.mark.parametrize("form", FORMS)
async def test_nor_where_only_the_body_ends_the_answer(proxy: Any, form: str, cut: str) -> None:
    """T18, for a mapping that knows no end: that of the body is one only where it is a whole one."""
    heard = asyncio.Event()
    async with Backend(_cut(form, cut, heard)) as backend:
        running = await proxy(_formed(backend.url, form, end=""))
        wire = await _heard(running.url, heard)
        assert (wire.complete, wire.text) == (False, SAID)
        assert wire.error["code"].startswith("upstream_")
        await nothing_is_left(running)


@pytest.mark.parametrize("cut", ["reset", "end", "stall"])
async def test_plain_text_that_is_cut(proxy: Any, cut: str) -> None:
    """T18: only HTTP tells its end."""
    heard = asyncio.Event()
    async with Backend([REQUEST, stream_head("text/plain"), chunk(SAID.encode()), heard, *CUTS[cut]]) as backend:
        stream = "{request: {path: /s}, format: text, text: '@'}"
        running = await proxy(mapping(backend.url, stream=stream, timeouts=SHORT))
        wire = await _heard(running.url, heard)
        assert (wire.complete, wire.text) == (False, SAID)
        assert wire.error["code"].startswith("upstream_")


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("form", FORMS)
async def test_the_official_client_raises_for_every_truncation(proxy: Any, form: str, cut: str, streams: bool) -> None:
    """T18: with what came before it in hand, and without asking again where it had any."""
    heard = asyncio.Event()
    texts: list[str | None] = []
    if not streams:
        heard.set()
    async with Backend(_cut(form, cut, heard)) as backend:
        running = await proxy(mapping_without_whole(backend.url, form) if not streams else _formed(backend.url, form))
        async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="unused", max_retries=0) as client:
            ask: Any = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}

            async def listen() -> None:
                if not streams:
                    await client.chat.completions.create(**ask)
                    return
                async for each in await client.chat.completions.create(**ask, stream=True):
                    texts.append(each.choices[0].delta.content)
                    if texts[-1]:
                        heard.set()

            with pytest.raises(openai.APIError):
                await listen()
        assert texts == (["", SAID] if streams else [])
        assert len(backend.requests) == 1
        await nothing_is_left(running)


def mapping_without_whole(url: str, form: str) -> Any:
    """A mapping whose model always streams."""
    stream = f"{{request: {{path: /s}}, format: {FORMS[form][0]}, text: t, done: d}}"
    return mapping(url, response="", stream=stream, timeouts=SHORT)


@pytest.mark.parametrize("way", ["close", "close with a code", "abort", "stall"])
async def test_a_websocket_that_is_cut(proxy: Any, way: str) -> None:
    """T18, for the official client too."""
    heard = asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        assert (await socket.receive()).type is WSMsgType.TEXT
        await socket.send_str(FIRST.decode())
        await heard.wait()
        if way == "abort":
            assert request.transport is not None
            request.transport.abort()
        elif way == "stall":
            await socket.receive()
        else:
            await socket.close(code=1000 if way == "close" else 1011)
        return socket

    async with serving(handle, "ws") as url:
        made = load(f"""
oaiproxy: 1
models: [m]
backend: {{url: "{url}", transport: websocket, timeouts: {SHORT}}}
chat:
  request: {{path: /talk, body: {{q: "{{{{ prompt }}}}"}}}}
  stream: {{format: messages, text: t, done: d}}
""")
        running = await proxy(made)
        _check_broken(wire := await _heard(running.url, heard), wire.error["code"])
        async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="unused", max_retries=0) as client:
            ask: Any = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
            texts = []

            async def listen() -> None:
                async for each in await client.chat.completions.create(**ask, stream=True):
                    texts.append(each.choices[0].delta.content)

            with pytest.raises(openai.APIError):
                await listen()
            assert texts == ["", SAID]
        await nothing_is_left(running)


@pytest.mark.parametrize("way", ["cut", "reset", "stall", "never done", "no text"])
@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
async def test_a_poll_that_is_cut(proxy: Any, way: str, streams: bool) -> None:
    """T18: an answer that is waited for is whole, or an error before anything was sent."""
    done = {"status": "done", "text": "The capital"}
    last: dict[str, list[Any]] = {
        "cut": [answer(done)[:-5], FIN],
        "reset": [answer(done)[:-5], RST],
        "stall": [answer(done)[:-5], GONE],
        "never done": [answer({"status": "busy", "text": SAID})],
        "no text": [answer({"status": "done"})],
    }
    more = (
        "poll: {request: {path: /task}, every: {first: 10ms, max: 10ms}, status: status, done: [done], timeout: 500ms}"
    )
    begun = [REQUEST, answer({"status": "busy"}, headers={"Connection": "close"}), FIN]
    async with Backend(begun, [REQUEST, *last[way]]) as backend:
        made = load(f"""
oaiproxy: 1
models: [m]
backend: {{url: "{backend.url}", timeouts: {{total: 1s}}}}
chat:
  request: {{path: /s, body: {{q: "{{{{ prompt }}}}"}}}}
  {more}
  response: {{text: text}}
""")
        running = await proxy(made)
        wire = await fetch(running.url, hello(stream=streams))
        assert wire.status in (502, 504)
        assert wire.error["code"].startswith("upstream_")
        assert b"The" not in wire.body
        await nothing_is_left(running)
