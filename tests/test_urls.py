"""Addresses are checked and encoded; which of them are safe, and which are the same place."""

from __future__ import annotations

import pytest
from support import chat, findings_of
from yarl import URL

from oaiproxy.auth import Signed
from oaiproxy.signing import Final, Moment
from oaiproxy.urls import is_safe, origin

TEXT = """oaiproxy: 1
models: [m]
backend: {{url: "https://b", auth: {{oauth2: {{token_url: "{url}", client_id: a, client_secret: b}}}}}}
chat: {{request: {{body: {{q: "{{{{ prompt }}}}"}}}}, response: {{text: t}}}}
"""


@pytest.mark.parametrize(
    "url",
    [
        "b.test",
        "ftp://b",
        "http://",
        "http://u:p@b",
        "http://b?a=1",
        "http://b/ c",
        "http://{{ now }}/",
        "http://b\\\\c",
    ],
)
def test_any_address_of_a_mapping_is_checked(url: str) -> None:
    """Also one of a token server; the finding names the key, and not the value."""
    _, (found,) = findings_of(TEXT.format(url=url))
    assert found.code == "E105"
    assert found.message.startswith("`backend.auth.oauth2.token_url` ")


@pytest.mark.parametrize("url", ["https://u:p@b", "https://b/token?grant_type=x"])
def test_what_to_do_about_a_token_servers_address(url: str) -> None:
    """Never to write a key that its block does not have."""
    _, (found,) = findings_of(TEXT.format(url=url))
    assert found.label.startswith("take")
    assert "oauth2.query" not in found.label


def test_addresses_are_encoded() -> None:
    """By IDNA in the host, by percents in the path."""
    assert chat(response="{text: t}", backend="{url: 'https://ä.test/ö/'}").backend.url == "https://xn--4ca.test/%C3%B6"


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://A.Test:443/x", "a.test"),
        ("http://a.test:80", "a.test"),
        ("https://a.test:80", "a.test:80"),
        ("http://[::1]:80", "[::1]"),
        ("http://[::1]:81", "[::1]:81"),
        ("https://Ä.test:8443", "xn--4ca.test:8443"),
    ],
)
def test_the_host_is_the_one_that_is_sent(url: str, host: str) -> None:
    """A signature over another way to write it would not hold."""
    signed = "sign: {headers: {x: '{{ http.host }}'}}"
    backend = chat(response="{text: t}", backend=f"{{url: '{url}', auth: {{{signed}}}}}").backend
    assert isinstance(backend.auth, Signed)
    proof = backend.auth.sign(Final("GET", f"{backend.url}/y", {}, None), Moment(0.0, ""))
    assert proof.headers == {"x": host}
    assert URL(backend.url).host_port_subcomponent == host


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://a.test/x", True),
        ("http://127.0.0.1:80/", True),
        ("http://localhost", True),
        ("http://[::1]:8080", True),
        ("http://a.test", False),
        ("http://127.0.0.1.a.test", False),
        ("http://localhost.a.test", False),
        ("http://128.0.0.1", False),
    ],
)
def test_what_cannot_be_read_on_the_way(url: str, safe: bool) -> None:
    """TLS, or this very machine."""
    assert is_safe(url) is safe


def test_origins() -> None:
    """A port that goes without saying is the same as one that is said."""
    assert origin("https://A.test/x") == origin("https://a.test:443/y?z")
    assert origin("wss://a.test") == origin("https://a.test")
    assert len({origin(url) for url in ("https://a.test", "http://a.test", "https://b.test", "https://a.test:1")}) == 4
