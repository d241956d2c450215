"""The requests that are put into chat's words: their schemas by path, and what becomes of their parameters.

They are told of where the server has these paths, and nowhere else.
https://platform.openai.com/docs/api-reference/responses/create
"""

from __future__ import annotations

from collections.abc import Mapping

from oaiproxy.fieldschemas import nullable
from oaiproxy.jsontext import Json

_TEXT: Json = {"type": "string"}
_OBJECT: Json = {"type": "object"}


def _object(optional: Mapping[str, Json] | None = None, /, **required: Json) -> Json:
    maybe = {key: nullable(schema) for key, schema in (optional or {}).items()}
    return {"type": "object", "required": list(required), "properties": {**required, **maybe}}


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


def _any(*schemas: Json) -> Json:
    return {"anyOf": list(schemas)}


_KIND = {"const": "function"}
_PARTS = _list(
    _any(
        _object(type={"enum": ["input_text", "output_text"]}, text=_TEXT),
        _object({"detail": _TEXT}, type={"const": "input_image"}, image_url=_TEXT),
        _object({"file_data": _TEXT, "filename": _TEXT, "file_id": _TEXT}, type={"const": "input_file"}),
    )
)
_ITEMS = _list(
    _any(
        _object(
            {"type": {"enum": ["message"]}},
            role={"enum": ["user", "assistant", "system", "developer"]},
            content=_any(_TEXT, _PARTS),
        ),
        _object({"id": _TEXT}, type={"const": "function_call"}, call_id=_TEXT, name=_TEXT, arguments=_TEXT),
        _object(type={"const": "function_call_output"}, call_id=_TEXT, output=_any(_TEXT, _PARTS)),
        _object({"encrypted_content": _TEXT, "summary": _list(_OBJECT)}, type={"const": "reasoning"}),
        _object(type={"const": "item_reference"}, id=_TEXT),
    )
)
_INPUT: Mapping[str, Json] = {
    "model": _TEXT,
    "input": _any(_TEXT, _ITEMS),
    "instructions": _TEXT,
    "previous_response_id": _TEXT,
}
_RESPONSE = _object(
    {
        **_INPUT,
        "stream": {"type": "boolean"},
        "store": {"type": "boolean"},
        "background": {"type": "boolean"},
        "include": _list(_TEXT),
        "max_output_tokens": {"type": "integer", "minimum": 0},
        "max_tool_calls": {"type": "integer", "minimum": 0},
        "metadata": {"type": "object", "additionalProperties": _TEXT},
        "parallel_tool_calls": {"type": "boolean"},
        "reasoning": _object({"effort": _TEXT, "summary": _TEXT}),
        "temperature": {"type": "number", "minimum": 0, "maximum": 2},
        "text": _object({"format": _OBJECT, "verbosity": _TEXT}),
        "tool_choice": _any({"enum": ["none", "auto", "required"]}, _object(type=_KIND, name=_TEXT)),
        "tools": _list(_object({"description": _TEXT, "parameters": _OBJECT}, type=_KIND, name=_TEXT)),
        "top_logprobs": {"type": "integer", "minimum": 0, "maximum": 20},
        "top_p": {"type": "number", "minimum": 0, "maximum": 1},
        "truncation": {"enum": ["auto", "disabled"]},
        "user": _TEXT,
    }
)
_SOURCE = _object({"url": _TEXT, "media_type": _TEXT, "data": _TEXT}, type=_TEXT)
_BLOCKS = _list(
    _any(
        _object(type={"const": "text"}, text=_TEXT),
        _object(
            type={"const": "image"}, source=_object({"url": _TEXT, "media_type": _TEXT, "data": _TEXT}, type=_TEXT)
        ),
        _object(type={"const": "tool_use"}, id=_TEXT, name=_TEXT, input=_OBJECT),
        _object({"content": _any(_TEXT, _list(_OBJECT))}, type={"const": "tool_result"}, tool_use_id=_TEXT),
    )
)
_MESSAGES = _list(_object(role={"enum": ["user", "assistant"]}, content=_any(_TEXT, _BLOCKS)))
_TOOLS = _list(_object({"description": _TEXT}, name=_TEXT, input_schema=_OBJECT))
_COUNTED: Mapping[str, Json] = {
    "system": _any(_TEXT, _list(_object(type={"const": "text"}, text=_TEXT))),
    "tools": _TOOLS,
    "tool_choice": _object({"name": _TEXT}, type={"enum": ["auto", "any", "tool", "none"]}),
    "thinking": _object({"budget_tokens": {"type": "integer"}}, type={"enum": ["enabled", "disabled"]}),
}
_SAMPLING: Mapping[str, Json] = {
    "stream": {"type": "boolean"},
    "temperature": {"type": "number"},
    "top_p": {"type": "number"},
    "top_k": {"type": "integer"},
    "stop_sequences": _list(_TEXT),
    "metadata": _object({"user_id": _TEXT}),
}

BODIES: Mapping[str, Json] = {
    "/v1/responses": _RESPONSE,
    "/v1/responses/compact": _object(_INPUT),
    "/v1/responses/input_tokens": _object(_INPUT),
    "/v1/messages": _object(
        {**_COUNTED, **_SAMPLING}, model=_TEXT, messages=_MESSAGES, max_tokens={"type": "integer", "minimum": 1}
    ),
    "/v1/messages/count_tokens": _object(_COUNTED, model=_TEXT, messages=_MESSAGES),
}
"""By path: what is sent there."""

_CHAT = "as chat's parameter of that name"
RESPONSES: Mapping[str, str] = {
    "background": "`true` is refused: a 400 that names it",
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
