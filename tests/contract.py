"""What the suite gets from the real `serve`, held against OpenAI's contract: every response and every streamed chunk.

A `Recorder` stands as the outermost middleware around each server of a test and sees the bytes that leave it; what is
wrong with them fails the test in its end (`conftest.py`). The schemas are OpenAI's (`strict.py`), where this machine
has them; the order of a stream is checked anywhere.
"""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jsonschema_rs
from aiohttp import web
from aiohttp.typedefs import Handler
from strict import STRICT, schema

from oaiproxy.heartbeat import COMMENT
from oaiproxy.outlets import HeldResponse

LARGEST = 8 << 20
"""Bytes of a response that are looked at; a stream that is longer is judged by its beginning."""
SHOWN = 1500
"""Characters of what was sent that a violation shows."""
TRANSCRIPTION = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}
"""The part of the two transcription objects that the schemas at hand do not hold."""


@dataclass(frozen=True)
class Place:
    """What an endpoint answers: the schema of a whole answer, and what looks at its stream; None is not looked at."""

    path: str
    whole: str | None = None
    stream: Callable[[list[Any]], Iterator[str]] | None = None
    method: str = ""
    openai: bool = True
    """Whether its errors are OpenAI's."""


@dataclass
class Sent:
    """A response as it left the proxy."""

    method: str
    path: str
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    writes: list[bytes] = field(default_factory=list)
    size: int = 0
    ended: bool = False
    """Whether the body's end was sent."""
    broken: bool = False
    """Whether the client left, or the server was stopped: what came is all there could be."""

    def add(self, data: bytes) -> None:
        """Keep what is written."""
        self.size += len(data)
        if data and self.size <= LARGEST:
            self.writes.append(bytes(data))

    @property
    def body(self) -> bytes:
        """The body, uncompressed."""
        body = b"".join(self.writes)
        compressed = self.ended and self.headers.get("content-encoding") in ("gzip", "deflate")
        if compressed and body.startswith((b"\x1f\x8b", b"x")):
            return zlib.decompress(body, wbits=47)
        return body

    @property
    def media_type(self) -> str:
        """The type of the body."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


class Recorder:
    """All that the servers of one test sent."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []

    @property
    def middleware(self) -> Any:
        """To stand around all others."""

        @web.middleware
        async def record(request: web.Request, handler: Handler) -> web.StreamResponse:
            sent = Sent(request.method, request.path)
            self.sent.append(sent)
            tap(request, sent)
            try:
                return await handler(request)
            except (asyncio.CancelledError, ConnectionError):
                sent.broken = True
                raise

        return record

    def check(self) -> None:
        """Fail for what is wrong with any of them."""
        wrong = [f"{found}\n{shown(sent)}" for sent in self.sent for found in violations(sent)]
        assert not wrong, "what was served breaks OpenAI's contract:\n" + "\n\n".join(wrong[:5])


def tap(request: web.Request, sent: Sent) -> None:
    """Have the writer of a request's response tell what goes through it."""
    request[SENT] = sent
    writer = request._payload_writer  # where whole answers and streams are still bytes of a body, but for later chunks
    write_headers, write, write_eof = writer.write_headers, writer.write, writer.write_eof

    async def headers(status_line: str, fields: Any) -> None:
        sent.status = int(status_line.split(" ", 2)[1])
        sent.headers = {name.lower(): value for name, value in fields.items()}
        await write_headers(status_line, fields)

    async def some(chunk: Any, **more: Any) -> None:
        sent.add(chunk)
        await write(chunk, **more)

    async def last(chunk: bytes = b"") -> None:
        sent.add(chunk)
        transport = request.transport
        open_ = transport is not None and not transport.is_closing()
        await write_eof(chunk)
        sent.ended = open_

    writer.write_headers, writer.write, writer.write_eof = headers, some, last  # type: ignore[method-assign]


SENT: web.RequestKey[Sent] = web.RequestKey("sent", Sent)
_chunk = HeldResponse.chunk


def _seen(response: HeldResponse, transport: asyncio.WriteTransport, data: bytes) -> None:
    """Send a chunk, and tell of it."""
    if response._req is not None and (sent := response._req.get(SENT)) is not None:
        sent.add(data)
    _chunk(response, transport, data)


