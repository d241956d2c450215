"""The items of a Responses request to chat messages, every one with the place that it came from.

https://platform.openai.com/docs/api-reference/responses/create and /responses/compact
"""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from oaiproxy import jsontext
from oaiproxy.canonical import Message
from oaiproxy.errors import ClientError
from oaiproxy.jsontext import Json, is_shallow
from oaiproxy.parameters import invalid_type, invalid_value, mapping, missing, optional, required, string

Item: TypeAlias = dict[str, Json]
Find: TypeAlias = Callable[[str], Item | None]
"""An item that is kept, by its id."""

MAX_PACKED = 8 * 1024 * 1024
"""Bytes of what the opaque contents of one request hold, inflated."""
MAX_DEPTH = 48
"""Levels of what an opaque content holds."""
_SEAL = "oaiproxy:"
_HOSTED = frozenset(
    (
        *("web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call"),
        *("mcp_list_tools", "mcp_call"),
    )
)
"""What another server's own tools did in a conversation that goes on here: such tools are left out, and so is this."""
UNSAID = "The content follows in the next message."
"""The text of a tool's result that is nothing but images or files."""
_ROLES = ("user", "system", "developer", "assistant")


class Conversation:
    """Chat messages in the making. `places` has the client's name for what an error would name by chat's."""

    def __init__(self, find: Find) -> None:
        self.messages: list[Message] = []
        self.items: list[Item] = []
        """The items as they came, with references and what was packed in their place."""
        self.places: dict[str, str] = {"messages": "input"}
        self.left_out: dict[str, None] = {}
        """What is left out, for the header that names it."""
        self._find = find
        self._left = MAX_PACKED
        self._names: dict[str, str] = {}
        """Of the calls, by their ids."""
        self._shown: list[tuple[Item, str]] = []
        """What tools gave that is no text, and its places: it waits for the last of their results."""
        self._said: Message | None = None
        """The assistant's message that function calls and state still join."""

    def instruct(self, text: str) -> None:
        """Begin with the instructions."""
        self._add({"role": "system", "content": text}, "instructions", "instructions")

    def remember(self, items: Sequence[Item]) -> None:
        """What was said before, as it is kept: whatever is wrong with it, this is where it came from."""
        for item in items:
            self._item(item, "previous_response_id", fixed=True)

    def read(self, value: Json, place: str = "input") -> None:
        """What the client says now. Raises ClientError that names what is no item."""
        if isinstance(value, str):
            self.items.append({"type": "message", "role": "user", "content": value})
            self._add({"role": "user", "content": value}, place, place)
            return
        if not isinstance(value, list):
            raise invalid_type(place, value, "a string or an array of input items")
        for index, item in enumerate(value):
            here = f"{place}[{index}]"
            self._read(mapping(item, here), here)

    def _read(self, item: Item, place: str) -> None:
        kind = _kind(item, place)
        if kind in _HOSTED:
            self.left_out[f"input.{kind}"] = None
            return
        if kind == "item_reference":
            found = self._find(required(item, "id", place, string))
            if found is None:
                message = f"Item with id '{item['id'][:80]}' not found. Only items of stored responses can be named."
                raise ClientError(message, status=404, param=f"{place}.id", code="item_not_found")
            item = found
        elif kind == "compaction":
            packed = self._unpacked(required(item, "encrypted_content", place, string))
            if not isinstance(packed, list):
                raise invalid_value(f"{place}.encrypted_content", "it is none that this server gave")
            for each in packed:
                self._item(mapping(each, place), place, fixed=True)
            self.items.extend(packed)
            return
        self._item(item, place)
        self.items.append(item)

    def _item(self, item: Item, place: str, *, fixed: bool = False) -> None:
        kind = _kind(item, place)
        read = _KINDS.get(kind)
        if read is None:
            known = ", ".join(map(repr, (*_KINDS, "item_reference", "compaction")))
            raise invalid_value(f"{place}.type", f"'{kind[:40]}'; supported values are: {known}")
        read(self, item, place, fixed)

    def _message(self, item: Item, place: str, fixed: bool) -> None:
        role = required(item, "role", place, string)
        if role not in _ROLES:
            raise invalid_value(f"{place}.role", f"'{role[:40]}'; supported values are: {', '.join(map(repr, _ROLES))}")
        if item.get("content") is None:
            raise missing(f"{place}.content")
        content = _content(item["content"], f"{place}.content")
        said = self._said
        if role == "assistant" and said is not None and "content" not in said and "tool_calls" not in said:
            said["content"] = content
            self._place(f"messages[{len(self.messages) - 1}]", place, f"{place}.content", fixed)
            return
        self._add({"role": role, "content": content}, place, f"{place}.content", fixed)

    def _call(self, item: Item, place: str, fixed: bool) -> None:
        name = required(item, "name", place, string)
        call_id = required(item, "call_id", place, string)
        if item["type"] == "function_call":
            optional(item, "arguments", place, string)
            held = {"name": name, "arguments": item.get("arguments") or "{}"}
            call = {"id": call_id, "type": "function", "function": held}
        else:
            optional(item, "input", place, string)
            call = {"id": call_id, "type": "custom", "custom": {"name": name, "input": item.get("input") or ""}}
        self._names[call_id] = name
        calls = self._speaking(place).setdefault("tool_calls", [])
        calls.append(call)
        at = f"messages[{len(self.messages) - 1}].tool_calls"
        self.places.setdefault(at, place)
        self.places[f"{at}[{len(calls) - 1}]"] = place
        if fixed:
            return
        for key in ("function.name", "function.arguments", "custom.name", "custom.input"):
            self.places[f"{at}[{len(calls) - 1}].{key}"] = f"{place}.{key.partition('.')[2]}"

    def _result(self, item: Item, place: str, fixed: bool) -> None:
        call_id = required(item, "call_id", place, string)
        if item.get("output") is None:
            raise missing(f"{place}.output")
        here = f"{place}.output"
        content = _content(item["output"], here)
        if isinstance(content, list) and any(part["type"] not in ("text", "refusal") for part in content):
            content = self._set_aside(content, call_id, place if fixed else here, fixed)
        self._add({"role": "tool", "tool_call_id": call_id, "content": content}, place, here, fixed)

    def _set_aside(self, content: list[Item], call_id: str, place: str, fixed: bool) -> str:
        """The text of a tool's result; the rest, for which chat has no place, is shown behind all results."""
        label = f"From the result of the tool {self._names.get(call_id, 'call')}:"
        self._shown.append(({"type": "text", "text": label}, place))
        texts = []
        for index, part in enumerate(content):
            if part["type"] == "text":
                texts.append(part["text"])
            else:
                self._shown.append((part, place if fixed else f"{place}[{index}]"))
        return "\n".join(texts) or UNSAID

    def _show(self) -> None:
        """Say what was set aside."""
        shown, self._shown = self._shown, []
        if not shown:
            return
        place = shown[0][1]
        self._add({"role": "user", "content": [part for part, _ in shown]}, place, place)
        at = f"messages[{len(self.messages) - 1}].content"
        self.places |= {f"{at}[{index}]": where for index, (_, where) in enumerate(shown)}

    def _reasoning(self, item: Item, place: str, fixed: bool) -> None:
        """State of ours goes back where it came from; reasoning without it no chat takes."""
        optional(item, "encrypted_content", place, string)
        extra = self._unpacked(item.get("encrypted_content") or "")
        if isinstance(extra, dict):
            self._speaking(place)["extra_content"] = extra

    def _unpacked(self, text: str) -> Json:
        value, size = unpack(text, self._left)
        self._left -= size
        return value

    def _speaking(self, place: str) -> Message:
        """The assistant's message that is under way, or a new one."""
        if self._said is None:
            self._add({"role": "assistant"}, place, place)
        assert self._said is not None
        return self._said

    def _add(self, message: Message, place: str, content: str, fixed: bool = False) -> None:
        if message["role"] != "tool":
            self._show()
        self.messages.append(message)
        self._said = message if message["role"] == "assistant" else None
        self._place(f"messages[{len(self.messages) - 1}]", place, content, fixed)

    def _place(self, chat: str, place: str, content: str, fixed: bool) -> None:
        self.places[chat] = place
        self.places[f"{chat}.content"] = place if fixed else content

    def finished(self) -> list[Message]:
        """The messages; an assistant's that has neither text nor calls is empty."""
        self._show()
        for message in self.messages:
            if "content" not in message:
                message["content"] = None if "tool_calls" in message else ""
        return self.messages


