"""`POST /v1/messages`: its requests to chat calls, and what its clients are told of errors.

A front door on top of chat: a request becomes the chat request that means the same, so that every mapping serves it.
docs/messages.md tells what becomes of what.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from oaiproxy import jsontext
from oaiproxy.canonical import Call, Identity, message_text, tool_calls
from oaiproxy.endpoints import chat
from oaiproxy.endpoints.encoding import Encoder
from oaiproxy.endpoints.messages_checks import (
    array,
    boolean,
    each_object,
    fault,
    integer,
    number,
    objects,
    one_of,
    optional,
    required,
    string,
    strings,
)
from oaiproxy.endpoints.messages_content import Told, read_conversation, read_system
from oaiproxy.endpoints.messages_encoding import Asked, EventEncoder, MessageEncoder
from oaiproxy.errors import ApiError, ClientError
from oaiproxy.jsontext import Json
from oaiproxy.parameters import CHAT

ENDPOINT = "messages"
PATH = "/v1/messages"
REQUEST_ID = "request-id"
"""The header by which clients of this endpoint know a request."""
MEDIA_TOKENS = 1600
"""What an image or a document is taken to cost where tokens are only estimated: about what the largest image does."""

_KNOWN = frozenset(
    (
        *("model", "messages", "system", "max_tokens", "stop_sequences", "stream", "temperature", "top_k", "top_p"),
        *("metadata", "tools", "tool_choice", "thinking", "output_config", "output_format", "service_tier"),
        *("cache_control", "context_management", "diagnostics", "speed", "user_profile_id", "workspace_id", "betas"),
        *("fallbacks", "fallback_credit_token", "billing_policy"),
        *("container", "mcp_servers", "inference_geo", "compaction", "thread"),
    )
)
"""The fields of the API: of the last three lines, those of two are hints, left out; those of the last are refused."""
_REFUSED = {
    "container": "containers are not supported",
    "mcp_servers": "MCP servers are not called here; give their tools as `tools`",
    "inference_geo": "where the model runs cannot be chosen here",
    "compaction": "conversations are not compacted here",
    "thread": "conversations are not kept here; send all of it",
}
_CODES = {"thread": "thread_unsupported_request"}
"""The code by which official clients know to go on without a thread: they begin one unasked."""
_ALSO = frozenset(
    (
        *("seed", "presence_penalty", "frequency_penalty", "logit_bias", "reasoning_effort", "verbosity"),
        *("safety_identifier", "prompt_cache_key"),
    )
)
"""Fields of chat that this API does not have and that are taken all the same, since they ask for nothing in return."""
_BUDGETS = ((4096, "low"), (16384, "medium"))
"""The effort that is meant by thinking in fewer tokens; beyond, it is high."""
_EFFORTS = {"max": "xhigh"}


def parse(body: Json) -> Call:
    """A request as the call of the chat request that means the same. Raises ClientError that names the field."""
    return _parsed(body, counts=False)


def parse_to_count(body: Json) -> Call:
    """The same of a request to count its tokens, which needs no `max_tokens`."""
    return _parsed(body, counts=True)


def encoder(call: Call, identity: Identity) -> Encoder:
    """The encoder of the answer that the call asks for."""
    thinking = call.sent.get("thinking") or {}
    thinks = thinking.get("type", "disabled") != "disabled" and thinking.get("display") != "omitted"
    asked = Asked("msg_" + identity.token, call.model, thinks, lambda failure: error(failure, identity.request_id))
    return EventEncoder(asked) if call.stream else MessageEncoder(asked)


def param(call: Call, param: str) -> str:
    """This API's name of a field that an error names by chat's, such as `messages.0.content.1` or `stop_sequences`."""
    return _named(_conversation(call.sent), call.sent, param)


def error(error: ApiError, request_id: str) -> Json:
    """The body of an answer, or of an event, that tells of an error."""
    message = error.message
    if error.code == "context_length_exceeded" and "prompt is too long" not in message:
        message = f"prompt is too long: {message}"  # what clients of this API look for, to shorten the conversation
    told: dict[str, Json] = {"type": _TYPES.get(error.status) or _type(error.status), "message": message}
    if error.code is not None:
        told["details"] = {"error_code": error.code} | ({"param": error.param} if error.param else {})
    return {"type": "error", "error": told, "request_id": request_id}


def estimated(call: Call) -> tuple[list[str], int]:
    """The texts whose tokens a prompt has, and the tokens of what is no text, roughly."""
    texts: list[str] = []
    media = 0
    for message in call.messages:
        texts += [message_text(message), message.get("reasoning_content") or ""]
        texts += [each["function"]["name"] + each["function"]["arguments"] for each in tool_calls(message)]
        content = message.get("content")
        media += sum(part["type"] != "text" for part in content) if isinstance(content, list) else 0
    texts += [jsontext.dump(tool["function"]).decode() for tool in call.fields.get("tools") or ()]
    return [text for text in texts if text], media * MEDIA_TOKENS


_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_NAMES: Mapping[str, str] = {
    "stop": "stop_sequences",
    "user": "metadata.user_id",
    "response_format": "output_config.format",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
}
_INSIDE: Mapping[str, str] = {".tool_call_id": ".tool_use_id"}
"""The same inside of messages."""


def _type(status: int) -> str:
    return "invalid_request_error" if status < 500 else "api_error"


def _parsed(body: Json, *, counts: bool) -> Call:
    if not isinstance(body, dict):
        raise fault("body", "Input should be an object", "invalid_type")
    made, told = _translated(body, counts)
    try:
        return replace(chat.parse(made), sent=body)
    except ClientError as refused:
        if refused.param is not None:
            name = _named(told, body, refused.param)
            refused.message = refused.message.replace(f"'{refused.param}'", f"'{name}'")
            refused.param = name
        raise


def _conversation(body: Mapping[str, Json]) -> list[Told]:
    return read_system(body.get("system")) + read_conversation(body["messages"])


def _translated(body: dict[str, Json], counts: bool) -> tuple[dict[str, Json], list[Told]]:
    """The chat request, and where its messages are from."""
    _check_keys(body)
    made: dict[str, Json] = {"model": required(body, "model", "", string)}
    if not counts or body.get("max_tokens") is not None:
        made["max_tokens"] = required(body, "max_tokens", "", integer)
    if isinstance(system := body.get("system"), bool | int | float | dict):
        raise fault("system", "Input should be a valid string or a list of text blocks", "invalid_type")
    required(body, "messages", "", lambda value, place: value)
    told = read_system(system) + read_conversation(body["messages"])
    made["messages"] = [each.message for each in told]
    for name, check in (("stream", boolean), ("temperature", number), ("top_p", number), ("top_k", number)):
        if (value := optional(body, name, "", check)) is not None:
            made[name] = value
    if stop := optional(body, "stop_sequences", "", strings):
        made["stop"] = stop
    metadata = optional(body, "metadata", "", objects) or {}
    if user := optional(metadata, "user_id", "metadata", string):
        made["user"] = user
    if optional(body, "service_tier", "", string) == "standard_only":
        made["service_tier"] = "default"
    made |= _tools(body)
    made |= _effort(body)
    made |= _format(body)
    return made | {key: value for key, value in body.items() if key not in _KNOWN}, told


def _check_keys(body: dict[str, Json]) -> None:
    for key, value in body.items():
        if key in _REFUSED and value and value != "global":
            raise fault(key, _REFUSED[key], _CODES.get(key, "unsupported_parameter"))
        if key in CHAT and key not in _KNOWN and key not in _ALSO:
            raise fault(key, "Extra inputs are not permitted", "unsupported_parameter")


def _tools(body: dict[str, Json]) -> dict[str, Json]:
    """The tools and how to use them."""
    made: list[Json] = []
    for tool, place in each_object(optional(body, "tools", "", array) or [], "tools"):
        kind = optional(tool, "type", place, string) or "custom"
        if kind != "custom":
            # Left out, the answer would be another one, and nobody would see why.
            why = f"'{kind[:60]}' is a tool that the API itself defines; supported are tools with an `input_schema`"
            raise fault(f"{place}.type", why, "unsupported_value")
        function: dict[str, Json] = {"name": required(tool, "name", place, string)}
        if description := optional(tool, "description", place, string):
            function["description"] = description
        function["parameters"] = required(tool, "input_schema", place, objects)
        if (strict := optional(tool, "strict", place, boolean)) is not None:
            function["strict"] = strict
        made.append({"type": "function", "function": function})
    choice = optional(body, "tool_choice", "", objects) or {"type": "auto"}
    mode = one_of(choice, "type", "tool_choice", ("auto", "any", "tool", "none"))
    alone = optional(choice, "disable_parallel_tool_use", "tool_choice", boolean)
    if not made:
        if mode in ("any", "tool"):
            raise fault("tool_choice", f"'{mode}' may only be specified while providing tools")
        return {}
    fields: dict[str, Json] = {"tools": made}
    if mode == "tool":
        name = required(choice, "name", "tool_choice", string)
        if all(tool["function"]["name"] != name for tool in made):
            raise fault("tool_choice.name", f"tool '{name[:60]}' not found in provided tools")
        fields["tool_choice"] = {"type": "function", "function": {"name": name}}
    elif mode != "auto":
        fields["tool_choice"] = "required" if mode == "any" else mode
    return fields | ({"parallel_tool_calls": False} if alone and mode != "none" else {})


def _effort(body: dict[str, Json]) -> dict[str, Json]:
    """How much to think: as the client says, or by its budget; where it leaves that to the model, nothing is said."""
    thinking = optional(body, "thinking", "", objects) or {"type": "disabled"}
    known = ("enabled", "adaptive", "between_tools", "disabled")
    kind = one_of(thinking, "type", "thinking", known)
    config = optional(body, "output_config", "", objects) or {}
    effort = optional(config, "effort", "output_config", string)
    budget = required(thinking, "budget_tokens", "thinking", integer) if kind == "enabled" else None
    if kind == "disabled" and body.get("thinking") is not None:
        return {}
    if effort is not None:
        return {"reasoning_effort": _EFFORTS.get(effort, effort)}
    if budget is None:
        return {}
    return {"reasoning_effort": next((word for limit, word in _BUDGETS if budget < limit), "high")}


def _format(body: dict[str, Json]) -> dict[str, Json]:
    """The schema of the answer, under its present or its former name."""
    config, place = optional(body, "output_config", "", objects) or {}, "output_config.format"
    wanted = optional(config, "format", "output_config", objects)
    if wanted is None:
        wanted, place = optional(body, "output_format", "", objects), "output_format"
    if wanted is None:
        return {}
    one_of(wanted, "type", place, ("json_schema",))
    schema = required(wanted, "schema", place, objects)
    described = {"name": "answer", "schema": schema, "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": described}}


def _named(told: list[Told], body: Mapping[str, Json], param: str) -> str:
    if param in ("max_completion_tokens", "body"):
        return {"body": param}.get(param, "max_tokens")
    if param == "reasoning_effort" and param not in body:
        effort = (body.get("output_config") or {}).get("effort")
        return "thinking" if effort is None else "output_config.effort"
    found = re.fullmatch(r"messages\[(\d+)\](?:\.content\[(\d+)\])?(.*)", param)
    if found is None or int(found[1]) >= len(told):
        if param.startswith("tool"):
            param = param.replace(".function", "").replace(".parameters", ".input_schema")
        head, mark, rest = param.partition(".")
        return re.sub(r"\[(\d+)\]", r".\1", _NAMES.get(head, head) + mark + rest)
    source = told[int(found[1])]
    if found[2] is None or int(found[2]) >= len(source.parts):
        inside = "" if found[3].startswith((".role", ".tool_calls")) else _INSIDE.get(found[3], found[3])
        return source.place + re.sub(r"\[(\d+)\]", r".\1", inside)
    return source.parts[int(found[2])] + (found[3] if found[3] == ".type" else ".source" if found[3] else "")
