"""The conversation of a `POST /v1/messages` request as chat messages, each with the places that it came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from oaiproxy import jsontext
from oaiproxy.canonical import Message
from oaiproxy.endpoints.messages_checks import array, each_object, fault, objects, one_of, optional, required, string
from oaiproxy.jsontext import Json

INVALID = "INVALID_JSON"
"""The key of what a model gave as a tool's input and is no JSON object: the API's own advice for such input."""
UNSAID = "The content follows in the next message."
"""The text of a tool's result that is nothing but images or documents, for which chat has no place."""


@dataclass(slots=True)
class Told:
    """A chat message, the path of what it was made of, and those of its content's parts."""

    message: Message
    place: str
    parts: list[str] = field(default_factory=list)


def read_system(value: Json) -> list[Told]:
    """The system prompt: none or one message."""
    if value is None:
        return []
    text = value if isinstance(value, str) else "\n\n".join(_texts(value, "system"))
    return [Told({"role": "system", "content": text}, "system")] if text else []


def read_conversation(value: Json) -> list[Told]:
    """The messages. Raises ClientError that names what has no place in a chat."""
    if not array(value, "messages"):
        raise fault("messages", "at least one message is required", "empty_array")
    names: dict[str, str] = {}
    told: list[Told] = []
    for message, place in each_object(value, "messages"):
        role = one_of(message, "role", place, ("user", "assistant", "system"))
        content = message.get("content")
        if content is None:
            raise fault(f"{place}.content", "Field required", "missing_required_parameter")
        if isinstance(content, str):
            told.append(Told({"role": role, "content": content}, place))
        elif role == "assistant":
            told.append(_assistant(content, place, names))
        elif role == "system":
            told.append(Told({"role": role, "content": "\n\n".join(_texts(content, f"{place}.content"))}, place))
        else:
            told += _user(content, place, names)
    return told


def _texts(value: Json, place: str) -> list[str]:
    """The texts of blocks that can be nothing else."""
    found = []
    for block, here in each_object(value, place):
        one_of(block, "type", here, ("text",))
        found.append(required(block, "text", here, string))
    return found


def _assistant(content: Json, place: str, names: dict[str, str]) -> Told:
    said: list[str] = []
    thought: list[str] = []
    calls: list[Json] = []
    kept: dict[str, Json] = {}
    for block, here in each_object(content, f"{place}.content"):
        match _type(block, here, ("text", "thinking", "redacted_thinking", "tool_use")):
            case "text":
                said.append(required(block, "text", here, string))
            case "thinking":
                thought.append(required(block, "thinking", here, string))
            case "redacted_thinking":
                hidden = open_state(required(block, "data", here, string))
                thought.append(hidden.pop("reasoning_content", ""))
                kept |= hidden
            case _:
                call_id = required(block, "id", here, string)
                names[call_id] = required(block, "name", here, string)
                arguments = _arguments(required(block, "input", here, objects))
                function = {"name": names[call_id], "arguments": arguments}
                calls.append({"id": call_id, "type": "function", "function": function})
    message: Message = {"role": "assistant", "content": "".join(said) if said or not calls else None}
    if calls:
        message["tool_calls"] = calls
    if any(thought):
        message["reasoning_content"] = "".join(thought)
    return Told({**kept, **message}, place)


def _user(content: Json, place: str, names: Mapping[str, str]) -> list[Told]:
    """The results of tools, each a message of its own, then the rest, with what of the results is no text."""
    results: list[Told] = []
    parts: list[Json] = []
    places: list[str] = []
    shown: list[Json] = []
    shown_places: list[str] = []
    for block, here in each_object(content, f"{place}.content"):
        if _type(block, here, ("text", "image", "document", "search_result", "tool_result")) != "tool_result":
            for part, where in _parts(block, here):
                parts.append(part)
                places.append(where)
            continue
        call_id = required(block, "tool_use_id", here, string)
        text, media = _result(block, here)
        if media:
            label = f"From the result of the tool {names.get(call_id, 'call')}:"
            shown += [{"type": "text", "text": label}, *(part for part, _ in media)]
            shown_places += [here, *(where for _, where in media)]
        results.append(Told({"role": "tool", "tool_call_id": call_id, "content": text}, here))
    parts, places = shown + parts, shown_places + places
    if not parts:
        if not results:
            raise fault(f"{place}.content", "user messages must have non-empty content", "empty_array")
        return results
    only = parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else None
    said = Told({"role": "user", "content": parts if only is None else only}, place, places if only is None else [])
    return [*results, said]


def _result(block: dict[str, Json], place: str) -> tuple[str, list[tuple[Json, str]]]:
    """The text of a tool's result, and the parts that are none."""
    content = block.get("content")
    media: list[tuple[Json, str]] = []
    if content is None or isinstance(content, str):
        text = content or ""
    else:
        said = []
        for each, here in each_object(content, f"{place}.content"):
            _type(each, here, ("text", "image", "document", "search_result", "tool_reference"))
            for part, where in _parts(each, here):
                if part["type"] == "text":
                    said.append(part["text"])
                else:
                    media.append((part, where))
        text = "\n".join(said) or (UNSAID if media else "")
    failed = block.get("is_error") is True and not text.lower().startswith("error")
    return (f"Error: {text}" if failed else text), media


