"""An exchange that notes what happens in it: what is sent and of what it is made, each frame, event, and byte.

record = Record(trace)                                   # `trace` is the one that the mapping was compiled with
exchange = traced(mapping, call, encoder, identity, client_headers, record)
rehearse(exchange, answers)                              # or whatever else drives an exchange
record.sends, record.frames, record.events, record.output
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Mapping as Dict
from dataclasses import dataclass, field
from typing import Any

from oaiproxy.canonical import Call, Identity
from oaiproxy.endpoints.encoding import Encoder
from oaiproxy.errors import ApiError
from oaiproxy.events import Event, Usage
from oaiproxy.exchange import BackendRequest, Exchange
from oaiproxy.extraction import Extraction
from oaiproxy.framing import Frame
from oaiproxy.mapping import Mapping
from oaiproxy.provenance import Lost, Picked, Piece, Trace
from oaiproxy.requests import RequestTemplate
from oaiproxy.steps import Answer


@dataclass(frozen=True, slots=True)
class Sent:
    """A request that was rendered: of which template, for which call, and of what it is made."""

    request: BackendRequest
    template: RequestTemplate
    exchange: Exchange
    pieces: Sequence[Piece]
    lost: Sequence[Lost]


@dataclass(frozen=True, slots=True)
class Read:
    """A frame that was read: in the reply to which of the requests, and what was found and made of it.

    `frame` is None for what was found outside of frames: in a reply of failure, or in one around the main call.
    """

    call: int
    frame: Frame | None
    picked: Sequence[Picked]
    events: Sequence[Event]
    ended: bool = False
    """Whether nothing is read after it."""


@dataclass(slots=True)
class Record:
    """What was noted."""

    trace: Trace
    sends: list[Sent] = field(default_factory=list)
    frames: list[Read] = field(default_factory=list)
    output: list[bytes] = field(default_factory=list)
    """What the client gets, in the pieces in which it was made."""
    call: int = 0
    """Which of the answers is being read."""

    def settle(self, *, polled: bool = False) -> None:
        """Note what selectors found since the last frame: in something that is no frame.

        When the next frame follows (`polled`), all but the selectors of `poll` were tries of how to read that.
        """
        picked = [each for each in self.trace.found() if not polled or "poll" in each.source.path]
        picked = list({each.source.path: each for each in picked}.values())  # failures are looked at twice
        if picked:
            self.frames.append(Read(self.call, None, picked, ()))


class Answers(Sequence[Answer]):
    """A backend's answers; which of them is taken is noted."""

    def __init__(self, answers: Sequence[Answer], record: Record) -> None:
        self._answers = answers
        self._record = record

    def __len__(self) -> int:
        return len(self._answers)

    def __getitem__(self, place: Any) -> Any:
        self._record.settle()
        self._record.call = place
        return self._answers[place]


def traced(
    mapping: Mapping,
    call: Call,
    encoder: Encoder,
    identity: Identity,
    headers: Dict[str, str],
    record: Record,
    shown: Encoder | None = None,
) -> Exchange:
    """The exchange. `shown` makes the bytes that are noted, where another API's than those that come out are wanted.

    Raises ClientError as any other.
    """
    made = TracedExchange(mapping, call, _TracedEncoder(encoder, record, shown), identity, headers)
    made.record = record
    made.extraction = _extraction(record)
    return made


class TracedExchange(Exchange):
    """An exchange that notes what it renders."""

    record: Record

    def render(self, template: RequestTemplate) -> BackendRequest:
        """Render one of the requests, and note of what."""
        record = self.record
        record.trace.taken()
        request = super().render(template)
        pieces, lost = record.trace.taken()
        record.sends.append(Sent(request, template, self, pieces, lost))
        return request


def _extraction(record: Record) -> type[Extraction]:
    """Readers that note what they read."""

    class TracedExtraction(Extraction):
        def feed(self, frame: Frame) -> list[Event]:
            """The events of one frame."""
            if self.done:
                return super().feed(frame)
            record.settle(polled=True)
            events = super().feed(frame)
            record.frames.append(Read(record.call, frame, record.trace.found(), events, self.done))
            return events

        def close(self) -> list[Event]:
            """The events that follow the last frame."""
            record.settle(polled=True)
            events = super().close()
            if events:
                record.frames.append(Read(record.call, None, (), events))
            return events

    return TracedExtraction


class _TracedEncoder(Encoder):
    def __init__(self, encoder: Encoder, record: Record, shown: Encoder | None) -> None:
        self._encoder = encoder
        self._shown = shown
        self._record = record
        self.streams = encoder.streams
        self.wants_usage = (shown or encoder).wants_usage

    @property
    def content_type(self) -> str:  # type: ignore[override]
        return self._encoder.content_type

    def feed(self, event: Event) -> bytes:
        return self._kept(lambda encoder: encoder.feed(event))

    def close(self, usage: Usage | None) -> bytes:
        return self._kept(lambda encoder: encoder.close(usage))

    def fail(self, error: ApiError) -> bytes:
        return self._kept(lambda encoder: encoder.fail(error))

    def _kept(self, make: Callable[[Encoder], bytes]) -> bytes:
        data = make(self._encoder)
        noted = data if self._shown is None else make(self._shown)
        if noted:
            self._record.output.append(noted)
        return data
