"""Promises of command lines: a request as HTTP and as curl would send it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from oaiproxy.commandlines import Shown, as_curl, as_http
from oaiproxy.discretion import Discretion, referred

NONE = Discretion([], [], {})
TELL = "import json, sys; print(json.dumps([sys.argv[1:], sys.stdin.read()]))"
CURL = f"curl() {{ {sys.executable} -c '{TELL}' \"$@\"; }}\n"


def run(line: str) -> tuple[list[str], str]:
    """The arguments that a shell gives to curl, and its input."""
    made = subprocess.run(
        ["sh", "-c", CURL + line],
        env={"K": "a b"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    arguments, given = json.loads(made.stdout)
    return arguments, given


def test_http_has_its_parts() -> None:
    """JSON laid out, and no secret."""
    shown = Shown("POST", "https://a/b", {"A": referred("x ${K}")}, b'{"k":"secret-1"}')
    text = as_http(shown, Discretion(["secret-1"], [], {}))
    assert text == 'POST https://a/b HTTP/1.1\nA: x $K\n\n{\n  "k": "***"\n}'


@pytest.mark.parametrize(
    ("body", "last"),
    [(None, "A: x a b"), (b'{"a": "it\'s"}', '{"a": "it\'s"}'), ("é\n".encode(), "é\n"), (b"", "")],
)
def test_curl_gets_what_was_sent(body: bytes | None, last: str) -> None:
    """In the order of curl's own words."""
    arguments, _ = run(as_curl(Shown("GET", "https://a/b?c=d&e", {"A": referred("x ${K}")}, body), NONE))
    assert arguments[:4] == ["-sS", "https://a/b?c=d&e", "-H", "A: x a b"]
    assert arguments[-1] == last


def test_what_is_no_text_comes_from_a_pipe() -> None:
    """NUL as well, which no argument can hold."""
    arguments, given = run(as_curl(Shown("POST", "https://a", {}, b"a\0b"), NONE))
    assert arguments == ["-sS", "-X", "POST", "https://a", "--data-binary", "@-"]
    assert given == "a\0b"


def test_user_and_password_are_an_option() -> None:
    """In the place of the header."""
    shown = Shown("GET", "https://a", {"Authorization": "Basic ***"}, None, referred("me:${K}"))
    assert run(as_curl(shown, NONE))[0] == ["-sS", "https://a", "-u", "me:a b"]
