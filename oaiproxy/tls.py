"""The `backend.tls` block to whom the proxy trusts, and what it shows of itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from oaiproxy.diagnostics import Severity
from oaiproxy.source import Source
from oaiproxy.templates import Compilation

_BEGIN = "-----BEGIN "


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificates and a key, in PEM or as paths of files with it; "" for none. `ca` "" is what the system trusts."""

    ca: str = ""
    cert: str = ""
    key: str = field(default="", repr=False)
    verify: bool = True
    server_name: str | None = None


def is_pem(text: str) -> bool:
    """Whether it is the content of a file, as `${file:...}` gives it, rather than its path."""
    return text.lstrip().startswith(_BEGIN)


def compile_tls(source: Source, compilation: Compilation) -> Tls:
    """Compile the block; what is strange in it goes to the compilation's findings."""
    given = source.value
    if given.get("verify") is False:
        compilation.report(
            "W105",
            "the backend's certificate is not verified: anyone on the way can read the key and the texts",
            source["verify"].span(),
            label="give its certificate authority as `ca` instead",
            severity=Severity.WARNING,
        )
        if "ca" in given:
            label = "leave out one of the two"
            compilation.report(
                "E105", "`ca` has no effect beside `verify: false`", source["ca"].span(key=True), label=label
            )
    return Tls(**given)
