"""What a client got, from the bytes that were sent to it: text, reasoning, tool calls, finish reason, usage, error."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from oaiproxy import jsontext
from oaiproxy.answers import Answer
from oaiproxy.errors import ApiError
from oaiproxy.exchange import AnyReply
from oaiproxy.jsontext import Json
from oaiproxy.received import received


@dataclass(slots=True)
class Outcome:
    """One answer as a client sees it in the end, streamed or not."""

    text: str | None = None
    reasoning: str | None = None
    tool_calls: list[Json] = field(default_factory=list)
    finish_reason: str | None = None
    usage: dict[str, Json] | None = None
    refusal: str | None = None
    id: str | None = None
    model: str | None = None
    vectors: list[list[float]] | None = None
    results: list[Json] | None = None
    images: list[Json] | None = None
    audio: str | None = None
    """The bytes of a sound, in base64."""
    media_type: str | None = None
    language: str | None = None
    duration: float | None = None
    segments: list[Json] | None = None
    words: list[Json] | None = None
    status: int = 200
    error: dict[str, Json] | None = None


def drive(reply: AnyReply, pieces: Iterable[bytes]) -> Outcome:
    """Feed a reply piece by piece, as a server would, and read what comes out."""
    sent = b"".join(reply.feed(piece) for piece in pieces)
    sent += reply.end()
    sent += reply.close()
    outcome = _read(sent, reply) if sent else Outcome()
    if reply.fault is not None:
        outcome.error = reply.fault.body()["error"]
        outcome.status = reply.fault.status
    return outcome


def _read(sent: bytes, reply: AnyReply) -> Outcome:
    if isinstance(reply, Answer):
        return Outcome(**received(reply.endpoint, sent, reply.content_type))
    return from_stream(sent) if sent.startswith(b"data: ") else from_object(sent)


def from_error(error: ApiError) -> Outcome:
    """The outcome of a request that was refused."""
    return Outcome(status=error.status, error=error.body()["error"])


def from_object(data: bytes) -> Outcome:
    """The outcome of a whole answer."""
    answer = jsontext.parse(data)
    choice = answer["choices"][0]
    message = choice.get("message") or {"content": choice.get("text")}
    calls = [_plain(call["function"]) for call in message.get("tool_calls") or ()]
    return Outcome(
        text=message.get("content"),
        reasoning=message.get("reasoning_content"),
        tool_calls=calls,
        finish_reason=choice["finish_reason"],
        usage=answer.get("usage"),
        refusal=message.get("refusal"),
        id=answer.get("id"),
        model=answer.get("model"),
    )


def from_stream(data: bytes) -> Outcome:
    """The outcome of a stream of chunks."""
    outcome = Outcome()
    calls: dict[int, dict[str, str]] = {}
    for event in data.split(b"\n\n"):
        payload = event.removeprefix(b"data: ")
        if not payload or payload == b"[DONE]":
            continue
        chunk = jsontext.parse(payload)
        outcome.usage = chunk.get("usage") or outcome.usage
        outcome.id, outcome.model = chunk.get("id"), chunk.get("model")
        for choice in chunk["choices"]:
            _add(outcome, calls, choice)
    outcome.tool_calls = [_plain(call) for _, call in sorted(calls.items())]
    if not outcome.text and outcome.tool_calls:
        outcome.text = None
    return outcome


def _add(outcome: Outcome, calls: dict[int, dict[str, str]], choice: Json) -> None:
    delta = choice.get("delta") or {"content": choice.get("text")}
    if delta.get("content") is not None:
        outcome.text = (outcome.text or "") + delta["content"]
    if delta.get("reasoning_content") is not None:
        outcome.reasoning = (outcome.reasoning or "") + delta["reasoning_content"]
    if delta.get("refusal") is not None:
        outcome.refusal = (outcome.refusal or "") + delta["refusal"]
    for call in delta.get("tool_calls") or ():
        known = calls.setdefault(call["index"], {"name": "", "arguments": ""})
        known["name"] += call["function"].get("name") or ""
        known["arguments"] += call["function"].get("arguments") or ""
    outcome.finish_reason = choice["finish_reason"] or outcome.finish_reason


def _plain(function: dict[str, str]) -> Json:
    try:
        arguments = jsontext.parse(function["arguments"])
    except jsontext.JsonError:
        arguments = function["arguments"]
    return {"name": function["name"], "arguments": arguments}
