"""What a client got, from the bytes that were sent to it: text, reasoning, tool calls, finish reason, usage, error."""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
    logprobs: list[Json] | None = None
    """The tokens: `{token, logprob}`, of chat with `bytes` and `top_logprobs`."""
    annotations: list[Json] | None = None
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
    choices: list[Json] = field(default_factory=list)
    """What each choice said, where there are several; what is above is the first one's."""


def drive(reply: AnyReply, pieces: Iterable[bytes], completing: Callable[[], bytes] = bytes) -> Outcome:
    """Feed a reply piece by piece, as a server would, and read what comes out.

    `completing` is called when all was fed, for what other replies add.
    """
    sent = delivered(reply, pieces, completing)
    endpoint = reply.endpoint if isinstance(reply, Answer) else ""
    return told(sent, reply.fault, endpoint, reply.content_type if isinstance(reply, Answer) else "")


def delivered(reply: AnyReply, pieces: Iterable[bytes], completing: Callable[[], bytes] = bytes) -> bytes:
    """The bytes for the client that a reply makes, from its beginning to its end."""
    sent = b"".join(reply.feed(piece) for piece in pieces)
    sent += completing()
    sent += reply.end()
    return sent + reply.close()


def told(sent: bytes, fault: ApiError | None, endpoint: str, content_type: str) -> Outcome:
    """The outcome of what was sent; `endpoint` is that of an answer that is no text, else empty."""
    outcome = Outcome()
    if sent and endpoint:
        outcome = Outcome(**received(endpoint, sent, content_type))
    elif sent:
        outcome = from_stream(sent) if sent.startswith(b"data: ") else from_object(sent)
    if fault is not None:
        outcome.error = fault.body()["error"]
        outcome.status = fault.status
    return outcome


def from_error(error: ApiError) -> Outcome:
    """The outcome of a request that was refused."""
    return Outcome(status=error.status, error=error.body()["error"])


def from_object(data: bytes) -> Outcome:
    """The outcome of a whole answer."""
    answer = jsontext.parse(data)
    outcome = Outcome(usage=answer.get("usage"), id=answer.get("id"), model=answer.get("model"))
    choices = [_Choice() for _ in answer["choices"]]
    for found, choice in zip(choices, answer["choices"], strict=True):
        found.add(choice.get("message") or {"content": choice.get("text")}, choice.get("logprobs"))
        found.finish_reason = choice["finish_reason"]
    return _filled(outcome, choices)


def from_stream(data: bytes) -> Outcome:
    """The outcome of a stream of chunks."""
    outcome = Outcome()
    choices: dict[int, _Choice] = {}
    for event in data.split(b"\n\n"):
        payload = event.removeprefix(b"data: ")
        if not payload or payload == b"[DONE]":
            continue
        chunk = jsontext.parse(payload)
        outcome.usage = chunk.get("usage") or outcome.usage
        outcome.id, outcome.model = chunk.get("id"), chunk.get("model")
        for choice in chunk["choices"]:
            found = choices.setdefault(choice.get("index", 0), _Choice())
            found.add(choice.get("delta") or {"content": choice.get("text")}, choice.get("logprobs"))
            found.finish_reason = choice["finish_reason"] or found.finish_reason
    for found in choices.values():
        if not found.text and found.calls:
            found.text = None
    return _filled(outcome, [found for _, found in sorted(choices.items())])


@dataclass(slots=True)
class _Choice:
    """One choice, whole or growing."""

    text: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    finish_reason: str | None = None
    calls: dict[int, dict[str, str]] = field(default_factory=dict)
    logprobs: list[Json] = field(default_factory=list)
    annotations: list[Json] = field(default_factory=list)

    def add(self, delta: Json, logprobs: Json) -> None:
        """Take a message, or more of one, and the log probabilities beside it."""
        self.logprobs.extend(_tokens(logprobs or {}))
        self.annotations.extend(delta.get("annotations") or ())
        if delta.get("content") is not None:
            self.text = (self.text or "") + delta["content"]
        if delta.get("reasoning_content") is not None:
            self.reasoning = (self.reasoning or "") + delta["reasoning_content"]
        if delta.get("refusal") is not None:
            self.refusal = (self.refusal or "") + delta["refusal"]
        old = delta.get("function_call")
        for place, call in enumerate(delta.get("tool_calls") or ([{"function": old}] if old else ())):
            known = self.calls.setdefault(call.get("index", place), {"name": "", "arguments": ""})
            said = call.get("function") or call.get("custom") or {}
            known["name"] += said.get("name") or ""
            known["arguments"] += said.get("arguments") or said.get("input") or ""

    def told(self) -> dict[str, Json]:
        """What it said."""
        calls = [_plain(call) for _, call in sorted(self.calls.items())]
        made = {"text": self.text, "reasoning": self.reasoning, "refusal": self.refusal}
        lists = {"logprobs": self.logprobs or None, "annotations": self.annotations or None}
        return {**made, **lists, "tool_calls": calls, "finish_reason": self.finish_reason}


def _filled(outcome: Outcome, choices: list[_Choice]) -> Outcome:
    told = [choice.told() for choice in choices]
    for name, value in (told[0] if told else {}).items():
        setattr(outcome, name, value)
    if len(told) > 1:
        outcome.choices = told
    return outcome


def _tokens(logprobs: Json) -> list[Json]:
    """The tokens of chat's object, or of the arrays of completions."""
    content, refused = (logprobs.get(key) or [] for key in ("content", "refusal"))
    legacy = zip(logprobs.get("tokens") or (), logprobs.get("token_logprobs") or (), strict=True)
    return [*content, *refused, *({"token": token, "logprob": value} for token, value in legacy)]


def _plain(function: dict[str, str]) -> Json:
    try:
        arguments = jsontext.parse(function["arguments"])
    except jsontext.JsonError:
        arguments = function["arguments"]
    return {"name": function["name"], "arguments": arguments}
