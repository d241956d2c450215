"""Two trees of templates to what is laid over the one to make the other."""

from __future__ import annotations

from oaiproxy.jsontext import Json
from oaiproxy.yamlwriter import Note


def laid(whole: Json, other: Json) -> Json:
    """What is laid over one tree of templates to make the other. What the client may leave out is no difference."""
    if not isinstance(whole, dict) or not isinstance(other, dict):
        return other
    made: dict[str, Json] = {}
    for key, value in other.items():
        if key not in whole:
            made[key] = value
        elif whole[key] != value:
            over = laid(whole[key], value)
            if over or not isinstance(over, dict):
                made[key] = over
    for key, value in whole.items():
        if key not in other and not _may_lack(value):
            made[key] = None
    return made


def _may_lack(tree: Json) -> bool:
    """Whether all of a tree goes where the client does not send what it is made of."""
    match tree:
        case Note(value=value):
            return _may_lack(value)
        case dict():
            return "$if" in tree or all(map(_may_lack, tree.values()))
        case list():
            return all(map(_may_lack, tree))
    return isinstance(tree, str) and tree.startswith("{{") and tree != "{{ stream }}"
