"""An exchange with the answers of an example in place of a backend: what is sent, and what comes out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from oaiproxy.drafts import draft_of, first_drafts
from oaiproxy.errors import ApiError, BackendError
from oaiproxy.exchange import AnyReply, BackendRequest, Exchange
from oaiproxy.fan import Fan, split
from oaiproxy.flows import CREATED, POLLED, SEEN, Flow
from oaiproxy.jsontext import Json
from oaiproxy.mapping import Mapping
from oaiproxy.outcomes import Outcome, delivered, drive, from_error, told
from oaiproxy.requests import RequestTemplate
from oaiproxy.steps import Answer, Closing, Opening, Send, Sleep, Steps, Write


@dataclass(slots=True)
class Rehearsal:
    """What a round with an example's answers came to."""

    outcome: Outcome = field(default_factory=Outcome)
    requests: list[BackendRequest] = field(default_factory=list)
    """What was sent, in order."""
    unlisted: frozenset[str] = frozenset()
    """The events of the main answer that the mapping does not list, by name."""
    main: int | None = None
    """Which of the answers was the main one."""
    prompts: list[Callable[[], str | None]] = field(default_factory=list)
    """For each request, what makes the conversation that it was sent for, as the chat template writes it."""


def rehearse(exchange: Exchange, answers: Sequence[Answer], pieces: Sequence[bytes] | None = None) -> Rehearsal:
    """Run an exchange to its end; no time passes. `pieces` are the main answer's body as it is delivered, if given."""
    played = _Play(exchange, answers)
    try:
        played.run(pieces)
    except ApiError as error:
        played.rehearsal.outcome = from_error(error)
    return played.rehearsal


def requests_of(exchange: Exchange, samples: dict[str, Json] | None = None) -> list[BackendRequest]:
    """Every request that the exchange could send; a stand-in is what `samples` do not hold of earlier replies.

    One that cannot be made of those is left out. Raises ApiError for any other that cannot be made.
    """
    return [request for part in first_drafts(exchange) for request in _requests_of(part, samples)]


def _requests_of(exchange: Exchange, samples: dict[str, Json] | None) -> list[BackendRequest]:
    flow = exchange.flow
    if flow is None:
        return [exchange.backend_request()]
    endpoint = exchange.mapping.endpoint(exchange.call.endpoint)
    exchange.replies = _stand_ins(flow, endpoint.reads if endpoint else ()) | (samples or {})
    templates: list[RequestTemplate | None] = [step.request for step in flow.before]
    if flow.poll is not None and not exchange.backend_streams:
        templates += [flow.poll.request, flow.poll.result]
    templates += [step.request for step in flow.after]
    templates += [flow.cancel.request] if flow.cancel is not None else []
    made = []
    for template in (exchange.main, *templates):
        if template is not None:
            with suppress(BackendError):  # the replies that it is made of are not there
                made.append(exchange.render(template))
    return made


def _stand_ins(flow: Flow, reads: Iterable[str]) -> dict[str, Json]:
    """Replies with something at every path that the templates read: text that can stand in an address too."""
    names = {step.name for step in (*flow.before, *flow.after)} | {CREATED, POLLED, SEEN}
    made: dict[str, Json] = {}
    for path in sorted(reads):
        first, *rest = re.split(r"\.\*|=|\[\]", path)[0].split(".")
        if first in names and rest:
            place = made
            for step in (first, *rest[:-1]):
                inner = place.get(step)
                place[step] = place = inner if isinstance(inner, dict) else {}
            place.setdefault(rest[-1], "/sample")
    return made


def sample_replies(mapping: Mapping, endpoint: str, streams: bool) -> dict[str, Json]:
    """The replies of calls before the main one, and of `poll`, as far as the examples of an endpoint have them."""
    described = mapping.endpoint(endpoint)
    flow = described.flow if described is not None else None
    names = [step.name for step in flow.before] if flow is not None else []
    polls = flow is not None and flow.poll is not None and not streams
    found: dict[str, Json] = {}
    for example in mapping.examples:
        answers = example.backend if isinstance(example.backend, list) else [example.backend]
        if mapping.endpoint(example.endpoint) is not described:
            continue
        for name, answer in zip([*names, *[CREATED, POLLED][: 2 * polls]], answers, strict=False):
            if "json" in answer and answer.get("status", 200) < 300:
                found.setdefault(name, answer["json"])
    return found


