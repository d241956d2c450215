"""The requests that are put into chat's words: their schemas by path, and what becomes of their parameters.

They are told of where the server has these paths, and nowhere else.
https://platform.openai.com/docs/api-reference/responses/create
"""

from __future__ import annotations

from collections.abc import Mapping

from oaiproxy.fieldschemas import nullable
from oaiproxy.jsontext import Json

_TEXT: Json = {"type": "string"}
_SOME: Json = {"type": "string", "minLength": 1}
MAX_TOKENS = 100_000_000
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_NAME: Json = {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[a-zA-Z0-9_-]+$"}
_OBJECT: Json = {"type": "object"}


def _object(optional: Mapping[str, Json] | None = None, /, **required: Json) -> Json:
    maybe = {key: nullable(schema) for key, schema in (optional or {}).items()}
    return {"type": "object", "required": list(required), "properties": {**required, **maybe}}


def _list(items: Json, **more: Json) -> Json:
    return {"type": "array", "items": items, **more}


def _any(*schemas: Json) -> Json:
    return {"anyOf": list(schemas)}


_KIND = {"const": "function"}
_PARTS = _list(
    _any(
        _object(type={"enum": ["input_text", "output_text"]}, text=_TEXT),
        _object({"detail": {"enum": ["auto", "low", "high"]}}, type={"const": "input_image"}, image_url=_SOME),
        _object({"filename": _TEXT}, type={"const": "input_file"}, file_data=_SOME),
    )
)
_SAID = _list(_object(type={"enum": ["input_text", "output_text"]}, text=_TEXT))
_ITEMS = _list(
    _any(
        _object({"type": {"enum": ["message"]}}, role={"const": "user"}, content=_any(_TEXT, _PARTS)),
        _object(
            {"type": {"enum": ["message"]}},
            role={"enum": ["assistant", "system", "developer"]},
            content=_any(_TEXT, _SAID),
        ),
        _object({"id": _TEXT}, type={"const": "function_call"}, call_id=_SOME, name=_NAME, arguments=_TEXT),
        _object(type={"const": "function_call_output"}, call_id=_SOME, output=_any(_TEXT, _SAID)),
        _object({"encrypted_content": _TEXT, "summary": _list(_OBJECT)}, type={"const": "reasoning"}),
        _object(type={"const": "item_reference"}, id=_SOME),
    ),
    minItems=1,
)
_INPUT: Mapping[str, Json] = {"instructions": _TEXT, "previous_response_id": _SOME}
_FORMAT = _any(
    _object(type={"enum": ["text", "json_object"]}),
    _object({"strict": {"type": "boolean"}}, type={"const": "json_schema"}, name=_NAME, schema=_OBJECT),
)
_HEAD: Mapping[str, Json] = {"model": _TEXT, "input": _any(_TEXT, _ITEMS)}
_RESPONSE = _object(
    {
        **_INPUT,
        "stream": {"type": "boolean"},
        "store": {"type": "boolean"},
        "background": {"const": False},
        "include": _list(_TEXT),
        "max_output_tokens": {"type": "integer", "minimum": 1, "maximum": MAX_TOKENS},
        "max_tool_calls": {"type": "integer", "minimum": 0, "maximum": 1_000_000},
        "metadata": {
            "type": "object",
            "maxProperties": 16,
            "propertyNames": {"maxLength": 64},
            "additionalProperties": {"type": "string", "maxLength": 512},
        },
        "parallel_tool_calls": {"type": "boolean"},
        "reasoning": _object({"effort": {"enum": list(EFFORTS)}, "summary": _TEXT}),
        "temperature": {"type": "number", "minimum": 0, "maximum": 2},
        "text": _object({"format": _FORMAT, "verbosity": {"enum": ["low", "medium", "high"]}}),
        "tool_choice": _any({"enum": ["none", "auto", "required"]}, _object(type=_KIND, name=_NAME)),
        "tools": _list(_object({"description": _TEXT, "parameters": _OBJECT}, type=_KIND, name=_NAME)),
        "top_logprobs": {"type": "integer", "minimum": 0, "maximum": 20},
        "top_p": {"type": "number", "minimum": 0, "maximum": 1},
        "truncation": {"enum": ["auto", "disabled"]},
        "user": _TEXT,
    },
    **_HEAD,
)
_SOURCE = _any(
    _object(type={"const": "base64"}, media_type={"enum": list(IMAGES)}, data=_SOME),
    _object(type={"const": "url"}, url=_SOME),
)
_SPOKEN = _object(type={"const": "text"}, text=_TEXT)
_IMAGE = _object(type={"const": "image"}, source=_SOURCE)
_RESULT = _object(
    {"content": _any(_TEXT, _list(_any(_SPOKEN, _IMAGE))), "is_error": {"type": "boolean"}},
    type={"const": "tool_result"},
    tool_use_id=_SOME,
)
_USE = _object(type={"const": "tool_use"}, id=_SOME, name=_NAME, input=_OBJECT)
_MESSAGES = _list(
    _any(
        _object(role={"const": "user"}, content=_any(_SOME, _list(_any(_SPOKEN, _IMAGE, _RESULT), minItems=1))),
        _object(role={"const": "assistant"}, content=_any(_SOME, _list(_any(_SPOKEN, _USE), minItems=1))),
    ),
    minItems=1,
)
_TOOLS = _list(_object({"description": _TEXT}, name=_NAME, input_schema=_OBJECT))
_COUNTED: Mapping[str, Json] = {
    "system": _any(_TEXT, _list(_SPOKEN)),
    "tools": _TOOLS,
    "tool_choice": _any(_object(type={"enum": ["auto", "any", "none"]}), _object(type={"const": "tool"}, name=_NAME)),
    "thinking": _any(
        _object(type={"const": "disabled"}),
        _object(type={"const": "enabled"}, budget_tokens={"type": "integer", "minimum": 1024, "maximum": MAX_TOKENS}),
    ),
}
_SAMPLING: Mapping[str, Json] = {
    "stream": {"type": "boolean"},
    "temperature": {"type": "number", "minimum": 0, "maximum": 1},
    "top_p": {"type": "number", "minimum": 0, "maximum": 1},
    "top_k": {"type": "integer", "minimum": 0, "maximum": MAX_TOKENS},
    "stop_sequences": _list(_SOME),
    "metadata": _object({"user_id": _TEXT}),
}

BODIES: Mapping[str, Json] = {
    "/v1/responses": _RESPONSE,
    "/v1/responses/compact": _object(_INPUT, **_HEAD),
    "/v1/responses/input_tokens": _object(_INPUT, **_HEAD),
    "/v1/messages": _object(
        {**_COUNTED, **_SAMPLING},
        model=_TEXT,
        messages=_MESSAGES,
        max_tokens={"type": "integer", "minimum": 1, "maximum": MAX_TOKENS},
    ),
    "/v1/messages/count_tokens": _object(_COUNTED, model=_TEXT, messages=_MESSAGES),
}
"""By path: what is sent there."""

_CHAT = "as chat's parameter of that name"
RESPONSES: Mapping[str, str] = {
    "background": "made here while nobody need wait; kept in memory as long as this server runs",
    "context_management": "left out, and named in the header `x-oaiproxy-dropped`",
    "conversation": "refused: a 400 that names it",
    "include": "`message.output_text.logprobs` is chat's `logprobs`; `reasoning.encrypted_content` needs no asking",
    "input": "becomes chat's `messages`",
    "instructions": "becomes a system message",
    "max_output_tokens": "as chat's `max_completion_tokens`",
    "max_tool_calls": "ignored: the tools are the client's own",
    "metadata": _CHAT,
    "model": _CHAT,
    "moderation": _CHAT,
    "parallel_tool_calls": _CHAT,
    "previous_response_id": "given effect to by the proxy, for as long as that response is kept",
    "prompt": "refused: a 400 that names it",
    "prompt_cache_key": _CHAT,
    "prompt_cache_options": _CHAT,
    "prompt_cache_retention": _CHAT,
    "reasoning": "`effort` as chat's `reasoning_effort`",
    "safety_identifier": _CHAT,
    "service_tier": _CHAT,
    "store": "given effect to by the proxy, in its memory",
    "stream": "given effect to by the proxy, whether the backend streams or not",
    "stream_options": "ignored",
    "temperature": _CHAT,
    "text": "`format` as chat's `response_format`, `verbosity` as its `verbosity`",
    "tool_choice": _CHAT,
    "tools": "functions and custom tools as chat's `tools`; tools that OpenAI runs itself are left out, and named in "
    "the header `x-oaiproxy-dropped`",
    "top_logprobs": _CHAT,
    "top_p": _CHAT,
    "truncation": "`auto` is left out, and named in the header `x-oaiproxy-dropped`",
    "user": _CHAT,
}
"""What becomes of the parameters of `POST /v1/responses`."""
