"""An address that a mapping gives to one in the characters of HTTP, or to findings."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from oaiproxy.requests import address
from oaiproxy.source import Source
from oaiproxy.templates import Compilation, has_template

_SPACE_OR_CONTROL = re.compile(r"[\x00-\x20\x7f-\xa0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff\\]")
"""Characters that no address holds: a copied one often ends in a blank, or hides one."""
_PORTS = {"https": 443, "http": 80}
_HANDSHAKE = {"ws": "http", "wss": "https"}
_LOOPBACK = re.compile(r"localhost|127\.\d+\.\d+\.\d+|::1")


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
        label = "add `transport: websocket` beside it" if socket else "write `https://host/path`"
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
    return f"{parts.scheme}://{netloc or ''}{address(parts.path)}".rstrip("/")


def is_safe(url: str) -> bool:
    """Whether what is sent there cannot be read on the way: https, or this machine."""
    parts = urlsplit(url)
    return parts.scheme in ("https", "wss") or bool(_LOOPBACK.fullmatch(parts.hostname or ""))


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port (RFC 6454); a websocket has those of its handshake."""
    parts = urlsplit(url)
    scheme = _HANDSHAKE.get(parts.scheme, parts.scheme)
    return scheme, parts.hostname, parts.port or _PORTS.get(scheme)


def _netloc(parts: SplitResult) -> str | None:
    """Host and port as they are sent and signed: in ASCII, without the usual port; None when the host is none."""
    port = f":{parts.port}" if parts.port not in (None, _PORTS[_HANDSHAKE.get(parts.scheme, parts.scheme)]) else ""
    host = parts.hostname or ""
    try:
        return (f"[{host}]" if ":" in host else host.encode("idna").decode() if not host.isascii() else host) + port
    except UnicodeError:
        return None
