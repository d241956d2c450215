"""A tree to YAML as a person writes it: short things on one line, quotes where they are needed, comments."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from oaiproxy.jsontext import Json

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
        yield from _entry(f"{scalar(key, key=True)}:", value, indent, indent + "  ")


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
        alone = isinstance(value, str) and (_ADDRESS.fullmatch(value) or _is_plain(value, _SAFE_ALONE))
        return value if alone else scalar(value)
    if value and (isinstance(value, Block) or _noted(value)):
        return None
    made = _flow(value)
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


def _flow(value: Json) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{scalar(key, key=True)}: {_flow(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ", ".join(_flow(item) for item in value) + "]"
    return scalar(value)


_FORBIDDEN = r"\x00-\x1f\x7f-\xa0\u2028\u2029\ufeff\ud800-\udfff{}\"`\\#"
_SAFE = re.compile(rf"[\w/.$(][^{_FORBIDDEN}\[\],]*")
_SAFE_ALONE = re.compile(rf"[\w/.$(][^{_FORBIDDEN}]*")
"""What stands without quotes on a line of its own, where brackets and commas end nothing."""
_ADDRESS = re.compile(r"\$\{[A-Z_][A-Z0-9_]*(:-https?://[A-Za-z0-9.:/_-]+)?\}")
"""A reference that stands without quotes, where nothing stands around it."""
_TYPED = re.compile(
    r"~|null|true|false|yes|no|on|off|[-+]?(\.\d+|\d+(\.\d*)?)(e[-+]?\d+)?|0x[0-9a-f]+|0o[0-7]+|[-+]?\.inf|\.nan|[-+\d:._]+",
    re.IGNORECASE,
)
_SAFE_KEY = re.compile(r"[A-Za-z_$][A-Za-z0-9_$./-]*")


def scalar(value: Json, *, key: bool = False) -> str:
    """One value that is neither list nor object."""
    match value:
        case None:
            return "~"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return json.dumps(value)
        case str() if key:
            return value if _SAFE_KEY.fullmatch(value) and _is_text(value) else json.dumps(value)
    if _is_plain(value, _SAFE):
        return str(value)
    return json.dumps(value, ensure_ascii=not value.isprintable())


def _is_plain(value: str, safe: re.Pattern[str]) -> bool:
    return bool(safe.fullmatch(value)) and not re.search(r":(\s|$)|\s$", value) and _is_text(value)


def _is_text(value: str) -> bool:
    """Whether YAML reads it as text where it stands without quotes."""
    return not _TYPED.fullmatch(value)
