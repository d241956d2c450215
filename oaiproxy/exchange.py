"""A client's request to the backend's: the spine that the server, `check`, `mock` and the tests all drive.

exchange = Exchange(mapping, call, encoder, identity)
request = exchange.backend_request()              # what to send
reply = exchange.reply(status, headers)           # then, for what comes back:
reply.feed(data) -> bytes for the client ...      # until `reply.done`, `reply.fault` or the end
reply.end(); reply.close(counts)                  # the last bytes
"""

from __future__ import annotations

from collections.abc import Mapping as Dict
from dataclasses import dataclass, field, replace
from typing import TypeAlias
from urllib.parse import quote

from oaiproxy import jsontext
from oaiproxy.answers import Answer
from oaiproxy.canonical import Call, Identity, Names
from oaiproxy.endpoints.encoding import Encoder
from oaiproxy.errors import ClientError, OaiproxyError, ProxyError
from oaiproxy.filters import kind
from oaiproxy.filters import text as as_text
from oaiproxy.framing import EMPTY
from oaiproxy.inputs import INPUTS
from oaiproxy.jsontext import Json
from oaiproxy.mapping import Endpoint, Mapping
from oaiproxy.policy import sent_texts, unread_fields
from oaiproxy.reply import Asked, Reply
from oaiproxy.requests import UnfitError
from oaiproxy.sandbox import Absent, AbsentError, RenderError, Scope
from oaiproxy.trees import Render

AnyReply: TypeAlias = Reply | Answer
"""The reader of a reply, whatever the endpoint."""


@dataclass(frozen=True, slots=True)
class BackendRequest:
    """What to send. Its headers hold credentials, so it does not print them."""

    method: str
    url: str
    headers: Dict[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)


class Exchange:
    """One client request on its way through a mapping.

    `client_headers` are those of the client's headers that the mapping asks for (`Mapping.client_headers`), by
    lower-case names. Raises ClientError when the request uses what the mapping cannot express; `dropped` names the
    fields left out.
    """

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
                f"The model '{call.model}' does not serve this endpoint; it serves: {', '.join(mapping.endpoints)}.",
                status=404,
                param="model",
                code="model_not_found",
            )
        if endpoint.result is not None:
            endpoint.result.check(call)
        told_of_choice = endpoint.reads & {"tool_choice", "request.tool_choice", "request.*"}
        if call.fields.get("tool_choice") == "none" and not told_of_choice:
            call = _without_tools(call)
        self.mapping = mapping
        self.call = call
        self.encoder = encoder
        self.identity = identity
        self.client_headers = client_headers
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
        elif template.body_text is not None and "content-type" not in map(str.lower, headers):
            headers["Content-Type"] = "text/plain; charset=utf-8"
        return BackendRequest(
            template.method, url + _query_string(query), _with_credentials(headers, mapping.backend.headers), body
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
        )
        now = self.identity.now if now is None else now
        if self._endpoint.result is not None:
            return Answer(asked, self.call, status, headers, now)
        return Reply(asked, status, headers, now)

    def _prompt_texts(self) -> tuple[str, ...]:
        """The texts that the mapping sends, for the count of tokens."""
        return sent_texts(self.call, self._endpoint.reads)

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


def _without_tools(call: Call) -> Call:
    """What `tool_choice: none` means to a backend that is not told of the choice."""
    fields, request = (
        {name: value for name, value in given.items() if name not in ("tools", "tool_choice")}
        for given in (call.fields, call.request)
    )
    return replace(call, fields=fields, request=request)


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
