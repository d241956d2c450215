"""The `backend` block of a mapping to where requests go, and what proves who sends them."""

from __future__ import annotations

import base64
from collections.abc import Mapping as Dict
from dataclasses import dataclass, field

from oaiproxy.addresses import compile_address
from oaiproxy.auth import Auth, Passthrough, check_credentials, compile_auth
from oaiproxy.durations import compile_seconds
from oaiproxy.requests import check_header
from oaiproxy.retries import Retry
from oaiproxy.shapes import shape_of
from oaiproxy.source import Source
from oaiproxy.templates import Compilation
from oaiproxy.tls import Tls, compile_tls
from oaiproxy.vault import Vault

MOCK_URL = "mock:"
"""The backend address that stands for the mapping's own examples, served on loopback."""


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
    auth: Auth | None = field(default=None, repr=False)
    """What proves each request, where that is more than those headers and parameters."""
    retry: Retry = field(default_factory=Retry)
    tls: Tls | None = None
    secrets: Vault = field(default_factory=Vault)
    allow_hosts: tuple[str, ...] = ()
    """Other hosts that a reply may lead to: names, with `:port` where it is not the scheme's own; or `*.suffix`."""
    local: bool = False
    """Whether the address is that of the mapping's own examples, which stand for all hosts."""
    websocket: bool = False
    """Whether requests open a websocket."""

    @property
    def client_headers(self) -> frozenset[str]:
        """The client's headers that are passed on, in lower case."""
        return frozenset((self.auth.name,)) if isinstance(self.auth, Passthrough) else frozenset()


def compile_backend(source: Source, compilation: Compilation, variables: Source | None = None) -> Backend:
    """Compile the block; what is wrong in it goes to the compilation's findings. `variables` is `vars`."""
    compiler = _Compiler(compilation)
    url = compiler.url(source["url"], websocket=source.value.get("transport") == "websocket")
    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    secrets: set[str] = set(source.document.secrets)
    auth: Auth | None = None
    if given := source.get("auth"):
        constants = source.document.data.get("vars") or {}
        shape = shape_of(constants) if isinstance(constants, dict) else None
        auth, more = compile_auth(given, compilation, variables.value if variables else {}, shape)
        secrets |= more | compiler.auth(given, headers, query)
    timeouts, retry, tls = source.get("timeouts"), source.get("retry"), source.get("tls")
    return Backend(
        url,
        headers,
        query,
        compiler.timeouts(timeouts) if timeouts else Timeouts(),
        auth,
        compiler.retry(retry) if retry else Retry(),
        compile_tls(tls, compilation) if tls else None,
        Vault(secrets),
        allow_hosts=tuple(source.value.get("allow_hosts") or ()),
        websocket=source.value.get("transport") == "websocket",
    )


class _Compiler:
    def __init__(self, compilation: Compilation) -> None:
        self._compilation = compilation

    def url(self, source: Source, *, websocket: bool = False) -> str:
        """The base address, in the characters that an address is made of."""
        text: str = source.value
        if text == MOCK_URL:
            self._check_mock(source)
            return text
        return compile_address(source, self._compilation, websocket=websocket)

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
            kind = next(key for key in given if key != "value")
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
        check_credentials(source, ("bearer", "value"), self._compilation)
        if "basic" in given:
            check_credentials(source["basic"], ("user", "password"), self._compilation)
        return secrets

    def timeouts(self, source: Source) -> Timeouts:
        """The given timeouts over the defaults."""
        usual = Timeouts()
        given = source.items()
        return Timeouts(**{key: compile_seconds(child, self._compilation, getattr(usual, key)) for key, child in given})

    def retry(self, source: Source) -> Retry:
        """What the mapping says about failures that a second try may mend."""
        given = source.value
        return Retry(
            given.get("max", 2),
            frozenset(given.get("on", ())),
            compile_seconds(source.get("backoff"), self._compilation, 0.5),
            given.get("respect_retry_after", True),
        )

    def _report(self, message: str, source: Source, label: str, *, key: bool = False) -> None:
        self._compilation.report("E105", message, source.span(key=key), label=label)
