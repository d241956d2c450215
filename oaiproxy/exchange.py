"""One request and its reply, purely: the spine that the server, `check`, `mock` and the tests all drive.

exchange = Exchange(mapping, call, encoder, identity)
request = exchange.backend_request()              # what to send
reply = exchange.reply(status, headers)           # then, for what comes back:
reply.feed(data) -> bytes for the client ...      # until `reply.done`, `reply.fault` or the end
reply.end(); reply.close(counts)                  # the last bytes
"""

from __future__ import annotations

from collections.abc import Mapping as Dict
from dataclasses import dataclass, field
from urllib.parse import quote

from oaiproxy import jsontext
from oaiproxy.canonical import Call, Identity, Names, message_text
from oaiproxy.decoding import decoder
from oaiproxy.endpoints.encoding import Encoder
from oaiproxy.errors import BackendError, ClientError, OaiproxyError, ProxyError
from oaiproxy.events import Delta, Event, Fault, ToolCallDelta, Usage
from oaiproxy.extraction import Extraction, Plan
from oaiproxy.failures import describe, from_status, retry_seconds
from oaiproxy.filters import text as as_text
from oaiproxy.framing import FRAMINGS
from oaiproxy.jsontext import Json
from oaiproxy.mapping import Endpoint, Mapping, Operation
from oaiproxy.picks import Envelope
from oaiproxy.policy import unread_fields
from oaiproxy.sandbox import Absent, AbsentError, RenderError, Scope

MAX_FRAME = 1024 * 1024
MAX_REPLY = 32 * 1024 * 1024
MAX_ERROR = 256 * 1024
"""Bytes: of one streamed frame, of a whole reply, and of an error body that is read for its message."""


