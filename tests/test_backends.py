"""The `backend` block becomes an address, credentials and times to wait, or findings at their places."""

from __future__ import annotations

import pytest
from support import chat, codes

HEAD = "oaiproxy: 1\nmodels: [m]\n"


AUTHS = {
    "{bearer: k123}": ({"Authorization": "Bearer k123"}, {}),
    "{bearer: ''}": ({}, {}),
    "{header: x-key, value: k123}": ({"x-key": "k123"}, {}),
    "{query: key, value: k123}": ({}, {"key": "k123"}),
    "{basic: {user: me, password: k123}}": ({"Authorization": "Basic bWU6azEyMw=="}, {}),
}


@pytest.mark.parametrize(("auth", "wanted"), AUTHS.items())
def test_credentials(auth: str, wanted: tuple[dict[str, str], dict[str, str]]) -> None:
    """Where they go; their values are secrets, and not in what is printed."""
    mapping = chat(response="{text: t}", backend=f"{{url: 'http://b', auth: {auth}}}")
    assert (mapping.backend.headers, mapping.backend.query) == wanted
    assert "k123" not in repr(mapping)
    assert ("k123" in mapping.secrets) is any(wanted)


BROKEN = {
    "no scheme": ("backend: {url: backend.test}", "E105"),
    "another scheme": ("backend: {url: 'ftp://b'}", "E105"),
    "no host": ("backend: {url: 'http://'}", "E105"),
    "a bad port": ("backend: {url: 'http://b:99999'}", "E105"),
    "a template": ("backend: {url: 'http://{{ model }}/'}", "E105"),
    "credentials": ("backend: {url: 'http://u:p@b'}", "E105"),
    "a query": ("backend: {url: 'http://b?a=1'}", "E105"),
    "a blank at its end": ("backend: {url: 'http://b '}", "E105"),
    "a blank in its path": ("backend: {url: 'http://b/a b'}", "E105"),
    "a line break": ('backend: {url: "http://b\\n/v1"}', "E105"),
    "a tab in its host": ('backend: {url: "http://b\\tc"}', "E105"),
    "a blank that nobody sees": ('backend: {url: "http://b\\u200b/"}', "E105"),
    "a backslash": ("backend: {url: 'http://b\\c'}", "E105"),
    "a host that is none": ('backend: {url: "http://\\u00e4..b"}', "E105"),
    "examples that are not there": ("backend: {url: 'mock:'}", "E105"),
    "a value beside a bearer": ("backend: {url: 'http://b', auth: {bearer: a, value: b}}", "E105"),
    "a value beside basic": ("backend: {url: 'http://b', auth: {basic: {user: a, password: b}, value: c}}", "E105"),
    "a wait without end": ("backend: {url: 'http://b', timeouts: {idle: .inf}}", "E105"),
    "a wait that is no number": ("backend: {url: 'http://b', timeouts: {idle: .nan}}", "E105"),
    "a wait beyond numbers": ("backend: {url: 'http://b', timeouts: {idle: 1e999}}", "E105"),
    "a line break in a key": ('backend: {url: "http://b", auth: {bearer: "a\\n"}}', "E105"),
    "a header that is none": ("backend: {url: 'http://b', headers: {'a b': x}}", "E106"),
    "a header of the connection": ("backend: {url: 'http://b', headers: {Host: x}}", "E106"),
}


@pytest.mark.parametrize(("line", "code"), BROKEN.values(), ids=BROKEN)
def test_mistakes_about_the_backend(line: str, code: str) -> None:
    """An address or a header that cannot work is found at load, on its line."""
    assert codes(f"{HEAD}{line}\nchat: {{request: {{}}, response: {{text: t}}}}\n") == [(code, 3)]


ADDRESSES = {
    "http://b/v1/": "http://b/v1",
    "https://b:8080": "https://b:8080",
    "https://[::1]:8080/a": "https://[::1]:8080/a",
    "https://b/a%20b/c:d": "https://b/a%20b/c:d",
    "https://b/pfad/größe": "https://b/pfad/gr%C3%B6%C3%9Fe",
    "https://bücher.example:81/ä": "https://xn--bcher-kva.example:81/%C3%A4",
}


@pytest.mark.parametrize(("written", "used"), ADDRESSES.items())
def test_addresses(written: str, used: str) -> None:
    """What HTTP does not carry as it stands is encoded: the path in percents, the host in IDNA."""
    assert chat(response="{text: t}", backend=f"{{url: '{written}'}}").backend.url == used


def test_the_examples_may_be_the_backend() -> None:
    """When there are some."""
    examples = "examples: [{request: {messages: []}, backend: {json: {}}}]"
    assert chat(response="{text: t}", backend="{url: 'mock:'}", more=examples).backend.url == "mock:"


def test_timeouts() -> None:
    """Those that are given, over the defaults."""
    timeouts = chat(
        response="{text: t}", backend="{url: 'http://b', timeouts: {idle: 5s, connect: 1}}"
    ).backend.timeouts
    assert (timeouts.connect, timeouts.idle, timeouts.total) == (1.0, 5.0, 900.0)
