"""What a backend answered, as data: its frames, what selectors found in them, the events, and what the client gets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import msgspec

from oaiproxy import jsontext
from oaiproxy.endpoints.encoding import EVENT_STREAM
from oaiproxy.events import Audio, Event, Fault
from oaiproxy.explained_sends import Subject, clipped, place
from oaiproxy.filters import kind
from oaiproxy.jsontext import Json
from oaiproxy.outcomes import Outcome
from oaiproxy.provenance import Picked
from oaiproxy.steps import Answer
from oaiproxy.tracing import Read, Record

MAX_SEARCHED = 64_000
"""Bytes of a frame that are searched for secrets; far more than are told, so that none is cut in two."""
_BLOCKS = ("response", "stream", "poll", "before", "after", "errors", "models_list")
"""The keys of a mapping under which selectors stand."""


def frames_and_events(
    subject: Subject, record: Record, answers: Sequence[Answer], outcome: Outcome
) -> tuple[list[dict[str, Json]], list[dict[str, Json]]]:
    """The frames, and the events, each of which names its frame."""
    frames: list[dict[str, Json]] = []
    events: list[dict[str, Json]] = []
    numbers: dict[int, int] = {}
    for read in sorted([*record.frames, *_unread(record, answers)], key=lambda each: each.call):
        at = None
        if read.frame is not None or read.picked or not read.events:
            at = len(frames)
            numbers[read.call] = numbers.get(read.call, 0) + 1
            answer = answers[read.call] if read.call < len(answers) else None
            frames.append(_frame(subject, read, numbers[read.call], answer))
        events += ({"call": read.call, "frame": at, **_event(subject, event)} for event in read.events)
    if outcome.error is not None and not any(event["type"] == "fault" for event in events):
        last = len(frames) - 1 if frames else None
        values = {"status": outcome.status, **{key: outcome.error[key] for key in ("code", "message")}}
        events.append({"call": record.call, "frame": last, "type": "fault", "values": subject.value(values)})
    return frames, events


def _unread(record: Record, answers: Sequence[Answer]) -> Iterator[Read]:
    """The answers in which nothing of the mapping's looked for anything, such as failures."""
    read = {each.call for each in record.frames}
    yield from (Read(call, None, (), ()) for call, answer in enumerate(answers) if answer.body and call not in read)


def _frame(subject: Subject, read: Read, number: int, answer: Answer | None) -> dict[str, Json]:
    frame = read.frame
    raw = frame.data if frame is not None else answer.body if answer is not None else b""
    return {
        "call": read.call,
        "number": number,
        "size": len(raw),
        "text": subject.value(raw[:MAX_SEARCHED].decode("utf-8", "replace")),
        "event": frame.event if frame is not None else "",
        "id": frame.id if frame is not None else "",
        "fields": subject.value(dict(frame.fields)) if frame is not None else {},
        "headers": subject.value(dict(frame.headers)) if frame is not None else {},
        "data": subject.value(_parsed(raw)),
        "selectors": [_picked(subject, each) for each in read.picked if not isinstance(each.source.value, list)],
        "done": read.ended,
    }


def _parsed(raw: bytes) -> Json:
    try:
        return jsontext.parse_lenient(raw)
    except (jsontext.JsonError, RecursionError):
        return None


def _picked(subject: Subject, picked: Picked) -> dict[str, Json]:
    source = picked.source
    written = source.document.written(source.path)
    return {
        "sink": _sink(source.path),
        "selector": subject.value(source.value if written is None else written),
        "source": place(source.span()),
        "type": _type(picked.value),
        "value": subject.value(picked.value),
    }


def _type(value: Json) -> str:
    return kind(value).removeprefix("a ").removeprefix("an ")


def _sink(path: Sequence[str | int]) -> str:
    """What a selector is for: `text`, `events.message_delta.usage.completion`, `errors.message`."""
    start = next((at for at, step in enumerate(path) if step in _BLOCKS), 0)
    keep = path[start] in ("poll", "before", "after", "errors", "models_list")
    name = ""
    for step in path[start if keep else start + 1 :]:
        name += f"[{step}]" if isinstance(step, int) else f".{step}" if name else step
    return name


def _event(subject: Subject, event: Event) -> dict[str, Json]:
    """An event: its type in small letters, and those of its fields that say something."""
    name = "".join(f"_{each.lower()}" if each.isupper() else each for each in type(event).__name__).lstrip("_")
    match event:
        case Fault(error=error):
            told: dict[str, Any] = {"status": error.status, "code": error.code, "message": error.message}
            told["detail"] = error.detail
        case Audio(data=data, media_type=media_type):
            told = {"size": len(data), "media_type": media_type}
        case _:
            told = msgspec.structs.asdict(event)
    given = {key: value for key, value in told.items() if value is not None}
    return {"type": name, "values": subject.value(given)}


def reply(subject: Subject, data: bytes, content_type: str, outcome: Outcome, failure: Json = None) -> dict[str, Json]:
    """What the client gets: the chunks of a stream, or the body, and what that says in short.

    `failure` is the body that tells of an error where no stream has begun.
    """
    stream = content_type == EVENT_STREAM
    made: dict[str, Json] = {
        "status": outcome.status if not (stream and data) else 200,
        "content_type": content_type if data or outcome.error is None else "application/json",
        "stream": stream and bool(data),
        "chunks": [],
        "body": None,
        "outcome": subject.value({key: value for key, value in asdict(outcome).items() if value not in (None, [])}),
    }
    if made["stream"]:
        made["chunks"] = [subject.value(chunk) for chunk in _chunks(data)]
    elif outcome.error is not None:
        made["body"] = subject.value(failure)
    else:
        made["body"] = subject.value(_body(data, content_type))
    return made


def _chunks(data: bytes) -> Iterator[Json]:
    for event in data.split(b"\n\n"):
        payload = b"\n".join(line[6:] for line in event.split(b"\n") if line.startswith(b"data: "))
        if payload:
            parsed = _parsed(payload)
            yield payload.decode("utf-8", "replace") if parsed is None else parsed


def _body(data: bytes, content_type: str) -> Json:
    if "json" in content_type:
        return _parsed(data)
    try:
        return clipped(data.decode())
    except UnicodeDecodeError:
        return f"({len(data)} bytes)"