@dataclass(frozen=True, slots=True)
class BackendRequest:
    """What to send. Its headers hold credentials, so it does not print them."""

    method: str
    url: str
    headers: Dict[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Uncounted:
    """Texts whose tokens the backend did not count."""

    prompt: tuple[str, ...] | None
    completion: str | None


class Exchange:
    """One client request on its way through a mapping.

    Raises ClientError when the request uses what the mapping cannot express; `dropped` names the fields left out.
    """

    def __init__(self, mapping: Mapping, call: Call, encoder: Encoder, identity: Identity) -> None:
        endpoint = mapping.endpoint(call.endpoint)
        if endpoint is None:
            raise ClientError(
                f"The model '{call.model}' does not serve this endpoint; it serves: {', '.join(mapping.endpoints)}.",
                status=404,
                param="model",
                code="model_not_found",
            )
        self.mapping = mapping
        self.call = call
        self.encoder = encoder
        self.identity = identity
        self.dropped: tuple[str, ...] = unread_fields(call, endpoint.reads)
        self._endpoint: Endpoint = endpoint
        self._operation, self.backend_streams = endpoint.operation(call.stream)

    def backend_request(self) -> BackendRequest:
        """Render the request for the backend. Raises ClientError or ProxyError when it cannot be rendered."""
        mapping, template = self.mapping, self._operation.request
        names = Names(
            self.call,
            self.identity,
            model=mapping.models.get(self.call.model, self.call.model),
            stream=self.backend_streams,
            variables=mapping.variables,
        )
        scope = Scope(names)
        try:
            url = mapping.backend.url + _checked_path(template.path(scope))
            query = {**mapping.backend.query, **_items(template.query and template.query(scope))}
            headers = _headers(template.headers and template.headers(scope))
            body = self._body(scope)
        except AbsentError as error:
            raise self._absent(error) from error
        except RenderError as error:
            raise ProxyError(
                "the mapping could not build the backend's request",
                code="mapping_error",
                detail=str(error),
                retry=False,
            ) from error
        if body is not None and template.body is not None:
            headers.setdefault("Content-Type", "application/json")
        headers.update(mapping.backend.headers)
        return BackendRequest(template.method, url + _query_string(query), headers, body)

    def reply(self, status: int, headers: Dict[str, str], now: float | None = None) -> Reply:
        """The reader of the backend's reply: `headers` by lower-case names."""
        return Reply(self, status, headers, self.identity.now if now is None else now)

    def reading(self, content_type: str) -> tuple[Operation, bool]:
        """How a successful reply is read: as it was asked for, unless its content type says that it is the other kind.

        A stream that was asked for may come as one JSON document, and a whole answer as a stream.
        """
        asked, streams = self._operation, self.backend_streams
        whole, stream = self._endpoint.whole, self._endpoint.stream
        if streams and whole and asked.framing in ("sse", "text", "aws-eventstream") and "json" in content_type:
            if "x-ndjson" not in content_type:
                return whole, False
        elif not streams and stream and content_type in _STREAM_TYPES and stream.framing == _STREAM_TYPES[content_type]:
            return stream, True
        return asked, streams

    @property
    def alternative(self) -> Plan | None:
        """How to read the answer if it is whole although a stream was asked for in a JSON framing."""
        return self._endpoint.whole.plan if self._endpoint.whole else None

    def uncounted(self, completion: str, usage: Usage) -> Uncounted | None:
        """What has to be counted here, because the backend did not."""
        need_prompt, need_completion = usage.prompt is None, usage.completion is None
        if not (need_prompt or need_completion):
            return None
        return Uncounted(self._prompt_texts() if need_prompt else None, completion if need_completion else None)

    def _prompt_texts(self) -> tuple[str, ...]:
        """The texts that the mapping sends: the conversation, or its last message and the system text."""
        reads, messages = self._endpoint.reads, self.call.messages
        if not reads & {"messages", "turns", "request"}:
            kept = [m for m in messages[:-1] if "system" in reads and m["role"] in ("system", "developer")]
            messages = [*kept, *messages[-1:]]
        return tuple(message_text(message) for message in messages)

    def _body(self, scope: Scope) -> bytes | None:
        template = self._operation.request
        if template.body is not None:
            value = template.body(scope)
            return jsontext.dump({} if isinstance(value, Absent) else value)
        if template.body_text is not None:
            value = template.body_text(scope)
            return b"" if isinstance(value, Absent) else as_text(value).encode("utf-8", "replace")
        return None

    def _absent(self, error: AbsentError) -> OaiproxyError:
        """A template that makes text of what the client left out: the client can mend that, if it is its field."""
        detail = f"{self.mapping.file}: {error}"
        if error.name in _CLIENT_NAMES:
            param = _CLIENT_NAMES[error.name]
            message = f"Missing required parameter: '{param}': the model '{self.call.model}' needs it."
            return ClientError(message, param=param, code="missing_required_parameter", detail=detail)
        return ProxyError(
            "the mapping could not build the backend's request", code="mapping_error", detail=detail, retry=False
        )


class Reply:
    """The reader of one reply: bytes of the backend in, bytes for the client out, byte by byte if need be.

    `done` turns true when nothing more is to be read; `fault` holds the failure that ended it, after which only what
    was returned before may be sent.
    """

    def __init__(self, exchange: Exchange, status: int, headers: Dict[str, str], now: float) -> None:
        self.done = False
        self.fault: BackendError | None = None
        self.events = 0
        """How many events came so far: what a timer of progress looks at."""
        self._exchange = exchange
        self._status = status
        self._headers = headers
        self._now = now
        self._encoder = exchange.encoder
        self._said: list[str] = []
        self._usage = Usage()
        self._output: list[bytes] = []
        content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        operation, streams = exchange.reading(content_type)
        self._failed = not 200 <= status < 300
        self._undecided = streams and operation.framing in ("ndjson", "json-array", "json-concat")
        whole = self._failed or not streams
        limit = MAX_ERROR if self._failed else MAX_REPLY if whole else MAX_FRAME
        self._framing = FRAMINGS["whole" if whole else operation.framing](limit)
        self._envelope = Envelope(status, headers)
        self._extraction = Extraction(operation.plan, self._envelope, self._new_id)
        self._calls = 0
        self._body: list[bytes] = []
        try:
            self._decoder = decoder(headers.get("content-encoding", ""), limit if whole else None)
        except BackendError as error:
            self._fail(error)

    @property
    def unknown_finish_reasons(self) -> set[str]:
        """Finish reasons that neither the mapping nor we know, for the log."""
        return self._extraction.unknown

    def feed(self, data: bytes) -> bytes:
        """The bytes for the client that more of the reply makes."""
        if self.done or self.fault is not None:
            return b""
        try:
            for frame in self._framing.feed(self._decoder.feed(data)):
                if self._failed:
                    self._body.append(frame.data)
                    continue
                if self._undecided:
                    self._decide(frame.data)
                for event in self._extraction.feed(frame):
                    self._take(event)
                if self._extraction.done:
                    self.done = True
                    break
        except BackendError as error:
            self._fail(error)
        return self._taken()

    def end(self) -> bytes:
        """The end of the reply (or of our interest in it): the bytes that the rest makes, before `close`."""
        if self.fault is not None:
            return b""
        try:
            if not self.done:
                self._finish_framing()
            for event in self._extraction.close():
                self._take(event)
        except BackendError as error:
            self._fail(error)
        return self._taken()

    def uncounted(self) -> Uncounted | None:
        """What to count before `close`: texts whose tokens the backend did not tell, if the answer needs them."""
        if self.fault is not None or not self._encoder.wants_usage:
            return None
        return self._exchange.uncounted("".join(self._said), self._usage)

    def close(self, prompt: int | None = None, completion: int | None = None) -> bytes:
        """The last bytes of the answer; `prompt` and `completion` are the counts that `uncounted` asked for."""
        if self.fault is not None:
            return b""
        return self._encoder.close(_completed(self._usage, prompt, completion))

    def cut(self, error: BackendError) -> None:
        """The reply broke off in transport."""
        if self.fault is None:
            self._fail(error)

    def _finish_framing(self) -> None:
        rest = self._decoder.close()
        frames = [*self._framing.feed(rest)] if rest else []
        for frame in (*frames, *self._framing.close()):
            if self._failed:
                self._body.append(frame.data)
                continue
            if self._undecided:
                self._decide(frame.data)
            for event in self._extraction.feed(frame):
                self._take(event)
        if self._failed:
            raise self._error()

    def _decide(self, data: bytes) -> None:
        """The first value of a JSON framing tells whether the answer is a stream or came whole."""
        self._undecided = False
        plan = self._exchange.alternative
        if plan is None:
            return
        probe = Extraction(self._extraction.plan, Envelope(self._status, self._headers), str)
        if not _speaks(probe, data) and _speaks(Extraction(plan, Envelope(self._status, self._headers), str), data):
            self._extraction = Extraction(plan, self._envelope, self._new_id)

    def _error(self) -> BackendError:
        """The error for a reply with a status of failure."""
        body: Json = None
        raw = b"".join(self._body)
        try:
            body = jsontext.parse_lenient(raw)
        except jsontext.JsonError:
            body = None if b"<" in raw[:200] else raw.decode("utf-8", "replace")
        mapping = self._exchange.mapping
        message, kind, code = describe(body, self._envelope, mapping.errors)
        after = retry_seconds(self._headers.get("retry-after"), self._now)
        return from_status(self._status, message, retry_after=after, type=kind, code=code, secrets=mapping.secrets)

    def _take(self, event: Event) -> None:
        self.events += 1
        match event:
            case Usage():
                self._usage = event
                return
            case Delta(text=text):
                self._said.append(text)
            case ToolCallDelta(name=name, arguments=arguments):
                self._said.append((name or "") + arguments)
            case Fault(error=error):
                raise error
        self._output.append(self._encoder.feed(event))

    def _taken(self) -> bytes:
        data = b"".join(self._output)
        self._output.clear()
        return data

    def _fail(self, error: BackendError) -> None:
        self.fault = error

    def _new_id(self) -> str:
        self._calls += 1
        return f"call_{self._exchange.identity.token}{self._calls:02d}"


def _speaks(extraction: Extraction, data: bytes) -> bool:
    """Whether a reader finds anything in a frame: an event, the end, or a failure."""
    from oaiproxy.framing import Frame

    try:
        return any(True for _ in extraction.feed(Frame(data))) or extraction.done
    except BackendError as error:
        return error.code not in ("upstream_mapping_mismatch", "upstream_invalid_json")


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


_STREAM_TYPES = {"text/event-stream": "sse", "application/x-ndjson": "ndjson"}
_CLIENT_NAMES = {"system": "messages", "turns": "messages"} | {
    name: name
    for name in (
        "temperature",
        "top_p",
        "top_k",
        "max_tokens",
        "stop",
        "seed",
        "user",
        "tools",
        "tool_choice",
        "response_format",
        "reasoning_effort",
    )
}
"""Names that are absent because the client left a field out, and that field."""


def _checked_path(path: str) -> str:
    if any(segment in (".", "..") for segment in path.split("/")):
        raise RenderError("the path has a segment `.` or `..`")
    return path


def _items(value: Json) -> dict[str, Json]:
    return {} if value is None or isinstance(value, Absent) else value


def _headers(value: Json) -> dict[str, str]:
    made = {}
    for name, item in _items(value).items():
        text = as_text(item)
        if any(ord(character) < 32 or ord(character) == 127 for character in text):
            raise RenderError(f"the value of the header `{name}` holds a control character")
        made[name] = text
    return made


def _query_string(query: Dict[str, Json]) -> str:
    pairs = [
        f"{quote(name, safe='')}={quote(as_text(item), safe='')}"
        for name, value in query.items()
        for item in (value if isinstance(value, list) else [value])
    ]
    return "?" + "&".join(pairs) if pairs else ""
