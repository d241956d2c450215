"""Addresses that a backend's reply names: which of them a mapping follows, and what is sent there.

A host that a reply could choose freely would get the credentials, and would reach what only the proxy can reach
(server-side request forgery): https://cheatsheetseries.owasp.org/cheatsheets/Server_Side_Request_Forgery_Prevention_Cheat_Sheet.html
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

from oaiproxy.errors import BackendError
from oaiproxy.jsontext import Json

MAX_ADDRESS = 8192
"""Characters of an address in a reply."""
_ADDRESS = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[^?#]*)?(?P<query>\?[^#]*)?",
    re.IGNORECASE,
)
_BLANK_OR_CONTROL = re.compile(r"[\x00-\x20\x7f-\xa0\\]")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Address:
    """An http address in its parts; `target` is its path and query, percent-encoded."""

    scheme: str
    host: str
    port: int
    target: str

    def __str__(self) -> str:
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}{self.target}"


def parse_address(text: str) -> Address | None:
    """The parts of an absolute address; None for what is none, and for one with a user, a fragment or blanks."""
    found = None if len(text) > MAX_ADDRESS or _BLANK_OR_CONTROL.search(text) else _ADDRESS.fullmatch(text)
    if found is None:
        return None
    scheme = found["scheme"].lower()
    port = int(found["port"]) if found["port"] else _PORTS[scheme]
    if not 0 < port < 65536:
        return None
    path = quote(found["path"] or "/", safe="/%:@!$&'()*+,;=~", errors="replace")
    query = quote(found["query"] or "", safe="?/%:@!$&'()*+,;=~[]", errors="replace")
    return Address(scheme, found["host"].lower(), port, path + query)


def over_http(found: Json) -> Json:
    """The address of a websocket as that of its handshake (RFC 6455, 3); anything else as it is."""
    is_socket = isinstance(found, str) and re.match("wss?://", found, re.IGNORECASE)
    return "http" + found[2:] if is_socket else found


def allowed(address: Address, base: str, allow: Sequence[str]) -> bool:
    """Whether requests may go there: to the origin of `base`, or by https (or its scheme) to a host of `allow`."""
    home = parse_address(base)
    if _same_origin(address, home):
        return True
    if address.scheme != "https" and (home is None or home.scheme != address.scheme):
        return False
    return any(_matches(address, entry.lower()) for entry in allow)


def follow(found: Json, base: str, allow: Sequence[str], *, local: bool = False) -> str:
    """The address to ask for one that a reply named; one that begins with `/` is on the host of `base`.

    `local` tells that `base` stands for all hosts. Raises BackendError for one that is not allowed.
    """
    text = found if isinstance(found, str) else ""
    home = parse_address(base)
    if home is not None and text.startswith("/") and not text.startswith("//"):
        text = f"{home.scheme}://{home.host}:{home.port}{text}"
    address = parse_address(text)
    if address is None:
        raise _forbidden("what stands there is not an http address")
    if not allowed(address, base, allow):
        raise _forbidden(f"the host is {address.host}:{address.port}, by {address.scheme}")
    return str(address) if not local or _same_origin(address, home) else base + address.target


def local_pattern(base: str, allow: Sequence[str]) -> re.Pattern[bytes]:
    """What in a reply's bytes stands for a host that `follow` allows: `base` whole, or scheme, host and port."""
    hosts = [
        rb"https?://" + (rb"(?:[A-Za-z0-9_-]+\.)+" if entry.startswith("*.") else b"") + re.escape(_named(entry))
        for entry in allow
    ]
    home = parse_address(base)
    bases = [] if home is None else [base, str(replace(home, target=""))]
    found = [*(re.escape(each.encode()) for each in bases), *hosts]
    return re.compile(rb"(?:" + rb"|".join(found) + rb")(?![A-Za-z0-9.:-])") if found else _NEVER


def target(url: str, base: str) -> str:
    """The path and query of an address, below `base` where it is."""
    if url.startswith(base):
        return url[len(base) :]
    address = parse_address(url)
    return url if address is None else address.target


_NEVER = re.compile(rb"(?!)")


def _named(entry: str) -> bytes:
    return entry.removeprefix("*.").encode()


def _same_origin(address: Address, home: Address | None) -> bool:
    return home is not None and (address.scheme, address.host, address.port) == (home.scheme, home.host, home.port)


def _matches(address: Address, entry: str) -> bool:
    host, colon, port = entry.rpartition(":") if not entry.endswith("]") else (entry, "", "")
    if not colon:
        host, port = entry, str(_PORTS[address.scheme])
    if str(address.port) != port:
        return False
    return address.host.endswith(host[1:]) if host.startswith("*.") else address.host == host


def _forbidden(detail: str) -> BackendError:
    return BackendError(
        "the backend's reply leads to an address that its mapping does not allow",
        code="upstream_forbidden_url",
        detail=detail,
        retry=False,
    )
