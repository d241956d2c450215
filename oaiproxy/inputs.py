"""The requests of OpenAI's endpoints beyond chat: their fields, and the names that their templates see.

Sources: https://platform.openai.com/docs/api-reference/{embeddings,moderations,images,audio}; `rerank` is no endpoint
of OpenAI's, and takes what rerankers have agreed on: https://jina.ai/reranker.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from oaiproxy.jsontext import Json
from oaiproxy.parameters import (
    CHAT,
    COMPLETIONS,
    Field,
    Unread,
    anything,
    boolean,
    integer,
    invalid_type,
    invalid_value,
    missing,
    number,
    one_of,
    string,
)
from oaiproxy.shapes import EndpointShapes, Shape, Shapes

MAX_INPUTS = 2048
"""Inputs of one request, as OpenAI bounds them."""


def texts(value: Json, param: str) -> list[str]:
    """One text or several, as a list of at least one."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise invalid_type(param, value, "a string or a list of strings")
    return _several(value, param)


def text_list(value: Json, param: str) -> list[str]:
    """A list of texts, also written as one text."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise invalid_type(param, value, "a list of strings")
    return [string(item, f"{param}[{index}]") for index, item in enumerate(value)]


def tokens(value: Json) -> list[list[int]] | None:
    """The inputs as token ids, a list for each; None for inputs that are text.

    Raises ClientError for a list that mixes them.
    """
    if not isinstance(value, list) or not value or isinstance(value[0], str):
        return None
    if _is_ids(value):
        return [value]
    if _is_ids(value[:1]):
        index = next(index for index, item in enumerate(value) if not _is_ids([item]))
        raise invalid_type(f"input[{index}]", value[index], "a token id, as the first one is")
    for index, item in enumerate(_bounded(value, "input")):
        if not (isinstance(item, list) and item and _is_ids(item)):
            wanted = "a string or a list of token ids" if index == 0 else "a list of token ids, as the first one is"
            raise invalid_type(f"input[{index}]", item, wanted)
    return value


def moderated(value: Json) -> list[str]:
    """The texts to moderate. A list of parts is one input, whose texts are joined by line breaks.

    Raises ClientError for an image.
    """
    if not (isinstance(value, list) and value and isinstance(value[0], dict)):
        return texts(value, "input")
    found = []
    for index, part in enumerate(value):
        if not isinstance(part, dict):
            raise invalid_type(f"input[{index}]", part, "an object, as the first one is")
        if part.get("type") != "text":
            raise invalid_value(f"input[{index}].type", "only parts of type 'text' are supported")
        found.append(string(part.get("text"), f"input[{index}].text"))
    return ["\n".join(found)]


def documents(value: Json, param: str) -> list[str]:
    """Documents as texts: of objects, their `text`."""
    if not isinstance(value, list):
        raise invalid_type(param, value, "a list of documents")
    if not value:
        raise invalid_value(param, "it is an empty list")
    found = []
    for index, item in enumerate(value):
        place = f"{param}[{index}]"
        if isinstance(item, dict):
            if item.get("text") is None:
                raise missing(f"{place}.text")
            item, place = item["text"], f"{place}.text"
        found.append(string(item, place))
    return found


def voice(value: Json, param: str) -> str:
    """A voice's name, also written as an object with its `id`."""
    if isinstance(value, dict):
        value, param = value.get("id"), f"{param}.id"
    return str(string(value, param))


def unstreamed(value: Json, param: str) -> Json:
    """False: what OpenAI can stream of these endpoints is not streamed here."""
    if boolean(value, param):
        raise invalid_value(param, "this endpoint is not streamed")
    return value


def upload(value: Json, param: str) -> Json:
    """A file that came as a part of a form: `{filename, media_type, base64}`."""
    if not isinstance(value, dict) or not isinstance(value.get("base64"), str):
        raise invalid_type(param, value, "a file")
    return {key: string(value[key], f"{param}.{key}") for key in _FILE if value.get(key) is not None}


def _several(value: list[Json], param: str) -> list[str]:
    if not value:
        raise invalid_value(param, "it is an empty list")
    return [string(item, f"{param}[{index}]") for index, item in enumerate(_bounded(value, param))]


def _bounded(value: list[Json], param: str) -> list[Json]:
    if len(value) > MAX_INPUTS:
        raise invalid_value(param, f"it holds more than {MAX_INPUTS} items")
    return value


def _is_ids(value: list[Json]) -> bool:
    return all(isinstance(item, int) and not isinstance(item, bool) for item in value)


_MODEL = Field(string, Unread.IGNORE)
_USER = Field(string, Unread.IGNORE)
_FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
_FILE = ("filename", "media_type", "base64")

