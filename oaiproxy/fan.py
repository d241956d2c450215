"""One client request as several to the backend, and their answers as one: a call for each input, prompt or choice.

fan = split(exchange)               # None where one request is all there is
for part in fan.parts: ...          # exchanges, whose replies are read as any other; their encoders lead to one answer
fan.take()                          # the bytes that they made, in the order in which they did
fan.finish()                        # the last bytes, when all parts are closed
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import msgspec

from oaiproxy.canonical import Call, Identity, without
from oaiproxy.endpoints.encoding import Encoder
from oaiproxy.errors import BackendError
from oaiproxy.events import Audio, Event, Fault, Head, Result, Usage
from oaiproxy.exchange import Exchange
from oaiproxy.jsontext import Json
from oaiproxy.promptlists import check_count, of_prompt

AT_ONCE = 8
"""Parts that are under way at the same time."""
NO_LOCK = nullcontext()
"""Where one thread reads all parts."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one part is asked: `width` choices, the first of them of the number `choice` in the answer."""

    call: Call
    choice: int = 0
    width: int = 1
    counts_prompt: bool = True
    """Whether its prompt is another one than that of the part before."""


class Fan:
    """The parts of an exchange: choices of its answer, or `results`, which are joined.

    What they make is kept here in the order in which it was made, for a choice is only opened once, and after those
    before it. `lock` is held meanwhile: by it, parts may be read in several threads.
    """

    def __init__(
        self, exchange: Exchange, shares: Sequence[Share], lock: AbstractContextManager[object], *, results: bool
    ) -> None:
        self._of_results = results
        self._shares = shares
        self.encoder: Encoder = exchange.encoder
        self.parts = [
            exchange.part(share.call, self._part_encoder(number), _identity(exchange.identity, number))
            for number, share in enumerate(shares)
        ]
        self._lock = lock
        self._made: list[bytes] = []
        self._head: Head | None = None
        self._results: list[Json] = [None] * len(shares)
        self._usages: list[Usage | None] = [None] * len(shares)

    def counts_prompt(self, number: int) -> bool:
        """Whether the prompt of a part is to be counted: not where it is that of the part before."""
        return self._shares[number].counts_prompt

    @property
    def waits(self) -> bool:
        """Whether there is something to take."""
        return bool(self._made)

    def take(self) -> bytes:
        """The bytes that the parts made since the last time, for the client."""
        with self._lock:
            data = b"".join(self._made)
            self._made.clear()
        return data

    def finish(self) -> bytes:
        """The last bytes of the answer. Raises BackendError when its parts do not fit together."""
        if not self._of_results:
            return self.take() + self.encoder.close(self._usage())
        results = [item for result in self._results for item in result]
        if len({len(item) for item in results if isinstance(item, list)}) > 1:
            message = "the vectors of the inputs have different lengths"
            raise BackendError(message, code="upstream_mapping_mismatch", retry=False)
        data = self.encoder.feed(self._head) if self._head is not None else b""
        return data + self.encoder.feed(Result(results)) + self.encoder.close(self._usage())

    def encode(self, event: Event) -> None:
        """Take what a part that is a choice says."""
        with self._lock:
            self._made.append(self.encoder.feed(event))

    def keep(self, number: int, event: Event) -> None:
        """Take what a part that is no choice says."""
        match event:
            case Head() if number == 0:
                self._head = event
            case Result(value=value):
                self._results[number] = value

    def count(self, number: int, usage: Usage | None) -> None:
        """Take the usage of a part."""
        self._usages[number] = usage

    def _part_encoder(self, number: int) -> Encoder:
        if self._of_results:
            return _OneInput(self, number)
        return _OneChoice(self, number, self._shares[number])

    def _usage(self) -> Usage | None:
        """The sum of all; the prompt of several choices counts once, and what was cached of it."""
        given = [usage or Usage() for usage in self._usages]
        counted = [usage for usage, share in zip(given, self._shares, strict=True) if share.counts_prompt]
        prompt = _sum(usage.prompt for usage in counted)
        cached = None if self._of_results else _sum((usage.cached for usage in counted), partly=True)
        completion = _sum(usage.completion for usage in given)
        if prompt is None and completion is None:
            return None
        reasoning = _sum((usage.reasoning for usage in given), partly=True)
        return Usage(prompt, completion, (prompt or 0) + (completion or 0), cached, reasoning)


