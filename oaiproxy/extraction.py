"""Frames to events: what the mapping's sinks find in each frame, accumulated, diffed and put in OpenAI's terms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from oaiproxy import jsontext
from oaiproxy.errors import BackendError
from oaiproxy.events import Delta, Event, Finish, FinishReason, Head, Kind, Usage
from oaiproxy.failures import MAX_MESSAGE, ErrorSelectors, describe, find_message, from_status, redact
from oaiproxy.framing import Frame
from oaiproxy.jsontext import Json
from oaiproxy.picks import Envelope, Pick
from oaiproxy.toolcalls import ToolCalls

FINISH_REASONS: Mapping[str, FinishReason] = {
    "stop": "stop",
    "end_turn": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "complete": "stop",
    "completed": "stop",
    "length": "length",
    "max_tokens": "length",
    "max_length": "length",
    "tool_calls": "tool_calls",
    "tool_call": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "safety": "content_filter",
}
"""What common words for the end of an answer mean, in any case, where a mapping does not say otherwise."""

USAGE_FIELDS = ("prompt", "completion", "total", "cached", "reasoning")


@dataclass(frozen=True, slots=True)
class FinishReasons:
    """The mapping's `finish_reasons`. A value of None is "not yet"; `*` is the rest."""

    table: Mapping[str, str | None] = field(default_factory=dict)

    def resolve(self, value: Json) -> tuple[str | None, bool]:
        """OpenAI's reason (or `auto`, or None for "not yet") for the backend's, and whether anybody knew it."""
        word = value if isinstance(value, str) else jsontext.dump(value).decode()
        if word in self.table:
            return self.table[word], True
        if "*" in self.table:
            return self.table["*"], True
        known = FINISH_REASONS.get(word.lower())
        return known or "stop", known is not None


@dataclass(frozen=True, slots=True)
class ToolCallPicks:
    """Where a frame holds a piece of a tool call."""

    index: Pick | None = None
    id: Pick | None = None
    name: Pick | None = None
    arguments: Pick | None = None


@dataclass(frozen=True, slots=True)
class Sinks:
    """What to pick from a frame, and what each piece is."""

    text: Pick | None = None
    reasoning: Pick | None = None
    refusal: Pick | None = None
    tool_calls: Pick | None = None
    tool_call: ToolCallPicks | None = None
    finish_reason: Pick | None = None
    usage: tuple[tuple[str, Pick], ...] = ()
    id: Pick | None = None
    model: Pick | None = None
    done: Pick | None = None
    error: Pick | ErrorSelectors | None = None
    where: str = ""
    """The text selector and its place in the mapping, for the log."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to read one kind of reply."""

    choose: Callable[[Json, Envelope], Sequence[Sinks]]
    streamed: bool
    data: Literal["json", "text"] = "json"
    end: bytes | None = None
    cumulative: bool = False
    must_finish: bool = False
    finish_reasons: FinishReasons = field(default_factory=FinishReasons)
    secrets: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Choice:
    """What one choice has said so far."""

    tool_calls: ToolCalls
    whole: dict[Kind, str] = field(default_factory=dict)
    """Cumulative text so far, by kind."""
    held: dict[Kind, str] = field(default_factory=dict)
    """By kind, the half of a character that waits for its other half."""
    finish: str | None = None


