"""`POST /v1/responses`: its requests to chat's calls, and chat's names of fields back to its own.

https://platform.openai.com/docs/api-reference/responses/create
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from oaiproxy.canonical import Call
from oaiproxy.endpoints import chat
from oaiproxy.endpoints.responses_items import Conversation, Find, Item
from oaiproxy.endpoints.responses_tools import read_choice, read_tools
from oaiproxy.errors import ApiError, ClientError
from oaiproxy.jsontext import Json
from oaiproxy.parameters import (
    CHAT,
    boolean,
    integer,
    invalid_type,
    invalid_value,
    mapping,
    missing,
    no_object,
    optional,
    required,
    string,
)

PATH = "/v1/responses"
LOGPROBS = "message.output_text.logprobs"
_OWN = frozenset(
    (
        *("input", "instructions", "previous_response_id", "include", "text", "reasoning", "max_output_tokens"),
        *("tools", "tool_choice", "background", "conversation", "prompt", "truncation", "max_tool_calls"),
        *("context_management", "stream_options", "top_logprobs"),
    )
)
"""Fields that chat does not have, or has in another shape."""
_SHARED = frozenset(
    (
        *(
            "model",
            "stream",
            "temperature",
            "top_p",
            "top_k",
            "seed",
            "stop",
            "logit_bias",
            "user",
            "metadata",
            "store",
        ),
        *("presence_penalty", "frequency_penalty", "parallel_tool_calls", "service_tier", "safety_identifier"),
        *("prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "moderation"),
    )
)
"""Fields that chat has too. Its others mean nothing here, such as `n` and `messages`."""
_NAMES = {
    "max_completion_tokens": "max_output_tokens",
    "max_tokens": "max_output_tokens",
    "response_format": "text.format",
    "response_format.json_schema": "text.format",
    "reasoning_effort": "reasoning.effort",
    "verbosity": "text.verbosity",
    "logprobs": "include",
    "tool_choice.function": "tool_choice",
    "tool_choice.custom": "tool_choice",
    "tool_choice.allowed_tools": "tool_choice",
}
"""Chat's names for what is called otherwise here."""
_PARTS = {".image_url.url": ".image_url", ".file.file_data": ".file_data", ".file.filename": ".filename"}
"""The same inside of messages."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: as chat's call, and what its answer repeats of it."""

    call: Call
    items: Sequence[Item]
    """What the client said now."""
    history: Sequence[Item]
    """What was said before, as it is kept."""
    tools: Sequence[Item]
    tool_choice: Json
    dropped: tuple[str, ...]
    """What was left out here, for its header."""
    places: Mapping[str, str]

    @property
    def store(self) -> bool:
        """Whether the response is to be kept."""
        return self.call.sent.get("store") is not False

    @property
    def background(self) -> bool:
        """Whether the client does not wait for the response."""
        return self.call.sent.get("background") is True

    def param(self, name: str) -> str:
        """The client's name of a field that is named by chat's."""
        rest = ""
        while name and name not in self.places:
            name, tail = _parent(name)
            rest = tail + rest
        for ours, theirs in _PARTS.items():
            rest = rest.replace(ours, theirs)
        return self.places[name] + rest if name else rest.removeprefix(".")


def parse(body: Json, history: Sequence[Item] = (), find: Find = lambda item_id: None) -> Asked:
    """A request as chat's call. Raises ClientError that names the field at fault by the client's name.

    `history` is what `previous_response_id` stands for, `find` gives an item that is kept.
    """
    if not isinstance(body, dict):
        raise no_object(body)
    body = {key: value for key, value in body.items() if value is not None}
    _check(body)
    talk = Conversation(find)
    if "instructions" in body:
        talk.instruct(string(body["instructions"], "instructions"))
    talk.remember(history)
    if "input" in body:
        talk.read(body["input"])
    if not talk.messages:
        raise missing("input")
    request = {key: value for key, value in body.items() if key not in _OWN and (key in _SHARED or key not in CHAT)}
    request["messages"] = talk.finished()
    dropped = [*talk.left_out]
    dropped += [key for key in body if key == "context_management" or (key in CHAT and key not in _OWN | _SHARED)]
    if body.get("truncation") == "auto":
        dropped.append("truncation")
    request |= _generation(body)
    tools = read_tools(body.get("tools"), dropped)
    if tools.chat:
        request["tools"] = tools.chat
    choice = read_choice(body.get("tool_choice"), tools, dropped)
    if choice is not None:
        request["tool_choice"] = choice
    asked = Asked(
        Call("chat", "", False, False, [], {}),
        talk.items,
        history,
        tools.told,
        body["tool_choice"] if choice is not None else "auto",
        tuple(dict.fromkeys(dropped)),
        {name: name for name in (*request, *_OWN)} | _NAMES | tools.places | talk.places,
    )
    try:
        call = chat.parse(request)
    except ApiError as error:
        rename(error, asked)
        raise
    return replace(asked, call=replace(call, sent=body))


