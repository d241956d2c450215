"""A backend's reply to the answer of an endpoint beyond chat: one document, or bytes passed on as they come.

The face is that of `oaiproxy.reply.Reply`, so that what relays a reply need not know which of the two it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as Dict
from dataclasses import replace

from oaiproxy.canonical import Call
from oaiproxy.decoding import decoder
from oaiproxy.errors import BackendError
from oaiproxy.events import Audio, Event, Fault, Head, Result, Usage
from oaiproxy.failures import not_a_page, sealed
from oaiproxy.formats import WHOLE
from oaiproxy.framing import EMPTY, Frame
from oaiproxy.inputs import CARRIES
from oaiproxy.jsontext import Json
from oaiproxy.picks import Envelope
from oaiproxy.reply import BLANK, MAX_ERROR, Asked, Uncounted, is_json
from oaiproxy.resultplans import ResultPlan
from oaiproxy.sinks import Plan, Sinks
from oaiproxy.vectors import VectorError, shortened

MAX_AUDIO = 64 * 1024 * 1024
"""Bytes of a sound."""
AUDIO_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
"""What a sound is taken for where the backend does not say, by the format that the client asked for."""
_MEDIA_TYPE = re.compile(r"[\w.+-]{1,60}/[\w.+-]{1,60}(;[ -~]{1,80})?")
_UNTOLD = ("", "application/octet-stream", "binary/octet-stream")


class Answer:
    """The reader of one reply: bytes of the backend in, bytes for the client out.

    `fault` holds the failure that ended it, after which only what was returned before may be sent.
    """

    done = False
    """Never before the body's end: only there an answer is whole."""
    streams = False
    """Its progress is in bytes: there are no events to wait for."""
    unknown_finish_reasons: frozenset[str] = frozenset()
    unknown_events: frozenset[str] = frozenset()
    left_out: frozenset[str] = frozenset()
    invalid_utf8 = 0
    unmarked_end = False
    seen: Dict[str, Json] = EMPTY
    ended = False
    """Nothing completes such an answer."""

    def __init__(self, asked: Asked, call: Call, status: int, headers: Dict[str, str], now: float) -> None:
        assert asked.endpoint.result is not None
        self.fault: BackendError | None = None
        self.events = 0
        """How much of the answer was read so far."""
        self._asked = asked
        self._call = call
        self._plan: ResultPlan = asked.endpoint.result
        self._encoder = asked.encoder
        self._envelope = Envelope(status, headers, asked.created, now=now)
        self._failed = not 200 <= status < 300
        self._output: list[bytes] = []
        self._usage = Usage()
        self._body = bytearray()
        self._size = 0
        self._blank = True
        self._read_document = False
        self._type = headers.get("content-type", "").strip()
        bare = self._type.partition(";")[0].strip().lower()
        self._passes = self._plan.binary and not (self._failed or is_json(bare) or bare.startswith("text/"))
        """Whether the body is the answer itself: a document in its place is none."""
        bounds = asked.mapping.bounds
        limit = MAX_AUDIO if self._passes else MAX_ERROR if self._failed or self._plan.binary else bounds.answer
        self._framing = WHOLE.open(limit)
        try:
            self._decoder = decoder(headers.get("content-encoding", ""), limit, bounds.inflation)
        except BackendError as error:
            self._fail(error)

    @property
    def endpoint(self) -> str:
        """The endpoint that it answers for."""
        return self._plan.endpoint

    @property
    def size(self) -> int:
        """Bytes that came, decoded."""
        return self._size

    @property
    def content_type(self) -> str:
        """That of the answer, as far as it is known."""
        return self._encoder.content_type

    def feed(self, data: bytes) -> bytes:
        """The bytes for the client that more of the reply makes."""
        if self.fault is not None:
            return b""
        try:
            self._read(self._decoder.feed(data))
        except BackendError as error:
            self._fail(error)
        return self._taken()

    def end(self) -> bytes:
        """The end of the reply: the bytes that the rest makes, before `close`."""
        if self.fault is not None:
            return b""
        try:
            self._read(self._decoder.close())
            self._finish()
        except BackendError as error:
            self._fail(error)
        return self._taken()

    def uncounted(self) -> Uncounted | None:
        """What to count before `close`: the request's texts, if the backend did not and the answer tells it."""
        if self.fault is not None or not self._encoder.wants_usage or self._usage.prompt is not None:
            return None
        if tokens := self._call.fields.get("tokens"):
            count = sum(map(len, tokens))
            self._usage = Usage(prompt=count, total=count)
            return None
        return Uncounted(self._asked.prompt_texts(), None)

    def close(self, prompt: int | None = None, completion: int | None = None) -> bytes:
        """The last bytes of the answer; `prompt` is the count that `uncounted` asked for."""
        if self.fault is not None:
            return b""
        usage = self._usage
        if usage.prompt is None and prompt is not None:
            usage = Usage(prompt, usage.completion, prompt + (usage.completion or 0))
        return self._encoder.close(usage if usage != Usage() else None)

    def complete(self) -> bytes:
        """What was read is told at the end."""
        return b""

    def lacks(self, _sinks: Sinks) -> bool:
        """Nothing completes such an answer."""
        return False

    def add(self, _plan: Plan, _body: Json) -> bytes:
        """Nothing completes such an answer."""
        return b""

    def cut(self, error: BackendError) -> None:
        """The reply broke off in transport."""
        if self.fault is None:
            self._fail(error)

    def _read(self, data: bytes) -> None:
        self._size += len(data)
        if self._failed:
            self._body += data
            if len(self._body) > MAX_ERROR:
                raise self._error()
        elif self._passes:
            if data:
                self._encode(Audio(data, self._media_type(self._plan.find("media_type", None, self._envelope))))
        else:
            if self._blank and (start := data.lstrip(BLANK)):
                self._blank = False
                if start[:1] == b"<" and self._plan.plan.data == "json":
                    raise not_a_page()
            for _ in self._framing.feed(data):
                pass  # a whole body is a frame at its end alone

    def _finish(self) -> None:
        if self._failed:
            raise self._error()
        if not self._passes:
            for frame in self._framing.close():
                self._take(frame)
        if not (self._size if self._passes else self._read_document):
            raise BackendError("the backend's answer is empty", code="upstream_empty_response")

    def _take(self, frame: Frame) -> None:
        """The events of the one document, its result the last."""
        self._read_document = True
        plan = self._plan
        (value, events) = self._shared(frame)
        for event in events:
            match event:
                case Fault(error=error):
                    raise error
                case Usage():
                    self._usage = _filled(event)
                case Head():
                    self._encode(event)
        if plan.binary:
            message = f"a document came in place of sound ({self._type or 'no content type'})"[:200]
            raise BackendError(message, code="upstream_mapping_mismatch", retry=False)
        result = plan.read(value, self._envelope, self._call)
        if "dimensions" in self._asked.mapping.emulates and "dimensions" in self._call.fields:
            result = _shortened(result, self._call)
        if plan.endpoint == "speech":
            self._encode(Audio(result["data"], self._media_type(result["media_type"])))
        else:
            self._encode(Result(result))

    def _shared(self, frame: Frame) -> tuple[Json, list[Event]]:
        """The payload, and the events that every endpoint's replies make: failures, usage, id and model."""
        seen: list[Json] = []
        plan = self._plan.plan

        def choose(value: Json, envelope: Envelope) -> tuple[Sinks, ...]:
            seen.append(value)
            return tuple(plan.choose(value, envelope))

        extraction = self._asked.extraction(replace(plan, choose=choose), self._envelope, str)
        events = extraction.feed(frame)
        if any(isinstance(event, Fault) for event in events):
            return None, events
        return seen[-1], events + extraction.counts()

    def _encode(self, event: Event) -> None:
        self.events += 1
        self._output.append(self._encoder.feed(event))

    def _taken(self) -> bytes:
        data = b"".join(self._output)
        self._output.clear()
        return data

    def _media_type(self, told: Json) -> str:
        """That of a sound: what the mapping finds, what the backend says, or what the client asked for."""
        for media_type in (told, self._type if self._passes else None):
            if not isinstance(media_type, str) or media_type.lower() in _UNTOLD:
                continue
            if _MEDIA_TYPE.fullmatch(media_type):
                return media_type
        return AUDIO_TYPES[self._call.fields.get("response_format", "mp3")]

    def _error(self) -> BackendError:
        return self._asked.error(self._body, self._envelope)

    def _fail(self, error: BackendError) -> None:
        """The reply ends here. A status of failure says more than a body that is too long, broken off or unreadable."""
        self.fault = self._error() if self._failed else sealed(error, self._asked.mapping.secrets)
        if self.fault.param == "messages":
            self.fault.param = CARRIES[self.endpoint][-1]  # what is too long has another name here


def _shortened(vectors: list[list[float]], call: Call) -> list[list[float]]:
    """The vectors with as many numbers as the client asked for; it can mend what the answer alone tells."""
    wanted = call.fields["dimensions"]
    try:
        return [shortened(vector, wanted) for vector in vectors]
    except VectorError as error:
        raise BackendError(
            f"Unsupported value: 'dimensions' cannot be {wanted} with the model '{call.model}': {error}.",
            status=400,
            type="invalid_request_error",
            code="unsupported_value",
            param="dimensions",
            retry=False,
        ) from error


def _filled(usage: Usage) -> Usage:
    """The usage with the prompt's count where only a total came: there is nothing else in it."""
    if usage.prompt is None and usage.completion is None:
        return Usage(prompt=usage.total, total=usage.total)
    total = (usage.prompt or 0) + (usage.completion or 0)
    return Usage(usage.prompt, usage.completion, max(usage.total or 0, total))
