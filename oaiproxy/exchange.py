"""A client's request to the backend's: the spine that the server, `check`, `mock` and the tests all drive.

exchange = Exchange(mapping, call, encoder, identity)
request = exchange.backend_request()              # what to send
reply = exchange.reply(status, headers)           # then, for what comes back:
reply.feed(data) -> bytes for the client ...      # until `reply.done`, `reply.fault` or the end
reply.end(); reply.close(counts)                  # the last bytes
"""

from __future__ import annotations

import re
from collections.abc import Mapping as Dict
from copy import copy
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias
from urllib.parse import quote

from oaiproxy.addresses import follow, over_http
from oaiproxy.answers import Answer
from oaiproxy.bodies import UnfitError
from oaiproxy.bounds import BOUNDS
from oaiproxy.canonical import Call, Identity, Names, custom_tools, served, without
from oaiproxy.chat_templates import NAME
from oaiproxy.conversations import sent_texts
from oaiproxy.endpoints.doors import DOORS
from oaiproxy.endpoints.echo import Echo
from oaiproxy.endpoints.encoding import Encoder
from oaiproxy.errors import BackendError, ClientError, OaiproxyError, ProxyError
from oaiproxy.extraction import Extraction
from oaiproxy.filters import kind
from oaiproxy.filters import text as as_text
from oaiproxy.flows import Flow
from oaiproxy.framing import EMPTY
from oaiproxy.inputs import INPUTS
from oaiproxy.jsontext import Json
from oaiproxy.mapping import Endpoint, Mapping
from oaiproxy.policy import PARTNERS, cuts, emulated, leave_out
from oaiproxy.promptlists import as_chat_asks, echoed, settled
from oaiproxy.reply import Asked, Reply
from oaiproxy.requests import RequestTemplate
from oaiproxy.sandbox import ABSENT, Absent, AbsentError, RenderError, Scope
from oaiproxy.sinks import Plan
from oaiproxy.textfilters import NO_TERMS, Terms
from oaiproxy.tool_prompts import in_text
from oaiproxy.trees import Render
from oaiproxy.variants import PLAIN

AnyReply: TypeAlias = Reply | Answer
"""The reader of a reply, whatever the endpoint."""


@dataclass(frozen=True, slots=True)
class BackendRequest:
    """What to send. Its address and its headers hold credentials, so it does not print them."""

    method: str
    url: str = field(repr=False)
    headers: Dict[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)
    websocket: bool = False
    """Whether the body is the first message of a websocket."""
    max_message: int = BOUNDS.event
    """Bytes of a message that comes from there."""


