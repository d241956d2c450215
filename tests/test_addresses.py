"""Promises of addresses from replies: only hosts that the mapping names are asked, however an address is written."""

from __future__ import annotations

import pytest

from oaiproxy.addresses import allowed, follow, local_pattern, parse_address, target
from oaiproxy.errors import BackendError

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
