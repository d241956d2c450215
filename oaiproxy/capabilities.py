"""What a client can expect of a mapping, said beforehand: a compiled mapping and its document to plain data.

The data tells the same on every machine, but for names of models that the environment gives: of variables it has the
names, and of addresses what the file says, with the defaults of the variables in them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from oaiproxy.document import Document
from oaiproxy.endpoints import messages, responses
from oaiproxy.endpoints.doors import DOORS
from oaiproxy.features import Features, fate_of, features
from oaiproxy.flows import Flow
from oaiproxy.formats import Format
from oaiproxy.inputs import INPUTS
from oaiproxy.jsontext import Json
from oaiproxy.mapping import Endpoint
from oaiproxy.mapping import Mapping as Compiled
from oaiproxy.scalars import references
from oaiproxy.variables import Variable, variables
from oaiproxy.variants import PLAIN


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls that one answer takes: the names of those before and after the main one."""

    before: Sequence[str] = ()
    poll: bool = False
    """Whether the main call only begins the answer, which is then waited for."""
    after: Sequence[str] = ()
    cancel: bool = False
    """Whether the backend is told when nobody waits any more."""
    each_input: bool = False
    """Whether every input is a main call of its own."""


@dataclass(frozen=True, slots=True)
class Replies:
    """How the answers of one endpoint come.

    `whole` is `native`, or `gathered` from the backend's stream; `stream` is `native`, `simulated` from a whole answer,
    or `none`. `usage` is told by the `backend`, `partly`, or `counted` by the proxy, in each of both.
    """

    whole: str
    stream: str
    framing: str = ""
    """How the backend's stream is cut: the name of the format, ` > ` before that of one inside it."""
    usage_whole: str = "counted"
    usage_stream: str = "counted"
    finish_reason: bool = False
    """Whether the backend tells why an answer ended."""


@dataclass(frozen=True, slots=True)
class Served:
    """An endpoint that clients can use. `block` is the part of the mapping that serves it."""

    endpoint: str
    path: str
    block: str
    replies: Replies
    calls: Calls


@dataclass(frozen=True, slots=True)
class Conversation:
    """What becomes of the things in conversations.

    `tools` is `native`, `emulated` or `none`; images, audio and files have the words of `features`, and `system` is
    `apart`, `message`, `prompt`, or one of those words.
    """

    system: str
    tools: str
    parallel_tools: bool
    """Whether one answer can hold several calls."""
    streamed_tools: str
    """`pieces` when arguments come as they are made, `whole` when each call comes at once, `none` without tools."""
    images: str
    image_urls: str
    """What becomes of images that are named by their address: `fetched` by the proxy, or one of those words."""
    audio: str
    files: str
    reasoning: bool
    """Whether the model's reasoning is told apart from its answer."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What `oaiproxy describe --format json` prints of a mapping."""

    mapping: str
    description: str
    model: str
    """Which of the models this is about; empty for those of which nothing special is said."""
    models: Sequence[str]
    lists_models: bool
    """Whether the backend is asked for more models."""
    endpoints: Sequence[Served]
    features: Mapping[str, Features]
    """What becomes of OpenAI's fields, by block: as `/v1/models` says."""
    conversation: Conversation | None
    """None where there is no chat."""
    finish_reasons: Mapping[str, str | None]
    """The mapping's own words for ends of answers, beside those that are commonly used."""
    auth: str
    """The kind of credentials: a key of `backend.auth`, or `none`."""
    environment: Sequence[Variable]
    files: Sequence[str]
    """Files whose contents the mapping takes in by `${file:...}`."""
    hosts: Sequence[str]
    """Which hosts are called, the backend's first; `$NAME` where only a variable tells."""
    image_hosts: Sequence[str]
    """Where images are fetched from."""
    examples: int = field(default=0)

    def data(self) -> dict[str, Json]:
        """As JSON."""
        return asdict(self)


def capabilities(mapping: Compiled, document: Document, model: str = "") -> Capabilities:
    """The capabilities of a mapping that was compiled of this document."""
    return _Reader(mapping, document, model).all()


_DERIVED = {"responses": responses.PATH, "messages": messages.PATH}
"""Endpoints that are served by `chat` alone."""
_CREDENTIALS = (
    *("bearer", "header", "query", "basic", "passthrough", "oauth2", "login", "gcp_service_account", "sigv4"),
    *("jwt", "sign"),
)
_PICTURE = "https://images.example.com/a.png"
_IN_MESSAGES = ("images", "input_audio", "files")


