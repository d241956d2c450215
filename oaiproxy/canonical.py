"""The canonical request: what every endpoint parses into, and the names that every template sees."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from oaiproxy import jsontext
from oaiproxy.history import NOTHING, Memory, forgotten, recall
from oaiproxy.jsontext import Json
from oaiproxy.opaque import Restorer
from oaiproxy.sandbox import ABSENT
from oaiproxy.shapes import Shape

Message: TypeAlias = dict[str, Json]


@dataclass(frozen=True, slots=True)
class Call:
    """One client request, checked.

    `messages` is the conversation in the shape of OpenAI's chat messages, whatever the endpoint; `fields` are the
    other fields that were sent with a value of their own, under OpenAI's names; `extra` those that OpenAI does not
    define; `request` is the body as it came.
    """

    endpoint: str
    model: str
    stream: bool
    include_usage: bool
    messages: list[Message]
    fields: Mapping[str, Json]
    extra: Mapping[str, Json] = field(default_factory=dict)
    request: Mapping[str, Json] = field(default_factory=dict)
    reasoning: bool = False
    """Whether templates ask for parts of the type `reasoning`: those that do not would take them for something else."""
    texts: tuple[str, ...] = ()
    """The texts that are no messages, for the count of tokens."""
    mapping: str = ""
    """The name of the mapping that serves it: state in its messages that is for another is left out."""
    sent: Mapping[str, Json] = field(default_factory=dict)
    """The body as it came, where the endpoint speaks of the conversation in other words and `request` is in chat's."""


def served(call: Call, mapping: str, reasoning: bool) -> Call:
    """The call as a mapping serves it; written out, for every request comes through here."""
    return Call(
        call.endpoint,
        call.model,
        call.stream,
        call.include_usage,
        call.messages,
        call.fields,
        call.extra,
        call.request,
        reasoning,
        call.texts,
        mapping,
        call.sent,
    )


def without(call: Call, keys: Collection[str]) -> Call:
    """The call as if these fields, by OpenAI's names, had not been sent."""
    fields, request = (
        {name: value for name, value in given.items() if name not in keys} for given in (call.fields, call.request)
    )
    return replace(call, fields=fields, request=request)


@dataclass(frozen=True, slots=True)
class Identity:
    """What time and chance give a request, made outside so that the core stays pure: the same in every retry.

    `token` is 24 or more random letters and digits; `now` is in seconds since 1970.
    """

    request_id: str
    token: str
    uuid: str
    now: float

    @property
    def created(self) -> int:
        """Whole seconds since 1970."""
        return int(self.now)


_TEXT, _NUMBER, _BOOLEAN = "text", "number", "boolean"
_PART: Shape = {
    "type": ("text", "image", "audio", "file", "reasoning", "tool_call", "tool_result"),
    "text": _TEXT,
    "url": _TEXT,
    "media_type": _TEXT,
    "base64": _TEXT,
    "detail": _TEXT,
    "format": _TEXT,
    "filename": _TEXT,
    "file_id": _TEXT,
    "id": _TEXT,
    "name": _TEXT,
    "arguments": None,
    "arguments_json": _TEXT,
    "json": None,
    "state": None,
}
_TOOL_CALL: Shape = {"id": _TEXT, "name": _TEXT, "arguments": None, "arguments_json": _TEXT, "state": None}
_MESSAGE: Shape = {
    "role": ("system", "user", "assistant", "tool"),
    "text": _TEXT,
    "parts": [_PART],
    "tool_calls": [_TOOL_CALL],
    "tool_call_id": _TEXT,
    "tool_name": _TEXT,
    "images_base64": [_TEXT],
    "name": _TEXT,
}

SHAPES: Mapping[str, Shape] = {
    "prompt": _TEXT,
    "chat_prompt": _TEXT,
    "system": _TEXT,
    "messages": [_MESSAGE],
    "turns": [{"role": ("user", "assistant"), "parts": [_PART]}],
    "tools": [{"name": _TEXT, "description": _TEXT, "parameters": None, "strict": _BOOLEAN}],
    "tool_choice": {"mode": ("auto", "none", "required", "tool"), "name": _TEXT},
    "temperature": _NUMBER,
    "top_p": _NUMBER,
    "top_k": _NUMBER,
    "max_tokens": _NUMBER,
    "stop": [_TEXT],
    "seed": _NUMBER,
    "n": _NUMBER,
    "presence_penalty": _NUMBER,
    "frequency_penalty": _NUMBER,
    "logit_bias": None,
    "logprobs": None,
    "top_logprobs": _NUMBER,
    "user": _TEXT,
    "reasoning_effort": _TEXT,
    "response_format": None,
    "parallel_tool_calls": _BOOLEAN,
    "verbosity": _TEXT,
    "metadata": None,
    "service_tier": _TEXT,
    "safety_identifier": _TEXT,
    "prompt_cache_key": _TEXT,
    "suffix": _TEXT,
    "echo": _BOOLEAN,
    "stream": _BOOLEAN,
    "model": _TEXT,
    "extra": None,
    "request": None,
    "headers": {},
    "vars": None,
    "request_id": _TEXT,
    "uuid": _TEXT,
    "now": _NUMBER,
}
"""Every name that a request template can use, and what it holds; None is data of any shape."""