def split(exchange: Exchange, lock: AbstractContextManager[object] = NO_LOCK) -> Fan | None:
    """The parts of an exchange that takes several requests; None where one does."""
    call = exchange.call
    if exchange.each_input:
        key = "tokens" if "tokens" in call.fields else "input"
        inputs = call.fields[key]
        return Fan(exchange, [Share(_of_input(call, key, each)) for each in inputs], lock, results=True)
    if not (exchange.each_prompt or exchange.each_choice):
        return None
    width = call.fields.get("n", 1)
    if exchange.makes_results:
        of_one = [Share(_of_choice(call, number)) for number in range(width)]
        return Fan(exchange, of_one, lock, results=True) if width > 1 else None
    prompts = [of_prompt(call, text) for text in call.fields["prompt"]] if exchange.each_prompt else [call]
    check_count(len(prompts), width if exchange.each_choice else 1)
    if not exchange.each_choice or width == 1:
        shares = [Share(each, number * width, width) for number, each in enumerate(prompts)]
    else:
        shares = [
            Share(_of_choice(each, choice), number * width + choice, counts_prompt=choice == 0)
            for number, each in enumerate(prompts)
            for choice in range(width)
        ]
    return Fan(exchange, shares, lock, results=False) if len(shares) > 1 else None


def exchanges(exchange: Exchange) -> list[Exchange]:
    """The parts of an exchange, or itself alone."""
    fan = split(exchange)
    return [exchange] if fan is None else fan.parts


class _OneChoice(Encoder):
    """Leads what a part says to the one answer, as choices of its numbers; the bytes are its fan's to give."""

    def __init__(self, fan: Fan, number: int, share: Share) -> None:
        self.content_type = fan.encoder.content_type
        self.streams = fan.encoder.streams
        self.wants_usage = fan.encoder.wants_usage
        self._fan = fan
        self._number = number
        self._first = share.choice
        self._width = share.width

    def feed(self, event: Event) -> bytes:
        """Nothing: the fan gives what the event makes."""
        if isinstance(event, Usage | Fault | Result | Audio):
            self._fan.encode(event)
        elif isinstance(event, Head):
            if self._number == 0:
                self._fan.encode(event)
        elif not 0 <= event.choice < self._width:
            asked = f"{self._width} choices" if self._width > 1 else "one choice"
            message = f"the backend was asked for {asked}, and told of number {event.choice}"
            raise BackendError(message, code="upstream_mapping_mismatch", retry=False)
        else:
            place = self._first + event.choice
            self._fan.encode(msgspec.structs.replace(event, choice=place) if self._first else event)
        return b""

    def close(self, usage: Usage | None) -> bytes:
        """Nothing: the answer ends when all parts have."""
        self._fan.count(self._number, usage)
        return b""


class _OneInput(Encoder):
    """Keeps the result of a part until all are there."""

    streams = False

    def __init__(self, fan: Fan, number: int) -> None:
        self.content_type = fan.encoder.content_type
        self.wants_usage = fan.encoder.wants_usage
        self._fan = fan
        self._number = number

    def feed(self, event: Event) -> bytes:
        """Nothing yet."""
        self._fan.keep(self._number, event)
        return b""

    def close(self, usage: Usage | None) -> bytes:
        """Nothing yet."""
        self._fan.count(self._number, usage)
        return b""


def _of_input(call: Call, key: str, item: Json) -> Call:
    """The call as if the client had sent this input alone."""
    texts = (item,) if isinstance(item, str) else ()
    return replace(call, fields={**call.fields, key: [item]}, request={**call.request, "input": item}, texts=texts)


def _of_choice(call: Call, number: int) -> Call:
    """The call as if the client had asked for one choice. A seed counts up, or all choices would be the same."""
    made = without(call, ("n",))
    if number == 0 or "seed" not in call.fields:
        return made
    seed = {"seed": call.fields["seed"] + number}
    return replace(made, fields={**made.fields, **seed}, request={**made.request, **seed})


def _identity(identity: Identity, number: int) -> Identity:
    """That of a part: chance of its own, so that no two calls have one id."""
    tail = f"{number:03x}"
    return replace(identity, token=identity.token[:-3] + tail, uuid=identity.uuid[:-3] + tail)


def _sum(counts: Iterable[int | None], *, partly: bool = False) -> int | None:
    """The sum; None where one is not known, or, for `partly`, where none is."""
    given = list(counts)
    known = [count for count in given if count is not None]
    return sum(known) if known and (partly or len(known) == len(given)) else None