INPUTS: Mapping[str, Mapping[str, Field]] = {
    "embeddings": {
        "model": _MODEL,
        "input": Field(anything, Unread.REFUSE),
        "dimensions": Field(integer(1, 1_000_000), Unread.REFUSE),
        "encoding_format": Field(one_of("float", "base64"), Unread.IGNORE),
        "user": _USER,
    },
    "rerank": {
        "model": _MODEL,
        "query": Field(string, Unread.REFUSE),
        "documents": Field(documents, Unread.REFUSE),
        "top_n": Field(integer(1, 1_000_000), Unread.IGNORE),
        "return_documents": Field(boolean, Unread.IGNORE, (False,)),
    },
    "moderations": {"model": _MODEL, "input": Field(anything, Unread.REFUSE)},
    "images": {
        "model": _MODEL,
        "prompt": Field(string, Unread.REFUSE),
        "n": Field(integer(1, 10), Unread.REFUSE, (1,)),
        "size": Field(string, Unread.DROP, ("auto",)),
        "quality": Field(string, Unread.DROP, ("auto",)),
        "style": Field(string, Unread.DROP),
        "background": Field(string, Unread.REFUSE, ("auto",)),
        "output_format": Field(one_of("png", "jpeg", "webp"), Unread.REFUSE, ("png",)),
        "output_compression": Field(integer(0, 100), Unread.DROP, (100,)),
        "moderation": Field(string, Unread.DROP, ("auto",)),
        "response_format": Field(one_of("url", "b64_json"), Unread.IGNORE),
        "stream": Field(unstreamed, Unread.IGNORE, (False,)),
        "partial_images": Field(integer(0, 3), Unread.REFUSE, (0,)),
        "user": _USER,
    },
    "speech": {
        "model": _MODEL,
        "input": Field(string, Unread.REFUSE),
        "voice": Field(voice, Unread.DROP),
        "response_format": Field(one_of("mp3", "opus", "aac", "flac", "wav", "pcm"), Unread.REFUSE, ("mp3",)),
        "speed": Field(number(0.25, 4), Unread.DROP, (1,)),
        "instructions": Field(string, Unread.DROP, ("",)),
        "stream_format": Field(one_of("sse", "audio"), Unread.IGNORE, ("audio",)),
    },
    "transcriptions": {
        "model": _MODEL,
        "file": Field(upload, Unread.REFUSE),
        "language": Field(string, Unread.DROP),
        "languages": Field(text_list, Unread.DROP, ([],)),
        "keywords": Field(text_list, Unread.DROP, ([],)),
        "prompt": Field(string, Unread.DROP, ("",)),
        "response_format": Field(one_of(*_FORMATS), Unread.IGNORE),
        "temperature": Field(number(0, 1), Unread.DROP, (0,)),
        "timestamp_granularities": Field(text_list, Unread.IGNORE, ([],)),
        "include": Field(text_list, Unread.REFUSE, ([],)),
        "stream": Field(boolean, Unread.IGNORE, (False,)),
        "chunking_strategy": Field(anything, Unread.IGNORE),
        "known_speaker_names": Field(text_list, Unread.REFUSE, ([],)),
        "known_speaker_references": Field(text_list, Unread.REFUSE, ([],)),
    },
}
"""The fields of each endpoint's request, by their name on the wire."""

_TEXT, _NUMBER = "text", "number"
NAMES: Mapping[str, Mapping[str, Shape]] = {
    "embeddings": {
        "input": [_TEXT],
        "tokens": [[_NUMBER]],
        "dimensions": _NUMBER,
        "encoding_format": _TEXT,
    },
    "rerank": {"query": _TEXT, "documents": [_TEXT], "top_n": _NUMBER, "return_documents": "boolean"},
    "moderations": {"input": [_TEXT]},
    "images": {
        "prompt": _TEXT,
        "n": _NUMBER,
        "size": _TEXT,
        "quality": _TEXT,
        "style": _TEXT,
        "background": _TEXT,
        "output_format": _TEXT,
        "output_compression": _NUMBER,
        "moderation": _TEXT,
        "response_format": _TEXT,
    },
    "speech": {
        "input": _TEXT,
        "voice": _TEXT,
        "response_format": _TEXT,
        "speed": _NUMBER,
        "instructions": _TEXT,
    },
    "transcriptions": {
        "file": dict.fromkeys(_FILE, _TEXT),
        "language": _TEXT,
        "languages": [_TEXT],
        "keywords": [_TEXT],
        "prompt": _TEXT,
        "response_format": _TEXT,
        "temperature": _NUMBER,
        "timestamp_granularities": [_TEXT],
        "include": [_TEXT],
        "chunking_strategy": None,
        "known_speaker_names": [_TEXT],
        "known_speaker_references": [_TEXT],
    },
}
"""The names that the templates of each endpoint see beside those of all, and what they hold."""

CARRIES: Mapping[str, tuple[str, ...]] = {
    "embeddings": ("input",),
    "rerank": ("query", "documents"),
    "moderations": ("input",),
    "images": ("prompt",),
    "speech": ("input",),
    "transcriptions": ("file",),
}
"""The names that hold what the client sends, what is longest last: each must be read."""

_OF_ALL = {"model", "stream", "user"}
CONVERSATION: frozenset[str] = frozenset(
    {field.name or key for fields in (CHAT, COMPLETIONS) for key, field in fields.items()}
    | {"system", "turns", "chat_prompt"}
) - frozenset(_OF_ALL)
"""The names that only the templates of `chat` and `completions` see."""


def endpoint_shapes(endpoint: str, shapes: Shapes) -> EndpointShapes:
    """The names of an endpoint's templates, out of those of `chat` and of all; it knows where the others belong."""
    own = dict(shapes)
    if endpoint in NAMES:
        own = {name: shape for name, shape in shapes.items() if name not in CONVERSATION} | dict(NAMES[endpoint])
    homes: dict[str, list[str]] = {name: ["chat", "completions"] for name in CONVERSATION if name in shapes}
    for other, names in NAMES.items():
        for name in names:
            homes.setdefault(name, []).append(other)
    return EndpointShapes(own, {name: _belongs(name, where) for name, where in homes.items() if name not in own})


def _belongs(name: str, endpoints: Iterable[str]) -> str:
    *others, last = [f"`{each}`" for each in endpoints]
    listed = f"{', '.join(others)} and {last}" if others else last
    return f"`{name}` is a name in {listed}, not here"
