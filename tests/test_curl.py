"""Promises of reading curl commands: the call that curl would make, and no guess where a command is not understood."""

from __future__ import annotations

import pytest

from oaiproxy.curl import CurlError, parse_curl
from oaiproxy.samples import Sample

FILES = {"body.json": '{"a": 1}', "lines.txt": "a\nb\n"}


def read(name: str) -> str:
    if name not in FILES:
        raise FileNotFoundError(2, "No such file or directory", name)
    return FILES[name]


def parsed(command: str) -> Sample:
    return parse_curl(command, read)


@pytest.mark.parametrize(
    ("command", "method", "url", "body"),
    [
        ("curl https://a.test/x", "GET", "https://a.test/x", None),
        ("curl a.test/x", "GET", "http://a.test/x", None),
        ("$ curl $BASE/x", "GET", "$BASE/x", None),
        ("KEY=1 /usr/bin/curl --url https://a.test", "GET", "https://a.test", None),
        ("curl -XPUT https://a.test -d '{\"a\": 1}'", "PUT", "https://a.test", {"a": 1}),
        ("curl https://a.test -sSLNk -o out -m 5 --data-raw '[1]'", "POST", "https://a.test", [1]),
        ("curl https://a.test --json @body.json", "POST", "https://a.test", {"a": 1}),
        ("curl https://a.test -d@body.json --compressed", "POST", "https://a.test", {"a": 1}),
        ("curl https://a.test -d @lines.txt", "POST", "https://a.test", "ab"),
        ("curl https://a.test --data-binary @lines.txt", "POST", "https://a.test", "a\nb\n"),
        ("curl https://a.test -d a=1 -d b=2", "POST", "https://a.test", "a=1&b=2"),
        ("curl https://a.test -d 5", "POST", "https://a.test", "5"),
        ("curl https://a.test --data-urlencode 'a=b c'", "POST", "https://a.test", "a=b%20c"),
        ("curl -G https://a.test/?x=1 -d a=1 --data-urlencode 'q=b c'", "GET", "https://a.test/?x=1&a=1&q=b%20c", None),
        ("curl https://a.test -F 'a=b' -F 'c=<body.json'", "POST", "https://a.test", {"a": "b", "c": '{"a": 1}'}),
    ],
)
def test_the_call_is_the_one_that_curl_makes(command: str, method: str, url: str, body: object) -> None:
    """Method, address and body."""
    made = parsed(command)
    assert (made.method, made.url, made.body) == (method, url, body)


def test_headers_are_in_lower_case() -> None:
    """Those that options stand for too; a header without a value is none."""
    made = parsed("curl https://a.test -H 'X-Key: $K' -H 'Empty:' -A me -b 'c=d' --json '{}' -u me:pw")
    assert dict(made.headers) == {
        "content-type": "application/json",
        "accept": "application/json",
        "x-key": "$K",
        "user-agent": "me",
        "cookie": "c=d",
        "authorization": "Basic bWU6cHc=",
    }
    assert dict(parsed("curl https://a.test -u '$ME:$PW'").headers)["authorization"] == "Basic $ME:$PW"
    assert dict(parsed("curl https://a.test --oauth2-bearer t").headers)["authorization"] == "Bearer t"


@pytest.mark.parametrize(
    ("command", "position", "told"),
    [
        ("", 0, "there is no command"),
        ("wget https://a.test", 0, "this is no curl command: it begins with `wget`"),
        ("curl -s", None, "the command has no address"),
        ("curl https://a.test --frobnicate", 20, "the option `--frobnicate` is not known here"),
        ("curl https://a.test -sZ", 20, "the option `-Z` is not known here"),
        ("curl https://a.test -H", 20, "the option `-H` has no value"),
        ("curl https://a.test https://b.test", 20, "there are two addresses, the second is `https://b.test`"),
        ("curl https://a.test -d @nowhere", 20, "the file `nowhere` that the command sends cannot be read"),
        ("curl https://a.test -d '{\"a\": }'", None, "the body is not JSON"),
        ("curl 'https://a.test", 5, "the quote `'` that opens here is not closed"),
    ],
)
def test_what_is_not_understood_is_told(command: str, position: int | None, told: str) -> None:
    """With its place, where it has one."""
    with pytest.raises(CurlError) as raised:
        parsed(command)
    assert str(raised.value).startswith(told)
    assert raised.value.position == position