_KINDS: Mapping[str, Callable[[Conversation, Item, str, bool], None]] = {
    "message": Conversation._message,
    "function_call": Conversation._call,
    "custom_tool_call": Conversation._call,
    "function_call_output": Conversation._result,
    "custom_tool_call_output": Conversation._result,
    "reasoning": Conversation._reasoning,
}


def _kind(item: Item, place: str) -> str:
    """An item's type; a message and a reference may leave theirs out."""
    kind = item.get("type")
    if kind is not None:
        return str(string(kind, f"{place}.type"))
    if item.get("role") is not None:
        return "message"
    if item.get("id") is not None:
        return "item_reference"
    raise missing(f"{place}.type")


def _content(content: Json, place: str) -> Json:
    """Text, or chat's parts: one of text alone is text."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise invalid_type(place, content, "a string or an array of content parts")
    parts = [_part(part, f"{place}[{index}]") for index, part in enumerate(content)]
    if not parts:
        return ""
    return parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else parts


def _part(part: Json, place: str) -> Item:
    kind = required(mapping(part, place), "type", place, string)
    if kind not in _PARTS:
        supported = ", ".join(map(repr, _PARTS))
        raise invalid_value(f"{place}.type", f"'{kind[:40]}'; supported values are: {supported}")
    return _PARTS[kind](part, place)


def _text(part: Item, place: str) -> Item:
    return {"type": "text", "text": required(part, "text", place, string)}


def _refusal(part: Item, place: str) -> Item:
    return {"type": "refusal", "refusal": required(part, "refusal", place, string)}


def _image(part: Item, place: str) -> Item:
    if part.get("file_id") is not None:
        raise _unsupported(f"{place}.file_id", "there are no uploaded files; send the image as 'image_url'")
    image = {"url": required(part, "image_url", place, string)}
    if part.get("detail") is not None:
        image["detail"] = string(part["detail"], f"{place}.detail")
    return {"type": "image_url", "image_url": image}


def _file(part: Item, place: str) -> Item:
    if part.get("file_url") is not None:
        raise _unsupported(f"{place}.file_url", "send the file itself as 'file_data'")
    if part.get("file_data") is None and part.get("file_id") is None:
        raise missing(f"{place}.file_data")
    keys = [key for key in ("filename", "file_id", "file_data") if part.get(key) is not None]
    return {"type": "file", "file": {key: string(part[key], f"{place}.{key}") for key in keys}}


def _audio(part: Item, place: str) -> Item:
    audio = required(part, "input_audio", place, mapping)
    here = f"{place}.input_audio"
    return {
        "type": "input_audio",
        "input_audio": {key: required(audio, key, here, string) for key in ("data", "format")},
    }


def _unsupported(param: str, why: str) -> ClientError:
    return ClientError(f"Unsupported value: '{param}': {why}.", param=param, code="unsupported_value")


_PARTS: Mapping[str, Callable[[Item, str], Item]] = {
    "input_text": _text,
    "output_text": _text,
    "text": _text,
    "refusal": _refusal,
    "input_image": _image,
    "input_file": _file,
    "input_audio": _audio,
}


def pack(value: Json) -> str:
    """Opaque text of a value, for a client to send back. Raises ClientError for what would not be taken back."""
    data = jsontext.dump(value)
    if len(data) > MAX_PACKED or not is_shallow(value, MAX_DEPTH):
        message = f"What is kept in one item is at most {MAX_PACKED} bytes of JSON, nested {MAX_DEPTH} levels deep."
        raise ClientError(message, status=413, param="input", code="request_too_large")
    return _SEAL + b64encode(zlib.compress(data)).decode()


def unpack(text: str, limit: int = MAX_PACKED) -> tuple[Json, int]:
    """The value, and its bytes; None when the text is none of ours, or holds more than `limit`."""
    if not text.startswith(_SEAL):
        return None, 0
    data = b""
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(b64decode(text.removeprefix(_SEAL), validate=True), limit + 1)
        value = jsontext.parse(data) if len(data) <= limit and inflater.eof else None
    except (ValueError, zlib.error):
        value = None
    return (value if is_shallow(value, MAX_DEPTH) else None), min(len(data), limit)


def listed(items: Sequence[Item], token: str) -> list[Item]:
    """The items as a list of them has them: each with an id and a status, content as parts."""
    return [_listed(item, f"{token}{number:04d}") for number, item in enumerate(items)]


def _listed(item: Item, name: str) -> Item:
    item = _sent(item)
    kind = item.get("type") or "message"
    given = item.get("id")
    made = {**item, "type": kind, "id": given if isinstance(given, str) and given else f"{_PREFIXES[kind]}_{name}"}
    if kind == "reasoning":
        made.setdefault("summary", [])
        return made
    for key in _EMPTY.get(kind, ()):
        made.setdefault(key, "")
    made["status"] = item["status"] if item.get("status") in ("completed", "incomplete") else "completed"
    if kind == "message" and isinstance(item["content"], str):
        text: Item = {"type": "input_text", "text": item["content"]}
        if item["role"] == "assistant":
            text = {"type": "output_text", "text": item["content"], "annotations": [], "logprobs": []}
        made["content"] = [text]
    elif kind == "message":
        made["content"] = [_listed_part(part) for part in item["content"]]
    return made


def _listed_part(part: Item) -> Item:
    """A part with what clients may leave out of it."""
    return _LEFT_OUT.get(part["type"], {}) | _sent(part)


def _sent(item: Item) -> Item:
    """The item without nulls, which are what was not sent."""
    return {key: value for key, value in item.items() if value is not None}


_LEFT_OUT: dict[str, Item] = {
    "output_text": {"annotations": [], "logprobs": []},
    "input_image": {"detail": "auto"},
}
_EMPTY = {"function_call": ("arguments",), "custom_tool_call": ("input",)}
_PREFIXES = {
    "message": "msg",
    "function_call": "fc",
    "custom_tool_call": "ctc",
    "function_call_output": "fco",
    "custom_tool_call_output": "ctco",
    "reasoning": "rs",
}
