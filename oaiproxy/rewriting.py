"""Edits of YAML text in place: what is not edited stays as it is, byte for byte, comments and order with it.

Each edit is proven: the new text is read again, and holds the old data with that edit and nothing else.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from oaiproxy.composer import compose
from oaiproxy.diagnostics import Span
from oaiproxy.jsontext import Json
from oaiproxy.nodes import ListNode, MappingNode, Node, ScalarNode, SourceText
from oaiproxy.scalars import Path, written
from oaiproxy.yamltext import after_dash, after_key, inline

BOM = "\ufeff"
_COLON = re.compile(r"\s*:")
_ALIAS = re.compile(r"[ \t]*\*[^\s,\[\]{}]+")
_ANCHOR = re.compile(r"&([^\s,\[\]{}]+)\s*(?:#.*\s*)?\Z")
_LINE = re.compile(r"[^\r\n]*")


class Written(str):
    """Text as it stands in a file: the references in it are meant."""

    __slots__ = ()


class RewriteError(Exception):
    """An edit that cannot be made without touching more than it says."""


def put(text: str, path: Path, value: Json) -> str:
    """The text with another value at a path; where there is none, the path's last key is added. Raises RewriteError."""
    return _Edit(text, path).put(escaped(value))


def append(text: str, path: Path, item: Json, *, deep: int = 1) -> str:
    """The text with one more item in the list at a path, which is made where there is none. Raises RewriteError.

    The outermost `deep` levels of the item are written as blocks.
    """
    return _Edit(text, path).append(escaped(item), deep)


def locate(text: str, file: str, path: Path) -> Span:
    """Where the value at a path stands; the nearest parent where there is no such path."""
    source = SourceText(file, text.removeprefix(BOM))
    node = compose(source)[0]
    if node is None:
        return source.span(0, 0)
    for step in path:
        if isinstance(node, MappingNode) and isinstance(step, str) and step in node.entries:
            node = node.entries[step][1]
        elif isinstance(node, ListNode) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
        else:
            break
    return source.span(node.start, node.end)


def escaped(value: Json) -> Json:
    """The value as it must be written to be read as it is."""
    match value:
        case Written():
            return str(value)
        case str():
            return value.replace("${", "$${")
        case dict():
            return {key: escaped(item) for key, item in value.items()}
        case list():
            return [escaped(item) for item in value]
    return value


def referring(value: Json, address: str, reference: str) -> Any:
    """The value, in whose texts a reference stands for an address, and for the beginning of those below it."""
    match value:
        case str():
            parts = re.split(re.escape(address) + r"(?![\w:-]|\.\w)", value)
            return Written(reference.join(part.replace("${", "$${") for part in parts)) if len(parts) > 1 else value
        case dict():
            return {key: referring(item, address, reference) for key, item in value.items()}
        case list():
            return [referring(item, address, reference) for item in value]
    return value


@dataclass(frozen=True, slots=True)
class _Change:
    """A stretch of the text, and what stands in its place."""

    start: int
    end: int
    text: str


