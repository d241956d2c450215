"""State that only its backend understands, through clients that know nothing of it: inside the ids of tool calls.

An id with state is `<id>~<data>`: base64url (RFC 4648, 5) without padding, of zlib (RFC 1950), of a JSON object: `of`
names the mapping that it is for, `state` is the call's own, `before` has items `{text?, state, id?}` that came
before it: `text` is the reasoning that the state belongs to, `id` the call whose state came too late for its own id.
"""

from __future__ import annotations

import binascii
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass

from oaiproxy import jsontext
from oaiproxy.jsontext import Json, is_shallow

MAX_ENCODED = 64 * 1024
"""Characters of state in one id or one message."""
MAX_DECODED = 256 * 1024
"""Bytes of one id's state, inflated."""
MAX_TOTAL = 4 * 1024 * 1024
"""Bytes of all the state in one request, inflated."""
MAX_DEPTH = 32
MARK = "~"


@dataclass(frozen=True, slots=True)
class Restored:
    """What an id held: the backend's own id, the call's state if it had any, and the items before it."""

    id: str
    state: Json = None
    before: tuple[Json, ...] = ()


def seal(call_id: str, state: Json, before: list[Json], owner: str = "") -> str | None:
    """The id with the state in it; the plain one when there is none, None when it is too large.

    `owner` is the name of the mapping whose backend it is for.
    """
    held: dict[str, Json] = {}
    if state is not None:
        held["state"] = state
    if before:
        held["before"] = before
    if not held:
        return call_id
    if owner:
        held["of"] = owner
    try:
        data = jsontext.dump(held)
    except jsontext.JsonError:
        return None
    if len(data) > MAX_DECODED or not is_shallow(held, MAX_DEPTH):
        return None
    encoded = urlsafe_b64encode(zlib.compress(data)).rstrip(b"=").decode()
    return f"{call_id}{MARK}{encoded}" if len(encoded) <= MAX_ENCODED else None


def are_items(items: Json) -> bool:
    """Whether they are items of state, as we make them."""
    return isinstance(items, list) and all(map(_is_item, items)) and is_shallow(items, MAX_DEPTH)


class Restorer:
    """Takes ids of one request apart, within bounds: those that we did not make stay as they are.

    What is for another mapping than `owner` is left out.
    """

    def __init__(self, owner: str = "") -> None:
        self.owner = owner
        self._known: dict[str, Restored] = {}
        self._left = MAX_TOTAL

    def restore(self, call_id: str) -> Restored:
        """What the id holds."""
        if MARK not in call_id:
            return Restored(call_id)
        if call_id not in self._known:
            self._known[call_id] = self._restored(call_id) or Restored(call_id)
        return self._known[call_id]

    def plain(self, call_id: str) -> str:
        """The backend's own id."""
        return self.restore(call_id).id if MARK in call_id else call_id

    def _restored(self, call_id: str) -> Restored | None:
        plain, _, encoded = call_id.rpartition(MARK)
        if not plain or len(encoded) > MAX_ENCODED:
            return None
        try:
            held = jsontext.parse(self._inflated(encoded))
        except (ValueError, zlib.error):
            return None
        if not isinstance(held, dict) or not held or held.keys() - {"of", "state", "before"}:
            return None
        before = held.get("before", [])
        if not are_items(before) or not is_shallow(held, MAX_DEPTH):
            return None
        if held.get("of", "") != self.owner:
            return Restored(plain)
        return Restored(plain, held.get("state"), tuple(before))

    def _inflated(self, encoded: str) -> bytes:
        """The JSON. Raises ValueError for what is no base64, cut short, followed by more, or too large."""
        raw = encoded.encode("ascii")
        if raw.translate(None, _ALPHABET):
            raise binascii.Error("not base64url")
        inflater = zlib.decompressobj()
        data = inflater.decompress(urlsafe_b64decode(raw + b"=" * (-len(raw) % 4)), min(MAX_DECODED, self._left) + 1)
        self._left -= min(len(data), self._left)
        if not inflater.eof or inflater.unused_data or len(data) > MAX_DECODED:
            raise ValueError("not one whole stream of zlib")
        return data


_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def _is_item(item: Json) -> bool:
    return (
        isinstance(item, dict)
        and item.get("state") is not None
        and not item.keys() - {"text", "state", "id"}
        and all(isinstance(item.get(key, ""), str) for key in ("text", "id"))
    )
