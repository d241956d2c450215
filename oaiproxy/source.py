"""Where a piece of a mapping stands: a value and its place in the file, also after pieces were merged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from oaiproxy.diagnostics import Span
from oaiproxy.document import Document
from oaiproxy.jsontext import Json


class Source:
    """A value in a document. Children know their own places, even where a merge took them from elsewhere."""

    __slots__ = ("_children", "document", "path", "value")

    def __init__(
        self, document: Document, path: tuple[str | int, ...], value: Json, children: dict[str, Source] | None = None
    ) -> None:
        self.document = document
        self.path = path
        self.value = value
        self._children = children

    def __getitem__(self, key: str | int) -> Source:
        if self._children is not None and isinstance(key, str):
            return self._children[key]
        return Source(self.document, (*self.path, key), self.value[key])

    def get(self, key: str) -> Source | None:
        """The child under `key`; None where there is none, or where it is null."""
        if not isinstance(self.value, dict) or self.value.get(key) is None:
            return None
        return self[key]

    def written(self, key: str) -> bool:
        """Whether the document has a value under `key`, also one that was refused and taken out."""
        value: Any = self.document.data
        try:
            for step in (*self.path, key):
                value = value[step]
        except (KeyError, TypeError):
            return False
        return value is not None

    def items(self) -> Iterator[tuple[str, Source]]:
        """The children of a mapping, by key."""
        for key in self.value:
            yield key, self[key]

    def __iter__(self) -> Iterator[Source]:
        """The items of a list."""
        for index in range(len(self.value)):
            yield self[index]

    def span(self, *, key: bool = False) -> Span:
        """The place of the value, or of its key."""
        return self.document.span(self.path, key=key)

    def inner(self, offset: int, length: int) -> Span:
        """The place of a stretch of a scalar, given in characters of its value."""
        return self.document.inner(self.path, offset, length)


def merge(base: Source, over: Source) -> Source:
    """`over` laid on `base`: mappings merge deep, everything else replaces, null deletes."""
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return over
    children = dict(base.items())
    for key, child in over.items():
        if child.value is None:
            children.pop(key, None)
        elif key in children:
            children[key] = merge(children[key], child)
        else:
            children[key] = child
    value = {key: child.value for key, child in children.items()}
    return Source(over.document, over.path, value, children)


def leaves(source: Source) -> Iterator[Source]:
    """The texts in a tree."""
    match source.value:
        case str():
            yield source
        case dict():
            for _, child in source.items():
                yield from leaves(child)
        case list():
            for child in source:
                yield from leaves(child)
