"""Where each value of a rendered request, and each value picked from a reply, comes from: for explanations alone.

A mapping that is compiled with a `Trace` wraps what its leaves make in marks, which are taken off before it is sent;
one that serves is compiled without, and costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from oaiproxy.analysis import Bound
from oaiproxy.jsontext import Json
from oaiproxy.scopes import ABSENT, Absent, Scope
from oaiproxy.source import Source

Evaluate: TypeAlias = Callable[[Scope], Any]
Steps: TypeAlias = tuple[str | int, ...]
PARTS = ("body", "body_text", "body_form", "body_multipart", "body_base64", "headers", "query", "path", "url")
"""The keys of `request` under which templates stand."""
_NOT_A_PATH = re.compile(r"=.*|\.\*$|\.!.*", re.DOTALL)
_ITEMS = re.compile(r"\[[^\]]*\]")


@dataclass(frozen=True, slots=True)
class Piece:
    """A value that is sent: in which part of the request, at which path there, what made it, and what that read.

    `reads` are the paths of names, with the places of items as far as they are known: `turns[0].parts[1].text`.
    """

    part: str
    path: Steps
    value: Json
    source: Source
    reads: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """A part of the mapping that made nothing."""

    source: Source
    reads: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Picked:
    """What a selector found."""

    source: Source
    value: Json


@dataclass(slots=True)
class _Marked:
    value: Any
    source: Source
    reads: tuple[str, ...]


@dataclass(slots=True)
class Trace:
    """What was noted since it was last taken."""

    pieces: list[Piece] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    picked: list[Picked] = field(default_factory=list)
    _names: dict[str, frozenset[str]] = field(default_factory=dict)
    """What local names are made of, by name: while a tree is compiled, those around the place."""

    def taken(self) -> tuple[list[Piece], list[Lost]]:
        """What was sent and lost, which is forgotten then."""
        made = self.pieces, self.lost
        self.pieces, self.lost = [], []
        return made

    def found(self) -> list[Picked]:
        """What selectors found, which is forgotten then."""
        made, self.picked = self.picked, []
        return made

    def node(self, render: Evaluate, source: Source, reads: Iterable[str], bound: Bound) -> Evaluate:
        """A node of a tree: its value is marked if it is a leaf, or empty; that it made nothing is noted."""
        reading = _Reading(source, reads, bound, self._names)
        leaf = not isinstance(source.value, dict | list)

        def traced(scope: Scope) -> Any:
            lost = len(self.lost)
            value = render(scope)
            if isinstance(value, Absent):
                if len(self.lost) == lost:
                    self.lost.append(Lost(source, reading.paths(scope)))
                return value
            if leaf or value in ({}, []):
                return _Marked(value, source, reading.paths(scope))
            return value

        return traced

    def opened(self, render: Evaluate) -> Evaluate:
        """A node whose items go into another one: each of them is marked."""

        def traced(scope: Scope) -> Any:
            value = render(scope)
            if not isinstance(value, _Marked):
                return value
            match value.value:
                case dict() as made:
                    return {key: _Marked(item, value.source, _within(value.reads, key)) for key, item in made.items()}
                case list() as items:
                    return [_Marked(item, value.source, value.reads) for item in items]
            return value.value

        return traced

    def named(self, render: Evaluate, name: str, source: Source, reads: Iterable[str]) -> Evaluate:
        """A value that a name is given to: it is plain."""
        text = source.value if isinstance(source.value, str) else None
        self._names[name] = _read_by(text, reads, self._names)

        def traced(scope: Scope) -> Any:
            lost = len(self.lost)
            value = _plain(render(scope))
            del self.lost[lost:]
            return value

        return traced

    def looped(self, render: Evaluate, name: str, operand: Source, reads: Iterable[str]) -> Evaluate:
        """The items of a loop, to which a name is given."""
        self._names[name] = _read_by(str(operand.value), reads, self._names)
        return render

    def tree(self, render: Evaluate, source: Source) -> Evaluate:
        """A whole tree: its marks are taken off, and what they say is noted."""
        part = str(source.path[-1])

        def traced(scope: Scope) -> Any:
            value = render(scope)
            return value if isinstance(value, Absent) else self._unmarked(value, part, ())

        return traced

    def text(self, render: Evaluate, source: Source, reads: Iterable[str]) -> Evaluate:
        """A text that is no tree: the path or the address."""
        reading = _Reading(source, reads, {}, {})

        def traced(scope: Scope) -> Any:
            value = render(scope)
            self.pieces.append(Piece(str(source.path[-1]), (), value, source, reading.paths(scope)))
            return value

        return traced

    def pick(self, pick: Callable[[Any, Any], Json], source: Source) -> Callable[[Any, Any], Json]:
        """A selector: what it finds is noted."""

        def traced(value: Json, envelope: Any) -> Json:
            found = pick(value, envelope)
            self.picked.append(Picked(source, found))
            return found

        return traced

    def _unmarked(self, value: Any, part: str, path: Steps) -> Any:
        match value:
            case _Marked():
                whole = value.value if isinstance(value.value, dict) and _WHOLE & {*value.reads} else {}
                for key, item in whole.items():
                    reads = _within(value.reads, key)
                    self.pieces.append(Piece(part, (*path, key), item, value.source, reads))
                if not whole:
                    self.pieces.append(Piece(part, path, value.value, value.source, value.reads))
                return value.value
            case dict():
                return {key: self._unmarked(item, part, (*path, key)) for key, item in value.items()}
            case list():
                return [self._unmarked(item, part, (*path, place)) for place, item in enumerate(value)]
        return value


_WHOLE = {"request", "extra"}
"""Names that hold fields of the client's by their names."""


