"""Promises of `server.tls`: what is wrong with its files is told in its line, and no secret with it."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from keys import Authority, pem

from oaiproxy.config import check_config
from oaiproxy.server_tls import located, server_context

TEXT = "mappings: [example]\nserver:\n  tls:\n    certificate: c.pem\n    key: k.pem\n    client_ca: ca.pem\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A configuration's, with sound files."""
    authority = Authority()
    issued = authority.issue("server")
    (tmp_path / "c.pem").write_text(issued.cert)
    (tmp_path / "k.pem").write_text(issued.key)
    (tmp_path / "ca.pem").write_text(authority.cert)
    return tmp_path


def test_sound_files_are_found_beside_the_configuration(folder: Path) -> None:
    """And make a context that speaks nothing old, and wants a certificate."""
    checked = check_config(TEXT, folder / "config.yaml", {})
    assert (checked.diagnostics, checked.data is not None) == ([], True)
    assert checked.data is not None
    files = checked.data["server"]["tls"]
    assert files == located({"certificate": "c.pem", "key": "k.pem", "client_ca": "ca.pem"}, folder)
    context = server_context(files)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED
    del files["client_ca"]
    assert server_context(files).verify_mode is ssl.CERT_NONE


LOCKED = pem(ec.generate_private_key(ec.SECP256R1()), b"password")
FOREIGN = Authority().issue("other").key


@pytest.mark.parametrize(
    ("name", "text", "line", "code", "told"),
    [
        ("c.pem", None, 4, "E602", "the file `c.pem` cannot be read: no such file"),
        ("k.pem", None, 5, "E602", "the file `k.pem` cannot be read: no such file"),
        ("ca.pem", None, 6, "E602", "the file `ca.pem` cannot be read: no such file"),
        ("c.pem", "canary", 4, "E606", "does not hold a certificate in PEM"),
        ("k.pem", "canary", 5, "E606", "does not hold a private key in PEM"),
        ("ca.pem", "canary", 6, "E606", "does not hold certificates in PEM"),
        ("c.pem", "-----BEGIN CERTIFICATE-----\ncanary\n-----END CERTIFICATE-----\n", 4, "E606", "cannot be used"),
        ("ca.pem", "-----BEGIN CERTIFICATE-----\ncanary\n-----END CERTIFICATE-----\n", 6, "E606", "cannot be used"),
        ("k.pem", FOREIGN, 4, "E606", "key values mismatch"),
        ("k.pem", LOCKED, 4, "E606", "the key has a password"),
    ],
)
def test_files_that_cannot_be_used(folder: Path, name: str, text: str | None, line: int, code: str, told: str) -> None:
    """One finding, at the file that is at fault; none where it is not asked for files."""
    (folder / name).unlink()
    if text is not None:
        (folder / name).write_text(text)
    (found,) = check_config(TEXT, folder / "config.yaml", {}).diagnostics
    assert (found.code, found.span and found.span.line) == (code, line)
    assert told in found.message
    assert found.label or found.help
    assert "canary" not in repr(found)
    assert not check_config(TEXT, folder / "config.yaml", {}, asked=False).diagnostics
