"""A mapping file, checked against the schema, to an immutable `Mapping` of compiled templates and selectors."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from collections.abc import Mapping as Dict
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from oaiproxy.canonical import SHAPES
from oaiproxy.diagnostics import Diagnostic, did_you_mean
from oaiproxy.extraction import FinishReasons, Plan, Sinks, ToolCallPicks
from oaiproxy.failures import ErrorSelectors
from oaiproxy.jsontext import Json
from oaiproxy.picks import Envelope, Pick, compile_pick
from oaiproxy.sandbox import RenderError, Sandbox, as_text
from oaiproxy.source import Source, merge
from oaiproxy.templates import Compilation, compile_leaf, has_template
from oaiproxy.trees import Render, compile_tree

ENDPOINTS = ("chat", "completions")
MOCK_URL = "mock:"
"""The backend address that stands for the mapping's own examples, served on loopback."""

FORBIDDEN_HEADERS = frozenset(
    ("host", "content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade", "expect", "keep-alive")
)
_TEMPLATE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: to connect, to the first event, between events, and for the whole reply."""

    connect: float = 5.0
    first_byte: float = 120.0
    idle: float = 60.0
    total: float = 900.0


@dataclass(frozen=True, slots=True)
class Backend:
    """Where requests go, and what they all carry. `headers` and `query` hold the credentials."""

    url: str
    headers: Dict[str, str] = field(default_factory=dict, repr=False)
    query: Dict[str, str] = field(default_factory=dict, repr=False)
    timeouts: Timeouts = field(default_factory=Timeouts)


@dataclass(frozen=True, slots=True)
class RequestTemplate:
    """What a backend request is made of. `body` renders JSON, `body_text` text of another kind."""

    method: str
    path: Render
    headers: Render | None
    query: Render | None
    body: Render | None
    body_text: Render | None


@dataclass(frozen=True, slots=True)
class Operation:
    """One way to ask the backend, and how to read what it answers."""

    request: RequestTemplate
    plan: Plan
    framing: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An OpenAI endpoint on this backend: asked for a whole answer, for a stream, or either."""

    whole: Operation | None
    stream: Operation | None
    reads: frozenset[str]
    """The paths of names that the request templates read."""

    def operation(self, stream: bool) -> tuple[Operation, bool]:
        """How to ask for a client that streams, or not, and whether the backend streams then."""
        if (stream and self.stream is not None) or self.whole is None:
            assert self.stream is not None
            return self.stream, True
        return self.whole, False


@dataclass(frozen=True, slots=True)
class Example:
    """A recorded round in the mapping: the client's request, what is sent, what the backend answers, what comes out."""

    name: str
    endpoint: str
    request: Dict[str, Json]
    sends: Json
    sends_like: Json
    backend: Dict[str, Json]
    replies: Dict[str, Json]
    source: Source


@dataclass(frozen=True, slots=True)
class Mapping:
    """A compiled mapping file."""

    name: str
    description: str
    file: str
    models: Dict[str, str]
    backend: Backend
    endpoints: Dict[str, Endpoint]
    errors: ErrorSelectors
    variables: Dict[str, Json]
    examples: Sequence[Example]
    secrets: frozenset[str] = field(repr=False)

    def endpoint(self, name: str) -> Endpoint | None:
        """The block for an endpoint; completions are served by `chat` where they have none of their own."""
        return self.endpoints.get(name) or (self.endpoints.get("chat") if name == "completions" else None)


def compile_mapping(root: Source, default_name: str) -> tuple[Mapping | None, list[Diagnostic]]:
    """Compile a document that the schema accepts. The mapping is None when an error was found."""
    compilation = Compilation(SHAPES)
    compiler = _Compiler(root, compilation)
    mapping = compiler.mapping(default_name)
    findings = list(dict.fromkeys(compilation.findings))
    return (mapping if not any(found.severity == "error" for found in findings) else None), findings


