"""Tool calls as backends tell them, whole or in fragments, to OpenAI's: dense indexes, ids, arguments as JSON text."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from oaiproxy import jsontext
from oaiproxy.errors import BackendError
from oaiproxy.events import ToolCallDelta
from oaiproxy.jsontext import Json
from oaiproxy.pieces import Pieces


class _Arguments:
    """The progress of one JSON text that comes in pieces: where its outermost bracket closes."""

    __slots__ = ("_depth", "_escaped", "_quoted", "begun", "complete", "joined")

    def __init__(self) -> None:
        self.begun = False
        self.complete = False
        """Whether an object or a list is closed."""
        self.joined = False
        """Whether another value follows it."""
        self._depth = 0
        self._quoted = False
        self._escaped = False

    def read(self, text: str) -> None:
        """Take more of the text."""
        if not self.begun:
            text = text.lstrip()
            if not text:
                return
            self.begun = True
            if text[0] not in "{[":
                self._depth = -1  # no JSON container: nothing is known of its end
        if self._depth >= 0:
            self._follow(text)

    def _follow(self, text: str) -> None:
        at = 0
        if self._escaped and text:
            self._escaped, at = False, 1
        if not self.complete:
            at = self._end(text, at)
        rest = text[at:].lstrip() if self.complete else ""
        if rest:
            self.joined = rest[0] in '{["'
            self._depth = -1

    def _end(self, text: str, at: int) -> int:
        for found in _STRUCTURE.finditer(text, at):
            mark = found[0]
            if mark[0] == "\\":
                self._escaped = len(mark) == 1
            elif mark == '"':
                self._quoted = not self._quoted
            elif not self._quoted:
                self._depth += 1 if mark in "{[" else -1
                if not self._depth:
                    self.complete = True
                    return found.end()
        return len(text)


_STRUCTURE = re.compile(r'\\.?|["{}\[\]]', re.DOTALL)


@dataclass(slots=True)
class _Call:
    index: int
    id: str | None = None
    name: str = ""
    opened: bool = False
    said: bool = False
    empty: bool = False
    """Whether its arguments came as an empty object, which says nothing yet."""
    held: list[str] = field(default_factory=list)
    arguments: _Arguments = field(default_factory=_Arguments)
    told: str = ""
    """The id that the client knows, without state."""
    pieces: Pieces | None = None
    state: Json = None

    @property
    def begun(self) -> bool:
        """Whether any arguments came."""
        return self.empty or self.arguments.begun or self.pieces is not None

    @property
    def complete(self) -> bool:
        """Whether all arguments came, as far as their text tells."""
        return self.arguments.complete or (self.empty and not self.arguments.begun) or self.pieces is not None


class ToolCalls:
    """The calls of one choice. `new_id` makes the id of a call that the backend gave none.

    `seal` puts a call's state into its id; `late` takes the state of a call whose id was told before. The tools in
    `custom` take text, not JSON; `single` tells that the client wants no call beside the first.
    """

    def __init__(
        self,
        choice: int,
        new_id: Callable[[], str],
        seal: Callable[[str, Json], str] = lambda call_id, state: call_id,
        late: Callable[[str, Json], None] = lambda call_id, state: None,
        custom: Collection[str] = (),
        single: bool = False,
    ) -> None:
        self._choice = choice
        self._new_id = new_id
        self._seal = seal
        self._late = late
        self._custom = custom
        self._single = single
        self._calls: list[_Call] = []
        self._keys: dict[str, _Call] = {}
        self._waiting: list[_Call] = []
        """Calls that another one followed before their arguments came."""

    def __bool__(self) -> bool:
        return bool(self._calls)

    @property
    def unwanted(self) -> bool:
        """Whether there are calls that the client does not want, and is not told of."""
        return self._single and len(self._calls) > 1

    @property
    def nameless(self) -> bool:
        """Whether there is a call whose name did not come: nobody can make it."""
        return any(not call.name for call in (self._calls[:1] if self._single else self._calls))

    def whole(self, call: dict[str, Json]) -> list[ToolCallDelta]:
        """A complete call, `{id?, name, arguments}` or the same inside `function`; `{name, input}` inside `custom`."""
        inner = next((call[key] for key in ("function", "custom") if isinstance(call.get(key), dict)), call)
        made = self._new(None)
        made.state = call.get("state") or inner.get("state") or None
        name = inner.get("name")
        text = isinstance(name, str) and name in self._custom
        arguments = inner.get("arguments") or (inner.get("input") if text or inner is not call else None)
        return self._add(made, call.get("id"), name, arguments or (None if text else "{}"))

    def fragment(
        self, index: Json, call_id: Json, name: Json, arguments: Json, state: Json = None, pieces: Json = None
    ) -> list[ToolCallDelta]:
        """A piece of the call known by `index`, else by `call_id`, else of the one last opened.

        `pieces` are those of its arguments, `{path, value, more}` each, which are told when all came.
        """
        word = _word(name) if name else ""
        call = self._find(index, call_id, word, arguments)
        if state:
            self._keep(call, state)
        if pieces:
            if call.arguments.begun:
                raise _two_values(call)
            call.pieces = call.pieces or Pieces()
            for piece in pieces if isinstance(pieces, list) else [pieces]:
                call.pieces.add(piece)
        if word and word != call.name and call.name and index is not None and not (call.begun or call.opened):
            call.name += word  # a name in pieces; it is not told before arguments come
        return self._add(call, call_id, name, arguments)

    def close(self) -> list[ToolCallDelta]:
        """What is still to say at the end: a call without arguments has the empty object."""
        told = []
        for call in self._calls:
            if call.pieces is not None and not call.said:
                call.held.append(jsontext.dump(call.pieces.whole()).decode())
            if not call.said and not call.held and call.name not in self._custom:
                call.held.append("{}")
            told += self._tell(call)
        return told

    def _add(self, call: _Call, call_id: Json, name: Json, arguments: Json) -> list[ToolCallDelta]:
        if call_id and call.id is None:
            call.id = _word(call_id)
        if name and not call.name:
            call.name = _word(name)
        text = _arguments_text(arguments)
        call.empty = call.empty or (not text and isinstance(arguments, dict | list))
        call.arguments.read(text)
        any_text = self._custom and (not call.name or call.name in self._custom)
        if (call.arguments.joined and not any_text) or (text and call.pieces is not None):
            raise _two_values(call)
        if text:
            call.held.append(text)
        told = []
        if call is self._calls[-1]:
            told += [delta for other in self._waiting for delta in self._tell(other)]
            self._waiting.clear()
        if call.name and (call.held or call is not self._calls[-1]):
            told += self._tell(call)
        return told

    def _find(self, index: Json, call_id: Json, name: str, arguments: Json) -> _Call:
        if index is None and not call_id:
            last = self._calls[-1] if self._calls else None
            if last is None or (name and last.name and (name != last.name or last.complete)):
                return self._new(None)
            return last
        key = _word(index if index is not None else call_id)
        call = self._keys.get(key)
        if call is None or (name and _is_another(call, call_id, name, arguments)):
            return self._new(key)
        return call

    def _new(self, key: str | None) -> _Call:
        if self._calls and self._calls[-1].name and not self._calls[-1].opened:
            self._waiting.append(self._calls[-1])
        call = _Call(len(self._calls))
        self._calls.append(call)
        if key is not None:
            self._keys[key] = call
        return call

    def _keep(self, call: _Call, state: Json) -> None:
        """The call's state, the last one if there are several."""
        if not call.opened:
            call.state = state
        else:
            self._late(call.told, state)

    def _tell(self, call: _Call) -> list[ToolCallDelta]:
        if self._single and call.index:
            return []
        told, custom = [], call.name in self._custom
        if not call.opened:
            call.opened = True
            call.told = call.id or self._new_id()
            told.append(
                ToolCallDelta(call.index, self._seal(call.told, call.state), call.name, "", self._choice, custom)
            )
        if call.held:
            call.said = True
            told.append(ToolCallDelta(call.index, None, None, "".join(call.held), self._choice, custom))
            call.held.clear()
        return told


def _is_another(call: _Call, call_id: Json, name: str, arguments: Json) -> bool:
    """Whether a name under the key of a call is that of another: all calls of a backend may have the index 0."""
    if call_id and call.id is not None:
        return call.id != _word(call_id)
    if not call.name:
        return False  # the name comes late
    if name == call.name:
        return call.complete and bool(arguments)
    return call.begun or bool(arguments)


def _two_values(call: _Call) -> BackendError:
    return BackendError(
        f"the arguments of the tool call '{call.name[:80]}' are more than one JSON value",
        code="upstream_mapping_mismatch",
        retry=False,
    )


def _word(value: Json) -> str:
    return value if isinstance(value, str) else jsontext.dump(value).decode()


def _arguments_text(arguments: Json) -> str:
    if isinstance(arguments, str):
        return arguments
    if arguments is None or arguments in ({}, []):
        return ""
    return jsontext.dump(arguments).decode()
