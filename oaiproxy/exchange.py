"""One request and its reply, purely: the spine that the server, `check`, `mock` and the tests all drive.

exchange = Exchange(mapping, call, encoder, identity)
request = exchange.backend_request()              # what to send
reply = exchange.reply(status, headers)           # then, for what comes back:
reply.feed(data) -> bytes for the client ...      # until `reply.done`, `reply.fault` or the end
reply.end(); reply.close(counts)                  # the last bytes
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as Dict
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from oaiproxy import jsontext
from oaiproxy.canonical import Call, Identity, Names, message_text
from oaiproxy.decoding import decoder
from oaiproxy.endpoints.encoding import Encoder
from oaiproxy.errors import BackendError, ClientError, OaiproxyError, ProxyError
from oaiproxy.events import Delta, Event, Fault, ToolCallDelta, Usage
from oaiproxy.extraction import Extraction, Plan
from oaiproxy.failures import describe, from_status, retry_seconds
from oaiproxy.filters import kind
from oaiproxy.filters import text as as_text
from oaiproxy.framing import FRAMINGS, Frame
from oaiproxy.jsontext import Json
from oaiproxy.mapping import Endpoint, Mapping, Operation, UnfitError
from oaiproxy.picks import Envelope
from oaiproxy.policy import unread_fields
from oaiproxy.sandbox import Absent, AbsentError, RenderError, Scope
from oaiproxy.trees import Render

MAX_FRAME = 1024 * 1024
MAX_REPLY = 32 * 1024 * 1024
MAX_ERROR = 256 * 1024
"""Bytes: of one streamed frame, of a whole reply, and of an error body that is read for its message."""
JSON_FRAMINGS = ("ndjson", "json-array", "json-concat")
"""Framings whose content type is often that of a whole answer, so that only the first value tells which it is."""
_BLANK = b" \t\r\n\xef\xbb\xbf"


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
        told_of_choice = endpoint.reads & {"tool_choice", "request.tool_choice", "request.*"}
        if call.fields.get("tool_choice") == "none" and not told_of_choice:
            call = _without_tools(call)
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
            url = mapping.backend.url + template.path(scope)
            query = _items(template.query, scope) | dict(mapping.backend.query)
            headers = _headers(_items(template.headers, scope))
            body = self._body(scope)
        except UnfitError as error:
            raise ClientError(str(error), code="invalid_value") from error
        except AbsentError as error:
            raise self._absent(error) from error
        except RenderError as error:
            raise _unbuildable(f"{mapping.file}: {error}") from error
        if template.body is not None and "content-type" not in map(str.lower, headers):
            headers["Content-Type"] = "application/json"
        return BackendRequest(
            template.method, url + _query_string(query), _with_credentials(headers, mapping.backend.headers), body
        )

    def reply(self, status: int, headers: Dict[str, str], now: float | None = None) -> Reply:
        """The reader of the backend's reply: `headers` by lower-case names."""
        return Reply(self, status, headers, self.identity.now if now is None else now)

    def reading(self, content_type: str) -> tuple[Operation, bool]:
        """How a successful reply is read: as it was asked for, unless its content type says that it is the other kind.

        A stream that was asked for may come as one JSON document, and a whole answer as a stream.
        """
        asked, streams = self._operation, self.backend_streams
        whole, stream = self._endpoint.whole, self._endpoint.stream
        if streams and whole and asked.framing not in JSON_FRAMINGS and _is_json(content_type):
            return whole, False
        if not streams and stream and stream.framing == _STREAM_TYPES.get(content_type):
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
            try:
                return jsontext.dump({} if isinstance(value, Absent) else value)
            except (TypeError, ValueError, RecursionError) as error:
                raise RenderError(f"the body is not JSON: {error}") from error
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
        return _unbuildable(detail)


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
        self._counts = exchange.encoder.wants_usage
        self._said: list[str] = []
        self._usage = Usage()
        self._output: list[bytes] = []
        self._failed = not 200 <= status < 300
        self._body = bytearray()
        self._calls = 0
        content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        operation, streams = exchange.reading(content_type)
        framing = operation.framing if streams else "whole"
        limit = MAX_ERROR if self._failed else MAX_FRAME if streams else MAX_REPLY
        self._undecided = framing in JSON_FRAMINGS
        self._blank = framing != "text" and (streams or operation.plan.data == "json")
        """Whether nothing but white space came so far, of what is to be JSON or events."""
        self._framing = FRAMINGS[framing](limit)
        self._envelope = Envelope(status, headers)
        self._extraction = Extraction(operation.plan, self._envelope, self._new_id)
        try:
            self._decoder = decoder(headers.get("content-encoding", ""), limit if self._failed or not streams else None)
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
            self._read(self._decoder.feed(data))
        except BackendError as error:
            self._fail(error)
        return self._taken()

    def end(self) -> bytes:
        """The end of the reply (or of our interest in it): the bytes that the rest makes, before `close`."""
        if self.fault is not None:
            return b""
        try:
            if not self.done:
                self._read(self._decoder.close())
                if self._failed:
                    raise self._error()
                self._frames(self._framing.close())
            self._take(self._extraction.close())
        except BackendError as error:
            self._fail(error)
        return self._taken()

    def uncounted(self) -> Uncounted | None:
        """What to count before `close`: texts whose tokens the backend did not tell, if the answer needs them."""
        if self.fault is not None or not self._counts:
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

    def _read(self, data: bytes) -> None:
        if self._failed:
            self._body += data
            if len(self._body) > MAX_ERROR:
                raise self._error()
            return
        if self._blank and (start := data.lstrip(_BLANK)):
            self._blank = False
            if start.startswith(b"<"):
                raise BackendError(
                    "the backend answered with a web page or XML, not with what its mapping describes",
                    code="upstream_invalid_response",
                )
        self._frames(self._framing.feed(data))

    def _frames(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            if self._undecided:
                self._decide(frame)
            self._take(self._extraction.feed(frame))
            if self._extraction.done:
                self.done = True
                return

    def _decide(self, frame: Frame) -> None:
        """The first value of a JSON framing tells whether the answer is a stream or came whole."""
        self._undecided = False
        plan = self._exchange.alternative
        if plan is not None and not self._speaks(self._extraction.plan, frame) and self._speaks(plan, frame):
            self._extraction = Extraction(plan, self._envelope, self._new_id)

    def _speaks(self, plan: Plan, frame: Frame) -> bool:
        """Whether a reader by that plan finds an answer in a frame: text, a tool call, the end, or a failure."""
        probe = Extraction(plan, Envelope(self._status, self._headers), str)
        events = probe.feed(frame)
        return probe.done or probe.resolved or any(map(_is_answer, events))

    def _take(self, events: list[Event]) -> None:
        encode, output = self._encoder.feed, self._output
        for event in events:
            self.events += 1
            match event:
                case Fault(error=error):
                    raise error
                case Usage():
                    self._usage = event
                    continue
                case Delta(text=text) if self._counts:
                    self._said.append(text)
                case ToolCallDelta(name=name, arguments=arguments) if self._counts:
                    self._said.append((name or "") + arguments)
            output.append(encode(event))

    def _taken(self) -> bytes:
        data = b"".join(self._output)
        self._output.clear()
        return data

    def _error(self) -> BackendError:
        """The error for a reply with a status of failure, and as much of its body as came."""
        raw = bytes(self._body[:MAX_ERROR])
        body: Json = None
        try:
            body = jsontext.parse_lenient(raw)
        except jsontext.JsonError:
            body = raw.decode("utf-8", "replace")
        mapping = self._exchange.mapping
        message, kind, code = describe(body, self._envelope, mapping.errors)
        after = retry_seconds(self._headers.get("retry-after"), self._now)
        return from_status(self._status, message, retry_after=after, type=kind, code=code, secrets=mapping.secrets)

    def _fail(self, error: BackendError) -> None:
        """The reply ends here. A status of failure says more than a body that is too long, broken off or unreadable."""
        self.fault = self._error() if self._failed else error

    def _new_id(self) -> str:
        self._calls += 1
        return f"call_{self._exchange.identity.token}{self._calls:02d}"


def _is_answer(event: Event) -> bool:
    match event:
        case Delta() | ToolCallDelta():
            return True
        case Fault(error=error):
            return error.code not in ("upstream_mapping_mismatch", "upstream_invalid_json", "upstream_invalid_utf8")
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


def _is_json(content_type: str) -> bool:
    """Whether a media type is that of one JSON document (RFC 6839, 3.1)."""
    return content_type == "application/json" or (content_type.endswith("+json") and "stream" not in content_type)


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


def _without_tools(call: Call) -> Call:
    """What `tool_choice: none` means to a backend that is not told of the choice."""
    fields = {name: value for name, value in call.fields.items() if name not in ("tools", "tool_choice")}
    return replace(call, fields=fields)


def _unbuildable(detail: str) -> ProxyError:
    message = "the mapping could not build the backend's request"
    return ProxyError(message, code="mapping_error", detail=detail, retry=False)


def _items(template: Render | None, scope: Scope) -> dict[str, Json]:
    """The headers or the query: what is absent or null is left out."""
    value = None if template is None else template(scope)
    if value is None or isinstance(value, Absent):
        return {}
    if not isinstance(value, dict):
        raise RenderError(f"headers and query are objects, not {kind(value)}")
    return {name: item for name, item in value.items() if item is not None}


def _headers(items: dict[str, Json]) -> dict[str, str]:
    made = {}
    for name, item in items.items():
        text = as_text(item)
        if any(ord(character) < 32 or ord(character) == 127 for character in text):
            raise UnfitError(f"a value that the backend takes in its header '{name}' holds a control character")
        made[name] = text
    return made


def _with_credentials(headers: dict[str, str], credentials: Dict[str, str]) -> dict[str, str]:
    """The headers with the credentials in place of any of the same name, however it is written."""
    if not credentials:
        return headers
    names = {name.lower() for name in credentials}
    return {name: value for name, value in headers.items() if name.lower() not in names} | dict(credentials)


def _query_string(query: Dict[str, Json]) -> str:
    pairs = [
        f"{_encoded(name)}={_encoded(as_text(item))}"
        for name, value in query.items()
        for item in (value if isinstance(value, list) else [value])
    ]
    return "?" + "&".join(pairs) if pairs else ""


def _encoded(text: str) -> str:
    return quote(text, safe="", errors="replace")