class Names:
    """The names of one request. What is derived from the messages is made when a template first asks for it."""

    __slots__ = ("_call", "_made", "_values")

    def __init__(
        self,
        call: Call,
        identity: Identity,
        *,
        model: str,
        stream: bool,
        variables: Mapping[str, Json] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._call = call
        self._made: dict[str, Callable[[], Json]] = {}
        self._values: dict[str, Json] = {
            **call.fields,
            "stream": stream,
            "model": model,
            "extra": call.extra,
            "headers": headers or {},
            "vars": variables or {},
            "request_id": identity.request_id,
            "uuid": identity.uuid,
            "now": identity.now,
        }
        if "max_completion_tokens" in call.fields:
            self._values["max_tokens"] = call.fields["max_completion_tokens"]
        for name in _REWRITTEN:
            self._values.pop(name, None)

    def derive(self, name: str, make: Callable[[], Json]) -> None:
        """Give a name a value that is made when a template first asks for it."""
        self._made[name] = make

    def lookup(self, name: str) -> Json:
        """The value of a name; `ABSENT` when the client did not send it."""
        try:
            return self._values[name]
        except KeyError:
            derive = _DERIVED.get(name)
            if derive is not None:
                value = derive(self._call)
            else:
                value = self._made[name]() if name in self._made else ABSENT
            self._values[name] = value
            return value


def message_text(message: Message) -> str:
    """The text of a message: its content, or its text parts one after another."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(part[part["type"]] for part in content if part["type"] in ("text", "refusal"))
    refusal = message.get("refusal")  # as clients send back an answer that was one
    return refusal if isinstance(refusal, str) else ""


def last_text(call: Call) -> Json:
    """The text of the last message; absent where an endpoint has no messages, and no prompt was sent."""
    return message_text(call.messages[-1]) if call.messages else ABSENT


def system_text(call: Call) -> Json:
    """All system and developer text, joined by empty lines; absent when there is none."""
    texts = [message_text(message) for message in call.messages if message["role"] in ("system", "developer")]
    return "\n\n".join(texts) if texts else ABSENT


def canonical_messages(call: Call) -> list[Message]:
    """The conversation with `developer` renamed, content split into parts, and tool names looked up."""
    ids = Restorer(call.mapping)
    names = tool_names(call, ids)
    return [_message(message, names, ids, call.reasoning) for message in call.messages]


def turns(call: Call) -> list[Json]:
    """Strictly alternating `{role, parts}`: system removed, tool results folded into user turns, neighbours merged.

    A conversation of nothing but empty text is one empty turn of the user.
    """
    found: list[Json] = []
    for message in canonical_messages(call):
        if message["role"] == "system":
            continue
        role = "assistant" if message["role"] == "assistant" else "user"
        parts = message["parts"]
        if not parts:
            continue
        if found and found[-1]["role"] == role:
            found[-1]["parts"].extend(parts)
        else:
            found.append({"role": role, "parts": list(parts)})
    return found or [{"role": "user", "parts": [{"type": "text", "text": ""}]}]


def tool_names(call: Call, ids: Restorer) -> dict[str, str]:
    """The functions that were called, by the plain ids of the calls."""
    names = {}
    for message in call.messages:
        for tool_call in tool_calls(message):
            names[ids.plain(tool_call.get("id") or "")] = tool_call["function"]["name"]
    return names


def tool_calls(message: Message) -> list[Json]:
    """The function calls of an assistant's message: on others the field is unknown, and nobody checked it."""
    calls = message.get("tool_calls") or () if message["role"] == "assistant" else ()
    return [call for call in calls if call.get("type") != "custom"]


def custom_tools(call: Call) -> frozenset[str]:
    """The names of the tools that take text."""
    return frozenset(tool["custom"]["name"] for tool in call.fields.get("tools") or () if tool["type"] == "custom")


def _message(message: Message, names: Mapping[str, str], ids: Restorer, reasoning: bool) -> Message:
    role = _ROLES.get(message["role"], message["role"])
    parts = _parts(message.get("content") or message.get("refusal"))
    made: Message = {"role": role, "text": message_text(message)}
    if isinstance(message.get("name"), str):
        made["name"] = message["name"]
    images = [part["base64"] for part in parts if part["type"] == "image" and "base64" in part]
    if images:
        made["images_base64"] = images
    memory = recall(message, ids) if role == "assistant" else NOTHING
    if reasoning and role == "assistant":
        parts = memory.parts(message) + parts
    if calls := tool_calls(message):
        made["tool_calls"] = [_tool_call(tool_call, ids, memory) for tool_call in calls]
        parts = parts + [{"type": "tool_call", **tool_call} for tool_call in made["tool_calls"]]
    if role == "tool":
        parts = [_tool_result(message, names, ids)]
        made["tool_call_id"] = parts[0]["id"]
        if "name" in parts[0]:
            made["tool_name"] = parts[0]["name"]
    made["parts"] = parts
    return made


def _parts(content: Json) -> list[Json]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    if not isinstance(content, list):
        return []
    return [canonical_part(part) for part in content]


def canonical_part(part: Json) -> Json:
    """A part of a message's content as templates see it."""
    return _PARTS[part["type"]](part)


def _text_part(part: Json) -> Json:
    return {"type": "text", "text": part[part["type"]]}


def _image_part(part: Json) -> Json:
    image = part["image_url"]
    made = {"type": "image", "url": image["url"], **_data_url(image["url"])}
    if image.get("detail"):
        made["detail"] = image["detail"]
    return made


def _audio_part(part: Json) -> Json:
    audio = part["input_audio"]
    return {"type": "audio", "base64": audio["data"], "format": audio["format"]}


def _file_part(part: Json) -> Json:
    file = part["file"]
    made = {"type": "file"} | {key: file[key] for key in ("filename", "file_id") if file.get(key)}
    data = file.get("file_data") or ""
    return made | (_data_url(data) or ({"base64": data} if data else {}))


_PARTS: Mapping[str, Callable[[Json], Json]] = {
    "text": _text_part,
    "refusal": _text_part,
    "image_url": _image_part,
    "input_audio": _audio_part,
    "file": _file_part,
}
PART_TYPES = tuple(_PARTS)
"""The types of content parts that OpenAI's chat messages have."""


def _data_url(url: str) -> dict[str, str]:
    """The parts of a `data:` URL (RFC 2397) in base64; nothing for another URL."""
    head, comma, data = url.partition(",")
    if not (comma and head.startswith("data:") and head.endswith(";base64")):
        return {}
    media_type = head[len("data:") : -len(";base64")].split(";")[0]
    return {"media_type": media_type or "application/octet-stream", "base64": data}


def _tool_call(tool_call: Json, ids: Restorer, memory: Memory) -> Json:
    text = tool_call["function"].get("arguments") or "{}"
    try:
        arguments = jsontext.parse(text)
    except jsontext.JsonError:
        arguments = text
    name = tool_call["function"]["name"]
    call_id = ids.plain(tool_call.get("id") or "")
    made = {"id": call_id, "name": name, "arguments": arguments, "arguments_json": text}
    return made | {"state": memory.calls[call_id]} if call_id in memory.calls else made


def _tool_result(message: Message, names: Mapping[str, str], ids: Restorer) -> Json:
    text = message_text(message)
    made = {"type": "tool_result", "id": ids.plain(message.get("tool_call_id", "")), "text": text}
    name = names.get(made["id"]) or message.get("name")
    if name and isinstance(name, str):
        made["name"] = name
    with suppress(jsontext.JsonError):
        made["json"] = jsontext.parse(text)
    return made


def _tools(call: Call) -> Json:
    """The functions that may be called: of `allowed_tools`, those alone."""
    functions = [tool["function"] for tool in call.fields.get("tools") or () if tool["type"] == "function"]
    choice = call.fields.get("tool_choice")
    if isinstance(choice, dict) and choice["type"] == "allowed_tools":
        allowed = [tool["function"]["name"] for tool in choice["allowed_tools"]["tools"] if tool["type"] == "function"]
        functions = [function for function in functions if function["name"] in allowed]
    keys = ("name", "description", "parameters", "strict")
    return [{key: each[key] for key in keys if each.get(key) is not None} for each in functions] or ABSENT


def _tool_choice(call: Call) -> Json:
    choice = call.fields.get("tool_choice")
    if choice is None or not call.fields.get("tools"):
        return ABSENT
    if isinstance(choice, str):
        return {"mode": choice}
    if choice["type"] == "allowed_tools":
        mode = choice["allowed_tools"]["mode"]
        return ABSENT if mode == "auto" else {"mode": mode}
    return {"mode": "tool", "name": (choice.get(choice["type"]) or choice)["name"]}


def _stop(call: Call) -> Json:
    stop = call.fields.get("stop")
    if stop is None:
        return ABSENT
    return [stop] if isinstance(stop, str) else stop


def _raw(call: Call) -> Json:
    """The request as it came, but for state that is in it."""
    return forgotten(call.request, Restorer(call.mapping))


_DERIVED: Mapping[str, Callable[[Call], Json]] = {
    "request": _raw,
    "prompt": last_text,
    "system": system_text,
    "messages": canonical_messages,
    "turns": turns,
    "tools": _tools,
    "tool_choice": _tool_choice,
    "stop": _stop,
}
_ROLES = {"developer": "system"}
"""Roles that have another name."""
_REWRITTEN = ("tools", "tool_choice", "stop")
"""Fields whose value in templates is not the one on the wire."""