class _Compiler:
    def __init__(self, root: Source, compilation: Compilation) -> None:
        self._root = root
        self._compilation = compilation
        self._path_sandbox = Sandbox(finalize=path_piece)
        self._secrets = set(root.document.secrets)
        reasons = root.get("finish_reasons")
        self._reasons = FinishReasons(dict(reasons.value) if reasons else {})

    def mapping(self, default_name: str) -> Mapping:
        root = self._root.value
        return Mapping(
            name=root.get("name") or default_name,
            description=root.get("description") or "",
            file=self._root.document.file,
            models=self._models(),
            backend=self._backend(),
            endpoints={name: self._endpoint(self._root[name]) for name in ENDPOINTS if root.get(name)},
            errors=self._errors(self._root.get("errors")),
            variables=root.get("vars") or {},
            examples=[self._example(child, index) for index, child in enumerate(self._root.get("examples") or ())],
            secrets=frozenset(self._secrets),
        )

    def _models(self) -> dict[str, str]:
        models = self._root.value["models"]
        if isinstance(models, list):
            return {name: name for name in models}
        return {name: name if target is None else target for name, target in models.items()}

    def _backend(self) -> Backend:
        source = self._root["backend"]
        url = source["url"]
        self._check_url(url)
        headers: dict[str, str] = {}
        query: dict[str, str] = {}
        if auth := source.get("auth"):
            self._auth(auth, headers, query)
        timeouts = source.get("timeouts")
        given = {key: seconds(value) for key, value in timeouts.value.items()} if timeouts else {}
        return Backend(url.value.rstrip("/"), headers, query, Timeouts(**given))

    def _check_url(self, url: Source) -> None:
        text = url.value
        if text == MOCK_URL or url.path in url.document.unresolved:
            return
        if has_template(text):
            self._report("E105", "`backend.url` cannot hold a template", url, "the host never depends on a request")
            return
        try:
            parts = urlsplit(text)
            valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port is not False
        except ValueError:
            valid = False
        if not valid:
            self._report("E105", "`backend.url` is not an http or https address", url, "write `https://host/path`")
        elif parts.username or parts.password:
            self._report("E105", "`backend.url` holds credentials", url, "put them under `backend.auth`")
        elif parts.query or parts.fragment:
            self._report("E105", "`backend.url` holds a query or a fragment", url, "put it under `backend.query`")

    def _auth(self, auth: Source, headers: dict[str, str], query: dict[str, str]) -> None:
        given = auth.value
        self._secrets.update(given[key] for key in ("bearer", "value") if given.get(key))
        if given.get("bearer"):
            headers["Authorization"] = f"Bearer {given['bearer']}"
        elif "header" in given:
            self._check_header(auth["header"], given["header"])
            headers[given["header"]] = given["value"]
        elif "query" in given:
            query[given["query"]] = given["value"]
        elif "basic" in given:
            pair = f"{given['basic']['user']}:{given['basic']['password']}"
            encoded = base64.b64encode(pair.encode()).decode()
            self._secrets.update((given["basic"]["password"], encoded))
            headers["Authorization"] = "Basic " + encoded
        for value in headers.values():
            if any(ord(character) < 32 or ord(character) == 127 for character in value):
                self._report(
                    "E105", "the credential holds a control character", auth, "check for a line break at its end"
                )

    def _endpoint(self, source: Source) -> Endpoint:
        compilation = Compilation(SHAPES, self._compilation.sandbox, self._compilation.findings)
        request = source["request"]
        shared = self._shared_request()
        request = merge(shared, request) if shared else request
        whole = stream = None
        if response := source.get("response"):
            template = self._request(request, compilation)
            plan = Plan(_always(self._sinks(response, None)), streamed=False, **self._reading(response))
            whole = Operation(template, plan, "whole")
        if streaming := source.get("stream"):
            over = streaming.get("request")
            template = self._request(merge(request, over) if over else request, compilation)
            stream = Operation(template, self._stream_plan(streaming, response), streaming.value["format"])
        return Endpoint(whole, stream, frozenset(compilation.reads))

    def _shared_request(self) -> Source | None:
        """`backend.headers` and `backend.query`, as the part of a request that all share."""
        backend = self._root["backend"]
        children = {key: backend[key] for key in ("headers", "query") if backend.get(key)}
        if not children:
            return None
        return Source(backend.document, backend.path, {k: child.value for k, child in children.items()}, children)

    def _request(self, source: Source, compilation: Compilation) -> RequestTemplate:
        headers = source.get("headers")
        for name, value in headers.items() if headers else ():
            self._check_header(value, name)

        def tree(key: str) -> Render | None:
            child = source.get(key)
            return compile_tree(child, compilation) if child else None

        return RequestTemplate(
            method=source.value.get("method", "POST"),
            path=self._path(source.get("path"), compilation),
            headers=tree("headers"),
            query=tree("query"),
            body=tree("body"),
            body_text=tree("body_text"),
        )

    def _path(self, source: Source | None, compilation: Compilation) -> Render:
        if source is None:
            return lambda scope: ""
        self._check_path(source)
        if has_template(source.value):
            rendered = compile_leaf(source, compilation, {}, self._path_sandbox).evaluate
            return lambda scope: _address(_inside(rendered(scope)))
        constant = _address(source.value)
        return lambda scope: constant

    def _check_path(self, source: Source) -> None:
        path = source.value
        shown = source.document.written(source.path) or path
        written = _TEMPLATE.sub("x", path)
        if not path.startswith("/"):
            self._report("E105", f"the path `{shown}` does not begin with `/`", source, f"write `/{shown}`")
        elif "?" in written or "#" in written:
            self._report("E105", f"the path `{shown}` holds a query or a fragment", source, "put it under `query`")
        elif {".", ".."} & set(written.split("/")):
            self._report("E105", f"the path `{shown}` has a segment `.` or `..`", source, "write it out")

    def _check_header(self, source: Source, name: str) -> None:
        if not _HEADER_NAME.fullmatch(name):
            self._report("E106", f"`{name}` is not a header name", source, "use letters, digits and `-`", key=True)
        elif name.lower() in FORBIDDEN_HEADERS or name.lower().startswith("proxy-"):
            self._report("E106", f"the header `{name}` belongs to the connection", source, "leave it out", key=True)

    def _reading(self, source: Source) -> dict[str, Any]:
        """The parts of a plan that both forms of a reply have."""
        return {
            "data": source.value.get("data", "json"),
            "cumulative": source.value.get("text_mode") == "cumulative",
            "finish_reasons": self._reasons,
            "secrets": frozenset(self._secrets),
        }

    def _stream_plan(self, source: Source, response: Source | None) -> Plan:
        given = source.value
        end = given["end"].encode() if given.get("end") is not None else None
        if events := source.get("events"):
            choose, has_done = self._events(events, source.get("by"))
        else:
            sinks = self._sinks(source, response)
            choose, has_done = _always(sinks), sinks.done is not None
        must_finish = (has_done or end is not None) and given.get("require_done", True)
        return Plan(choose, streamed=True, end=end, must_finish=must_finish, **self._reading(source))

    def _events(self, events: Source, by: Source | None) -> tuple[Callable[[Json, Envelope], Sequence[Sinks]], bool]:
        ignored = (Sinks(error=_error_key),)
        if isinstance(events.value, list):
            rules = []
            for child in events:
                when = compile_pick(child["when"], self._compilation)
                rules.append((when, self._sinks(child, None)))

            def matching(value: Json, envelope: Envelope) -> Sequence[Sinks]:
                return [sinks for when, sinks in rules if when(value, envelope)] or ignored

            return matching, any(sinks.done for _, sinks in rules)
        table = {
            name: ignored if child.value is None else (self._sinks(child, None),) for name, child in events.items()
        }
        discriminate = compile_pick(by, self._compilation) if by else _event_name
        rest = table.get("*", ignored)

        def named(value: Json, envelope: Envelope) -> Sequence[Sinks]:
            name = discriminate(value, envelope)
            if isinstance(name, bool | int):
                name = str(name).lower()  # as the keys of a YAML mapping are written
            return table.get(name, rest) if isinstance(name, str) else rest

        return named, any(sinks.done for (sinks,) in table.values())

    def _sinks(self, source: Source, base: Source | None) -> Sinks:
        """The sinks of a block; those it does not give are the base's."""

        def entry(key: str) -> Source | None:
            if key in source.value:
                return source.get(key)
            return base.get(key) if base else None

        def pick(key: str) -> Pick | None:
            found = entry(key)
            return compile_pick(found, self._compilation) if found else None

        usage = entry("usage")
        text = entry("text")
        call = source.get("tool_call")
        span = text.span() if text else None
        return Sinks(
            text=pick("text"),
            reasoning=pick("reasoning"),
            refusal=pick("refusal"),
            tool_calls=pick("tool_calls"),
            tool_call=self._tool_call(call) if call else None,
            finish_reason=pick("finish_reason"),
            usage=tuple((key, compile_pick(child, self._compilation)) for key, child in usage.items()) if usage else (),
            id=pick("id"),
            model=pick("model"),
            done=compile_pick(source["done"], self._compilation) if source.value.get("done") is not None else None,
            error=self._error(source, base),
            where=f"text: {_shown(text.value)}" if text else "",
            place=f"{span.file}:{span.line}" if span else "",
        )

    def _error(self, source: Source, base: Source | None) -> Pick | ErrorSelectors | None:
        owner = source if "error" in source.value else base
        if owner is None or "error" not in owner.value:
            return _error_key
        found = owner.get("error")
        if found is None:
            return None
        return self._errors(found) if isinstance(found.value, dict) else compile_pick(found, self._compilation)

    def _errors(self, source: Source | None) -> ErrorSelectors:
        if source is None:
            return ErrorSelectors()
        picks = {
            key: compile_pick(source[key], self._compilation) for key in ("message", "type", "code") if source.get(key)
        }
        return ErrorSelectors(**picks)

    def _tool_call(self, source: Source) -> ToolCallPicks:
        return ToolCallPicks(**{key: compile_pick(child, self._compilation) for key, child in source.items()})

    def _example(self, source: Source, index: int) -> Example:
        given = source.value
        return Example(
            name=given.get("name") or f"example {index + 1}",
            endpoint=given.get("endpoint", "chat"),
            request=given["request"],
            sends=given.get("sends"),
            sends_like=given.get("sends_like"),
            backend=given["backend"],
            replies=given.get("replies") or {},
            source=source,
        )

    def _report(self, code: str, message: str, source: Source, label: str, *, key: bool = False) -> None:
        self._compilation.report(code, message, source.span(key=key), label=label)


