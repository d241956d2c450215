"""The `$` directives of trees, and the keys that are meant to be one and are written otherwise."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from typing import Any

from jinja2 import TemplateError, nodes

from oaiproxy.diagnostics import closest, did_you_mean
from oaiproxy.sandbox import Sandbox
from oaiproxy.templates import has_template

DIRECTIVES = {
    "$for": "repeat a list item: `$for: x in list` or `$for: x in list if condition`",
    "$items": "beside `$for`: a list of items for each, in the place of one",
    "$let": "local names for the subtree: `$let: {name: tree}`",
    "$if": "absent when false; with `$then` and `$else`, choose a subtree",
    "$then": "the subtree when `$if` is true",
    "$else": "the subtree when `$if` is false",
    "$match": "choose by value, among `$cases`",
    "$cases": "the subtrees of `$match` by value; `$else` is the rest",
    "$value": "the node is this value",
    "$merge": "a list of trees merged under the explicit keys",
    "$keep_empty": "keep the node even when nothing is left in it",
}
_SYNONYMS = dict.fromkeys(("$default", "$otherwise"), "$else")
_LOOP = re.compile(r"\A\s*(\w+)\s+in\s+\S")
"""The name that a loop binds."""
_CHOICE = ("then", "else")


def instead_of(key: str, known: Iterable[str]) -> str:
    """The fix for an unknown directive."""
    known = list(known)
    synonym = _SYNONYMS.get(key)
    meant = f"did you mean `{synonym}`?" if synonym in known else did_you_mean(key, known)
    return meant or f"a literal key is written `${key}`"


def meant_by(key: str, node: dict[str, Any], known: Container[str], sandbox: Sandbox) -> str:
    """The directive that a plain key of a node is surely meant for, which the node lacks; "" where it is not so."""
    return _meant_to_choose(key, node) or _meant_to_bind(key, node, known, sandbox)


def _meant_to_choose(key: str, node: dict[str, Any]) -> str:
    """`then` and `else`, where the node chooses by `$if` and has no other keys of its own."""
    if key not in _CHOICE or "$if" not in node or f"${key}" in node:
        return ""
    alone = all(name in _CHOICE or (name.startswith("$") and not name.startswith("$$")) for name in node)
    return f"${key}" if alone and ("$then" in node or "then" in node) else ""


def _meant_to_bind(key: str, node: dict[str, Any], known: Container[str], sandbox: Sandbox) -> str:
    """`$for` or `$let`: what it would bind is read in a template beside it, and, if the key is misspelled too, is no
    name that is known.
    """
    match node[key]:
        case str() as operand:
            directive, names = "$for", set(_LOOP.findall(operand))
        case dict() as operand:
            directive, names = "$let", {name for name in operand if name.isidentifier()}
        case _:
            return ""
    if not names or len(key) > 5 or directive in node or not closest(f"${key}", [directive], 0.8):
        return ""
    if f"${key}" != directive and ("*" in known or any(name in known for name in names)):
        return ""
    read = _read({name: child for name, child in node.items() if name != key}, sandbox)
    return "" if names.isdisjoint(read) else directive


def _read(value: Any, sandbox: Sandbox) -> set[str]:
    """The names that the templates of a tree read and that nothing in it binds."""
    match value:
        case str() if has_template(value):
            return _read_in(value, sandbox)
        case dict():
            own = value.get("$let")
            names = {*(own if isinstance(own, dict) else ()), *_LOOP.findall(str(value.get("$for")))}
            return set().union(*(_read(child, sandbox) for child in value.values())) - names
        case list():
            return set().union(*(_read(child, sandbox) for child in value))
    return set()


def _read_in(template: str, sandbox: Sandbox) -> set[str]:
    try:
        names = list(sandbox.tree(template).find_all(nodes.Name))
    except (TemplateError, ValueError, RecursionError):
        return set()  # it is told of the template itself
    return {name.name for name in names if name.ctx == "load"} - {name.name for name in names if name.ctx != "load"}
