"""A tool call's arguments told in pieces, each at a path of its own, to the object that they make."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

from oaiproxy.errors import BackendError
from oaiproxy.jsontext import Json

MAX_STEPS = 64
"""Steps of one path."""
_STEP = re.compile(r"""\.(\w[\w-]*)|\[(\d{1,6})\]|\[(?:'([^'\\]*)'|"([^"\\]*)")\]""")


class Pieces:
    """An object that grows. A path is `$` and steps `.name`, `[0]`, `['a name']` (RFC 9535, without wildcards)."""

    def __init__(self) -> None:
        self._value: Json = {}
        self._path: str | None = None
        """The path of the text that goes on in the next piece."""
        self._text: list[str] = []
        """That text so far."""

    def add(self, piece: Json) -> None:
        """Put `{path, value, more}` in its place. Raises BackendError when it has none."""
        if not isinstance(piece, dict) or not isinstance(piece.get("path"), str):
            raise _mismatch("a piece of a tool call's arguments has no path")
        path, value = piece["path"], piece.get("value")
        if path != self._path:
            self._settle()
        if isinstance(value, str):
            self._path = path
            self._text.append(value)
        elif self._path is None:
            self._put(path, value)
        if not piece.get("more"):
            self._settle()

    def whole(self) -> Json:
        """What all pieces make."""
        self._settle()
        return self._value

    def _settle(self) -> None:
        if self._path is not None:
            path, text = self._path, "".join(self._text)
            self._path = None
            self._text.clear()
            self._put(path, text)

    def _put(self, path: str, value: Json) -> None:
        steps = _steps(path)
        if not steps:
            self._value = value
            return
        owner: Any = self._value
        for step, following in pairwise(steps):
            owner = _child(owner, step, [] if isinstance(following, int) else {})
        last = steps[-1]
        _check(owner, last)
        if isinstance(last, int) and last == len(owner):
            owner.append(value)
        else:
            owner[last] = value


def _steps(path: str) -> list[str | int]:
    steps: list[str | int] = []
    at = 1
    while at < len(path) and len(steps) < MAX_STEPS:
        found = _STEP.match(path, at)
        if found is None:
            break
        name, index, single, double = found.groups()
        steps.append(int(index) if index else name or single or double or "")
        at = found.end()
    if not path.startswith("$") or at < len(path):
        raise _mismatch(f"a tool call's arguments have the path '{path[:80]}', which is none")
    return steps


def _child(owner: Any, step: str | int, empty: Json) -> Any:
    """What stands at the step, made if it is not there."""
    _check(owner, step)
    if isinstance(step, int):
        if step == len(owner):
            owner.append(empty)
        return owner[step]
    return owner.setdefault(step, empty)


def _check(owner: Any, step: str | int) -> None:
    if isinstance(step, int):
        if not isinstance(owner, list) or step > len(owner):
            raise _mismatch(f"a tool call's arguments have no list with a place {step}")
    elif not isinstance(owner, dict):
        raise _mismatch(f"a tool call's arguments have no object for '{step[:80]}'")


def _mismatch(message: str) -> BackendError:
    return BackendError(message, code="upstream_mapping_mismatch", retry=False)
