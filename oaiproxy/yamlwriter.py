"""A tree to YAML as a person writes it: short things on one line, quotes where they are needed, comments."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from oaiproxy.jsontext import Json
from oaiproxy.yamltext import inline, scalar

WIDTH = 110
"""Characters of a line."""


@dataclass(frozen=True, slots=True)
class Note:
    """A value with a comment: behind it, or, where it is something to do, in a line above it."""

    value: Json
    comment: str


@dataclass(frozen=True, slots=True)
class Remark:
    """A comment in a line of its own: a key of a mapping, whose value is nothing."""

    comment: str


class Block(dict[Json, Json]):
    """A mapping that takes lines of its own, however short it is."""


class Literal(str):
    """Text of many lines, which stands as it is."""

    __slots__ = ()


def escaped(text: str) -> str:
    """Constant text where templates and references are read: what would be one is written so that it stands."""
    text = text.replace("${", "$${")
    if not re.search(r"\{[{%#]", text):
        return text
    quoted = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"{{{{ '{quoted}' }}}}"


def literal(value: Json) -> Json:
    """A sample as it stands in examples, where only references are read."""
    match value:
        case dict():
            return {key: literal(item) for key, item in value.items()}
        case list():
            return [literal(item) for item in value]
        case str():
            return value.replace("${", "$${")
    return value


def to_yaml(tree: Mapping[Json, Json]) -> str:
    """The document, with a line break at its end."""
    return "\n".join(_mapping(tree, "")) + "\n"


def _mapping(tree: Mapping[Json, Json], indent: str) -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(key, Remark):
            yield from (f"{indent}# {line}".rstrip() for line in key.comment.split("\n")) if key.comment else ("",)
            continue
        yield from _entry(scalar(key, "key") + ":", value, indent, indent + "  ")


def _list(items: list[Json], indent: str) -> Iterator[str]:
    for index, item in enumerate(items):
        if index and isinstance(item, Block):
            yield ""
        plain = item.value if isinstance(item, Note) else item
        if isinstance(plain, dict) and plain and _short(plain, len(indent) + 2) is None:
            if isinstance(item, Note):
                yield f"{indent}# {item.comment}"
            first, *rest = _mapping(plain, indent + "  ")
            while first.lstrip().startswith("#"):  # a comment before the first key goes before the item
                yield indent + first.lstrip()
                first, *rest = rest
            yield f"{indent}- {first[len(indent) + 2 :]}"
            yield from rest
        else:
            yield from _entry("-", item, indent, indent + "  ")


def _entry(head: str, value: Json, indent: str, deeper: str) -> Iterator[str]:
    comment = ""
    if isinstance(value, Note):
        value, comment = value.value, value.comment
        if comment.startswith("TODO"):
            yield f"{indent}# {comment}"
            comment = ""
    behind = f"    # {comment}" if comment else ""
    if isinstance(value, Literal):
        yield f"{indent}{head} |{_kept(value)}{behind}"
        yield from (f"{deeper}{line}" if line else "" for line in value.removesuffix("\n").split("\n"))
        return
    short = _short(value, len(indent) + len(head) + 1)
    if short is not None:
        yield f"{indent}{head} {short}{behind}"
    elif isinstance(value, dict):
        yield f"{indent}{head}{behind}"
        yield from _mapping(value, deeper)
    else:
        yield f"{indent}{head}{behind}"
        yield from _list(value, deeper)


def _kept(text: str) -> str:
    """What says which line breaks at the end of a block belong to it."""
    return "-" if not text.endswith("\n") else "+" if text.endswith("\n\n") else ""


def _short(value: Json, room_taken: int) -> str | None:
    """The value on one line, where that is how one would write it."""
    if not isinstance(value, dict | list):
        return scalar(value, "alone")
    if value and (isinstance(value, Block) or _noted(value)):
        return None
    made = inline(value)
    return made if not value or len(made) + room_taken <= WIDTH else None


def _noted(value: Json) -> bool:
    match value:
        case Note() | Remark() | Literal() | Block():
            return True
        case dict():
            return any(_noted(key) or _noted(item) for key, item in value.items())
        case list():
            return any(_noted(item) for item in value)
    return False
