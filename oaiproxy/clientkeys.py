"""The key that a client shows, in whichever header its library puts it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

AUTHORIZATION = "authorization"
_OTHERS = ("api-key", "x-api-key")
"""Headers that hold a bare key."""
HEADERS = (AUTHORIZATION, *_OTHERS)
"""All in which a key may come."""
_SCHEME = "bearer "


def client_key(headers: Mapping[str, str]) -> str:
    """The key, "" when there is none: that of `Authorization: Bearer`, else one that stands alone in its header.

    `headers` takes names in any case.
    """
    given = headers.get(AUTHORIZATION, "").strip()
    if given:
        return given[len(_SCHEME) :].strip() if given.lower().startswith(_SCHEME) else ""
    return next((key for name in _OTHERS if (key := headers.get(name, "").strip())), "")


def passed_on(headers: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """The client's headers of these names (lower case). The one for keys is made of another, if the key is there."""
    made = {name: headers[name] for name in names if name in headers}
    for name in names:
        if name not in made and (key := client_key(headers)):
            if name == AUTHORIZATION:
                made[name] = f"Bearer {key}"
            elif name in _OTHERS:
                made[name] = key
    return made
