"""A file's text and its YAML nodes: where each character of them stands, in offsets, lines and columns."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from oaiproxy.diagnostics import Span

Origins: TypeAlias = list[tuple[int, int]]
"""Where each character of a text was in another, as start and end."""

BREAK = r"(?:\r\n|\r|\n)"
TAG_PREFIX = "tag:yaml.org,2002:"
SCALAR_TAGS: dict[str, tuple[type, ...]] = {
    "!": (str,),
    TAG_PREFIX + "str": (str,),
    TAG_PREFIX + "int": (int,),
    TAG_PREFIX + "float": (float, int),
    TAG_PREFIX + "bool": (bool,),
    TAG_PREFIX + "null": (type(None),),
}
"""The tags that a scalar may have, and what it must then be."""


def short(text: str) -> str:
    """The text, or its beginning, for a message."""
    return text if len(text) <= 60 else text[:59] + "…"


class SourceText:
    """A file's text, and its offsets as lines and columns. Lines end at CR, LF or CRLF, as in YAML 1.2."""

    __slots__ = ("_starts", "file", "text")

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text
        self._starts = [0, *(found.end() for found in re.finditer(BREAK, text))]

    def span(self, start: int, end: int) -> Span:
        """The stretch from `start` to `end`, less the blanks and breaks at its end (a block scalar's mark has them)."""
        while end > start + 1 and self.text[end - 1] in " \t\r\n":
            end -= 1
        line, column = self.place(start)
        end_line, end_column = self.place(end)
        return Span(self.file, line, column, end_line, end_column)

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset."""
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def line_of(self, offset: int) -> tuple[int, str]:
        """The start of the line that holds `offset`, and its text."""
        start = self._starts[bisect_right(self._starts, offset) - 1]
        return start, re.compile(r"[^\r\n]*").match(self.text, start)[0]  # type: ignore[index]  # always matches


@dataclass(frozen=True, slots=True, eq=False)
class ScalarNode:
    """A single value. `size` counts nodes, `height` levels below, as in the other nodes."""

    start: int
    end: int
    style: str
    """`'`, `"`, `|`, `>`, or "" for a plain one."""
    tag: str
    text: str
    size: int = 1
    height: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class ListNode:
    """A list."""

    start: int
    end: int
    items: tuple[Node, ...]
    size: int
    height: int


@dataclass(frozen=True, slots=True, eq=False)
class MappingNode:
    """A mapping: its keys are text."""

    start: int
    end: int
    entries: Mapping[str, tuple[ScalarNode, Node]]
    size: int
    height: int


Node: TypeAlias = ScalarNode | ListNode | MappingNode

_FOLD = rf"{BREAK}(?:[ \t]*{BREAK})*[ \t]*"
_HEX = "[0-9a-fA-F]"
_ESCAPE = rf"\\(?:u[dD][89abAB]{_HEX}{{2}}\\u[dD][c-fC-F]{_HEX}{{2}}|x{_HEX}{{2}}|u{_HEX}{{4}}|U{_HEX}{{8}}|.)"
_CHARACTERS = {
    "": re.compile(rf"(?P<fold>[ \t]*{_FOLD})|[ \t]+|.", re.DOTALL),
    "'": re.compile(rf"(?P<fold>[ \t]*{_FOLD})|[ \t]+|(?P<one>'')|.", re.DOTALL),
    '"': re.compile(rf"(?P<fold>[ \t]*{_FOLD})|(?P<cut>\\{_FOLD})|[ \t]+|(?P<one>{_ESCAPE})|.", re.DOTALL),
}


def find_origins(source: SourceText, node: ScalarNode) -> Origins | None:
    """Where in the file each character of the parsed text stands; None when that is not clear."""
    find = _block_origins if node.style in ("|", ">") else _flow_origins
    return find(source.text, node)


def stretch(source: SourceText, node: ScalarNode, origins: Origins | None, start: int, end: int) -> Span:
    """The span of the parsed text from `start` to `end`, or of the whole scalar."""
    return source.span(*cut(origins, start, end)) if origins else source.span(node.start, node.end)


def cut(origins: Origins | None, start: int, end: int) -> tuple[int, int]:
    """Where a half-open range came from; what is outside is drawn in to the nearest character."""
    if origins is None:
        return start, end
    if not origins:
        return 0, 0
    start = min(max(start, 0), len(origins))
    if end <= start:
        place = origins[start][0] if start < len(origins) else origins[-1][1]
        return place, place
    if start == len(origins):
        return origins[-1][1], origins[-1][1]
    return origins[start][0], origins[min(end, len(origins)) - 1][1]


def _flow_origins(text: str, node: ScalarNode) -> Origins | None:
    quote = len(node.style)
    origins: Origins = []
    for found in _CHARACTERS[node.style].finditer(text, node.start + quote, node.end - quote):
        kind = found.lastgroup
        if kind in ("fold", "cut"):
            breaks = [each.span() for each in re.compile(BREAK).finditer(text, *found.span())]
            origins += breaks[1:] or ([found.span()] if kind == "fold" else [])
        elif kind == "one":
            origins.append(found.span())
        else:
            origins += [(offset, offset + 1) for offset in range(*found.span())]
    return origins if len(origins) == len(node.text) else None


@dataclass(frozen=True, slots=True)
class _Line:
    start: int
    end: int
    next: int
    text: str


def _block_origins(text: str, node: ScalarNode) -> Origins | None:
    """The indentation is found by trying: it may have been given relative to a parent that is not known here."""
    header, *lines = [
        _Line(found.start(), found.end(1), found.end(), found[1])
        for found in re.compile(rf"([^\r\n]*)(?:{BREAK}|\Z)").finditer(text, node.start, node.end)
        if found.start() < node.end
    ]
    indents = [len(line.text) - len(line.text.lstrip(" ")) for line in lines]
    written = [indent for indent, line in zip(indents, lines, strict=True) if line.text.strip(" ")]
    chomping = header.text.partition("#")[0]
    for indent in range(min(written, default=max(indents, default=0)), -1, -1):
        origins = _block_lines(lines, indent, folded=node.style == ">", chomping=chomping)
        if len(origins) == len(node.text):
            return origins
    return None


def _block_lines(lines: Sequence[_Line], indent: int, *, folded: bool, chomping: str) -> Origins:
    # https://yaml.org/spec/1.2.2/#813-folded-style: a break between two lines of text is a space, or nothing before
    # empty lines; breaks next to more indented lines stay.
    origins: Origins = []
    pending: Origins = []  # the breaks since the last line of text, its own first
    before: str | None = None
    for line in lines:
        shown = line.text[indent:]
        line_break = [(line.end, line.next)] if line.next > line.end else []
        if not shown:
            pending += line_break
            continue
        if folded and before is not None and before[0] not in " \t" and shown[0] not in " \t" and len(pending) > 1:
            del pending[0]
        origins += pending
        origins += [(offset, offset + 1) for offset in range(line.start + indent, line.end)]
        pending, before = line_break, shown
    kept = {True: len(pending), False: 0 if before is None else 1}["+" in chomping]
    return origins if "-" in chomping else origins + pending[:kept]