class _Edit:
    """One edit at a path of a text."""

    def __init__(self, text: str, path: Path) -> None:
        self._bom = text[: len(text) - len(text.removeprefix(BOM))]
        self._text = text.removeprefix(BOM)
        self._break = "\r\n" if "\r\n" in self._text else "\n"
        self._path = path
        self._source = SourceText("", self._text)
        root, found = compose(self._source)
        if root is None or found:
            raise RewriteError("the file is not valid YAML")
        self._root = root
        self._before = written(root)
        self._strict = self._text.lstrip().startswith("{")

    def put(self, value: Json) -> str:
        """Replace or add."""
        expected = deepcopy(self._before)
        if not self._path:
            raise RewriteError("the whole file cannot be replaced")
        holder = _get(expected, self._path[:-1])
        last = self._path[-1]
        known = last in holder if isinstance(holder, dict) else isinstance(holder, list) and last in range(len(holder))
        if not known and not (isinstance(holder, dict) and isinstance(last, str)):
            raise RewriteError(f"there is nothing at {_shown(self._path)}")
        holder[last] = value
        return self._proven(self._replacing(value) if known else self._adding(value), expected)

    def append(self, item: Json, deep: int) -> str:
        """Add an item."""
        expected = deepcopy(self._before)
        holder = _get(expected, self._path[:-1])
        if not isinstance(holder, dict):
            raise RewriteError(f"there is nothing at {_shown(self._path)}")
        known = self._path[-1] in holder
        if not known or not holder[self._path[-1]]:
            holder[self._path[-1]] = [item]
            return self._proven(
                self._replacing([item], deep + 1) if known else self._adding([item], deep + 1), expected
            )
        if not isinstance(holder[self._path[-1]], list):
            raise RewriteError(f"what stands at {_shown(self._path)} is no list")
        holder[self._path[-1]].append(item)
        return self._proven(self._appending(item, deep), expected)

    def _proven(self, changes: Iterator[_Change], expected: Json) -> str:
        """The text with the first of the changes that means what it should."""
        for change in changes:
            new = change.text.replace("\n", self._break)
            text = self._text[: change.start] + new + self._text[change.end :]
            root, found = compose(SourceText("", text))
            if root is not None and not found and repr(written(root)) == repr(expected):
                return self._bom + text
        raise RewriteError(f"{_shown(self._path)} cannot be edited in place{self._in_the_way()}")

    def _in_the_way(self) -> str:
        """Which anchor on the path holds a value that stands in other places too, and its line."""
        times = Counter(map(id, _nodes(self._root)))
        node = self._root
        for step in self._path:
            if isinstance(node, ListNode) and isinstance(step, int) and step < len(node.items):
                node = node.items[step]
            elif isinstance(node, MappingNode) and step in node.entries:
                node = node.entries[str(step)][1]
            else:
                break
            found = _ANCHOR.search(self._text, 0, node.start)
            if times[id(node)] > 1 and found:
                line = self._source.span(found.start(), found.end()).line
                return (
                    f": it is the anchor `&{found[1]}` of line {line}, which others share; edit that, or write it out"
                )
        return ""

    def _replacing(self, value: Json, deep: int = 0) -> Iterator[_Change]:
        owner, key, node = self._find()
        text = self._text
        if key is None:
            start, column = node.start, self._column(owner.start)
            made = after_dash(value, column + 2, deep=deep)
            gap_start = start
        else:
            colon = _COLON.match(text, key.end)
            gap_start = colon.end() if colon else node.start
            if node.start < key.start:  # an alias, of which the node is what it stands for
                alias = _ALIAS.match(text, gap_start)
                if alias:
                    yield _Change(gap_start, alias.end(), " " + inline(value, strict=self._strict))
                return
            column = self._column(key.start)
            at = gap_start - self._source.line_of(gap_start)[0]
            made = after_key(value, column + 2, at, deep=deep)
        end = max(gap_start, self._trimmed(node))
        if not self._is_flow(owner):
            gap = text[gap_start : max(node.start, gap_start)]
            if key is None:
                dash = text.rfind("-", 0, node.start)
                if not text[dash + 1 : node.start].strip():
                    yield _Change(dash + 1, end, made)
            elif not gap.strip():
                yield _Change(gap_start, end, made)
            elif gap.lstrip().startswith("#"):
                made = made if made.startswith("\n") else f"\n{' ' * (column + 2)}{made[1:]}"
                yield _Change(gap_start + len(gap.rstrip()), end, made)
        single = inline(value, strict=self._strict)
        start = max(node.start, gap_start)
        yield _Change(start, max(start, end), f" {single}" if text[start - 1 : start] in (":", "-", ",") else single)

    def _adding(self, value: Json, deep: int = 0) -> Iterator[_Change]:
        owner = self._node(self._path[:-1])
        assert isinstance(owner, MappingNode)
        key = inline(str(self._path[-1]), strict=self._strict)
        if self._is_flow(owner):
            yield from self._in_flow(owner, f"{key}: {inline(value, strict=self._strict)}", bool(owner.entries))
            return
        first = next(iter(owner.entries.values()))[0]
        column = self._column(first.start)
        head = " " * column + key + ":"
        blank = "\n" if deep and not column else ""
        yield from self._below(owner, blank + head + after_key(value, column + 2, len(head), deep=deep))
        yield from self._below(owner, f"{head} {inline(value)}")

    def _appending(self, item: Json, deep: int) -> Iterator[_Change]:
        owner = self._node(self._path)
        assert isinstance(owner, ListNode)
        if self._is_flow(owner):
            yield from self._in_flow(owner, inline(item, strict=self._strict), True)
            return
        column = self._column(owner.start)
        parted = len(owner.items) > 1 and self._blank_before(owner.items[-1])
        head = ("\n" if parted else "") + " " * column + "-"
        yield from self._below(owner, head + after_dash(item, column + 2, deep=deep))
        yield from self._below(owner, f"{head} {inline(item)}")

    def _below(self, owner: Node, lines: str) -> Iterator[_Change]:
        """Whole lines behind a block: at once, or, where blank lines belong to its last text, behind those."""
        line = _LINE.match(self._text, self._trimmed(owner))
        assert line
        yield _Change(line.end(), line.end(), f"\n{lines}")
        end = owner.end
        if end == len(self._text):
            lead = "" if self._text.endswith(("\n", "\r")) else "\n"
            yield _Change(end, end, f"{lead}{lines}\n")
        start = self._source.line_of(end)[0]
        yield _Change(start, start, f"{lines}\n")

    def _in_flow(self, owner: Node, entry: str, follows: bool) -> Iterator[_Change]:
        close = owner.end - 1
        if not follows:
            yield _Change(close, close, entry)
            return
        last = owner.items[-1] if isinstance(owner, ListNode) else [*owner.entries.values()][-1][1]  # type: ignore[union-attr]
        if owner.start < last.end <= close:
            yield _Change(last.end, last.end, f", {entry}")
        inner = len(self._text[:close].rstrip())
        yield _Change(inner, inner, f" {entry}" if self._text[inner - 1] == "," else f", {entry}")

    def _find(self) -> tuple[Node, ScalarNode | None, Node]:
        owner = self._node(self._path[:-1])
        last = self._path[-1]
        if isinstance(owner, MappingNode):
            key, node = owner.entries[str(last)]
            return owner, key, node
        assert isinstance(owner, ListNode)
        assert isinstance(last, int)
        return owner, None, owner.items[last]

    def _node(self, path: Path) -> Node:
        node = self._root
        for step in path:
            node = node.items[step] if isinstance(node, ListNode) else node.entries[step][1]  # type: ignore[union-attr,index]
        return node

    def _is_flow(self, node: Node) -> bool:
        return self._text[node.start : node.start + 1] in ("{", "[")

    def _column(self, offset: int) -> int:
        return offset - self._source.line_of(offset)[0]

    def _trimmed(self, node: Node) -> int:
        """The end of a node, without the blank lines behind a block."""
        if self._is_flow(node) or (isinstance(node, ScalarNode) and node.style not in ("|", ">")):
            return node.end
        return max(node.start, len(self._text[: node.end].rstrip()))

    def _blank_before(self, node: Node) -> bool:
        start = self._source.line_of(node.start)[0]
        lines = self._text[:start].replace("\r\n", "\n").split("\n")
        while len(lines) > 1 and lines[-1] == "":  # what follows the last break
            lines.pop()
            return lines[-1].strip() == ""
        return False


def _nodes(node: Node) -> Iterator[Node]:
    """A node and all below it; one that has an anchor comes each time that it is meant."""
    yield node
    below = node.items if isinstance(node, ListNode) else ()
    for each in [value for _, value in node.entries.values()] if isinstance(node, MappingNode) else below:
        yield from _nodes(each)


def _get(data: Json, path: Path) -> Json:
    for step in path:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            raise RewriteError(f"there is nothing at {_shown(path)}") from None
    return data


def _shown(path: Path) -> str:
    return "`" + ".".join(map(str, path)) + "`"
