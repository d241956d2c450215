"""Frames to events: what the mapping's sinks find in each frame, accumulated, diffed and put in OpenAI's terms."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from oaiproxy import jsontext
from oaiproxy.errors import BackendError
from oaiproxy.events import Delta, Event, Fault, Finish, FinishReason, Head, Kind, Usage
from oaiproxy.failures import ErrorSelectors, describe, from_frame, from_value, from_words, tells_failure
from oaiproxy.filters import kind as kind_of
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

MAX_COUNT = 2**53
"""Tokens: a larger count is none."""
MAX_UNKNOWN = 20
MAX_NAME = 80
"""Unlisted events that are remembered, and characters of a name."""
_NOT_DONE = ("false", "0")
"""Texts that a `done` selector may find before the end."""


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
    """The text selector, for the client."""
    place: str = ""
    """Its file and line in the mapping, for the log."""
    listed: bool = True
    """Whether the mapping names this kind of event; what it does not name is counted."""
    catches: bool = False
    """Whether a frame that calls itself an error is one: the mapping says nothing else about it."""

    @property
    def speaks(self) -> bool:
        """Whether an answer can come from here."""
        return any((self.text, self.reasoning, self.refusal, self.tool_calls, self.tool_call))


@dataclass(frozen=True, slots=True)
class Plan:
    """How to read one kind of reply."""

    choose: Callable[[Json, Envelope], Sequence[Sinks]]
    streamed: bool
    name: Callable[[Json, Envelope], Json] | None = None
    """What a frame that no rule lists is called."""
    data: Literal["json", "text"] = "json"
    end: bytes | None = None
    cumulative: bool = False
    must_finish: bool = False
    finish_reasons: FinishReasons = field(default_factory=FinishReasons)
    secrets: Collection[str] = field(default=frozenset(), repr=False)


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
    """One reply's reader. `done` turns true when the mapping's end was seen; frames after it are not read.

    A failure is the last event, a `Fault`; nothing is to be fed after it.
    """

    def __init__(self, plan: Plan, envelope: Envelope, new_id: Callable[[], str]) -> None:
        self.done = False
        self.resolved = False
        """Whether the mapping found its text, be it empty."""
        self.spoke = False
        """Whether the backend said anything: text, or a tool call, be it not told yet."""
        self.unknown: set[str] = set()
        """Finish reasons that nobody knew, for the log."""
        self.unlisted: dict[str, int] = {}
        """How often events came that the mapping does not list, by name, for the log; the first of them only."""
        self.plan = plan
        self._envelope = envelope
        self._choices = {0: _Choice(ToolCalls(0, new_id))}
        self._usage: dict[str, int] = {}
        self._frames = 0
        self._asked: Sinks | None = None
        self._listed = False
        self._heard = False
        self._keys = ""

    def feed(self, frame: Frame) -> list[Event]:
        """The events of one frame: a Fault for what the mapping does not describe, or for a failure that is told."""
        if self.done:
            return []
        plan, envelope = self.plan, self._envelope
        if plan.end is not None and frame.data.strip() == plan.end:
            self.done = True
            return []
        self._frames += 1
        envelope.frame = frame
        events: list[Event] = []
        try:
            if tells_failure(frame):
                self._check_frame(frame)
            value = self._payload(frame)
            for sinks in plan.choose(value, envelope):
                self._apply(sinks, value, events)
        except BackendError as error:
            events.append(Fault(error))
        except RecursionError:
            events.append(Fault(_not_json("it is nested too deeply", "upstream_invalid_json", retry=False)))
        return events

    def close(self) -> list[Event]:
        """The events that follow the last frame: a Fault when the answer is not complete."""
        try:
            self._check_complete()
        except BackendError as error:
            return [Fault(error)]
        events: list[Event] = []
        for choice, state in self._choices.items():
            events += [Delta("\ufffd" * len(held), kind, choice) for kind, held in state.held.items() if held]
            events += state.tool_calls.close()
            events.append(Finish(self._reason(state), choice))
        if self._usage:
            events.append(self._counts())
        return events

    def _payload(self, frame: Frame) -> Json:
        if self.plan.data == "text":
            return frame.data.decode("utf-8", "replace")
        try:
            return jsontext.parse_lenient(frame.data)
        except jsontext.JsonError as error:
            if not frame.data.strip():
                return None
            raise _unreadable(frame.data, str(error)) from error

    def _apply(self, sinks: Sinks, value: Json, events: list[Event]) -> None:
        envelope = self._envelope
        if sinks.error is not None:
            self._check_error(sinks.error, value)
        if not sinks.listed:
            self._note_unlisted(value)
        elif not self._heard:
            self._listed, self._heard = True, sinks.speaks
        if (sinks.id is not None or sinks.model is not None) and not self.spoke:
            self._head(sinks, value, events)
        if sinks.reasoning is not None:
            self._say(sinks.reasoning(value, envelope), "reasoning_content", sinks, events)
        if sinks.text is not None:
            text = sinks.text(value, envelope)
            self._note_text(text, sinks, value)
            self._say(text, "content", sinks, events)
        if sinks.refusal is not None:
            self._say(sinks.refusal(value, envelope), "refusal", sinks, events)
        if sinks.tool_calls is not None:
            self._whole_calls(sinks.tool_calls(value, envelope), events)
        if sinks.tool_call is not None:
            self._fragment(sinks.tool_call, value, events)
        if sinks.finish_reason is not None:
            self._finish(sinks.finish_reason(value, envelope))
        for name, pick in sinks.usage:
            self._count(name, pick(value, envelope))
        if sinks.done is not None and _is_done(sinks.done(value, envelope)):
            self.done = True

    def _head(self, sinks: Sinks, value: Json, events: list[Event]) -> None:
        answer_id, model = (
            _word(pick(value, self._envelope)) if pick is not None else None for pick in (sinks.id, sinks.model)
        )
        if answer_id or model:
            events.append(Head(answer_id, model))

    def _note_text(self, text: Json, sinks: Sinks, value: Json) -> None:
        """Remember whether text was found at all: `false` is a frame that is not about text, null a selector's miss."""
        if text is None or (text is False and not self.plan.streamed):
            if self._asked is None:
                self._asked = sinks
                self._keys = ", ".join(list(value)[:20]) if isinstance(value, dict) else kind_of(value)
        elif text is not False:
            self.resolved = True

    def _say(self, text: Json, kind: Kind, sinks: Sinks, events: list[Event]) -> None:
        if not text and not _is_number(text):
            return
        if not isinstance(text, str):
            where = sinks.where if kind == "content" else ""
            raise _mismatch(f"a selector for text found {kind_of(text)}, not a string", where, sinks.place)
        state = self._choices[0]
        cumulative = self.plan.cumulative and kind == "content"
        text = _suffix(state, text, kind) if cumulative else _joined(state, text, kind)
        if text:
            self.spoke = True
            if kind != "content":
                self.resolved = True
            events.append(Delta(text, kind))

    def _fragment(self, picks: ToolCallPicks, value: Json, events: list[Event]) -> None:
        envelope = self._envelope
        index, call_id, name, arguments = (
            pick(value, envelope) if pick else None for pick in (picks.index, picks.id, picks.name, picks.arguments)
        )
        if call_id or name or arguments:
            self.spoke = True
            events += self._choices[0].tool_calls.fragment(index, call_id or None, name or None, arguments)

    def _whole_calls(self, found: Json, events: list[Event]) -> None:
        if not found:
            return
        self.spoke = True
        for call in found if isinstance(found, list) else [found]:
            if not isinstance(call, dict):
                raise _mismatch(f"a selector for tool calls found {kind_of(call)}, not an object")
            told = self._choices[0].tool_calls.whole(call)
            if not told:
                raise _mismatch("a tool call has no name")
            events += told

    def _finish(self, value: Json) -> None:
        if not value and not _is_number(value):
            return
        reason, known = self.plan.finish_reasons.resolve(value)
        if not known:
            self.unknown.add(str(value)[:80])
        if reason is not None:
            self._choices[0].finish = reason

    def _count(self, name: str, value: Json) -> None:
        """The last count that is not 0 stands; 0 only if there was nothing better."""
        if value is None or isinstance(value, bool):
            return
        try:
            number = int(float(value)) if isinstance(value, str) else int(value)
        except (TypeError, ValueError, OverflowError):
            return
        if 0 < number < MAX_COUNT or (number == 0 and name not in self._usage):
            self._usage[name] = number

    def _counts(self) -> Usage:
        """The usage; of a total and one part, the other part is the difference."""
        counts = self._usage
        for part, other in (("prompt", "completion"), ("completion", "prompt")):
            if part not in counts and counts.keys() >= {"total", other} and counts["total"] >= counts[other]:
                counts[part] = counts["total"] - counts[other]
        return Usage(**counts)

    def _check_error(self, error: Pick | ErrorSelectors, value: Json) -> None:
        envelope = self._envelope
        if not isinstance(error, ErrorSelectors):
            found = error(value, envelope)
            if found:
                raise from_value(found, self.plan.secrets)
        elif any(pick(value, envelope) for pick in (error.message, error.type, error.code) if pick):
            raise from_words(*describe(value, envelope, error), self.plan.secrets)

    def _check_frame(self, frame: Frame) -> None:
        """A frame whose own name or headers say that it tells of a failure, unless the mapping says what it is."""
        value: Json = frame.data.decode("utf-8", "replace")
        readable = self.plan.data == "text"
        try:
            body = jsontext.parse_lenient(frame.data) if frame.data.strip() else None
            value, readable = (value if readable else body), True
        except jsontext.JsonError:
            body = value
        for sinks in self.plan.choose(value if readable else None, self._envelope):
            if sinks.catches:
                if sinks.error is not None and readable:
                    self._check_error(sinks.error, value)
                raise from_frame(frame, body, self.plan.secrets)

    def _note_unlisted(self, value: Json) -> None:
        name = self.plan.name(value, self._envelope) if self.plan.name else self._envelope.event
        if value is None and not name:
            return
        known = str(name)[:MAX_NAME] if name else "(no name)"
        if known in self.unlisted or len(self.unlisted) < MAX_UNKNOWN:
            self.unlisted[known] = self.unlisted.get(known, 0) + 1

    def _names(self) -> str:
        names = [f"'{name}'" for name in list(self.unlisted)[:5]]
        return ", ".join(names + ["..."] * (len(self.unlisted) > 5))

    def _check_complete(self) -> None:
        plan, state = self.plan, self._choices[0]
        if not self._frames and not self.done:
            raise BackendError("the backend's answer is empty", code="upstream_empty_response")
        lost = bool(self.unlisted) and not self._heard and state.finish != "content_filter"
        if plan.must_finish and not self.done and (self._listed or not lost):
            raise BackendError("the backend's stream ended before it was complete", code="upstream_incomplete")
        if state.tool_calls.nameless:
            raise _mismatch("a tool call has no name")
        if lost:
            raise _mismatch("of the events that came, the mapping lists none with text", self._names())
        if self.resolved or state.tool_calls or state.finish in ("length", "content_filter", "tool_calls"):
            return
        if self._asked is not None:
            where, place = self._asked.where, f"{self._asked.place}; keys that came: {self._keys or 'none'}"
            raise _mismatch("no text was found in the backend's answer", where, place)
        if not self.done and state.finish is None and self._asked is None:
            raise _mismatch("nothing that the mapping describes came from the backend")

    def _reason(self, state: _Choice) -> FinishReason:
        if state.finish in (None, "auto", "stop"):
            return "tool_calls" if state.tool_calls else "stop"
        return state.finish  # type: ignore[return-value]