class _Play:
    def __init__(self, exchange: Exchange, answers: Sequence[Answer]) -> None:
        self.rehearsal = Rehearsal()
        self._exchange = exchange
        self._part = exchange
        """The part or the try that is being played."""
        self._answers = answers
        self._now = 0.0

    def run(self, pieces: Sequence[bytes] | None) -> None:
        """Play it. Of an exchange in parts, one after another, `pieces` are those of the first."""
        exchange, made = self._exchange, self.rehearsal
        fan = split(exchange)
        if fan is not None:
            made.outcome = self._fanned(fan, pieces)
            return
        if draft_of(exchange) is not None:
            made.outcome = told(*self._drafted(exchange, pieces), "", exchange.encoder.content_type)
            return
        reply, body, steps = self._main(exchange, pieces)
        made.outcome = drive(reply, body, lambda: b"".join(self._close(steps, reply)))
        made.unlisted = frozenset(reply.unknown_events)

    def _fanned(self, fan: Fan, pieces: Sequence[bytes] | None) -> Outcome:
        fault: ApiError | None = None
        endpoint = self._exchange.call.endpoint if self._exchange.each_input else ""
        for part in fan.parts:
            try:
                _, fault = self._drafted(part, pieces)
            except ApiError as error:
                fault = error
            if fault is not None:
                return told(fan.take(), fault, endpoint, fan.encoder.content_type)
            pieces = None
        return told(fan.finish(), None, endpoint, fan.encoder.content_type)

    def _drafted(self, exchange: Exchange, pieces: Sequence[bytes] | None) -> tuple[bytes, ApiError | None]:
        """What goes out of one exchange, whose answer may be made a second time, and its failure."""
        draft = draft_of(exchange)
        sent = b""
        while True:
            reply, body, steps = self._main(exchange if draft is None else draft.exchange, pieces)
            sent += delivered(reply, body, lambda: b"".join(self._close(steps, reply)))  # noqa: B023
            if draft is None or reply.fault is not None or not draft.again():
                return sent, reply.fault
            pieces = None

    def _main(
        self, exchange: Exchange, pieces: Sequence[bytes] | None
    ) -> tuple[AnyReply, Sequence[bytes], Steps | None]:
        """The main reply, to be read, and its body."""
        made, self._part = self.rehearsal, exchange
        if exchange.flow is None:
            steps, main = None, self._next(exchange.backend_request())
        else:
            steps = Steps(exchange, lambda: self._now)
            found = self._open(steps.opening())
            main = found if isinstance(found, Answer) else self._next(found)
        if made.main is None:
            made.main = len(made.requests) - 1
        return exchange.reply(main.status, main.headers), [main.body] if pieces is None else pieces, steps

    def _open(self, opening: Opening) -> BackendRequest | Answer:
        try:
            action = next(opening)
            while True:
                match action:
                    case Sleep(seconds=seconds):
                        self._now += seconds
                        action = opening.send(None)
                    case Send(request=request):
                        action = opening.send(self._next(request))
        except StopIteration as end:
            found: BackendRequest | Answer = end.value
            return found

    def _close(self, steps: Steps | None, reply: AnyReply) -> Iterator[bytes]:
        if steps is None:
            return
        yield reply.complete()
        closing: Closing = steps.closing(reply)
        answer: Answer | BackendError | None = None
        while True:
            try:
                action = closing.throw(answer) if isinstance(answer, BackendError) else closing.send(answer)
            except StopIteration:
                return
            answer = None
            match action:
                case Write(data=data):
                    yield data
                case Send(request=request):
                    try:
                        answer = self._next(request)
                    except BackendError as error:
                        answer = error

    def _next(self, request: BackendRequest) -> Answer:
        """The next answer. Where there is none, the round ends as if the backend were gone."""
        self.rehearsal.requests.append(request)
        self.rehearsal.prompts.append(self._part.chat_prompt)
        number = len(self.rehearsal.requests)
        if number > len(self._answers):
            raise BackendError(f"the example has no answer to call {number}", code="upstream_connect_error")
        return self._answers[number - 1]
