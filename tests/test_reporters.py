"""Promises of `oaiproxy.reporters`: what the text and the JSON report look like."""

from __future__ import annotations

import re

import pytest

from oaiproxy import jsontext
from oaiproxy.diagnostics import Diagnostic, Severity, Span
from oaiproxy.reporters import REPORTERS, summary


def at(line: int, column: int, end_column: int, end_line: int | None = None, file: str = "m.yaml") -> Span:
    return Span(file, line, column, end_line or line, end_column)


def text(*diagnostics: Diagnostic, source: str = "", colour: bool = False) -> str:
    return REPORTERS["text"](diagnostics, {"m.yaml": source}, colour)


def carets(source: str, span: Span) -> list[str]:
    """The source line and the marking line, without the gutter."""
    lines = text(Diagnostic("E001", "m", span), source=source).split("\n")
    return [line.partition("| ")[2] for line in lines[3:5]]


def test_the_text_form() -> None:
    """The layout of the documentation, exactly."""
    source = "\n" * 7 + '      temp: "{{ temprature }}"\n'
    found = Diagnostic(
        "E203", "unknown name `temprature`", at(8, 17, 27), "did you mean `temperature`?", "see the list of names"
    )
    expected = """\
error[E203]: unknown name `temprature`
 --> m.yaml:8:17
  |
8 |       temp: "{{ temprature }}"
  |                 ^^^^^^^^^^ did you mean `temperature`?
  = help: see the list of names"""
    assert text(found, source=source) == expected


def test_the_gutter_is_as_wide_as_the_largest_line_number() -> None:
    """All diagnostics of a report line up, with a blank line between."""
    source = "a: 1\n" * 120
    report = text(Diagnostic("E001", "m", at(9, 1, 2)), Diagnostic("E002", "n", at(110, 1, 2)), source=source)
    expected = """\
error[E001]: m
   --> m.yaml:9:1
    |
  9 | a: 1
    | ^

error[E002]: n
   --> m.yaml:110:1
    |
110 | a: 1
    | ^"""
    assert report == expected


def test_a_warning_says_so() -> None:
    """The severity is the first word."""
    assert text(Diagnostic("W001", "m", severity=Severity.WARNING)) == "warning[W001]: m"


def test_without_a_span_there_is_only_the_first_line() -> None:
    """Nothing to show, nothing shown."""
    assert text(Diagnostic("E001", "m", label="x", help="y")) == "error[E001]: m"


def test_a_file_without_source_is_only_named() -> None:
    """The place is still of use."""
    assert text(Diagnostic("E001", "m", at(3, 2, 4, file="other.yaml"))) == "error[E001]: m\n --> other.yaml:3:2"


def test_a_line_beyond_the_source_is_only_named() -> None:
    """A file that changed since does not break the report."""
    assert text(Diagnostic("E001", "m", at(3, 2, 4)), source="one line") == "error[E001]: m\n --> m.yaml:3:2"


def test_help_of_several_lines_is_aligned() -> None:
    """The lines after the first stand under it."""
    report = text(Diagnostic("E001", "m", at(1, 1, 2), help="one\ntwo"), source="a")
    assert report.endswith("\n  = help: one\n          two")


@pytest.mark.parametrize(
    ("source", "span", "expected"),
    [
        ("a: bc", at(1, 4, 6), ["a: bc", "   ^^"]),
        ("a: bc", at(1, 4, 4), ["a: bc", "   ^"]),
        ("a:", at(1, 3, 3), ["a:", "  ^"]),
        ("a: bc  \n  d", at(1, 4, 3, end_line=2), ["a: bc", "   ^^"]),
        ("\ta: b", at(1, 5, 6), ["    a: b", "       ^"]),
        ("a\tb", at(1, 2, 3), ["a    b", " ^^^^"]),
        ("漢字: b", at(1, 5, 6), ["漢字: b", "      ^"]),
        ("a: 漢字", at(1, 4, 6), ["a: 漢字", "   ^^^^"]),
        ("e\u0301: b", at(1, 5, 6), ["e\u0301: b", "   ^"]),
        ("😀: b", at(1, 4, 5), ["😀: b", "    ^"]),
        ("\ufeffa: b", at(1, 4, 5), ["a: b", "   ^"]),
        ("a: 1\r\nb: 2\r\n", at(1, 4, 5), ["a: 1", "   ^"]),
        ("a\u2028b: c", at(1, 6, 7), ["a\\u2028b: c", "          ^"]),
        ("a\x1b[31m", at(1, 2, 3), ["a\\x1b[31m", " ^^^^"]),
        ("a\u202eb", at(1, 3, 4), ["a\\u202eb", "       ^"]),
        ("\U000e0041b", at(1, 2, 3), ["\\U000e0041b", "          ^"]),
        ("ab", at(1, 50, 60), ["ab", "  ^"]),
    ],
)
def test_carets_stand_under_what_they_mark(source: str, span: Span, expected: list[str]) -> None:
    """As a terminal shows it: tabs, wide, combining and invisible characters counted."""
    assert carets(source, span) == expected


