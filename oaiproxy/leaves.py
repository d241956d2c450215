"""A JSON value to its leaves, each with its path, and a path to a selector."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from oaiproxy.jsontext import Json

Path: TypeAlias = tuple[str | int, ...]
"""Keys and places in lists, from the outermost."""

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def leaves(value: Json, path: Path = ()) -> Iterator[tuple[Path, Json]]:
    """Every text, number, boolean and null in a value, in its order; empty lists and objects too."""
    match value:
        case dict() if value:
            for key, item in value.items():
                yield from leaves(item, (*path, key))
        case list() if value:
            for index, item in enumerate(value):
                yield from leaves(item, (*path, index))
        case _:
            yield path, value


def inner(value: Json, path: Path = ()) -> Iterator[tuple[Path, Json]]:
    """Every list and object in a value with its path, the outermost first."""
    if isinstance(value, dict | list):
        yield path, value
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from inner(item, (*path, key))


def at(value: Json, path: Path) -> Json:
    """What stands at a path; None where nothing does."""
    for step in path:
        listed = isinstance(value, list) and isinstance(step, int) and -len(value) <= step < len(value)
        if not listed and not (isinstance(value, dict) and step in value):
            return None
        value = value[step]
    return value


def rebuilt(
    value: Json,
    edits: Mapping[Path, Json],
    constant: Callable[[Json], Json],
    path: Path = (),
    name: Callable[[str], str] = str,
) -> Json:
    """The value with what `edits` put in place of its parts.

    All other leaves are what `constant` makes of them, and keys what `name` does.
    """
    if path in edits:
        return edits[path]
    match value:
        case dict() if value:
            return {name(key): rebuilt(item, edits, constant, (*path, key), name) for key, item in value.items()}
        case list() if value:
            return [rebuilt(item, edits, constant, (*path, index), name) for index, item in enumerate(value)]
        case _:
            return constant(value)


def selector(path: Path) -> str:
    """The JMESPath expression that selects what stands at a path."""
    made = ""
    for step in path:
        if isinstance(step, int):
            made += f"[{step}]"
        else:
            name = step if _PLAIN.fullmatch(step) else json.dumps(step, ensure_ascii=False)
            made += f".{name}" if made else name
    return made or "@"


def keys(path: Path) -> list[str]:
    """The keys of a path, without places in lists, as `plain` writes them."""
    return [plain(step) for step in path if isinstance(step, str)]


def plain(name: str) -> str:
    """A name as it is compared: small letters and digits alone, so that `maxTokens` is `max_tokens`."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