def _within(reads: tuple[str, ...], key: str) -> tuple[str, ...]:
    """What one field of a value reads: of the client's fields that it is made of, the one of its name."""
    return tuple(f"{path}.{key}" if path in _WHOLE else path for path in reads)


class _Reading:
    """What one node reads, by the places of the items that stand under its local names."""

    def __init__(self, source: Source, reads: Iterable[str], bound: Bound, names: Mapping[str, frozenset[str]]) -> None:
        text = source.value if isinstance(source.value, str) else None
        locals_ = [name for name in bound if text is None or re.search(rf"\b{re.escape(name)}\b", text)]
        more = (path for name in locals_ if not bound[name].path for path in names.get(name, ()))
        self._paths = _shortened({*reads, *more})
        self._items = sorted(
            ((bound[name].path, name) for name in locals_ if bound[name].path), key=lambda each: -len(each[0])
        )

    def paths(self, scope: Scope) -> tuple[str, ...]:
        """The paths read in this scope."""
        places = [(path, _place(scope, path, scope.lookup(name))) for path, name in self._items]
        return tuple(dict.fromkeys(_placed(path, places) for path in self._paths))


def _shortened(reads: Iterable[str]) -> list[str]:
    """The paths without how they are used, and without those that only lead to others."""
    paths = {_NOT_A_PATH.sub("", path) for path in reads}
    return sorted(path for path in paths if not any(other.startswith((f"{path}.", f"{path}[")) for other in paths))


def _read_by(text: str | None, reads: Iterable[str], names: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Those of the paths that begin in a text, and what the local names in it are made of."""
    if text is None:
        return frozenset(reads)
    words = set(re.findall(r"\w+", text))
    own = {path for path in reads if re.split(r"\W", path, maxsplit=1)[0] in words}
    return frozenset(own.union(*(names[name] for name in words & names.keys())))


def _placed(path: str, places: Iterable[tuple[str, str]]) -> str:
    for prefix, place in places:
        if path == prefix or path.startswith((f"{prefix}.", f"{prefix}[")):
            return place + path[len(prefix) :]
    return path


def _place(scope: Scope, path: str, wanted: Any) -> str:
    """The path with the place of an item in each list on the way to it; as it is where the item is not there."""
    first, *rest = _ITEMS.sub("", path).split(".")
    return _search(scope.lookup(first), rest, wanted, first) or path


def _search(value: Any, steps: list[str], wanted: Any, path: str) -> str | None:
    if value is wanted and not steps:
        return path
    if isinstance(value, list):
        found = (_search(item, steps, wanted, f"{path}[{place}]") for place, item in enumerate(value))
        return next(filter(None, found), None)
    if isinstance(value, dict) and steps:
        return _search(value.get(steps[0], ABSENT), steps[1:], wanted, f"{path}.{steps[0]}")
    return None


def _plain(value: Any) -> Any:
    match value:
        case _Marked():
            return value.value
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
    return value
