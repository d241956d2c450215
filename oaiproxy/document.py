"""YAML text to plain data that remembers where each value, and each character of it, stands in the file.

The YAML is version 1.2 with its core schema (https://yaml.org/spec/1.2.2/#103-core-schema): PyYAML's parser is used for
the syntax alone, since its loaders read 1.1. `${VAR}`, `${VAR:-default}` and `${file:/path}` are replaced in the parsed
values. Everything wrong is a `Diagnostic`; nothing here raises, reads files or looks at the environment by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from oaiproxy.composer import compose
from oaiproxy.diagnostics import Diagnostic, Span, concealed_in
from oaiproxy.jsontext import Json
from oaiproxy.layers import Bases, Layers, Origin, attributed, lay
from oaiproxy.nodes import ListNode, MappingNode, Node, ScalarNode, SourceText, cut, find_origins, stretch
from oaiproxy.scalars import Builder, Path, Reference, Value, references
from oaiproxy.sealing import Seal
from oaiproxy.secretwords import in_broken

__all__ = ["Document", "Path", "load_document", "position"]

_FATAL = {"E001", "E003", "E004", "E005"}


def load_document(
    text: str,
    *,
    file: str,
    environment: Mapping[str, str],
    read_file: Callable[[str], str],
    bases: Bases | None = None,
    key: str = "",
) -> tuple[Document | None, list[Diagnostic]]:
    """Read one mapping or configuration file.

    `file` is its name in the spans. `read_file` gives the content of `${file:...}`, the path as written, or raises
    `OSError`. With `bases`, the file is laid over the mapping that its `extends` names; `key` tells it from others.
    Without E001, E003, E004, E005, E107 and E108 there is a document, whose `unresolved` values stand as "".
    """
    source = SourceText(file, text.removeprefix("\ufeff"))
    root, found = compose(source)
    texts = {file: source.text}
    if root is None:
        return None, _discreet(found, texts)
    if not isinstance(root, MappingNode):
        return None, _discreet([*found, _not_a_mapping(source, root)], texts)
    layers = lay(root, source, bases, key) if bases else Layers(root)
    found = [*found, *layers.found]
    if layers.broken:
        return None, [attributed(each, layers.extended) for each in _discreet(found, texts | layers.texts)]
    root = layers.root
    builder = Builder(Origin(source, read_file), layers.origins, environment)
    data = builder.build(root, ())
    found = sorted([*found, *builder.found], key=lambda each: position(each, file))
    if any(each.code in _FATAL for each in found):
        return None, _discreet(found, texts | layers.texts)
    document = Document(
        file=file,
        text=source.text,
        data=data,
        unresolved=frozenset(builder.unresolved),
        outside=builder.secrets,
        extended=layers.extended,
        _source=source,
        _read_file=read_file,
        _root=root,
        _values=builder.values,
        _origins=layers.origins,
    )
    return document, found


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """One file as data. `text` is without byte order mark; `outside` has the values that came out of `${...}`, each
    with a reference that stands for it.

    `extended` has the files that it is laid over, and for each the one that extends it: spans may be in any of them.
    What an alias stands for has the span of the anchored original.
    """

    file: str
    text: str = field(repr=False)
    data: dict[str, Json] = field(repr=False)
    unresolved: frozenset[Path]
    outside: Mapping[str, str] = field(repr=False)
    extended: Mapping[str, str]
    _source: SourceText = field(repr=False)
    _read_file: Callable[[str], str] = field(repr=False)
    _root: Node = field(repr=False)
    _values: Mapping[ScalarNode, Value] = field(repr=False)
    _origins: Mapping[Node, Origin] = field(repr=False)

    def span(self, path: Path, *, key: bool = False) -> Span:
        """Where the value at `path`, or its key, stands; the nearest existing parent when there is no such path."""
        key_node, node = self._find(path)
        found = key_node if key and key_node else node
        return self._source_of(found).span(found.start, found.end)

    def inner(self, path: Path, offset: int, length: int) -> Span:
        """Where `length` characters from `offset` of the scalar at `path` stand; offsets count in the final value."""
        node = self._find(path)[1]
        if not isinstance(node, ScalarNode) or not self._values[node].resolved:
            return self._source_of(node).span(node.start, node.end)
        start, end = cut(self._values[node].origins, offset, offset + length)
        return stretch(self._source_of(node), node, find_origins(self._source_of(node), node), start, end)

    def written(self, path: Path) -> str | None:
        """The scalar at `path` as its author wrote it, where `${...}` was replaced in it; None elsewhere."""
        node = self._find(path)[1]
        if not isinstance(node, ScalarNode):
            return None
        value = self._values.get(node)  # none where what it refers to could not be taken
        return node.text if value is not None and value.origins is not None else None

    @property
    def secrets(self) -> frozenset[str]:
        """The values that came out of `${...}`."""
        return frozenset(self.outside)

    @property
    def sources(self) -> dict[str, str]:
        """The texts of the file and of those that it is laid over, by their names in spans."""
        own = {self._source.file: self._source.text}
        return own | {origin.source.file: origin.source.text for origin in self._origins.values()}

    @property
    def references(self) -> list[Reference]:
        """What the values refer to in the environment and in files, in the order of the text, each time it is."""
        return [found for node in self._values for found in references(node.text)]

    def written_at(self, span: Span) -> str | None:
        """The scalar where a span begins, as its author wrote it, if `${...}` was replaced in it; None elsewhere."""
        begin = (span.line, span.column)
        for node, value in self._values.items():
            around = self._source_of(node).span(node.start, node.end) if value.origins is not None else None
            if (
                around
                and around.file == span.file
                and (around.line, around.column) <= begin <= (around.end_line, around.end_column)
            ):
                return node.text
        return None

    def reader(self, path: Path) -> Callable[[str], str]:
        """What reads the files that the value at `path` names: relative to the file that it stands in."""
        origin = self._origins.get(self._find(path)[1])
        return origin.read_file if origin else self._read_file

    def _source_of(self, node: Node) -> SourceText:
        origin = self._origins.get(node)
        return origin.source if origin else self._source

    def _find(self, path: Path) -> tuple[ScalarNode | None, Node]:
        key: ScalarNode | None = None
        node = self._root
        for step in path:
            if isinstance(node, MappingNode) and isinstance(step, str) and step in node.entries:
                key, node = node.entries[step]
            elif isinstance(node, ListNode) and isinstance(step, int) and 0 <= step < len(node.items):
                key, node = None, node.items[step]
            else:
                break
        return key, node


def position(found: Diagnostic, file: str) -> tuple[bool, str, int, int]:
    """What findings are sorted by: those of the file first, then those of the files that it extends."""
    span = found.span
    return (span.file != file, span.file, span.line, span.column) if span else (False, "", 0, 0)


def _discreet(found: list[Diagnostic], texts: Mapping[str, str]) -> list[Diagnostic]:
    """The findings about files that cannot be read, which tell no secret of the lines that they show."""
    more = list(in_broken(texts, found))
    sealed = Seal({}, concealed_in(more, texts))
    return [sealed.finding(each) for each in (*found, *more)]


def _not_a_mapping(source: SourceText, root: Node) -> Diagnostic:
    if isinstance(root, ScalarNode) and not root.text and not root.style:
        return Diagnostic("E004", "the file is empty", source.span(0, 0), help="write `key: value` lines")
    kind = "list" if isinstance(root, ListNode) else "single value"
    span = source.span(root.start, root.end)
    return Diagnostic("E004", f"the top level is a {kind}, not a mapping", span, help="write `key: value` lines")
