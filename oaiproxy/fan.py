"""One client request as several to the backend, and their answers as one: a call for each input, or for each choice.

fan = split(exchange)               # None where one request is all there is
for part in fan.parts: ...          # exchanges, whose replies are read as any other; their encoders lead to one answer
fan.finish()                        # the last bytes, when all parts are closed
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import msgspec

from oaiproxy.canonical import Call, Identity, without
from oaiproxy.endpoints.encoding import Encoder
from oaiproxy.errors import BackendError
from oaiproxy.events import Audio, Event, Fault, Head, Result, Usage
from oaiproxy.exchange import Exchange
from oaiproxy.jsontext import Json

AT_ONCE = 8
"""Parts that are under way at the same time."""


class Fan:
    """The parts of an exchange. `counts_once` tells that all of them have the prompt of the first."""

    def __init__(self, exchange: Exchange, calls: Sequence[Call], *, counts_once: bool) -> None:
        self.counts_once = counts_once
        self.encoder: Encoder = exchange.encoder
        self.parts = [
            exchange.part(call, self._part_encoder(number), _identity(exchange.identity, number))
            for number, call in enumerate(calls)
        ]
        self._head: Head | None = None
        self._results: list[Json] = [None] * len(calls)
        self._usages: list[Usage | None] = [None] * len(calls)

    def finish(self) -> bytes:
        """The last bytes of the answer. Raises BackendError when its parts do not fit together."""
        if self.counts_once:
            return self.encoder.close(self._usage())
        results = [item for result in self._results for item in result]
        if len({len(item) for item in results if isinstance(item, list)}) > 1:
            message = "the vectors of the inputs have different lengths"
            raise BackendError(message, code="upstream_mapping_mismatch", retry=False)
        data = self.encoder.feed(self._head) if self._head is not None else b""
        return data + self.encoder.feed(Result(results)) + self.encoder.close(self._usage())

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
        return _OneChoice(self, number) if self.counts_once else _OneInput(self, number)

    def _usage(self) -> Usage | None:
        """The sum of all; of choices the prompt counts once, and what was cached of it."""
        given = [usage or Usage() for usage in self._usages]
        first = given[0]
        prompt, cached = first.prompt, first.cached
        if not self.counts_once:
            prompt, cached = _sum(usage.prompt for usage in given), None
        completion = _sum(usage.completion for usage in given)
        if prompt is None and completion is None:
            return None
        reasoning = _sum((usage.reasoning for usage in given), partly=True)
        return Usage(prompt, completion, (prompt or 0) + (completion or 0), cached, reasoning)


def split(exchange: Exchange) -> Fan | None:
    """The parts of an exchange that takes several requests; None where one does."""
    call = exchange.call
    if exchange.each_input:
        key = "tokens" if "tokens" in call.fields else "input"
        inputs = call.fields[key]
        return Fan(exchange, [_of_input(call, key, each) for each in inputs], counts_once=False)
    if exchange.each_choice and call.fields.get("n", 1) > 1:
        return Fan(exchange, [_of_choice(call, number) for number in range(call.fields["n"])], counts_once=True)
    return None


def exchanges(exchange: Exchange) -> list[Exchange]:
    """The parts of an exchange, or itself alone."""
    fan = split(exchange)
    return [exchange] if fan is None else fan.parts


class _OneChoice(Encoder):
    """Leads what a part says to the one answer, as the choice of its number."""

    def __init__(self, fan: Fan, number: int) -> None:
        self.content_type = fan.encoder.content_type
        self.streams = fan.encoder.streams
        self.wants_usage = fan.encoder.wants_usage
        self._fan = fan
        self._number = number

    def feed(self, event: Event) -> bytes:
        """The bytes that the event makes."""
        number, encoder = self._number, self._fan.encoder
        if isinstance(event, Head):
            return encoder.feed(event) if number == 0 else b""
        if isinstance(event, Usage | Fault | Result | Audio):
            return encoder.feed(event)
        if event.choice != 0:
            message = f"the backend was asked for one choice, and told of number {event.choice}"
            raise BackendError(message, code="upstream_mapping_mismatch", retry=False)
        return encoder.feed(msgspec.structs.replace(event, choice=number) if number else event)

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
