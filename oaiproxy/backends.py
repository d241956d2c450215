"""The `backend` block of a mapping to where requests go, and what proves who sends them."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping as Dict
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from oaiproxy.diagnostics import did_you_mean
from oaiproxy.requests import address, check_header
from oaiproxy.source import Source
from oaiproxy.templates import Compilation, has_template

MOCK_URL = "mock:"
"""The backend address that stands for the mapping's own examples, served on loopback."""
_SPACE_OR_CONTROL = re.compile(r"[\x00-\x20\x7f-\xa0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff\\]")
"""Characters that no address holds: a copied one often ends in a blank, or hides one."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: to connect, to the first event, between events, and for the whole reply."""

    connect: float = 5.0
    first_byte: float = 120.0
    idle: float = 60.0
    total: float = 900.0


@dataclass(frozen=True, slots=True)
class Backend:
    """Where requests go, and what they all carry. `headers` and `query` hold the credentials."""

    url: str
    headers: Dict[str, str] = field(default_factory=dict, repr=False)
    query: Dict[str, str] = field(default_factory=dict, repr=False)
    timeouts: Timeouts = field(default_factory=Timeouts)
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    allow_hosts: tuple[str, ...] = ()
    """Other hosts that a reply may lead to: names, with `:port` where it is not the scheme's own; or `*.suffix`."""
    local: bool = False
    """Whether the address is that of the mapping's own examples, which stand for all hosts."""
    websocket: bool = False
    """Whether requests open a websocket."""


def compile_backend(source: Source, compilation: Compilation) -> Backend:
    """Compile the block; what is wrong in it goes to the compilation's findings."""
    compiler = _Compiler(compilation)
    url = compiler.url(source["url"], websocket=source.value.get("transport") == "websocket")
    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    secrets: set[str] = set()
    if auth := source.get("auth"):
        secrets = compiler.auth(auth, headers, query)
    timeouts = source.get("timeouts")
    return Backend(
        url,
        headers,
        query,
        compiler.timeouts(timeouts) if timeouts else Timeouts(),
        frozenset(filter(None, secrets)),
        allow_hosts=tuple(source.value.get("allow_hosts") or ()),
        websocket=source.value.get("transport") == "websocket",
    )


def seconds(value: float | str) -> float:
    """A duration in seconds: a number, or text such as `500ms`, `30s`, `2m`. Raises ValueError for anything else."""
    if isinstance(value, int | float):
        made = float(value)
    else:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)", value)
        if not found:
            hint = did_you_mean(value, ("30s", "500ms", "2m")) or "write `30s`"
            raise ValueError(f"`{value}` is not a duration; {hint}")
        made = float(found[1]) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[found[2]]
    if not math.isfinite(made):
        raise ValueError("a duration is finite; write `30s`")
    return made


class _Compiler:
    def __init__(self, compilation: Compilation) -> None:
        self._compilation = compilation

    def url(self, source: Source, *, websocket: bool = False) -> str:
        """The base address, in the characters that an address is made of."""
        text: str = source.value
        if text == MOCK_URL:
            self._check_mock(source)
            return text
        if source.path in source.document.unresolved:
            return text
        if has_template(text):
            self._report("`backend.url` cannot hold a template", source, "the host never depends on a request")
            return text
        if _SPACE_OR_CONTROL.search(text):
            label = "take it out" if text.strip() == text else "there is one at its beginning or end: take it out"
            self._report("`backend.url` holds a blank, a control character or a backslash", source, label)
            return text
        try:
            parts = urlsplit(text)
            schemes = ("http", "https", "ws", "wss") if websocket else ("http", "https")
            valid = parts.scheme in schemes and bool(parts.hostname) and parts.port is not False
        except ValueError:
            valid = False
        if not valid:
            label = "write `https://host/path`"
            if text.startswith(("ws:", "wss:")) and not websocket:
                label = "add `transport: websocket` beside it"
            self._report("`backend.url` is not an http or https address", source, label)
            return text
        return self._encoded(parts, source)

    def _encoded(self, parts: SplitResult, source: Source) -> str:
        if parts.username or parts.password:
            self._report("`backend.url` holds credentials", source, "put them under `backend.auth`")
        elif parts.query or parts.fragment:
            self._report("`backend.url` holds a query or a fragment", source, "put it under `backend.query`")
        netloc = parts.netloc
        if not netloc.isascii():
            port = f":{parts.port}" if parts.port is not None else ""
            try:
                netloc = (parts.hostname or "").encode("idna").decode() + port
            except UnicodeError:
                self._report("`backend.url` has a host that is none", source, "write it in ASCII: `xn--...`")
        return f"{parts.scheme}://{netloc}{address(parts.path)}".rstrip("/")

    def _check_mock(self, source: Source) -> None:
        data = source.document.data
        written = data.get("backend")
        if isinstance(written, dict) and written.get("url") == MOCK_URL and not data.get("examples"):
            self._report(
                "`backend.url` is `mock:`, and there are no examples", source, "add `examples`, or give an address"
            )

    def auth(self, source: Source, headers: dict[str, str], query: dict[str, str]) -> set[str]:
        """Put the credential where it is sent; the result is what must not be told."""
        given = source.value
        secrets = {given[key] for key in ("bearer", "value") if given.get(key)}
        if "value" in given and not {"header", "query"} & given.keys():
            kind = next(key for key in ("bearer", "basic") if key in given)
            message = f"`value` has no effect beside `{kind}`"
            label = "leave it out, or name the `header` or the `query` parameter that carries it"
            self._report(message, source["value"], label, key=True)
        if given.get("bearer"):
            headers["Authorization"] = f"Bearer {given['bearer']}"
        elif "header" in given:
            check_header(source["header"], given["header"], self._compilation)
            headers[given["header"]] = given["value"]
        elif "query" in given:
            query[given["query"]] = given["value"]
        elif "basic" in given:
            pair = f"{given['basic']['user']}:{given['basic']['password']}"
            encoded = base64.b64encode(pair.encode()).decode()
            secrets |= {given["basic"]["password"], encoded}
            headers["Authorization"] = "Basic " + encoded
        for value in headers.values():
            if any(ord(character) < 32 or ord(character) == 127 for character in value):
                self._report("the credential holds a control character", source, "check for a line break at its end")
        return secrets

    def timeouts(self, source: Source) -> Timeouts:
        """The given timeouts over the defaults."""
        given = {}
        for key, child in source.items():
            try:
                given[key] = seconds(child.value)
            except ValueError as error:
                message, _, label = str(error).partition("; ")
                self._report(f"`{key}` is not a time to wait: {message}", child, label)
        return Timeouts(**given)

    def _report(self, message: str, source: Source, label: str, *, key: bool = False) -> None:
        self._compilation.report("E105", message, source.span(key=key), label=label)