class _Reader:
    def __init__(self, mapping: Compiled, document: Document, model: str) -> None:
        self._mapping = mapping
        self._document = document
        self._data: Any = document.data
        self._model = model
        self._variant = mapping.variants.get(model, PLAIN)
        self._features = features(mapping, model)

    def all(self) -> Capabilities:
        mapping, backend = self._mapping, self._data["backend"]
        return Capabilities(
            mapping=mapping.name,
            description=mapping.description,
            model=self._model,
            models=list(mapping.models),
            lists_models=mapping.model_list is not None,
            endpoints=list(self._served()),
            features=self._features,
            conversation=self._conversation(),
            finish_reasons=dict(self._data.get("finish_reasons") or {}),
            auth=next((key for key in _CREDENTIALS if key in (backend.get("auth") or {})), "none"),
            environment=variables(self._document),
            files=list(dict.fromkeys(each.file for each in self._document.references if each.file)),
            hosts=list(dict.fromkeys(self._hosts())),
            image_hosts=self._image_hosts(),
            examples=len(mapping.examples),
        )

    def _served(self) -> Iterator[Served]:
        for name in ("chat", "completions", *_DERIVED, *INPUTS):
            block = name if name in self._mapping.endpoints else "chat"
            endpoint = self._mapping.endpoints.get(block)
            if endpoint is None or (block != name and name in INPUTS):
                continue
            path = _DERIVED.get(name) or DOORS[name].path
            calls = _calls(endpoint.flow or Flow(), endpoint.each_input)
            yield Served(name, path, block, self._replies(block, endpoint), calls)

    def _replies(self, block: str, endpoint: Endpoint) -> Replies:
        if block in INPUTS:
            told = _usage([(self._data[block].get("response") or {}).get("usage")])
            return Replies("native", "none", usage_whole=told, usage_stream="")
        _, streams = endpoint.operation(True, self._variant.stream)
        _, gathers = endpoint.operation(False, self._variant.stream)
        framing = _framing(endpoint.stream.framing) if endpoint.stream and (streams or gathers) else ""
        whole, stream = (self._sinks(block, streamed) for streamed in (gathers, streams))
        return Replies(
            whole="gathered" if gathers else "native",
            stream="native" if streams else "simulated",
            framing=framing,
            usage_whole=_usage(whole.get("usage", ())),
            usage_stream=_usage(stream.get("usage", ())),
            finish_reason="finish_reason" in whole and "finish_reason" in stream,
        )

    def _sinks(self, block: str, streamed: bool) -> dict[str, list[Any]]:
        """What is selected from an answer, by sink: the values that the file gives, in all kinds of events."""
        given = self._data[block]
        response = given.get("response") or {}
        parts = [response]
        if streamed:
            stream = given["stream"]
            events = stream.get("events")
            rules = events.values() if isinstance(events, dict) else events or ()
            parts = [{**response, **stream}]
            if events:
                parts = [{"reasoning_tags": parts[0].get("reasoning_tags")}, *rules]
        parts += given.get("after") or ()
        found: dict[str, list[Any]] = {}
        for part in parts:
            for key, value in (part or {}).items():
                if value is not None:
                    found.setdefault(key, []).append(value)
        return found

    def _conversation(self) -> Conversation | None:
        endpoint = self._mapping.endpoints.get("chat")
        if endpoint is None:
            return None
        fates = {name: word for word, names in self._features["chat"].items() for name in names}
        replies = self._replies("chat", endpoint)
        whole = self._sinks("chat", replies.whole == "gathered")
        stream = self._sinks("chat", replies.stream == "native")
        tools = {"used": "native", "emulated": "emulated"}.get(fates["tools"], "none")
        images, audio, files = (fates[name] for name in _IN_MESSAGES)
        return Conversation(
            system=self._system(endpoint, fates["messages"]),
            tools=tools,
            parallel_tools=tools == "emulated" or (tools == "native" and _several(whole) and _several(stream)),
            streamed_tools="none" if tools == "none" else "pieces" if "tool_call" in stream else "whole",
            images=images,
            image_urls="fetched" if endpoint.images else fate_of(self._mapping, self._variant, "images", _picture()),
            audio=audio,
            files=files,
            reasoning=any(key in stream for key in ("reasoning", "reasoning_tags")),
        )

    def _system(self, endpoint: Endpoint, fate: str) -> str:
        """Where the text of system messages goes."""
        reads = endpoint.reads
        if fate != "used":
            return fate
        if "system" in reads:
            return "apart"
        if any(re.match(r"(messages|request)(\.|$)", path) for path in reads):
            return "message"
        return "prompt"

    def _hosts(self) -> Iterator[str]:
        yield self._host(("backend", "url"))
        for path in _addresses(self._data, ()):
            yield self._host(path)
        yield from self._data["backend"].get("allow_hosts") or ()

    def _host(self, path: tuple[str | int, ...]) -> str:
        """The host of an address as the file has it; never what the environment says."""
        value: Any = self._data
        for step in path:
            value = value[step]
        written = self._document.written(path) or value
        for each in references(written):
            written = written.replace(each.text, each.default or f"${each.name or 'file'}", 1)
        rest = written.partition("://")[2] or written
        return str(rest if rest.startswith("mock:") else re.split(r"[/?#]", rest)[0].rpartition("@")[2])

    def _image_hosts(self) -> list[str]:
        found = [self._data[name].get("images") for name in ("chat", "completions") if self._data.get(name)]
        return list(dict.fromkeys(host for each in found if each for host in each.get("allow_hosts") or ()))


def _calls(flow: Flow, each_input: bool) -> Calls:
    before, after = ([step.name for step in steps] for steps in (flow.before, flow.after))
    return Calls(before, flow.poll is not None, after, flow.cancel is not None, each_input)


def _framing(framing: Format) -> str:
    return f"{framing.name} > {framing.inner}" if framing.inner else framing.name


def _usage(found: Sequence[Any]) -> str:
    """Who tells token counts, by the blocks that select them."""
    told = {key for each in found for key, value in (each or {}).items() if value is not None}
    if {"prompt", "completion"} <= told or {"prompt", "total"} <= told:
        return "backend"
    return "partly" if told else "counted"


def _several(sinks: Mapping[str, Sequence[Any]]) -> bool:
    """Whether calls in one answer are told apart."""
    return "tool_calls" in sinks or any({"each", "index", "id"} & each.keys() for each in sinks.get("tool_call", ()))


def _picture() -> Json:
    return {"type": "image_url", "image_url": {"url": _PICTURE}}


def _addresses(value: Json, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    """The paths of the addresses of requests, beside the backend's own; those that replies name lead nowhere else."""
    if isinstance(value, dict):
        for key, child in value.items():
            here = (*path, key)
            if key in ("url", "token_url") and isinstance(child, str) and re.match(r"[a-z]+://", child):
                yield here
            elif here[0] not in ("examples", "vars", "models") and key != "body" and not here[0].startswith("x-"):
                yield from _addresses(child, here)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from _addresses(child, (*path, index))
