"""What templates read of a conversation: which of its texts, its media and its tool calls reach the backend."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from oaiproxy.analysis import PICKED
from oaiproxy.canonical import Call, Message, canonical_part, message_text
from oaiproxy.jsontext import Json

_SYSTEM = ("system", "developer")
_MEDIA = ("image", "audio", "file")
_ANY_TEXT = {
    "messages": ("messages.*", "messages.text", "messages.parts.*", "messages.parts.text"),
    "turns": ("turns.*", "turns.parts.*", "turns.parts.text"),
    "request": ("request.*", "request.messages.*", "request.messages.content"),
}
"""The paths of which one tells that the texts of a conversation are read, by the name that holds it."""
_SLICE = re.compile(r"(messages|turns|request\.messages)\[(-?\d*):(-?\d*)\](.*)")
_TOOL_PARTS = {"tool_call": ("arguments", "arguments_json"), "tool_result": ("id", "json")}
"""What is read of such a part by a template that makes something of it."""
_MESSAGE_TOOL_RESULTS = ("tool_call_id", "tool_name", "role=tool")
_ANY_IMAGE = "data:image/png;base64,AAAA"
TEXT_KEYS = frozenset(("messages", "content", "text", "parts"))
MEDIA_KEYS = TEXT_KEYS | {
    PICKED,
    *("type", "image_url", "input_audio", "file", "url", "base64", "data", "format", "filename"),
    *("file_id", "file_data", "media_type", "images_base64"),
}
TOOL_KEYS = TEXT_KEYS | {
    PICKED,
    *("type", "tool_calls", "tool_call_id", "tool_name", "function_call", "function", "name", "id", "arguments"),
    *("arguments_json", "json", "role"),
}
"""Keys without which a value no longer holds the texts, the media, the tool calls of a conversation."""


def sent_texts(call: Call, reads: frozenset[str]) -> tuple[str, ...]:
    """The texts of the conversation that reach the backend, and those that are no messages."""
    sent = reading_of(reads, TEXT_KEYS).sent(call.messages)
    said = (message_text(message) for index, message in enumerate(call.messages) if index in sent)
    return (*said, *call.texts)


@dataclass(frozen=True, slots=True)
class _Sends:
    """Whether messages reach the backend: the last one, those of the system, and the others."""

    last: bool
    system: bool
    others: bool


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

    def at(self, index: int, turns: list[int | None]) -> Reading:
        """What is read of one message: by slices too, such as `messages[:-1]`, if it is in them."""
        found = slices(self.reads)
        if not found:
            return self
        more = set()
        for owner, start, stop, rest in found:
            count, place = (max((n for n in turns if n is not None), default=-1) + 1, turns[index])
            if owner != "turns":
                count, place = len(turns), index
            if place is not None and place in range(count)[slice(start, stop)]:
                more.add(owner + rest)
        return Reading(self.reads | more)

    def sends(self) -> _Sends:
        """Which messages reach the backend, as far as that does not depend on the messages."""
        if self.whole("messages", "request"):
            return _Sends(True, True, True)
        every = self.whole("turns")
        prompted = self.any("prompt", "messages[]", "request.prompt", "request.messages[]")
        return _Sends(prompted or not (every or slices(self.reads)), "system" in self.reads, every)

    def sent(self, messages: list[Message]) -> frozenset[int]:
        """Which messages reach the backend."""
        sliced, last = bool(slices(self.reads)), len(messages) - 1
        turns = turn_numbers(messages) if sliced else []
        of_all = _sends(self)
        if of_all.last and of_all.system and of_all.others:
            return frozenset(range(len(messages)))
        found = []
        for index, message in enumerate(messages):
            sends = self.at(index, turns).sends() if sliced else of_all
            if (sends.system if message["role"] in _SYSTEM else sends.others) or (sends.last and index == last):
                found.append(index)
        return frozenset(found)

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


@lru_cache(maxsize=256)
def reading_of(reads: frozenset[str], keys: frozenset[str]) -> Reading:
    """The reads, less those of values from which a filter strips one of the keys."""
    stripped = {owner for owner, mark, key in (path.rpartition(".!") for path in reads) if mark and key in keys}
    kept = reads - {f"{path}.*" for path in stripped}
    return Reading(kept | {"request.messages.*"} if "request.*" in kept else kept)


def reads_conversation(reads: frozenset[str]) -> bool:
    """Whether the texts of a conversation are read, rather than one message."""
    found = reading_of(reads, TEXT_KEYS)
    whole = found.whole("messages", "turns")
    return whole or Reading(frozenset(owner + rest for owner, _, _, rest in slices(reads))).whole("messages", "turns")


@lru_cache(maxsize=256)
def _sends(reading: Reading) -> _Sends:
    return reading.sends()


@lru_cache(maxsize=256)
def slices(reads: frozenset[str]) -> tuple[tuple[str, int | None, int | None, str], ...]:
    """The paths that lead through some of the messages: each with its list, the bounds, and what comes behind."""
    found = (_SLICE.fullmatch(path) for path in reads)
    return tuple(
        (each[1], int(each[2]) if each[2] else None, int(each[3]) if each[3] else None, each[4])
        for each in found
        if each
    )


def turn_numbers(messages: list[Message]) -> list[int | None]:
    """Which of the `turns` each message is in: None for those that are in none."""
    numbers: list[int | None] = []
    number, side = -1, ""
    for message in messages:
        here = "assistant" if message["role"] == "assistant" else "user"
        empty = not (message.get("content") or message.get("refusal") or message.get("tool_calls"))
        if message["role"] in _SYSTEM or (empty and message["role"] != "tool"):
            numbers.append(None)
            continue
        number, side = (number, side) if side == here else (number + 1, here)
        numbers.append(number)
    return numbers


def says(message: Message) -> bool:
    """Whether something is lost when the message is left out: an empty system message says nothing."""
    return message["role"] not in _SYSTEM or bool(message_text(message))


def lost_media(reading: Reading, message: Message, *, last: bool) -> Iterator[tuple[int, str]]:
    """The places and types of images, sound and files that no template reads."""
    content = message["content"]
    kinds = [part["type"] for part in content]
    for place, part in enumerate(content):
        if part["type"] in ("text", "refusal"):
            continue
        only = kinds.count(part["type"]) == 1
        if not reading.carries_part(part, message["role"], last=last, only=only):
            yield place, part["type"]


def passes_as_data(reading: Reading, message: Message, place: int, *, last: bool) -> bool:
    """Whether the image at this place would be read if its client sent it otherwise."""
    content = list(message["content"])
    if content[place]["type"] != "image_url":
        return False
    content[place] = {"type": "image_url", "image_url": {"url": _ANY_IMAGE}}
    return all(lost != place for lost, _ in lost_media(reading, {**message, "content": content}, last=last))


def lost_tools(reading: Reading, message: Message) -> str:
    """The key of what no template reads of a history of tool calls, which makes no sense in parts.

    A result alone may be the prompt: it is text.
    """
    role = message["role"]
    if role not in ("assistant", "tool"):
        return ""
    raw = reading.any("request.messages.*")
    conversation = reading.whole("messages", "turns", "request")
    if role != "assistant":
        return "role" if conversation and not reading.carries_result() else ""
    calls = message.get("tool_calls") or ()
    if calls and not reading.carries_calls(role, last=not conversation):
        return "tool_calls"
    if any(call.get("type") == "custom" for call in calls) and not (raw or reading.any("request.messages.tool_calls")):
        return "tool_calls"
    return ""


def tools_key(message: Message) -> str:
    """What `_thinned` is to take from a message of a history of tool calls."""
    if message["role"] == "tool":
        return "role"
    return "tool_calls" if message["role"] == "assistant" and message.get("tool_calls") else ""
