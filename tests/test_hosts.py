"""Promises of the names in `Host`: those of this server, and no page's own."""

from __future__ import annotations

import pytest

from oaiproxy.hosts import MAX_KNOWN, Hosts, meant_hosts

LOCAL = ("localhost", "LocalHost:8000", "localhost.", "127.0.0.1:8000", "127.1.2.3", "[::1]:8000", "localhost:")
FOREIGN = ("evil.com", "evil.com:8000", "localhost.evil.com", "127.0.0.1.evil.com", "evil-localhost", "proxy")
MALFORMED = (
    "",
    "a/admin?",
    "a#b",
    "a b",
    "a@b",
    "a,b",
    "a:b",
    ":80",
    "[::1",
    "a:123456",
    "é",
    "\udcff",
    "a%2eb",
    "a\\b",
)


@pytest.mark.parametrize("bound", ["127.0.0.1", "::1", "localhost", "0.0.0.0", "10.0.0.1"])
def test_loopback_is_always_meant(bound: str) -> None:
    """And no name that only looks like it."""
    hosts = meant_hosts(bound, (), guarded=False)
    assert all(hosts.is_meant(each) for each in LOCAL * 2)
    assert not any(hosts.is_meant(each) for each in FOREIGN * 2)


@pytest.mark.parametrize(
    ("bound", "host", "meant"),
    [
        ("10.0.0.1", "10.0.0.1:8000", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("fd00::1", "[FD00::1]:8000", True),
        ("0.0.0.0", "10.0.0.2:8000", True),
        ("::", "[fd00::2]", True),
        ("::", "fd00.example.com", False),
        ("127.0.0.1", "10.0.0.2", False),
        ("llm.local", "llm.local:80", True),
    ],
)
def test_the_address_that_is_listened_on_is_meant(bound: str, host: str, meant: bool) -> None:
    """All of them, where all are listened on: only names can be turned."""
    assert meant_hosts(bound, (), guarded=False).is_meant(host) is meant


@pytest.mark.parametrize(
    ("names", "host", "meant"),
    [
        (["llm.example.com"], "LLM.example.com:443", True),
        (["llm.example.com"], "x.llm.example.com", False),
        (["*.example.com"], "a.b.example.com", True),
        (["*.example.com"], "example.com", False),
        (["*.example.com"], "badexample.com", False),
        (["*"], "evil.com", True),
        (["10.1.1.1"], "10.1.1.1:8000", True),
        (["[fd00::1]"], "[fd00::1]:8000", True),
    ],
)
@pytest.mark.parametrize("guarded", [False, True])
def test_names_that_are_configured_are_meant(names: list[str], host: str, meant: bool, guarded: bool) -> None:
    """With keys too, and then no others are."""
    assert meant_hosts("127.0.0.1", names, guarded).is_meant(host) is meant


def test_behind_keys_any_name_is_meant() -> None:
    """Unless some are configured."""
    assert all(meant_hosts("127.0.0.1", (), guarded=True).is_meant(each) for each in FOREIGN)


@pytest.mark.parametrize("host", MALFORMED)
@pytest.mark.parametrize("hosts", [Hosts(), meant_hosts("127.0.0.1", (), guarded=False), Hosts(["*"])])
def test_what_is_no_host_is_an_error(hosts: Hosts, host: str) -> None:
    """Whatever names are meant."""
    with pytest.raises(ValueError, match="no host"):
        hosts.is_meant(host)


def test_what_is_kept_in_mind_has_a_bound() -> None:
    """A client can make up as many as it likes."""
    hosts = Hosts()
    assert all(hosts.is_meant(f"h{number}") for number in range(2 * MAX_KNOWN))
    assert len(hosts.known) == MAX_KNOWN
