"""Requests that a mapping must be able to build, tried at check time: every field, and text that breaks things."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from collections.abc import Mapping as Dict
from urllib.parse import quote

from oaiproxy import jsontext
from oaiproxy.bodies import BODIES, content_type, decoded, texts
from oaiproxy.canonical import Identity
from oaiproxy.chat_templates import NAME, RefusedError
from oaiproxy.conversations import reads_conversation
from oaiproxy.diagnostics import Diagnostic, Severity, Span
from oaiproxy.endpoints.doors import DOORS
from oaiproxy.errors import ApiError, ClientError
from oaiproxy.exchange import BackendRequest, Exchange, asks_for_reasoning
from oaiproxy.framing import EMPTY
from oaiproxy.inputs import CARRIES
from oaiproxy.jsontext import Json
from oaiproxy.mapping import Endpoint, Mapping
from oaiproxy.probebodies import bodies, carriers, least
from oaiproxy.rehearsal import requests_of, sample_replies
from oaiproxy.sandbox import AbsentError, RenderError
from oaiproxy.source import Source, leaves
from oaiproxy.variants import PLAIN

IDENTITY = Identity(request_id="req_check", token="0" * 24, uuid="00000000-0000-4000-8000-000000000000", now=0.0)
"""The identity of probes and examples: they are the same at every run."""

HOSTILE = (
    "\"quoted\" and 'quoted'",
    'close"}],"x":[{"a":"b',
    "{{ 7*7 }} {% for x in y %} {# note #} ${HOME}",
    "back\\slash \\n \\u0041",
    "nul\x00 bell\x07 escape\x1b end",
    "lines\r\nand\u2028more\u2029and\x85end",
    "\U0001f600 日本語 עברית",
    "</s><|im_end|>[/INST] UPPER lower",
    "a long text: " + "0123456789 " * 95_000,
)
MAX_VARIANTS = 16
"""Models that are tried, where they differ in more than their names."""
_FIELDS: dict[str, Json] = {
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 40,
    "max_tokens": 64,
    "max_completion_tokens": 64,
    "stop": ["END"],
    "seed": 7,
    "n": 2,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "logit_bias": {"50256": -100},
    "logprobs": True,
    "top_logprobs": 2,
    "user": "someone",
    "reasoning_effort": "low",
    "response_format": {"type": "json_object"},
    "parallel_tool_calls": False,
    "metadata": {"a": "b"},
}
_NAMES = {"max_completion_tokens": "max_tokens"}
"""What templates call a field, where that is not its name on the wire."""
_COMPLETION_FIELDS = ("temperature", "top_p", "max_tokens", "stop", "seed", "presence_penalty", "frequency_penalty")
_TOOL = {"type": "function", "function": {"name": "look_up", "description": "d", "parameters": {"type": "object"}}}
_CALL = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"q":"x"}'}}
_IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
_CONVERSATION = {
    "system": ("system", "text of the system message"),
    "user": ("user", "text of the first question"),
    "assistant": ("assistant", "text of the first answer"),
    "last": ("user", "text of the last question"),
}
"""Messages with a text of their own each."""
_TEXT_NAMES = {"prompt", "chat_prompt", "messages", "turns", "request"}
"""Names that hold the client's text."""
_TEXT_LEAF = re.compile(r"\{\{.*\b(?:prompt|messages|turns|text|parts|request|input|query|documents)\b.*\|", re.DOTALL)


def probe(mapping: Mapping, root: Source, *, thorough: bool = True) -> list[Diagnostic]:
    """Build every probe. A mapping may refuse a field it does not read; nothing else may fail.

    Unless `thorough`, the long text is left out.

    `root` is what the mapping was compiled from. What fails in many probes is told once for each place.
    """
    findings: dict[tuple[str, Span | None], Diagnostic] = {}
    for name, endpoint in mapping.endpoints.items():
        texts: Sequence[str] = HOSTILE if thorough else HOSTILE[:-1]
        for model in _different(mapping):
            for found in _Probe(mapping, name, endpoint, root[name], model).findings(texts):
                findings.setdefault((found.code, found.span), found)
            texts = HOSTILE[:1]
    return list(findings.values())


def _different(mapping: Mapping) -> list[str]:
    """The first model, and one of each kind that differs from those before in what the mapping says of it."""
    models = [next(iter(mapping.models), "model")]
    seen = [mapping.variants.get(models[0], PLAIN)]
    for model, variant in mapping.variants.items():
        if len(models) < MAX_VARIANTS and variant not in seen:
            models.append(model)
            seen.append(variant)
    return models


