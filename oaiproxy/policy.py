"""What a request uses and its mapping never reads: refused where it changes the answer's meaning, else named."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from oaiproxy.analysis import PICKED
from oaiproxy.canonical import Call, Message, canonical_part, message_text, without
from oaiproxy.errors import ClientError
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
_SLICE = re.compile(r"(messages|turns|request\.messages)\[(-?\d*):(-?\d*)\](.*)")
_TOOL_PARTS = {"tool_call": ("arguments", "arguments_json"), "tool_result": ("id", "json")}
"""What is read of such a part by a template that makes something of it."""
_MESSAGE_TOOL_RESULTS = ("tool_call_id", "tool_name", "role=tool")


PARTNERS = {"tools": ("tool_choice", "parallel_tool_calls"), "functions": ("function_call",)}
"""Fields that make no sense without another one."""
_MEDIA_NAMES = {"image": "images", "image_url": "images", "input_audio": "input_audio", "file": "files"}
_ANY_IMAGE = "data:image/png;base64,AAAA"
_NOT_BY_ADDRESS = "it takes images as `data:` URLs, not by address"
IN_MESSAGES = ("messages", *dict.fromkeys(_MEDIA_NAMES.values()), "tool_calls")
"""What `on_unsupported` calls the things inside of a conversation."""
NEVER_UNREAD = ("model", "stream", "stream_options", "prompt")
"""Fields that the proxy itself reads."""
_DONE_HERE = frozenset(
    (
        *("model", "stream", "stream_format", "encoding_format", "top_n", "return_documents"),
        *("response_format", "timestamp_granularities"),
    )
)
"""Fields of the endpoints beyond chat that the proxy itself gives effect to, where no template reads them."""
_TEXT_KEYS = frozenset(("messages", "content", "text", "parts"))
_MEDIA_KEYS = _TEXT_KEYS | {
    PICKED,
    *("type", "image_url", "input_audio", "file", "url", "base64", "data", "format", "filename"),
    *("file_id", "file_data", "media_type", "images_base64"),
}
_TOOL_KEYS = _TEXT_KEYS | {
    PICKED,
    *("type", "tool_calls", "tool_call_id", "tool_name", "function_call", "function", "name", "id", "arguments"),
    *("arguments_json", "json", "role"),
}
"""Keys without which a value no longer holds the texts, the media, the tool calls of a conversation."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """What a mapping says in `on_unsupported`: of the fields that it names, and of the rest of OpenAI's fields."""

    named: Mapping[str, Unread] = field(default_factory=dict)
    rest: Unread | None = None

    def of(self, name: str, usual: Unread) -> Unread:
        """What becomes of a field that is not read."""
        return self.named.get(name) or (usual if name in IN_MESSAGES else self.rest or usual)


_USUAL = Overrides()


def leave_out(call: Call, reads: frozenset[str], overrides: Overrides = Overrides()) -> tuple[Call, tuple[str, ...]]:
    """The call without what the mapping has no use for, and what of that is to be named.

    Raises ClientError for what cannot be left out.
    """
    if "request.*" in reads and not any(path.startswith("request.!") for path in reads):
        return call, ()
    dropped: list[str] = []
    call = _unread_fields(call, reads, overrides, dropped)
    _check_forms(call, reads)
    return _unread_messages(call, reads, overrides, dropped), tuple(dict.fromkeys(dropped))


def _unread_fields(call: Call, reads: frozenset[str], overrides: Overrides, dropped: list[str]) -> Call:
    always = _read_fields(call.endpoint, reads)
    if call.fields.keys() <= always:
        return call
    gone: set[str] = set()
    choice = call.fields.get("tool_choice")
    for name in sorted(call.fields, key=lambda name: name not in PARTNERS):
        key = _ON_THE_WIRE.get(name, name)
        unread = None if name in always else unread_field(call.endpoint, name, reads, overrides)
        if unread is None or key in gone:
            continue
        if key in ("tools", "tool_choice") and (choice == "none" or "tools" not in call.fields):
            continue
        if unread is Unread.REFUSE:
            raise unsupported(key, call.model)
        if key == "messages":
            continue
        with_it = [name for name in PARTNERS.get(key, ()) if name in call.fields]
        gone.update((key, *with_it))
        if unread is Unread.DROP:
            dropped.extend((key, *with_it))
    return without(call, gone) if gone else call


