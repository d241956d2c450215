"""Functions and methods of other languages to what does the same in a template."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from jinja2 import nodes

from oaiproxy.diagnostics import closest, did_you_mean

_METHODS = {
    "strip": "write `| trim`",
    "items": "loop over the keys: `{% for key in object %}`",
    "keys": "loop over the object itself",
    "values": "loop over the keys: `{% for key in object %}`",
    "get": "write `object.key` or `object[key]`",
    "startswith": "compare a slice: `text[:3] == 'abc'`",
    "endswith": "compare a slice: `text[-3:] == 'abc'`",
    "format": "join pieces with `~`",
    "append": "write `list + [item]`",
    "count": "write `| length`",
    "contains": "write `part in text`",
    "includes": "write `part in text`",
}
"""What to write in the place of Python's methods."""


def instead_of_function(
    name: str, arguments: Sequence[nodes.Node], filters: Iterable[str], functions: Iterable[str]
) -> str:
    """The fix for a call of what is no function; "" where none is known."""
    first, *rest = [_shown(each) for each in arguments] or ["value"]
    if name in ("contains", "includes") and rest:
        return f"write `{rest[0]} in {first}`"
    if known := did_you_mean(name, functions):
        return known
    found = closest(name, filters)
    return f"write `{first} | {found}{'(...)' if rest else ''}`" if found else ""


def instead_of_method(name: str, filters: Iterable[str]) -> str:
    """The fix for a call of a method; "" where none is known."""
    found = closest(name, filters)
    return _METHODS.get(name) or (f"write `| {found}`" if found else "")


def _shown(node: nodes.Node) -> str:
    """A name, a path or a constant as it is written; `...` for what is longer."""
    match node:
        case nodes.Name(name=name):
            return str(name)
        case nodes.Getattr(node=owner, attr=attribute):
            return f"{_shown(owner)}.{attribute}"
        case nodes.Const(value=value):
            return repr(value)
    return "..."