class _Probe:
    def __init__(self, mapping: Mapping, name: str, endpoint: Endpoint, source: Source, model: str) -> None:
        self._mapping = mapping
        self._name = name
        self._model = model
        self._paths = endpoint.reads
        self._reads = {path.partition(".")[0] for path in endpoint.reads}
        self._reasons = asks_for_reasoning(endpoint.reads)
        self._source = source
        mode = mapping.variants.get(model, PLAIN).stream
        whole, stream = endpoint.operation(False, mode), endpoint.operation(True, mode)
        self._streams = (False,) if whole[0] is stream[0] else (False, True)

    def findings(self, hostile: Sequence[str]) -> Iterator[Diagnostic]:
        if unread := self._unread():
            yield Diagnostic("E402", "the client's text is never sent", self._body(), unread)
            return
        for stream in self._streams:
            for body in self._bodies():
                yield from self._render(body | {"stream": stream})
            if sent := dict.fromkeys(self._mapping.client_headers, "value"):
                yield from self._render(_least(self._name, "hi") | {"stream": stream}, sent)
            texts = hostile if stream == self._streams[0] else hostile[: len(HOSTILE) - 1]  # the long one only once
            altered = [found for text in texts for found in self._carry(text, stream)]
            yield from altered or self._converse(stream)

    def _unread(self) -> str:
        """What must be read and is not; "" when nothing is amiss."""
        if self._name not in CARRIES:
            return "" if self._reads & _TEXT_NAMES else "no template reads `prompt`, `messages` or `turns`"
        unread = [f"`{name}`" for name in CARRIES[self._name] if not self._reads & {name, "request"}]
        return f"no template reads {' and '.join(unread)}" if unread else ""

    def _bodies(self) -> Iterator[dict[str, Json]]:
        """The least request, all that the templates read, and each of it alone."""
        if self._name in CARRIES:
            yield from bodies(self._name, self._reads)
            return
        least: dict[str, Json] = _least(self._name, "hi")
        known = _FIELDS if self._name == "chat" else {key: _FIELDS[key] for key in _COMPLETION_FIELDS}
        fields = {key: value for key, value in known.items() if self._reads & {_NAMES.get(key, key), "request"}}
        yield least
        yield least | fields
        yield from (least | {key: value} for key, value in fields.items())
        if self._name != "chat":
            return
        (hi,) = least["messages"]
        yield {"messages": [{"role": "system", "content": "s"}, hi, {"role": "assistant", "content": "a"}, hi]}
        if self._reads & {"messages", "turns", "request"}:
            yield {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}, _IMAGE]}]}
        if self._reads & {"tools", "tool_choice", "request"}:
            yield from self._tools(hi)
        if self._reasons:
            yield from (
                {"messages": [hi, {"role": "assistant", "content": "a", **said}, hi]} for said in self._reasoning()
            )

    def _reasoning(self) -> Iterator[dict[str, Json]]:
        """What an assistant's message brings back of its reasoning: text alone, state with text, and state alone."""
        yield {"reasoning_content": "r"}
        state = [{"text": "r", "state": "s"}, {"state": {"s": "s"}}]
        yield {"extra_content": {"oaiproxy": {"of": self._mapping.name, "state": state}}}

    def _tools(self, hi: Json) -> Iterator[dict[str, Json]]:
        yield {"messages": [hi], "tools": [_TOOL]}
        yield {"messages": [hi], "tools": [{"type": "function", "function": {"name": "bare"}}]}
        for choice in ("auto", "none", "required", {"type": "function", "function": {"name": "look_up"}}):
            yield {"messages": [hi], "tools": [_TOOL], "tool_choice": choice}
        called = {"role": "assistant", "content": None, "tool_calls": [_CALL, {**_CALL, "id": "call_2"}]}
        results = [{"role": "tool", "tool_call_id": f"call_{n}", "content": "found"} for n in (1, 2)]
        yield {"messages": [hi, called, *results], "tools": [_TOOL]}

    def _requests(self, exchange: Exchange) -> list[BackendRequest]:
        """All that the exchange could send, with the replies of an example for those of earlier calls."""
        return requests_of(exchange, sample_replies(self._mapping, self._name, exchange.backend_streams))

    def _exchange(self, body: dict[str, Json], headers: Dict[str, str] = EMPTY) -> Exchange:
        door = DOORS[self._name]
        call = door.parse({"model": self._model, **body})
        return Exchange(self._mapping, call, door.encoder(call, IDENTITY), IDENTITY, headers)

    def _render(self, body: dict[str, Json], headers: Dict[str, str] = EMPTY) -> Iterator[Diagnostic]:
        try:
            exchange = self._exchange(body, headers)
        except ClientError:
            return
        try:
            self._requests(exchange)
        except ApiError as error:
            if not isinstance(error.__cause__, RefusedError):
                yield self._failure(error, _used(body))

    def _carry(self, text: str, stream: bool) -> Iterator[Diagnostic]:
        """Text must arrive as it was sent."""
        for body in carriers(self._name, text) if self._name in CARRIES else [_least(self._name, text)]:
            found = list(self._carry_in(body | {"stream": stream}, text))
            if found:
                yield from found
                return

    def _carry_in(self, body: dict[str, Json], text: str) -> Iterator[Diagnostic]:
        shown = jsontext.dump(text[:40]).decode()
        try:
            requests = self._requests(self._exchange(body))
        except ApiError as error:
            if isinstance(error.__cause__, RefusedError):
                return
            yield self._failure(error, f"the message {shown}")
            return
        if not any(_arrives(text, request, blanks=NAME not in self._reads) for request in requests):
            message = "the client's text does not arrive as it was sent"
            yield Diagnostic("E402", message, self._altering(), "send it as it is", f"tried with the message {shown}")

    def _converse(self, stream: bool) -> Iterator[Diagnostic]:
        """What reads the whole conversation must send the text of every role."""
        if self._name != "chat" or not self._reads & {"messages", "turns"}:
            return
        if "prompt" in self._reads and not reads_conversation(self._paths):
            return  # the last message is what is meant, and the others are read for something else
        messages: Json = [{"role": role, "content": text} for role, text in _CONVERSATION.values()]
        try:
            requests = self._requests(self._exchange({"messages": messages, "stream": stream}))
        except ApiError:
            return
        lost = [
            key
            for key, (_, text) in _CONVERSATION.items()
            if key != "last" and not any(_arrives(text, request) for request in requests)
        ]
        if lost:
            message = f"the text of {' and '.join(f'`{role}`' for role in lost)} messages is never sent"
            cases = " and ".join(f"`{role}`" for role in lost if role != "system")
            labels = ["read `system`"] * ("system" in lost) + [f"send the messages whose role is {cases}"] * bool(cases)
            help_ = "a `$match` without the role's case, an `$if` or a filter leaves them out"
            yield Diagnostic("W402", message, self._body(), "; ".join(labels), help_, Severity.WARNING)

    def _failure(self, error: ApiError, used: str) -> Diagnostic:
        cause = error.__cause__
        source = cause.source if isinstance(cause, RenderError) else None
        span = source.span() if source is not None else self._request().span(key=True)
        if isinstance(cause, AbsentError):
            return _absence(cause.name, source, span)
        message = f"the request cannot be built: {cause if isinstance(cause, RenderError) else error.message}"
        return Diagnostic("E401", message, span, help=f"tried with {used}")

    def _request(self) -> Source:
        return self._source["request"]

    def _body(self) -> Span:
        """Where the body is described; the endpoint's key when it is nowhere."""
        request = self._request()
        body = next((found for key in (*BODIES, "query") if (found := request.get(key))), None)
        return body.span(key=True) if body else self._source.span(key=True)

    def _altering(self) -> Span:
        """The one leaf that sends text through a filter; the body when there is none such, or several."""
        found = [leaf for leaf in leaves(self._request()) if _TEXT_LEAF.search(leaf.value)]
        return found[0].span() if len(found) == 1 else self._body()


