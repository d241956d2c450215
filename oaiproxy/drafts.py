"""Answers that are looked at before they go out: what does not fit the client's wish is asked for once more.

draft = draft_of(exchange)            # None where the answer goes out as it comes
... draft.exchange is asked, and its reply read as any other ...
while draft.again(): ...              # then draft.exchange is another one
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from oaiproxy.canonical import Call, Identity, without
from oaiproxy.endpoints.encoding import Encoder
from oaiproxy.errors import BackendError
from oaiproxy.events import Audio, Delta, Event, Fault, Finish, Head, Logprobs, Result, ToolCallDelta, Usage
from oaiproxy.exchange import Exchange
from oaiproxy.fan import exchanges
from oaiproxy.instructions import corrected, instructed
from oaiproxy.structured import Format, Misfit, wanted

TRIES = 2
INVALID = "upstream_invalid_structured_output"
"""The code of the error when no try fits."""


class Draft:
    """An answer that may take several tries: `exchange` is the current one, with the instruction in its messages."""

    def __init__(self, exchange: Exchange, form: Format) -> None:
        self._form = form
        self._first = exchange
        self._tries = 1
        self._encoder = _Trial(exchange.encoder, form, (), last=False)
        call = without(exchange.call, ("response_format",))
        self.exchange = self._try(instructed(call, exchange.reads, form.instruction))

    def again(self) -> bool:
        """Whether another try is needed, which `exchange` then is; when the answer fits, it went out."""
        found = self._encoder.misfit
        if found is None:
            return False
        self._tries += 1
        self._encoder = _Trial(self._first.encoder, self._form, self._encoder.usages, last=self._tries >= TRIES)
        call = self.exchange.call
        self.exchange = self._try(corrected(call, self._first.reads, found.text, found.complaint))
        return True

    def _try(self, call: Call) -> Exchange:
        return self._first.part(call, self._encoder, _identity(self._first.identity, self._tries))


def draft_of(exchange: Exchange) -> Draft | None:
    """The draft of an exchange, or of a part of one; None where its answer needs none. Raises ClientError."""
    call = exchange.call
    if call.endpoint != "chat" or "response_format" not in exchange.mapping.emulates:
        return None
    form = wanted(call.fields.get("response_format"))
    return None if form is None else Draft(exchange, form)


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
    """Holds one answer until it is complete, and lets it out if it fits."""

    def __init__(self, outer: Encoder, form: Format, usages: Sequence[Usage | None], *, last: bool) -> None:
        self.content_type = outer.content_type
        self.streams = outer.streams
        self.wants_usage = outer.wants_usage
        self.misfit: _Found | None = None
        self.usages: list[Usage | None] = list(usages)
        self._outer = outer
        self._form = form
        self._last = last
        self._held: list[Event] = []
        self._choices: dict[int, _Choice] = {}

    def feed(self, event: Event) -> bytes:
        """Nothing yet. Raises BackendError when the last try does not fit."""
        if isinstance(event, Head | Usage | Fault | Result | Audio):
            self._held.append(event)
            return b""
        choice = self._choices.setdefault(event.choice, _Choice(self._form))
        try:
            self._held += choice.feed(event)
        except Misfit as misfit:
            if self._last:
                message = "the model's answer is not the JSON that was asked for, also when it was asked again"
                raise BackendError(message, code=INVALID, detail=misfit.reason, retry=False) from misfit
            self.misfit = self.misfit or _Found(choice.text, misfit.complaint)
        return b""

    def close(self, usage: Usage | None) -> bytes:
        """All bytes of an answer that fits, none of another."""
        self.usages.append(usage)
        if self.misfit is not None:
            return b""
        out = b"".join(map(self._outer.feed, self._held))
        return out + self._outer.close(_total(self.usages))


@dataclass(slots=True)
class _Choice:
    """One choice of an answer, read to its end."""

    form: Format
    said: list[str] = field(default_factory=list)
    logprobs: list[Event] = field(default_factory=list)
    free: bool = False
    """Whether it refuses or calls tools, and need not fit."""

    @property
    def text(self) -> str:
        """What it says."""
        return "".join(self.said)

    def feed(self, event: Event) -> list[Event]:
        """What goes out if the answer does. Raises Misfit at the end of one that does not fit."""
        match event:
            case Delta(text=text, kind="content"):
                self.said.append(text)
                return []
            case Logprobs():
                self.logprobs.append(event)
                return []
            case Delta(kind="refusal") | ToolCallDelta():
                self.free = True
            case Finish(reason=reason, choice=choice):
                text = self.text
                found = text if self.free or reason != "stop" else self.form.read(text)
                told: list[Event] = [Delta(found, choice=choice)] if found else []
                return [*told, *(self.logprobs if found == text else ()), event]
        return [event]


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