@lru_cache(maxsize=256)
def _read_fields(endpoint: str, reads: frozenset[str]) -> frozenset[str]:
    """The fields that templates read, or that the proxy itself does, by their keys in a call."""
    names = {**{name: name for name in _FIELDS[endpoint]}, **_ON_THE_WIRE}
    return frozenset(
        name
        for name, key in names.items()
        if key in _FIELDS[endpoint] and unread_field(endpoint, name, reads, _USUAL) is None
    )


def unread_field(endpoint: str, name: str, reads: frozenset[str], overrides: Overrides) -> Unread | None:
    """What becomes of a field that is sent; None where a template reads it, or the proxy itself."""
    key = _ON_THE_WIRE.get(name, name)
    found = _FIELDS[endpoint][key]
    if is_read(reads, name, found) or _raw(reads, key) or (endpoint not in INPUTS and key in NEVER_UNREAD):
        return None
    if endpoint in INPUTS and key in _DONE_HERE and found.unread is Unread.IGNORE:
        return overrides.named.get(key, found.unread)
    return overrides.of(found.name or key, found.unread)


def fields_of(endpoint: str) -> Mapping[str, Field]:
    """The request fields of an endpoint, by their name on the wire."""
    return _FIELDS.get(endpoint, {})


def known_fields() -> dict[str, Field]:
    """The request fields of all endpoints."""
    return {name: found for table in reversed(list(_FIELDS.values())) for name, found in table.items()}


def is_read(reads: frozenset[str], key: str, found: Field) -> bool:
    """Whether templates read a field, by its name or from the raw body."""
    return (found.name or key) in reads or _raw(reads, key)


def leave_out_named(call: Call, names: Collection[str]) -> tuple[Call, tuple[str, ...]]:
    """The call without these fields and things in messages, by what templates call them, and those that were sent.

    Raises ClientError when no message is left.
    """
    known = fields_of(call.endpoint)
    gone = [key for key in call.fields if key in known and (known[key].name or key) in names]
    dropped = [*gone, *(name for key in gone for name in PARTNERS.get(key, ()) if name in call.fields)]
    call = without(call, dropped) if dropped else call
    messages = []
    for message in call.messages:
        content = message.get("content")
        kinds = [_MEDIA_NAMES.get(part["type"], "") for part in content] if isinstance(content, list) else []
        lost = [place for place, kind in enumerate(kinds) if kind in names]
        tools = _tools_key(message) if "tool_calls" in names else ""
        dropped.extend(kinds[place] for place in lost)
        dropped.extend(["tool_calls"] * bool(tools))
        messages.append(_thinned(message, lost, tools))
    return _with_messages(call, messages), tuple(dict.fromkeys(dropped))


def _tools_key(message: Message) -> str:
    """What `_thinned` is to take from a message of a history of tool calls."""
    if message["role"] in ("tool", "function"):
        return "role"
    if message["role"] != "assistant":
        return ""
    return "tool_calls" if message.get("tool_calls") else "function_call" if message.get("function_call") else ""


def _with_messages(call: Call, messages: list[Message | None]) -> Call:
    """The call with the messages that are left. Raises ClientError when none is."""
    kept = [message for message in messages if message is not None]
    if kept == call.messages:
        return call
    if not kept:
        raise unsupported("messages", call.model)
    return replace(call, messages=kept, request={**call.request, "messages": kept})


def _raw(reads: frozenset[str], key: str) -> bool:
    """Whether a field is read from the request's body as it came."""
    stripped = {f"request.!{key}", f"request.!{PICKED}"}
    return f"request.{key}" in reads or ("request.*" in reads and not reads & stripped)


