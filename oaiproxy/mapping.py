"""A mapping file, checked against the schema, to an immutable `Mapping` of compiled templates and selectors."""

from __future__ import annotations

from collections.abc import Mapping as Dict
from collections.abc import Sequence
from dataclasses import dataclass, field

from oaiproxy.analysis import Shape, shape_of
from oaiproxy.backends import Backend, compile_backend
from oaiproxy.canonical import SHAPES
from oaiproxy.contradictions import check_replies
from oaiproxy.diagnostics import Diagnostic
from oaiproxy.extraction import Plan
from oaiproxy.failures import ErrorSelectors
from oaiproxy.inputs import INPUTS, endpoint_shapes
from oaiproxy.jsontext import Json
from oaiproxy.plans import Replies, compile_errors
from oaiproxy.requests import RequestTemplate, compile_request, merge_requests, shared_request
from oaiproxy.resultplans import ResultPlan, compile_result
from oaiproxy.source import Source
from oaiproxy.templates import Compilation
from oaiproxy.trees import check_constants

ENDPOINTS = ("chat", "completions", *INPUTS)


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
    result: ResultPlan | None = None
    """How the replies of an endpoint beyond chat are read; such a one never streams."""

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
    client_headers: frozenset[str] = frozenset()
    """The client's headers that the mapping passes on or reads, by lower-case names."""

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
        self._shapes = {**SHAPES, "vars": _constants(root)}
        if variables := root.get("vars"):
            check_constants(variables, compilation)
        self._backend = compile_backend(root["backend"], compilation)
        self._secrets = frozenset(root.document.secrets) | self._backend.secrets

    def mapping(self, default_name: str) -> Mapping:
        root = self._root.value
        return Mapping(
            name=root.get("name") or default_name,
            description=root.get("description") or "",
            file=self._root.document.file,
            models=self._models(),
            backend=self._backend,
            endpoints={name: self._endpoint(name, self._root[name]) for name in ENDPOINTS if root.get(name)},
            errors=compile_errors(self._root.get("errors"), self._compilation),
            variables=root.get("vars") or {},
            examples=[self._example(child, index) for index, child in enumerate(self._root.get("examples") or ())],
            secrets=self._secrets,
        )

    def _models(self) -> dict[str, str]:
        models = self._root.value["models"]
        if isinstance(models, list):
            return {name: name for name in models}
        return {name: name if target is None else target for name, target in models.items()}

    def _endpoint(self, name: str, source: Source) -> Endpoint:
        shapes = endpoint_shapes(name, self._shapes)
        compilation = Compilation(shapes, self._compilation.sandbox, self._compilation.findings)
        request = merge_requests(shared_request(self._root["backend"]), source["request"])
        replies = Replies(self._compilation, self._root.get("finish_reasons"), self._secrets)
        if name in INPUTS:
            plan = compile_result(name, source["response"], replies, self._compilation)
            operation = Operation(compile_request(request, compilation), plan.plan, "whole")
            return Endpoint(operation, None, frozenset(compilation.reads), plan)
        check_replies(source, compilation)
        whole = stream = None
        if response := source.get("response"):
            template = compile_request(request, compilation)
            whole = Operation(template, replies.whole(response), "whole")
        if streaming := source.get("stream"):
            over = streaming.get("request")
            template = compile_request(merge_requests(request, over) if over else request, compilation)
            stream = Operation(template, replies.stream(streaming, response), streaming.value["format"])
        return Endpoint(whole, stream, frozenset(compilation.reads))

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


def _constants(root: Source) -> Shape:
    """The shape of `vars`, those that `${...}` could not resolve included."""
    variables = root.document.data.get("vars") or {}
    return shape_of(variables) if isinstance(variables, dict) else None
