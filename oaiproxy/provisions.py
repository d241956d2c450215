"""What a mapping needs of its machine: the files of its certificates, the libraries of its credentials, sound keys."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Container, Iterator
from dataclasses import replace
from importlib.util import find_spec
from os.path import join
from tempfile import TemporaryDirectory
from typing import Any

from oaiproxy.auth import Signed, TokenAuth
from oaiproxy.backends import Backend
from oaiproxy.check import Fault
from oaiproxy.document import Path
from oaiproxy.tls import Tls, is_pem

_FILES = {"ca": "certificates", "cert": "a certificate", "key": "a private key"}


def provide(backend: Backend, read_file: Callable[[str, Path], str]) -> tuple[Backend, tuple[Fault, ...]]:
    """The backend with the contents of the files that it names, and what is missing or unfit.

    `read_file` takes a name and the path at which it stands below `backend`, and raises OSError.
    """
    faults = list(_credentials(backend))
    if backend.tls is None:
        return backend, tuple(faults)
    tls, more = _loaded(backend.tls, read_file, backend.secrets)
    return replace(backend, tls=tls), (*faults, *(more or _unfit(tls)))


def context_of(tls: Tls) -> ssl.SSLContext:
    """The TLS context. Raises ssl.SSLError or ValueError for certificates and keys that do not fit."""
    context = ssl.create_default_context(cadata=tls.ca or None)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert:
        with TemporaryDirectory() as folder:  # the library takes files alone
            path = join(folder, "chain.pem")
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(f"{tls.cert}\n{tls.key}\n")
            context.load_cert_chain(path, password=_no_password)
    return context


def _no_password() -> str:
    raise ValueError("the key has a password")


def _credentials(backend: Backend) -> Iterator[Fault]:
    auth = backend.auth
    library = auth.library if isinstance(auth, TokenAuth | Signed) else None
    if library is not None and find_spec(library.module) is None:
        message = f"these credentials need the library `{library.module}`, which is not installed"
        yield Fault(("auth",), "E605", message, f"`pip install 'oaiproxy[{library.extra}]'`", key=True)
    elif isinstance(auth, TokenAuth) and auth.trial is not None:
        try:
            auth.trial()
        except ValueError as error:
            yield Fault(("auth",), "E606", f"the private key cannot be used: {error}", _KEY_HELP, key=True)


_KEY_HELP = "take the file as it was issued, with its line breaks: `${file:/run/secrets/key.pem}`"


def _loaded(tls: Tls, read_file: Callable[[str, Path], str], secrets: Container[str]) -> tuple[Tls, list[Fault]]:
    """The settings with texts in the place of paths. What came from outside may be a key itself, and is not told."""
    faults: list[Fault] = []
    texts: dict[str, Any] = {}
    for name, what in _FILES.items():
        path: str = getattr(tls, name)
        if not path or is_pem(path):
            continue
        named = "the file that is named here" if path in secrets else f"the file `{path}`"
        try:
            text = read_file(path, ("tls", name))
        except (OSError, ValueError) as error:
            known = isinstance(error, OSError) and error.strerror
            reason = known.lower() if known else "it is no path"
            message = f"{named} cannot be read: {reason}"
            faults.append(Fault(("tls", name), "E602", message, "paths are relative to the mapping file"))
            continue
        if not is_pem(text):
            message = f"{named} does not hold {what} in PEM"
            faults.append(Fault(("tls", name), "E606", message, "it begins with `-----BEGIN`"))
            continue
        texts[name] = text
    return replace(tls, **texts), faults


def _unfit(tls: Tls) -> list[Fault]:
    """What TLS itself finds wrong with the certificates."""
    for name, part in (("ca", replace(tls, cert="", key="")), ("cert", replace(tls, ca=""))):
        try:
            context_of(part)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            reason = "it cannot be read" if isinstance(error, OSError) else str(error)
            if isinstance(error, ssl.SSLError) and error.reason:
                reason = error.reason.replace("_", " ").lower()
            message = f"`backend.tls.{name}` cannot be used: {reason}"
            label = "give the key of this certificate, without a password" if name == "cert" else "give it in PEM"
            return [Fault(("tls", name), "E606", message, label)]
    return []