HeldResponse.chunk = _seen  # type: ignore[method-assign]


def shown(sent: Sent) -> str:
    """The bytes, for a reader."""
    body = sent.body
    cut = f"... ({len(body)} bytes)" if len(body) > SHOWN else ""
    return f"{sent.method} {sent.path} -> {sent.status} {dict(sent.headers)}\n{body[:SHOWN]!r}{cut}"


def violations(sent: Sent) -> Iterator[str]:
    """What is wrong with a response."""
    if not sent.status or sent.method in ("HEAD", "OPTIONS") or sent.status in (101, 204, 304):
        return
    place = place_of(sent.method, sent.path)
    yield from _about_headers(sent)
    if sent.media_type == "text/event-stream":
        yield from _stream(sent, place)
    elif not sent.ended or sent.size > LARGEST:
        return
    elif sent.status >= 400:
        if place is None or place.openai:
            yield from _whole("ErrorResponse", sent)
    elif place is None:
        yield f"no one has said what is answered at {sent.path}: add it to `PLACES`"
    elif place.whole is not None and sent.media_type == "application/json":
        yield from _whole(place.whole, sent)


def place_of(method: str, path: str) -> Place | None:
    """What is at a path: by its end, for there are several ways to write its beginning."""
    path = re.sub("/+", "/", path).rstrip("/") or "/"
    for place in PLACES:
        if place.method in ("", method) and re.search(f"(?:^|/){place.path}$", path):
            return place
    return None


def _about_headers(sent: Sent) -> Iterator[str]:
    if "x-request-id" not in sent.headers:
        yield "no x-request-id"
    if sent.status >= 400 and sent.media_type != "application/json":
        yield f"an error of the type {sent.media_type}"


def _whole(name: str, sent: Sent) -> Iterator[str]:
    try:
        value = json.loads(sent.body)
    except ValueError:
        yield "the body is not JSON"
        return
    yield from errors(name, value)


def _stream(sent: Sent, place: Place | None) -> Iterator[str]:
    if place is None or (place.openai and place.stream is None):
        yield f"no one has said what is streamed at {sent.path}: add it to `PLACES`"
        return
    for data in sent.writes:
        if not data.endswith(b"\n\n") and data != COMMENT:
            yield f"a write ends within an event: {data[-100:]!r}"
    text = sent.body.decode()
    if not text and place.stream is _resumed:
        return  # nothing followed the event that was named
    if sent.size > LARGEST:
        text = text[: text.rfind("\n\n") + 2]
    payloads: list[Any] = []
    for block in text.removesuffix("\n\n").split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        if not lines:
            continue
        names = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
        data_ = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        if len(data_) != 1 or len(names) > 1 or len(names) + 1 != len(lines) or not data_[0]:
            yield f"an event is not one line of data: {block[:200]!r}"
            return
        payload = data_[0] if data_[0] == "[DONE]" else json.loads(data_[0])
        if names and place.openai and names[0] != payload.get("type"):
            yield f"an event named {names[0]!r} is of the type {payload.get('type')!r}"
        payloads.append(payload)
    if place.stream is None:
        return
    yield from place.stream(payloads)
    failed = bool(payloads) and is_error(payloads[-1])
    if failed and sent.ended:
        yield "a stream that failed has a clean end"
    if not failed and not sent.ended and not sent.broken:
        yield "a stream was broken off without a word"
    marked = place.stream not in (_responses, _resumed, _sound)
    if marked and sent.ended and sent.size <= LARGEST and not failed and payloads[-1:] != ["[DONE]"]:
        yield "the last event is not [DONE]"


def is_error(payload: Any) -> bool:
    """Whether it is an error event."""
    return (
        isinstance(payload, dict) and isinstance(payload.get("error"), dict) and payload.get("type", "error") == "error"
    )


