"""Findings to findings that tell no secret: values from outside as the references that stand for them."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from urllib.parse import quote, quote_plus

from oaiproxy import jsontext
from oaiproxy.catalog import CATALOG
from oaiproxy.diagnostics import Diagnostic

HIDDEN = "***"
SHORTEST = 4
"""Characters: a shorter value is in too many words to be told from them."""
PIECE = 12
"""Characters of a value that are not told either where the rest of it is cut off."""
MAX_SEARCHED = 100_000
"""Characters of a value whose pieces are known."""


class Seal:
    """What must not be told: `values` with the references that stand for them, `written` that stand in the file itself.

    `text` is the file's. A short value that it has anyway is no secret, and neither is a piece of one.
    """

    def __init__(self, values: Mapping[str, str], written: Iterable[str] = (), text: str = "") -> None:
        self._shown: dict[str, str] = {}
        self._pieces: dict[str, str] = {}
        given = {value: shown for value, shown in values.items() if not _is_common(value, text)}
        given |= {secret: HIDDEN for secret in written if len(secret) >= SHORTEST}
        for value, shown in given.items():
            for form in _forms(value):
                self._shown.setdefault(form, shown)
                ends = range(PIECE, min(len(form), MAX_SEARCHED) + 1)
                pieces = (form[end - PIECE : end] for end in ends)
                own = text if shown != HIDDEN else ""
                self._pieces.update((piece, "…") for piece in pieces if piece not in own)
        self._longest_first = sorted(self._shown, key=len, reverse=True)

    def text(self, text: str) -> str:
        """The text without any of it, whole or in pieces."""
        if not self._shown:
            return text
        for form in self._longest_first:
            if form in text:
                text = text.replace(form, self._shown[form])
        return self._cut(text)

    def finding(self, found: Diagnostic) -> Diagnostic:
        """The finding without any of it."""
        if not self._shown:
            return found
        told = (found.message, found.label, found.help)
        message, label, help_ = map(self.text, told)
        return found if told == (message, label, help_) else replace(found, message=message, label=label, help=help_)

    def _cut(self, text: str) -> str:
        """The text without pieces: what is left of a value where a message shows a part of it."""
        hit = [at for at in range(len(text) - PIECE + 1) if text[at : at + PIECE] in self._pieces]
        for first, last in reversed(list(_runs(hit))):
            text = f"{text[:first]}…{text[last + PIECE :]}".replace("……", "…")
        return text


NO_SEAL = Seal({})
"""Where nothing is secret."""


def _runs(places: list[int]) -> Iterator[tuple[int, int]]:
    """The first and last of places that overlap."""
    first = last = -PIECE - 1
    for place in places:
        if place > last + PIECE:
            if last >= 0:
                yield first, last
            first = place
        last = place
    if last >= 0:
        yield first, last


def _forms(value: str) -> Iterator[str]:
    """A value as it may be told: as it is, escaped, encoded, in one line, and each of its lines."""
    raw = value.encode("utf-8", "surrogateescape")
    encoded = base64.b64encode(raw).decode()
    forms = [value, value.strip(), " ".join(value.split()), repr(value)[1:-1], json.dumps(value)[1:-1]]
    forms += [jsontext.dump(value).decode()[1:-1], quote(raw, safe=""), quote(raw), quote_plus(raw)]
    forms += [
        encoded,
        encoded.rstrip("="),
        re.sub('["\r\n]', lambda at: quote(at[0]), value),
    ]  # as in multipart's names
    if "\n" in value or "\r" in value:
        forms += [line.strip() for line in value.splitlines()]
    yield from (form for form in dict.fromkeys(forms) if len(form) >= SHORTEST)


def _is_common(value: str, text: str) -> bool:
    """Whether a value is too short for a secret, a word of the messages themselves, or one that the file has."""
    if len(value) >= PIECE:
        return False
    return len(value) < SHORTEST or value in _words() or re.search(rf"\b{re.escape(value)}\b", text) is not None


@cache
def _words() -> frozenset[str]:
    """The words with which findings are told."""
    told = (f"{kind.title} {kind.cause} {kind.fix}" for kind in CATALOG.values())
    return frozenset(word for line in told for word in re.findall(r"[A-Za-z]+", line))
