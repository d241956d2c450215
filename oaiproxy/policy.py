"""What a request uses and its mapping never reads: refused where it changes the answer's meaning, else named."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from oaiproxy.analysis import PICKED
from oaiproxy.canonical import Call, Message, without
from oaiproxy.conversations import (
    MEDIA_KEYS,
    TEXT_KEYS,
    TOOL_KEYS,
    lost_media,
    lost_tools,
    passes_as_data,
    reading_of,
    says,
    slices,
    tools_key,
    turn_numbers,
)
from oaiproxy.inputs import INPUTS
from oaiproxy.jsontext import Json
from oaiproxy.parameters import CHAT, COMPLETIONS, Field, Unread, unsupported

_FIELDS: Mapping[str, Mapping[str, Field]] = {"chat": CHAT, "completions": COMPLETIONS, **INPUTS}
_ON_THE_WIRE = {"tokens": "input"}
"""What templates see apart from other values of the same field, and that field."""
PARTNERS = {"tools": ("tool_choice", "parallel_tool_calls"), "modalities": ("audio",)}
"""Fields that make no sense without another one."""
FORMER = {"functions": "tools", "function_call": "tool_choice"}
"""Fields as tools once were, by the names that they have now: they come as those."""
_WHY = {"n": ("its mapping does not read it, nor is it in `emulate`",)}
_MEDIA_NAMES = {"image": "images", "image_url": "images", "input_audio": "input_audio", "file": "files"}
_NOT_BY_ADDRESS = "it takes images as `data:` URLs, not by address"
IN_MESSAGES = ("messages", *dict.fromkeys(_MEDIA_NAMES.values()), "tool_calls")
"""What `on_unsupported` calls the things inside of a conversation."""
NEVER_UNREAD = ("model", "stream", "stream_options", "prompt")
"""Fields that the proxy itself reads."""
_OF_INPUTS = frozenset(("dimensions",))
_FOR_INPUTS = _OF_INPUTS | {"n"}
"""What can be emulated of the endpoints beyond chat: of them alone, and of all."""
_DONE_HERE = frozenset(
    (
        *("model", "stream", "stream_format", "encoding_format", "top_n", "return_documents"),
        *("response_format", "timestamp_granularities"),
    )
)
"""Fields of the endpoints beyond chat that the proxy itself gives effect to, where no template reads them."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """What a mapping says in `on_unsupported`: of the fields that it names, and of the rest of OpenAI's fields."""

    named: Mapping[str, Unread] = field(default_factory=dict)
    rest: Unread | None = None

    def of(self, name: str, usual: Unread) -> Unread:
        """What becomes of a field that is not read."""
        own = name in IN_MESSAGES or usual is Unread.EMULATE
        return self.named.get(name) or (usual if own else self.rest or usual)


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
    choice = call.fields.get("tool_choice")
    if choice is not None and _makes_nothing(choice, reads):
        always -= {"tool_choice"}
        reads -= {"tool_choice"}
    if call.fields.keys() <= always:
        return call
    gone: set[str] = set()
    for name in sorted(call.fields, key=lambda name: name not in PARTNERS):
        key = _ON_THE_WIRE.get(name, name)
        unread = None if name in always else unread_field(call.endpoint, name, reads, overrides)
        if unread is None or unread is Unread.EMULATE or key in gone:
            continue
        if key in ("tools", "tool_choice") and (choice == "none" or "tools" not in call.fields):
            continue
        if key == "tool_choice" and "tools" in reads and _only_narrows(choice):
            continue
        if unread is Unread.REFUSE:
            raise unsupported(key, call.model, *_WHY.get(key, ()))
        if key == "messages":
            continue
        with_it = [name for name in PARTNERS.get(key, ()) if name in call.fields]
        gone.update((key, *with_it))
        if unread is Unread.DROP:
            dropped.extend((key, *with_it))
    return without(call, gone) if gone else call


def _only_narrows(choice: Json) -> bool:
    """Whether a choice of tools says no more than which of them there are."""
    return isinstance(choice, dict) and choice["type"] == "allowed_tools" and choice["allowed_tools"]["mode"] == "auto"


def _makes_nothing(choice: Json, reads: frozenset[str]) -> bool:
    """Whether a `$match` on the mode has no case for this choice, and nothing else is read that could tell of it."""
    if "tool_choice.mode=$only" not in reads:
        return False
    if isinstance(choice, dict):
        mode = choice["allowed_tools"]["mode"] if choice["type"] == "allowed_tools" else "tool"
    else:
        mode = choice
    told = {f"tool_choice.mode={mode}", "tool_choice.mode.*", "tool_choice.*", "request.tool_choice"}
    return mode in ("required", "tool") and reads.isdisjoint(told | {"tool_choice.name"} if mode == "tool" else told)