def rename(error: ApiError, asked: Asked) -> None:
    """Let an error name the client's own field."""
    if error.param is None or (param := asked.param(error.param)) == error.param:
        return
    error.message = error.message.replace(f"'{error.param}'", f"'{param}'")
    error.param = param


def _check(body: Mapping[str, Json]) -> None:
    """Fields that are no chat's, and those that ask for what is not here."""
    for key in ("conversation", "prompt"):
        if key in body:
            message = f"Unsupported parameter: '{key}' is not supported here: nothing of that kind is kept."
            raise ClientError(message, param=key, code="unsupported_parameter")
    background = boolean(body.get("background", False), "background")
    if string(body.get("truncation", "auto"), "truncation") not in ("auto", "disabled"):
        raise invalid_value("truncation", "use 'auto' or 'disabled'")
    if not boolean(body.get("store", True), "store") and background:
        raise invalid_value("background", "it needs 'store' to be true")
    string(body.get("previous_response_id", ""), "previous_response_id")
    integer(0, 1_000_000)(body.get("max_tool_calls", 0), "max_tool_calls")
    mapping(body.get("stream_options", {}), "stream_options")
    include = body.get("include", [])
    if not isinstance(include, list):
        raise invalid_type("include", include, "an array of strings")
    for index, each in enumerate(include):
        string(each, f"include[{index}]")


def _generation(body: Mapping[str, Json]) -> dict[str, Json]:
    """How to generate, in chat's fields."""
    made: dict[str, Json] = {}
    if "max_output_tokens" in body:
        made["max_completion_tokens"] = CHAT["max_completion_tokens"].check(
            body["max_output_tokens"], "max_output_tokens"
        )
    top = integer(0, 20)(body.get("top_logprobs", 0), "top_logprobs")
    if top or LOGPROBS in body.get("include", ()):
        made["logprobs"] = True
    if top:
        made["top_logprobs"] = top
    reasoning = mapping(body.get("reasoning", {}), "reasoning")
    for key in ("effort", "summary", "generate_summary"):
        optional(reasoning, key, "reasoning", string)
    if reasoning.get("effort") is not None:
        made["reasoning_effort"] = reasoning["effort"]
    text = mapping(body.get("text", {}), "text")
    optional(text, "verbosity", "text", string)
    if text.get("verbosity") is not None:
        made["verbosity"] = text["verbosity"]
    if text.get("format") is not None:
        made["response_format"] = _format(mapping(text["format"], "text.format"))
    return made


def _format(format_: Item) -> Json:
    kind = required(format_, "type", "text.format", string)
    if kind not in ("text", "json_object", "json_schema"):
        supported = "supported values are: 'text', 'json_object', 'json_schema'"
        raise invalid_value("text.format.type", f"'{kind[:40]}'; {supported}")
    if kind != "json_schema":
        return {"type": kind}
    required(format_, "name", "text.format", string)
    required(format_, "schema", "text.format", mapping)
    optional(format_, "strict", "text.format", boolean)
    optional(format_, "description", "text.format", string)
    keys = ("name", "description", "schema", "strict")
    return {"type": kind, kind: {key: format_[key] for key in keys if format_.get(key) is not None}}


_LAST = re.compile(r"(.*?)(\.[^.\[\]]*|\[\d+\]|[^.\[\]]+)")


def _parent(name: str) -> tuple[str, str]:
    """A path without its last step, and that step."""
    found = _LAST.fullmatch(name)
    return (found[1], found[2]) if found and found[1] else ("", name)
