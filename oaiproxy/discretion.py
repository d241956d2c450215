"""What must not be told, out of what is shown: secrets as the variables of the mapping that hold them, or as `***`."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import quote, quote_plus

from oaiproxy import jsontext
from oaiproxy.jsontext import Json
from oaiproxy.redaction import without_keys

HIDDEN = "***"
_REFERENCE = re.compile(r"\$\$\{|\$\{(?:file:((?:(?!:-)[^{}])+)|(\w+))[^{}]*\}")
_KEPT = re.compile("\0(\\$[^\0]+)\0")
_NAMES = re.compile(r"\$\{(\w+)(?::-[^{}]*)?\}")
_NEEDED = re.compile(r"\$\{(\w+)\}")
_SECRET_NAME = re.compile(r"(\w+_)?(key|token|secret|pass|password|passwd|pin|pw)", re.IGNORECASE)
_ADDRESSES = re.compile(r"url:[ \t]*[\"']?\$\{(\w+)")
SHORTEST = 4
"""Characters: what is shorter is hidden only where it stands as a credential."""


def referred(written: str) -> str:
    """Text of a mapping with its references as a shell writes them, each between marks (see `plain`, `spliced`)."""

    def reference(found: re.Match[str]) -> str:
        if found[0] == "$${":
            return "${"
        return f"\0$(cat {found[1]})\0" if found[1] else f"\0${found[2]}\0"

    return _REFERENCE.sub(reference, written)


def plain(text: str) -> str:
    """Text without marks."""
    return _KEPT.sub(r"\1", text)


def spliced(text: str) -> str:
    """Text with marks as one word of a shell's command line: in single quotes, but for the references."""
    words = [
        f'"{part}"' if place % 2 else "'" + part.replace("'", "'\\''") + "'"
        for place, part in enumerate(_KEPT.split(text))
        if part
    ]
    return "".join(words) or "''"


def stand_ins(texts: Iterable[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Values for the variables that a mapping needs and nobody set: their names. Not for those that are addresses.

    Secrets that are too short to be found again have such values, too.
    """
    found: dict[str, str] = {}
    for text in texts:
        addresses = set(_ADDRESSES.findall(text))
        found |= {name: f"${name}" for name in _NEEDED.findall(text) if name not in {*environment, *addresses}}
        short = (name for name in _NAMES.findall(text) if 0 < len(environment.get(name, "")) < SHORTEST)
        found |= {name: f"${name}" for name in short if _SECRET_NAME.fullmatch(name)}
    return found


class Discretion:
    """The secrets of one mapping. `texts` are its files, `environment` has the variables that they name."""

    def __init__(self, secrets: Iterable[str], texts: Iterable[str], environment: Mapping[str, str]) -> None:
        names = {name for text in texts for name in _NAMES.findall(text) if environment.get(name)}
        known = {environment[name]: f"\0${name}\0" for name in sorted(names)}
        self._names = names
        self._shown: list[tuple[str, str]] = []
        for secret in sorted({*secrets, *known}, key=len, reverse=True):
            if len(secret) >= SHORTEST:
                shown = known.get(secret, HIDDEN)
                forms = (secret, quote(secret, safe=""), quote_plus(secret), jsontext.dump(secret).decode()[1:-1])
                encoded = base64.b64encode(secret.encode("utf-8", "surrogateescape")).decode()
                self._shown += [(form, shown) for form in dict.fromkeys(forms)]
                self._shown += [(form, HIDDEN) for form in dict.fromkeys((encoded, encoded.rstrip("=")))]

    def refers(self, written: str) -> bool:
        """Whether text of the mapping holds something that is not written there."""
        return any(found[1] or found[2] in self._names for found in _REFERENCE.finditer(written))

    def marked(self, text: str) -> str:
        """Text without secrets: variables in their place, between marks."""
        for secret, shown in self._shown:
            if secret in text:
                text = text.replace(secret, shown)
        return without_keys(text)

    def raw(self, data: bytes) -> bytes:
        """Bytes without secrets."""
        for secret, _ in self._shown:
            data = data.replace(secret.encode("utf-8", "surrogateescape"), HIDDEN.encode())
        return data

    def text(self, text: str) -> str:
        """Text without secrets."""
        return plain(self.marked(text))

    def data(self, value: Json) -> Json:
        """Data without secrets, in its keys and its texts."""
        return mapped(value, self.text)


def mapped(value: Json, change: Callable[[str], str]) -> Json:
    """Data with all its texts changed."""
    match value:
        case str():
            return change(value)
        case dict():
            return {change(key): mapped(item, change) for key, item in value.items()}
        case list():
            return [mapped(item, change) for item in value]
    return value
