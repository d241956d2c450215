"""The objects of the OpenAPI document that no table of fields holds: messages, answers, chunks and errors."""

from __future__ import annotations

from collections.abc import Mapping

from oaiproxy.canonical import PART_TYPES
from oaiproxy.endpoints.moderations import CATEGORIES
from oaiproxy.inputs import MAX_INPUTS
from oaiproxy.jsontext import Json

_TEXT: Json = {"type": "string"}
_MAYBE_TEXT: Json = {"type": ["string", "null"]}
_COUNT: Json = {"type": "integer", "minimum": 0}
_NUMBER: Json = {"type": "number"}
_FLAG: Json = {"type": "boolean"}
_OBJECT: Json = {"type": "object"}


def ref(name: str) -> Json:
    """A reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(optional: Mapping[str, Json] | None = None, /, **required: Json) -> Json:
    """An object with these keys, and maybe those."""
    return {"type": "object", "required": list(required), "properties": {**required, **(optional or {})}}


def _list(items: Json, **more: Json) -> Json:
    return {"type": "array", "items": items, **more}


def _any(*schemas: Json) -> Json:
    return {"anyOf": list(schemas)}


_PARTS: Mapping[str, Json] = {
    "text": _object(type={"const": "text"}, text=_TEXT),
    "refusal": _object(type={"const": "refusal"}, refusal=_TEXT),
    "image_url": _object(type={"const": "image_url"}, image_url=_object({"detail": _MAYBE_TEXT}, url=_TEXT)),
    "input_audio": _object(type={"const": "input_audio"}, input_audio=_object(data=_TEXT, format=_TEXT)),
    "file": _object(
        type={"const": "file"},
        file=_object({"filename": _MAYBE_TEXT, "file_id": _MAYBE_TEXT, "file_data": _MAYBE_TEXT}),
    ),
}
_FUNCTION_CALL = _object({"arguments": _MAYBE_TEXT}, name=_TEXT)
_CALLS = _list(
    _any(
        _object({"id": _MAYBE_TEXT, "type": {"enum": ["function", None]}}, function=_FUNCTION_CALL),
        _object({"id": _MAYBE_TEXT}, type={"const": "custom"}, custom=_object({"input": _MAYBE_TEXT}, name=_TEXT)),
    )
)
_SAID: Json = ref("Content")
_MAYBE_SAID: Json = _any(_SAID, {"type": "null"})
_FINISH = ["stop", "length", "tool_calls", "content_filter", "function_call"]
_CALL_MADE = _any(
    _object(id=_TEXT, type={"const": "function"}, function=_object(name=_TEXT, arguments=_TEXT)),
    _object(id=_TEXT, type={"const": "custom"}, custom=_object(name=_TEXT, input=_TEXT)),
)
_CALL_DELTA = _object({"id": _TEXT, "type": _TEXT, "function": _OBJECT, "custom": _OBJECT}, index=_COUNT)
_ANSWER_HEAD: Mapping[str, Json] = {"id": _TEXT, "created": {"type": "integer"}, "model": _TEXT}
_MAYBE_USAGE: Json = _any(ref("Usage"), {"type": "null"})
_MAYBE_LOGPROBS: Json = {"type": ["object", "null"]}

SCHEMAS: Mapping[str, Json] = {
    "Error": _object(error=_object(message=_TEXT, type=_TEXT, param=_MAYBE_TEXT, code=_MAYBE_TEXT)),
    "Status": _object(status={"enum": ["ok", "unavailable"]}),
    "Model": _object(
        {"features": _OBJECT},
        id=_TEXT,
        object={"const": "model"},
        created={"type": "integer"},
        owned_by=_TEXT,
    ),
    "ModelList": _object(object={"const": "list"}, data=_list(ref("Model"))),
    "Part": _any(*(_PARTS[kind] for kind in PART_TYPES)),
    "Content": _any(_TEXT, _list(ref("Part"))),
    "Message": _any(
        _object({"name": _MAYBE_TEXT}, role={"enum": ["developer", "system", "user"]}, content=_SAID),
        _object(
            {
                "content": _MAYBE_SAID,
                "refusal": _MAYBE_TEXT,
                "name": _MAYBE_TEXT,
                "tool_calls": _any(_CALLS, {"type": "null"}),
                "function_call": _any(_FUNCTION_CALL, {"type": "null"}),
            },
            role={"const": "assistant"},
        ),
        _object(role={"const": "tool"}, content=_SAID, tool_call_id=_TEXT),
        _object({"content": _MAYBE_SAID}, role={"const": "function"}, name=_TEXT),
    ),
    "Usage": _object(
        {"prompt_tokens_details": _OBJECT, "completion_tokens_details": _OBJECT},
        prompt_tokens=_COUNT,
        completion_tokens=_COUNT,
        total_tokens=_COUNT,
    ),
    "InputUsage": _object(prompt_tokens=_COUNT, total_tokens=_COUNT),
    "ChatCompletion": _object(
        {"usage": ref("Usage")},
        **_ANSWER_HEAD,
        object={"const": "chat.completion"},
        choices=_list(
            _object(
                index=_COUNT,
                message=_object(
                    {
                        "tool_calls": _list(_CALL_MADE),
                        "function_call": _object(name=_TEXT, arguments=_TEXT),
                        "reasoning_content": _MAYBE_TEXT,
                        "annotations": _list(_OBJECT),
                    },
                    role={"const": "assistant"},
                    content=_MAYBE_TEXT,
                    refusal=_MAYBE_TEXT,
                ),
                logprobs=_MAYBE_LOGPROBS,
                finish_reason={"enum": _FINISH},
            )
        ),
    ),
    "ChatCompletionChunk": _object(
        {"usage": _MAYBE_USAGE},
        **_ANSWER_HEAD,
        object={"const": "chat.completion.chunk"},
        choices=_list(
            _object(
                index=_COUNT,
                delta=_object(
                    {
                        "role": {"const": "assistant"},
                        "content": _MAYBE_TEXT,
                        "refusal": _MAYBE_TEXT,
                        "reasoning_content": _MAYBE_TEXT,
                        "tool_calls": _list(_CALL_DELTA),
                        "function_call": _OBJECT,
                    }
                ),
                logprobs=_MAYBE_LOGPROBS,
                finish_reason={"enum": [*_FINISH, None]},
            )
        ),
    ),
    "Completion": _object(
        {"usage": _MAYBE_USAGE},
        **_ANSWER_HEAD,
        object={"const": "text_completion"},
        choices=_list(
            _object(
                index=_COUNT,
                text=_TEXT,
                logprobs=_MAYBE_LOGPROBS,
                finish_reason={"enum": ["stop", "length", "content_filter", None]},
            )
        ),
    ),
    "Embeddings": _object(
        object={"const": "list"},
        model=_TEXT,
        data=_list(_object(object={"const": "embedding"}, index=_COUNT, embedding=_any(_list(_NUMBER), _TEXT))),
        usage=ref("InputUsage"),
    ),
    "Ranking": _object(
        id=_TEXT,
        model=_TEXT,
        results=_list(_object({"document": _object(text=_TEXT)}, index=_COUNT, relevance_score=_NUMBER)),
        usage=ref("InputUsage"),
    ),
    "Moderation": _object(
        id=_TEXT,
        model=_TEXT,
        results=_list(
            _object(
                flagged=_FLAG,
                categories=_object(**dict.fromkeys(CATEGORIES, _FLAG)),
                category_scores=_object(**dict.fromkeys(CATEGORIES, _NUMBER)),
                category_applied_input_types=_object(**dict.fromkeys(CATEGORIES, _list(_TEXT))),
            )
        ),
    ),
    "Images": _object(
        {"usage": _OBJECT},
        created={"type": "integer"},
        data=_list(_object({"url": _TEXT, "b64_json": _TEXT, "revised_prompt": _TEXT})),
    ),
    "Transcript": _object(
        {
            "task": _TEXT,
            "language": _TEXT,
            "duration": _NUMBER,
            "words": _list(_OBJECT),
            "segments": _list(_OBJECT),
            "usage": _OBJECT,
        },
        text=_TEXT,
    ),
}
"""By their names in the document."""


def _json(name: str) -> Json:
    return {"application/json": {"schema": ref(name)}}


ANSWERS: Mapping[str, Json] = {
    "chat": _json("ChatCompletion"),
    "completions": _json("Completion"),
    "embeddings": _json("Embeddings"),
    "rerank": _json("Ranking"),
    "moderations": _json("Moderation"),
    "images": _json("Images"),
    "speech": {"audio/*": {}},
    "transcriptions": {**_json("Transcript"), "text/plain": {"schema": _TEXT}},
}
"""By endpoint: its whole answers by media type."""
STREAMED: Mapping[str, Json] = {
    "chat": {**_TEXT, "description": "Server-sent events, each a `ChatCompletionChunk`; the last one is `[DONE]`."},
    "completions": {**_TEXT, "description": "Server-sent events, each a `Completion`; the last one is `[DONE]`."},
}
"""By endpoint: its streams."""

_IDS = _list({"type": "integer"}, minItems=1)
INPUT_SHAPES: Mapping[str, Mapping[str, Json]] = {
    "chat": {"messages": _list(ref("Message"), minItems=1)},
    "completions": {"prompt": _any(_TEXT, _list(_TEXT, minItems=1), _IDS, _list(_IDS, minItems=1))},
    "embeddings": {
        "input": _any(
            _TEXT,
            _list(_TEXT, minItems=1, maxItems=MAX_INPUTS),
            _IDS,
            _list(_IDS, minItems=1, maxItems=MAX_INPUTS),
        )
    },
    "moderations": {
        "input": _any(_TEXT, _list(_TEXT, minItems=1, maxItems=MAX_INPUTS), _list(_PARTS["text"], minItems=1))
    },
}
"""By endpoint: the fields whose checks are of code, not of the tables."""