def _ordered(name: str, payloads: list[Any]) -> Iterator[str]:
    """What chunks of chat and completions have in common."""
    chunks: list[dict[str, Any]] = []
    for number, payload in enumerate(payloads):
        if payload == "[DONE]" or is_error(payload):
            if number < len(payloads) - 1:
                yield f"something follows {payload!r}"
            if payload != "[DONE]":
                yield from errors("ErrorResponse", payload)
            continue
        yield from errors(name, payload)
        chunks.append(payload)
    for key in ("id", "object", "created", "model"):
        if len({chunk.get(key) for chunk in chunks}) > 1:
            yield f"chunks differ in {key!r}"
    if len({"usage" in chunk for chunk in chunks}) > 1:
        yield "some chunks have the key 'usage' and some have not"
    for chunk in chunks[:-1]:
        if not chunk.get("choices") or chunk.get("usage") is not None:
            yield f"a chunk before the last one has no choice, or usage: {chunk}"
    finished: set[int] = set()
    opened: set[int] = set()
    for choice in (choice for chunk in chunks for choice in chunk.get("choices") or ()):
        index = choice.get("index")
        if index in finished:
            yield f"choice {index} goes on after its finish_reason"
        opened.add(index)
        if choice.get("finish_reason") is not None:
            finished.add(index)
    if payloads[-1:] == ["[DONE]"] and (opened != finished or not opened):
        yield f"choices {sorted(opened)} were opened, {sorted(finished)} finished"


def _chat(payloads: list[Any]) -> Iterator[str]:
    """The chunks of a chat completion."""
    yield from _ordered("CreateChatCompletionStreamResponse", payloads)
    begun: dict[int, int] = {}
    for choice in (choice for each in payloads if isinstance(each, dict) for choice in each.get("choices") or ()):
        index, delta = choice.get("index"), choice.get("delta") or {}
        if ("role" in delta) != (index not in begun):
            yield f"choice {index} is opened by its role once, not in {delta}"
        begun.setdefault(index, 0)
        for call in delta.get("tool_calls") or ():
            opens = call.get("index") == begun[index]
            if opens:
                begun[index] += 1
            if opens != ("id" in call) or not 0 <= call.get("index", -1) < begun[index]:
                yield f"calls are numbered from 0, and have an id where they begin: {call}"


def _completions(payloads: list[Any]) -> Iterator[str]:
    """The chunks of a completion."""
    yield from _ordered("CreateCompletionResponse", payloads)


_TERMINAL = ("response.completed", "response.incomplete", "response.failed")


def _resumed(payloads: list[Any]) -> Iterator[str]:
    """The events of a response from one on."""
    events = [payload for payload in payloads if payload != "[DONE]"]
    yield from _responses(payloads, events[0].get("sequence_number", 0) if events else 0)


def _responses(payloads: list[Any], first: int = 0) -> Iterator[str]:
    """The events of a response."""
    events = [payload for payload in payloads if payload != "[DONE]"]
    for number, event in enumerate(events, first):
        kind = event.get("type")
        if kind not in event_schemas() and STRICT.is_dir():
            yield f"there is no event {kind!r}"
            continue
        if event.get("sequence_number") != number:
            yield f"event {number} has the sequence_number {event.get('sequence_number')!r}"
        yield from errors(f"ResponseStreamEvent:{kind}", event)
        if kind in _TERMINAL and any(not is_error(later) for later in events[number + 1 - first :]):
            yield f"something follows {kind}"
    if events and not first and not is_error(events[0]) and events[0].get("type") != "response.created":
        yield "the first event is not response.created"


_USAGE = {key: {"type": "integer", "minimum": 0} for key in ("input_tokens", "output_tokens", "total_tokens")}
EVENTS: Mapping[str, Mapping[str, Any]] = {
    "speech.audio.delta": {"audio": {"type": "string"}},
    "speech.audio.done": {"usage": {"type": "object", "required": list(_USAGE), "properties": _USAGE}},
    "transcript.text.delta": {"delta": {"type": "string"}},
    "transcript.text.done": {"text": {"type": "string"}},
}
"""The fields of events that the schemas at hand do not hold."""


