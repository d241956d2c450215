"""Addresses, of a mapping or of a backend's reply, to those that requests are sent to.

Of those in a reply only some are followed. A host that it could choose freely would get the credentials, and would
reach what only the proxy can reach (server-side request forgery):
https://cheatsheetseries.owasp.org/cheatsheets/Server_Side_Request_Forgery_Prevention_Cheat_Sheet.html
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import SplitResult, quote, urlsplit

from oaiproxy.errors import BackendError
from oaiproxy.jsontext import Json
from oaiproxy.lookalikes import meant_reference, straight_quotes
from oaiproxy.source import Source
from oaiproxy.templates import Compilation, has_template

MAX_ADDRESS = 8192
"""Characters of an address in a reply."""
_ADDRESS = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[^?#]*)?(?P<query>\?[^#]*)?",
    re.IGNORECASE,
)
_BLANK_OR_CONTROL = re.compile(r"[\x00-\x20\x7f-\xa0\\]")
_SPACE_OR_CONTROL = re.compile(r"[\x00-\x20\x7f-\xa0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff\\]")
"""Characters that no address of a mapping holds: a copied one often ends in a blank, or hides one."""
_NEVER_IN_HOST = re.compile(r"[^\w.:-]", re.ASCII)
PORTS = {"http": 80, "https": 443}
"""The usual port of a scheme."""
_HANDSHAKE = {"ws": "http", "wss": "https"}
_LOOPBACK = re.compile(r"localhost|127\.\d+\.\d+\.\d+|::1")


@dataclass(frozen=True, slots=True)
class Address:
    """An http address in its parts; `target` is its path and query, percent-encoded."""

    scheme: str
    host: str
    port: int
    target: str

    def __str__(self) -> str:
        port = "" if self.port == PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}{self.target}"


def parse_address(text: str) -> Address | None:
    """The parts of an absolute address; None for what is none, and for one with a user, a fragment or blanks."""
    found = None if len(text) > MAX_ADDRESS or _BLANK_OR_CONTROL.search(text) else _ADDRESS.fullmatch(text)
    if found is None:
        return None
    scheme = found["scheme"].lower()
    port = int(found["port"]) if found["port"] else PORTS[scheme]
    if not 0 < port < 65536:
        return None
    path = encode_path(found["path"] or "/")
    query = quote(found["query"] or "", safe="?/%:@!$&'()*+,;=~[]", errors="replace")
    return Address(scheme, found["host"].lower(), port, path + query)


def encode_path(path: str) -> str:
    """A path as it stands in an address: what is not allowed there is percent-encoded."""
    return quote(path, safe="/%:@!$&'()*+,;=~", errors="replace")


def compile_address(source: Source, compilation: Compilation, *, websocket: bool = False) -> str:
    """The address, without a slash at its end; what is wrong in it goes to the compilation's findings."""
    text: str = source.value
    name = ".".join(map(str, source.path))
    token_server = source.path[-1] == "token_url"

    def report(message: str, label: str) -> None:
        compilation.report("E105", f"`{name}` {message}", source.span(), label=label)

    if source.path in source.document.unresolved:
        return text
    if has_template(text):
        report("cannot hold a template", "the host never depends on a request")
        return text
    if _SPACE_OR_CONTROL.search(text):
        label = "take it out" if text.strip() == text else "there is one at its beginning or end: take it out"
        report("holds a blank, a control character or a backslash", label)
        return text
    try:
        parts = urlsplit(text)
        schemes = ("http", "https", "ws", "wss") if websocket else ("http", "https")
        valid = parts.scheme in schemes and bool(parts.hostname) and parts.port is not False
    except ValueError:
        valid = False
    if not valid:
        socket = text.startswith(("ws:", "wss:")) and name == "backend.url" and not websocket
        written = source.document.written(source.path) is None
        label = "add `transport: websocket` beside it" if socket else _meant(text if written else "")
        report("is not an http or https address", label)
        return text
    if parts.username or parts.password:
        label = "take them out: they have keys of their own here" if token_server else "put them under `backend.auth`"
        report("holds credentials", label)
    elif parts.query or parts.fragment:
        label = f"put it under `{name.rpartition('.')[0]}.query`"
        report("holds a query or a fragment", "take it out; `login` can send one" if token_server else label)
    netloc = _netloc(parts)
    if netloc is None:
        report("has a host that is none", "write it in ASCII: `xn--...`")
    elif "[" not in netloc and (found := _NEVER_IN_HOST.search(netloc)):
        report("has a host that is none", meant_reference(text) or f"take the `{found[0]}` out")
    return f"{parts.scheme}://{netloc or ''}{encode_path(parts.path)}".rstrip("/")


def _meant(text: str) -> str:
    """How to write an address that lacks its scheme, has a wrong one, or is otherwise copied from elsewhere."""
    if fix := straight_quotes(text) or meant_reference(text):
        return fix
    found = re.fullmatch(
        r"(?:(?:[a-z]+:)?/{1,3}|[a-z]+:/{2,3})?([a-z0-9.-]+(?::\d{1,5})?(?:/[\w./-]*)?)", text, re.IGNORECASE
    )
    if found is None or not ("." in found[1] or found[1].startswith("localhost")):
        return "write `https://host/path`"
    return f"write `{'http' if _LOOPBACK.match(found[1]) else 'https'}://{found[1]}`"


def is_safe(url: str) -> bool:
    """Whether what is sent there cannot be read on the way: https, or this machine."""
    parts = urlsplit(url)
    return parts.scheme in ("https", "wss") or bool(_LOOPBACK.fullmatch(parts.hostname or ""))


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port (RFC 6454); a websocket has those of its handshake."""
    parts = urlsplit(url)
    scheme = _HANDSHAKE.get(parts.scheme, parts.scheme)
    return scheme, parts.hostname, parts.port or PORTS.get(scheme)


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


def _netloc(parts: SplitResult) -> str | None:
    """Host and port as they are sent and signed: in ASCII, without the usual port; None when the host is none."""
    port = f":{parts.port}" if parts.port not in (None, PORTS[_HANDSHAKE.get(parts.scheme, parts.scheme)]) else ""
    host = parts.hostname or ""
    try:
        return (f"[{host}]" if ":" in host else host.encode("idna").decode() if not host.isascii() else host) + port
    except UnicodeError:
        return None


def _named(entry: str) -> bytes:
    return entry.removeprefix("*.").encode()


def _same_origin(address: Address, home: Address | None) -> bool:
    return home is not None and (address.scheme, address.host, address.port) == (home.scheme, home.host, home.port)


def _matches(address: Address, entry: str) -> bool:
    host, colon, port = entry.rpartition(":") if not entry.endswith("]") else (entry, "", "")
    if not colon:
        host, port = entry, str(PORTS[address.scheme])
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
