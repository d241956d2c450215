"""What a request uses and its mapping never reads: refused where it changes the answer's meaning, else named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from oaiproxy.canonical import Call, Message, canonical_part, message_text
from oaiproxy.inputs import INPUTS
from oaiproxy.jsontext import Json
from oaiproxy.parameters import CHAT, COMPLETIONS, Field, Unread, unsupported

_FIELDS: Mapping[str, Mapping[str, Field]] = {"chat": CHAT, "completions": COMPLETIONS, **INPUTS}
_ON_THE_WIRE = {"tokens": "input"}
"""What templates see apart from other values of the same field, and that field."""
_SYSTEM = ("system", "developer")
_MEDIA = ("image", "audio", "file")
_ANY_TEXT = {
    "messages": ("messages.*", "messages.text", "messages.parts.*", "messages.parts.text"),
    "turns": ("turns.*", "turns.parts.*", "turns.parts.text"),
    "request": ("request.*", "request.messages.*", "request.messages.content"),
}
"""The paths of which one tells that the texts of a conversation are read, by the name that holds it."""
_TOOL_PARTS = {"tool_call": ("arguments", "arguments_json"), "tool_result": ("id", "json")}
"""What is read of such a part by a template that makes something of it."""
_MESSAGE_TOOL_RESULTS = ("tool_call_id", "tool_name", "role=tool")


def unread_fields(call: Call, reads: frozenset[str]) -> tuple[str, ...]:
    """The fields that are left out, by name. Raises ClientError for one that cannot be left out."""
    if "request.*" in reads:
        return ()
    dropped = []
    fields = _FIELDS[call.endpoint]
    choice = call.fields.get("tool_choice")
    for key in call.fields:
        name, key = key, _ON_THE_WIRE.get(key, key)
        field = fields[key]
        if (field.name or name) in reads or f"request.{key}" in reads or field.unread is Unread.IGNORE:
            continue
        if key in ("tools", "tool_choice") and (choice == "none" or "tools" not in call.fields):
            continue
        if field.unread is Unread.REFUSE:
            raise unsupported(key, call.model)
        if key != "messages":
            dropped.append(key)
    reading = Reading(reads)
    sent = reading.sent(call.messages)
    if any(_says(message) for index, message in enumerate(call.messages) if index not in sent):
        dropped.append("messages")
    last = len(call.messages) - 1
    for index, message in enumerate(call.messages):
        _check_media(reading, message, index, last, call.model)
        if index in sent:
            _check_tools(reading, message, index, call.model)
    return tuple(dropped)


def sent_texts(call: Call, reads: frozenset[str]) -> tuple[str, ...]:
    """The texts of the conversation that reach the backend, and those that are no messages."""
    sent = Reading(reads).sent(call.messages)
    said = (message_text(message) for index, message in enumerate(call.messages) if index in sent)
    return (*said, *call.texts)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the templates of an endpoint read of a conversation: the paths of `Analysis`."""

    reads: frozenset[str]

    def any(self, *paths: str) -> bool:
        """Whether one of the paths is read."""
        return not self.reads.isdisjoint(paths)

    def whole(self, *names: str) -> bool:
        """Whether the text of every message is read through one of the names."""
        return any(self.any(*_ANY_TEXT[name]) for name in names)

    def sent(self, messages: list[Message]) -> frozenset[int]:
        """Which messages reach the backend: all, or the last one, and the system text if it is read."""
        if self.whole("messages", "request"):
            return frozenset(range(len(messages)))
        every, system, last = self.whole("turns"), "system" in self.reads, len(messages) - 1
        prompted = self.any("prompt", "messages[]", "request.prompt", "request.messages[]") or not every
        return frozenset(
            index
            for index, message in enumerate(messages)
            if (prompted and index == last) or (system if message["role"] in _SYSTEM else every)
        )

    def parts(self, role: str, *, last: bool, only: bool) -> Iterator[str]:
        """The paths that lead to the parts of such a message; `only` tells that it has no other part of the kind."""
        names = ["messages"] if role in _SYSTEM else ["messages", "turns"]
        for name in names + ([f"{name}[]" for name in names] if last else []):
            yield f"{name}.parts"
            if only:
                yield f"{name}.parts[]"

    def carries_part(self, part: Json, role: str, *, last: bool, only: bool) -> bool:
        """Whether a part that is not text is read: such parts are never left out silently."""
        if self.any(*(f"request.messages.{path}" for path in ("*", "content.*", f"content.{part['type']}"))):
            return True
        if role == "tool":
            return False  # what templates see of it is the result's text
        made = canonical_part(part)
        if "base64" in made and made["type"] == "image":
            owners = ("messages", "messages[]") if last else ("messages",)
            if self.any(*(f"{owner}.images_base64.*" for owner in owners)):
                return True
            if only and self.any(*(f"{owner}.images_base64[]" for owner in owners)):
                return True
        return any(self._carries(path, made) for path in self.parts(role, last=last, only=only))

    def _carries(self, path: str, part: Json) -> bool:
        """Whether the part is read there whole, or by what tells its content from that of other kinds."""
        if self.any(f"{path}.*", f"{path.partition('.')[0]}.*"):
            return True
        kind = part["type"]
        if self._is_left_to_others(path, kind, _MEDIA):
            return False
        named = f"{path}.type={kind}" in self.reads
        data = "base64" in part and f"{path}.base64" in self.reads
        match kind:
            case "image":
                return data or f"{path}.url" in self.reads
            case "audio":
                return data and (named or f"{path}.format" in self.reads)
        by_id = "file_id" in part and f"{path}.file_id" in self.reads
        return by_id or (data and (named or f"{path}.filename" in self.reads))

    def _is_left_to_others(self, path: str, kind: str, kinds: Iterable[str]) -> bool:
        """Whether templates ask for other kinds of parts by name, and nowhere for this one or for the rest."""
        named = {each for each in (*kinds, "$else") if f"{path}.type={each}" in self.reads}
        return bool(named) and not named & {kind, "$else"}

    def _carries_tool(self, path: str, kind: str) -> bool:
        if self.any(f"{path}.*", f"{path.partition('.')[0]}.*", f"{path}.type={kind}"):
            return True
        wanted = (f"{path}.{each}" for each in _TOOL_PARTS[kind])
        return not self._is_left_to_others(path, kind, _TOOL_PARTS) and self.any(*wanted)

    def carries_calls(self, role: str, *, last: bool) -> bool:
        """Whether the tool calls of a message are read."""
        owners = ("messages", "messages[]", "request.messages") if last else ("messages", "request.messages")
        return self.any("request.messages.*", *(f"{owner}.tool_calls" for owner in owners)) or any(
            self._carries_tool(path, "tool_call") for path in self.parts(role, last=last, only=True)
        )

    def carries_result(self) -> bool:
        """Whether a tool's message is read as what it is, and not as text alone."""
        read = (*(f"messages.{each}" for each in _MESSAGE_TOOL_RESULTS), "request.messages.tool_call_id")
        return self.any("request.messages.*", *read) or any(
            self._carries_tool(path, "tool_result") for path in ("messages.parts", "turns.parts")
        )