class Exchange:
    """One client request on its way through a mapping.

    `client_headers` are those of the client's headers that the mapping asks for (`Mapping.client_headers`), by
    lower-case names. Raises ClientError when the request uses what the mapping cannot express; `dropped` names the
    fields left out.
    """

    extraction = Extraction
    """What reads the frames of its replies."""

    def __init__(
        self,
        mapping: Mapping,
        call: Call,
        encoder: Encoder,
        identity: Identity,
        client_headers: Dict[str, str] = EMPTY,
    ) -> None:
        endpoint = mapping.endpoint(call.endpoint)
        if endpoint is None:
            raise ClientError(
                f"The model '{call.model}' does not serve this endpoint; it serves: {_served(mapping)}.",
                status=404,
                param="model",
                code="model_not_found",
            )
        if endpoint.result is not None:
            endpoint.result.check(call)
        tells_tools = "tools" in mapping.emulates and endpoint.result is None
        if call.fields.get("tool_choice") == "none" and (tells_tools or endpoint.reads.isdisjoint(_TOLD_OF_CHOICE)):
            call = without(call, ("tools", *PARTNERS["tools"]))
        call = served(call, mapping.name, asks_for_reasoning(endpoint.reads))
        if tells_tools:
            call = in_text(call)
        self.mapping = mapping
        self._variant = mapping.variants.get(call.model, PLAIN)
        self._whole_call = self._variant.completed(call)
        """What was asked, with what is done here and no template reads."""
        call, dropped = self._variant.without_dropped(call)
        here = emulated(call.endpoint, endpoint.reads, mapping.emulates) if mapping.emulates else mapping.emulates
        reads = _joined(endpoint.reads, here) if here else endpoint.reads
        call, unread = leave_out(call, reads, mapping.unsupported)
        call = self._variant.completed(settled(call, endpoint.reads))
        if echo := echoed(call, endpoint.reads):
            encoder = Echo(encoder, echo, int(call.fields.get("n", 1)))
        if endpoint is not mapping.endpoints.get(call.endpoint):
            call, left = as_chat_asks(call, reads, mapping.unsupported)
            unread += left
        self.call = call
        self.dropped: tuple[str, ...] = (*dropped, *unread)
        self.size = 0
        """Bytes of the client's request, where that is known."""
        self.encoder = encoder
        self.identity = identity
        self.client_headers = client_headers
        self.replies: Dict[str, Json] = EMPTY
        """The replies of the calls so far, as the templates of later ones see them."""
        self._endpoint: Endpoint = endpoint
        self._terms: dict[tuple[Render | None, Render | None], Terms] = {}
        self._cuts = "stop" in self.call.fields and ("stop" in here or cuts(call.endpoint, endpoint.reads))
        self._custom = custom_tools(self.call) if "tools" in self.call.fields else frozenset()
        self._single = self.call.fields.get("parallel_tool_calls") is False
        self._operation, self.backend_streams = endpoint.operation(call.stream, self._variant.stream)

    @property
    def reads(self) -> frozenset[str]:
        """What the templates of the endpoint read."""
        return self._endpoint.reads

    @property
    def each_input(self) -> bool:
        """Whether every input is a request of its own."""
        return self._endpoint.each_input

    @property
    def each_choice(self) -> bool:
        """Whether every choice is a request of its own."""
        return "n" in emulated(self.call.endpoint, self._endpoint.reads, self.mapping.emulates)

    @property
    def makes_results(self) -> bool:
        """Whether the answer is one object, whatever it is made of: not choices, which can be told as they come."""
        return self._endpoint.result is not None

    @property
    def each_prompt(self) -> bool:
        """Whether every prompt is a request of its own, as there are several."""
        return isinstance(self.call.fields.get("prompt"), list)

    def part(self, call: Call, encoder: Encoder, identity: Identity) -> Exchange:
        """The exchange of a part of the call, which is as this one's but for what is given."""
        made = copy(self)
        made.call, made._whole_call, made.encoder, made.identity = call, call, encoder, identity
        made.replies, made._terms = EMPTY, {}
        return made

    def again(self, encoder: Encoder) -> Exchange:
        """The same exchange once more, for another answer, which the encoder writes."""
        made = copy(self)
        made.encoder = self.encoder.over(encoder) if isinstance(self.encoder, Echo) else encoder
        made.replies, made._terms = EMPTY, {}
        return made

    def backend_request(self) -> BackendRequest:
        """Render the request for the backend. Raises ClientError or ProxyError when it cannot be rendered."""
        return self.render(self._operation.request)

    @property
    def main(self) -> RequestTemplate:
        """What the main request is made of."""
        return self._operation.request

    @property
    def flow(self) -> Flow | None:
        """The calls around the main one, where there are any."""
        return self._endpoint.flow

    def render(self, template: RequestTemplate) -> BackendRequest:
        """Render one of the requests, with `replies` for names. Raises ClientError, ProxyError or BackendError."""
        mapping = self.mapping
        scope = self._scope()
        try:
            if template is self._operation.request:
                for operation in (self._endpoint.whole, self._endpoint.stream):
                    self.terms((operation or self._operation).plan)
            url = self._address(template, scope)
            query = _items(template.query, scope) | dict(mapping.backend.query)
            headers = _headers(_items(template.headers, scope))
            made = None if template.body is None else template.body.encode(scope, self.identity.token)
        except UnfitError as error:
            unfit = ClientError(str(error), code="invalid_value", param=error.param)
            raise _told_by_reply(error, template) or unfit from error
        except AbsentError as error:
            raise _told_by_reply(error, template) or self._absent(error) from error
        except RenderError as error:
            raise _unbuildable(f"{mapping.file}: {error}") from error
        websocket = mapping.backend.websocket and template is self._operation.request
        if websocket:
            headers = {name: value for name, value in headers.items() if name.lower() != "content-type"}
        elif made is not None and "content-type" not in map(str.lower, headers):
            headers["Content-Type"] = made[1]
        return BackendRequest(
            "GET" if websocket else template.method,
            _with_query(url, query),
            _with_credentials(headers, mapping.backend.headers),
            None if made is None else made[0],
            websocket,
            mapping.bounds.event,
        )

    def reply(self, status: int, headers: Dict[str, str], now: float | None = None) -> AnyReply:
        """The reader of the backend's reply: `headers` by lower-case names."""
        asked = Asked(
            self.mapping,
            self._endpoint,
            self._operation,
            self.backend_streams,
            self.encoder,
            self.identity.token,
            self._prompt_texts,
            self.terms,
            self.replies.get("created"),
            self.extraction,
        )
        now = self.identity.now if now is None else now
        if self._endpoint.result is not None:
            return Answer(asked, self._whole_call, status, headers, now)
        return Reply(asked, status, headers, now)

    def terms(self, plan: Plan) -> Terms:
        """What this request says about the reading of its answer. Raises RenderError when a template fails."""
        if plan.prefix is None and plan.suffix is None and not (self._cuts or self._custom or self._single):
            return NO_TERMS
        ends = (plan.prefix, plan.suffix)
        if ends not in self._terms:
            scope = self._scope()
            prefix, suffix = (_text(template, scope) for template in ends)
            stop = scope.lookup("stop") if self._cuts else ABSENT
            words = () if isinstance(stop, Absent) else tuple(word for word in stop if word)
            choices = int(self.call.fields.get("n") or 1)
            self._terms[ends] = Terms(prefix, suffix, words, choices, self._custom, self._single)
        return self._terms[ends]

    def _scope(self) -> Scope:
        mapping = self.mapping
        names = Names(
            self.call,
            self.identity,
            model=mapping.models.get(self.call.model, self.call.model),
            stream=self.backend_streams,
            variables=mapping.variables if self._variant.variables is None else self._variant.variables,
            headers=_seen(self.client_headers, mapping.read_headers) if mapping.read_headers else EMPTY,
        )
        scope = Scope(names, mapping.bounds)
        if (chat_template := self._endpoint.chat_template) is not None:
            names.derive(NAME, lambda: chat_template.render(self.call, self.identity.now, scope))
        return scope.inner(dict(self.replies)) if self.replies else scope

    def chat_prompt(self) -> str | None:
        """The conversation as the chat template writes it; None without a template, or where it cannot."""
        if self._endpoint.chat_template is None:
            return None
        try:
            return str(self._scope().lookup(NAME))
        except RenderError:
            return None

    def _prompt_texts(self) -> tuple[str, ...]:
        """The texts that the mapping sends, for the count of tokens."""
        return sent_texts(self.call, self._endpoint.reads)

    def _address(self, template: RequestTemplate, scope: Scope) -> str:
        backend = self.mapping.backend
        if template.url is None:
            return f"{backend.url}{template.path(scope)}"
        found, base = template.url(scope), backend.url
        if backend.websocket:  # which is http until the handshake
            found, base = over_http(found), over_http(base)
        return follow(found, base, backend.allow_hosts, local=backend.local)

    def _absent(self, error: AbsentError) -> OaiproxyError:
        """A template that makes text of what the client left out: the client can mend that, if it is its field."""
        detail = f"{self.mapping.file}: {error}"
        if error.name in _CLIENT_NAMES:
            param = _CLIENT_NAMES[error.name]
            message = f"Missing required parameter: '{param}': the model '{self.call.model}' needs it."
            return ClientError(message, param=param, code="missing_required_parameter", detail=detail)
        return _unbuildable(detail)


