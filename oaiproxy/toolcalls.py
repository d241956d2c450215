"""Tool calls as backends tell them, whole or in fragments, to OpenAI's: dense indexes, ids, arguments as JSON text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from oaiproxy import jsontext
from oaiproxy.events import ToolCallDelta
from oaiproxy.jsontext import Json


@dataclass(slots=True)
class _Call:
    index: int
    id: str | None = None
    name: str = ""
    opened: bool = False
    said: bool = False
    held: list[str] = field(default_factory=list)


class ToolCalls:
    """The calls of one choice. `new_id` makes the id of a call that the backend gave none."""

    def __init__(self, choice: int, new_id: Callable[[], str]) -> None:
        self._choice = choice
        self._new_id = new_id
        self._calls: list[_Call] = []
        self._keys: dict[str, _Call] = {}

    def __bool__(self) -> bool:
        return bool(self._calls)

    @property
    def nameless(self) -> bool:
        """Whether there is a call whose name did not come: nobody can make it."""
        return any(not call.name for call in self._calls)

    def whole(self, call: dict[str, Json]) -> list[ToolCallDelta]:
        """A complete call, `{id?, name, arguments}` or the same inside `function`."""
        inner = call["function"] if isinstance(call.get("function"), dict) else call
        made = self._new(None)
        return self._add(made, call.get("id"), inner.get("name"), _arguments_text(inner.get("arguments")) or "{}")

    def fragment(self, index: Json, call_id: Json, name: Json, arguments: Json) -> list[ToolCallDelta]:
        """A piece of the call known by `index`, else by `call_id`, else of the one last opened."""
        return self._add(self._find(index, call_id, name), call_id, name, _arguments_text(arguments))

    def close(self) -> list[ToolCallDelta]:
        """What is still to say at the end: a call without arguments has the empty object."""
        told = []
        for call in self._calls:
            if not call.said and not call.held:
                call.held.append("{}")
            told += self._tell(call)
        return told

    def _add(self, call: _Call, call_id: Json, name: Json, text: str) -> list[ToolCallDelta]:
        if call_id and call.id is None:
            call.id = _word(call_id)
        if name and not call.name:
            call.name = _word(name)
        if text:
            call.held.append(text)
        return self._tell(call) if call.name else []

    def _find(self, index: Json, call_id: Json, name: Json) -> _Call:
        if index is None and not call_id:
            return self._calls[-1] if self._calls and not name else self._new(None)
        key = _word(index if index is not None else call_id)
        call = self._keys.get(key)
        if call is None or (name and call_id and call.id is not None and call.id != _word(call_id)):
            return self._new(key)  # also where every call of a backend has the index 0
        return call

    def _new(self, key: str | None) -> _Call:
        call = _Call(len(self._calls))
        self._calls.append(call)
        if key is not None:
            self._keys[key] = call
        return call

    def _tell(self, call: _Call) -> list[ToolCallDelta]:
        told = []
        if not call.opened:
            call.opened = True
            call.id = call.id or self._new_id()
            told.append(ToolCallDelta(call.index, call.id, call.name, "", self._choice))
        if call.held:
            call.said = True
            told.append(ToolCallDelta(call.index, None, None, "".join(call.held), self._choice))
            call.held.clear()
        return told


def _word(value: Json) -> str:
    return value if isinstance(value, str) else jsontext.dump(value).decode()


def _arguments_text(arguments: Json) -> str:
    if arguments is None or isinstance(arguments, str):
        return arguments or ""
    return jsontext.dump(arguments).decode()
