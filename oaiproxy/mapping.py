"""A mapping file, checked against the schema, to an immutable `Mapping` of compiled templates and selectors."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from collections.abc import Mapping as Dict
from dataclasses import dataclass, field

from oaiproxy.backends import Backend, compile_backend
from oaiproxy.bounds import BOUNDS, Bounds
from oaiproxy.canonical import SHAPES
from oaiproxy.chat_templates import NAME, ChatTemplate, compile_chat_template
from oaiproxy.contradictions import check_replies
from oaiproxy.diagnostics import Diagnostic
from oaiproxy.failures import ErrorSelectors
from oaiproxy.flows import Flow, Flows
from oaiproxy.formats import WHOLE, Format, make_format
from oaiproxy.images import Images, compile_images
from oaiproxy.inputs import INPUTS, endpoint_shapes
from oaiproxy.jsontext import Json
from oaiproxy.modellist import ModelList, compile_model_list
from oaiproxy.plans import Replies, compile_errors
from oaiproxy.policy import PARTNERS, Overrides
from oaiproxy.provenance import Trace
from oaiproxy.requests import (
    Following,
    RequestTemplate,
    client_headers,
    compile_request,
    merge_requests,
    shared_request,
    take_each,
)
from oaiproxy.resultplans import ResultPlan, compile_result
from oaiproxy.shapes import Missing, joined
from oaiproxy.sinks import Plan
from oaiproxy.source import Source
from oaiproxy.templates import Compilation
from oaiproxy.trees import check_constants
from oaiproxy.variants import Variant, Variants, compile_overrides, model_names, variables_shape

ENDPOINTS = ("chat", "completions", *INPUTS)


@dataclass(frozen=True, slots=True)
class Operation:
    """One way to ask the backend, and how to read what it answers."""

    request: RequestTemplate
    plan: Plan
    framing: Format


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An OpenAI endpoint on this backend: asked for a whole answer, for a stream, or either."""

    whole: Operation | None
    stream: Operation | None
    reads: frozenset[str]
    """The paths of names that the request templates read."""
    flow: Flow | None = None
    """The calls around the main one."""
    chat_template: ChatTemplate | None = None
    """What makes `chat_prompt`."""
    images: Images | None = None
    """Which images are fetched for the templates."""
    result: ResultPlan | None = None
    """How the replies of an endpoint beyond chat are read; such a one never streams."""
    each_input: bool = False
    """Whether every input is a request of its own."""

    def operation(self, stream: bool, mode: str = "auto") -> tuple[Operation, bool]:
        """How to ask for a client that streams, or not, and whether the backend streams then.

        `mode` is what the model says: that it is `always` or `never` asked to stream, where that can be.
        """
        wanted = mode == "always" or (stream and mode != "never")
        if (wanted and self.stream is not None) or self.whole is None:
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
    backend: Json
    """The backend's answer; a list of them where it is called more than once."""
    replies: Dict[str, Json]
    source: Source
    headers: Dict[str, str] = field(default_factory=dict)
    """Those of the client's request, by lower-case names."""


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
    variables: Dict[str, Json] = field(repr=False)
    examples: Sequence[Example]
    secrets: Collection[str] = field(repr=False)
    emulates: frozenset[str] = frozenset()
    """Parameters that the proxy itself gives effect to: `stop`, `n`, `dimensions`, `response_format`, `tools`."""
    client_headers: frozenset[str] = frozenset()
    """The client's headers that the mapping passes on or reads, by lower-case names."""
    read_headers: frozenset[str] = frozenset()
    """Those of them that templates see."""
    variants: Dict[str, Variant] = field(default_factory=dict)
    """The models about which more is said than a name."""
    model_list: ModelList | None = None
    """How the backend is asked for more models."""
    unsupported: Overrides = field(default_factory=Overrides)
    """What becomes of fields that no template reads."""
    bounds: Bounds = BOUNDS
    """How large what a request makes and gets may be: no matter of the file, but of the configuration."""

    def endpoint(self, name: str) -> Endpoint | None:
        """The block for an endpoint; completions are served by `chat` where they have none of their own."""
        return self.endpoints.get(name) or (self.endpoints.get("chat") if name == "completions" else None)


def compile_mapping(
    root: Source, default_name: str, trace: Trace | None = None
) -> tuple[Mapping | None, list[Diagnostic]]:
    """Compile a document that the schema accepts. The mapping is None when an error was found.

    With a `trace`, its templates and selectors tell that where what they make comes from.
    """
    compilation = Compilation(SHAPES, trace=trace)
    compiler = _Compiler(root, compilation, root.value.get("name") or default_name)
    mapping = compiler.mapping()
    findings = list(dict.fromkeys(compilation.findings))
    return (mapping if not any(found.severity == "error" for found in findings) else None), findings


