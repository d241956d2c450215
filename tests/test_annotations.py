"""Promises of `oaiproxy.annotations`: commands that GitHub's runner reads back as they were meant."""

from __future__ import annotations

import re

import pytest

from oaiproxy.annotations import github
from oaiproxy.catalog import CATALOG
from oaiproxy.diagnostics import Diagnostic, Severity, Span

COMMAND = re.compile(r"::(?P<name>\w+) (?P<properties>[^\r\n]*?)::(?P<data>[^\r\n]*)")


def read(line: str) -> tuple[str, dict[str, str], str]:
    """A command as the runner reads it: https://github.com/actions/runner, ActionCommand.cs."""
    found = COMMAND.fullmatch(line)
    assert found, line
    properties = dict(each.split("=", 1) for each in found["properties"].split(","))
    return found["name"], {name: unescaped(value) for name, value in properties.items()}, unescaped(found["data"])


def unescaped(text: str) -> str:
    for written, meant in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(written, meant)
    return text


def test_a_finding_is_a_command() -> None:
    """Written as the page on workflow commands has them."""
    found = Diagnostic("E203", "unknown name `promt`", Span("m/x.yaml", 14, 19, 14, 24), "did you mean `prompt`?")
    assert github([found], {}, False) == (
        "::error file=m/x.yaml,line=14,endLine=14,col=19,endColumn=24,title=E203%3A An unknown name"
        "::unknown name `promt`%0Adid you mean `prompt`?"
    )


def test_a_warning_is_one() -> None:
    """And colour is never in it."""
    found = Diagnostic("W301", "odd", Span("x.yaml", 1, 1, 1, 2), severity=Severity.WARNING)
    assert github([found], {}, True).startswith("::warning file=x.yaml,")


def test_columns_are_told_only_within_one_line() -> None:
    """The runner takes none otherwise."""
    _, properties, _ = read(github([Diagnostic("E105", "m", Span("x.yaml", 3, 5, 4, 2))], {}, False))
    assert properties == {
        "file": "x.yaml",
        "line": "3",
        "endLine": "4",
        "title": f"E105: {CATALOG['E105'].title}",
    }


def test_a_finding_without_a_place_has_none() -> None:
    """It is told of the run."""
    assert read(github([Diagnostic("E999", "m")], {}, False)) == ("error", {"title": "E999"}, "m")


@pytest.mark.parametrize(
    "odd", ["100%", "%0A", "a:b,c=d", "one\r\ntwo\rthree", "::error ::x", "%25", "日本 \U0001f600"]
)
def test_what_is_quoted_comes_back(odd: str) -> None:
    """Whatever the mapping holds, it is no command of its own, and one line."""
    found = Diagnostic("E101", odd, Span(odd, 1, 1, 1, 2), help=odd)
    line = github([found], {}, False)
    assert len(line.splitlines()) == 1
    name, properties, data = read(line)
    assert (name, properties["file"], data) == ("error", odd, f"{odd}\n{odd}")


def test_each_finding_is_a_line() -> None:
    """In their order; of none, nothing."""
    lines = github([Diagnostic("E101", "a"), Diagnostic("E102", "b")], {}, False).split("\n")
    assert [read(line)[2] for line in lines] == ["a", "b"]
    assert github([], {}, False) == ""
