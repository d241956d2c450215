"""The `server.tls` block to what TLS needs of it, and what is wrong with its files."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from os.path import join
from pathlib import Path

from oaiproxy.diagnostics import Diagnostic
from oaiproxy.document import Document

FILES = {"certificate": "a certificate", "key": "a private key", "client_ca": "certificates"}


def server_context(files: Mapping[str, str]) -> ssl.SSLContext:
    """The context of a server, at least TLS 1.2. Raises OSError, of which ssl.SSLError is one, and ValueError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(files["certificate"], files["key"], password=_no_password)
    if "client_ca" in files:
        context.load_verify_locations(files["client_ca"])
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _no_password() -> str:
    raise ValueError("the key has a password")


def located(files: Mapping[str, str], folder: Path) -> dict[str, str]:
    """The files, whose names are relative to the configuration's folder."""
    return {name: join(folder, path) for name, path in files.items()}


def tls_findings(document: Document, folder: Path) -> Iterator[Diagnostic]:
    """What is wrong with the files that are named."""
    server = document.data.get("server")
    given = server.get("tls") if isinstance(server, dict) else None
    if not isinstance(given, dict) or not all(isinstance(given.get(name), str) for name in ("certificate", "key")):
        return
    places = {name: ("server", "tls", name) for name in FILES if isinstance(given.get(name), str)}
    if any(place in document.unresolved for place in places.values()):
        return
    files = located({name: given[name] for name in places}, folder)
    missing = False
    for name, place in places.items():
        try:
            text = Path(files[name]).read_bytes()
        except (OSError, ValueError) as error:
            missing = True
            reason = ((isinstance(error, OSError) and error.strerror) or "it is no path").lower()
            shown = document.written(place) or given[name]
            message = f"the file `{shown}` cannot be read: {reason}"
            help_ = "paths are relative to the configuration file"
            yield Diagnostic("E602", message, document.span(place), help=help_)
            continue
        if b"-----BEGIN " not in text:
            missing = True
            message = f"`server.tls.{name}` does not hold {FILES[name]} in PEM"
            yield Diagnostic("E606", message, document.span(place), "it has a line `-----BEGIN ...`")
    for names in () if missing else (("certificate", "key"), tuple(files)):
        try:
            server_context({name: files[name] for name in names})
        except (OSError, ValueError) as error:
            name = names[-1] if len(names) > 2 else "certificate"
            known = isinstance(error, ssl.SSLError) and error.reason
            reason = known.replace("_", " ").lower() if known else "it cannot be read"
            reason = reason if isinstance(error, OSError) else str(error)
            message = f"`server.tls.{name}` cannot be used: {reason}"
            label = "give the key of this certificate, without a password" if name != "client_ca" else "give it in PEM"
            yield Diagnostic("E606", message, document.span(places[name]), label)
            return
