"""What becomes of OpenAI's request fields with a mapping, said beforehand: by endpoint and model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from oaiproxy.canonical import Call, Message
from oaiproxy.conversations import sent_texts
from oaiproxy.errors import ClientError
from oaiproxy.inputs import INPUTS
from oaiproxy.mapping import ENDPOINTS, Endpoint
from oaiproxy.mapping import Mapping as Compiled
from oaiproxy.parameters import Unread
from oaiproxy.policy import FORMER, PARTNERS, emulated, fields_of, leave_out, unread_field
from oaiproxy.variants import PLAIN, Variant

Features: TypeAlias = Mapping[str, Sequence[str]]
"""The names of fields, and of things in messages, by one of `WORDS`."""

WORDS = ("used", "emulated", "dropped", "ignored", "refused")
"""What may become of a field. It is used by the backend or the proxy, left out and named or not, or a 400."""
_FATES = {
    None: "used",
    Unread.DROP: "dropped",
    Unread.IGNORE: "ignored",
    Unread.REFUSE: "refused",
    Unread.EMULATE: "emulated",
}
_OUR_OWN = ("model", "stream", "stream_options", "stream_format")
"""Fields that the proxy reads itself, whatever the mapping."""
_ASKED = ("messages", "prompt")
"""Fields that hold the conversation."""
_HI: Message = {"role": "user", "content": "hi"}
_CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
_PARTS: Mapping[str, Message] = {
    "images": {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    "input_audio": {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    "files": {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}},
}
_CONVERSATIONS: Mapping[str, list[Message]] = {
    "messages": [{"role": "system", "content": "be brief"}, _HI, {"role": "assistant", "content": "hello"}, _HI],
    "tool_calls": [
        _HI,
        {"role": "assistant", "content": None, "tool_calls": [_CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "done"},
    ],
    **{name: [{"role": "user", "content": [{"type": "text", "text": "hi"}, part]}] for name, part in _PARTS.items()},
}
"""By what `on_unsupported` calls them: the least conversations with such things."""


def features(mapping: Compiled, model: str) -> dict[str, Features]:
    """The features of each endpoint that a model has; a model that is not named is one like any other."""
    variant = mapping.variants.get(model, PLAIN)
    served = ((name, mapping.endpoint(name)) for name in ENDPOINTS)
    return {name: _of(mapping, name, endpoint, variant) for name, endpoint in served if endpoint is not None}


def _of(mapping: Compiled, name: str, endpoint: Endpoint, variant: Variant) -> Features:
    found = _fields(mapping, name, endpoint, variant)
    if name == "chat":
        found |= {thing: _thing(mapping, endpoint, variant, thing, each) for thing, each in _CONVERSATIONS.items()}
        found |= {"tool_calls": "emulated"} if "tools" in mapping.emulates else {}
    return {word: made for word in WORDS if (made := sorted(key for key, fate in found.items() if fate == word))}


def _fields(mapping: Compiled, name: str, endpoint: Endpoint, variant: Variant) -> dict[str, str]:
    here = emulated(name, endpoint.reads, mapping.emulates)
    fates = {}
    for key, field in fields_of(name).items():
        if key in _OUR_OWN or (key in _ASKED and name not in INPUTS):
            continue
        if key in here:
            fates[key] = "emulated"
        elif (field.name or key) in variant.drop:
            fates[key] = "dropped"
        elif key == "input" and "tokens" in endpoint.reads:
            fates[key] = "used"
        else:
            fates[key] = _FATES[unread_field(name, key, endpoint.reads, mapping.unsupported)]
    for key, partners in PARTNERS.items():
        if fates.get(key, "used") != "used":
            fates.update(dict.fromkeys(partners, fates[key]))
    fates.update({key: fates[now] for key, now in FORMER.items() if fates.get(now) == "emulated"})
    return fates


def fate_of(mapping: Compiled, variant: Variant, thing: str, part: Message) -> str:
    """What becomes of a part of a user's message in `chat`; `thing` is what `on_unsupported` calls it."""
    return _thing(mapping, mapping.endpoints["chat"], variant, thing, _said(part))


def _said(part: Message) -> list[Message]:
    return [{"role": "user", "content": [{"type": "text", "text": "hi"}, part]}]


def _thing(mapping: Compiled, endpoint: Endpoint, variant: Variant, thing: str, messages: list[Message]) -> str:
    """What becomes of a thing in messages, which depends on more than names: it is tried."""
    call = Call("chat", "", stream=False, include_usage=False, messages=messages, fields={})
    try:
        call, dropped = variant.without_dropped(call)
        call, unread = leave_out(call, endpoint.reads, mapping.unsupported)
    except ClientError:
        return "refused"
    if thing in (*dropped, *unread) or "messages" in unread:
        return "dropped"
    whole = call.messages == messages and len(sent_texts(call, endpoint.reads)) == len(messages)
    return "used" if whole else "ignored"