@pytest.mark.parametrize("start", [0, 10, 100, 250, 480, 497])
def test_a_long_line_is_clipped_around_the_span(start: str) -> None:
    """The marked word stays in sight, with the carets under it."""
    line = "." * int(start) + "bad" + "." * (497 - int(start))
    shown, marks = carets(line, at(1, int(start) + 1, int(start) + 4))
    assert len(shown) <= 162
    assert shown[marks.index("^") : marks.index("^") + 3] == "bad"
    assert marks.count("^") == 3
    assert "…" in shown


def test_a_span_longer_than_the_window_is_clipped_too() -> None:
    """A megabyte on one line gives a report of a few lines."""
    shown, marks = carets("x" * 1000, at(1, 1, 1001))
    assert shown == "x" * 160 + "…"
    assert marks == "^" * 160


def test_control_characters_in_messages_are_escaped() -> None:
    """A value that is quoted cannot steer the terminal, nor fake a line."""
    report = text(Diagnostic("E001", "bad `\x1b[2J\n`", at(1, 1, 2), label="\r", help="\x07"), source="a")
    assert "\x1b" not in report
    assert "bad `\\x1b[2J\\x0a`" in report
    assert "\\x0d" in report
    assert "\\x07" in report


def test_colour_adds_only_sgr_codes() -> None:
    """Without them, the report is the plain one."""
    found = Diagnostic("E001", "m", at(1, 1, 2), "label", "help")
    coloured = text(found, source="a: b", colour=True)
    assert coloured != text(found, source="a: b")
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == text(found, source="a: b")
    assert coloured.count("\x1b[0m") == coloured.count("\x1b[") / 2


def test_an_empty_report_is_empty() -> None:
    """No findings, no text; an empty list in JSON."""
    assert text() == ""
    assert REPORTERS["json"]([], {}, False) == "[]"


def test_the_json_form() -> None:
    """All keys, always, in one order."""
    report = REPORTERS["json"]([Diagnostic("E001", "m", at(1, 2, 4), "l", "h"), Diagnostic("W1", "n")], {}, True)
    with_span, without = jsontext.parse(report)
    assert with_span == {
        "code": "E001",
        "severity": "error",
        "message": "m",
        "file": "m.yaml",
        "line": 1,
        "column": 2,
        "end_line": 1,
        "end_column": 4,
        "label": "l",
        "help": "h",
    }
    assert list(with_span) == list(without)
    assert without["file"] is without["line"] is without["end_column"] is None


@pytest.mark.parametrize(
    ("errors", "warnings", "expected"),
    [(0, 0, "no findings"), (1, 0, "1 error"), (2, 1, "2 errors, 1 warning"), (0, 3, "3 warnings")],
)
def test_the_summary(errors: int, warnings: int, expected: str) -> None:
    """Counted by severity, worst first."""
    found = [Diagnostic("E1", "m")] * errors + [Diagnostic("W1", "m", severity=Severity.WARNING)] * warnings
    assert summary(found) == expected


def test_a_concealed_stretch_is_not_shown() -> None:
    """In no code frame: not in its own, and not in another one of its line; the columns stay."""
    text = "\ufeffa: 1\r\nkey: hush, more: 1\r\n"
    secret = Diagnostic("W106", "m", Span("f", 2, 6, 2, 10), "l", conceal=True)
    other = Diagnostic("E101", "m", Span("f", 2, 12, 2, 16), "l")
    shown = REPORTERS["text"]([other, secret], {"f": text}, False)
    assert "hush" not in shown
    assert shown.count("key: ****, more: 1") == 2
