"""Promises of addresses: a mapping's are checked and encoded, and replies lead only to hosts that it names."""

from __future__ import annotations

import pytest
from support import chat, findings_of
from yarl import URL

from oaiproxy.addresses import allowed, follow, is_safe, local_pattern, origin, parse_address, target
from oaiproxy.auth import Signed
from oaiproxy.errors import BackendError
from oaiproxy.signing import Final, Moment

BASE = "https://api.example.com/v1"
ALLOW = ("live.example.com", "local.test:8080", "*.cdn.example.com", "*.alt.test:444", "[::1]:9")


@pytest.mark.parametrize(
    ("found", "asked"),
    [
        ("https://api.example.com/v1/tasks/7", "https://api.example.com/v1/tasks/7"),
        ("https://API.example.com:443/other?a=b%2Fc", "https://api.example.com/other?a=b%2Fc"),
        ("/v2/tasks/7", "https://api.example.com/v2/tasks/7"),
        ("https://live.example.com", "https://live.example.com/"),
        ("https://local.test:8080/x", "https://local.test:8080/x"),
        ("https://a.b.cdn.example.com/é?q=ü", "https://a.b.cdn.example.com/%C3%A9?q=%C3%BC"),
        ("https://x.alt.test:444/", "https://x.alt.test:444/"),
        ("https://[::1]:9/x", "https://[::1]:9/x"),
    ],
)
def test_a_host_that_is_named_is_asked(found: str, asked: str) -> None:
    """The backend's own, and those allowed; path and query as they came."""
    assert follow(found, BASE, ALLOW) == asked


@pytest.mark.parametrize(
    "found",
    [
        "http://api.example.com/v1",
        "http://live.example.com/",
        "https://api.example.com:8443/",
        "https://live.example.com:8443/",
        "https://local.test/",
        "https://evil.test/",
        "https://api.example.com.evil.test/",
        "https://evilcdn.example.com/",
        "https://cdn.example.com/",
        "https://.cdn.example.com/",
        "https://api.example.com@evil.test/",
        "https://user:password@api.example.com/",
        "https://evil.test#@api.example.com/",
        "https://api.example.com/x#fragment",
        "https://evil.test\\@api.example.com/",
        "https://api.example.com\t.evil.test/",
        "https://api.example.com/a b",
        "https://api.example.com/\r\nx: y",
        "https://аpi.example.com/",
        "//evil.test/x",
        "https:evil.test",
        "https:///x",
        "https://api.example.com:0/",
        "https://api.example.com:99999/",
        "ftp://api.example.com/",
        "file:///etc/passwd",
        "http://169.254.169.254/latest/meta-data",
        "https://api.example.com/" + "x" * 9000,
        "",
        None,
        7,
        {"url": "https://api.example.com/"},
    ],
)
def test_any_other_address_is_refused(found: object) -> None:
    """With an error that names the host at most, and no path, which may hold a token."""
    with pytest.raises(BackendError) as caught:
        follow(found, BASE, ALLOW)
    assert (caught.value.code, caught.value.status) == ("upstream_forbidden_url", 502)
    assert "password" not in caught.value.detail
    assert "latest" not in caught.value.detail


def test_a_backend_on_http_may_lead_to_http() -> None:
    """On loopback nothing is encrypted."""
    assert follow("http://live.example.com/x", "http://127.0.0.1:9", ALLOW) == "http://live.example.com/x"
    assert follow("/x", "http://127.0.0.1:9/v1", ()) == "http://127.0.0.1:9/x"


def test_the_examples_stand_for_all_hosts() -> None:
    """With `mock:` nothing leaves the machine; what is not allowed is not allowed there either."""
    base = "http://127.0.0.1:9"
    assert follow("https://live.example.com/x?y=1", base, ALLOW, local=True) == "http://127.0.0.1:9/x?y=1"
    assert follow("http://127.0.0.1:9/x", base, ALLOW, local=True) == "http://127.0.0.1:9/x"
    with pytest.raises(BackendError):
        follow("https://evil.test/x", base, ALLOW, local=True)


def test_nothing_is_allowed_without_a_home() -> None:
    """`mock:` has no host of its own."""
    address = parse_address("https://live.example.com/x")
    assert address is not None
    assert allowed(address, "mock:", ALLOW)
    assert not allowed(address, "mock:", ())


def test_addresses_in_examples_lead_to_the_mock() -> None:
    """Those of the backend, its base first, and of allowed hosts; no others."""
    pattern = local_pattern(BASE, ALLOW)
    text = (
        b"https://api.example.com/v1/a https://api.example.com/b https://live.example.com/c https://x.y.cdn.example.com"
    )
    assert pattern.sub(b"M", text) == b"M/a M/b M/c M"
    other = b"https://api.example.com.evil/ https://live.example.community/ https://evil.test/ https://local.test/"
    assert pattern.sub(b"M", other) == other
    assert local_pattern("mock:", ()).sub(b"M", text) == text


def test_a_target_is_what_follows_the_base() -> None:
    """Or the host, where it is another."""
    assert target(BASE + "/a?b", BASE) == "/a?b"
    assert target("https://live.example.com/c?d", BASE) == "/c?d"
    assert target("mock:/a", "mock:") == "/a"


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
