"""What was sent to a backend, as data: each request, each field of it with what made it, and what was left out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from collections.abc import Mapping as Dict
from dataclasses import asdict, dataclass

from oaiproxy.auth import Passthrough, Signed, TokenAuth
from oaiproxy.backends import MOCK_URL
from oaiproxy.bodies import content_type, decoded
from oaiproxy.client_fields import ClientFields, Origin, holds
from oaiproxy.commandlines import Shown, as_curl, as_http
from oaiproxy.diagnostics import Span
from oaiproxy.differences import place_name
from oaiproxy.discretion import HIDDEN, Discretion, mapped, plain, referred
from oaiproxy.entrances import Entrance
from oaiproxy.errors import ApiError
from oaiproxy.exchange import BackendRequest
from oaiproxy.jsontext import Json
from oaiproxy.mapping import Mapping
from oaiproxy.provenance import PARTS, Lost, Piece
from oaiproxy.source import Source
from oaiproxy.templates import has_template
from oaiproxy.tracing import Sent

LONGEST = 500
"""Characters of one text that is told."""
_CONDITIONS = ("$for", "$if", "$match")
_KINDS = ("client", "header", "reply", "model", "mapping", "proxy")
"""What a field comes from, the most telling first."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is explained: a mapping, its text as data, and what must not be told of it."""

    mapping: Mapping
    root: Source
    discretion: Discretion

    def value(self, value: Json) -> Json:
        """A value as it may be told."""
        return mapped(self.discretion.data(value), clipped)


def clipped(text: str) -> str:
    """Text that is not too long."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def place(span: Span | None) -> Json:
    """A place in a mapping as data."""
    return asdict(span) if span is not None else None


class Sends:
    """The requests of one client's, whose body and headers are given."""

    def __init__(self, subject: Subject, entrance: Entrance, body: Json, headers: Dict[str, str]) -> None:
        self._subject = subject
        self._entrance = entrance
        self._body = entrance.call.request if entrance.call.sent else body
        self._headers = headers
        self._auth = _Credentials(subject)

    def of(self, sent: Sent) -> dict[str, Json]:
        """One request."""
        request, exchange = sent.request, sent.exchange
        fields = ClientFields(exchange.call, self._body, self._headers, sent.template.replies, self.name)
        shown = self._auth.shown(request)
        call, name = _called(sent)
        body = None if request.body is None else decoded(request.body, content_type(request.headers))
        return {
            "call": call,
            "name": name,
            "method": shown.method,
            "url": plain(shown.url),
            "headers": {key: plain(value) for key, value in shown.headers.items()},
            "body": self._subject.discretion.data(body),
            "websocket": request.websocket,
            "http": as_http(shown, self._subject.discretion),
            "curl": None if request.websocket else as_curl(shown, self._subject.discretion),
            "fields": [*self._fields(sent, fields), *self._made(sent, shown)],
            "left_out": list(self._left_out(sent, fields)),
        }

    def name(self, field: str) -> str:
        """The client's name of a field that is named by chat's."""
        call = self._entrance.call
        if not call.sent:
            return field
        field = field.replace("[-1]", f"[{len(call.messages) - 1}]")
        name = self._entrance.param(field.partition("[]")[0])
        whole, _, last = name.rpartition(".")
        steps = re.findall(r"[^.\[\]]+", name)
        return whole if last in ("role", "content") and not holds(call.sent, steps) else name

    def _fields(self, sent: Sent, fields: ClientFields) -> Iterator[dict[str, Json]]:
        hidden = {name.lower() for name in self._subject.mapping.backend.headers}
        for piece in sent.pieces:
            if piece.part in ("headers", "query") and (
                piece.value is None or not piece.path or str(next(iter(piece.path), "")).lower() in hidden
            ):
                continue
            origins = [origin for read in piece.reads for origin in fields.of(read)]
            kind = next((kind for kind in _KINDS if any(each.kind == kind for each in origins)), "constant")
            yield {
                "part": _part(piece.part),
                "path": place_name(piece.path),
                "value": self._value(piece),
                "kind": kind,
                "source": place(piece.source.span()),
                "template": self._template(piece.source),
                "from": [asdict(origin) for origin in origins],
                "under": list(self._conditions(piece.source)),
            }

    def _value(self, piece: Piece) -> Json:
        written = _written(piece.source)
        refers = written is not None and self._subject.discretion.refers(written)
        if written is not None and refers and not has_template(written) and isinstance(piece.value, str):
            return clipped(plain(referred(written)))
        return self._subject.value(piece.value)

    def _template(self, source: Source) -> str:
        written = _written(source)
        if written is not None:
            return clipped(plain(referred(written)))
        return clipped(self._subject.discretion.text(source.value)) if isinstance(source.value, str) else ""

    def _conditions(self, source: Source) -> Iterator[dict[str, Json]]:
        """The directives around a place, the outermost first."""
        start = _start(source)
        node: Json = source.document.data
        for depth, step in enumerate(source.path):
            try:
                node = node[step]
            except (KeyError, IndexError, TypeError):
                return
            if depth < start or not isinstance(node, dict):
                continue
            for key in _CONDITIONS:
                if key in node:
                    at = (*source.path[: depth + 1], key)
                    told = self._subject.discretion.text(str(node[key]))
                    yield {"directive": key, "expression": told, "source": place(source.document.span(at))}

    def _made(self, sent: Sent, shown: Shown) -> Iterator[dict[str, Json]]:
        """What no template made: the content type, and what proves who sends the request."""
        given = {str(piece.path[0]).lower() for piece in sent.pieces if piece.part == "headers" and piece.path}
        own = self._auth.headers.keys() | {name.lower() for name in self._subject.mapping.backend.headers}
        own = {name.lower() for name in own}
        for name, value in shown.headers.items():
            if name.lower() in own:
                yield _plainly("headers", name, plain(value), "credential", self._auth.span)
            elif name.lower() not in given:
                yield _plainly("headers", name, plain(value), "proxy", None)
        for name, value in self._auth.query.items():
            yield _plainly("query", name, plain(value), "credential", self._auth.span)

    def _left_out(self, sent: Sent, fields: ClientFields) -> Iterator[dict[str, Json]]:
        """The parts of the mapping that made nothing, each once; of a loop, those that made nothing in no round."""
        made = {piece.source.path for piece in sent.pieces}
        lost = {each.source.path: each for each in sent.lost if each.source.path not in made}
        for each in lost.values():
            origins = [origin for read in each.reads for origin in fields.of(read)]
            yield {
                "part": _part(_part_name(each.source)),
                "path": place_name(_path(each.source)),
                "reason": self._subject.discretion.text(_reason(each, origins)),
                "source": place(each.source.span()),
                "template": self._template(each.source),
                "from": [asdict(origin) for origin in origins],
            }


