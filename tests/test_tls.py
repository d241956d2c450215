"""The `backend.tls` block becomes settings; what makes a connection less safe is said."""

from __future__ import annotations

from support import chat, findings_of

from oaiproxy.tls import Tls, is_pem

TEXT = """oaiproxy: 1
models: [m]
backend: {{url: "https://b", tls: {tls}}}
chat: {{request: {{}}, response: {{text: t}}}}
"""


def test_settings() -> None:
    """As they are written; the key does not print."""
    backend = "{url: 'https://b', tls: {ca: a.pem, cert: c.pem, key: k.pem, server_name: n}}"
    tls = chat(response="{text: t}", backend=backend).backend.tls
    assert tls == Tls("a.pem", "c.pem", "k.pem", True, "n")
    assert "k.pem" not in repr(tls)
    assert chat(response="{text: t}").backend.tls is None


def test_no_verification_is_warned_of() -> None:
    """And an authority beside it has no effect."""
    mapping, (found,) = findings_of(TEXT.format(tls="{verify: false}"))
    assert mapping is not None
    assert (found.code, found.severity) == ("W105", "warning")
    assert {found.code for found in findings_of(TEXT.format(tls="{verify: false, ca: x}"))[1]} == {"W105", "E105"}


def test_content_and_paths() -> None:
    """A file's content begins as PEM does."""
    assert is_pem("\n-----BEGIN CERTIFICATE-----\n...")
    assert not is_pem("certs/-----BEGIN .pem")
