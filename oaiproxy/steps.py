"""One exchange of several calls, as a machine without a clock or a socket: what to send next, and for how long to wait.

steps = Steps(exchange, clock)
opening = steps.opening()           # a generator: `Send` is answered with an `Answer` (or with an ApiError thrown
main = <its result>                 # in), `Sleep` with None; the result is the main call, to be sent or here already
closing = steps.closing(reply)      # the same, after the main reply was read; `Write` holds bytes for the client
request = steps.cancellation(seen)  # what to send if nobody waits any more
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from collections.abc import Mapping as Dict
from dataclasses import dataclass, field
from typing import TypeAlias

from oaiproxy import jsontext
from oaiproxy.decoding import decoder
from oaiproxy.errors import ApiError, BackendError
from oaiproxy.events import Fault
from oaiproxy.exchange import AnyReply, BackendRequest, Exchange
from oaiproxy.extraction import Extraction
from oaiproxy.failures import tell
from oaiproxy.filters import text as as_text
from oaiproxy.flows import CREATED, POLLED, SEEN, Poll
from oaiproxy.framing import Frame
from oaiproxy.jsontext import Json
from oaiproxy.picks import Envelope
from oaiproxy.sinks import Plan

MAX_FAILURES = 3
"""Polls in a row that may fail in passing."""
AFTER_SECONDS = 10.0
"""How long a call after the main one may take where the mapping does not say."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole reply as it came: headers by lower-case names, the body still encoded."""

    status: int
    headers: Dict[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Send:
    """Send this and read the whole reply, in so many seconds; None for the time that a first byte may take."""

    request: BackendRequest
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Write:
    """Send these bytes to the client."""

    data: bytes


Main: TypeAlias = BackendRequest | Answer
"""The main call: to be sent, and its reply relayed as it comes; or its reply, read while it was waited for."""
Opening: TypeAlias = Generator[Send | Sleep, Answer | None, Main]
Closing: TypeAlias = Generator[Send | Write, Answer | None, None]


class Steps:
    """The calls of an exchange whose endpoint has a flow. `clock` gives seconds since any point in time."""

    def __init__(self, exchange: Exchange, clock: Callable[[], float]) -> None:
        flow = exchange.flow
        assert flow is not None
        self.lost: list[tuple[str, ApiError]] = []
        """The calls after the main one that failed, and what the answer could do without; for the log."""
        self._exchange = exchange
        self._flow = flow
        self._clock = clock
        self._replies: dict[str, Json] = {}
        self._begun = False
        exchange.replies = self._replies

    def opening(self) -> Opening:
        """All up to the main reply. Raises ApiError when one of the calls fails."""
        exchange = self._exchange
        for step in self._flow.before:
            answer = yield Send(exchange.render(step.request), step.timeout)
            self._replies[step.name] = self._read(answer, step.plan)
        main = exchange.backend_request()
        self._begun = True
        poll = self._flow.poll
        if poll is None or exchange.backend_streams:
            return main
        return (yield from self._polling(poll, main))

    def closing(self, reply: AnyReply) -> Closing:
        """The calls that complete the answer, each of them only if something that it tells is missing."""
        self._replies[SEEN] = dict(reply.seen)
        for step in self._flow.after:
            told = step.sinks.text or step.sinks.usage or step.sinks.finish_reason
            if not reply.ended:
                return
            if told and not reply.lacks(step.sinks):
                continue
            try:
                answer = yield Send(self._exchange.render(step.request), step.timeout or AFTER_SECONDS)
                body = self._body(answer)
                if told:
                    data = reply.add(step.plan, body)
                    if data:
                        yield Write(data)
                if body.strip():
                    self._replies[step.name] = _json(body)
            except ApiError as error:
                self.lost.append((step.name, error))
                if step.sinks.text is not None:
                    reply.cut(error if isinstance(error, BackendError) else BackendError(error.message))

    def cancellation(self, seen: Dict[str, Json]) -> BackendRequest | None:
        """What tells the backend that nobody waits any more; None where there is nothing to tell, or not what of."""
        cancel = self._flow.cancel
        if cancel is None:
            return None
        self._replies[SEEN] = dict(seen)
        known = all(_reaches(self._replies, path) for path in cancel.needs)
        if not known or not (self._begun or cancel.needs):
            return None
        return self._exchange.render(cancel.request)

    def _polling(self, poll: Poll, main: BackendRequest) -> Generator[Send | Sleep, Answer | None, Main]:
        """Wait for what the main call began; the result is the reply that ends it, or the request for its result."""
        end = self._clock() + poll.timeout
        answer = yield Send(main)
        value = self._replies[CREATED] = self._replies[POLLED] = self._read(answer, poll.plan)
        wait, failures = poll.first, 0
        while not self._ended(poll, value, answer):
            while True:
                left = end - self._clock()
                yield Sleep(max(0.0, min(wait, left)))
                if wait >= left:
                    message = f"the backend did not finish within {poll.timeout:g} seconds"
                    raise BackendError(message, status=504, code="upstream_timeout", retry=False)
                wait = min(wait * poll.factor, poll.most)
                request = main if poll.request is None else self._exchange.render(poll.request)
                answer = None
                try:
                    answer = yield Send(request, max(end - self._clock(), 0.001))
                    value = self._replies[POLLED] = self._read(answer, poll.plan)
                except BackendError as error:
                    failures += 1
                    if failures > MAX_FAILURES or not _passes(answer):
                        raise
                    wait = max(wait, error.retry_after or 0.0)
                else:
                    failures = 0
                    break
        assert answer is not None
        return answer if poll.result is None else self._exchange.render(poll.result)

    def _ended(self, poll: Poll, value: Json, answer: Answer | None) -> bool:
        """Whether what is waited for is there. Raises BackendError when it never will be."""
        assert answer is not None
        found = poll.status(value, self._envelope(answer))
        if found is None:
            return False
        status = as_text(found)
        if status in poll.failed:
            told = tell(status, self._exchange.mapping.secrets)[:80]
            raise BackendError(f"the backend gave up: its status is '{told}'", detail=f"status: {told}")
        return status in poll.done

    def _read(self, answer: Answer | None, plan: Plan) -> Json:
        """The reply's JSON. Raises BackendError when it tells of a failure, or is none."""
        assert answer is not None
        body = self._body(answer)
        value = _json(body)
        extraction = Extraction(plan, self._envelope(answer), str)
        for event in extraction.feed(Frame(body)):
            if isinstance(event, Fault):
                raise event.error
        return value

    def _body(self, answer: Answer | None) -> bytes:
        """The reply's plain bytes. Raises BackendError for a status of failure."""
        assert answer is not None
        if not 200 <= answer.status < 300:
            reply = self._exchange.reply(answer.status, answer.headers)
            reply.feed(answer.body)
            reply.end()
            raise reply.fault or BackendError(f"the backend answered {answer.status}")
        bounds = self._exchange.mapping.bounds
        reader = decoder(answer.headers.get("content-encoding", ""), bounds.answer, bounds.inflation)
        return reader.feed(answer.body) + reader.close()

    def _envelope(self, answer: Answer) -> Envelope:
        return Envelope(answer.status, answer.headers, self._replies.get(CREATED), now=self._exchange.identity.now)


def _json(body: bytes) -> Json:
    try:
        return jsontext.parse_lenient(body)
    except jsontext.JsonError as error:
        message = "the backend's answer is empty" if not body.strip() else f"the backend's answer is not JSON: {error}"
        raise BackendError(message, code="upstream_invalid_json", retry=False) from error


def _passes(answer: Answer | None) -> bool:
    """Whether a poll that failed so may succeed the next time: the connection broke, or the backend is busy."""
    return answer is None or answer.status == 429 or answer.status >= 500


def _reaches(value: Json, path: tuple[str, ...]) -> bool:
    """Whether there is something at the path."""
    for step in path:
        if not isinstance(value, dict) or value.get(step) is None:
            return False
        value = value[step]
    return True
