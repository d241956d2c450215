"""The page that says what becomes of each endpoint and parameter of OpenAI's: made from the code that does it.

`python tests/pages.py` writes it to docs/compatibility.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from oaiproxy.endpoints.doors import DOORS
from oaiproxy.fieldschemas import schema_of, type_words, unread_words
from oaiproxy.frontshapes import BODIES, RESPONSES
from oaiproxy.jsontext import Json
from oaiproxy.openapi_shapes import INPUT_SHAPES
from oaiproxy.parameters import Field, Unread
from oaiproxy.policy import IN_MESSAGES, Overrides, emulated, fields_of, unread_field

_INTRODUCTION = """\
# What of OpenAI's API is here

What becomes of every endpoint and parameter of [OpenAI's API](https://platform.openai.com/docs/api-reference), for the
version of its specification of 2026-08-21. This page is made from the code, and a test compares them: after a change,
run `python tests/pages.py`.

What a backend can do, its mapping says. So a parameter has one of these fates:

- A template of the mapping **reads** it: the backend gets it as the mapping writes it.
- The proxy itself **gives effect** to it, always or where the mapping says so in [`emulate`](mapping.md#the-file).
- No template reads it: it is **refused** with a 400 that names it, **left out** and named in the header
  `x-oaiproxy-dropped`, or left out without a word. The tables say which; the mapping can say otherwise with
  [`on_unsupported`](mapping.md#fields-that-a-mapping-does-not-read).

`oaiproxy describe` and the `features` of each object in `GET /v1/models` tell the fate of all parameters with a given
mapping: there they are `used`, `emulated`, `refused`, `dropped` and `ignored`.

`null` and the default count as not sent. Parameters that OpenAI does not define are let through: templates find them in
`extra`. `GET /openapi.json` has all of this for programs.
"""
_CHAT_PARTS = """\
In messages: the roles `developer`, `system`, `user`, `assistant`, `tool` and `function`; content as a string or as
parts. What a mapping can leave unread there:

"""
_RESPONSES = "/v1/responses"
_BY_CHAT = "Its requests become those of `/v1/chat/completions`, and share the fate of their parameters"
_FRONTS: Mapping[str, str] = {"messages": "; [field by field](messages.md)"}
"""By the name of a door on top of chat: where more is said of its parameters."""
ELSEWHERE: Mapping[str, str] = {
    "GET /v1/chat/completions": "stored chat completions",
    "POST /v1/responses": "responses",
    "GET /v1/responses/{id}": "stored responses",
    "POST /v1/responses/{id}/cancel": "responses in the background",
    "POST /v1/responses/compact": "responses, compacted",
    "POST /v1/responses/input_tokens": "responses, their input counted",
    "POST /v1/conversations": "conversations",
    "POST /v1/images/edits": "images, edited",
    "POST /v1/images/variations": "images, varied",
    "POST /v1/audio/translations": "translations of speech",
    "POST /v1/audio/voices": "custom voices",
    "POST /v1/videos": "videos",
    "GET /v1/realtime": "realtime sessions, over WebSocket and WebRTC",
    "POST /v1/assistants": "assistants",
    "POST /v1/threads": "threads, messages and runs",
    "POST /v1/files": "files",
    "POST /v1/uploads": "uploads",
    "POST /v1/batches": "batches",
    "POST /v1/fine_tuning/jobs": "fine-tuning",
    "POST /v1/vector_stores": "vector stores",
    "POST /v1/containers": "containers",
    "POST /v1/skills": "skills",
    "POST /v1/evals": "evals",
    "POST /v1/chatkit/sessions": "ChatKit",
    "DELETE /v1/models/{model}": "models, deleted",
    "GET /v1/organization/projects": "administration of organizations",
}
"""Endpoints of OpenAI's that are not at hand with every version of this proxy, by method and path."""
_OURS: Mapping[str, str] = {
    "model": "chooses the mapping; one that no mapping names is a 404",
    "stream": "given effect to by the proxy, whether the backend streams or not",
    "stream_options": "`include_usage` is given effect to by the proxy; the rest is ignored",
    "messages": "read by the mapping, in whichever of its forms",
    "prompt": "read by the mapping",
    "encoding_format": "given effect to by the proxy",
    "return_documents": "given effect to by the proxy",
    "top_n": "given effect to by the proxy",
    "timestamp_granularities": "given effect to by the proxy",
    "stream_format": "given effect to by the proxy",
}
"""By parameter: what is said of it where the proxy itself makes use of it."""
_IN_MESSAGES = {"messages": Unread.DROP}
"""What becomes of messages that no template reads; the other things in a conversation are refused."""
_WITH_TOOLS = dict.fromkeys(("tool_choice", "functions", "function_call", "tool_calls"), "tools")
"""What is emulated together with another parameter, and that parameter."""
_DONE_HERE = {("images", "response_format"), ("transcriptions", "response_format")}


def page(places: Iterable[tuple[str, str]], emulates: Collection[str]) -> str:
    """The page, in Markdown.

    `places` are the methods and paths of the server, `emulates` what a mapping can name in `emulate`.
    """
    places = list(places)
    parts = [_INTRODUCTION, "## Endpoints\n\n" + _table(("Endpoint", "Here"), _endpoints(places))]
    for name, door in DOORS.items():
        fields = fields_of(name)
        parts.append(f"## POST {door.path}\n")
        if not fields:
            parts.append(f"{_BY_CHAT}{_FRONTS.get(name, '')}.\n")
            continue
        rows = (_parameter(name, key, field, emulates) for key, field in sorted(fields.items()))
        parts.append(_table(("Parameter", "Type", "Default", "Where no template reads it"), rows))
        if name == "chat":
            things = [
                (f"`{thing}`", unread_words(_IN_MESSAGES.get(thing, Unread.REFUSE)) + _emulated(name, thing, emulates))
                for thing in IN_MESSAGES
            ]
            parts.append(_CHAT_PARTS + _table(("In messages", "Where no template reads it"), things))
    if ("POST", _RESPONSES) in places:
        types = BODIES[_RESPONSES]["properties"]
        told = ((f"`{key}`", type_words(types.get(key, {})), fate) for key, fate in RESPONSES.items())
        parts += [f"## POST {_RESPONSES}\n", f"{_BY_CHAT}.\n", _table(("Parameter", "Type", "Here"), told)]
    return "\n".join(parts)


def _endpoints(places: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """All endpoints, those that are served first."""
    blocks = {_RESPONSES: "chat"} | {door.path: name if fields_of(name) else "chat" for name, door in DOORS.items()}
    served = sorted({(path, method) for method, path in places})
    for path, method in served:
        block = blocks.get(path)
        told = f"served, by mappings with the block `{block}`" if block else "served"
        if block == "completions":
            told += " or `chat`"
        yield f"`{method} {path}`", told
    known = {(method, _plain(path)) for path, method in served}
    paths = {path for _, path in known}
    for place, what in ELSEWHERE.items():
        method, _, path = place.partition(" ")
        if (method, _plain(path)) not in known:
            yield f"`{place}`", f"{405 if _plain(path) in paths else 404}: {what}"


def _plain(path: str) -> str:
    """A path, whatever its parameters are called."""
    return "/".join("{}" if part.startswith("{") else part for part in path.split("/"))


def _parameter(endpoint: str, key: str, field: Field, emulates: Collection[str]) -> tuple[str, str, str, str]:
    schema = INPUT_SHAPES.get(endpoint, {}).get(key)
    words = "list of messages" if key == "messages" else type_words(schema or schema_of(field.check) or {})
    default = f"`{_json(field.defaults[0])}`" if field.defaults else ""
    return f"`{key}`", words, default, _fate(endpoint, key, field, emulates)


def _fate(endpoint: str, key: str, field: Field, emulates: Collection[str]) -> str:
    """What becomes of a parameter that no template reads."""
    unread = unread_field(endpoint, key, frozenset(), Overrides())
    if key in _OURS and (key == "messages" or field.unread is Unread.IGNORE):
        return _OURS[key]
    if (endpoint, key) in _DONE_HERE:
        return "given effect to by the proxy"
    told = unread_words(unread) if unread is not None else "given effect to by the proxy"
    if unread is Unread.REFUSE:
        told += _emulated(endpoint, key, emulates)
    return told


def _emulated(endpoint: str, key: str, emulates: Collection[str]) -> str:
    """What is said of a refused parameter that a mapping can have the proxy give effect to."""
    by = _WITH_TOOLS.get(key, key)
    can = by in emulated(endpoint, frozenset(), frozenset(emulates))
    return f"; given effect to with `emulate: [{by}]`" if can else ""


def _json(value: Json) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{value}"'
        case dict():
            return "{" + ", ".join(f'"{key}": {_json(item)}' for key, item in value.items()) + "}"
        case list():
            return f"[{', '.join(map(_json, value))}]"
    return str(value)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)