class _Credentials:
    """What proves who sends a request, as it may be shown: references between marks, or `***`."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        whole = Source(subject.root.document, (), subject.root.document.data)["backend"]
        self._url = whole["url"]
        self._backend = subject.mapping.backend
        auth = whole.get("auth")  # also where the environment lacks it, and the mapping is compiled without
        self.span = auth.span() if auth else None
        self.headers: dict[str, str] = {}
        self.query: dict[str, str] = {}
        self.user = ""
        if auth is not None:
            self._read(auth)
        self.headers |= {name: HIDDEN for name in self._backend.headers if name not in self.headers}
        self.query |= {name: HIDDEN for name in self._backend.query if name not in self.query}

    def _read(self, auth: Source) -> None:
        given = auth.value
        if "bearer" in given:
            self.headers["Authorization"] = f"Bearer {_secret(auth['bearer'])}"
        elif "header" in given and "value" in given:
            self.headers[given["header"]] = _secret(auth["value"])
        elif "query" in given and "value" in given:
            self.query[given["query"]] = _secret(auth["value"])
        elif "basic" in given:
            self.user = ":".join(_secret(auth["basic"][key]) for key in ("user", "password"))
            self.headers["Authorization"] = f"Basic {HIDDEN}"
        match self._backend.auth:
            case Passthrough(to=to):
                self.headers[to] = HIDDEN
            case TokenAuth(send=send):
                if send.header:
                    self.headers[send.header] = self._around(send.value)
                if send.query:
                    self.query[send.query] = "\0$TOKEN\0"
            case Signed():
                signs = given.get("sign") or {"headers": {"Authorization": ""}}
                self.headers |= dict.fromkeys(signs.get("headers") or (), HIDDEN)
                self.query |= dict.fromkeys(signs.get("query") or (), HIDDEN)

    def _around(self, value: object) -> str:
        try:
            return str(value("TOKEN-HERE")).replace("TOKEN-HERE", "\0$TOKEN\0")  # type: ignore[operator]
        except ApiError:
            return HIDDEN

    def shown(self, request: BackendRequest) -> Shown:
        """A request as it may be shown."""
        hidden = {name.lower(): value for name, value in self.headers.items()}
        headers = {
            name: hidden.pop(name.lower(), "") or self._subject.discretion.marked(value)
            for name, value in request.headers.items()
        }
        names = {name.lower(): name for name in self.headers}
        headers |= {names[name]: value for name, value in hidden.items()}
        return Shown(request.method, self._address(request.url), headers, request.body, self.user)

    def _address(self, url: str) -> str:
        base, written = self._backend.url, _written(self._url)
        elsewhere = written is not None and (base in ("", MOCK_URL) or self._subject.discretion.refers(written))
        if written is not None and elsewhere and url.startswith(base):
            shown = referred(written).rstrip("/") + self._subject.discretion.marked(url[len(base) :])
        else:
            shown = self._subject.discretion.marked(url)
        for name, value in self.query.items():
            pair = re.compile(rf"(?<=[?&])({re.escape(name)}=)[^&]*")
            if pair.search(shown):
                shown = pair.sub(lambda found: found[1] + value, shown)  # noqa: B023 - used at once
            else:
                shown += f"{'&' if '?' in shown else '?'}{name}={value}"
        return shown


def _secret(source: Source) -> str:
    """A credential: the variable that holds it, or nothing of it."""
    written = _written(source)
    return HIDDEN if written is None else referred(written)


def _written(source: Source) -> str | None:
    return source.document.written(source.path)


def _plainly(part: str, path: str, value: str, kind: str, span: Span | None) -> dict[str, Json]:
    more: dict[str, Json] = {"source": place(span), "template": "", "from": [], "under": []}
    return {"part": part, "path": path, "value": value, "kind": kind, **more}


def _called(sent: Sent) -> tuple[str, str | None]:
    """Which of the calls of an exchange it is, and the name that it has in the mapping."""
    flow, template = sent.exchange.flow, sent.template
    if flow is not None:
        for call, steps in (("before", flow.before), ("after", flow.after)):
            for step in steps:
                if step.request is template:
                    return call, step.name
        if flow.poll is not None and template is flow.poll.request:
            return "poll", None
        if flow.poll is not None and template is flow.poll.result:
            return "result", None
        if flow.cancel is not None and template is flow.cancel.request:
            return "cancel", None
    return "main", None


def _start(source: Source) -> int:
    """Where in a source's path the part of the request begins."""
    return next((depth for depth, step in enumerate(source.path) if step in PARTS), 0)


