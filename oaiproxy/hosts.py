"""Which names in `Host` are meant for this server: a web page whose own name was turned to our address sends that one.

DNS rebinding: https://capec.mitre.org/data/definitions/275.html
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address

_FORM = re.compile(r"(?P<name>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
"""RFC 9110, 7.2, without what nobody calls a server by."""
MAX_KNOWN = 100
"""Spellings that are kept in mind."""
WILDCARDS = ("0.0.0.0", "::")


class Hosts:
    """The names, of which `*` is any and `*.suffix` any below the suffix; None are all that are well formed.

    `bound` is the address that is listened on. Where that is all addresses, every address is meant: it is names alone
    that can be turned.
    """

    def __init__(self, names: Sequence[str] | None = None, bound: str = "") -> None:
        self.known: set[str] = set()
        """Values of `Host` that were found right."""
        self._any = names is None or "*" in names
        self._addresses = bound in WILDCARDS
        listed = [each.lower().strip("[]") for each in (*(names or ()), bound, "localhost")]
        self._names = frozenset(each for each in listed if not each.startswith("*."))
        self._suffixes = tuple(each[1:] for each in listed if each.startswith("*."))

    def is_meant(self, host: str) -> bool:
        """Whether it is meant for this server. Raises ValueError for what is no host."""
        if host in self.known:
            return True
        found = _FORM.fullmatch(host)
        if found is None:
            raise ValueError("no host")
        name = found["name"].lower().strip("[]").removesuffix(".")
        meant = self._any or name in self._names or name.endswith(self._suffixes) or self._is_address(name)
        if meant and len(self.known) < MAX_KNOWN:
            self.known.add(host)
        return meant

    def _is_address(self, name: str) -> bool:
        try:
            address = ip_address(name)
        except ValueError:
            return False
        return self._addresses or address.is_loopback


def meant_hosts(host: str, names: Sequence[str], guarded: bool) -> Hosts:
    """Those of a server that listens on `host`.

    Where it is `guarded`, a page gets nothing: it has no key, and neither a socket nor a certificate for its name. Then
    names are looked at only where some are configured.
    """
    return Hosts(None if guarded and not names else names, host)