class UnfitError(RenderError):
    """A value of this request cannot stand where the mapping puts it; the message is for the client."""


def path_piece(value: Any) -> str:
    """A value inside a path: percent-encoded whole, so that it stays one segment of it (RFC 3986, 3.3)."""
    text = as_text(value)
    if text in ("", ".", ".."):
        raise UnfitError(f"'{text}' cannot be a segment of the backend's path")
    return quote(text, safe="", errors="replace")


def _address(path: str) -> str:
    """A path as it stands in an address: what is not allowed there is percent-encoded."""
    return quote(path, safe="/%:@!$&'()*+,;=~", errors="replace")


def _inside(path: str) -> str:
    if {".", ".."} & set(path.split("/")):
        raise UnfitError("a value of the request would lead out of the backend's path")
    return path


def seconds(value: float | str) -> float:
    """A duration in seconds: a number, or text such as `500ms`, `30s`, `2m`. Raises ValueError for anything else."""
    if isinstance(value, int | float):
        return float(value)
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)", value)
    if not found:
        raise ValueError(f"`{value}` is not a duration; {did_you_mean(value, ('30s', '500ms', '2m')) or 'write `30s`'}")
    return float(found[1]) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[found[2]]


def _shown(selector: Json) -> str:
    return " or ".join(map(str, selector)) if isinstance(selector, list) else str(selector)


def _always(sinks: Sinks) -> Callable[[Json, Envelope], Sequence[Sinks]]:
    chosen = (sinks,)
    return lambda value, envelope: chosen


def _event_name(_value: Json, envelope: Envelope) -> Json:
    return envelope.event or envelope.headers.get(":event-type")


def _error_key(value: Json, _envelope: Envelope) -> Json:
    """The failure that most APIs tell in this way even with status 200: a top-level `error`."""
    return value.get("error") if isinstance(value, dict) else None
