"""Answers that are looked at before they go out: what does not fit the client's wish is asked for once more.

draft = draft_of(exchange)            # None where the answer goes out as it comes
... draft.exchange is asked, and its reply read as any other ...
while draft.again(): ...              # then draft.exchange is another one
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import count

from oaiproxy.canonical import Call, Identity, without
from oaiproxy.endpoints.encoding import Encoder
from oaiproxy.errors import BackendError
from oaiproxy.events import (
    Audio,
    Delta,
    Event,
    Fault,
    Finish,
    FinishReason,
    Head,
    Logprobs,
    Result,
    ToolCallDelta,
    Usage,
)
from oaiproxy.exchange import Exchange
from oaiproxy.fan import exchanges
from oaiproxy.instructions import corrected, instructed
from oaiproxy.policy import PARTNERS
from oaiproxy.structured import Format, Misfit, wanted
from oaiproxy.tool_prompts import CallReader, Tools, offered

TRIES = 2
INVALID = "upstream_invalid_structured_output"
"""The code of the error when no try fits."""
_BESIDE_TOOLS = "When you call no function: "


@dataclass(frozen=True, slots=True)
class _Wish:
    """What the answer must be, and what it may do."""

    form: Format | None
    tools: Tools | None

    @property
    def holds(self) -> bool:
        """Whether nothing may go out before all of it was seen."""
        return self.form is not None or (self.tools is not None and self.tools.forced)

    @property
    def instruction(self) -> str:
        """What the model is told."""
        told = [] if self.tools is None else [self.tools.instruction]
        if self.form is not None and not (self.tools is not None and self.tools.forced):
            told.append(_BESIDE_TOOLS * bool(told) + self.form.instruction)
        return "\n\n".join(told)


class Draft:
    """An answer that may take several tries: `exchange` is the current one, with the instruction in its messages."""

    def __init__(self, exchange: Exchange, wish: _Wish, fields: Collection[str]) -> None:
        self._wish = wish
        self._first = exchange
        self._tries = 1
        self._encoder = self._trial(())
        call = without(exchange.call, fields)
        told = wish.instruction
        self.exchange = self._try(instructed(call, exchange.reads, told) if told else call)

    @property
    def checks(self) -> bool:
        """Whether the answer is checked against a schema of the client's: its steps are bounded, but may take long."""
        return self._wish.form is not None

    def again(self) -> bool:
        """Whether another try is needed, which `exchange` then is; when the answer fits, it went out."""
        found = self._encoder.misfit
        if found is None:
            return False
        self._tries += 1
        self._encoder = self._trial(self._encoder.usages)
        call = self.exchange.call
        self.exchange = self._try(corrected(call, self._first.reads, found.text, found.complaint))
        return True

    def _trial(self, usages: Sequence[Usage | None]) -> _Trial:
        token = self._first.identity.token
        return _Trial(self._first.encoder, self._wish, usages, token, last=self._tries >= TRIES)

    def _try(self, call: Call) -> Exchange:
        return self._first.part(call, self._encoder, _identity(self._first.identity, self._tries))


def draft_of(exchange: Exchange) -> Draft | None:
    """The draft of an exchange, or of a part of one; None where its answer needs none. Raises ClientError."""
    call, emulates = exchange.call, exchange.mapping.emulates
    if call.endpoint != "chat":
        return None
    form = wanted(call.fields.get("response_format")) if "response_format" in emulates else None
    fields = ["response_format"] if form is not None else []
    tools = None
    if "tools" in emulates and "tools" in call.fields:
        tools = offered(call)
        fields += ["tools", *PARTNERS["tools"]]
    return Draft(exchange, _Wish(form, tools), fields) if fields else None


def first_drafts(exchange: Exchange) -> list[Exchange]:
    """The parts of an exchange, or itself alone, as they are asked the first time."""
    drafts = ((part, draft_of(part)) for part in exchanges(exchange))
    return [part if draft is None else draft.exchange for part, draft in drafts]


@dataclass(frozen=True, slots=True)
class _Found:
    """What did not fit: the text, and what the model is told about it."""

    text: str
    complaint: str


