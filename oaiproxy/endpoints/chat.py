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
from oaiproxy.events import Annotations, Delta, Event, Finish, Head, Logprobs, Remainder, ToolCallDelta, Usage
from oaiproxy.jsontext import Json
from oaiproxy.logprobs import chat_logprobs
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
    logprobs = call.fields.get("logprobs") is True
    if not call.stream:
        return CompletionEncoder(head, logprobs)
    return ChunkEncoder(head, call.include_usage, logprobs, int(call.fields.get("n") or 1))


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


class ChunkEncoder(Encoder):
    """A stream of `chat.completion.chunk` events, ended by `[DONE]`.

    Of the choices that were asked for the first is opened first, whichever the backend tells of first: official clients
    keep choices in a list, in the order in which they are opened.
    """

    content_type = EVENT_STREAM
    streams = True

    def __init__(self, header: _Header, include_usage: bool, wants_logprobs: bool = False, choices: int = 1) -> None:
        self.wants_usage = include_usage
        self._choices = choices
        self._wants_logprobs = wants_logprobs
        self._remainders: dict[int, Json] = {}
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
                last = self._remainders.get(choice, {})
                return self._opening(choice, b'""') + self._chunk(choice, jsontext.dump(last), jsontext.dump(reason))
            case Head():
                if not self._lead:
                    self._header.name(event)
            case Logprobs(choice=choice) if self._wants_logprobs and (told := chat_logprobs([event])):
                return self._opening(choice, b'""') + self._chunk(choice, b"{}", logprobs=jsontext.dump(told))
            case Annotations(items=items, choice=choice):
                return self._opening(choice, b'""') + self._chunk(choice, jsontext.dump({"annotations": items}))
            case Remainder(choice=choice):
                self._remainders[choice] = _extra(event)
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
        before = self._opening(choice - 1, b'""') if 0 < choice < self._choices else b""
        self._prefixes[choice] = self._lead + str(choice).encode() + b',"delta":'
        return before + self._chunk(choice, b'{"role":"assistant","content":' + content + b',"refusal":null}')

    def _chunk(self, choice: int, delta: bytes, reason: bytes = b"null", logprobs: bytes = b"null") -> bytes:
        end = b',"logprobs":' + logprobs + b',"finish_reason":' + reason + b"}]" + self._tail
        return self._prefixes[choice] + delta + end


@dataclass(slots=True)
class _Answer:
    """One choice of a whole answer, growing."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    calls: dict[int, dict[str, Json]] = field(default_factory=dict)
    arguments: dict[int, list[str]] = field(default_factory=dict)
    finish: str = "stop"
    logprobs: list[Logprobs] = field(default_factory=list)
    annotations: list[Json] = field(default_factory=list)
    remainder: dict[str, Json] = field(default_factory=dict)

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
        if self.annotations:
            made["annotations"] = self.annotations
        return made | self.remainder


class CompletionEncoder(Encoder):
    """One `chat.completion` object."""

    content_type = JSON
    streams = False
    wants_usage = True

    def __init__(self, header: _Header, wants_logprobs: bool = False) -> None:
        self._header = header
        self._wants_logprobs = wants_logprobs
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
            case Logprobs(choice=choice) if self._wants_logprobs:
                self._answer(choice).logprobs.append(event)
            case Annotations(items=items, choice=choice):
                self._answer(choice).annotations += items
            case Remainder(choice=choice):
                self._answer(choice).remainder = _extra(event)
        return b""

    def close(self, usage: Usage | None) -> bytes:
        """The whole object."""
        made = self._header.object("chat.completion")
        made["choices"] = [
            {
                "index": index,
                "message": answer.message(),
                "logprobs": chat_logprobs(answer.logprobs),
                "finish_reason": answer.finish,
            }
            for index, answer in sorted(self._answers.items())
        ]
        if usage is not None:
            made["usage"] = usage_object(usage)
        return jsontext.dump(made)

    def _answer(self, choice: int) -> _Answer:
        return self._answers.setdefault(choice, _Answer())


def _extra(event: Remainder) -> dict[str, Json]:
    """What a message carries beside OpenAI's fields: state for a client that sends messages back as they came."""
    owner = {"of": event.owner} if event.owner else {}
    return {"extra_content": {"oaiproxy": owner | {"state": event.items}}}


def _tool_delta(event: ToolCallDelta) -> dict[str, Json]:
    """The delta of a tool call: id, type and name when it opens, then arguments alone."""
    if event.name is None:
        return {"tool_calls": [{"index": event.index, "function": {"arguments": event.arguments}}]}
    function = {"name": event.name, "arguments": event.arguments}
    return {"tool_calls": [{"index": event.index, "id": event.id, "type": "function", "function": function}]}