class _Compiler:
    def __init__(self, root: Source, compilation: Compilation, name: str) -> None:
        self._root = root
        self._name = name
        self._compilation = compilation
        listed = root["backend"].get("client_headers")
        self._client_headers = client_headers(listed, compilation) if listed else frozenset()
        self._shapes = {**SHAPES, "headers": dict.fromkeys(self._client_headers, "text")}
        self._shapes["vars"] = variables_shape(root.document.data)
        self._shapes[NAME] = Missing("chat_template", _CHAT_TEMPLATE)
        if variables := root.get("vars"):
            check_constants(variables, compilation)
        self._backend = compile_backend(root["backend"], compilation, root.get("vars"))
        self._following = Following(frozenset(), self._backend.url, self._backend.allow_hosts)
        self._secrets = self._backend.secrets
        self._errors = compile_errors(root.get("errors"), compilation)

    def mapping(self) -> Mapping:
        root = self._root.value
        endpoints = {name: self._endpoint(name, self._root[name]) for name in ENDPOINTS if root.get(name)}
        answers = {
            name: (made.reads, made.whole is not None, made.stream is not None) for name, made in endpoints.items()
        }
        models = self._root.get("models")
        self._check_emulated(endpoints)
        return Mapping(
            name=self._name,
            description=root.get("description") or "",
            file=self._root.document.file,
            models=model_names(models),
            backend=self._backend,
            endpoints=endpoints,
            errors=self._errors,
            variables=root.get("vars") or {},
            examples=[self._example(child, index) for index, child in enumerate(self._root.get("examples") or ())],
            secrets=self._secrets,
            emulates=frozenset(root.get("emulate") or ()),
            client_headers=self._client_headers | self._backend.client_headers,
            read_headers=self._client_headers,
            variants=Variants(self._compilation, answers, root.get("vars") or {}).variants(models),
            model_list=compile_model_list(
                self._root.get("models_list"),
                self._root["backend"],
                Compilation(self._shapes, self._compilation.sandbox, self._compilation.findings),
            ),
            unsupported=compile_overrides(self._root.get("on_unsupported"), self._compilation),
        )

    def _check_emulated(self, endpoints: Dict[str, Endpoint]) -> None:
        """Report a template that reads what the proxy takes out of the requests: it would never hold it."""
        for child in self._root.get("emulate") or ():
            key = child.value
            if key == "stop":
                continue
            where = ("embeddings",) if key == "dimensions" else ("chat", "completions")
            served = [made.reads for name, made in endpoints.items() if name in where]
            for name in (key, *PARTNERS.get(key, ())):
                if any(_reads(reads, name) for reads in served):
                    label = f"leave it out, or take `{name}` out of the request"
                    message = f"a template reads `{name}`: the backend has it"
                    self._compilation.report("E105", message, child.span(), label=label)
                    break

    def _endpoint(self, name: str, source: Source) -> Endpoint:
        shapes = endpoint_shapes(name, self._shapes)
        given = self._compilation
        compilation = Compilation(shapes, given.sandbox, given.findings, trace=given.trace)
        chat_template = self._chat_template(source, compilation)
        shared = shared_request(self._root["backend"])
        request = merge_requests(shared, source["request"])
        replies = Replies(
            self._compilation, self._root.get("finish_reasons"), self._secrets, self._shapes, self._errors, self._name
        )
        flows = Flows(source, shared, compilation, replies, self._following)
        following, compilation = flows.following(flows.before), flows.compilation(flows.before)
        if name in INPUTS:
            plan = compile_result(name, source["response"], replies, self._compilation)
            request, each = take_each(request, name)
            operation = Operation(compile_request(request, compilation, following), plan.plan, WHOLE)
            flow = flows.flow()
            return Endpoint(operation, None, frozenset(compilation.reads), flow, result=plan, each_input=each)
        check_replies(source, compilation, websocket=self._backend.websocket)
        whole = stream = None
        if response := source.get("response"):
            template = compile_request(request, compilation, following)
            whole = Operation(template, replies.whole(response), WHOLE)
        if streaming := source.get("stream"):
            over = streaming.get("request")
            template = compile_request(merge_requests(request, over) if over else request, compilation, following)
            stream = Operation(template, replies.stream(streaming, response), make_format(streaming.value["format"]))
        flow = flows.flow()
        if chat_template is not None:
            if NAME in compilation.reads:
                compilation.reads |= chat_template.reads
            else:
                place, label = source["chat_template"].span(key=True), 'read it: `prompt: "{{ chat_prompt }}"`'
                compilation.report(
                    "E105", "`chat_template` has no effect: nothing reads `chat_prompt`", place, label=label
                )
        images = compile_images(source.get("images"), compilation)
        return Endpoint(whole, stream, frozenset(compilation.reads), flow, chat_template, images)

    def _chat_template(self, source: Source, compilation: Compilation) -> ChatTemplate | None:
        """Compile the block; `chat_prompt` is a name of the others from then on."""
        child = source.get("chat_template")
        if child is None:
            written = source.document.data.get(str(source.path[0]))
            if isinstance(written, dict) and written.get("chat_template"):  # which was reported, and taken out
                compilation.shapes = joined(compilation.shapes, {NAME: "text"})
            return None
        made = compile_chat_template(child, compilation, child.document.reader((*child.path, "file")))
        compilation.shapes = joined(compilation.shapes, {NAME: "text"})
        return made

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
            headers={name.lower(): value for name, value in (given.get("headers") or {}).items()},
        )


def _reads(reads: frozenset[str], name: str) -> bool:
    """Whether templates read a field of the request, or something in it."""
    return any(re.match(rf"(request\.)?{name}($|[.\[=])", path) for path in reads)


_CHAT_TEMPLATE = "add one beside `request`: `chat_template: chatml`"
"""The fix where `chat_prompt` has nothing to be made with."""