class _Trial(Encoder):
    """Reads one answer, and lets it out if it fits: as it comes, or when it is complete."""

    def __init__(self, outer: Encoder, wish: _Wish, usages: Sequence[Usage | None], token: str, *, last: bool) -> None:
        self.content_type = outer.content_type
        self.streams = outer.streams
        self.wants_usage = outer.wants_usage
        self.misfit: _Found | None = None
        self.usages: list[Usage | None] = list(usages)
        self._outer = outer
        self._wish = wish
        self._last = last
        self._held: list[Event] = []
        self._choices: dict[int, _Choice] = {}
        numbers = count(1)
        self._new_id = lambda: f"call_{token}{next(numbers):02d}"

    def feed(self, event: Event) -> bytes:
        """The bytes of what may go out now. Raises BackendError when the last try does not fit."""
        if isinstance(event, Head | Usage | Fault | Result | Audio):
            return self._out([event])
        choice = self._choices.get(event.choice)
        if choice is None:
            choice = self._choices[event.choice] = _Choice(self._wish, event.choice, self._new_id)
        try:
            return self._out(choice.feed(event))
        except Misfit as misfit:
            if self._last:
                message = "the model's answer is not what was asked for, also when it was asked again"
                raise BackendError(message, code=INVALID, detail=misfit.reason, retry=False) from misfit
            self.misfit = self.misfit or _Found(choice.text, misfit.complaint)
        return b""

    def close(self, usage: Usage | None) -> bytes:
        """The last bytes of an answer that fits, none of another."""
        self.usages.append(usage)
        if self.misfit is not None:
            return b""
        out = b"".join(map(self._outer.feed, self._held))
        return out + self._outer.close(_total(self.usages))

    def _out(self, events: Sequence[Event]) -> bytes:
        if not self._wish.holds:
            return b"".join(map(self._outer.feed, events))
        self._held += events
        return b""


class _Choice:
    """One choice of an answer, read to its end."""

    def __init__(self, wish: _Wish, number: int, new_id: Callable[[], str]) -> None:
        self._wish = wish
        self._number = number
        self._new_id = new_id
        self._whole: list[str] = []
        self._said: list[str] = []
        self._made: list[Event] = []
        self._logprobs: list[Event] = []
        self._calls = 0
        self._free = False
        """Whether it refuses or calls tools, and need not fit."""
        self._reader = None if wish.tools is None else CallReader(wish.tools, self._say, self._call)

    @property
    def text(self) -> str:
        """What the model wrote."""
        return "".join(self._whole)

    def feed(self, event: Event) -> list[Event]:
        """What goes out if the answer does. Raises Misfit at the end of one that does not fit."""
        match event:
            case Delta(text=text, kind="content"):
                self._whole.append(text)
                if self._reader is not None:
                    self._reader.feed(text)
                else:
                    self._say(text)
                return [] if self._wish.holds else self._taken()
            case Logprobs():
                self._logprobs.append(event)
                return []
            case Delta(kind="refusal"):
                self._free = True
            case ToolCallDelta(index=index):
                self._free, self._calls = True, max(self._calls, index + 1)
            case Finish(reason=reason, stop=stop):
                return self._end(reason, stop)
        return [event]

    def _end(self, reason: FinishReason, stop: str | None) -> list[Event]:
        if self._reader is not None:
            self._reader.close()
        text, form, tools = "".join(self._said), self._wish.form, self._wish.tools
        if reason == "stop" and not (self._free or self._calls):
            if tools is not None and tools.forced:
                self._make_bare(tools, text)
                text = ""
            elif form is not None:
                text = form.read(text)
        if self._calls and reason == "stop":
            reason, stop = "tool_calls", None
        told: list[Event] = [Delta(text, choice=self._number)] if text and self._wish.holds else []
        out = [*told, *self._taken()]
        shown = text if self._wish.holds else "".join(self._said)
        return [*out, *(self._logprobs if shown == self.text else ()), Finish(reason, self._number, stop)]

    def _make_bare(self, tools: Tools, text: str) -> None:
        """Take an answer that is a call without its marks, where there must be one. Raises Misfit."""
        calls = tools.read(text)
        if calls is None:
            raise Misfit("the answer calls no tool, though it must", tools.complaint)
        for name, arguments in calls if tools.parallel else calls[:1]:
            self._call(name, arguments)

    def _say(self, text: str) -> None:
        self._said.append(text)
        if not self._wish.holds:
            self._made.append(Delta(text, choice=self._number))

    def _call(self, name: str, arguments: str) -> None:
        self._made.append(ToolCallDelta(self._calls, self._new_id(), name, "", self._number))
        self._made.append(ToolCallDelta(self._calls, None, None, arguments, self._number))
        self._calls += 1

    def _taken(self) -> list[Event]:
        """What was made since."""
        made, self._made = self._made, []
        return made


def _total(usages: Sequence[Usage | None]) -> Usage | None:
    """The sum of all tries: each was paid for."""
    given = [usage for usage in usages if usage is not None]
    if len(given) < 2:
        return given[0] if given else None
    sums = {name: [getattr(usage, name) for usage in given] for name in Usage.__struct_fields__}
    known = {name: [count for count in counts if count is not None] for name, counts in sums.items()}
    made = {name: sum(counts) for name, counts in known.items() if counts}
    if len(known["total"]) < len(given):
        made.pop("total", None)
    return Usage(**made)


def _identity(identity: Identity, number: int) -> Identity:
    """That of a try: chance of its own, so that no backend takes it for the same request."""
    if number == 1:
        return identity
    place = len(identity.uuid) - 4
    digit = format(int(identity.uuid[place], 16) ^ 8, "x")
    uuid = identity.uuid[:place] + digit + identity.uuid[place + 1 :]
    return replace(identity, token=f"{identity.token[:-4]}r{identity.token[-3:]}", uuid=uuid)
