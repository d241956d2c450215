"""`POST /v1/chat/completions`: its requests to canonical calls, events to completion objects and chunks.

https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from oaiproxy import jsontext
from oaiproxy.canonical import Call, Identity
from oaiproxy.endpoints.conversation import read_messages
from oaiproxy.endpoints.encoding import DONE, EVENT_STREAM, JSON, Encoder, sse, usage_object
from oaiproxy.endpoints.functions import client_param, function_call, wants_functions, with_tools
from oaiproxy.endpoints.reading import read_body
from oaiproxy.events import Annotations, Delta, Event, Finish, Head, Logprobs, Remainder, ToolCallDelta, Usage
from oaiproxy.jsontext import Json
from oaiproxy.logprobs import chat_logprobs
from oaiproxy.parameters import CHAT, invalid_value, unknown_fields

ENDPOINT = "chat"


def parse(body: Json) -> Call:
    """A chat completion request as a canonical call. Raises ClientError that names the field at fault."""
    request, fields, model, stream, include_usage = read_body(body, CHAT)
    if request.get("tools") == []:
        request, fields = ({key: each[key] for key in each if key not in _OF_TOOLS} for each in (request, fields))
    messages = read_messages(fields.pop("messages", None))
    asked, fields = with_tools(request, fields, messages)
    sent = {} if asked is request else request
    _check_partners(fields, "function" if sent.get("functions") else "tool")
    extra = unknown_fields(request, CHAT)
    return Call(ENDPOINT, model, stream, include_usage, messages, fields, extra, asked, sent=sent)


_OF_TOOLS = ("tools", "tool_choice", "parallel_tool_calls")
"""What counts as not sent where there is no tool: backends refuse it."""


def param(call: Call, param: str) -> str:
    """The client's name of a field: of functions, where it sent those."""
    return client_param(call.sent, param) if call.sent else param


def _check_partners(fields: dict[str, Json], word: str) -> None:
    """Fields that say something of others. Raises ClientError for what the others do not bear out."""
    if fields.get("top_logprobs") and not fields.get("logprobs"):
        raise invalid_value("top_logprobs", "'logprobs' must be true where it is sent")
    choice, tools = fields.get("tool_choice"), fields.get("tools")
    if not tools or not isinstance(choice, dict):
        return
    chosen = choice["allowed_tools"]["tools"] if choice["type"] == "allowed_tools" else [choice]
    known = [tool[tool["type"]]["name"] for tool in tools]
    for each in chosen:
        name = (each.get(each["type"]) or each)["name"]
        if name not in known:
            param = "function_call" if word == "function" else "tool_choice"
            raise invalid_value(param, f"the {word} '{name[:80]}' is not in '{word}s'")


def encoder(call: Call, identity: Identity) -> Encoder:
    """The encoder of the answer that the call asks for."""
    head = _Header("chatcmpl-" + identity.token, identity.created, call.model)
    logprobs = call.fields.get("logprobs") is True
    functions = wants_functions(call)
    if not call.stream:
        return CompletionEncoder(head, logprobs, functions)
    return ChunkEncoder(head, call.include_usage, logprobs, int(call.fields.get("n") or 1), functions)


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

    def __init__(
        self,
        header: _Header,
        include_usage: bool,
        wants_logprobs: bool = False,
        choices: int = 1,
        functions: bool = False,
    ) -> None:
        self.wants_usage = include_usage
        self._functions = functions
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
            case ToolCallDelta(index=index, choice=choice):
                if self._functions and index:
                    return b""  # it knows of one call only
                called = {"function_call": function_call(event)} if self._functions else _tool_delta(event)
                return self._opening(choice, b"null") + self._chunk(choice, jsontext.dump(called))
            case Finish(reason=reason, choice=choice):
                last = self._remainders.get(choice, {})
                ended = jsontext.dump(_reason(reason, self._functions))
                return self._opening(choice, b'""') + self._chunk(choice, jsontext.dump(last), ended)
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
    calls: dict[int, ToolCallDelta] = field(default_factory=dict)
    """By index, what opened each."""
    arguments: dict[int, list[str]] = field(default_factory=dict)
    finish: str = "stop"
    logprobs: list[Logprobs] = field(default_factory=list)
    annotations: list[Json] = field(default_factory=list)
    remainder: dict[str, Json] = field(default_factory=dict)

    def text(self, kind: str) -> str | None:
        """The text of a kind, None when there was none."""
        return "".join(self.texts[kind]) if kind in self.texts else None

    def message(self, functions: bool) -> dict[str, Json]:
        """The message object; `functions` tells that calls are those of functions."""
        content = self.text("content")
        made: dict[str, Json] = {
            "role": "assistant",
            "content": "" if content is None and not self.calls else content,
            "refusal": self.text("refusal"),
        }
        if "reasoning_content" in self.texts:
            made["reasoning_content"] = self.text("reasoning_content")
        calls = [
            msgspec.structs.replace(call, arguments="".join(self.arguments[index]))
            for index, call in sorted(self.calls.items())
        ]
        if calls and functions:
            made["function_call"] = function_call(calls[0])
        elif calls:
            made["tool_calls"] = [_tool_call(call) for call in calls]
        if self.annotations:
            made["annotations"] = self.annotations
        return made | self.remainder


class CompletionEncoder(Encoder):
    """One `chat.completion` object."""

    content_type = JSON
    streams = False
    wants_usage = True

    def __init__(self, header: _Header, wants_logprobs: bool = False, functions: bool = False) -> None:
        self._header = header
        self._functions = functions
        self._wants_logprobs = wants_logprobs
        self._answers: dict[int, _Answer] = {}

    def feed(self, event: Event) -> bytes:
        """Nothing yet: the event is kept."""
        match event:
            case Delta(text=text, kind=kind, choice=choice):
                self._answer(choice).texts.setdefault(kind, []).append(text)
            case ToolCallDelta(index=index, name=name, arguments=arguments, choice=choice):
                answer = self._answer(choice)
                if name is not None:
                    answer.calls[index] = event
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
                "message": answer.message(self._functions),
                "logprobs": chat_logprobs(answer.logprobs),
                "finish_reason": _reason(answer.finish, self._functions),
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


def _reason(reason: str, functions: bool) -> str:
    return "function_call" if functions and reason == "tool_calls" else reason


def _tool_call(event: ToolCallDelta) -> dict[str, Json]:
    """A tool call: of a function, or of a custom tool, which takes text."""
    if event.custom:
        return {"id": event.id, "type": "custom", "custom": {"name": event.name, "input": event.arguments}}
    return {"id": event.id, "type": "function", "function": {"name": event.name, "arguments": event.arguments}}


def _tool_delta(event: ToolCallDelta) -> dict[str, Json]:
    """The delta of a tool call: id, type and name when it opens, then arguments alone."""
    if event.name is not None:
        return {"tool_calls": [{"index": event.index, **_tool_call(event)}]}
    said = {"custom": {"input": event.arguments}} if event.custom else {"function": {"arguments": event.arguments}}
    return {"tool_calls": [{"index": event.index, **said}]}