def _absence(name: str, source: Source | None, span: Span) -> Diagnostic:
    """Text is made of an absent value: `name` is the last word of its path that is known."""
    path = name or "name"
    if source is not None and (at := re.search(_PATH.format(name=re.escape(path)), source.value)):
        path = at[0]
        span = source.inner(at.start(), len(path))
    label = f"give it a default: `{{{{ {path} | default('') }}}}`"
    help_ = "or make the template this one expression alone: then an absent value drops its key"
    if source is not None and source.path[-1] == "path":
        label = f"give it a default that can stand in a path: `{{{{ {path} | default('default') }}}}`"
        help_ = "a segment of the path cannot be empty"
    shown = f"`{path}`" if name else "a value"
    return Diagnostic("E403", f"{shown} may be absent, and text is made of it", span, label, help_)


_PATH = r"""(?:[A-Za-z_]\w*(?:\[[^\]]*\])*\.)*(?:\b{name}\b|[A-Za-z_]\w*\[['"]{name}['"]\])(?:\.\w+|\[[^\]]*\])*"""
"""A dotted path with a name in it."""


def _least(endpoint: str, text: str) -> dict[str, Json]:
    if endpoint in CARRIES:
        return least(endpoint, text)
    return {"messages": [{"role": "user", "content": text}]} if endpoint == "chat" else {"prompt": text}


def _used(body: dict[str, Json]) -> str:
    fields = sorted(body.keys() - {"messages", "prompt", "stream", "input", "query", "documents", "file"})
    return ", ".join(f"`{key}`" for key in fields) if fields else "nothing but a message"


def _arrives(text: str, request: BackendRequest, *, blanks: bool = True) -> bool:
    """Whether the text is somewhere in the request: in a string of it, or in a form that can be undone.

    Without `blanks`, white space may differ, as models' own templates trim and join lines.
    """
    if request.body is not None:
        leaves = list(texts(decoded(request.body, content_type(request.headers))))
        if text in leaves or any(text in leaf for leaf in leaves):  # equal is fast, and usual
            return True
        if not blanks and any("".join(text.split()) in "".join(leaf.split()) for leaf in leaves):
            return True
    else:
        leaves = []
    leaves += [request.url, *request.headers.values()]
    return any(form in leaf for form in _forms(text) for leaf in leaves)


def _forms(text: str) -> Iterator[str]:
    """The text as it can stand in a request, one after another, since of a long one each takes its time."""
    yield text
    yield jsontext.dump(text)[1:-1].decode()
    yield b64encode(text.encode()).decode()
    yield quote(text, safe="")
