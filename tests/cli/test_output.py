"""Promises of `oaiproxy.cli.output`: colour where it is wanted, reports on the stream given, errors of one line."""

from __future__ import annotations

import io
import json
import socket
from pathlib import Path

import pytest

from oaiproxy.cli.output import announce, cannot_listen, complain, report, ships, wants_colour
from oaiproxy.diagnostics import Diagnostic, Span

FOUND = Diagnostic("E101", "unknown key `modles`", Span("my.yaml", 1, 1, 1, 7))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environment", "wanted"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"TERM": "xterm"}, True),
        (Terminal(), {"TERM": "dumb"}, False),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"NO_COLOR": ""}, True),
        (io.StringIO(), {}, False),
        (io.StringIO(), {"FORCE_COLOR": "1"}, True),
        (io.StringIO(), {"FORCE_COLOR": "1", "TERM": "dumb"}, True),
        (io.StringIO(), {"FORCE_COLOR": ""}, False),
        (io.StringIO(), {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_colour_is_for_terminals_unless_told_otherwise(
    stream: io.StringIO, environment: dict[str, str], wanted: bool
) -> None:
    """The variables count when they are not empty, and NO_COLOR counts more."""
    assert wants_colour(stream, environment) is wanted


def test_a_report_goes_to_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its form is a person's by default; it ends with a line break."""
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    stream = io.StringIO()
    report([FOUND], {"my.yaml": "modles: []"}, stream)
    assert stream.getvalue().splitlines()[:2] == ["error[E101]: unknown key `modles`", " --> my.yaml:1:1"]
    assert stream.getvalue().endswith("^^^^^^\n")


def test_a_report_for_programs_is_json() -> None:
    """It never has colours."""
    stream = Terminal()
    report([FOUND], {}, stream, "json")
    assert json.loads(stream.getvalue())[0]["code"] == "E101"


@pytest.mark.parametrize(("form", "printed"), [("text", ""), ("json", "[]\n")])
def test_a_report_of_nothing(form: str, printed: str) -> None:
    """A person needs no empty line, a program needs its empty list."""
    stream = io.StringIO()
    report([], {}, stream, form)
    assert stream.getvalue() == printed


def test_a_complaint_is_one_line_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """It says who complains."""
    complain("there is no `x`")
    assert capsys.readouterr() == ("", "oaiproxy: there is no `x`\n")


def test_a_complaint_is_one_line_whatever_it_quotes(capsys: pytest.CaptureFixture[str]) -> None:
    """A file's name or a stranger's answer gets no hold of the terminal."""
    complain("`é\n\x1b[2J\udce9`")
    assert capsys.readouterr().err == "oaiproxy: `é\\n\\x1b[2J\\udce9`\n"


def test_an_announcement_is_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    """At once, for who waits for it."""
    announce("here I am")
    assert capsys.readouterr() == ("here I am\n", "")


@pytest.mark.parametrize(
    ("host", "error", "shown"),
    [
        ("127.0.0.1", OSError(98, "error while attempting to bind on address"), "127.0.0.1:80: Address already in use"),
        ("::1", OSError(99, "..."), "[::1]:80: Cannot assign requested address"),
        ("nope", socket.gaierror(-2, "Name or service not known"), "nope:80: Name or service not known"),
        ("a..b", UnicodeError("label empty or too long"), "a..b:80: label empty or too long"),
        ("h", OSError("odd"), "h:80: odd"),
    ],
)
@pytest.mark.skipif("sys.platform != 'linux'", reason="the numbers and words of errors are Linux's")
def test_an_address_that_cannot_be_listened_on(host: str, error: Exception, shown: str) -> None:
    """The reason is the system's own word."""
    complaint = cannot_listen(host, 80, error)
    assert complaint == f"not started: cannot listen on {shown}; choose with `--host` and `--port`"


def test_a_name_of_no_file_tells_what_was_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file beside it, a mapping that ships, or all of those; of a path there are no names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/mine.yaml").touch()
    (tmp_path / "other.yml").touch()
    assert ships("in/mnie.yaml") == "; did you mean `in/mine.yaml`?"
    assert ships("othr.yml") == "; did you mean `other.yml`?"
    assert ships("olama") == "; did you mean `ollama`?"
    assert ships("zzz").startswith("; shipped mappings: anthropic, ")
    assert ships("nowhere/olama") == ships("zzz.yaml") == ""