def _is_done(value: Json) -> bool:
    """Whether a `done` selector found the end. Its word may come as text, such as the value of a form."""
    return bool(value) and not (isinstance(value, str) and value.strip().lower() in _NOT_DONE)


def _mismatch(message: str, where: str = "", place: str = "") -> BackendError:
    told = f"{message} ({where})" if where else message
    detail = " at ".join(part for part in (where, place) if part)
    return BackendError(told, code="upstream_mapping_mismatch", retry=False, detail=detail)


def _unreadable(data: bytes, why: str) -> BackendError:
    """The error for a payload that is not JSON; one that is cut short may come whole the next time."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return _not_json("it is not valid UTF-8", "upstream_invalid_utf8", retry=False)
    return _not_json(why, "upstream_invalid_json", retry=None if "truncated" in why else False)


def _not_json(why: str, code: str, retry: bool | None) -> BackendError:
    return BackendError(f"the backend's answer is not JSON that can be read: {why}", code=code, retry=retry)


def _is_number(value: Json) -> bool:
    """Numbers say something, 0 too; what else is empty says nothing, and `false` neither."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _word(value: Json) -> str | None:
    """An id or a name; None for what is none."""
    if isinstance(value, str):
        return value[:200] or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and 0 < value < MAX_COUNT else None


def _suffix(state: _Choice, text: str, kind: Kind) -> str:
    """What cumulative text adds. Half a character at its end (U+FFFD or a lone surrogate) is told when it is whole."""
    said = state.whole.get(kind, "")
    whole = text.rstrip(_HALVES)
    state.held[kind] = text[len(whole) :] if len(whole) >= len(said) else ""
    if said.startswith(whole) and not said[len(whole) :].strip():
        return ""  # nothing new, or white space at the end that the backend trims
    if not whole.startswith(said):
        raise BackendError(
            "the backend changed text that was already passed on",
            code="upstream_mapping_mismatch",
            retry=False,
            detail=f"cumulative text does not begin with the {len(said)} characters that were passed on",
        )
    state.whole[kind] = whole
    return whole[len(said) :]


_HALVES = "\ufffd" + "".join(map(chr, range(0xD800, 0xDC00)))


def _joined(state: _Choice, text: str, kind: Kind) -> str:
    """The text with a surrogate pair that was cut between two frames made whole again."""
    held = state.held.pop(kind, "") if state.held else ""
    if held:
        text = held + text
    if "\ud800" <= text[-1] <= "\udbff":
        state.held[kind] = text[-1]
        text = text[:-1]
    if held:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return text