def _check_forms(call: Call, reads: frozenset[str]) -> None:
    """Forms of fields that only the raw body holds: tools and choices that are no functions, prompts that are lists."""
    for index, tool in enumerate(call.fields.get("tools") or ()):
        if tool["type"] != "function" and not _raw(reads, "tools"):
            raise unsupported(f"tools[{index}].type", call.model)
    choice = call.fields.get("tool_choice")
    if isinstance(choice, dict) and not _raw(reads, "tool_choice"):
        custom = choice["type"] == "custom"
        if custom or (choice["type"] == "allowed_tools" and "tools" not in reads):
            raise unsupported("tool_choice.type", call.model)
    prompt = call.request.get("prompt")
    if call.endpoint != "completions" or not isinstance(prompt, list) or _raw(reads, "prompt"):
        return
    if len(prompt) != 1 or not isinstance(prompt[0], str):
        raise ClientError(
            "Unsupported value for 'prompt': one string is supported, not several prompts or token ids.",
            param="prompt",
            code="unsupported_value",
        )


def _unread_messages(call: Call, reads: frozenset[str], overrides: Overrides, dropped: list[str]) -> Call:
    """The call without the parts and tool calls that no template reads, where the mapping says that they may go."""
    sent = _reading(reads, _TEXT_KEYS).sent(call.messages)
    if len(sent) < len(call.messages) and any(
        _says(message) for index, message in enumerate(call.messages) if index not in sent
    ):
        unread = overrides.of("messages", Unread.DROP)
        if unread is Unread.REFUSE:
            raise unsupported("messages", call.model)
        dropped.extend(["messages"] * (unread is Unread.DROP))
    if not any(isinstance(message.get("content"), list) or _tools_key(message) for message in call.messages):
        return call
    media, tools = _reading(reads, _MEDIA_KEYS), _reading(reads, _TOOL_KEYS)
    last = len(call.messages) - 1
    messages = []
    turns = _turn_numbers(call.messages) if _slices(reads) else []
    for index, message in enumerate(call.messages):
        lost = {}
        if isinstance(message.get("content"), list):
            for place, kind in _lost_media(media.at(index, turns), message, last=index == last):
                lost[place] = (_MEDIA_NAMES[kind], f"messages[{index}].content[{place}].type")
        param = _lost_tools(tools.at(index, turns), message) if index in sent and _tools_key(message) else ""
        for place, (name, where) in lost.items():
            unread = overrides.of(name, Unread.REFUSE)
            if unread is Unread.REFUSE:
                if _passes_as_data(media.at(index, turns), message, place, last=index == last):
                    raise unsupported(where, call.model, _NOT_BY_ADDRESS)
                raise unsupported(where, call.model)
            dropped.extend([name] * (unread is Unread.DROP))
        if param:
            unread = overrides.of("tool_calls", Unread.REFUSE)
            if unread is Unread.REFUSE:
                raise unsupported(f"messages[{index}].{param}", call.model)
            dropped.extend(["tool_calls"] * (unread is Unread.DROP))
        messages.append(_thinned(message, lost, param) if lost or param else message)
    return _with_messages(call, messages)


def _thinned(message: Message, lost: Collection[int], tools: str) -> Message | None:
    """The message without the parts at these places, and without tool calls; None when nothing is left of it."""
    if tools == "role":
        return None
    if lost:
        parts = [part for place, part in enumerate(message["content"]) if place not in lost]
        message = {**message, "content": parts}
        if not parts and not message.get("tool_calls"):
            return None
    if tools:
        message = {key: value for key, value in message.items() if key not in ("tool_calls", "function_call")}
        if not message.get("content"):
            return None
    return message


