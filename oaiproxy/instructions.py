"""What the proxy itself has to say to a model, put where the mapping's templates carry it to the backend."""

from __future__ import annotations

from dataclasses import replace

from oaiproxy.canonical import Call, Message
from oaiproxy.conversations import TEXT_KEYS, reading_of

MAX_QUOTED = 20_000
"""Characters of a faulty answer that are sent back."""
_SYSTEM = ("system", "developer")


def instructed(call: Call, reads: frozenset[str], text: str) -> Call:
    """The call with an instruction: joined to its system text if that is sent, else to what the user says last."""
    messages = list(call.messages)
    leading = 0
    while leading < len(messages) and messages[leading]["role"] in _SYSTEM:
        leading += 1
    if leading:
        messages[leading - 1] = _longer(messages[leading - 1], text)
    else:
        messages.insert(0, {"role": "system", "content": text})
    place = max(leading - 1, 0)
    if place in _sent(reads, messages):
        return _with(call, messages)
    return _with(call, _added(call.messages, reads, text))


def corrected(call: Call, reads: frozenset[str], answer: str, complaint: str) -> Call:
    """The call with a faulty answer and what is wrong with it behind it: as further messages if those are sent."""
    quoted = answer if len(answer) <= MAX_QUOTED else answer[:MAX_QUOTED] + " [...]"
    more: list[Message] = [{"role": "assistant", "content": quoted}] if quoted.strip() else []
    messages = [*call.messages, *more, {"role": "user", "content": complaint}]
    if set(range(len(messages))) - set(range(len(call.messages))) <= _sent(reads, messages) and (
        _sent(reads, call.messages) <= _sent(reads, messages)
    ):
        return _with(call, messages)
    text = f"Your last answer to this was:\n{quoted}\n\n{complaint}" if more else complaint
    return _with(call, _added(call.messages, reads, text))


def _added(messages: list[Message], reads: frozenset[str], text: str) -> list[Message]:
    """The messages with more text in the last one of the user that is sent, or in the last one that is."""
    sent = sorted(_sent(reads, messages)) or [len(messages) - 1]
    by_user = [index for index in sent if messages[index]["role"] == "user"]
    place = (by_user or sent)[-1]
    return [_longer(message, text) if index == place else message for index, message in enumerate(messages)]


def _sent(reads: frozenset[str], messages: list[Message]) -> frozenset[int]:
    return reading_of(reads, TEXT_KEYS).sent(messages)


def _longer(message: Message, text: str) -> Message:
    content = message.get("content")
    if isinstance(content, list):
        return {**message, "content": [*content, {"type": "text", "text": f"\n\n{text}" if content else text}]}
    return {**message, "content": f"{content}\n\n{text}" if content else text}


def _with(call: Call, messages: list[Message]) -> Call:
    return replace(call, messages=messages, request={**call.request, "messages": messages})