def _pieces(family: str, payloads: list[Any]) -> Iterator[str]:
    """Events of one family: pieces, and one that ends them; or an error in its place."""
    events = [payload for payload in payloads if payload != "[DONE]"]
    kinds = [each.get("type") for each in events]
    for number, (kind, event) in enumerate(zip(kinds, events, strict=True)):
        last = number == len(events) - 1
        if is_error(event) and last:
            yield from errors("ErrorResponse", event)
        elif kind not in (f"{family}.delta", f"{family}.done"):
            yield f"there is no event {kind!r} in {family}"
        else:
            found = validator(f"event:{kind}").iter_errors(event)
            yield from (f"{kind}: {'/'.join(map(str, each.instance_path))}: {each.message[:300]}" for each in found)
            if kind.endswith(".done") and not last:
                yield f"something follows {kind}"
    if payloads[-1:] == ["[DONE]"] and kinds[-1:] != [f"{family}.done"]:
        yield f"no {family}.done before [DONE]"


def _sound(payloads: list[Any]) -> Iterator[str]:
    """The events of speech."""
    yield from _pieces("speech.audio", payloads)


def _transcript(payloads: list[Any]) -> Iterator[str]:
    """The events of a transcription."""
    yield from _pieces("transcript.text", payloads)


PLACES = (
    Place("chat/completions", "CreateChatCompletionResponse", _chat, "POST"),
    Place("completions", "CreateCompletionResponse", _completions, "POST"),
    Place("embeddings", "CreateEmbeddingResponse", method="POST"),
    Place("moderations", "CreateModerationResponse", method="POST"),
    Place("images/generations", "ImagesResponse", method="POST"),
    Place("audio/transcriptions", "transcription", _transcript, "POST"),
    Place("audio/speech", stream=_sound, method="POST"),
    Place("rerank", method="POST"),  # no endpoint of OpenAI's
    Place("messages(?:/count_tokens)?", stream=None, openai=False),  # nor is this, in nothing of it
    Place("responses", "Response", _responses, "POST"),
    Place("responses/compact", "CompactResource", method="POST"),
    Place("responses/input_tokens", method="POST"),
    Place("responses/[^/]+/input_items", "ResponseItemList", method="GET"),
    Place("responses/[^/]+/cancel", "Response", method="POST"),
    Place("responses/[^/]+", "Response", _resumed, "GET"),
    Place("responses/[^/]+", method="DELETE"),
    Place("models", "ListModelsResponse", method="GET"),
    Place("models/.+", "Model", method="GET"),
    Place(r"openapi\.json", method="GET"),
    Place("livez", method="GET", openai=False),
    Place("readyz", method="GET", openai=False),
    Place("(?:health|healthz)", method="GET", openai=False),
    Place("", method="GET", openai=False),
)
"""What is answered where, by the end of the path; the first that fits."""


def errors(name: str, value: Any) -> Iterable[str]:
    """Where a value is not what OpenAI's schema of that name describes; nothing where the schemas are not at hand."""
    if not STRICT.is_dir():
        return []
    found = list(validator(name).iter_errors(value))
    return [f"{name}: {'/'.join(map(str, each.instance_path))}: {each.message[:300]}" for each in found]


@cache
def validator(name: str) -> Any:
    """A schema, compiled; `ResponseStreamEvent:<type>` is the one kind of event, `event:<type>` one of `EVENTS`."""
    if name == "transcription":
        return jsonschema_rs.Draft202012Validator(TRANSCRIPTION)
    family, _, kind = name.partition(":")
    if family == "event":
        made = {"type": "object", "required": ["type", *EVENTS[kind]], "properties": EVENTS[kind]}
        return jsonschema_rs.Draft202012Validator(made)
    return jsonschema_rs.Draft202012Validator(event_schemas()[kind] if kind else schema(family))


@cache
def event_schemas() -> Mapping[str, Any]:
    """The schema of each event of a response: what is wrong with one is told better by it than by that of all."""
    if not STRICT.is_dir():
        return {}
    whole = schema("ResponseStreamEvent")
    found = [whole["$defs"][each["$ref"].rpartition("/")[2]] for each in whole["anyOf"]]
    return {kind: {**each, "$defs": whole["$defs"]} for each in found for kind in each["properties"]["type"]["enum"]}