def _part_name(source: Source) -> str:
    return str(source.path[_start(source)])


def _part(name: str) -> str:
    return "body" if name.startswith("body") else "path" if name == "url" else name


def _path(source: Source) -> tuple[str | int, ...]:
    """The path that a place of the mapping has in what is sent, without directives and the lists of their trees."""
    made: list[str | int] = []
    steps = source.path[_start(source) + 1 :]
    for before, step in zip(("", *steps), steps, strict=False):
        if before == "$cases" or (isinstance(step, str) and step.startswith("$") and not step.startswith("$$")):
            continue
        if not (before in ("$merge", "$items") and isinstance(step, int)):
            made.append(step.removeprefix("$") if isinstance(step, str) else step)
    return tuple(made)


def _reason(lost: Lost, origins: Sequence[Origin]) -> str:
    given = lost.source.value
    if isinstance(given, dict):
        for key in ("$if", "$match"):
            if key in given:
                what = "is not true" if key == "$if" else "has no case for this request"
                return f"`{key}: {given[key]}` {what}"
    if isinstance(given, list):
        loops = [item["$for"] for item in given if isinstance(item, dict) and "$for" in item]
        if loops:
            return f"`$for: {loops[0]}` has no items"
    if any(each.name == "system" and not each.sent for each in origins):
        return "no message has the role `system`"
    missing = list(dict.fromkeys(each.field for each in origins if each.kind == "client" and not each.sent))
    if missing:
        return f"the client sent no {' and no '.join(f'`{name}`' for name in missing)}"
    return f"`{clipped(given)}` gives nothing" if isinstance(given, str) else "nothing is left in it"
