"""What the assistant said and clients send back: ids of tool calls with state in them, reasoning, what else they keep.

The other half of `choices`, which sends it out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from oaiproxy.jsontext import Json
from oaiproxy.opaque import MARK, Restorer, are_items


@dataclass(frozen=True, slots=True)
class Memory:
    """What one assistant's message brings back: items `{text?, state}` in order, and the states of calls by id."""

    items: tuple[Json, ...] = ()
    calls: Mapping[str, Json] = field(default_factory=dict)

    def parts(self, message: Mapping[str, Json]) -> list[Json]:
        """The message's reasoning, as parts: with the state that belongs to it, or as the client sent it."""
        if self.items:
            return [{"type": "reasoning", **item} for item in self.items]
        text = message.get("reasoning_content")
        return [{"type": "reasoning", "text": text}] if isinstance(text, str) and text else []


NOTHING = Memory()


def recall(message: Mapping[str, Json], ids: Restorer) -> Memory:
    """What an assistant's message brings back."""
    items: list[Json] = []
    calls: dict[str, Json] = {}
    for call in message.get("tool_calls") or ():
        restored = ids.restore(call.get("id") or "")
        items += restored.before
        if restored.state is not None:
            calls[restored.id] = restored.state
    items += _extra(message.get("extra_content"), ids.owner)
    late = {item["id"]: item["state"] for item in items if "id" in item}
    if not (items or calls):
        return NOTHING
    return Memory(tuple(item for item in items if "id" not in item), late | calls)


def forgotten(request: Mapping[str, Json], ids: Restorer) -> Mapping[str, Json]:
    """A raw request without state: no backend knows it there."""
    messages = request.get("messages")
    if not isinstance(messages, list) or not any(map(_remembers, messages)):
        return request
    return {**request, "messages": [_forgotten(message, ids) for message in messages]}


def _remembers(message: Json) -> bool:
    ours = [message.get("tool_call_id"), *(call.get("id") for call in message.get("tool_calls") or ())]
    extra = message.get("extra_content")
    return any(isinstance(id_, str) and MARK in id_ for id_ in ours) or (
        isinstance(extra, dict) and "oaiproxy" in extra
    )


def _forgotten(message: Json, ids: Restorer) -> Json:
    made = dict(message)
    if isinstance(made.get("tool_call_id"), str):
        made["tool_call_id"] = ids.plain(made["tool_call_id"])
    if made.get("tool_calls"):
        made["tool_calls"] = [
            {**call, "id": ids.plain(call["id"])} if call.get("id") else call for call in made["tool_calls"]
        ]
    extra = made.get("extra_content")
    if isinstance(extra, dict) and "oaiproxy" in extra:
        made["extra_content"] = {key: value for key, value in extra.items() if key != "oaiproxy"}
        if not made["extra_content"]:
            del made["extra_content"]
    return made


def _extra(content: Json, owner: str) -> list[Json]:
    """The items that no tool call took along, from a client that kept them."""
    ours = content.get("oaiproxy") if isinstance(content, dict) else None
    if not isinstance(ours, dict) or ours.get("of", "") != owner:
        return []
    items = ours.get("state")
    return items if isinstance(items, list) and are_items(items) else []
