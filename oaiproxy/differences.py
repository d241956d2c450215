"""Two values to where they first differ, in words: an example's and the one that came."""

from __future__ import annotations

from dataclasses import dataclass

from oaiproxy import jsontext
from oaiproxy.document import Path
from oaiproxy.jsontext import Json


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two values first differ, as the steps to it, and how."""

    path: Path
    text: str


def difference(
    wanted: Json, made: Json, path: Path = (), *, exact: bool = True, open_: bool = False
) -> Difference | None:
    """Where two values first differ, types included. Without `exact`, objects may have more keys.

    With `open_`, null wants a value that may be any.
    """
    if open_ and wanted is None:
        return None
    if type(wanted) is not type(made):
        return Difference(path, f"{_typed(wanted)} expected, {_typed(made)} came")
    if isinstance(wanted, dict):
        for key in wanted:
            if key not in made:
                return Difference((*path, key), "expected, and did not come")
            if found := difference(wanted[key], made[key], (*path, key), exact=exact, open_=open_):
                return found
        extra = [key for key in made if key not in wanted]
        return Difference((*path, extra[0]), f"{_shown(made[extra[0]])} came too") if exact and extra else None
    if isinstance(wanted, list):
        for index, (one, other) in enumerate(zip(wanted, made, strict=False)):
            if found := difference(one, other, (*path, index), exact=exact, open_=open_):
                return found
        same = len(wanted) == len(made)
        return None if same else Difference(path, f"{len(wanted)} items expected, {len(made)} came")
    return None if wanted == made else Difference(path, f"{_shown(wanted)} expected, {_shown(made)} came")


def place_name(path: Path) -> str:
    """A place as findings call it: `body.messages[0].role`."""
    name = ""
    for step in path:
        name += f"[{step}]" if isinstance(step, int) else f".{step}" if name else step
    return name


def _typed(value: Json) -> str:
    """A value with its type, where the two do not look different."""
    match value:
        case None | bool():
            return _shown(value)
        case int():
            return f"the integer {_shown(value)}"
        case float():
            return f"the fractional number {_shown(value)}"
        case str():
            return f"the string {_shown(value)}"
        case list():
            return f"the list {_shown(value)}"
    return f"the object {_shown(value)}"


def _shown(value: Json) -> str:
    text = jsontext.dump(value).decode()
    return text if len(text) <= 80 else text[:79] + "…"
