"""A backend's reply to the client's answer, read as the mapping says and as the reply turns out to be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Mapping as Dict
from dataclasses import dataclass, replace
from itertools import count

import msgspec

from oaiproxy import jsontext
from oaiproxy.auth import Passthrough
from oaiproxy.bounds import BOUNDS
from oaiproxy.decoding import decoder
from oaiproxy.endpoints.encoding import Encoder
from oaiproxy.error_rules import error_of, failure
from oaiproxy.errors import BackendError
from oaiproxy.events import Delta, Event, Fault, ToolCallDelta, Usage
from oaiproxy.extraction import Extraction
from oaiproxy.failures import not_a_page, sealed, told_by
from oaiproxy.formats import FORMATS, WHOLE
from oaiproxy.framing import EMPTY, Frame
from oaiproxy.jsontext import Json
from oaiproxy.mapping import Endpoint, Mapping, Operation
from oaiproxy.picks import Envelope
from oaiproxy.sinks import Plan, Sinks
from oaiproxy.textfilters import NO_TERMS, Terms

MAX_FRAME = BOUNDS.event
MAX_REPLY = BOUNDS.answer
"""Bytes of one streamed frame and of a whole reply, where no configuration says another number."""
MAX_ERROR = 256 * 1024
"""Bytes of an error body that is read for its message."""
BLANK = b" \t\r\n\xef\xbb\xbf"
_AROUND = BLANK + b"\x1e"


@dataclass(frozen=True, slots=True)
class Uncounted:
    """Texts whose tokens the backend did not count."""

    prompt: tuple[str, ...] | None
    completion: str | None


class Asked(msgspec.Struct, frozen=True):
    """What a reply answers: how the backend was asked, and for whom."""

    mapping: Mapping
    endpoint: Endpoint
    operation: Operation
    streams: bool
    encoder: Encoder
    token: str
    prompt_texts: Callable[[], tuple[str, ...]]
    terms: Callable[[Plan], Terms] = lambda plan: NO_TERMS
    created: Json = None
    """The reply of the call that began what this one ends."""
    extraction: type[Extraction] = Extraction
    """What reads its frames."""

    def reading(self, content_type: str) -> tuple[Operation, bool]:
        """How a successful reply is read: as it was asked for, unless its content type says that it is the other kind.

        A stream that was asked for may come as one JSON document, and a whole answer as a stream.
        """
        asked, whole, stream = self.operation, self.endpoint.whole, self.endpoint.stream
        if self.streams and whole and not asked.framing.json and is_json(content_type):
            return whole, False
        if not self.streams and stream and stream.framing.telling and content_type == stream.framing.content_type:
            return stream, True
        return asked, self.streams

    @property
    def alternative(self) -> Plan | None:
        """How to read the answer if it is whole although a stream was asked for in a JSON framing."""
        return self.endpoint.whole.plan if self.endpoint.whole else None

    def uncounted(self, completion: str, usage: Usage) -> Uncounted | None:
        """What has to be counted here, because the backend did not."""
        need_prompt, need_completion = usage.prompt is None, usage.completion is None
        if not (need_prompt or need_completion):
            return None
        return Uncounted(self.prompt_texts() if need_prompt else None, completion if need_completion else None)

    def error(self, body: bytearray, envelope: Envelope) -> BackendError:
        """The error for a reply with a status of failure, and as much of its body as came."""
        mapping = self.mapping
        own_key = isinstance(mapping.backend.auth, Passthrough)
        return error_of(bytes(body[:MAX_ERROR]), envelope, mapping.errors, mapping.secrets, own_key=own_key)


class Reply:
    """The reader of one reply: bytes of the backend in, bytes for the client out, byte by byte if need be.

    `done` turns true when nothing more is to be read; `fault` holds the failure that ended it, after which only what
    was returned before may be sent.
    """

    def __init__(self, asked: Asked, status: int, headers: Dict[str, str], now: float) -> None:
        self.done = False
        self.fault: BackendError | None = None
        self.events = 0
        """How many events came so far: what a timer of progress looks at."""
        self.size = 0
        """Bytes that came, decoded."""
        self._asked = asked
        self._status = status
        self._headers = headers
        self._now = now
        self._encoder = asked.encoder
        self._counts = asked.encoder.wants_usage
        self._said: list[str] = []
        self._usage = Usage()
        self._output: list[bytes] = []
        self._failed = not 200 <= status < 300
        self._body = bytearray()
        self._new_id = _ids(asked.token)
        self._over = False
        self._only_connection = (
            headers is not EMPTY
            and "content-length" not in headers
            and "chunked" not in headers.get("transfer-encoding", "").lower()
            and not headers.get("content-encoding")
        )
        content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        operation, stream = asked.reading(content_type)
        self.streams = streams = stream and not self._failed
        """Whether it is read as a stream, whatever was asked for."""
        framing = operation.framing if streams else WHOLE
        plan = operation.plan
        self._bounds = bounds = asked.mapping.bounds
        limit = MAX_ERROR if self._failed else bounds.event if streams else bounds.answer
        self._undecided = framing.json
        self._blank = True
        """Whether nothing but white space came so far."""
        self._no_text = framing.named or (framing.name != "text" and plan.data == "json")
        """Whether JSON or events must come, so that a page is none."""
        self._maybe_whole = streams and not framing.json and is_json(content_type)
        """Whether a stream may come as one JSON document, and the mapping has no other words for that."""
        self._line = bytearray() if framing.name == "ndjson" and framing.json and plan.data == "json" else None
        """The first line of what is to be a JSON value per line, until it is complete."""
        self._framing = framing.open(limit)
        self._envelope = Envelope(status, headers, asked.created, now=now)
        self._extraction = self._reader(plan)
        try:
            most = limit if self._failed or not streams else None
            self._decoder = decoder(headers.get("content-encoding", ""), most, bounds.inflation)
        except BackendError as error:
            self._fail(error)

    @property
    def unknown_finish_reasons(self) -> set[str]:
        """Finish reasons that neither the mapping nor we know, for the log."""
        return self._extraction.unknown

    @property
    def unknown_events(self) -> set[str]:
        """Kinds of events that the mapping does not list, for the log: the first of them, their names cut short."""
        return set(self._extraction.unlisted)

    @property
    def left_out(self) -> set[str]:
        """State of the backend that was too large for the client, by what it is of, for the log."""
        return self._extraction.left_out

    @property
    def invalid_utf8(self) -> int:
        """Payloads of text that were not UTF-8, and were mended, for the log."""
        return self._extraction.mended

    @property
    def unmarked_end(self) -> bool:
        """Whether nothing told the end of the stream from a connection that was lost, for the log.

        The mapping knows no end of it, no finish reason came, and only the connection ended the body (RFC 9112, 6.3).
        """
        if not self.streams or self.done or self.fault is not None or not self._extraction.open_ended:
            return False
        return self._only_connection

    def feed(self, data: bytes) -> bytes:
        """The bytes for the client that more of the reply makes."""
        if self.done or self.fault is not None:
            return b""
        try:
            self._read(self._decoder.feed(data))
        except BackendError as error:
            self._fail(error)
        return self._taken()

    @property
    def seen(self) -> Dict[str, Json]:
        """What the mapping remembers of the stream, by name."""
        return self._envelope.seen

    def complete(self) -> bytes:
        """The end of the reply, before others complete it with `add`: the bytes that the rest makes."""
        if self.fault is None:
            try:
                self._read_rest()
            except BackendError as error:
                self._fail(error)
        return self._taken()

    @property
    def ended(self) -> bool:
        """Whether the reply, whose rest was read, is complete."""
        return self.fault is None and self._extraction.ended

    def lacks(self, sinks: Sinks) -> bool:
        """Whether the answer lacks what these sinks could bring."""
        return self._extraction.lacks(sinks, usage=self._counts)

    def add(self, plan: Plan, body: bytes) -> bytes:
        """The bytes for the client that another reply makes, which completes this one. Raises BackendError."""
        self._take(self._extraction.also(plan, Frame(body)))
        return self._taken()

    def end(self) -> bytes:
        """The end of the reply (or of our interest in it): the bytes that the rest makes, before `close`."""
        if self.fault is not None:
            return b""
        try:
            self._read_rest()
            self._take(self._extraction.close())
        except BackendError as error:
            self._fail(error)
        return self._taken()

    def uncounted(self) -> Uncounted | None:
        """What to count before `close`: texts whose tokens the backend did not tell, if the answer needs them."""
        if self.fault is not None or not self._counts:
            return None
        return self._asked.uncounted("".join(self._said), self._usage)

    def close(self, prompt: int | None = None, completion: int | None = None) -> bytes:
        """The last bytes of the answer; `prompt` and `completion` are the counts that `uncounted` asked for."""
        if self.fault is not None:
            return b""
        return self._encoder.close(_completed(self._usage, prompt, completion))

    def cut(self, error: BackendError) -> None:
        """The reply broke off in transport."""
        if self.fault is None:
            self._fail(error)

    def _read_rest(self) -> None:
        """What the end of the body completes; once."""
        if self.done or self._over:
            return
        self._over = True
        self._read(self._decoder.close())
        if self._failed:
            raise self._error()
        if self._line is not None:
            self._frames(self._framing.feed(bytes(self._line)))
        try:
            self._frames(self._last())
        except BackendError as error:
            if self.streams and self.events and error.code == "upstream_invalid_json" and error.retry is None:
                message = "the backend's answer broke off within an event"
                raise BackendError(message, code="upstream_truncated", detail=error.message) from error
            raise

    def _last(self) -> Iterable[Frame]:
        """What the end of the body completes; of text nothing tells whether that is all of it, but for its own end."""
        cut = self._extraction.plan.data == "text" and not self._extraction.ended
        for frame in self._framing.close():
            if cut and not self._speaks(self._extraction.plan, frame, of_text=False):
                raise BackendError("the backend's answer broke off within an event", code="upstream_truncated")
            yield frame

    def _read(self, data: bytes) -> None:
        self.size += len(data)
        if self._failed:
            self._body += data
            if len(self._body) > MAX_ERROR:
                raise self._error()
            return
        if self._blank and (start := data.lstrip(BLANK)):
            self._blank = False
            self._begin(start[:1])
        if self._line is not None:
            data = self._first_line(data)
        self._frames(self._framing.feed(data))

    def _begin(self, first: bytes) -> None:
        """The first character tells a page from an answer, and one JSON document from a stream."""
        if first == b"<" and self._no_text:
            raise not_a_page()
        self._maybe_whole = self._maybe_whole and first in (b"{", b"[")
        if self._maybe_whole:
            self._framing = WHOLE.open(self._bounds.answer)
            plan = replace(self._extraction.plan, must_finish=False, goes_on=False)
            self._extraction = self._reader(plan)

    def _first_line(self, data: bytes) -> bytes:
        """What is to be read of the bytes so far: none until the first line is there, which may open a longer value."""
        assert self._line is not None
        self._line += data
        if b"\n" not in data and len(self._line) <= self._bounds.event:
            return b""
        begun = bytes(self._line).lstrip(_AROUND)
        line, ended, _ = begun.partition(b"\n")
        if begun and not ended and len(begun) <= self._bounds.event:
            return b""
        held = bytes(self._line)
        self._line.clear()
        if line:
            self._line = None
            if _is_cut(line):
                self._framing = FORMATS["json-concat"].open(self._bounds.event)
        return held

    def _check_document(self, frame: Frame) -> None:
        """A document in place of a stream of text: an error in it is never passed on as text."""
        plan = self._extraction.plan
        try:
            body = jsontext.parse_lenient(frame.data)
        except jsontext.JsonError:
            return
        off = not any(sinks.catches for sinks in plan.choose("", self._envelope))
        if isinstance(body, dict) and body.get("error") and not off:
            raise failure(plan.errors, body, self._envelope, plan.secrets, found=told_by(body["error"]))

    def _frames(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            if self._undecided:
                self._decide(frame)
            if self._maybe_whole and self._extraction.plan.data == "text":
                self._check_document(frame)
            self._take(self._extraction.feed(frame))
            if self._extraction.done:
                self.done = True
                return

    def _decide(self, frame: Frame) -> None:
        """The first value of a JSON framing tells whether the answer is a stream or came whole."""
        self._undecided = False
        plan = self._asked.alternative
        if plan is not None and not self._speaks(self._extraction.plan, frame) and self._speaks(plan, frame):
            self._extraction = self._reader(plan)

    def _speaks(self, plan: Plan, frame: Frame, *, of_text: bool = True) -> bool:
        """Whether a reader by that plan finds an answer in a frame: text, a tool call, the end, or a failure.

        Only the end or a failure, where it is not `of_text`.
        """
        probe = Extraction(plan, Envelope(self._status, self._headers), str)
        events = probe.feed(frame)
        said = of_text and (probe.resolved or probe.spoke)
        return probe.done or said or any(map(_is_failure, events))

    def _take(self, events: list[Event]) -> None:
        encode, output = self._encoder.feed, self._output
        for event in events:
            self.events += 1
            match event:
                case Delta(text=text):  # most are
                    if self._counts:
                        self._said.append(text)
                case Fault(error=error):
                    raise error
                case Usage():
                    self._usage = event
                    continue
                case ToolCallDelta(name=name, arguments=arguments) if self._counts:
                    self._said.append((name or "") + arguments)
            output.append(encode(event))

    def _taken(self) -> bytes:
        data = b"".join(self._output)
        self._output.clear()
        return data

    def _error(self) -> BackendError:
        return self._asked.error(self._body, self._envelope)

    def _fail(self, error: BackendError) -> None:
        """The reply ends here. A status of failure says more than a body that is too long, broken off or unreadable."""
        self.fault = self._error() if self._failed else sealed(error, self._asked.mapping.secrets)

    def _reader(self, plan: Plan) -> Extraction:
        return self._asked.extraction(plan, self._envelope, self._new_id, self._asked.terms(plan))


def _ids(token: str) -> Callable[[], str]:
    """What makes the ids of tool calls that the backend gave none."""
    numbers = count(1)
    return lambda: f"call_{token}{next(numbers):02d}"


def _is_failure(event: Event) -> bool:
    """Whether the backend told of a failure, and we did not find one."""
    ours = ("upstream_mapping_mismatch", "upstream_invalid_json", "upstream_invalid_utf8")
    return isinstance(event, Fault) and event.error.code not in ours


def _is_cut(line: bytes) -> bool:
    """Whether a line is the beginning of a JSON value that goes on in the next one."""
    try:
        jsontext.parse_lenient(line)
    except jsontext.JsonError as error:
        return line[:1] in (b"{", b"[") and "truncated" in str(error)
    return False


def _completed(usage: Usage, prompt: int | None, completion: int | None) -> Usage | None:
    """The usage with our own counts where the backend gave none; None when nothing is known."""
    total = usage.total
    prompt = usage.prompt if usage.prompt is not None else prompt
    completion = usage.completion if usage.completion is not None else completion
    if prompt is None and completion is None:
        return None
    if total is None or total < (prompt or 0) + (completion or 0):
        total = (prompt or 0) + (completion or 0)
    return Usage(prompt, completion, total, usage.cached, usage.reasoning)


def is_json(content_type: str) -> bool:
    """Whether a media type is that of one JSON document (RFC 6839, 3.1)."""
    return content_type == "application/json" or (content_type.endswith("+json") and "stream" not in content_type)
