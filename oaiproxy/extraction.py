"""Frames to events: what the mapping's sinks find in each frame, accumulated, diffed and put in OpenAI's terms."""

from __future__ import annotations

from collections.abc import Callable

from oaiproxy import jsontext
from oaiproxy.choices import Choice
from oaiproxy.error_rules import failure, tells
from oaiproxy.errors import BackendError
from oaiproxy.events import Event, Fault, Head, Kind, Usage
from oaiproxy.failures import ErrorSelectors, tells_failure, told_by, told_by_frame
from oaiproxy.filters import kind as kind_of
from oaiproxy.framing import Frame
from oaiproxy.jsontext import Json
from oaiproxy.logprobs import read_annotations, read_logprobs
from oaiproxy.picks import Envelope, Pick
from oaiproxy.sinks import Plan, Sinks, ToolCallPicks
from oaiproxy.textfilters import NO_TERMS, Terms

MAX_COUNT = 2**53
"""Tokens: a larger count is none."""
MAX_CHOICES = 128
"""As many as a client can ask for."""
MAX_UNKNOWN = 20
MAX_NAME = 80
"""Unlisted events that are remembered, and characters of a name."""
_NOT_DONE = ("false", "0")
"""Texts that a `done` selector may find before the end."""


class Extraction:
    """One reply's reader. `done` turns true when the mapping's end was seen; frames after it are not read.

    A failure is the last event, a `Fault`; nothing is to be fed after it.
    """

    def __init__(self, plan: Plan, envelope: Envelope, new_id: Callable[[], str], terms: Terms = NO_TERMS) -> None:
        self.done = False
        self.spoke = False
        """Whether the backend said anything: text, or a tool call, be it not told yet."""
        self.unknown: set[str] = set()
        """Finish reasons that nobody knew, for the log."""
        self.unlisted: dict[str, int] = {}
        """How often events came that the mapping does not list, by name, for the log; the first of them only."""
        self.left_out: set[str] = set()
        """State too large for a client, by what it is of, for the log."""
        self.mended = 0
        """Payloads of text that were not UTF-8, for the log."""
        self.plan = plan
        self._envelope = envelope
        self._terms = terms
        self._new_id = new_id
        self._choices: dict[int, Choice] = {}
        self._first = None if plan.many else self._choice(0)
        self._usage: dict[str, int] = {}
        self._frames = 0
        self._listed = False
        self._heard = False

    @property
    def resolved(self) -> bool:
        """Whether the mapping found its text, be it empty."""
        return any(choice.resolved for choice in self._choices.values())

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
        except (RecursionError, jsontext.JsonError):
            events.append(Fault(_not_json("it is nested too deeply", "upstream_invalid_json", retry=False)))
        return events

    @property
    def ended(self) -> bool:
        """Whether nothing of the main reply is missing: its end came, or needs not come."""
        return self.done or not self.plan.must_finish

    @property
    def open_ended(self) -> bool:
        """Whether the answer ends with its body, of which the mapping tells no end, nor a finish reason did."""
        return self.plan.goes_on and all(choice.finish is None for choice in self._choices.values())

    def lacks(self, sinks: Sinks, *, usage: bool) -> bool:
        """Whether the answer lacks what these sinks could bring; `usage` tells that counts are wanted."""
        if sinks.text is not None and not self.spoke:
            return True
        choice = self._only()
        if sinks.finish_reason is not None and choice.finish is None and not choice.stopped:
            return True
        return usage and bool(sinks.usage) and len(self._usage.keys() & {"prompt", "completion", "total"}) < 2

    def also(self, plan: Plan, frame: Frame) -> list[Event]:
        """The events of a reply that completes the answer, read by a plan of its own: what was told stands."""
        main, done, first = self.plan, self.done, self._first
        self.plan, self.done, self._first = plan, False, (choice := self._only())
        reason = choice.finish
        try:
            return self.feed(frame)
        finally:
            self.plan, self.done, self._first = main, done, first
            choice.finish = reason or choice.finish

    def close(self) -> list[Event]:
        """The events that follow the last frame: a Fault when the answer is not complete."""
        try:
            self._check_complete()
        except BackendError as error:
            return [Fault(error)]
        events: list[Event] = []
        for _, choice in sorted(self._choices.items()):
            events += choice.close()
        if self._usage:
            events.append(self._counts())
        return events

    def counts(self) -> list[Event]:
        """The usage, if any was told: for answers that are no text."""
        return [self._counts()] if self._usage else []

    def _payload(self, frame: Frame) -> Json:
        if self.plan.data == "text":
            return self._text(frame.data)
        try:
            return jsontext.parse_lenient(frame.data)
        except jsontext.JsonError as error:
            if not frame.data.strip():
                return None
            raise _unreadable(frame.data, str(error)) from error

    def _text(self, data: bytes) -> str:
        """A payload of text, with U+FFFD for what is none."""
        try:
            return data.decode()
        except UnicodeDecodeError:
            self.mended += 1
            return data.decode("utf-8", "replace")

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
        if sinks.plain and self._first is not None:
            if not self._first.stopped:
                self._hear_text(self._first, sinks, value, events)
        elif sinks.choices is not None:
            for choice, item in self._items(sinks, value):
                self._hear(choice, sinks, item, events)
        elif sinks.personal:
            self._hear(self._first or self._choice(0), sinks, value, events)
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

    def _items(self, sinks: Sinks, value: Json) -> list[tuple[Choice, Json]]:
        """The items that tell of choices, each with its choice."""
        assert sinks.choices is not None
        found = sinks.choices(value, self._envelope)
        if not found:
            return []
        if not isinstance(found, list):
            raise _mismatch(f"a selector for choices found {kind_of(found)}, not a list")
        if len(found) > MAX_CHOICES:
            raise _mismatch(f"more than {MAX_CHOICES} choices came")
        return [(self._choice(self._number(sinks, item, place)), item) for place, item in enumerate(found)]

    def _number(self, sinks: Sinks, item: Json, place: int) -> int:
        """Which choice an item tells of: the one that it names, else the one at its place."""
        if sinks.choice_index is not None:
            index = sinks.choice_index(item, self._envelope)
        else:
            index = item.get("index") if isinstance(item, dict) else None
        if isinstance(index, str | float) and not isinstance(index, bool):
            index = _whole_number(index)
        if not isinstance(index, int) or isinstance(index, bool):
            return place
        if not 0 <= index < MAX_CHOICES:
            raise _mismatch(f"a choice has the number {index}")
        return index

    def _only(self) -> Choice:
        """The choice that a reply without numbers completes: where there are several, the first."""
        return self._choice(min(self._choices, default=0))

    def _choice(self, index: int) -> Choice:
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = Choice(index, self.plan, self._terms, self._new_id, self.left_out)
        return choice

    def _hear(self, choice: Choice, sinks: Sinks, value: Json, events: list[Event]) -> None:
        """Take what a frame, or an item in it, says of a choice."""
        envelope = self._envelope
        if choice.stopped:
            return
        fallback = sinks.fallback
        new = not fallback or not choice.spoke
        if sinks.reasoning is not None and new and not (fallback and choice.thought):
            self._say(choice, sinks.reasoning(value, envelope), "reasoning_content", sinks, events)
        if sinks.text is not None and new:
            self._hear_text(choice, sinks, value, events)
        if sinks.refusal is not None and new:
            self._say(choice, sinks.refusal(value, envelope), "refusal", sinks, events)
        if sinks.state is not None and new and (state := sinks.state(value, envelope)):
            choice.keep(state)
        if choice.stopped:
            return  # at its stop string a model ends: it calls no tools after that
        if sinks.tool_calls is not None and new:
            self._whole_calls(choice, sinks.tool_calls(value, envelope), events)
        if sinks.tool_call is not None and new:
            for piece in self._pieces(sinks.tool_call, value):
                self._fragment(choice, sinks.tool_call, piece, events)
        if sinks.finish_reason is not None:
            self._finish(choice, sinks.finish_reason(value, envelope))
        if sinks.logprobs is not None and new and (found := sinks.logprobs(value, envelope)):
            events.append(read_logprobs(found, choice.index))
        if sinks.annotations is not None and new and (found := sinks.annotations(value, envelope)):
            events.append(read_annotations(found, choice.index))

    def _hear_text(self, choice: Choice, sinks: Sinks, value: Json, events: list[Event]) -> None:
        assert sinks.text is not None
        text = sinks.text(value, self._envelope)
        if text and type(text) is str:
            choice.resolved = True
            if choice.say(text, "content", events):
                self.spoke = True
            if choice.stopped:
                self._stop()
        else:
            self._note_text(choice, text, sinks, value)
            self._say(choice, text, "content", sinks, events)

    def _stop(self) -> None:
        """The end of what is read, when every choice that was asked for is cut."""
        wanted = self._terms.choices if self.plan.many else 1
        if sum(choice.stopped for choice in self._choices.values()) >= wanted:
            self.done = True

    def _note_text(self, choice: Choice, text: Json, sinks: Sinks, value: Json) -> None:
        """Remember whether text was found at all: `false` is a frame that is not about text, null a selector's miss."""
        if text is None or (text is False and not self.plan.streamed):
            if choice.asked is None:
                keys = ", ".join(list(value)[:20]) if isinstance(value, dict) else kind_of(value)
                choice.asked = sinks, keys
        elif text is not False:
            choice.resolved = True

    def _say(self, choice: Choice, text: Json, kind: Kind, sinks: Sinks, events: list[Event]) -> None:
        if not text and not _is_number(text):
            return
        if not isinstance(text, str):
            where = sinks.where if kind == "content" else ""
            raise _mismatch(f"a selector for text found {kind_of(text)}, not a string", where, sinks.place)
        if choice.say(text, kind, events):
            self.spoke = True

    def _pieces(self, picks: ToolCallPicks, value: Json) -> list[Json]:
        """What a frame, or an item in it, holds of tool calls: itself, or the items that it lists."""
        if picks.each is None:
            return [value]
        found = picks.each(value, self._envelope)
        if found is not None and not isinstance(found, list):
            raise _mismatch(f"a selector for pieces of tool calls found {kind_of(found)}, not a list")
        return found or []

    def _fragment(self, choice: Choice, picks: ToolCallPicks, value: Json, events: list[Event]) -> None:
        envelope = self._envelope
        index, call_id, name, arguments, pieces, state = (
            pick(value, envelope) if pick else None
            for pick in (picks.index, picks.id, picks.name, picks.arguments, picks.arguments_at, picks.state)
        )
        if call_id or name or arguments or pieces or (state and choice.tool_calls):
            self.spoke = choice.spoke = True
            events += choice.tool_calls.fragment(
                index, call_id or None, name or None, arguments, state or None, pieces or None
            )

    def _whole_calls(self, choice: Choice, found: Json, events: list[Event]) -> None:
        if not found:
            return
        self.spoke = choice.spoke = True
        for call in found if isinstance(found, list) else [found]:
            if not isinstance(call, dict):
                raise _mismatch(f"a selector for tool calls found {kind_of(call)}, not an object")
            told = choice.tool_calls.whole(call)
            if not told and choice.tool_calls.nameless:
                raise _mismatch("a tool call has no name")
            events += told

    def _finish(self, choice: Choice, value: Json) -> None:
        if not value and not _is_number(value):
            return
        reason, known = self.plan.finish_reasons.resolve(value)
        if not known:
            self.unknown.add(str(value)[:80])
        choice.unfinished = reason is None
        if reason is not None:
            choice.finish = reason

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
        envelope, plan = self._envelope, self.plan
        if not isinstance(error, ErrorSelectors):
            found = error(value, envelope)
            if found:
                raise failure(plan.errors, value, envelope, plan.secrets, found=told_by(found))
        elif tells(error, value, envelope):
            raise failure(plan.errors, value, envelope, plan.secrets, sink=error)

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
                found = told_by_frame(frame, body)
                raise failure(self.plan.errors, body, self._envelope, self.plan.secrets, found=found)

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
        plan = self.plan
        if not self._frames and not self.done:
            raise BackendError("the backend's answer is empty", code="upstream_empty_response")
        if not self._choices:
            self._choice(0)
        choices = self._choices.values()
        filtered = any(choice.finish == "content_filter" for choice in choices)
        lost = bool(self.unlisted) and not self._heard and not filtered
        missing = plan.must_finish or (plan.goes_on and any(choice.unfinished for choice in choices))
        if missing and not self.done and (self._listed or not lost):
            raise BackendError("the backend's stream ended before it was complete", code="upstream_incomplete")
        if any(choice.tool_calls.nameless for choice in choices):
            raise _mismatch("a tool call has no name")
        if lost:
            raise _mismatch("of the events that came, the mapping lists none with text", self._names())
        for choice in choices:
            self._check_said(choice)

    def _check_said(self, choice: Choice) -> None:
        if choice.resolved or choice.tool_calls or choice.finish in ("length", "content_filter", "tool_calls"):
            return
        if choice.asked is not None:
            sinks, keys = choice.asked
            place = f"{sinks.place}; keys that came: {keys or 'none'}"
            raise _mismatch("no text was found in the backend's answer", sinks.where, place)
        if not self.done and choice.finish is None:
            raise _mismatch("nothing that the mapping describes came from the backend")


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


def _whole_number(value: str | float) -> int | None:
    try:
        return int(value)
    except (ValueError, OverflowError):
        return None


def _is_number(value: Json) -> bool:
    """Numbers say something, 0 too; what else is empty says nothing, and `false` neither."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _word(value: Json) -> str | None:
    """An id or a name; None for what is none."""
    if isinstance(value, str):
        return value[:200] or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and 0 < value < MAX_COUNT else None
