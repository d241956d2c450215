"""Promises about certificates and keys: real TLS on loopback, both ways, and a finding for each that does not fit."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from keys import Authority, Issued, pem, rsa_key
from scripted import REQUEST, Backend, answer, fetch, hello

from oaiproxy.diagnostics import Diagnostic
from oaiproxy.loader import Loader
from oaiproxy.mapping import Mapping
from oaiproxy.provisions import context_of
from oaiproxy.tls import Tls

OK = answer({"text": "fine", "p": 1, "c": 2})
MAPPING = """oaiproxy: 1
models: [m]
backend:
  url: {url}
  {more}
chat:
  request: {{path: /whole, body: {{prompt: "{{{{ prompt }}}}"}}}}
  response: {{text: text, usage: {{prompt: p, completion: c}}}}
"""


class Folder:
    """A folder with an authority, certificates of it, and mappings that name them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.authority = Authority()
        self.other = Authority()
        self.write("ca.pem", self.authority.cert)
        self.write("other.pem", self.other.cert)
        self.issue("server", "127.0.0.1")
        self.issue("named", "backend.internal")
        self.issue("client", "a client")
        self.write("two.pem", (path / "client.pem").read_text() + (path / "client.key").read_text())

    def write(self, name: str, text: str) -> None:
        (self.path / name).write_text(text)

    def issue(self, name: str, host: str) -> Issued:
        issued = self.authority.issue(host)
        self.write(f"{name}.pem", issued.cert)
        self.write(f"{name}.key", issued.key)
        return issued

    def server(self, name: str = "server", client: bool = False) -> ssl.SSLContext:
        """The server's side; with `client`, it asks for the client's certificate."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.path / f"{name}.pem", self.path / f"{name}.key")
        if client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.path / "ca.pem")
        return context

    def check(
        self, more: str, url: str = "https://api.example.com", *, environment: bool = True, **variables: str
    ) -> tuple[Mapping | None, tuple[Diagnostic, ...]]:
        """A mapping with these lines, and what is found in it."""
        self.write("m.yaml", MAPPING.format(url=url, more=more))
        checked = Loader(variables).check(self.path / "m.yaml", environment=environment)
        return checked.mapping, checked.diagnostics

    def mapping(self, more: str, url: str) -> Mapping:
        """A mapping in which no error is found."""
        found, findings = self.check(more, url)
        assert found is not None, findings
        return found


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


class SecureBackend(Backend):
    """A scripted backend behind TLS."""

    def __init__(self, context: ssl.SSLContext, *scripts: Any) -> None:
        super().__init__(*scripts)
        self.context = context

    async def __aenter__(self) -> Any:
        import asyncio

        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self.context)
        self.url = f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self


TRUSTING: dict[str, tuple[str, str, bool]] = {
    "an authority of its own": ("tls: {ca: ca.pem}", "server", False),
    "its content": ("tls: {ca: '${file:ca.pem}'}", "server", False),
    "a certificate of the client": ("tls: {ca: ca.pem, cert: client.pem, key: client.key}", "server", True),
    "both in one file": ("tls: {ca: ca.pem, cert: two.pem}", "server", True),
    "by content": ("tls: {ca: ca.pem, cert: '${file:client.pem}', key: '${file:client.key}'}", "server", True),
    "another name": ("tls: {ca: ca.pem, server_name: backend.internal}", "named", False),
    "anyone": ("tls: {verify: false}", "server", False),
    "anyone who knows us": ("tls: {verify: false, cert: client.pem, key: client.key}", "named", True),
}


@pytest.mark.parametrize(("more", "server", "client"), TRUSTING.values(), ids=TRUSTING)
async def test_a_backend_that_is_trusted(proxy: Any, folder: Folder, more: str, server: str, client: bool) -> None:
    """Over TLS 1.2 or later, with the certificates that the mapping names."""
    async with SecureBackend(folder.server(server, client), [REQUEST, OK]) as backend:
        running = await proxy(folder.mapping(more, backend.url))
        assert (await fetch(running.url, hello())).text == "fine"


REFUSING: dict[str, tuple[str, str, bool]] = {
    "nobody's authority": ("timeouts: {}", "server", False),
    "another authority": ("tls: {ca: other.pem}", "server", False),
    "another name": ("tls: {ca: ca.pem}", "named", False),
    "a name that it has not": ("tls: {ca: ca.pem, server_name: backend.internal}", "server", False),
}


@pytest.mark.parametrize(("more", "server", "client"), REFUSING.values(), ids=REFUSING)
async def test_a_backend_that_is_not_trusted(proxy: Any, folder: Folder, more: str, server: str, client: bool) -> None:
    """Nothing of the request leaves."""
    async with SecureBackend(folder.server(server, client), [REQUEST, OK]) as backend:
        running = await proxy(folder.mapping(more, backend.url))
        wire = await fetch(running.url, hello())
        assert (wire.status, wire.error["code"]) == (502, "upstream_tls_error")
        assert backend.requests == []


async def test_a_client_without_a_certificate(proxy: Any, folder: Folder) -> None:
    """A backend that wants one breaks the connection."""
    async with SecureBackend(folder.server(client=True), [REQUEST, OK]) as backend:
        running = await proxy(folder.mapping("tls: {ca: ca.pem}", backend.url))
        assert (await fetch(running.url, hello())).status == 502
        assert backend.requests == []


async def test_certificates_are_for_the_backend_alone(proxy: Any, folder: Folder) -> None:
    """A token server elsewhere is not trusted for them."""
    token = answer({"access_token": "t"})
    servers = SecureBackend(folder.server(), [REQUEST, token]), SecureBackend(folder.server(), [REQUEST, OK])
    async with servers[0] as server, servers[1] as backend:
        oauth2 = f"{{oauth2: {{token_url: '{server.url}', client_id: a, client_secret: b}}}}"
        running = await proxy(folder.mapping(f"tls: {{ca: ca.pem}}\n  auth: {oauth2}", backend.url))
        assert (await fetch(running.url, hello())).error["code"] == "upstream_auth_error"
        assert server.requests == []


async def test_a_service_account(proxy: Any, folder: Folder) -> None:
    """Its assertion is signed by its key, for the token server (RFC 7523)."""
    import base64
    import json
    from urllib.parse import parse_qs

    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    token = answer({"access_token": "token-0001", "expires_in": 3599})
    async with Backend([REQUEST, token]) as server, Backend([REQUEST, OK]) as backend:
        account = {
            "client_email": "me@example.com",
            "private_key": pem(rsa_key()),
            "private_key_id": "k1",
            "token_uri": server.url + "/token",
        }
        folder.write("account.json", json.dumps(account))
        auth = "auth: {gcp_service_account: '${file:account.json}', scope: all}"
        running = await proxy(folder.mapping(auth, backend.url))
        assert (await fetch(running.url, hello())).text == "fine"
        assert backend.requests[0].header("authorization") == "Bearer token-0001"
        sent = {name: value for name, (value,) in parse_qs(server.requests[0].body.decode()).items()}
        assert sent["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
        signed, _, mark = sent["assertion"].rpartition(".")
        head, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in signed.split("."))
        assert head == {"alg": "RS256", "typ": "JWT", "kid": "k1"}
        assert (claims["iss"], claims["aud"], claims["scope"]) == ("me@example.com", server.url + "/token", "all")
        assert claims["exp"] - claims["iat"] == 3600
        rsa_key().public_key().verify(
            base64.urlsafe_b64decode(mark + "=="), signed.encode(), padding.PKCS1v15(), hashes.SHA256()
        )


UNFIT: dict[str, tuple[str, str, str]] = {
    "no such file": ("tls: {ca: none.pem}", "E602", "`none.pem` cannot be read: no such file or directory"),
    "no certificate": ("tls: {ca: m.yaml}", "E606", "`m.yaml` does not hold certificates in PEM"),
    "half a certificate": ("tls: {ca: half.pem}", "E606", "`backend.tls.ca` cannot be used"),
    "a key of another": ("tls: {cert: client.pem, key: server.key}", "E606", "`backend.tls.cert` cannot be used"),
    "no key at all": ("tls: {cert: client.pem}", "E606", "`backend.tls.cert` cannot be used"),
    "a key with a password": ("tls: {cert: client.pem, key: locked.key}", "E606", "the key has a password"),
    "no signing key": ("auth: {jwt: {algorithm: RS256, key: x}}", "E606", "not a private key in PEM"),
    "a key of another kind": ("auth: {jwt: {algorithm: RS256, key: '${file:client.key}'}}", "E606", "not an RSA key"),
    "a curve of another size": ("auth: {jwt: {algorithm: ES384, key: '${file:client.key}'}}", "E606", "P-384"),
}


@pytest.mark.parametrize(("more", "code", "message"), UNFIT.values(), ids=UNFIT)
def test_what_does_not_fit_is_found_at_check(folder: Folder, more: str, code: str, message: str) -> None:
    """At its place, unless the environment is not looked at."""
    folder.write("half.pem", "\n".join(folder.authority.cert.splitlines()[:4]))
    folder.write("locked.key", pem(ec.generate_private_key(ec.SECP256R1()), b"secret"))
    _, (found,) = folder.check(more)
    assert (found.code, found.span and found.span.line) == (code, 5)
    assert message in found.message
    assert found.label
    mapping, findings = folder.check(more, environment=False)
    assert findings == ()
    assert mapping is not None


@pytest.mark.parametrize(
    ("auth", "module", "extra"),
    [
        ("{sigv4: {service: s, region: r, access_key: a, secret_key: b}}", "botocore", "oaiproxy[aws]"),
        ("{jwt: {algorithm: ES256, key: '${file:client.key}'}}", "cryptography", "oaiproxy[gcp]"),
    ],
)
def test_a_library_that_is_not_there(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, auth: str, module: str, extra: str
) -> None:
    """The finding says how to get it."""
    assert folder.check(f"auth: {auth}")[1] == ()
    monkeypatch.setattr("oaiproxy.provisions.find_spec", lambda name: None)
    _, (found,) = folder.check(f"auth: {auth}")
    assert (found.code, module in found.message, extra in found.label) == ("E605", True, True)


def test_the_key_is_not_left_on_the_disk(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a file only as long as the library reads it."""
    scratch = folder.path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    issued = folder.authority.issue("x")
    tls = Tls(cert=issued.cert, key=issued.key)
    context_of(tls)
    assert list(scratch.iterdir()) == []
    assert issued.key.splitlines()[1] not in repr(tls)


@pytest.mark.parametrize("key", ["MIIEvQIBADANBg-canary", "canary\0", "canary" * 1000, "m.yaml"])
def test_a_key_in_place_of_its_path_is_not_told(folder: Folder, key: str) -> None:
    """A variable may hold the key itself, in a form that is not PEM."""
    _, (found,) = folder.check("tls: {cert: client.pem, key: '${KEY}'}", KEY=key)
    assert found.code in ("E602", "E606")
    assert "the file that is named here" in found.message
    assert key not in f"{found.message}{found.label}{found.help}"