def _type(block: dict[str, Json], place: str, known: tuple[str, ...]) -> str:
    kind: str = required(block, "type", place, string)
    if kind not in known:
        names = ", ".join(f"'{each}'" for each in known)
        raise fault(f"{place}.type", f"'{kind[:60]}' blocks are not supported here; supported are {names}")
    return kind


def _parts(block: dict[str, Json], place: str) -> list[tuple[Json, str]]:
    """The parts of a chat message that a block becomes, with their places."""
    return _BLOCKS[block["type"]](block, place)


def _text(block: dict[str, Json], place: str) -> list[tuple[Json, str]]:
    return [({"type": "text", "text": required(block, "text", place, string)}, place)]


def _image(block: dict[str, Json], place: str) -> list[tuple[Json, str]]:
    source, here = required(block, "source", place, objects), f"{place}.source"
    if one_of(source, "type", here, ("base64", "url")) == "url":
        url = required(source, "url", here, string)
    else:
        url = _data_url(source, here)
    return [({"type": "image_url", "image_url": {"url": url}}, place)]


def _data_url(source: dict[str, Json], place: str) -> str:
    media_type = required(source, "media_type", place, string)
    return f"data:{media_type};base64,{required(source, 'data', place, string)}"


def _document(block: dict[str, Json], place: str) -> list[tuple[Json, str]]:
    """A file, or text with the document's title and context before it."""
    source, here = required(block, "source", place, objects), f"{place}.source"
    kind = one_of(source, "type", here, ("base64", "text", "content", "file"))
    title, context = (optional(block, key, place, string) or "" for key in ("title", "context"))
    if kind in ("base64", "file"):
        file = {"filename": title or "document.pdf"}
        if kind == "base64":
            file["file_data"] = _data_url(source, here)
        else:
            file = {"file_id": required(source, "file_id", here, string)}
        about = [({"type": "text", "text": context}, place)] if context else []
        return [*about, ({"type": "file", "file": file}, place)]
    head = "\n".join(line for line in (title, context) if line)
    before: list[tuple[Json, str]] = [({"type": "text", "text": head + "\n"}, place)] if head else []
    if kind == "text":
        return _merged([*before, ({"type": "text", "text": required(source, "data", here, string)}, place)])
    content = source.get("content")
    if isinstance(content, str):
        return _merged([*before, ({"type": "text", "text": content}, place)])
    found = before
    for each, where in each_object(required(source, "content", here, array), f"{here}.content"):
        _type(each, where, ("text", "image"))
        found += _parts(each, where)
    return found


def _merged(parts: list[tuple[Json, str]]) -> list[tuple[Json, str]]:
    return [({"type": "text", "text": "".join(part["text"] for part, _ in parts)}, parts[0][1])]


def _search_result(block: dict[str, Json], place: str) -> list[tuple[Json, str]]:
    lines = [required(block, key, place, string) for key in ("title", "source")]
    lines += _texts(required(block, "content", place, array), f"{place}.content")
    return [({"type": "text", "text": "\n".join(lines)}, place)]


def _tool_reference(block: dict[str, Json], place: str) -> list[tuple[Json, str]]:
    """A tool that was found: its definition is among the tools, all of which the backend gets."""
    return [({"type": "text", "text": required(block, "tool_name", place, string)}, place)]


_BLOCKS: Mapping[str, Callable[[dict[str, Json], str], list[tuple[Json, str]]]] = {
    "text": _text,
    "image": _image,
    "document": _document,
    "search_result": _search_result,
    "tool_reference": _tool_reference,
}


def _arguments(given: dict[str, Json]) -> str:
    """A tool's input as text: what was no JSON object is again what it was."""
    raw = given.get(INVALID)
    return raw if isinstance(raw, str) and len(given) == 1 else jsontext.dump(given).decode()


def read_input(arguments: str) -> dict[str, Json]:
    """A call's arguments as a tool's input: an object. What is none stands whole under `INVALID_JSON`."""
    if not arguments.strip():
        return {}
    try:
        made = jsontext.parse(arguments)
    except jsontext.JsonError:
        return {INVALID: arguments}
    if made is None:
        return {}
    return made if isinstance(made, dict) else {INVALID: arguments}


def seal_state(fields: Mapping[str, Json]) -> str:
    """Fields of a chat message that a client brings back, as the data of a block that it does not look into."""
    return jsontext.dump({_MARK: fields}).decode()


def open_state(data: str) -> dict[str, Json]:
    """The fields of a chat message in such data; none in data of others."""
    if not data.startswith('{"' + _MARK):
        return {}
    try:
        held = jsontext.parse(data)
    except jsontext.JsonError:
        return {}
    fields = held.get(_MARK)
    if not isinstance(fields, dict):
        return {}
    extra, reasoning = fields.get("extra_content"), fields.get("reasoning_content")
    made: dict[str, Json] = {"extra_content": extra} if isinstance(extra, dict) else {}
    return made | ({"reasoning_content": reasoning} if isinstance(reasoning, str) else {})


_MARK = "oaiproxy"