_TOLD_OF_CHOICE = frozenset(("tool_choice", "request.tool_choice", "request.*"))
"""What templates read that tell the backend not to call tools."""
_REASONING = frozenset(
    f"{owner}.{parts}.type=reasoning"
    for owner in ("messages", "messages[]", "turns", "turns[]")
    for parts in ("parts", "parts[]")
)
"""What templates read that ask for parts with reasoning by name."""


@lru_cache(maxsize=256)
def asks_for_reasoning(reads: frozenset[str]) -> bool:
    """Whether templates ask for parts with reasoning."""
    return not reads.isdisjoint(_REASONING)


@lru_cache(maxsize=256)
def _joined(reads: frozenset[str], here: frozenset[str]) -> frozenset[str]:
    partners = (partner for name in here for partner in PARTNERS.get(name, ()))
    return reads | here | frozenset(partners)


_CLIENT_NAMES = {name: name for fields in INPUTS.values() for name in fields} | {"tokens": "input"}
_CLIENT_NAMES |= {"system": "messages", "turns": "messages"} | {
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


def _served(mapping: Mapping) -> str:
    """The paths of the endpoints that a mapping has."""
    return ", ".join(door.path for name, door in DOORS.items() if mapping.endpoint(name) is not None)


def _seen(headers: Dict[str, str], names: frozenset[str]) -> dict[str, str]:
    return {name: _readable(value) for name, value in headers.items() if name in names}


def _readable(value: str) -> str:
    """A client's header as text: bytes that are not UTF-8, which come as surrogates, are replaced."""
    return value if value.isascii() else value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _text(template: Render | None, scope: Scope) -> str:
    value = None if template is None else template(scope)
    return "" if value is None or isinstance(value, Absent) else as_text(value)


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


def _told_by_reply(error: RenderError, template: RequestTemplate) -> BackendError | None:
    """The fault of a backend whose reply lacks what a later request is made of; None when it is another's."""
    if isinstance(error, AbsentError) and error.name in _CLIENT_NAMES:
        return None
    text = str(getattr(error.source, "value", ""))
    names = [name for name in sorted(template.replies) if re.search(rf"\b{name}\b", text)]
    if not names:
        return None
    message = f"the backend's reply `{names[0]}` lacks what the next request is made of"
    return BackendError(message, code="upstream_mapping_mismatch", detail=f"{text[:200]}: {error}", retry=False)


def _with_query(url: str, query: Dict[str, Json]) -> str:
    """The address with the parameters, be there some in it or not."""
    made = _query_string(query)
    return url + ("&" + made[1:] if made and "?" in url else made)


def _query_string(query: Dict[str, Json]) -> str:
    pairs = [
        f"{_encoded(name)}={_encoded(as_text(item))}"
        for name, value in query.items()
        for item in (value if isinstance(value, list) else [value])
    ]
    return "?" + "&".join(pairs) if pairs else ""


def _encoded(text: str) -> str:
    return quote(text, safe="", errors="replace")