class Extraction:
    """One reply's reader. `done` turns true when the mapping's end was seen; frames after it are not read."""

    def __init__(self, plan: Plan, envelope: Envelope, new_id: Callable[[], str]) -> None:
        self.done = False
        self.unknown: set[str] = set()
        """Finish reasons that nobody knew, for the log."""
        self.plan = plan
        self._envelope = envelope
        self._choices = {0: _Choice(ToolCalls(0, new_id))}
        self._usage: dict[str, int] = {}
        self._frames = 0
        self._asked: Sinks | None = None
        self._resolved = False
        self._spoke = False
        self._keys: list[str] = []

    def feed(self, frame: Frame) -> Iterator[Event]:
        """The events of one frame.

        Raises BackendError for what the mapping does not describe, and for a failure that the frame tells.
        """
        if self.done:
            return
        plan = self.plan
        if plan.end is not None and frame.data.strip() == plan.end:
            self.done = True
            return
        self._frames += 1
        self._envelope.frame = frame
        value = self._payload(frame)
        for sinks in plan.choose(value, self._envelope):
            yield from self._apply(sinks, value)

    def close(self) -> Iterator[Event]:
        """The events that follow the last frame. Raises BackendError when the answer is not complete."""
        plan = self.plan
        if not self._frames and not self.done:
            raise BackendError("the backend's answer is empty", code="upstream_empty_response")
        if plan.must_finish and not self.done:
            raise BackendError(
                "the backend's stream ended before it was complete", code="upstream_incomplete", retry=None
            )
        self._check_resolved()
        for choice, state in self._choices.items():
            for kind, held in state.held.items():
                if held:
                    yield Delta("\ufffd", kind, choice)
            yield from state.tool_calls.close()
            yield Finish(self._reason(state), choice)
        if self._usage:
            yield Usage(**self._usage)

    def _payload(self, frame: Frame) -> Json:
        if self.plan.data == "text":
            return frame.data.decode("utf-8", "replace")
        if not frame.data.strip():
            return None
        try:
            return jsontext.parse_lenient(frame.data)
        except jsontext.JsonError as error:
            raise BackendError(
                f"the backend's answer is not JSON: {error}", code="upstream_invalid_json", retry=False
            ) from error

    def _apply(self, sinks: Sinks, value: Json) -> Iterator[Event]:
        envelope = self._envelope
        if sinks.error is not None:
            self._check_error(sinks.error, value)
        if not self._spoke and (sinks.id or sinks.model):
            yield from self._head(sinks, value)
        if sinks.reasoning is not None:
            yield from self._say(sinks.reasoning(value, envelope), "reasoning_content", sinks)
        if sinks.text is not None:
            text = sinks.text(value, envelope)
            self._note_text(text, sinks, value)
            yield from self._say(text, "content", sinks)
        if sinks.refusal is not None:
            yield from self._say(sinks.refusal(value, envelope), "refusal", sinks)
        if sinks.tool_calls is not None:
            for call in self._calls(sinks.tool_calls(value, envelope), sinks):
                yield from self._choices[0].tool_calls.whole(call)
        if sinks.tool_call is not None:
            yield from self._fragment(sinks.tool_call, value)
        if sinks.finish_reason is not None:
            self._finish(sinks.finish_reason(value, envelope))
        for name, pick in sinks.usage:
            self._count(name, pick(value, envelope))
        if sinks.done is not None and _says(sinks.done(value, envelope)):
            self.done = True

    def _head(self, sinks: Sinks, value: Json) -> Iterator[Event]:
        call_id = sinks.id(value, self._envelope) if sinks.id else None
        model = sinks.model(value, self._envelope) if sinks.model else None
        if _says(call_id) or _says(model):
            yield Head(str(call_id) if _says(call_id) else None, str(model) if _says(model) else None)

    def _note_text(self, text: Json, sinks: Sinks, value: Json) -> None:
        if text is not None:
            self._resolved = True
        elif self._asked is None:
            self._asked = sinks
            self._keys = list(value) if isinstance(value, dict) else []

    def _say(self, text: Json, kind: Kind, sinks: Sinks) -> Iterator[Event]:
        if not _says(text):
            return
        if not isinstance(text, str):
            raise self._mismatch(f"a selector for text found {type(text).__name__}, not a string", sinks.where)
        state = self._choices[0]
        text = self._suffix(state, text, kind) if self.plan.cumulative else _joined(state, text, kind)
        if text:
            self._spoke = True
            if kind != "content":
                self._resolved = True
            yield Delta(text, kind)

    def _suffix(self, state: _Choice, text: str, kind: Kind) -> str:
        """What cumulative text adds. A last U+FFFD is half a character, not told before it is whole."""
        said = state.whole.get(kind, "")
        whole = text.rstrip("\ufffd")
        state.held.pop(kind, None)
        if said.startswith(whole):
            return ""
        if not whole.startswith(said):
            raise BackendError(
                "the backend changed text that was already passed on",
                code="upstream_mapping_mismatch",
                retry=False,
                detail=f"cumulative text does not begin with the {len(said)} characters that were passed on",
            )
        state.whole[kind] = whole
        if whole != text:
            state.held[kind] = "\ufffd"
        return whole[len(said) :]

    def _fragment(self, picks: ToolCallPicks, value: Json) -> Iterator[Event]:
        envelope = self._envelope
        index, call_id, name, arguments = (
            pick(value, envelope) if pick else None for pick in (picks.index, picks.id, picks.name, picks.arguments)
        )
        if _says(call_id) or _says(name) or arguments is not None:
            self._spoke = True
            yield from self._choices[0].tool_calls.fragment(
                index, call_id if _says(call_id) else None, name if _says(name) else None, arguments
            )

    def _calls(self, found: Json, sinks: Sinks) -> Iterable[dict[str, Json]]:
        if not _says(found):
            return []
        calls = found if isinstance(found, list) else [found]
        if not all(isinstance(call, dict) for call in calls):
            raise self._mismatch("`tool_calls` found something that is not an object", sinks.where)
        self._spoke = True
        return calls

    def _finish(self, value: Json) -> None:
        if not _says(value):
            return
        reason, known = self.plan.finish_reasons.resolve(value)
        if not known:
            self.unknown.add(str(value)[:80])
        if reason is not None:
            self._choices[0].finish = reason

    def _count(self, name: str, value: Json) -> None:
        try:
            number = int(float(value)) if isinstance(value, str) else int(value)
        except (TypeError, ValueError, OverflowError):
            return
        if number > 0 or name not in self._usage:
            self._usage[name] = max(0, number)

    def _check_error(self, error: Pick | ErrorSelectors, value: Json) -> None:
        envelope = self._envelope
        if isinstance(error, ErrorSelectors):
            parts = [pick(value, envelope) for pick in (error.message, error.type, error.code) if pick]
            if not any(map(_says, parts)):
                return
            message, kind, code = describe(value, envelope, error)
            raise self._failure(message, None, kind, code)
        found = error(value, envelope)
        if _says(found) and found != 0:
            raise _from_error_value(found, self._failure)

    def _failure(self, message: str, status: int | None, kind: str | None, code: str | None) -> BackendError:
        if status is not None:
            return from_status(status, message, type=kind, code=code, secrets=self.plan.secrets)
        told = redact(" ".join(message.split()), self.plan.secrets)[:MAX_MESSAGE]
        return BackendError(told or "the backend reported a failure", code=code, type=kind)

    def _check_resolved(self) -> None:
        state = self._choices[0]
        if self._resolved or state.tool_calls or state.finish in ("length", "content_filter", "tool_calls"):
            return
        if self._asked is not None:
            keys = ", ".join(self._keys[:20]) or "none"
            raise self._mismatch(
                "no text was found in the backend's answer", f"{self._asked.where}; keys that came: {keys}"
            )
        if self.plan.streamed and not self.done and state.finish is None:
            raise self._mismatch("nothing that the mapping describes came from the backend", "")

    def _mismatch(self, message: str, where: str) -> BackendError:
        told = f"{message} ({where.split(' at ')[0]})" if where else message
        return BackendError(told, code="upstream_mapping_mismatch", retry=False, detail=where)

    def _reason(self, state: _Choice) -> FinishReason:
        if state.finish in (None, "auto", "stop"):
            return "tool_calls" if state.tool_calls else "stop"
        return state.finish  # type: ignore[return-value]


def _from_error_value(
    found: Json, failure: Callable[[str, int | None, str | None, str | None], BackendError]
) -> BackendError:
    """An error value of unknown shape: a message, or an object with one and perhaps an HTTP status."""
    if not isinstance(found, dict):
        return failure(find_message(found), None, None, None)
    numbers = (found.get(key) for key in ("status", "status_code", "code", "httpCode", "http_code"))
    status = next((n for n in numbers if isinstance(n, int) and not isinstance(n, bool) and 400 <= n < 600), None)
    kind, code = (found[key] if isinstance(found.get(key), str) else None for key in ("type", "code"))
    return failure(find_message(found), status, kind, code)


def _says(value: Json) -> bool:
    """Whether a sink's value says anything: null, false and what is empty do not, a number does."""
    return bool(value) or (isinstance(value, int | float) and not isinstance(value, bool))


def _joined(state: _Choice, text: str, kind: Kind) -> str:
    """The text with a surrogate pair that was cut between two frames made whole again."""
    if held := state.held.pop(kind, ""):
        text = held + text
    if text and "\ud800" <= text[-1] <= "\udbff":
        state.held[kind] = text[-1]
        text = text[:-1]
    if held:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return text
