"""Large JSON text to its value piece by piece, so that a thread that does it lets others run in between.

What reads JSON at once holds the interpreter until it is done: 32 MiB of numbers take it a second, of keys three. A
piece ends at a comma. It is read with brackets around it for what was open before it, and what is in those is added to
the values that are open already.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

PIECE = 64 * 1024
"""Bytes that are read at once, if a comma is among them."""
MOST = 500_000
"""Lists and objects of one text: to look through them for what can be forgotten, and to free them, is one step each."""
DEEPEST = 500
_BRACKETS = b"[]{}"
_OTHERS = bytes(set(range(256)) - set(_BRACKETS))
_CLOSING = re.compile(rb"[\]}]")
_SPELLED = re.compile(rb"\\u007[eE]")


class UnfitError(ValueError):
    """The text holds too much; the message says of what."""


class MalformedError(ValueError):
    """The text is no JSON."""


def read_pieces(data: bytes, read: Callable[[bytes], Any]) -> Any:
    """The value of a text, by a function that reads small ones, and whose errors it raises.

    Raises UnfitError and MalformedError.
    """
    root: Any = None
    path: list[Any] = []
    kinds, at = b"", 0
    _bound(data)
    while at < len(data):
        piece, brackets = _piece(data, at)
        at += len(piece) + 1
        own = _open(brackets)
        after = _open(kinds + own)
        if len(after) > DEEPEST:
            raise UnfitError("the JSON is nested too deeply")
        if _CLOSING.search(after) or (not after) != (at > len(data)) or (kinds and _CLOSING.match(piece.lstrip())):
            raise MalformedError
        mark = _mark(piece)
        value = read(_around(kinds, piece, after, mark))
        found = _path(value, after, (mark * 2).decode())
        if found is None:
            raise MalformedError
        if kinds:
            _add(path, value, mark.decode())
        else:
            root = value
        kept = len(kinds) - own.count(b"]") - own.count(b"}")
        path[kept:], kinds = found[kept:], after
    if kinds:
        raise MalformedError
    return root


def _bound(data: bytes) -> None:
    """Raises UnfitError before anything is made of a text that holds too much."""
    if data.count(b"[") + data.count(b"{") <= MOST:
        return
    at = count = 0
    while at < len(data):
        piece, brackets = _piece(data, at)
        at += len(piece) + 1
        count += brackets.count(b"[") + brackets.count(b"{")
        if count > MOST:
            raise UnfitError(f"it holds more than {MOST} lists and objects")


def _piece(data: bytes, at: int) -> tuple[bytes, bytes]:
    """The text up to the last comma that is outside of strings, or to the end; and its brackets."""
    size = PIECE
    while True:
        chunk = data[at : at + size]
        whole = at + size >= len(data)
        plain = chunk.replace(b"\\\\", b"..").replace(b'\\"', b"..") if b"\\" in chunk else chunk
        parts = plain.split(b'"')
        end = len(chunk)
        for number in range(len(parts) - 1, -1, -1):
            if whole:
                break
            start = end - len(parts[number])
            if number % 2 == 0 and (comma := parts[number].rfind(b",")) >= 0:
                parts[number] = parts[number][:comma]
                return chunk[: start + comma], b"".join(parts[: number + 1 : 2]).translate(None, _OTHERS)
            end = start - 1
        if whole:
            return chunk, b"".join(parts[::2]).translate(None, _OTHERS)
        size *= 2


def _open(brackets: bytes) -> bytes:
    """The brackets without those that belong together."""
    size = -1
    while size != len(brackets):
        size = len(brackets)
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    return brackets


def _mark(piece: bytes) -> bytes:
    """A string that is not in the piece, however it is written there."""
    if b"\\u" in piece:
        piece = _SPELLED.sub(b"~", piece)
    mark = b"~"
    while mark in piece:
        mark += mark
    return mark


def _around(before: bytes, piece: bytes, after: bytes, mark: bytes) -> bytes:
    """The piece as a text of its own: the mark is the key of what was open before, and twice it is the last value."""
    begin = b"".join(b"[" if kind == 0x5B else b'{"%b":' % mark for kind in before)
    if before.endswith(b"{"):
        begin = begin[: -len(mark) - 3]
    if after:
        end = mark * 2
        last = b',"%b"' % end if after.endswith(b"[") else b',"%b":"%b"' % (end, end)
        piece += last + bytes(kind + 2 for kind in reversed(after))
    return begin + piece


def _add(path: list[Any], value: Any, mark: str) -> None:
    """Add what a piece holds to the values that were open before it, outermost first."""
    for container in path[:-1]:
        if isinstance(container, list):
            inner = value[0]
            container += value[1:]
        else:
            inner = value.pop(mark)
            container.update(value)
        value = inner
    if isinstance(path[-1], list):
        path[-1] += value
    else:
        path[-1].update(value)


def _path(root: Any, kinds: bytes, mark: str) -> list[Any] | None:
    """The values that are open, outermost first; None where there is no mark in the innermost, which is taken out."""
    if not kinds:
        return []
    if isinstance(root, list):
        if not root or not kinds.startswith(b"["):
            return None
        if len(kinds) > 1:
            inner = _path(root[-1], kinds[1:], mark)
            return None if inner is None else [root, *inner]
        return [root] if root[-1] == mark and root.pop() else None
    if not isinstance(root, dict) or not kinds.startswith(b"{"):
        return None
    if len(kinds) == 1:
        return [root] if root.pop(mark, None) == mark else None
    # Not always the last one: a key that comes again keeps its first place.
    for value in reversed(root.values()):
        inner = _path(value, kinds[1:], mark)
        if inner is not None:
            return [root, *inner]
    return None
