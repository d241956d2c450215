"""YAML text to nodes, within bounds: the syntax is PyYAML's, the meaning of tags, anchors and keys is ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NoReturn

import yaml

from oaiproxy.diagnostics import Diagnostic, did_you_mean
from oaiproxy.nodes import SCALAR_TAGS, TAG_PREFIX, ListNode, MappingNode, Node, ScalarNode, SourceText, short
from oaiproxy.syntax import runaway_quote, syntax_error, unquoted_template

MAX_BYTES = 1 << 20
MAX_DEPTH = 50
MAX_NODES = 100_000
"""Counted after the expansion of aliases."""
MAX_SLOW = 20_000
"""Nodes before an error up to which Python's parser looks for it too, at some 60 microseconds each."""

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# What PyYAML takes for a sign and YAML 1.2 does not is hidden from it behind private-use characters. YAML 1.1 ends
# lines at the first three; the last is a sign only where a token begins, which Python's parser alone does not know.
_HIDDEN = (
    *((re.compile(sign), ord(sign)) for sign in ("\x85", "\u2028", "\u2029")),
    (re.compile(r"(?<=[^\s,\[\]{}])\?|(?<=\w )\?"), ord("?")),
)
_PROPERTIES = re.compile(r"(?:[&!]\S*(?:\s+(?:#[^\r\n]*\s+)*|\Z))+")
_TAG = re.compile(r"(?<!\S)![^\s,\]}]*|![^\s,\]}]*")
_SURROGATE = re.compile("[\ud800-\udfff]")
_COLLECTION_TAGS = {TAG_PREFIX + "map", TAG_PREFIX + "seq"}


class _Stop(Exception):
    """Nothing after this point can be read; the reason is among the diagnostics."""