def sent_texts(call: Call, reads: frozenset[str]) -> tuple[str, ...]:
    """The texts of the conversation that reach the backend, and those that are no messages."""
    sent = _reading(reads, _TEXT_KEYS).sent(call.messages)
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
        slices = _slices(self.reads)
        if not slices:
            return self
        more = set()
        for owner, start, stop, rest in slices:
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
        return _Sends(prompted or not (every or _slices(self.reads)), "system" in self.reads, every)

    def sent(self, messages: list[Message]) -> frozenset[int]:
        """Which messages reach the backend."""
        sliced, last = bool(_slices(self.reads)), len(messages) - 1
        turns = _turn_numbers(messages) if sliced else []
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
def _reading(reads: frozenset[str], keys: frozenset[str]) -> Reading:
    """The reads, less those of values from which a filter strips one of the keys."""
    stripped = {owner for owner, mark, key in (path.rpartition(".!") for path in reads) if mark and key in keys}
    kept = reads - {f"{path}.*" for path in stripped}
    return Reading(kept | {"request.messages.*"} if "request.*" in kept else kept)


def reads_conversation(reads: frozenset[str]) -> bool:
    """Whether the texts of a conversation are read, rather than one message."""
    found = _reading(reads, _TEXT_KEYS)
    whole = found.whole("messages", "turns")
    return whole or Reading(frozenset(owner + rest for owner, _, _, rest in _slices(reads))).whole("messages", "turns")


@lru_cache(maxsize=256)
def _sends(reading: Reading) -> _Sends:
    return reading.sends()


@lru_cache(maxsize=256)
def _slices(reads: frozenset[str]) -> tuple[tuple[str, int | None, int | None, str], ...]:
    """The paths that lead through some of the messages: each with its list, the bounds, and what comes behind."""
    found = (_SLICE.fullmatch(path) for path in reads)
    return tuple(
        (each[1], int(each[2]) if each[2] else None, int(each[3]) if each[3] else None, each[4])
        for each in found
        if each
    )


def _turn_numbers(messages: list[Message]) -> list[int | None]:
    """Which of the `turns` each message is in: None for those that are in none."""
    numbers: list[int | None] = []
    number, side = -1, ""
    for message in messages:
        here = "assistant" if message["role"] == "assistant" else "user"
        empty = not (message.get("content") or message.get("refusal") or message.get("tool_calls"))
        if message["role"] in _SYSTEM or (empty and message["role"] not in ("tool", "function")):
            numbers.append(None)
            continue
        number, side = (number, side) if side == here else (number + 1, here)
        numbers.append(number)
    return numbers


def _says(message: Message) -> bool:
    """Whether something is lost when the message is left out: an empty system message says nothing."""
    return message["role"] not in _SYSTEM or bool(message_text(message))


def _lost_media(reading: Reading, message: Message, *, last: bool) -> Iterator[tuple[int, str]]:
    """The places and types of images, sound and files that no template reads."""
    content = message["content"]
    kinds = [part["type"] for part in content]
    for place, part in enumerate(content):
        if part["type"] in ("text", "refusal"):
            continue
        only = kinds.count(part["type"]) == 1
        if not reading.carries_part(part, message["role"], last=last, only=only):
            yield place, part["type"]


def _passes_as_data(reading: Reading, message: Message, place: int, *, last: bool) -> bool:
    """Whether the image at this place would be read if its client sent it otherwise."""
    content = list(message["content"])
    if content[place]["type"] != "image_url":
        return False
    content[place] = {"type": "image_url", "image_url": {"url": _ANY_IMAGE}}
    return all(lost != place for lost, _ in _lost_media(reading, {**message, "content": content}, last=last))


def _lost_tools(reading: Reading, message: Message) -> str:
    """The key of what no template reads of a history of tool calls, which makes no sense in parts.

    A result alone may be the prompt: it is text.
    """
    role = message["role"]
    if role not in ("assistant", "tool", "function"):
        return ""
    raw = reading.any("request.messages.*")
    conversation = reading.whole("messages", "turns", "request")
    if role != "assistant":
        carried = raw if role == "function" else reading.carries_result()
        return "role" if conversation and not carried else ""
    calls = message.get("tool_calls") or ()
    if calls and not reading.carries_calls(role, last=not conversation):
        return "tool_calls"
    if any(call.get("type") == "custom" for call in calls) and not (raw or reading.any("request.messages.tool_calls")):
        return "tool_calls"
    if message.get("function_call") and not (raw or reading.any("request.messages.function_call")):
        return "function_call"
    return ""
