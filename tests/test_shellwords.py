"""Promises of reading shell commands: words as bash reads them, each with its place."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaiproxy.shellwords import ShellError, words


def texts(command: str) -> list[str]:
    return [word.text for word in words(command)]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("curl -s 'a b' \"c d\" e\\ f", ["curl", "-s", "a b", "c d", "e f"]),
        ("curl \\\n  -H 'x: y' \\\r\n  u", ["curl", "-H", "x: y", "u"]),
        (r"""curl "a\"b\\c\n$X" 'it'\''s'""", ["curl", 'a"b\\c\\n$X', "it's"]),
        (r"curl $'a\nb\x41\u00e9\'\ud83d\ude00\101'", ["curl", "a\nbA\u00e9'\U0001f600A"]),
        ("curl u | jq .", ["curl", "u"]),
        ("curl u > out.json", ["curl", "u"]),
        ("# a comment\ncurl u # another", ["curl", "u"]),
        ("curl http://h/p?a=1&b=2", ["curl", "http://h/p?a=1&b=2"]),
        ("curl -H X:<YOUR KEY> u", ["curl", "-H", "X:<YOUR KEY>", "u"]),
        ("curl u\n\necho done", ["curl", "u"]),
        ("", []),
    ],
)
def test_words_are_those_of_a_shell(command: str, expected: list[str]) -> None:
    """Quotes, continued lines, ANSI-C strings, and what ends a command."""
    assert texts(command) == expected


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=5))
def test_what_is_quoted_comes_back(given_words: list[str]) -> None:
    """Whatever it is."""
    assert texts("curl " + shlex.join(given_words)) == ["curl", *given_words]


@pytest.mark.parametrize(
    ("command", "position", "told"),
    [
        ("curl 'a", 5, "the quote `'` that opens here is not closed"),
        ('curl "a', 5, 'the quote `"` that opens here is not closed'),
        ("curl $'a", 5, "the quote `$'` that opens here is not closed"),
        ('curl ^"a^"', 5, "this is written for Windows' cmd (`^`): copy the command for bash instead"),
    ],
)
def test_what_has_no_end_is_told_with_its_place(command: str, position: int, told: str) -> None:
    """Where it begins."""
    with pytest.raises(ShellError) as raised:
        words(command)
    assert (str(raised.value), raised.value.position) == (told, position)
