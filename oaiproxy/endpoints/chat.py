"""`POST /v1/chat/completions`: its requests to canonical calls, events to completion objects and chunks.

https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

from dataclasses import dataclass, field

from oaiproxy import jsontext
from oaiproxy.canonical import Call, Identity
from oaiproxy.endpoints.conversation import read_messages
from oaiproxy.endpoints.encoding import DONE, EVENT_STREAM, JSON, Encoder, sse, usage_object
from oaiproxy.endpoints.reading import read_body
from oaiproxy.events import Delta, Event, Finish, Head, ToolCallDelta, Usage
from oaiproxy.jsontext import Json
from oaiproxy.parameters import CHAT, unknown_fields

ENDPOINT = "chat"


def parse(body: Json) -> Call:
    """A chat completion request as a canonical call. Raises ClientError that names the field at fault."""
    request, fields, model, stream, include_usage = read_body(body, CHAT)
    messages = read_messages(fields.pop("messages", None))
    return Call(ENDPOINT, model, stream, include_usage, messages, fields, unknown_fields(request, CHAT), request)


def encoder(call: Call, identity: Identity) -> Encoder:
    """The encoder of the answer that the call asks for."""
    head = _Header("chatcmpl-" + identity.token, identity.created, call.model)
    return ChunkEncoder(head, call.include_usage) if call.stream else CompletionEncoder(head)


@dataclass(slots=True)
class _Header:
    id: str
    created: int
    model: str

    def name(self, head: Head) -> None:
        """Take over what the backend calls the answer."""
        self.id = head.id or self.id
        self.model = head.model or self.model

    def object(self, kind: str) -> dict[str, Json]:
        """The keys that an answer object begins with."""
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


class ChunkEncoder:
    """A stream of `chat.completion.chunk` events, ended by `[DONE]`."""

    content_type = EVENT_STREAM
    streams = True

    def __init__(self, header: _Header, include_usage: bool) -> None:
        self.wants_usage = include_usage
        self._header = header
        self._tail = b',"usage":null}\n\n' if include_usage else b"}\n\n"
        self._prefixes: dict[int, bytes] = {}
        self._lead = b""

    def feed(self, event: Event) -> bytes:
        """The chunks that an event makes: the first of a choice opens it with its role."""
        match event:
            case Delta(text=text, kind=kind, choice=choice):
                delta = b'{"' + kind.encode() + b'":' + jsontext.dump(text) + b"}"
                return self._opening(choice, b'""') + self._chunk(choice, delta)
            case ToolCallDelta(choice=choice):
                return self._opening(choice, b"null") + self._chunk(choice, jsontext.dump(_tool_delta(event)))
            case Finish(reason=reason, choice=choice):
                return self._opening(choice, b'""') + self._chunk(choice, b"{}", jsontext.dump(reason))
            case Head():
                if not self._lead:
                    self._header.name(event)
        return b""

    def close(self, usage: Usage | None) -> bytes:
        """The usage chunk, if it was asked for, and `[DONE]`."""
        if usage is None or not self.wants_usage:
            return DONE
        chunk = self._header.object("chat.completion.chunk") | {"choices": [], "usage": usage_object(usage)}
        return sse(jsontext.dump(chunk)) + DONE

    def _opening(self, choice: int, content: bytes) -> bytes:
        if choice in self._prefixes:
            return b""
        if not self._lead:
            head = jsontext.dump(self._header.object("chat.completion.chunk"))
            self._lead = b"data: " + head[:-1] + b',"choices":[{"index":'
        self._prefixes[choice] = self._lead + str(choice).encode() + b',"delta":'
        return self._chunk(choice, b'{"role":"assistant","content":' + content + b',"refusal":null}')

    def _chunk(self, choice: int, delta: bytes, reason: bytes = b"null") -> bytes:
        return self._prefixes[choice] + delta + b',"logprobs":null,"finish_reason":' + reason + b"}]" + self._tail


@dataclass(slots=True)
class _Answer:
    """One choice of a whole answer, growing."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    calls: dict[int, dict[str, Json]] = field(default_factory=dict)
    arguments: dict[int, list[str]] = field(default_factory=dict)
    finish: str = "stop"

    def text(self, kind: str) -> str | None:
        """The text of a kind, None when there was none."""
        return "".join(self.texts[kind]) if kind in self.texts else None

    def message(self) -> dict[str, Json]:
        """The message object."""
        content = self.text("content")
        made: dict[str, Json] = {
            "role": "assistant",
            "content": "" if content is None and not self.calls else content,
            "refusal": self.text("refusal"),
        }
        if "reasoning_content" in self.texts:
            made["reasoning_content"] = self.text("reasoning_content")
        if self.calls:
            made["tool_calls"] = [
                {**call, "function": {"name": call["function"], "arguments": "".join(self.arguments[index])}}
                for index, call in sorted(self.calls.items())
            ]
        return made


class CompletionEncoder:
    """One `chat.completion` object."""

    content_type = JSON
    streams = False
    wants_usage = True

    def __init__(self, header: _Header) -> None:
        self._header = header
        self._answers: dict[int, _Answer] = {}

    def feed(self, event: Event) -> bytes:
        """Nothing yet: the event is kept."""
        match event:
            case Delta(text=text, kind=kind, choice=choice):
                self._answer(choice).texts.setdefault(kind, []).append(text)
            case ToolCallDelta(index=index, id=call_id, name=name, arguments=arguments, choice=choice):
                answer = self._answer(choice)
                if name is not None:
                    answer.calls[index] = {"id": call_id, "type": "function", "function": name}
                answer.arguments.setdefault(index, []).append(arguments)
            case Finish(reason=reason, choice=choice):
                self._answer(choice).finish = reason
            case Head():
                self._header.name(event)
        return b""

    def close(self, usage: Usage | None) -> bytes:
        """The whole object."""
        made = self._header.object("chat.completion")
        made["choices"] = [
            {"index": index, "message": answer.message(), "logprobs": None, "finish_reason": answer.finish}
            for index, answer in sorted(self._answers.items())
        ]
        if usage is not None:
            made["usage"] = usage_object(usage)
        return jsontext.dump(made)

    def _answer(self, choice: int) -> _Answer:
        return self._answers.setdefault(choice, _Answer())


def _tool_delta(event: ToolCallDelta) -> dict[str, Json]:
    """The delta of a tool call: id, type and name when it opens, then arguments alone."""
    if event.name is None:
        return {"tool_calls": [{"index": event.index, "function": {"arguments": event.arguments}}]}
    function = {"name": event.name, "arguments": event.arguments}
    return {"tool_calls": [{"index": event.index, "id": event.id, "type": "function", "function": function}]}