def _says(message: Message) -> bool:
    """Whether something is lost when the message is left out: an empty system message says nothing."""
    return message["role"] not in _SYSTEM or bool(message_text(message))


def _check_media(reading: Reading, message: Message, index: int, last: int, model: str) -> None:
    """Images, sound and files are never left out silently."""
    content = message.get("content")
    if not isinstance(content, list):
        return
    kinds = [part["type"] for part in content]
    for place, part in enumerate(content):
        if part["type"] in ("text", "refusal"):
            continue
        only = kinds.count(part["type"]) == 1
        if not reading.carries_part(part, message["role"], last=index == last, only=only):
            raise unsupported(f"messages[{index}].content[{place}].type", model)


def _check_tools(reading: Reading, message: Message, index: int, model: str) -> None:
    """A history of tool calls makes no sense in parts. A result alone may be the prompt: it is text."""
    role = message["role"]
    if role not in ("assistant", "tool"):
        return
    conversation = reading.whole("messages", "turns", "request")
    if role == "tool":
        if conversation and not reading.carries_result():
            raise unsupported(f"messages[{index}].role", model)
        return
    if message.get("tool_calls") and not reading.carries_calls(role, last=not conversation):
        raise unsupported(f"messages[{index}].tool_calls", model)
    if message.get("function_call") and not reading.any("request.messages.*", "request.messages.function_call"):
        raise unsupported(f"messages[{index}].function_call", model)
