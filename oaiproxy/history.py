"""What the assistant said and clients send back: ids of tool calls with state in them, reasoning, what else they keep.

The other half of `choices`, which sends it out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from oaiproxy.jsontext import Json
from oaiproxy.opaque import Restorer, are_items


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
    items += _extra(message.get("extra_content"))
    late = {item["id"]: item["state"] for item in items if "id" in item}
    if not (items or calls):
        return NOTHING
    return Memory(tuple(item for item in items if "id" not in item), late | calls)


def _extra(content: Json) -> list[Json]:
    """The items that no tool call took along, from a client that kept them."""
    ours = content.get("oaiproxy") if isinstance(content, dict) else None
    items = ours.get("state") if isinstance(ours, dict) else None
    return items if isinstance(items, list) and are_items(items) else []
