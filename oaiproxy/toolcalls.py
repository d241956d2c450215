"""Tool calls as backends tell them, whole or in fragments, to OpenAI's: dense indexes, ids, arguments as JSON text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
        self._keys: dict[Json, _Call] = {}

    def __bool__(self) -> bool:
        return bool(self._calls)

    def whole(self, call: dict[str, Json]) -> Iterator[ToolCallDelta]:
        """A complete call, `{id?, name, arguments}` or the same inside `function`."""
        inner = call["function"] if isinstance(call.get("function"), dict) else call
        yield from self.fragment(object(), call.get("id"), inner.get("name"), inner.get("arguments"))

    def fragment(self, index: Json, call_id: Json, name: Json, arguments: Json) -> Iterator[ToolCallDelta]:
        """A piece of the call known by `index`, else by `call_id`, else of the one last opened."""
        call = self._find(index, call_id, name)
        if call_id and call.id is None:
            call.id = str(call_id)
        if name and not call.name:
            call.name = str(name)
        text = _arguments_text(arguments)
        if text:
            call.held.append(text)
        if call.name:
            yield from self._tell(call)

    def close(self) -> Iterator[ToolCallDelta]:
        """What is still to say at the end: a call without arguments has the empty object."""
        for call in self._calls:
            if not call.said and not call.held:
                call.held.append("{}")
            yield from self._tell(call)

    def _find(self, index: Json, call_id: Json, name: Json) -> _Call:
        key = index if index is not None else call_id or None
        if key is None and self._calls and not name:
            return self._calls[-1]
        if key is None or key not in self._keys:
            call = _Call(len(self._calls))
            self._calls.append(call)
            self._keys[object() if key is None else key] = call
            return call
        return self._keys[key]

    def _tell(self, call: _Call) -> Iterator[ToolCallDelta]:
        text = "".join(call.held)
        call.held.clear()
        if not call.opened:
            call.opened = True
            call.id = call.id or self._new_id()
            yield ToolCallDelta(call.index, call.id, call.name, "", self._choice)
        if text:
            call.said = True
            yield ToolCallDelta(call.index, None, None, text, self._choice)


def _arguments_text(arguments: Json) -> str:
    if arguments is None or isinstance(arguments, str):
        return arguments or ""
    return jsontext.dump(arguments).decode()
