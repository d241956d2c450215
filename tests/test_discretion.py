"""Promises of discretion: secrets go by the names of their variables, whatever form they have."""

from __future__ import annotations

import base64
import subprocess

import pytest

from oaiproxy.discretion import Discretion, plain, referred, spliced

KEPT = Discretion(["s3cret/+", "other-one"], ["key: ${KEY:-x}\nb: ${UNSET}"], {"KEY": "s3cret/+", "ELSE": "elsewhere"})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a s3cret/+ b", "a $KEY b"),
        ("k=s3cret%2F%2B", "k=$KEY"),
        ("an other-one", "an ***"),
        (base64.b64encode(b"s3cret/+").decode(), "***"),
        ("elsewhere", "elsewhere"),
    ],
)
def test_a_secret_is_not_told(text: str, shown: str) -> None:
    """Plain, in an address, or in base64."""
    assert KEPT.text(text) == shown
    assert KEPT.data({"a": [text, 1]}) == {"a": [shown, 1]}


def test_bytes_have_no_secrets_either() -> None:
    """Where they are no text."""
    assert KEPT.raw(b"\xffs3cret/+\xff") == b"\xff***\xff"


@pytest.mark.parametrize(
    ("written", "shown"),
    [("${KEY}", "$KEY"), ("a ${KEY:-b} c", "a $KEY c"), ("${file:/run/key}", "$(cat /run/key)"), ("$${a}", "${a}")],
)
def test_references_are_a_shells(written: str, shown: str) -> None:
    """Without their defaults."""
    assert plain(referred(written)) == shown


@pytest.mark.parametrize("text", ["", "it's", '$HOME `x` \\ "', "a\nb", "-e"])
def test_a_word_is_one_word_of_a_shell(text: str) -> None:
    """With nothing in it replaced but references."""
    line = f"printf '%s|' {spliced(text + referred('${KEY}'))} {spliced(text)}"
    run = subprocess.run(["sh", "-c", line], env={"KEY": "a b"}, capture_output=True, text=True, check=True)
    assert run.stdout == f"{text}a b|{text}|"


def test_what_stands_elsewhere_is_known() -> None:
    """A variable that is set, or a file; not a default."""
    assert KEPT.refers("${KEY}/a")
    assert KEPT.refers("${file:/a}")
    assert not KEPT.refers("${UNSET:-https://a}")