def cuts(endpoint: str, reads: frozenset[str]) -> bool:
    """Whether the proxy itself cuts at stop strings, for no template reads them."""
    return endpoint not in INPUTS and unread_field(endpoint, "stop", reads, _USUAL) is not None


@lru_cache(maxsize=256)
def _read_fields(endpoint: str, reads: frozenset[str]) -> frozenset[str]:
    """The fields that templates read, or the proxy itself whatever a mapping says, by their keys in a call."""
    names = {**{name: name for name in _FIELDS[endpoint]}, **_ON_THE_WIRE}
    return frozenset(
        name
        for name, key in names.items()
        if key in _FIELDS[endpoint] and unread_field(endpoint, name, reads, _USUAL) is None
    )


def unread_field(endpoint: str, name: str, reads: frozenset[str], overrides: Overrides) -> Unread | None:
    """What becomes of a field that is sent; None where a template reads it, or the proxy itself."""
    name = FORMER.get(name, name)
    key = _ON_THE_WIRE.get(name, name)
    found = _FIELDS[endpoint][key]
    if is_read(reads, name, found) or is_raw(reads, key) or (endpoint not in INPUTS and key in NEVER_UNREAD):
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
    return (found.name or key) in reads or is_raw(reads, key)


def emulated(endpoint: str, reads: frozenset[str], emulates: frozenset[str]) -> frozenset[str]:
    """What an endpoint lacks of the parameters that a mapping says the proxy gives effect to."""
    if endpoint not in INPUTS:
        return emulates - _OF_INPUTS
    return frozenset(
        key
        for key in emulates & _FOR_INPUTS
        if key in INPUTS[endpoint] and not is_read(reads, key, INPUTS[endpoint][key])
    )


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
        tools = tools_key(message) if "tool_calls" in names else ""
        dropped.extend(kinds[place] for place in lost)
        dropped.extend(["tool_calls"] * bool(tools))
        messages.append(_thinned(message, lost, tools))
    return _with_messages(call, messages), tuple(dict.fromkeys(dropped))


def _with_messages(call: Call, messages: list[Message | None]) -> Call:
    """The call with the messages that are left. Raises ClientError when none is."""
    kept = [message for message in messages if message is not None]
    if kept == call.messages:
        return call
    if not kept:
        raise unsupported("messages", call.model)
    return replace(call, messages=kept, request={**call.request, "messages": kept})


def is_raw(reads: frozenset[str], key: str) -> bool:
    """Whether a field is read from the request's body as it came."""
    stripped = {f"request.!{key}", f"request.!{PICKED}"}
    return f"request.{key}" in reads or ("request.*" in reads and not reads & stripped)


def _check_forms(call: Call, reads: frozenset[str]) -> None:
    """Forms of fields that only the raw body holds: tools and choices that are no functions."""
    for index, tool in enumerate(call.fields.get("tools") or ()):
        if tool["type"] != "function" and not is_raw(reads, "tools"):
            raise unsupported(f"tools[{index}].type", call.model)
    choice = call.fields.get("tool_choice")
    if isinstance(choice, dict) and not is_raw(reads, "tool_choice"):
        custom = choice["type"] == "custom"
        if custom or (choice["type"] == "allowed_tools" and "tools" not in reads):
            raise unsupported("tool_choice.type", call.model)


def _unread_messages(call: Call, reads: frozenset[str], overrides: Overrides, dropped: list[str]) -> Call:
    """The call without the parts and tool calls that no template reads, where the mapping says that they may go."""
    sent = reading_of(reads, TEXT_KEYS).sent(call.messages)
    if len(sent) < len(call.messages) and any(
        says(message) for index, message in enumerate(call.messages) if index not in sent
    ):
        unread = overrides.of("messages", Unread.DROP)
        if unread is Unread.REFUSE:
            raise unsupported("messages", call.model)
        dropped.extend(["messages"] * (unread is Unread.DROP))
    if not any(isinstance(message.get("content"), list) or tools_key(message) for message in call.messages):
        return call
    media, tools = reading_of(reads, MEDIA_KEYS), reading_of(reads, TOOL_KEYS)
    last = len(call.messages) - 1
    messages = []
    turns = turn_numbers(call.messages) if slices(reads) else []
    for index, message in enumerate(call.messages):
        lost = {}
        if isinstance(message.get("content"), list):
            for place, kind in lost_media(media.at(index, turns), message, last=index == last):
                lost[place] = (_MEDIA_NAMES[kind], f"messages[{index}].content[{place}].type")
        param = lost_tools(tools.at(index, turns), message) if index in sent and tools_key(message) else ""
        for place, (name, where) in lost.items():
            unread = overrides.of(name, Unread.REFUSE)
            if unread is Unread.REFUSE:
                if passes_as_data(media.at(index, turns), message, place, last=index == last):
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
        message = {key: value for key, value in message.items() if key != "tool_calls"}
        if not message.get("content"):
            return None
    return message