def compose(source: SourceText) -> tuple[Node | None, list[Diagnostic]]:
    """The file's root node, and what is wrong; there is no node where nothing could be read."""
    if len(source.text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        return None, [
            Diagnostic("E005", "the file is larger than 1 MiB", source.span(0, 0), help="keep data out of it")
        ]
    if unprintable := _UNPRINTABLE.search(source.text):
        code = ord(unprintable[0])
        message = f"the character U+{code:04X} is not allowed in YAML"
        help_ = "remove it, or write it as an escape in double quotes"
        if 0xDC80 <= code <= 0xDCFF:  # how the surrogateescape handler shows a byte that it cannot decode
            message, help_ = f"the byte 0x{code - 0xDC00:02X} is not UTF-8", "save the file as UTF-8"
        return None, [Diagnostic("E001", message, source.span(*unprintable.span()), help=help_)]
    # libyaml is some 20 times faster; Python's parser says better what is wrong, and reads JSON's surrogate pairs.
    composer, error = _run(source, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    few = composer.total <= MAX_SLOW
    if error is not None and (few or "escape" in str(error)):
        composer, error = _run(source, yaml.SafeLoader)
    if error is not None:
        flow = next((frame.start for frame in reversed(composer.frames) if frame.flow), None)
        fault = syntax_error(source, error, flow)
        runaway = runaway_quote(source, _line(composer.found, fault)) if few else None
        if runaway is not None:
            end, fault = runaway
            composer.found = [each for each in composer.found if each.span is None or each.span.line < end]
        lines = {each.span.line for each in composer.found if each.span}
        if fault.span and fault.span.line not in lines:  # else it is the rest of what was found already
            composer.found.append(fault)
    return composer.root, composer.found


def _line(found: list[Diagnostic], fault: Diagnostic) -> int:
    """The first line with something wrong."""
    return min(each.span.line for each in (*found, fault) if each.span)


def _run(source: SourceText, loader: type[yaml.SafeLoader]) -> tuple[_Composer, Exception | None]:
    unused = (code for code in range(0xE000, 0xF900) if chr(code) not in source.text)
    text = source.text
    hidden: dict[int, int] = {}
    for pattern, sign in _HIDDEN if loader is yaml.SafeLoader else _HIDDEN[:-1]:
        if pattern.search(text) and (shown := next(unused, None)):
            text = pattern.sub(chr(shown), text)
            hidden[shown] = sign
    composer = _Composer(source, hidden)
    try:
        for event in yaml.parse(text, Loader=loader):
            composer.feed(event)
    except _Stop:
        composer.root = None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # PyYAML lets those of its chr() and int() through
        composer.root = None
        return composer, error
    return composer, None


@dataclass(slots=True)
class _Frame:
    """A collection whose end has not been seen; `end` is that of its last child so far."""

    kind: type[ListNode] | type[MappingNode]
    start: int
    end: int
    flow: bool
    template: bool
    anchor: str | None
    children: list[Node] = field(default_factory=list)


class _Composer:
    """Builds nodes from events. Aliases share their nodes; sizes and depths are counted as if they did not."""

    def __init__(self, source: SourceText, hidden: Mapping[int, int]) -> None:
        self.root: Node | None = None
        self.found: list[Diagnostic] = []
        self.frames: list[_Frame] = []
        self._source = source
        self._hidden = hidden
        self._anchors: dict[str, Node | None] = {}
        self._documents = 0
        self.total = 0

    def feed(self, event: yaml.Event) -> None:
        start, end = (mark.index if mark else 0 for mark in (event.start_mark, event.end_mark))
        match event:
            case yaml.ScalarEvent():
                self._scalar(event, start, end)
            case yaml.MappingStartEvent():
                self._open(event, MappingNode, start, end)
            case yaml.SequenceStartEvent():
                self._open(event, ListNode, start, end)
            case yaml.CollectionEndEvent():
                self._close(end)
            case yaml.AliasEvent():
                self._alias(event.anchor or "", start, end)
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    self._stop("E003", "a second document starts here", start, end, "keep one document to a file")
            case yaml.StreamEndEvent() if self.root is None:
                self.root = ScalarNode(0, 0, "", "", "")

    def _scalar(self, event: yaml.ScalarEvent, start: int, end: int) -> None:
        content = self._content(event, start, end)
        text = event.value.translate(self._hidden) if self._hidden else event.value
        if _SURROGATE.search(text):
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        self._anchored(event.anchor, ScalarNode(content, end, event.style or "", event.tag or "", text), end)
        if event.tag and event.tag not in SCALAR_TAGS:
            self._refuse_tag(start, end)

    def _content(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, start: int, end: int) -> int:
        """Where the node itself begins: its mark begins at its tag or anchor."""
        if event.anchor is None and event.tag is None:
            return start
        found = _PROPERTIES.match(self._source.text, start, end)
        return found.end() if found else start

    def _refuse_tag(self, start: int, end: int) -> None:
        tag = _TAG.search(self._source.text, start)
        name, start, end = (tag[0], *tag.span()) if tag else ("!", start, end)
        self._report("E003", f"the tag `{name}` is not supported", start, end, "remove the tag")

    def _open(
        self, event: yaml.CollectionStartEvent, kind: type[ListNode] | type[MappingNode], start: int, end: int
    ) -> None:
        if event.tag and event.tag not in _COLLECTION_TAGS:
            self._refuse_tag(start, end)
        start = self._content(event, start, end)
        template = bool(self.frames) and self.frames[-1].template
        if not template and event.flow_style and self._source.text.startswith("{{", start):
            template = True
            self.found.append(unquoted_template(self._source, start))
        if len(self.frames) >= MAX_DEPTH:
            self._stop("E005", f"nested deeper than {MAX_DEPTH} levels", start, end, "take a level out")
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self.frames.append(_Frame(kind, start, end, bool(event.flow_style), template, event.anchor))

    def _close(self, end: int) -> None:
        frame = self.frames.pop()
        size = 1 + sum(child.size for child in frame.children)
        height = 1 + max((child.height for child in frame.children), default=0)
        if not frame.flow:  # the mark is where the next token begins
            end = frame.end
        node: Node
        if frame.kind is ListNode:
            node = ListNode(frame.start, end, tuple(frame.children), size, height)
        else:
            node = MappingNode(frame.start, end, self._entries(frame), size, height)
        self._anchored(frame.anchor, node, end)

    def _entries(self, frame: _Frame) -> dict[str, tuple[ScalarNode, Node]]:
        entries: dict[str, tuple[ScalarNode, Node]] = {}
        if frame.template:
            return entries
        for key, value in zip(frame.children[::2], frame.children[1::2], strict=True):
            if not isinstance(key, ScalarNode):
                self._report(
                    "E003", "a key must be text, not a list or mapping", key.start, key.end, "put it in quotes"
                )
            elif key.text == "<<" and not key.style:
                self._report(
                    "E003",
                    "YAML 1.2 has no merge key `<<`",
                    key.start,
                    key.end,
                    "write the keys out, or use `$merge` in a body",
                )
            elif key.text in entries:
                self._duplicate(key, entries[key.text][0])
            else:
                entries[key.text] = (key, value)
        return entries

    def _duplicate(self, key: ScalarNode, first: ScalarNode) -> None:
        span = self._source.span(key.start, key.end)
        label = f"first defined on line {self._source.place(first.start)[0]}"
        self.found.append(
            Diagnostic("E002", f"duplicate key `{short(key.text)}`", span, label, "remove one of the two")
        )

    def _alias(self, anchor: str, start: int, end: int) -> None:
        node = self._anchors.get(anchor)
        if node is None:
            self._unusable_alias(anchor, start, end)
            node = ScalarNode(start, end, "", "", "")
        if self.frames and self.frames[-1].kind is MappingNode and len(self.frames[-1].children) % 2 == 0:
            node = replace(node, start=start, end=end)  # a key stands where it is written
        if len(self.frames) + node.height > MAX_DEPTH:
            self._stop(
                "E005", f"`*{anchor}` makes this nested deeper than {MAX_DEPTH} levels", start, end, "take a level out"
            )
        self._add(node, end, node.size)

    def _unusable_alias(self, anchor: str, start: int, end: int) -> None:
        if anchor in self._anchors:
            self._report("E003", f"`*{anchor}` stands inside its own anchor", start, end, "write the value out")
            return
        help_ = f"define it before with `&{anchor}`, or put the value in quotes"
        label = did_you_mean(anchor, self._anchors)
        span = self._source.span(start, end)
        self.found.append(Diagnostic("E003", f"there is no anchor `{anchor}`", span, label, help_))

    def _anchored(self, anchor: str | None, node: Node, end: int) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        self._add(node, end, 1)

    def _add(self, node: Node, end: int, count: int) -> None:
        self.total += count
        if self.total > MAX_NODES:
            self._stop("E005", f"more than {MAX_NODES} values, with aliases written out", end, end, "use fewer aliases")
        if self.frames:
            self.frames[-1].children.append(node)
            self.frames[-1].end = end
        else:
            self.root = node

    def _report(self, code: str, message: str, start: int, end: int, help_: str = "") -> None:
        self.found.append(Diagnostic(code, message, self._source.span(start, end), help=help_))

    def _stop(self, code: str, message: str, start: int, end: int, help_: str = "") -> NoReturn:
        self._report(code, message, start, end, help_)
        raise _Stop
